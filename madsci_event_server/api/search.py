"""`POST /events/search`: an EventQuery as JSON, every event as it was sent. What our own reader uses."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from madsci_event_server.api.answers import JSON, gather
from madsci_event_server.api.bodies import read_json
from madsci_event_server.api.context import context_of
from madsci_event_server.api.documented import (
    CURSOR,
    PAGE,
    STORED_EVENT,
    answer,
    described,
    filters_body,
    operation,
    ref,
)
from madsci_event_server.api.parameters import only
from madsci_event_server.json_text import encode_json
from madsci_event_server.query import EventQuery

_PAGE: Final = {
    "type": "object",
    "required": ["events", "next", "truncated"],
    "properties": {
        "events": {"type": "array", "items": ref("Event")},
        "next": described(["string", "null"], "The cursor of the next page: its `after`"),
        "truncated": described("boolean", "Whether more matches than is here"),
    },
}
_QUERIES: Final = {
    "Errors of one node": {"level": "error", "node": ["liquidhandler_1"], "since": "2026-11-23T00:00:00Z", "limit": 50},
    "Oldest first, a page on": {"search": "tip pickup", "order": "time", "after": CURSOR},
    "With a selector": {"selector": {"event_data.plate": "P7"}, "order": "received"},
}

router = APIRouter()


@router.post(
    "/events/search",
    openapi_extra=operation(
        "Read",
        answer("A page", _PAGE, {"events": [STORED_EVENT], "next": CURSOR, "truncated": True}),
        refused=(410, 413, 422, 503),
        body=filters_body(PAGE, "Filters, order and page", _QUERIES),
    ),
)
async def search_events(request: Request) -> Response:
    """The page of matching events, in the query's order."""
    only(request)
    context = context_of(request)
    query = EventQuery.parse(await read_json(request), context.zone).resolved(context.store.names_directory)
    page = await gather(context.store, query, query.limit)
    events = b",".join(stored.body for stored in page.events)
    truncated = b"false" if page.next is None else b"true"
    body = b'{"events":[%s],"next":%s,"truncated":%s}' % (events, encode_json(page.next), truncated)
    return Response(body, media_type=JSON)
