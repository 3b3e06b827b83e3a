"""A person at a terminal: sees what a program writes, and types."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.processes import WAIT_SECONDS


class Terminal:
    """A program whose stdin, stdout and stderr are one terminal, which is its own; gone when left."""

    def __init__(
        self, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.seen = ""
        self._read_to = 0
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "1", **(environment or {})},
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(WAIT_SECONDS)
        os.close(self._ours)

    def wait_for(self, text: str) -> None:
        """Returns once this text has come after all that was waited for before."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (found := self.seen.find(text, self._read_to)) < 0:
            if not self._more(deadline - time.monotonic()):
                raise AssertionError(f"{text!r} did not come; this did:\n{self.seen}")
        self._read_to = found + len(text)

    def type(self, line: str) -> None:
        """A line, and Enter."""
        os.write(self._ours, f"{line}\n".encode())

    def interrupt(self) -> None:
        """Ctrl-C, to the whole session."""
        os.killpg(self._process.pid, signal.SIGINT)

    def wait(self) -> int:
        """The exit code, once it has ended and all it wrote was seen."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._more(deadline - time.monotonic()):
            pass
        return self._process.wait(WAIT_SECONDS)

    def _more(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], max(seconds, 0))[0]:
            return False
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # nobody has the other end any more
            return False
        self.seen += re.sub(r"\x1b\[[\d;]*m", "", read.decode(errors="replace")).replace("\r\n", "\n")
        return bool(read)
