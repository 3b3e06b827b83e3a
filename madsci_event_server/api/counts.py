"""Counts: by value, over time, and the names that stand for ids."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from madsci_event_server.api.answers import json_answer
from madsci_event_server.api.bodies import query_in_body
from madsci_event_server.api.context import context_of
from madsci_event_server.api.documented import (
    FILTERS,
    NODE_ID,
    STORED_EVENT,
    WITH_A_SELECTOR,
    Parameters,
    answer,
    filters_body,
    operation,
)
from madsci_event_server.api.parameters import only, query_of, whole_number
from madsci_event_server.counting import MAX_INTERVAL_SECONDS
from madsci_event_server.errors import InvalidQuery
from madsci_event_server.event import format_time
from madsci_event_server.query import EventQuery
from madsci_event_server.storage.base import FACET_FIELDS, MAX_FACET_VALUES

DEFAULT_FIELDS: Final = ("log_level", "kind", "node_id")
DEFAULT_FACET_VALUES: Final = 20
MAX_FACET_FIELDS: Final = 20
DEFAULT_INTERVAL_SECONDS: Final = 60
_PAGE: Final = ("order", "after")
_PAGE_AND_SIZE: Final = (*_PAGE, "limit")

_FACETS: Final = {
    "facets": {
        "log_level": [{"value": "INFO", "count": 3257}, {"value": "ERROR", "count": 407}],
        "kind": [{"value": "action_status_change", "count": 912}],
    },
    "total": 4200,
    "truncated": ["kind"],
}
_HISTOGRAM: Final = {
    "interval_seconds": 3600,
    "buckets": [
        {"start": "2026-11-23T11:00:00.000000Z", "counts": {"INFO": 58, "ERROR": 2}},
        {"start": "2026-11-23T12:00:00.000000Z", "counts": {}},
    ],
}
_NAME: Final = {
    "field": "node_id",
    "id": NODE_ID,
    "name": "liquidhandler_1",
    "last_seen": STORED_EVENT["event_timestamp"],
}

router = APIRouter()


_COUNTS: Final = answer("Counts", {"type": "object", "required": ["facets", "total", "truncated"]}, _FACETS)
_BUCKETS: Final = answer("Buckets, aligned and without gaps", {"type": "object", "required": ["buckets"]}, _HISTOGRAM)
_BY: Final[Parameters] = {
    "field": (
        {"type": "array", "items": {"enum": [*FACET_FIELDS, "source.KEY"]}, "default": [*DEFAULT_FIELDS]},
        "What to count by; may be repeated",
        ["log_level", "kind"],
    ),
    "limit": (
        {"type": "integer", "minimum": 1, "maximum": MAX_FACET_VALUES, "default": DEFAULT_FACET_VALUES},
        "How many values of each",
        None,
    ),
}
_EVERY: Final[Parameters] = {
    "interval": (
        {"type": "integer", "minimum": 1, "default": DEFAULT_INTERVAL_SECONDS},
        "Seconds a bucket; at most 1,000 buckets",
        3600,
    )
}
_BODY: Final = filters_body({}, "Filters", WITH_A_SELECTOR)
_WITH_BODY: Final = (413, 422, 503)


@router.get("/events/facets", openapi_extra=operation("Count", _COUNTS, query={**_BY, **FILTERS}))
async def facets(request: Request) -> Response:
    """How many matching events have which value, per field, the most frequent first."""
    return await _facets(request, query_of(request, others=("field", "limit"), refused=_PAGE))


@router.post("/events/facets", openapi_extra=operation("Count", _COUNTS, refused=_WITH_BODY, query=_BY, body=_BODY))
async def facets_of_search(request: Request) -> Response:
    """The same for an EventQuery as JSON, as `POST /events/search` takes it: with a selector, too."""
    only(request, "field", "limit")
    return await _facets(request, await query_in_body(request, refused=_PAGE_AND_SIZE))


async def _facets(request: Request, query: EventQuery) -> Response:
    fields = dict.fromkeys(request.query_params.getlist("field")) or dict.fromkeys(DEFAULT_FIELDS)
    if len(fields) > MAX_FACET_FIELDS:
        raise InvalidQuery("field", f"is given {len(fields)} times; ask for {MAX_FACET_FIELDS} or fewer at once")
    limit = whole_number(
        request, "limit", DEFAULT_FACET_VALUES, least=1, most=MAX_FACET_VALUES, else_use="narrow the query instead"
    )
    store = context_of(request).store
    found = await store.facets(query.resolved(store.names_directory), list(fields), limit)
    return json_answer(
        {
            "facets": {
                field: [{"value": item.value, "count": item.count} for item in counts]
                for field, counts in found.facets.items()
            },
            "total": found.total,
            "truncated": list(found.truncated),
        }
    )


@router.get("/events/histogram", openapi_extra=operation("Count", _BUCKETS, query={**_EVERY, **FILTERS}))
async def histogram(request: Request) -> Response:
    """How many matching events of each level fall into each interval."""
    return await _histogram(request, query_of(request, others=("interval",), refused=_PAGE_AND_SIZE))


@router.post(
    "/events/histogram", openapi_extra=operation("Count", _BUCKETS, refused=_WITH_BODY, query=_EVERY, body=_BODY)
)
async def histogram_of_search(request: Request) -> Response:
    """The same for an EventQuery as JSON, as `POST /events/search` takes it: with a selector, too."""
    only(request, "interval")
    return await _histogram(request, await query_in_body(request, refused=_PAGE_AND_SIZE))


async def _histogram(request: Request, query: EventQuery) -> Response:
    interval = whole_number(
        request, "interval", DEFAULT_INTERVAL_SECONDS, least=1, most=MAX_INTERVAL_SECONDS, else_use="it is in seconds"
    )
    store = context_of(request).store
    buckets = [
        {
            "start": format_time(bucket.start),
            "counts": {level.name: count for level, count in bucket.counts.items()},
        }
        for bucket in await store.histogram(query.resolved(store.names_directory), interval)
    ]
    return json_answer({"interval_seconds": interval, "buckets": buckets})


@router.get(
    "/events/names",
    openapi_extra=operation(
        "Count", answer("Names", {"type": "object", "required": ["names"]}, {"names": [_NAME]}), refused=(503,)
    ),
)
async def names(request: Request) -> Response:
    """The human names seen beside ids, the latest first."""
    only(request)
    found = [
        {"field": seen.field, "id": seen.id, "name": seen.name, "last_seen": format_time(seen.last_seen)}
        for seen in await context_of(request).store.names()
    ]
    return json_answer({"names": found})
