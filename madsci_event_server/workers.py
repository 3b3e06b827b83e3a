"""Workers: programs beside the server that judge the items of large batches, while it stores those before.

Python computes on one core at a time: reading a million events would keep everybody else waiting while the other cores
have nothing to do. What is small is judged here, where that costs least; so is everything where no worker can be had.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from typing import Any, Final, NamedTuple, Self

from madsci_event_server.beside import STOP_SECONDS, Lost, Program, spare_cores
from madsci_event_server.event import Event
from madsci_event_server.judging import Item, Judged, Lines, Refused, Work, items_of, judge
from madsci_event_server.storage.base import Packing
from madsci_event_server.worker import answered, question

MAX_WORKERS: Final = 4
"""More than the one thread that stores can keep up with."""
IDLE_SECONDS: Final = 45.0
"""How long workers wait for the next large batch before they end and give their memory back."""
ANSWER_SECONDS: Final = 60.0
"""How long one may take over a piece, which it has in some milliseconds, before it is given up."""
PIECES_A_WORKER: Final = 4
"""One it judges, and some that it finds when it is done, however busy the server is then."""
_BEFORE_ANOTHER_TRY_SECONDS: Final = 60.0
_AT_ONCE_BYTES: Final = 64 * 1024
"""How much is judged here before others have their turn."""
_BUFFER_BYTES: Final = 4 * 1024 * 1024

_log = logging.getLogger(__name__)


class Worth(NamedTuple):
    """From how much on a worker is worth its cost: in events, of which a KiB counts as one."""

    starting: int = 1000
    """In one batch, so far."""
    asking: int = 32
    """In one piece of it."""


WORTH_A_WORKER: Final = Worth()


def spare_workers() -> int:
    """How many this machine has a core for, besides the one the server needs itself."""
    return min(spare_cores(), MAX_WORKERS)


class Workers:
    """Up to `count` of them, started when they are wanted; `async with`: stopped on leaving."""

    def __init__(
        self,
        way: Packing[Any],
        zone: str | None,
        count: int,
        *,
        idle_seconds: float = IDLE_SECONDS,
        stop_seconds: float = STOP_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`way` is the store's, `zone` the name of that of times without one; None is this machine's."""
        self.way = way
        self.count = count
        self._arguments = (way.kind,) if zone is None else (way.kind, zone)
        self._idle_seconds, self._stop_seconds, self._answer_seconds = idle_seconds, stop_seconds, answer_seconds
        self._running: dict[Program, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(max(1, count) * PIECES_A_WORKER)
        self._idle: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._closed = False
        self.answers = 0
        """How many questions were answered."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        self._end_all()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=self._stop_seconds)
            for worker in self._running:
                worker.kill()
            await self.ended()

    @property
    def pids(self) -> list[int]:
        """Of those that can be asked."""
        return [worker.pid for worker in self._running if worker.is_ready]

    def start(self) -> None:
        """Sees to it that there are as many as there may be; does not wait until they can be asked."""
        now = asyncio.get_running_loop().time()
        while len(self._running) < self.count and now >= self._not_before and not self._closed:
            worker = Program("a batch worker", "madsci_event_server.worker", _BUFFER_BYTES)
            task = self._running[worker] = asyncio.create_task(worker.run(*self._arguments), name="batch worker")
            task.add_done_callback(lambda _, worker=worker: self._ended(worker))  # type: ignore[misc]
            self._rest_later()

    async def started(self) -> None:
        """Starts them, and waits until all can be asked or have failed."""
        self.start()
        await asyncio.gather(*[worker.settled.wait() for worker in self._running])

    async def ended(self) -> None:
        """Waits until none is there."""
        await asyncio.gather(*self._running.values())

    @property
    def are_there(self) -> bool:
        """Whether one was started and has not ended."""
        return bool(self._running)

    @property
    def are_ready(self) -> bool:
        """Whether one can be asked now."""
        return any(worker.is_ready for worker in self._running)

    @property
    def questions(self) -> int:
        """How many are not answered yet."""
        return sum(worker.questions for worker in self._running)

    async def begin(self, work: Work) -> "asyncio.Task[Judged[Any]]":
        """Asks one, as soon as one has room: what comes raises Lost where the worker ended or there is none."""
        await self._room.acquire()
        asking = asyncio.create_task(self._ask(question(work)))
        asking.add_done_callback(lambda _: self._room.release())
        return asking

    async def _ask(self, message: Iterable[bytes]) -> Judged[Any]:
        self._rest_later()
        ready = [worker for worker in self._running if worker.is_ready]
        if not ready:
            raise Lost
        worker = min(ready, key=lambda worker: worker.questions)
        try:
            body = await asyncio.wait_for(worker.ask(message), self._answer_seconds)
        except TimeoutError:
            worker.kill()
            raise Lost from None
        self.answers += 1
        return answered(body, self.way)

    def _ended(self, worker: Program) -> None:
        del self._running[worker]
        if worker.problem is not None:
            if not worker.was_ready:
                self._not_before = asyncio.get_running_loop().time() + _BEFORE_ANOTHER_TRY_SECONDS
            _log.warning("%s; what it was to read of a batch is read in the server", worker.problem)

    def _rest_later(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._rest)

    def _rest(self) -> None:
        if self.questions:
            self._rest_later()
        else:
            self._end_all()

    def _end_all(self) -> None:
        for worker in self._running:
            worker.end()


class Judges:
    """Judges the items of batches, here or by workers: nobody can tell which."""

    def __init__(
        self,
        prepare: Callable[[Event], Any],
        zone: tzinfo | None,
        workers: Workers | None = None,
        *,
        worth: Worth = WORTH_A_WORKER,
    ) -> None:
        self.workers = workers
        self._prepare, self._zone = prepare, zone
        self._worth = worth

    @property
    def ahead(self) -> int:
        """How many pieces of one batch to begin before the first is waited for."""
        return 1 + (self.workers.count * PIECES_A_WORKER if self.workers is not None else 0)

    async def begin(self, work: Work, *, after: int) -> "asyncio.Future[Judged[Any]]":
        """Begins to judge a part of a batch, after others that were so much work; waits where much is begun.

        What is returned is there later, and not to be cancelled before it is there.
        """
        size = size_of(work)
        workers = self.workers
        if workers is not None and after + size >= self._worth.starting:
            workers.start()
        if workers is not None and size >= self._worth.asking and workers.are_ready:
            sound = work if isinstance(work, Lines) else [item for item in work if item.problem is None]
            if sound:
                return asyncio.ensure_future(self._elsewhere(await workers.begin(sound), work))
        found = asyncio.get_running_loop().create_future()
        found.set_result(await self.here(items_of(work)))
        return found

    async def _elsewhere(self, asking: "asyncio.Task[Judged[Any]]", work: Work) -> Judged[Any]:
        try:
            judged = await asking
        except Lost:
            return await self.here(items_of(work))
        if isinstance(work, Lines):
            return judged
        unsound = [Refused(item.place, item.problem) for item in work if item.problem is not None]
        return Judged(work[0].place, judged.prepared, sorted(judged.refused + unsound, key=lambda item: item.place))

    async def here(self, items: Sequence[Item]) -> Judged[Any]:
        """Judges at least one item in this process, letting others have their turns."""
        prepared: list[Any] = []
        refused: list[Refused] = []
        for some in _pieces(items):
            refused += judge(some, lambda event: prepared.append(self._prepare(event)), self._zone)
            await asyncio.sleep(0)
        return Judged(items[0].place, prepared, refused)


def size_of(work: Work) -> int:
    """How much there is to judge: as in so many events."""
    if isinstance(work, Lines):
        return max(work.number, len(work.body) // 1024)
    return max(len(work), sum([len(item.body) for item in work]) // 1024)


def _pieces(items: Sequence[Item]) -> list[list[Item]]:
    """Neighbours, each piece as much as is judged in one go."""
    pieces: list[list[Item]] = [[]]
    size = 0
    for item in items:
        if size >= _AT_ONCE_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(item)
        size += len(item.body)
    return pieces
