"""Events in: `POST /event`, one at a time as MADSci's clients send them, and `POST /events`, many at once.

Plain ASGI: a lab's whole life passes through these two, and a framework's hour on each request would be most of it.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from madsci_event_server.api.answers import json_answer
from madsci_event_server.api.batches import BatchSplitter, Item
from madsci_event_server.api.bodies import chunks, read_body
from madsci_event_server.api.context import Context, scope_context
from madsci_event_server.api.problems import problem, problem_text
from madsci_event_server.errors import InvalidInput, Overloaded, StoreError
from madsci_event_server.event import Event
from madsci_event_server.storage.base import Appended, Outcome, Prepared

MAX_REJECTED: Final = 10_000
"""How many refused items one answer names; a batch with more is not read to its end."""
_CHUNK_EVENTS: Final = 500
_CHUNK_BYTES: Final = 512 * 1024
_SPLIT_BYTES: Final = 64 * 1024
"""How much is split and parsed before others have their turn."""

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
        batch = _Batch(scope_context(scope))
        try:
            await batch.take(receive)
        except ClientDisconnect:
            return  # what was committed is; there is nobody to tell
        except (StoreError, Overloaded) as error:
            answer: Response = problem(error, **batch.answer())
        else:
            answer = json_answer(batch.answer())
        await answer(scope, receive, send)


class _Batch:
    """One batch on its way into the store, and what became of it so far."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._counts: Counter[Outcome] = Counter()
        self._rejected: list[dict[str, Any]] = []
        self._events: list[Prepared] = []
        self._bytes = 0
        self._committing: asyncio.Task[list[Appended]] | None = None

    async def take(self, receive: Receive) -> None:
        """Stores the whole body, or as much as arrives. Raises ClientDisconnect, StoreError, Overloaded."""
        try:
            await self._take(receive)
        except ClientDisconnect:
            await self._finish()
            raise
        await self._finish()

    def answer(self) -> dict[str, Any]:
        """What became of the items: of those that were committed, and those refused."""
        return {
            "accepted": self._counts[Outcome.STORED],
            "duplicates": self._counts[Outcome.DUPLICATE],
            "raised": self._counts[Outcome.RAISED],
            "conflicts": self._counts[Outcome.CONFLICT],
            "rejected": self._rejected,
        }

    async def _take(self, receive: Receive) -> None:
        splitter = BatchSplitter(self._context.settings.max_event_bytes)
        async for chunk in chunks(receive):
            for start in range(0, len(chunk), _SPLIT_BYTES):
                await self._judge(splitter.feed(chunk[start : start + _SPLIT_BYTES]))
                if len(self._rejected) > MAX_REJECTED:
                    return
        await self._judge(splitter.finish())

    async def _judge(self, items: Iterable[Item]) -> None:
        for item in items:
            self._judge_one(item)
            if len(self._rejected) > MAX_REJECTED:
                return
            if len(self._events) >= _CHUNK_EVENTS or self._bytes >= _CHUNK_BYTES:
                await self._commit()
        await asyncio.sleep(0)

    def _judge_one(self, item: Item) -> None:
        try:
            event = self._event_of(item)
        except InvalidInput as error:
            self._rejected.append({"index": item.place, "error": problem_text(error)})
        else:
            self._events.append(self._context.ingest.prepare(event))
            self._bytes += len(item.body)

    def _event_of(self, item: Item) -> Event:
        if len(self._rejected) == MAX_REJECTED:
            raise InvalidInput("body", f"has more than {MAX_REJECTED} refused items; nothing from here on was read")
        if item.problem is not None:
            raise item.problem
        return Event.read(item.body, self._context.zone, "event")

    async def _commit(self) -> None:
        """Hands the events so far to the store, once it is done with those before: the next are parsed meanwhile."""
        events, size = self._events, self._bytes
        self._events, self._bytes = [], 0
        await self._settle()
        if events:
            self._committing = asyncio.create_task(self._context.ingest.accept_prepared(events, size))

    async def _finish(self) -> None:
        await self._commit()
        await self._settle()

    async def _settle(self) -> None:
        committing, self._committing = self._committing, None
        if committing is not None:
            self._counts.update([appended.outcome for appended in await committing])
