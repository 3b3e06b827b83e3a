"""Counts: by value, over time, and the names that stand for ids."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from madsci_event_server.api.answers import json_answer
from madsci_event_server.api.context import context_of
from madsci_event_server.api.documented import FILTERS, NODE_ID, STORED_EVENT, answer, operation
from madsci_event_server.api.parameters import only, query_of, whole_number
from madsci_event_server.errors import InvalidQuery
from madsci_event_server.event import format_time
from madsci_event_server.storage.base import FACET_FIELDS, MAX_FACET_VALUES

DEFAULT_FIELDS: Final = ("log_level", "kind", "node_id")
DEFAULT_FACET_VALUES: Final = 20
MAX_FACET_FIELDS: Final = 20
DEFAULT_INTERVAL_SECONDS: Final = 60
_YEAR_SECONDS: Final = 366 * 86400
_PAGE: Final = ("order", "after")

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


@router.get(
    "/events/facets",
    openapi_extra=operation(
        "Count",
        answer("Counts", {"type": "object", "required": ["facets", "total", "truncated"]}, _FACETS),
        query={
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
            **FILTERS,
        },
    ),
)
async def facets(request: Request) -> Response:
    """How many matching events have which value, per field, the most frequent first."""
    store = context_of(request).store
    query = query_of(request, others=("field", "limit"), refused=_PAGE).resolved(store.names_directory)
    fields = dict.fromkeys(request.query_params.getlist("field")) or dict.fromkeys(DEFAULT_FIELDS)
    if len(fields) > MAX_FACET_FIELDS:
        raise InvalidQuery("field", f"is given {len(fields)} times; ask for {MAX_FACET_FIELDS} or fewer at once")
    limit = whole_number(
        request, "limit", DEFAULT_FACET_VALUES, least=1, most=MAX_FACET_VALUES, else_use="narrow the query instead"
    )
    found = await store.facets(query, list(fields), limit)
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


@router.get(
    "/events/histogram",
    openapi_extra=operation(
        "Count",
        answer("Buckets, aligned and without gaps", {"type": "object", "required": ["buckets"]}, _HISTOGRAM),
        query={
            "interval": (
                {"type": "integer", "minimum": 1, "default": DEFAULT_INTERVAL_SECONDS},
                "Seconds a bucket; at most 1,000 buckets",
                3600,
            ),
            **FILTERS,
        },
    ),
)
async def histogram(request: Request) -> Response:
    """How many matching events of each level fall into each interval."""
    store = context_of(request).store
    query = query_of(request, others=("interval",), refused=(*_PAGE, "limit")).resolved(store.names_directory)
    interval = whole_number(
        request, "interval", DEFAULT_INTERVAL_SECONDS, least=1, most=_YEAR_SECONDS, else_use="it is in seconds"
    )
    buckets = [
        {
            "start": format_time(bucket.start),
            "counts": {level.name: count for level, count in bucket.counts.items()},
        }
        for bucket in await store.histogram(query, interval)
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
