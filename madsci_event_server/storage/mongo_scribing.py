"""The scribe: a program beside the server that writes events to MongoDB while it is busy taking them.

A transaction is three questions and answers, and Python computes in one thread at a time: while many post single
events, a thread that writes waits after each answer until the event loop lets it have its turn, and MongoDB waits with
it. A program of its own does not. It costs memory, and handing over, so there is one only while commits come fast, and
only where there is a second core. Where it cannot be had, or is lost, the thread writes.
"""

import asyncio
import logging
import marshal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from madsci_event_server.beside import STOP_SECONDS, Lost, Program, spare_cores
from madsci_event_server.errors import StoreError, StoreUnavailable, StoreUnusable
from madsci_event_server.framing import message
from madsci_event_server.storage.base import Appended
from madsci_event_server.storage.mongo_documents import NewEvent
from madsci_event_server.storage.mongo_names import Sightings
from madsci_event_server.storage.mongo_scribe import BROKEN, PLACED, REFUSED, group, told
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
        self._program: Program | None = None
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
            self._program = Program("the scribe", _MODULE, _BUFFER_BYTES, up=self._rest_later)
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

        Raises Lost, and what the store would raise.
        """
        program = self._program
        if program is None or not program.is_ready:
            raise Lost
        self._rest_later()
        self.groups += 1
        try:
            said = await asyncio.wait_for(program.ask(group(events, names, values), ready), self._answer_seconds)
        except TimeoutError:
            program.kill()
            raise Lost from None
        found, *values_said = marshal.loads(said)  # noqa: S302  # a program this one started
        if found == PLACED:
            return int(values_said[0])
        if found == REFUSED:
            kind, text = values_said
            raise _ERRORS.get(kind, StoreUnavailable)(text)
        if found == BROKEN:
            raise RuntimeError(f"the scribe failed: {values_said[0]}")
        return told(values_said[0])

    async def _run(self, program: Program) -> None:
        try:
            await program.run(first=message(self._where))
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
        if self._program.questions:
            self._rest_later()
        else:
            self._program.end()
