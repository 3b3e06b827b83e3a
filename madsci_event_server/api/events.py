"""Events in: `POST /event`, one at a time as MADSci's clients send them, and `POST /events`, many at once.

Plain ASGI: a lab's whole life passes through these two, and a framework's hour on each request would be most of it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from madsci_event_server.api.answers import json_answer
from madsci_event_server.api.batches import BatchSplitter
from madsci_event_server.api.bodies import check_plain, chunks, pass_over, read_body
from madsci_event_server.api.context import Context, scope_context
from madsci_event_server.api.problems import problem, problem_text
from madsci_event_server.errors import InvalidInput, Overloaded, StoreError
from madsci_event_server.event import Event
from madsci_event_server.judging import Item, Judged, Lines, Refused, Work, items_of
from madsci_event_server.storage.base import Appended, Outcome, Prepared
from madsci_event_server.workers import size_of

MAX_REJECTED: Final = 10_000
"""How many refused items one answer names; a batch with more is not read to its end."""
PIECE_ITEMS: Final = 256
_PIECE_BYTES: Final = 192 * 1024
"""What of a batch is judged together, whichever is reached first: more would not stay in a processor's cache."""
_AHEAD_EVENTS: Final = 2000
_AHEAD_BYTES: Final = 4 * 1024 * 1024
"""How much of it is on its way into the store: while some is committed, what is committed next gathers."""
_SPLIT_BYTES: Final = 64 * 1024
"""How much is split before others have their turn."""

_ANSWER_HEADERS: Final = {
    outcome: ((b"content-type", b"application/json"), (b"event-outcome", outcome.value.encode())) for outcome in Outcome
}


class PostEvent:
    """`POST /event`: answers when the event is durable, with the event as it is stored."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = scope_context(scope)
        body = await read_body(scope, receive, context.settings.max_event_bytes)
        event = Event.read(body, context.zone)
        [appended] = await context.ingest.accept([event], len(body))
        stored = appended.stored.body
        headers = [*_ANSWER_HEADERS[appended.outcome], (b"content-length", b"%d" % len(stored))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": stored})


class PostEvents:
    """`POST /events`: each item judged by itself, committed in chunks while the next is read and parsed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await check_plain(scope, receive)
        batch, body = _Batch(scope_context(scope)), chunks(receive)
        try:
            answer = await self._answer(batch, body)
            await pass_over(body)
        except ClientDisconnect:
            return  # what was committed is; there is nobody to tell
        await answer(scope, receive, send)

    async def _answer(self, batch: "_Batch", body: AsyncIterator[bytes]) -> Response:
        try:
            await batch.take(body)
        except (StoreError, Overloaded) as error:
            return problem(error, **batch.answer())
        return json_answer(batch.answer())


class _Batch:
    """One batch on its way into the store, and what became of it so far.

    Its items go through in pieces and in order: gathered as they arrive, judged, committed. Pieces are judged while
    those before them are committed.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._counts: Counter[Outcome] = Counter()
        self._rejected: list[dict[str, Any]] = []
        self._items: list[Item] = []
        self._lines: list[Lines] = []
        """What was gathered: items, or lines of them."""
        self._gathered = self._gathered_bytes = 0
        self._work = 0
        """How much was begun to be judged."""
        self._judging: deque[tuple[asyncio.Future[Judged[Any]], Work, int]] = deque()
        """The pieces that are being judged, each with its size."""
        self._committing: deque[_Committing] = deque()
        self._committing_events = self._committing_bytes = 0

    async def take(self, body: AsyncIterator[bytes]) -> None:
        """Stores the whole body, or as much as arrives. Raises ClientDisconnect, StoreError, Overloaded."""
        try:
            await self._take(body)
        except (StoreError, Overloaded):
            await self._settle_rest()
            raise
        finally:
            for judging, _, _ in self._judging:
                judging.cancel()
            for committing in self._committing:
                committing.done.add_done_callback(_look_at)

    def answer(self) -> dict[str, Any]:
        """What became of the items: of those that were committed, and those refused."""
        return {
            "accepted": self._counts[Outcome.STORED],
            "duplicates": self._counts[Outcome.DUPLICATE],
            "raised": self._counts[Outcome.RAISED],
            "conflicts": self._counts[Outcome.CONFLICT],
            "rejected": self._rejected,
        }

    async def _take(self, body: AsyncIterator[bytes]) -> None:
        splitter = BatchSplitter(self._context.settings.max_event_bytes)
        try:
            async for chunk in body:
                for start in range(0, len(chunk), _SPLIT_BYTES):
                    await self._gather(splitter.feed(chunk[start : start + _SPLIT_BYTES]))
                if self._is_full:
                    break
            else:
                await self._gather(splitter.finish())
        except ClientDisconnect:
            await self._finish()
            raise
        await self._finish()

    @property
    def _is_full(self) -> bool:
        return len(self._rejected) > MAX_REJECTED

    async def _gather(self, found: Iterable[Item | Lines]) -> None:
        for one in found:
            if isinstance(one, Lines):
                await self._gather_lines(one)
            else:
                if self._lines:
                    await self._begin_judging()
                self._items.append(one)
                await self._count(1, len(one.body))
        await asyncio.sleep(0)

    async def _gather_lines(self, lines: Lines) -> None:
        if self._items:
            await self._begin_judging()
        self._lines.append(lines)
        await self._count(lines.number, len(lines.body))

    async def _count(self, items: int, size: int) -> None:
        self._gathered += items
        self._gathered_bytes += size
        if self._gathered >= PIECE_ITEMS or self._gathered_bytes >= _PIECE_BYTES:
            await self._begin_judging()

    async def _begin_judging(self) -> None:
        work: Work = self._items
        if self._lines:
            work = Lines(self._lines[0].place, self._gathered, b"\n".join([lines.body for lines in self._lines]))
        is_some, size = self._gathered > 0, self._gathered_bytes
        self._items, self._lines = [], []
        self._gathered = self._gathered_bytes = 0
        judges = self._context.judges
        while self._judging and (len(self._judging) >= judges.ahead or self._judging[0][0].done()):
            await self._take_judged()
        if is_some and not self._is_full:
            self._judging.append((await judges.begin(work, after=self._work), work, size))
            self._work += size_of(work)

    async def _take_judged(self) -> None:
        judging, work, size = self._judging.popleft()
        judged = await self._up_to_the_limit(await judging, work)
        self._rejected += [{"index": place, "error": problem_text(error)} for place, error in judged.refused]
        if judged.prepared:
            await self._commit(judged.prepared, size)

    async def _up_to_the_limit(self, judged: Judged[Any], work: Work) -> Judged[Any]:
        """Without what follows once MAX_REJECTED were refused; the first that does is refused for that reason."""
        room = MAX_REJECTED - len(self._rejected)
        if len(judged.refused) < room:
            return judged
        last = judged.refused[room - 1].place + 1 if room > 0 else judged.first
        before = [item for item in items_of(work) if item.place < last]
        within = await self._context.judges.here(before) if before else Judged(judged.first, [], [])
        if room >= 0 and last < judged.end:
            too_many = f"has more than {MAX_REJECTED} refused items; nothing from here on was read"
            within.refused.append(Refused(last, InvalidInput("body", too_many)))
        return within

    async def _commit(self, prepared: Sequence[Prepared], size: int) -> None:
        """Hands events over to be stored after those before them, once not too many are on their way."""
        events = sum(map(len, prepared))
        while self._committing and (
            self._committing[0].done.done()
            or self._committing_events + events > _AHEAD_EVENTS
            or self._committing_bytes + size > _AHEAD_BYTES
        ):
            await self._settle()
        before = self._committing[-1].done if self._committing else None
        self._committing.append(_Committing(self._context.ingest.begin(prepared, size, before), events, size))
        self._committing_events += events
        self._committing_bytes += size

    async def _settle(self) -> None:
        """Waits for the first that are on their way."""
        done, events, size = self._committing.popleft()
        self._committing_events -= events
        self._committing_bytes -= size
        self._counts.update([item.outcome for item in await done])

    async def _settle_rest(self) -> None:
        """Waits for all that were handed over; what follows events that were not stored is not stored either."""
        with suppress(StoreError):
            while self._committing:
                await self._settle()

    async def _finish(self) -> None:
        await self._begin_judging()
        while self._judging:
            await self._take_judged()
        while self._committing:
            await self._settle()


class _Committing(NamedTuple):
    """Events on their way into the store."""

    done: asyncio.Future[list[Appended]]
    events: int
    size: int


def _look_at(done: asyncio.Future[list[Appended]]) -> None:
    """An error that nobody looks at would be logged: whoever sent these was told the one before it."""
    if not done.cancelled():
        done.exception()
