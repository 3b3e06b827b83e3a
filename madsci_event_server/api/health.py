"""Whether an event sent now would be stored, and how things stand."""

from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from madsci_event_server.api.answers import json_answer
from madsci_event_server.api.context import Context, context_of
from madsci_event_server.api.documented import answer, operation
from madsci_event_server.api.parameters import only
from madsci_event_server.errors import StoreError
from madsci_event_server.storage.base import StoreStatus

VERSION: Final = version("madsci-events")
_NO_TRACING: Final = {"otel_enabled": None, "otel_exporter_type": None, "otel_endpoint": None}
"""MADSci's clients look for these; there is no tracing here."""

_EXAMPLE: Final[dict[str, Any]] = {
    "healthy": True,
    "description": "events are stored as they come",
    "version": VERSION,
    "db_connected": True,
    "total_events": 4200,
    **_NO_TRACING,
    "problems": [],
    "uptime_seconds": 86400.0,
    "last_seq": 4207,
    "received": {"stored": 4200, "duplicate": 13, "raised": 7, "conflict": 0},
    "conflicts": 0,
    "waiting_events": 0,
    "lag_seconds": 0.0,
    "stream_readers": 3,
    "store": {
        "kind": "sqlite",
        "location": ".madsci/events/events.db",
        "events": 4200,
        "archived": 0,
        "size_bytes": 8388608,
        "details": {},
    },
}

router = APIRouter()


@router.get(
    "/health",
    openapi_extra=operation("About", answer("Events can be stored", {"type": "object"}, _EXAMPLE), refused=(503,)),
)
async def health(request: Request) -> Response:
    """200 when events can be stored, 503 with the reasons when not."""
    only(request)
    context = context_of(request)
    try:
        status: StoreStatus | None = await context.store.status()
        alerts: dict[str, Any] | None = asdict(await context.alerting.condition())
        problems: list[str] = []
    except StoreError as error:
        status, alerts, problems = None, None, [str(error)]
    document = _health(context, status, problems) | {"alerts": alerts}
    retry = {"Retry-After": "5"} if problems else None
    return json_answer(document, retry, 503 if problems else 200)


def _health(context: Context, status: StoreStatus | None, problems: list[str]) -> dict[str, Any]:
    ingest = context.ingest
    return {
        "healthy": not problems,
        "description": "; ".join(problems) or "events are stored as they come",
        "version": VERSION,
        "db_connected": status is not None,
        "total_events": None if status is None else status.events,
        **_NO_TRACING,
        "problems": problems,
        "uptime_seconds": round(context.uptime_seconds, 3),
        "last_seq": ingest.committed.seq if status is None else status.last_seq,
        "received": ingest.counts(),
        "conflicts": ingest.counts()["conflict"],
        "waiting_events": ingest.waiting_events,
        "lag_seconds": round(ingest.lag_seconds, 3),
        "stream_readers": context.live.readers,
        "store": None if status is None else _store(status),
    }


def _store(status: StoreStatus) -> dict[str, Any]:
    return {
        "kind": status.kind,
        "location": status.location,
        "events": status.events,
        "archived": status.archived,
        "size_bytes": status.size_bytes,
        "details": dict(status.details),
    }
