"""Programs as they really run: started, watched line by line, stopped or killed."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread
from types import TracebackType
from typing import IO, Self

WAIT_SECONDS = 60.0
"""How long a program may take to do what is waited for. Only a failing test ever waits that long."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class ProcessEnded(AssertionError):
    """What was waited for can no longer come: the program has ended. Shows what it wrote."""


class Output:
    """What a program has written to one of its streams so far, line by line."""

    def __init__(self, stream: IO[str], changed: Condition) -> None:
        self.lines: list[str] = []
        self.ended = False
        self._changed = changed
        self._reader = Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        with self._changed:
            return "".join(self.lines)

    def line(self, number: int, *, seconds: float = WAIT_SECONDS) -> str:
        """The line of that number, written already or still to come. Raises ProcessEnded, TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.lines) > number or self.ended, seconds):
                raise TimeoutError(f"no line {number} in {seconds:g} s, only\n{''.join(self.lines)}")
            if len(self.lines) <= number:
                raise ProcessEnded(f"ended without a line {number}\n{''.join(self.lines)}")
            return self.lines[number]

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._add(line)
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _add(self, line: str) -> None:
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the stream is closed, which is a moment after the program has ended."""
        self._reader.join(WAIT_SECONDS)


class Process:
    """A program running; a context manager that never leaves it behind.

    It is in a process group of its own, so that killing it takes its children along.
    """

    def __init__(
        self, command: Sequence[str | Path], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = [str(part) for part in command]
        self._changed = Condition()
        self._popen = subprocess.Popen(
            self.command,
            cwd=cwd,
            env={**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            bufsize=1,
            start_new_session=True,
        )
        assert self._popen.stdout
        assert self._popen.stderr
        self.stdout = Output(self._popen.stdout, self._changed)
        self.stderr = Output(self._popen.stderr, self._changed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.running:
            self.kill()
        self._settle()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def said(self) -> str:
        """All it wrote, for a failing test's message."""
        return f"$ {' '.join(self.command)}\n--- stdout\n{self.stdout.text}--- stderr\n{self.stderr.text}"

    def send_line(self, line: str) -> None:
        assert self._popen.stdin
        self._popen.stdin.write(line + "\n")
        self._popen.stdin.flush()

    def close_stdin(self) -> None:
        assert self._popen.stdin
        self._popen.stdin.close()

    def wait_for_line(self, pattern: str, *, after: int = 0, seconds: float = WAIT_SECONDS) -> re.Match[str]:
        """The first match in a line of either stream, written already or still to come.

        `after` skips that many lines of each. Raises ProcessEnded when the program ends without it, TimeoutError.
        """
        found: list[re.Match[str]] = []

        def look() -> bool:
            lines = [*self.stdout.lines[after:], *self.stderr.lines[after:]]
            found[:] = [match for line in lines if (match := re.search(pattern, line))]
            return bool(found) or (self.stdout.ended and self.stderr.ended)

        self._wait(look, f"a line like {pattern!r}", seconds)
        if not found:
            raise ProcessEnded(f"ended without a line like {pattern!r}\n{self.said}")
        return found[0]

    def _wait(self, look: Callable[[], bool], what: str, seconds: float) -> None:
        with self._changed:
            arrived = self._changed.wait_for(look, seconds)
        if not arrived:
            raise TimeoutError(f"no {what} in {seconds:g} s\n{self.said}")

    def wait(self, *, seconds: float = WAIT_SECONDS) -> int:
        """The exit code, once it has ended by itself. Raises TimeoutError."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"still running after {seconds:g} s\n{self.said}") from error
        self._settle()
        return self._popen.returncode

    def signal(self, number: signal.Signals) -> None:
        """To the whole group, as a terminal does with Ctrl-C."""
        os.killpg(self.pid, number)

    def interrupt(self, *, seconds: float = WAIT_SECONDS) -> int:
        """Ctrl-C; the exit code."""
        self.signal(signal.SIGINT)
        return self.wait(seconds=seconds)

    def terminate(self, *, seconds: float = WAIT_SECONDS) -> int:
        """SIGTERM, as a service manager sends it; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds=seconds)

    def kill(self) -> int:
        """`kill -9`: no goodbye, nothing flushed."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def _settle(self) -> None:
        self.stdout.join()
        self.stderr.join()
        assert self._popen.stdin
        # It may hold what the program never read.
        with suppress(BrokenPipeError):
            self._popen.stdin.close()
