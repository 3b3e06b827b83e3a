"""`GET /events/stream`: events as they come, as Server-Sent Events. What it promises is in `live`."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from madsci_event_server import sse
from madsci_event_server.api.bodies import query_in_body
from madsci_event_server.api.context import Context, context_of
from madsci_event_server.api.documented import CURSOR, FILTERS, STORED_EVENT, WITH_A_SELECTOR, filters_body, operation
from madsci_event_server.api.parameters import one, only, query_of, whole_number
from madsci_event_server.errors import InvalidQuery
from madsci_event_server.json_text import encode_json
from madsci_event_server.live import Reader
from madsci_event_server.query import MAX_LIMIT, EventQuery

GOODBYE_SECONDS: Final = 1.0
"""How long a reader has to take the `bye` when the server stops."""
STALLED_SECONDS: Final = 600.0
"""A reader that takes nothing at all for once to twice as long is cut off; it comes back where it was."""
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would wait until it has a buffer full
]
_HELLO: Final = {"cursor": CURSOR, "server_time": STORED_EVENT["received_at"], "version": "0.1.0"}
_MESSAGES: Final = (
    f"id: {CURSOR}\nevent: hello\ndata: {encode_json(_HELLO).decode()}\n\n"
    f"id: {CURSOR}\ndata: {encode_json(STORED_EVENT).decode()}\n\n"
)
_STREAM: Final = {
    "description": "Server-Sent Events, for ever. Unnamed: an event. Named: `hello`, `heartbeat` every 10 s, `raised` "
    "(an event again, of higher level or alert), `gap` (events are missing), `bye`. Each `id` is a place to go on from",
    "content": {sse.MEDIA_TYPE: {"schema": {"type": "string"}, "example": _MESSAGES}},
}
_LAST: Final = (
    {"type": "integer", "minimum": 0, "maximum": MAX_LIMIT, "default": 0},
    "Begin so many matching events back",
    10,
)
_AFTER: Final = {
    "after": ({"type": "string"}, "A cursor: go on from there. The header `Last-Event-ID` says it, too", None)
}

router = APIRouter()


@router.get(
    "/events/stream",
    openapi_extra=operation("Read", _STREAM, refused=(410, 422, 503), query={"last": _LAST, **FILTERS, **_AFTER}),
)
async def stream_events(request: Request) -> Response:
    """Matching events as they come. `last` begins so many back; `Last-Event-ID` or `after` goes on from a cursor."""
    query = query_of(request, others=("last",), refused=("order", "limit"))
    return await _followed(request, query)


@router.post(
    "/events/stream",
    openapi_extra=operation(
        "Read",
        _STREAM,
        refused=(410, 413, 422, 503),
        query={"last": _LAST},
        body=filters_body(_AFTER, "Filters", WITH_A_SELECTOR),
    ),
)
async def stream_search(request: Request) -> Response:
    """The same for an EventQuery as JSON, as `POST /events/search` takes it: with a selector, too."""
    only(request, "last")
    query = await query_in_body(request, refused=("order", "limit"))
    return await _followed(request, query)


async def _followed(request: Request, query: EventQuery) -> Response:
    context = context_of(request)
    last = whole_number(request, "last", 0, most=MAX_LIMIT, else_use="find older events with GET /events")
    if query.after is not None and one(request, "last") is not None:
        raise InvalidQuery("last", "and after both say where to begin; give one of them")
    # A browser that connects again repeats its address, and says in the header how far it has come since.
    after = request.headers.get("last-event-id") or query.after
    reader = await context.live.follow(query, after=after, last=0 if after else last)
    return EventStream(context, reader)


class EventStream(Response):
    """The endless answer: ends with the reader, with the client, or with the server."""

    def __init__(self, context: Context, reader: Reader) -> None:
        super().__init__()
        self._context = context
        self._reader = reader
        self._taken = 0
        self._waits = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Writes until there is nobody to write to."""
        writing = asyncio.create_task(self._write(send))
        left = asyncio.create_task(_left(receive))
        stopping = asyncio.create_task(self._context.stopping.wait())
        try:
            takes_it = await self._ended(writing, left, stopping)
            if stopping.done():
                await asyncio.wait([writing, left], timeout=GOODBYE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                takes_it = writing.done()
            if writing.done():
                writing.result()  # raises what went wrong
            if not takes_it and not left.done():
                self._context.hang_up(scope)
                await asyncio.wait([left], timeout=GOODBYE_SECONDS)
        finally:
            for task in (writing, left, stopping):
                task.cancel()
            await asyncio.gather(writing, left, stopping, return_exceptions=True)

    async def _ended(self, *tasks: asyncio.Task[Any]) -> bool:
        """Returns once one of them has ended; False when none has, and the reader takes nothing any more.

        Looked at now and then: a timer for each part would cost more than to send it.
        """
        while True:
            taken = self._taken
            done, _ = await asyncio.wait(tasks, timeout=STALLED_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return True
            if self._waits and taken == self._taken:
                return False

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        messages = self._reader.messages()
        try:
            async for part in messages:
                self._waits = True
                await send({"type": "http.response.body", "body": part, "more_body": True})
                self._waits = False
                self._taken += 1
        finally:
            await messages.aclose()
        await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
