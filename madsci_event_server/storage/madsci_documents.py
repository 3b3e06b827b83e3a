"""What MADSci's Event Manager left in MongoDB, as events of ours. Of May 2025 and of 0.8.x alike.

Nothing is left out: a document that is no event by any rule becomes one of type `unknown` that holds it whole.
"""

import base64
import contextlib
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from bson import Binary, Decimal128, ObjectId
from ulid import ULID

from madsci_event_server.errors import InvalidInput
from madsci_event_server.event import (
    MAX_ID_CHARACTERS,
    Event,
    encode_sorted,
    format_time,
    parse_level,
    parse_time,
)
from madsci_event_server.json_text import tidy

_KEPT: Final = "madsci-"
"""How the id of a document begins that has none."""


def event_of_document(document: Mapping[str, Any], zone: tzinfo | None, now: datetime) -> tuple[Event, str | None]:
    """The event a document means; or the one that holds it whole, and why it is none.

    Timestamps without a zone are in `zone`; `now` is when it is received here.
    """
    plain = {str(name): as_json(value) for name, value in document.items()}
    if "event_id" in plain or isinstance(document.get("_id"), ObjectId):
        # May 2025's: MongoDB's own key is beside the event's id, and was never sent.
        key = plain.pop("_id", None)
        plain.setdefault("event_id", key)
    if plain.get("event_timestamp") is None:  # a time that is the same when it is copied again
        plain["event_timestamp"] = as_json(_made_at(document.get("_id"), plain.get("event_id")))
    try:
        event, problem = Event.sent(tidy(plain, "event"), zone), None
    except InvalidInput as error:
        event, problem = _kept_whole(document, str(error), zone), str(error)
    return _with_servers_fields(event, document, now), problem


def as_json(value: Any) -> Any:
    """A BSON value as JSON has it."""
    if isinstance(value, datetime):
        return format_time(value if value.tzinfo else value.replace(tzinfo=UTC))
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, Binary | bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal128):
        return str(value.to_decimal())
    if value is None or isinstance(value, str | bool | float):
        return value
    return int(value) if isinstance(value, int) else str(value)


def _with_servers_fields(event: Event, document: Mapping[str, Any], now: datetime) -> Event:
    archived_at = _time(document.get("archived_at"), UTC)
    archived = bool(document.get("archived")) or archived_at is not None
    if not archived:
        return event.changed(received_at=now)
    return event.changed(received_at=now, archived=True, archived_at=archived_at or now)


def _kept_whole(document: Mapping[str, Any], problem: str, zone: tzinfo | None) -> Event:
    plain = as_json(document)
    sent: dict[str, Any] = {
        "event_id": _id_of(document),
        "event_type": "unknown",
        "event_timestamp": _time(document.get("event_timestamp"), zone)
        or _made_at(document.get("_id"), document.get("event_id")),
        "log_level": _level(document.get("log_level")),
        "event_data": {"message": f"no event by any schema: {problem}", "madsci_document": plain},
    }
    return Event.sent({name: value for name, value in sent.items() if value is not None}, zone)


def _id_of(document: Mapping[str, Any]) -> str:
    """The document's own id where it can be one; else one that is the same for the same document."""
    for name in ("event_id", "_id"):
        value = document.get(name)
        text = str(value) if isinstance(value, ObjectId) else value
        if isinstance(text, str) and 0 < len(text) <= MAX_ID_CHARACTERS and text.isprintable():
            return text
    return f"{_KEPT}{hashlib.sha256(encode_sorted(as_json(document))).hexdigest()[:32]}"


def _time(value: object, zone: tzinfo | None) -> datetime | None:
    """An instant, if it is one; BSON's dates are UTC."""
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    try:
        return None if value is None else parse_time(value, zone)
    except InvalidInput:
        return None


def _made_at(*ids: object) -> datetime | None:
    """When the first of these ids that tells was made."""
    for id_ in ids:
        if isinstance(id_, ObjectId):
            return id_.generation_time
        if isinstance(id_, str):
            with contextlib.suppress(ValueError):
                return ULID.from_str(id_).datetime
    return None


def _level(value: object) -> int | None:
    try:
        return None if value is None else int(parse_level(value))
    except InvalidInput:
        return None
