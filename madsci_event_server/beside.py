"""Programs beside the server: how one of its own modules is started as one, and seen to its end.

They compute while the server does, which Python does in one thread at a time; what they are for is said where they are
(`worker`, `storage.mongo_scribe`). Each reads from stdin, answers on stdout, and ends when its input does.
"""

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from madsci_event_server.framing import HEAD, NOTICE

STOP_SECONDS: Final = 5.0
"""How long a program that was told to end may take before it is killed."""
_PACKAGES: Final = Path(__file__).parents[1]


def spare_cores() -> int:
    """How many cores this process may use besides the one it needs itself."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return usable - 1


class Lost(Exception):
    """A program ended before it answered."""


def nothing() -> None:
    """Does nothing."""


class Program:
    """One of them, from start to end."""

    def __init__(self, name: str, module: str, buffer_bytes: int, *, up: Callable[[], None] = nothing) -> None:
        """`name` is what messages call it; so much of what it says is kept until it is read.

        `up` is called when it can be asked.
        """
        self.settled = asyncio.Event()
        """Set when it can be asked, or never will be."""
        self.was_ready = False
        self.problem: str | None = None
        """Why it ended, where nobody told it to."""
        self._name, self._module, self._buffer_bytes, self._tell_up = name, module, buffer_bytes, up
        self._process: Process | None = None
        self._asked: deque[tuple[asyncio.Future[bytes], Callable[[], None]]] = deque()
        self._ending = False

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked."""
        return self.was_ready and not self._ending

    @property
    def pid(self) -> int:
        """Of one that is ready."""
        assert self._process is not None  # noqa: S101
        return self._process.pid

    @property
    def questions(self) -> int:
        """How many it has still to answer."""
        return len(self._asked)

    def ask(self, message: Iterable[bytes], noticed: Callable[[], None] = nothing) -> "asyncio.Future[bytes]":
        """The answer; raises Lost when it ends before. `noticed` is called at its notice about this question."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked.append((answer, noticed))
        self._stdin.writelines(message)
        return answer

    def end(self) -> None:
        """Lets it end, once it has answered."""
        self._ending = True
        if self._process is not None:
            self._stdin.close()

    def kill(self) -> None:
        """Ends it at once, if it was started and is still there."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it has just ended
                self._process.kill()

    async def run(self, *arguments: str, first: Iterable[bytes] = ()) -> None:
        """Starts it, tells it `first` of all, and hears it until it ends. What it is told is no argument to be seen."""
        try:
            process = self._process = await self._started(arguments)
        except (OSError, NotImplementedError) as error:  # the latter: an event loop of Windows without subprocesses
            self.problem = f"{self._name} cannot be started ({error!r})"
            self.settled.set()
            return
        self._stdin.writelines(first)
        if self._ending:
            self._stdin.close()
        try:
            await self._hear(process)
        except (asyncio.IncompleteReadError, ConnectionError):
            if not self._ending:
                self.problem = f"{self._name} has ended"
        finally:
            self._ending = True
            self._lose_questions()
            self._stdin.close()
            code = await self._exit_status(process)
            self.settled.set()
        if self.problem is not None:
            self.problem = f"{self.problem} (pid {process.pid}, exit status {code})"

    async def _started(self, arguments: Iterable[str]) -> Process:
        # Apart from the terminal's Ctrl-C, which is for the server to obey. In the folder of the packages: what it
        # imports is what this program runs, not what lies in the lab's directory.
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            cwd=_PACKAGES,
            limit=self._buffer_bytes,
            **apart,
        )

    async def _hear(self, process: Process) -> None:
        said = process.stdout
        assert said is not None  # noqa: S101  # a pipe
        if await said.readexactly(len(NOTICE)) != NOTICE:
            self.problem = f"{self._name} says what it should not: does its Python write to stdout when it starts?"
            return
        self.was_ready = True
        self.settled.set()
        self._tell_up()
        while True:
            (size,) = HEAD.unpack(await said.readexactly(HEAD.size))
            if not size:
                self._asked[0][1]()
                continue
            body = await said.readexactly(size)
            answer, _ = self._asked.popleft()
            if not answer.done():  # else who asked has gone
                answer.set_result(body)

    async def _exit_status(self, process: Process) -> int:
        """Once it has ended, or else is killed."""
        try:
            return await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.kill()
            return await process.wait()

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        assert self._process is not None and self._process.stdin is not None  # noqa: PT018, S101  # a pipe
        return self._process.stdin

    def _lose_questions(self) -> None:
        while self._asked:
            answer, _ = self._asked.popleft()
            if not answer.done():
                answer.set_exception(Lost())
