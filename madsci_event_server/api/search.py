"""`POST /events/search`: an EventQuery as JSON, every event as it was sent. What our own reader uses."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from madsci_event_server.api.answers import JSON, gather
from madsci_event_server.api.bodies import read_json
from madsci_event_server.api.context import context_of
from madsci_event_server.api.parameters import only
from madsci_event_server.json_text import encode_json
from madsci_event_server.query import EventQuery

router = APIRouter()


@router.post("/events/search")
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
