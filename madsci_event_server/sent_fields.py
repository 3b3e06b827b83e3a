"""What a sender may write in each field of an event, and what it means.

Whoever calls says with `tidied` how a value of any JSON becomes tidy: `tidied` itself, or `as_it_is` where the text it
was parsed from is known to be tidy.
"""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Any, Final

from pydantic_core import to_jsonable_python

from madsci_event_server.errors import InvalidEvent, InvalidInput, shown
from madsci_event_server.json_text import tidy
from madsci_event_server.moments import as_number, parse_time
from madsci_event_server.vocabulary import LEVELS_BY_NAME, SOURCE_ID_FIELDS, EventLogLevel, EventType

KNOWN_EVENT_TYPES: Final = frozenset(member.value for member in EventType)
RENAMED_EVENT_TYPES: Final = {"experiment_stop": "experiment_cancelled"}
"""What MADSci called a type before, and what it calls it now."""

SERVER_FIELDS: Final = ("received_at", "archived", "archived_at")
"""The server's to set: what a sender says there is ignored."""

MAX_ID_CHARACTERS: Final = 128
SOURCE_IDS: Final = frozenset(SOURCE_ID_FIELDS)

_EVENT_TYPE = re.compile(r"[a-z0-9_.-]{1,64}")
_ULID_CHARACTERS: Final = 26
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})
_LEVEL_WORDS: Final = ", ".join(level.name.lower() for level in EventLogLevel)
_LEVELS: Final = {int(level): level for level in EventLogLevel}
_LEVEL_NUMBERS: Final = frozenset(float(level) for level in EventLogLevel)
_SENT_NAMES: Final = frozenset(
    {"_id", "event_id", "event_type", "log_level", "alert", "event_timestamp", "source", "event_data"}
    | {"trace_id", "span_id", *SERVER_FIELDS}
)
_ABSENT: Final = object()

Tidied = Callable[[Any, str], Any]
"""What makes the value of a named field tidy, or knows that it is."""


def parse_sent(document: object, zone: tzinfo | None, tidied: Tidied) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that were sent, parsed, but for `source`, which is as sent; and all that we have no field for.

    The server's own fields are in neither. Raises InvalidEvent.
    """
    if type(document) is not dict and not isinstance(document, Mapping):
        raise InvalidEvent("event", f"must be a JSON object, not {_json_kind(document)}", value=document)
    found: dict[str, Any] = {}
    get = document.get
    if (value := get("event_id")) is not None:
        found["event_id"] = _checked_id(value, "event_id")
    if (value := get("_id")) is not None:
        _take_other_id(found, value)
    if (value := get("event_type", _ABSENT)) is not _ABSENT:
        found["event_type"] = parse_event_type(value)
    if (value := get("log_level", _ABSENT)) is not _ABSENT:
        found["log_level"] = parse_level(value)
    if (value := get("alert", _ABSENT)) is not _ABSENT:
        found["alert"] = value if value is False else _parse_alert(value)
    if (value := get("event_timestamp")) is not None:
        found["event_timestamp"] = parse_time(value, zone)
    if (value := get("source")) is not None:
        found["source"] = value
    if (value := get("event_data", _ABSENT)) is not _ABSENT:
        found["event_data"] = tidied(value, "event_data")
    if (value := get("trace_id")) is not None:
        found["trace_id"] = _parse_trace(value, "trace_id", tidied)
    if (value := get("span_id")) is not None:
        found["span_id"] = _parse_trace(value, "span_id", tidied)
    return found, {} if document.keys() <= _SENT_NAMES else _parse_others(document, tidied)


def parse_server_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a program of ours sets of the server's fields. Raises InvalidEvent."""
    return {
        name: document[name] if name == "archived" else parse_time(document[name], UTC, name)
        for name in SERVER_FIELDS
        if document.get(name) is not None
    }


def parse_source(value: object, tidied: Tidied) -> dict[str, Any]:
    """A source's ids, checked, and whatever else stands beside them. Raises InvalidEvent."""
    if type(value) is not dict and not isinstance(value, Mapping):
        raise InvalidEvent(
            "source", f'must be an object such as {{"node_id": "01J..."}}, not {_json_kind(value)}', value=value
        )
    found: dict[str, Any] = {}
    for name, item in value.items():
        if name in SOURCE_IDS:
            if item is None:
                continue
            if not (isinstance(item, str) and is_ulid(item)):
                raise InvalidEvent(f"source.{name}", _not_a_ulid(item), value=item)
            found[name] = item
        else:
            found[_new_name(name, found)] = tidied(item, f"source.{name}")
    return found


def parse_level(value: object, field: str = "log_level") -> EventLogLevel:
    """A level from its number (40, "40", 40.0) or its name in any case ("error", "EventLogLevel.ERROR", "warn").

    Raises InvalidEvent.
    """
    if type(value) is int and value in _LEVELS:
        return _LEVELS[value]
    level = LEVELS_BY_NAME.get(value.lower().removeprefix("eventloglevel.")) if isinstance(value, str) else None
    if level is not None:
        return level
    number = as_number(value)
    if number in _LEVEL_NUMBERS:
        return EventLogLevel(int(number))
    raise InvalidEvent(
        field, f"{shown(value)} is not a level; use {_LEVEL_WORDS} or their numbers 0, 10, 20, 30, 40, 50", value=value
    )


def parse_event_type(value: object, field: str = "event_type") -> str:
    """A type in lower case, MADSci's old names as the new ones. Raises InvalidEvent."""
    if type(value) is str and value in KNOWN_EVENT_TYPES:
        return value
    if isinstance(value, str):
        name = value.lower().removeprefix("eventtype.")
        if _EVENT_TYPE.fullmatch(name):
            return RENAMED_EVENT_TYPES.get(name, name)
    raise InvalidEvent(
        field, f"{shown(value)} is not a type; use 1 to 64 letters, digits, '_', '.' or '-'", value=value
    )


def canonical_id(text: str) -> str:
    """How an id is compared: a ULID in upper case, anything else as it is."""
    return text.upper() if len(text) == _ULID_CHARACTERS and is_ulid(text) else text


@lru_cache(maxsize=4096)
def is_ulid(text: str) -> bool:
    """Whether it is 26 characters of Crockford's base 32. A lab has few ids at a time, and each comes often."""
    return _ULID.fullmatch(text) is not None


def tidied(value: Any, field: str) -> Any:
    """The tidy value of whatever was sent, or put into an Event by a program. Raises InvalidEvent."""
    try:
        return tidy(value, field)
    except InvalidInput as error:
        if "which is not JSON" not in error.problem:
            raise InvalidEvent(error.field, error.problem, value=error.value) from None
    # Only an Event built in Python gets here: the wire holds nothing but JSON.
    return tidied(to_jsonable_python(value, fallback=repr, inf_nan_mode="constants", bytes_mode="base64"), field)


def as_it_is(value: Any, _: str) -> Any:
    """The value, tidy already."""
    return value


def _take_other_id(found: dict[str, Any], value: object) -> None:
    other = _checked_id(value, "_id")
    if found.setdefault("event_id", other) != other:
        raise InvalidEvent(
            "_id", f"{shown(other)} and event_id {shown(found['event_id'])} differ; send one of them", value=other
        )


def _checked_id(value: object, field: str) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARACTERS and value.isprintable():
        return value
    raise InvalidEvent(
        field, f"{shown(value)} is not an id; use 1 to {MAX_ID_CHARACTERS} printable characters", value=value
    )


def _parse_alert(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in (0, 1) or (isinstance(value, str) and value.lower() in _TRUE | _FALSE):
        return value == 1 or str(value).lower() in _TRUE
    raise InvalidEvent("alert", f"{shown(value)} is neither true nor false", value=value)


def _parse_trace(value: object, field: str, tidied: Tidied) -> str:
    if isinstance(value, str):
        return str(tidied(value, field))
    raise InvalidEvent(field, f"{shown(value)} is not text; send a string or null", value=value)


def _parse_others(document: Mapping[Any, Any], tidied: Tidied) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name not in _SENT_NAMES:
            found[_new_name(name, found)] = tidied(value, name)
    return found


def _new_name(name: object, others: Collection[str]) -> str:
    if not isinstance(name, str):
        raise InvalidEvent(shown(name), "is not a field name; names are strings")
    clean = str(tidy(name, "field name"))
    if clean in others:
        raise InvalidEvent(shown(name), "is the same as another name once lone surrogates are replaced; rename one")
    return clean


def _not_a_ulid(value: object) -> str:
    return (
        f"{shown(value)} is not a ULID (26 letters and digits, the first 0 to 7, no I, L, O, U); "
        "leave it out, or send the name as source.name"
    )


def _json_kind(value: object) -> str:
    if value is None:
        return "null"
    names = {
        str: "text",
        list: "an array",
        bool: "true or false",
        int: "a number",
        float: "a number",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)
