"""Events out, as MADSci's clients ask for them: one by its id, the newest, those a selector finds, archived ones."""

import ast
import time
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from madsci_event_server.api.answers import JSON, by_id, gather, next_headers, pages, stream
from madsci_event_server.api.bodies import MAX_QUERY_BYTES, read_question
from madsci_event_server.api.context import Context, context_of
from madsci_event_server.api.documented import (
    EVENT_ID,
    LISTING,
    NODE_ID,
    NUMBER,
    OFFSET,
    PAGE,
    STORED_EVENT,
    answer,
    json_body,
    operation,
    ref,
)
from madsci_event_server.api.parameters import flag, one, only, query_of, whole_number
from madsci_event_server.errors import Ambiguous, InvalidInput, InvalidQuery, NotFound, QueryTimedOut, shown
from madsci_event_server.json_text import parse_json
from madsci_event_server.query import MAX_LIMIT, EventQuery
from madsci_event_server.storage.base import DEFAULT_QUERY_SECONDS

MIN_PARTIAL_CHARACTERS: Final = 8
"""Of an id's beginning or end: fewer fit too many."""
_MAX_OFFSET: Final = 2**53
_NAMED_CANDIDATES: Final = 5

_FIXED: Final = ("order", "only_archived", "include_archived")
_NEXT: Final = {
    "Link": 'Where more matches: `</events?after=...>; rel="next"`',
    "X-Next-Cursor": "The same as a cursor, to be given as `after`",
}
_LISTED: Final = answer("`{id: event}`, newest first", ref("EventsById"), {EVENT_ID: STORED_EVENT}, headers=_NEXT)
_ARCHIVED: Final = {"archived": True, "archived_at": STORED_EVENT["received_at"]}
_SELECTORS: Final = {
    "Of one node": {"source": {"node_id": NODE_ID}},
    "Errors of some kinds": {"log_level": {"$gte": "ERROR"}, "event_type": {"$in": ["node_error", "log_error"]}},
    "By a field of the data": {"event_data.plate": {"$regex": "^P[0-9]+$"}, "alert": {"$ne": True}},
}

router = APIRouter()


@router.get(
    "/event/{event_id:path}",
    openapi_extra=operation(
        "Read",
        answer("The event", ref("Event"), STORED_EVENT),
        refused=(404, 409, 422, 503),
        query={
            "partial": (
                {"type": "boolean", "default": False},
                "The id may be a beginning or end of one, 8 or more",
                None,
            )
        },
    ),
)
async def get_event(request: Request, event_id: str) -> Response:
    """One event by its id, archived or not."""
    only(request, "partial")
    store = context_of(request).store
    if flag(request, "partial", default=False):
        event_id = await _whole_id(context_of(request), event_id)
    return Response((await store.get(event_id)).body, media_type=JSON)


@router.get("/events", openapi_extra=operation("Read", _LISTED, refused=(410, 422, 503), query=LISTING))
async def list_events(request: Request) -> Response:
    """The newest matching events as `{id: event}`."""
    query = query_of(request, others=("number", "offset"))
    return await _listed(request, query, _number(request, query.limit))


@router.get(
    "/events/archived",
    openapi_extra=operation(
        "Archive",
        answer("`{id: event}`", ref("EventsById"), {EVENT_ID: STORED_EVENT | _ARCHIVED}, headers=_NEXT),
        refused=(410, 422, 503),
        query={name: LISTING[name] for name in LISTING if name not in _FIXED},
    ),
)
async def list_archived(request: Request) -> Response:
    """Archived events as `{id: event}`, the last archived first."""
    query = query_of(request, others=("number", "offset"), refused=_FIXED).model_copy(
        update={"order": "-archived", "only_archived": True}
    )
    return await _listed(request, query, _number(request, query.limit))


@router.post(
    "/events/query",
    openapi_extra=operation(
        "Read",
        _LISTED,
        refused=(410, 413, 422, 503),
        query={
            "selector": ({"type": "string"}, "Instead of the body: JSON, or the text Python makes of a dict", None),
            "number": ({**NUMBER[0], "default": 0}, NUMBER[1], None),
            "offset": OFFSET,
            "after": PAGE["after"],
        },
        body=json_body("MongoDB's filter language", {"type": "object"}, _SELECTORS, required=False),
    ),
)
async def query_events(request: Request) -> Response:
    """Every event a selector finds, archived ones included, newest first, as `{id: event}`."""
    only(request, "selector", "number", "offset", "after")
    query = EventQuery.parse(
        {"selector": await _selector(request), "include_archived": True, "after": one(request, "after")},
        context_of(request).zone,
    )
    return await _listed(request, query, _number(request, 0))


def _number(request: Request, default: int) -> int:
    if "number" in request.query_params and "limit" in request.query_params:
        raise InvalidQuery("number", "and limit say the same; give one of them")
    return whole_number(
        request, "number", default, most=MAX_LIMIT, else_use="0 is all of them, or page with the cursor `after`"
    )


async def _listed(request: Request, query: EventQuery, number: int) -> Response:
    context = context_of(request)
    query = query.resolved(context.store.names_directory)
    offset = whole_number(request, "offset", 0, most=_MAX_OFFSET, else_use="page with the cursor `after`")
    if offset:
        passed = await _passed(context, query, offset)
        if passed is None:
            return Response(b"{}", media_type=JSON)
        query = passed
    if number == 0:
        found = pages(context.store, query)
        # The first page is looked for before the answer begins: what is wrong with the query is still a problem then.
        return stream(await anext(found), found)
    page = await gather(context.store, query, number)
    return Response(
        b"{" + b",".join(by_id(page.events)) + b"}", headers=next_headers(request, page.next), media_type=JSON
    )


async def _passed(context: Context, query: EventQuery, offset: int) -> EventQuery | None:
    """The query after its first `offset` events; None when no more are left. Raises QueryTimedOut."""
    until = time.monotonic() + DEFAULT_QUERY_SECONDS
    after: str | None = None
    async for page in pages(context.store, query, offset):
        after = page.next
        if time.monotonic() > until:
            raise QueryTimedOut(f"offset: passing over {offset} events takes too long; page with the cursor `after`")
    return None if after is None else query.page_after(after)


async def _selector(request: Request) -> object:
    body = await read_question(request)
    text = one(request, "selector")
    if text is None:
        return _selector_object(parse_json(body, "selector"))
    if body.strip():
        raise InvalidQuery("selector", "is in the body and in the query string; send it once")
    return _selector_object(_literal(text))


def _selector_object(selector: object) -> object:
    example = '{"source.node_id": "01J..."}'
    if not isinstance(selector, dict):
        raise InvalidQuery("selector", f"must be a JSON object such as {example}, not {shown(selector)}")
    if set(selector) == {"selector"} and isinstance(selector["selector"], dict):
        raise InvalidQuery("selector", f"must not be wrapped; send the selector itself, such as {example}")
    return selector


def _literal(text: str) -> Any:
    """JSON, or the Python literal that MADSci's client makes of a dict. Raises InvalidQuery."""
    if len(text) > MAX_QUERY_BYTES:
        raise InvalidQuery("selector", "is too long; send it as the JSON body")
    try:
        return parse_json(text, "selector")
    except InvalidInput as error:
        try:
            return _plain(ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise InvalidQuery("selector", error.problem + "; send the selector as the JSON body", value=text) from None


def _plain(value: Any) -> Any:
    """A literal as the JSON it stands for. Raises ValueError for what has none (bytes, sets, complex numbers)."""
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise ValueError
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError


async def _whole_id(context: Context, part: str) -> str:
    if await _is_id(context, part):
        return part
    if len(part) < MIN_PARTIAL_CHARACTERS:
        raise InvalidQuery(
            "event_id", f"{shown(part)} is too short; give {MIN_PARTIAL_CHARACTERS} characters or more", value=part
        )
    found = await context.store.ids_like(part, _NAMED_CANDIDATES + 1)
    if not found:
        raise NotFound(f"no event's id begins or ends with {shown(part)}")
    if len(found) > 1:
        named = ", ".join(found[:_NAMED_CANDIDATES]) + (" and more" if len(found) > _NAMED_CANDIDATES else "")
        raise Ambiguous(f"the ids of several events begin or end with {shown(part)}: {named}; give more of it")
    return found[0]


async def _is_id(context: Context, text: str) -> bool:
    try:
        await context.store.get(text)
    except NotFound:
        return False
    return True
