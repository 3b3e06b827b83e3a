"""Outgoing events: from whatever a caller logs to the one line of JSON that is sent.

What goes where. A dict or a list is `event_data`; a text, or any other value, is `event_data.message`. Bound context
and keywords stand beside it. An exception is `event_data.exception` (`type`, `message`) and `event_data.traceback`. A
name that is taken gets an underscore, so nothing is overwritten. Whole events (ours, MADSci's, or their dicts) are sent
as they are.
"""

import json
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from madsci_event_cli.sending.event_ids import new_event_id
from madsci_event_cli.sending.jsonable import encode, exception_fields, jsonable, model_fields, put, text_of
from madsci_event_server.vocabulary import LEVELS_BY_NAME, SOURCE_ID_FIELDS, EventLogLevel

LEVEL_NAMES: Final = {int(level): level.name.lower() for level in EventLogLevel}
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
"""A longer event is cut to its message, and says so: whoever sends must be able to hold a few in memory."""

_SERVER_FIELDS: Final = frozenset({"received_at", "archived", "archived_at"})
_EVENT_FIELDS: Final = _SERVER_FIELDS | {
    "_id",
    "event_id",
    "event_type",
    "log_level",
    "alert",
    "event_timestamp",
    "source",
    "event_data",
    "trace_id",
    "span_id",
}
_SOURCE_IDS: Final = frozenset(SOURCE_ID_FIELDS)
_EVENT_TYPE: Final = re.compile(r"[a-z0-9_.-]{1,64}")
_ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
_CUT_MESSAGE: Final = 10_000

_context: ContextVar[Mapping[str, Any]] = ContextVar("madsci_events_context", default=MappingProxyType({}))


@contextmanager
def bound_context(**context: Any) -> Iterator[None]:
    """Everything this task or thread logs inside, by any client or handler, carries these keys."""
    token = _context.set({**_context.get(), **context})
    try:
        yield
    finally:
        _context.reset(token)


def current_context() -> Mapping[str, Any]:
    """What `bound_context` has bound here."""
    return _context.get()


def level_number(level: object) -> int:
    """The one of the six levels this stands for: by name, or the nearest below a number (1 to 9: DEBUG).

    Text that names no level is INFO: a log call is no place to fail.
    """
    if isinstance(level, str):
        name = level.lower().rpartition(".")[2]
        if name in LEVELS_BY_NAME:
            return int(LEVELS_BY_NAME[name])
        level = int(name) if name.isdecimal() and len(name) < 9 else 20
    if isinstance(level, float) or not isinstance(level, int):
        level = _rounded(level)
    return 0 if level <= 0 else min(50, max(10, level // 10 * 10))


def _rounded(level: Any) -> int:
    try:
        return int(level)
    except (TypeError, ValueError, OverflowError):
        return 20


class Outgoing:
    """Makes events for one client: its name, host and source are on each."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._source = jsonable({name: value for name, value in source.items() if value is not None})

    def event(
        self, logged: Any, level: int, context: Mapping[str, Any], keywords: dict[str, Any], *, alert: bool
    ) -> dict[str, Any]:
        """The event of one log call."""
        asked_type = keywords.pop("event_type", None)
        error = _exception_asked_for(keywords)
        event_type = type_name(asked_type)
        if asked_type is not None and event_type is None:
            keywords["event_type"] = asked_type
        return {
            "event_id": new_event_id(),
            "event_type": event_type or (f"log_{LEVEL_NAMES[level]}" if level else "log"),
            "log_level": level,
            "alert": alert,
            "event_timestamp": now_text(),
            "source": self._source,
            "event_data": _event_data(logged, {**_context.get(), **context}, keywords, error),
        }

    def whole(
        self, event: Mapping[str, Any], level: int | None, context: Mapping[str, Any], keywords: dict[str, Any]
    ) -> dict[str, Any]:
        """A whole event as it is sent: an id, a time and a source where it has none, a level where one is given.

        Bound context joins its data under names that are free.
        """
        found = as_sent(event)
        if level is not None:
            found["log_level"] = level
        if not found.get("source"):
            found["source"] = dict(self._source)
        _carry(found, jsonable({**_context.get(), **context}), jsonable(keywords))
        return found


def as_sent(event: Mapping[str, Any]) -> dict[str, Any]:
    """A whole event without what is the server's to say, one id, its time in UTC; everything else as it is."""
    found: dict[str, Any] = jsonable({name: item for name, item in event.items() if name not in _SERVER_FIELDS})
    other_id = found.pop("_id", None)
    if found.get("event_id") is None:
        found["event_id"] = new_event_id() if other_id is None else other_id
    found["event_timestamp"] = _utc_text(found.get("event_timestamp"))
    if isinstance(found.get("source"), dict):
        found["source"] = {name: item for name, item in found["source"].items() if item is not None}
    return found


def as_whole_event(logged: Any) -> Mapping[str, Any] | None:
    """The fields of `logged` where it is an event itself: an Event of ours or MADSci's, or such a dict.

    A dict is one when it holds `event_data` or `event_type` and nothing an event does not have, or `event_data` beside
    another of an event's telling fields; any other dict is data.
    """
    if isinstance(logged, dict):
        return logged if _is_event(logged) else None
    fields = getattr(type(logged), "model_fields", None)
    if isinstance(fields, dict) and {"event_id", "event_type", "event_data"} <= fields.keys():
        return dict(model_fields(logged))
    return None


def event_in(text: str) -> dict[str, Any] | None:
    """The whole event that `text` is the JSON of; None for any other text."""
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and _is_event(found) else None


def _is_event(found: dict[Any, Any]) -> bool:
    if "event_data" in found and not found.keys().isdisjoint(("event_id", "_id", "event_type", "log_level")):
        return True
    return not found.keys().isdisjoint(("event_data", "event_type")) and found.keys() <= _EVENT_FIELDS


def encode_line(event: dict[str, Any]) -> bytes:
    """The event as one line of JSON with its line end. One over MAX_EVENT_BYTES is cut to its message, and says so."""
    line = encode(event) + b"\n"
    if len(line) <= MAX_EVENT_BYTES:
        return line
    data = event["event_data"]
    message = data.get("message", "") if isinstance(data, dict) else data
    cut = {"message": text_of(message)[:_CUT_MESSAGE], "cut_from_bytes": len(line)}
    kept = {name: item for name, item in event.items() if name in _EVENT_FIELDS}
    return encode({**kept, "event_data": cut}) + b"\n"


def type_name(event_type: object) -> str | None:
    """A type as it is sent, from a name or a member of an enum; None where it cannot be one."""
    value = getattr(event_type, "value", event_type)
    name = value.lower().removeprefix("eventtype.") if isinstance(value, str) else ""
    return name if _EVENT_TYPE.fullmatch(name) else None


def is_ulid(text: object) -> bool:
    """Whether MADSci's clients would read this as an id of `source`."""
    return isinstance(text, str) and _ULID.fullmatch(text) is not None


def source_ids(source: Mapping[str, Any]) -> dict[str, Any]:
    """The ten ids of `source` that are set."""
    return {name: value for name, value in source.items() if name in _SOURCE_IDS and value is not None}


@lru_cache(maxsize=1)
def host_name() -> str:
    """This machine's name, as events carry it in `source.host`."""
    return socket.gethostname()


def now_text() -> str:
    """This instant, as events carry it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _utc_text(moment: Any) -> Any:
    """A time in UTC; one without a zone is this machine's. What is no ISO 8601 is left for the server to judge."""
    if moment is None:
        return now_text()
    try:
        found = datetime.fromisoformat(moment)
        return found.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    except (TypeError, ValueError, OverflowError, OSError):
        return moment


def _event_data(logged: Any, context: Mapping[str, Any], keywords: dict[str, Any], error: BaseException | None) -> Any:
    if isinstance(logged, BaseException):
        error = logged
        logged = text_of(error) or type(error).__name__
    plain = jsonable(logged)
    if isinstance(plain, dict):
        found = plain
    elif not isinstance(plain, list):
        found = {"message": plain}
    elif context or keywords or error is not None:
        found = {"data": plain}
    else:
        return plain
    _add(found, jsonable(context), jsonable(keywords))
    if error is not None:
        fields = exception_fields(error)
        text = fields.pop("traceback")
        put(found, "exception", fields)
        put(found, "traceback", text)
    return found


def _add(found: dict[str, Any], context: dict[str, Any], keywords: dict[str, Any]) -> None:
    """Keywords beside what is there; context where neither says otherwise."""
    for name, value in keywords.items():
        put(found, name, value)
    for name, value in context.items():
        found.setdefault(name, value)


def _carry(event: dict[str, Any], context: dict[str, Any], keywords: dict[str, Any]) -> None:
    if not context and not keywords:
        return
    data = event.setdefault("event_data", {})
    if isinstance(data, dict):
        _add(data, context, keywords)
        return
    # Data that is no object has no room: ids go to the source, where they are found, the rest beside it.
    for name, value in {**context, **keywords}.items():
        is_id = name.endswith("_id") and (name not in _SOURCE_IDS or is_ulid(value))
        event.setdefault("source" if is_id else "context", {}).setdefault(name, value)


def _exception_asked_for(keywords: dict[str, Any]) -> BaseException | None:
    """The exception that `exc_info` stands for, as in `logging`; any other value of it is data."""
    asked = keywords.get("exc_info")
    if isinstance(asked, BaseException):
        found: BaseException | None = asked
    elif isinstance(asked, tuple) and len(asked) == 3 and isinstance(asked[1], BaseException):
        found = asked[1]
    elif asked is None or isinstance(asked, bool):
        found = sys.exc_info()[1] if asked else None
    else:
        return None
    keywords.pop("exc_info", None)
    return found
