"""Hiding events and deleting them for good, in MADSci's shapes. Listing what is archived is in `reading`."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from madsci_event_server.api.answers import json_answer
from madsci_event_server.api.bodies import read_json
from madsci_event_server.api.context import context_of
from madsci_event_server.api.documented import EVENT_ID, answer, described, json_body, operation
from madsci_event_server.api.origins import refuse_foreign_pages
from madsci_event_server.api.parameters import flag, only, whole_number
from madsci_event_server.errors import InvalidInput, shown
from madsci_event_server.event import MAX_ID_CHARACTERS, parse_time

DEFAULT_OLDER_THAN_DAYS: Final = 365
MAX_DAYS: Final = 36_500
_FIELDS: Final = ("event_ids", "before_date", "batch_size")

router = APIRouter(dependencies=[Depends(refuse_foreign_pages)])


@router.post(
    "/events/archive",
    openapi_extra=operation(
        "Archive",
        answer("How many", {"type": "object"}, {"archived_count": 2, "message": "2 events are archived now"}),
        refused=(403, 413, 422, 503),
        body=json_body(
            "Which: ids, or all before a time",
            {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "event_ids": {"type": ["array", "null"], "items": {"type": "string"}},
                    "before_date": {"type": ["string", "number", "null"]},
                    "batch_size": described(["integer", "null"], "MADSci's; has no meaning here", minimum=1),
                },
            },
            {"By id": {"event_ids": [EVENT_ID]}, "All before": {"before_date": "2026-11-01T00:00:00Z"}},
        ),
    ),
)
async def archive_events(request: Request) -> Response:
    """Archives the events with these ids, or all before a time. Ids win where both are given."""
    only(request)
    context = context_of(request)
    asked = _fields(await read_json(request))
    _check_batch_size(asked.get("batch_size"))
    ids = _ids(asked.get("event_ids"))
    before = None if ids or asked.get("before_date") is None else _time(asked["before_date"], request)
    if not ids and before is None:
        raise InvalidInput("event_ids", "or before_date must say what to archive; nothing was")
    count = await context.store.archive(ids=ids or None, before=before, at=context.clock())
    context.live.forget()
    return json_answer({"archived_count": count, "message": f"{count} events are archived now"})


@router.delete(
    "/events/archived",
    openapi_extra=operation(
        "Archive",
        answer("How many", {"type": "object"}, {"deleted_count": 6, "message": "6 events ... are deleted for good"}),
        refused=(403, 422, 503),
        query={
            "older_than_days": (
                {"type": "integer", "minimum": 0, "maximum": MAX_DAYS, "default": DEFAULT_OLDER_THAN_DAYS},
                "Since they were archived; 0 is all that is archived",
                None,
            ),
            "dry_run": ({"type": "boolean", "default": False}, "Only count", None),
        },
    ),
)
async def purge_archived(request: Request) -> Response:
    """Deletes for good what was archived more than so many days ago; `dry_run` only counts."""
    only(request, "older_than_days", "dry_run")
    context = context_of(request)
    days = whole_number(
        request, "older_than_days", DEFAULT_OLDER_THAN_DAYS, most=MAX_DAYS, else_use="0 is all that is archived"
    )
    dry_run = flag(request, "dry_run", default=False)
    count = await context.store.purge(context.clock() - timedelta(days=days), dry_run=dry_run)
    context.live.forget()
    done = "would be deleted" if dry_run else "are deleted for good"
    return json_answer({"deleted_count": count, "message": f"{count} events archived over {days} days ago {done}"})


def _fields(document: object) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise InvalidInput("body", 'must be a JSON object such as {"event_ids": ["01J..."]}', value=document)
    for name in document:
        if name not in _FIELDS:
            raise InvalidInput(name, f"is not a field here; use {' or '.join(_FIELDS[:2])}", value=document[name])
    return document


def _ids(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput("event_ids", "must be an array of ids", value=value)
    for index, item in enumerate(value):
        if not (isinstance(item, str) and 0 < len(item) <= MAX_ID_CHARACTERS):
            raise InvalidInput(f"event_ids.{index}", f"{shown(item)} is not an id; ids are text", value=item)
    return value


def _check_batch_size(value: object) -> None:
    # Of no use here, but 0 or a text is a mistake of whoever sent it, and what else she meant is not known.
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InvalidInput("batch_size", f"{shown(value)} is not a whole number from 1 on; leave it out", value=value)


def _time(value: object, request: Request) -> datetime:
    return parse_time(value, context_of(request).zone, "before_date")
