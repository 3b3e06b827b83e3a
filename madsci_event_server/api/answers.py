"""How answers are written: JSON from stored bytes, page by page, in bounded memory."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from madsci_event_server.event import KNOWN_EVENT_TYPES
from madsci_event_server.json_text import encode_json, parse_stored
from madsci_event_server.query import EventQuery
from madsci_event_server.storage.base import EventStore, Page, StoredEvent

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""Where a page is cut that would be held whole; the cursor says where to go on."""
_FIRST_PAGE_EVENTS: Final = 100
_MAX_PAGE_EVENTS: Final = 2_000
_PAGE_BYTES: Final = 4 * 1024 * 1024

_ONLY_ITSELF: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

JSON: Final = "application/json"


def json_answer(document: object, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """A JSON document of our own making."""
    return Response(_encoded(document), status, headers, JSON)


def _encoded(document: object) -> bytes:
    try:
        return encode_json(document)
    except UnicodeEncodeError:  # a path may hold bytes that are no text
        text = json.dumps(document, ensure_ascii=False)
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def page_answer(html: str) -> Response:
    """A page that is whole in itself: browsers are told to load nothing else, and to run no script but its own."""
    return HTMLResponse(html, headers={"Content-Security-Policy": _ONLY_ITSELF})


async def pages(store: EventStore, query: EventQuery, number: int = 0) -> AsyncIterator[Page]:
    """The matching events, `number` of them (0: all), in pages sized by what events turn out to weigh.

    The first page comes even when it is empty.
    """
    size, left = _FIRST_PAGE_EVENTS, number or None
    while True:
        page = await store.find(query.page_after(query.after, size if left is None else min(size, left)))
        yield page
        left = None if left is None else left - len(page.events)
        if page.next is None or left == 0:
            return
        query = query.page_after(page.next)
        size = _next_size(page.events)


def _next_size(events: Iterable[StoredEvent]) -> int:
    sizes = [len(stored.body) for stored in events]
    average = sum(sizes) // max(len(sizes), 1) + 1
    return max(1, min(_MAX_PAGE_EVENTS, _PAGE_BYTES // average))


async def gather(store: EventStore, query: EventQuery, number: int) -> Page:
    """Up to `number` events as one page, fewer where they would pass MAX_ANSWER_BYTES; `next` then goes on there."""
    events: list[StoredEvent] = []
    size = 0
    page = Page([], None)
    async for page in pages(store, query, number):
        events += page.events
        size += sum(len(stored.body) for stored in page.events)
        if size > MAX_ANSWER_BYTES:
            break
    return Page(events, page.next)


def by_id(events: Iterable[StoredEvent]) -> Iterator[bytes]:
    """MADSci's `{id: event}`, the members without braces and commas."""
    for stored in events:
        body = for_madsci(stored)
        yield b"%s:%s" % (_id_of(body), body)


def _id_of(body: bytes) -> bytes:
    """The event's id as JSON: every stored event's bytes begin with `{"_id":"..."`."""
    start, quote = len(b'{"_id":'), b'"'
    end = start + 1
    while (end := body.index(quote, end)) and _escaped(body, end):
        end += 1
    return body[start : end + 1]


def _escaped(body: bytes, at: int) -> bool:
    backslashes = 0
    while body[at - 1 - backslashes] == ord("\\"):
        backslashes += 1
    return backslashes % 2 == 1


def for_madsci(stored: StoredEvent) -> bytes:
    """The event as MADSci's clients can read it: they refuse a whole list for one type they do not know."""
    if stored.event_type in KNOWN_EVENT_TYPES:
        return stored.body
    document = {}
    for name, value in parse_stored(stored.body).items():
        if name == "event_type":
            document["event_type"], document["event_type_as_sent"] = "unknown", value
        else:
            document.setdefault(name, value)  # ours stays where a sender has a field of that name
    return encode_json(document)


def stream(first: Page, rest: AsyncIterator[Page]) -> StreamingResponse:
    """`{id: event}` of all pages, written as they come."""
    return StreamingResponse(_stream(first, rest), media_type=JSON)


async def _stream(first: Page, rest: AsyncIterator[Page]) -> AsyncIterator[bytes]:
    yield b"{" + b",".join(by_id(first.events))
    written = bool(first.events)
    async for page in rest:
        if page.events:
            yield (b"," if written else b"") + b",".join(by_id(page.events))
            written = True
    yield b"}"


def next_headers(request: Request, cursor: str | None) -> dict[str, str]:
    """`Link` and `X-Next-Cursor`, where more matches."""
    if cursor is None:
        return {}
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name not in ("after", "offset")]
    target = f"{request.url.path}?{urlencode([*pairs, ('after', cursor)])}"
    return {"Link": f'<{target}>; rel="next"', "X-Next-Cursor": cursor}
