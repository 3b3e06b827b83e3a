"""Event: the wire contract. What may be sent, what comes back, and what an event is about.

The field names are MADSci's; `received_at` is ours. What an event is about (`kind`, `ids`, `name`, `message`) is
derived here and nowhere else, and is never written into what was sent.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache, partial
from typing import Any, Final, Literal, NamedTuple, Self, TypeVar

from orjson import Fragment
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import to_jsonable_python
from ulid import ULID

from madsci_event_server.derived import derived
from madsci_event_server.errors import InvalidEvent, InvalidInput, shown
from madsci_event_server.json_text import (
    DOUBTFUL,
    encode_json,
    encode_queryable,
    parse_json,
    parse_tidy,
    queryable,
    tidy,
)
from madsci_event_server.vocabulary import ID_FIELDS as ID_FIELDS
from madsci_event_server.vocabulary import LEVELS_BY_NAME
from madsci_event_server.vocabulary import SOURCE_ID_FIELDS as SOURCE_ID_FIELDS
from madsci_event_server.vocabulary import EventLogLevel as EventLogLevel
from madsci_event_server.vocabulary import EventType as EventType
from madsci_event_server.words import distinct_words

KNOWN_EVENT_TYPES: Final = frozenset(member.value for member in EventType)
RENAMED_EVENT_TYPES: Final = {"experiment_stop": "experiment_cancelled"}
"""What MADSci called a type before, and what it calls it now."""

_SOURCE_ID_FIELDS: Final = frozenset(SOURCE_ID_FIELDS)
_NO_IDS: Final[dict[str, Any]] = dict.fromkeys(SOURCE_ID_FIELDS)

SERVER_FIELDS: Final = ("received_at", "archived", "archived_at")
"""The server's to set: what a sender says there is ignored."""

NOT_ARCHIVED_TAIL: Final = b'"archived":false,"archived_at":null}'
"""How the bytes of every event end that is not archived; `archived_tail` is what replaces it."""

MAX_ID_CHARACTERS = 128
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EPOCH_MILLISECONDS_FROM = 2e10
"""Epoch numbers above this are milliseconds, as pydantic (so MADSci) reads them."""

_EVENT_TYPE = re.compile(r"[a-z0-9_.-]{1,64}")
_ULID_CHARACTERS: Final = 26
_NOTHING: Final[dict[str, Any]] = {}
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})

NAMED_BY: Final = {
    "experiment_name": "experiment_id",
    "campaign_name": "campaign_id",
    "project_name": "project_id",
    "workcell_name": "workcell_id",
    "workflow_name": "workflow_id",
    "lab_name": "lab_id",
    "user_name": "user_id",
}
"""Names in `event_data` that stand beside the id of the same thing."""


_NAMES: Final = frozenset({"node_name", *NAMED_BY})


def new_event_id() -> str:
    """A new ULID (26 characters of Crockford's base 32): ids made later sort later, to the millisecond."""
    return str(ULID())


def parse_level(value: object, field: str = "log_level") -> EventLogLevel:
    """A level from its number (40, "40", 40.0) or its name in any case ("error", "EventLogLevel.ERROR", "warn").

    Raises InvalidEvent.
    """
    if type(value) is int and value in _LEVELS:
        return _LEVELS[value]
    level = LEVELS_BY_NAME.get(value.lower().removeprefix("eventloglevel.")) if isinstance(value, str) else None
    if level is not None:
        return level
    number = _as_number(value)
    if number in _LEVEL_NUMBERS:
        return EventLogLevel(int(number))
    raise InvalidEvent(
        field, f"{shown(value)} is not a level; use {_LEVEL_WORDS} or their numbers 0, 10, 20, 30, 40, 50", value=value
    )


_LEVEL_WORDS = ", ".join(level.name.lower() for level in EventLogLevel)
_LEVELS: Final = {int(level): level for level in EventLogLevel}
_LEVEL_NUMBERS: Final = frozenset(float(level) for level in EventLogLevel)


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


def parse_time(value: object, zone: tzinfo | None = None, field: str = "event_timestamp") -> datetime:
    """An instant, aware and in UTC, from ISO 8601 text, a datetime, or epoch seconds or milliseconds.

    Time without a zone is in `zone` (default: this machine's): the first pass of a repeated hour; a skipped hour moves
    forward. Digits beyond microseconds are cut. Raises InvalidEvent.
    """
    try:
        moment = _as_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone, fold=0) if zone is not None else moment.replace(fold=0)
        return moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        raise InvalidEvent(
            field,
            f"{shown(value)} is not a time; use ISO 8601 such as 2026-11-23T18:51:47.970336Z, or epoch seconds",
            value=value,
        ) from None


def format_time(moment: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS.ffffffZ`: always 27 characters, so text order is time order."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


@lru_cache(maxsize=16)
def _format_again(moment: datetime | None) -> str | None:
    """For times that many events share: when their batch was received."""
    return None if moment is None else format_time(moment)


def time_to_us(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z, exactly; negative before."""
    return (moment - _EPOCH) // _MICROSECOND


def us_to_time(microseconds: int) -> datetime:
    """The aware UTC instant of `time_to_us`."""
    return _EPOCH + timedelta(microseconds=microseconds)


def canonical_id(text: str) -> str:
    """How an id is compared: a ULID in upper case, anything else as it is."""
    return text.upper() if len(text) == _ULID_CHARACTERS and _ULID.fullmatch(text) else text


def archived_tail(archived_at: datetime) -> bytes:
    """How the bytes of an event end that was archived at this instant."""
    return b'"archived":true,"archived_at":"%s"}' % format_time(archived_at).encode()


class OwnershipInfo(BaseModel):
    """Who or what an event concerns: MADSci's ten ids, each a ULID, and whatever else was sent beside them.

    MADSci's clients refuse to read anything but ULIDs there, so anything else is refused on the way in.
    """

    model_config = ConfigDict(extra="allow")

    user_id: str | None = None
    experiment_id: str | None = None
    campaign_id: str | None = None
    project_id: str | None = None
    node_id: str | None = None
    workcell_id: str | None = None
    lab_id: str | None = None
    step_id: str | None = None
    workflow_id: str | None = None
    manager_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _check(cls, value: object) -> object:
        return value if isinstance(value, cls) else _parse_source(value, _tidy)

    @classmethod
    def sent(cls, document: object) -> Self:
        """The object a sender means by this parsed JSON. Raises InvalidEvent."""
        return cls.stored(_parse_source(document, _tidy))

    @classmethod
    def stored(cls, document: dict[str, Any]) -> Self:
        """The object of a parsed answer or stored row, unchecked: for what `wire` once gave."""
        fields = _NO_IDS | document
        extra: dict[str, Any] = {}
        if len(fields) > len(_NO_IDS):
            extra = {name: fields.pop(name) for name in document if name not in _SOURCE_ID_FIELDS}
        return _constructed(cls, fields, extra)

    def wire(self) -> dict[str, Any]:
        """The object as it is sent and answered: ids that are absent are left out."""
        found = {name: value for name, value in self.__dict__.items() if value is not None}
        if self.__pydantic_extra__:
            found.update(self.__pydantic_extra__)
        return found


class NamedId(NamedTuple):
    """A name seen beside the id of what it names: `("node_id", "01J...", "liquidhandler_1")`."""

    field: str
    id: str
    name: str


class Event(BaseModel):
    """One event. Unknown fields are kept; every value is tidy JSON; instants are aware and in UTC.

    Construction accepts all that the wire accepts (names of levels, either id key ...) and raises InvalidEvent, not
    pydantic's ValidationError, for what it does not. Values that are not JSON (a datetime, a Path, any object) are
    represented as JSON.
    """

    model_config = ConfigDict(extra="allow", ignored_types=(derived,))

    event_id: str = Field(default_factory=new_event_id, min_length=1, max_length=MAX_ID_CHARACTERS)
    """The sender's; a ULID where it gave none. Stored at most once."""
    event_type: str = "unknown"
    log_level: EventLogLevel = EventLogLevel.INFO
    alert: bool = False
    """Forces an alert, whatever the level."""
    event_timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))
    """When it happened, by the sender's clock."""
    source: OwnershipInfo = Field(default_factory=OwnershipInfo)
    event_data: Any = Field(default_factory=dict)
    trace_id: str | None = None
    span_id: str | None = None
    received_at: datetime | None = None
    """When the server took it, by the server's clock; None before that."""
    archived: bool = False
    archived_at: datetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _normalise(cls, value: object, info: ValidationInfo) -> object:
        return _parse_event(_checked_object(value), (info.context or {}).get("zone"), _tidy, keep_server_fields=True)

    @classmethod
    def read(cls, body: bytes, zone: tzinfo | None = None, field: str = "body") -> Self:
        """The event a sender means by this JSON text: `sent(parse_json(body, field), zone)`, at half its cost.

        Raises InvalidEvent, and InvalidInput for what is not JSON.
        """
        document = parse_tidy(body)
        if document is DOUBTFUL:
            return cls.sent(parse_json(body, field), zone)
        return cls._sent(document, zone, _as_it_is)

    @classmethod
    def sent(cls, document: object, zone: tzinfo | None = None) -> Self:
        """The event a sender means by this parsed JSON; what it says of the server's own fields is ignored.

        `zone` is the lab's, for a timestamp without one. Raises InvalidEvent.
        """
        return cls._sent(document, zone, _tidy)

    @classmethod
    def _sent(cls, document: object, zone: tzinfo | None, tidied: "_Tidied") -> Self:
        # Not `model_validate`: it would check again what `_parse_event` has, for a good part of a request's time.
        fields = _parse_event(_checked_object(document), zone, tidied, keep_server_fields=False)
        extra = {}
        if not fields.keys() <= _EVENT_NAMES:
            extra = {name: fields.pop(name) for name in [*fields] if name not in _EVENT_NAMES}
        if "source" in fields:
            fields["source"] = OwnershipInfo.stored(_parse_source(fields["source"], tidied))
        sent_names = set(fields)
        for name, make in _EVENT_DEFAULTS_MADE.items():
            if name not in fields:
                fields[name] = make()
        return _constructed(cls, _EVENT_DEFAULTS | fields, extra, sent_names)

    @classmethod
    def stored(cls, document: dict[str, Any]) -> Self:
        """The event of a parsed answer or stored row, unchecked: for what `encode` once wrote."""
        fields = {name: document[name] for name in _EVENT_FIELDS if name in document}
        fields["log_level"] = EventLogLevel(fields["log_level"])
        fields["source"] = OwnershipInfo.stored(fields["source"])
        for name in ("event_timestamp", "received_at", "archived_at"):
            if fields.get(name) is not None:
                fields[name] = datetime.fromisoformat(fields[name])
        return _constructed(cls, fields, {k: v for k, v in document.items() if k not in _EVENT_FIELDS and k != "_id"})

    def changed(self, **update: Any) -> Self:
        """A copy with these fields replaced, unchecked."""
        fields = {name: self.__dict__[name] for name in _EVENT_FIELDS}
        return _constructed(type(self), fields | update, dict(self.__pydantic_extra__ or {}))

    def wire(self) -> dict[str, Any]:
        """The event as every answer carries it: the id under both keys, `archived` and `archived_at` last."""
        fields = self.__dict__
        event_id = fields["event_id"]
        found = {
            "_id": event_id,
            "event_id": event_id,
            "event_type": fields["event_type"],
            "log_level": int(fields["log_level"]),
            "alert": fields["alert"],
            "event_timestamp": format_time(fields["event_timestamp"]),
            "source": fields["source"].wire(),
            "event_data": fields["event_data"],
            "trace_id": fields["trace_id"],
            "span_id": fields["span_id"],
        }
        if self.__pydantic_extra__:
            found.update(self.__pydantic_extra__)
        found["received_at"] = _format_again(fields["received_at"])
        found["archived"] = fields["archived"]
        found["archived_at"] = _format_again(fields["archived_at"])
        return found

    def encode(self) -> bytes:
        """`wire` as compact JSON. Ends in NOT_ARCHIVED_TAIL or in an `archived_tail`."""
        found = self.wire()
        if self._plain_data is None:
            return encode_json(found)
        found["event_data"] = Fragment(self._plain_data)
        body = encode_queryable(found)
        found["event_data"] = self.event_data
        if body is None:
            return encode_json(found)
        if "document" not in self.__dict__:
            # What was just put together is the queryable form, too: it need not be looked through value by value.
            del found["_id"]
            self.__dict__["document"] = found
        return body

    @derived
    def document(self) -> dict[str, Any]:
        """The queryable form: what selectors see. The id is `event_id` only."""
        found = self.wire()
        del found["_id"]
        changed: dict[str, Any] = queryable(found) if encode_queryable(found) is None else found
        return changed

    @derived
    def _plain_data(self) -> bytes | None:
        """`event_data` as JSON, where that is its queryable form."""
        return encode_queryable(self.event_data)

    @derived
    def data(self) -> Any:
        """`event_data` in its queryable form."""
        return self.event_data if self._plain_data is not None else queryable(self.event_data)

    def derive(self) -> None:
        """Works out now what a store is going to ask for, all of it but what depends on when it was received."""
        _ = self.kind, self.ids, self.message, self.name, self.named_ids

    @derived
    def kind(self) -> str:
        """What the event is about: its type, or the one MADSci's client hid in `event_data` behind `log_info`."""
        outer = self.event_type
        if outer in ("unknown", "log") or outer.startswith("log_"):
            data = self.event_data
            inner = data.get("event_type") if isinstance(data, dict) else None
            if isinstance(inner, str):
                return _type_or(inner, outer)
        return outer

    @derived
    def ids(self) -> dict[str, str]:
        """The ids it can be found by, in canonical form: of `source`, else the same key of `event_data`."""
        source = self.source.__dict__
        action_id = (self.source.__pydantic_extra__ or _NOTHING).get("action_id")
        data = self.data
        if not isinstance(data, dict):
            data = _NOTHING
        found = {}
        for field in ID_FIELDS:
            value = source.get(field) if field != "action_id" else action_id
            if value is None and (value := data.get(field)) is None:
                continue
            if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARACTERS:
                found[field] = canonical_id(queryable(value))
        return found

    @derived
    def message(self) -> str:
        """One text that says it: `event_data.message`, the text that was logged, else the kind and compact data."""
        data = self.data
        if isinstance(data, dict):
            text = data.get("message")
            if isinstance(text, str):
                return text
            if text is not None:
                return encode_json(text).decode()
        if isinstance(data, str):
            return _unquoted(data)
        if data is None or data in ({}, []):
            return self.kind
        return f"{self.kind} {encode_json(data).decode()}"

    @derived
    def name(self) -> str | None:
        """The human name of what it is about, or None: a node's before that of the component that says it."""
        source_name = (self.source.__pydantic_extra__ or {}).get("name")
        if isinstance(source_name, str) and source_name:
            return str(queryable(source_name))
        data = self.data
        if not isinstance(data, dict):
            return None
        node_name = data.get("node_name")
        if isinstance(node_name, str) and node_name:
            return node_name
        return _component_name(data)

    @derived
    def named_ids(self) -> tuple[NamedId, ...]:
        """The names this event gives to ids: of who sent it, of the node it is about, and of what it belongs to."""
        data = self.data
        found = {}
        sender = (self.source.__pydantic_extra__ or {}).get("name")
        if not isinstance(sender, str) or not sender:
            sender = _component_name(data) if isinstance(data, dict) else None
        if sender:
            for field in ("node_id", "manager_id"):
                if (value := getattr(self.source, field)) is not None:
                    found[field, canonical_id(value)] = str(queryable(sender))
                    break
        if isinstance(data, dict):
            found.update(_names_beside_ids(data, self.ids))
        return tuple(NamedId(field, id_, name) for (field, id_), name in found.items())

    @derived
    def words(self) -> frozenset[str]:
        """The words `search` finds it by: of message, name, kind and every string in `event_data`."""
        texts = [self.message, self.kind]
        if self.name is not None:
            texts.append(self.name)
        _collect_strings(self.data, texts)
        return distinct_words(texts)

    def source_value(self, key: str) -> str | None:
        """`source[key]` as filters compare it: text as it is, any other JSON value as compact JSON; None if absent."""
        value = self.source.__dict__.get(key)
        if value is None:
            value = queryable(self.source.__pydantic_extra__ or _NOTHING).get(key)
        if value is None:
            return None
        return canonical_id(value) if isinstance(value, str) else encode_json(value).decode()


_EVENT_FIELDS: Final = tuple(Event.model_fields)
_EVENT_NAMES: Final = frozenset(Event.model_fields)
_EVENT_DEFAULTS: Final[dict[str, Any]] = {
    name: field.default for name, field in Event.model_fields.items() if field.default_factory is None
}
_EVENT_DEFAULTS_MADE: Final[Mapping[str, Callable[[], Any]]] = {
    name: partial(field.get_default, call_default_factory=True)
    for name, field in Event.model_fields.items()
    if field.default_factory is not None
}
_M = TypeVar("_M", bound=BaseModel)


def _constructed(cls: type[_M], fields: dict[str, Any], extra: dict[str, Any], names: set[str] | None = None) -> _M:
    """An instance without validation. Not `model_construct`: an extra field may be called `cls` or `_fields_set`."""
    instance = cls.__new__(cls)
    object.__setattr__(instance, "__dict__", fields)
    object.__setattr__(instance, "__pydantic_fields_set__", set(fields) if names is None else names)
    object.__setattr__(instance, "__pydantic_extra__", extra)
    object.__setattr__(instance, "__pydantic_private__", None)
    return instance


Sameness = Literal["duplicate", "raised", "conflict"]


def compare_again(stored: Event, again: Event) -> Sameness:
    """What a second event with a stored event's id is.

    `duplicate`: the same, whatever lower level it has. `raised`: the same, with a higher level or `alert` newly true.
    `conflict`: other data. A timestamp the sender left out is not compared.
    """
    if _sent_content(stored) != _sent_content(again) or (
        "event_timestamp" in again.model_fields_set and stored.event_timestamp != again.event_timestamp
    ):
        return "conflict"
    if again.log_level > stored.log_level or (again.alert and not stored.alert):
        return "raised"
    return "duplicate"


def raised(stored: Event, again: Event) -> Event:
    """The stored event with the higher of both levels and either's alert flag; nothing else changes."""
    return stored.changed(log_level=max(stored.log_level, again.log_level), alert=stored.alert or again.alert)


def _sent_content(event: Event) -> bytes:
    found = event.wire()
    for name in ("log_level", "alert", "event_timestamp", *SERVER_FIELDS):
        del found[name]
    return encode_sorted(found)


def encode_sorted(value: object) -> bytes:
    """Compact JSON with sorted names: equal for equal JSON values, and unlike `==` it tells 1, 1.0 and true apart."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _checked_object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidEvent("event", f"must be a JSON object, not {_json_kind(value)}", value=value)
    return value


_Tidied = Callable[[Any, str], Any]
"""What makes the value of a named field tidy, or knows that it is."""


def _parse_event(
    document: Mapping[str, Any], zone: tzinfo | None, tidied: _Tidied, *, keep_server_fields: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name == "event_data":
            found[name] = tidied(value, name)
        elif (parse := _PARSERS.get(name)) is not None:
            parsed = parse(value, zone, tidied)
            if parsed is not None:
                found[name] = parsed
        elif name in SERVER_FIELDS:
            if keep_server_fields and value is not None:
                found[name] = value if name == "archived" else parse_time(value, UTC, name)
        elif name != "_id":
            found[_new_name(name, found)] = tidied(value, name)
    _take_other_id_key(found, document)
    return found


def _take_other_id_key(found: dict[str, Any], document: Mapping[str, Any]) -> None:
    other = document.get("_id")
    if other is None:
        return
    other = _checked_id(other, "_id")
    if found.setdefault("event_id", other) != other:
        raise InvalidEvent(
            "_id", f"{shown(other)} and event_id {shown(found['event_id'])} differ; send one of them", value=other
        )


def _parse_id(value: object, _: tzinfo | None, __: _Tidied) -> str | None:
    return None if value is None else _checked_id(value, "event_id")


def _checked_id(value: object, field: str) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARACTERS and value.isprintable():
        return value
    raise InvalidEvent(
        field, f"{shown(value)} is not an id; use 1 to {MAX_ID_CHARACTERS} printable characters", value=value
    )


def _parse_alert(value: object, _: tzinfo | None, __: _Tidied) -> bool:
    if isinstance(value, bool):
        return value
    if value in (0, 1) or (isinstance(value, str) and value.lower() in _TRUE | _FALSE):
        return value == 1 or str(value).lower() in _TRUE
    raise InvalidEvent("alert", f"{shown(value)} is neither true nor false", value=value)


def _parse_trace(value: object, field: str, tidied: _Tidied) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(tidied(value, field))
    raise InvalidEvent(field, f"{shown(value)} is not text; send a string or null", value=value)


def _parse_source(value: object, tidied: _Tidied) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidEvent(
            "source", f'must be an object such as {{"node_id": "01J..."}}, not {_json_kind(value)}', value=value
        )
    found = {}
    for name, item in value.items():
        if name in _SOURCE_ID_FIELDS:
            if item is None:
                continue
            if not (isinstance(item, str) and _ULID.fullmatch(item)):
                raise InvalidEvent(f"source.{name}", _not_a_ulid(item), value=item)
            found[name] = item
        else:
            found[_new_name(name, found)] = tidied(item, f"source.{name}")
    return found


def _not_a_ulid(value: object) -> str:
    return (
        f"{shown(value)} is not a ULID (26 letters and digits, the first 0 to 7, no I, L, O, U); "
        "leave it out, or send the name as source.name"
    )


def _tidy(value: Any, field: str) -> Any:
    try:
        return tidy(value, field)
    except InvalidInput as error:
        if "which is not JSON" not in error.problem:
            raise InvalidEvent(error.field, error.problem, value=error.value) from None
    # Only an Event built in Python gets here: the wire holds nothing but JSON.
    return _tidy(to_jsonable_python(value, fallback=repr, inf_nan_mode="constants", bytes_mode="base64"), field)


def _new_name(name: object, others: Collection[str]) -> str:
    if not isinstance(name, str):
        raise InvalidEvent(shown(name), "is not a field name; names are strings")
    clean = str(tidy(name, "field name"))
    if clean in others:
        raise InvalidEvent(shown(name), "is the same as another name once lone surrogates are replaced; rename one")
    return clean


def _as_it_is(value: Any, _: str) -> Any:
    return value


_PARSERS: Final[dict[str, Callable[[Any, tzinfo | None, _Tidied], Any]]] = {
    "event_id": _parse_id,
    "event_type": lambda value, zone, tidied: parse_event_type(value),
    "log_level": lambda value, zone, tidied: parse_level(value),
    "alert": _parse_alert,
    "event_timestamp": lambda value, zone, tidied: None if value is None else parse_time(value, zone),
    "source": lambda value, zone, tidied: value,  # parsed with the ids known, by who asked
    "trace_id": lambda value, zone, tidied: _parse_trace(value, "trace_id", tidied),
    "span_id": lambda value, zone, tidied: _parse_trace(value, "span_id", tidied),
}


def _as_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _as_datetime(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            pass  # perhaps an epoch number in a string
    number = _as_number(value)
    if not math.isfinite(number):
        raise ValueError
    if abs(number) > _EPOCH_MILLISECONDS_FROM:
        number /= 1000
    return _EPOCH + timedelta(seconds=number)


@lru_cache(maxsize=1024)
def _type_or(inner: str, outer: str) -> str:
    try:
        return parse_event_type(inner)
    except InvalidEvent:
        return outer


def _unquoted(text: str) -> str:
    """`text`, or the string it is the JSON of: MADSci's `log("...")` sends JSON inside the string."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            inner = json.loads(text)
        except ValueError:
            return text
        return str(queryable(tidy(inner, "event_data")))
    return text


def _component_name(data: Mapping[str, Any]) -> str | None:
    name = data.get("component_name")
    if isinstance(name, str):
        return name.removeprefix("node.") or None
    return None


def _names_beside_ids(data: Mapping[str, Any], ids: Mapping[str, str]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    if _NAMES.isdisjoint(data):
        return found
    node_id, node_name = data.get("node_id"), data.get("node_name")
    if isinstance(node_id, str) and node_id and isinstance(node_name, str) and node_name:
        found["node_id", canonical_id(node_id)] = node_name
    for name_field, id_field in NAMED_BY.items():
        name = data.get(name_field)
        if isinstance(name, str) and name and id_field in ids:
            found[id_field, ids[id_field]] = name
    return found


def _collect_strings(value: Any, into: list[str]) -> None:
    kind = type(value)
    if kind is str:
        into.append(value)
    elif kind is dict:
        for item in value.values():
            _collect_strings(item, into)
    elif kind is list:
        for item in value:
            _collect_strings(item, into)


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
