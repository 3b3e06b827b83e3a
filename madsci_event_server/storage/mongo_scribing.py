"""The scribe: a program beside the server that writes events to MongoDB while it is busy taking them.

A transaction is three questions and answers, and Python computes in one thread at a time: while many post single
events, a thread that writes waits after each answer until the event loop lets it have its turn, and MongoDB waits with
it. A program of its own does not. It costs memory, and handing over, so there is one only while commits come fast, and
only where there is a second core. Where it cannot be had, or is lost, the thread writes.
"""

import asyncio
import logging
import marshal
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from madsci_event_server.beside import STOP_SECONDS, exit_status, kill, spare_cores, started
from madsci_event_server.errors import StoreError, StoreUnavailable, StoreUnusable
from madsci_event_server.storage.base import Appended
from madsci_event_server.storage.mongo_documents import NewEvent
from madsci_event_server.storage.mongo_names import Sightings
from madsci_event_server.storage.mongo_scribe import (
    BROKEN,
    COMMITTING,
    HEAD,
    PLACED,
    READY,
    REFUSED,
    group,
    message,
    told,
)
from madsci_event_server.storage.mongo_writing import Value

IDLE_SECONDS: Final = 45.0
"""How long a scribe waits for more events before it ends and gives its memory back."""
ANSWER_SECONDS: Final = 60.0
"""How long one may take over a group, which is longer than a write is tried again, before it is given up."""
BEFORE_ANOTHER_TRY_SECONDS: Final = 60.0
"""How long the server writes by itself after a scribe has failed."""
_MODULE: Final = "madsci_event_server.storage.mongo_scribe"
_BUFFER_BYTES: Final = 1024 * 1024
_ERRORS: Final[dict[str, type[StoreError]]] = {one.__name__: one for one in (StoreUnavailable, StoreUnusable)}

_log = logging.getLogger(__name__)


class ScribeLost(Exception):
    """The scribe ended before it said what became of the events: they may be stored, or not."""


class Scribe:
    """At most one program at a time, from `start` until nobody needs it, or `close`."""

    def __init__(
        self,
        url: str,
        *,
        idle_seconds: float = IDLE_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        stop_seconds: float = STOP_SECONDS,
        before_another_try_seconds: float = BEFORE_ANOTHER_TRY_SECONDS,
    ) -> None:
        # Not as arguments: there anybody on this machine could read the password.
        self._where = url, str(Path.cwd())
        self._before_another_try_seconds = before_another_try_seconds
        self._idle_seconds, self._answer_seconds, self._stop_seconds = idle_seconds, answer_seconds, stop_seconds
        self._program: _Program | None = None
        self._running: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._closed = False
        self._idle: asyncio.TimerHandle | None = None
        self.groups = 0
        """How many it was given since the start."""

    @property
    def pid(self) -> int | None:
        """Of the program that can be given events."""
        return self._program.pid if self.is_ready and self._program is not None else None

    @property
    def is_ready(self) -> bool:
        """Whether it can be given events."""
        return self._program is not None and self._program.is_ready

    def start(self) -> None:
        """Sees to it that there is one soon; not again where one has just failed."""
        loop = asyncio.get_running_loop()
        if self._running is None and not self._closed and spare_cores() > 0 and loop.time() >= self._not_before:
            self._program = _Program(self._rest_later)
            self._running = asyncio.create_task(self._run(self._program), name="scribe")

    async def started(self) -> None:
        """Starts one, and waits until it is ready or has ended."""
        self.start()
        if self._program is not None:
            await self._program.settled.wait()

    async def ended(self) -> None:
        """Waits until there is none."""
        if self._running is not None:
            await asyncio.wait([self._running])

    async def close(self) -> None:
        """Lets it end with what it was given; there is none from now on."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        program, running = self._program, self._running
        if program is not None and running is not None:
            program.end()
            await asyncio.wait([running], timeout=self._stop_seconds)
            program.kill()
            await asyncio.wait([running])

    async def append(
        self, events: Sequence[NewEvent], names: Sightings, values: Iterable[Value], ready: Callable[[], None]
    ) -> int | list[Appended]:
        """What `append_events` does, after what it was given before; calls `ready` when these are being committed.

        Raises ScribeLost, and what the store would raise.
        """
        program = self._program
        if program is None or not program.is_ready:
            raise ScribeLost
        self._rest_later()
        self.groups += 1
        try:
            found, *values_said = await asyncio.wait_for(
                program.give(group(events, names, values), ready), self._answer_seconds
            )
        except TimeoutError:
            program.kill()
            raise ScribeLost from None
        if found == PLACED:
            return int(values_said[0])
        if found == REFUSED:
            kind, text = values_said
            raise _ERRORS.get(kind, StoreUnavailable)(text)
        if found == BROKEN:
            raise RuntimeError(f"the scribe failed: {values_said[0]}")
        return told(values_said[0])

    async def _run(self, program: "_Program") -> None:
        try:
            await program.run(self._where)
        finally:
            self._running = self._program = None
            if program.problem is not None:
                self._not_before = asyncio.get_running_loop().time() + self._before_another_try_seconds
                _log.warning("%s; events are written by the server itself", program.problem)

    def _rest_later(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._rest)

    def _rest(self) -> None:
        if self._program is None:
            return
        if self._program.is_busy:
            self._rest_later()
        else:
            self._program.end()


class _Program:
    """One program, from start to end."""

    def __init__(self, up: Callable[[], None]) -> None:
        """Calls `up` when it can be given events."""
        self._tell_up = up
        self.settled = asyncio.Event()
        """Set when it can be given events, or never will be."""
        self.problem: str | None = None
        """Why it ended, where nobody told it to."""
        self._is_up = self._ending = False
        self._process: Process | None = None
        self._given: deque[tuple[asyncio.Future[Sequence[Any]], Callable[[], None]]] = deque()

    @property
    def is_ready(self) -> bool:
        return self._is_up and not self._ending

    @property
    def is_busy(self) -> bool:
        """Whether it has something to store."""
        return bool(self._given)

    @property
    def pid(self) -> int:
        assert self._process is not None  # noqa: S101  # it is ready
        return self._process.pid

    def give(self, parts: Iterable[bytes], ready: Callable[[], None]) -> "asyncio.Future[Sequence[Any]]":
        """What it says of a group; raises ScribeLost when it ends before."""
        said: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()
        self._given.append((said, ready))
        self._stdin.writelines(parts)
        return said

    def end(self) -> None:
        """Lets it end, once it has stored what it was given."""
        self._ending = True
        if self._process is not None:
            self._stdin.close()

    def kill(self) -> None:
        """Ends it at once."""
        kill(self._process)

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        assert self._process is not None and self._process.stdin is not None  # noqa: PT018, S101  # a pipe
        return self._process.stdin

    async def run(self, where: tuple[str, str]) -> None:
        """Starts it and hears what it says until it ends. `where`: the address to write to, and the folder to be in."""
        try:
            process = self._process = await started(
                "madsci_event_server.storage.mongo_scribe", buffer_bytes=_BUFFER_BYTES
            )
        except (OSError, NotImplementedError) as error:  # the latter: an event loop of Windows without subprocesses
            self.problem = f"a scribe cannot be started ({error!r})"
            self.settled.set()
            return
        self._stdin.writelines(message(where))
        if self._ending:
            self._stdin.close()
        try:
            await self._hear(process)
        except (asyncio.IncompleteReadError, ConnectionError):
            if not self._ending:
                self.problem = "the scribe has ended"
        finally:
            self._ending = True
            self._lose()
            self._stdin.close()
            code = await exit_status(process)
            self.settled.set()
        if self.problem is not None:
            self.problem = f"{self.problem} (pid {process.pid}, exit status {code})"

    async def _hear(self, process: Process) -> None:
        assert process.stdout is not None  # noqa: S101  # a pipe
        if await process.stdout.readexactly(len(READY)) != READY:
            self.problem = "the scribe says what it should not: does its Python write to stdout when it starts?"
            return
        self._is_up = True
        self.settled.set()
        self._tell_up()
        while True:
            (size,) = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
            values = marshal.loads(await process.stdout.readexactly(size))  # noqa: S302  # a program this one started
            said, ready = self._given[0]
            if values[0] == COMMITTING:
                ready()
                continue
            self._given.popleft()
            if not said.done():  # else who gave it has gone
                said.set_result(values)

    def _lose(self) -> None:
        while self._given:
            said, _ = self._given.popleft()
            if not said.done():
                said.set_exception(ScribeLost())
