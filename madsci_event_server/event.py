"""Event: the wire contract. What comes in, what goes out, and when two of one id are the same.

The field names are MADSci's; `received_at` is ours. What may be written in each field is in `sent_fields`; what an
event is about (`kind`, `ids`, `name`, `message`) is derived in `subject`, and is never written into what was sent.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import lru_cache, partial
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from ulid import ULID

from madsci_event_server import subject
from madsci_event_server.derived import derived
from madsci_event_server.json_text import (
    DOUBTFUL,
    encode_json,
    encode_queryable,
    parse_json,
    parse_stored,
    parse_tidy_beside,
    queryable,
)
from madsci_event_server.moments import encode_time, format_shared_time
from madsci_event_server.moments import format_time as format_time
from madsci_event_server.moments import parse_time as parse_time
from madsci_event_server.moments import time_to_us as time_to_us
from madsci_event_server.moments import us_to_time as us_to_time
from madsci_event_server.ownership import OwnershipInfo as OwnershipInfo
from madsci_event_server.ownership import constructed, sent_source, stored_source
from madsci_event_server.sent_fields import KNOWN_EVENT_TYPES as KNOWN_EVENT_TYPES
from madsci_event_server.sent_fields import MAX_ID_CHARACTERS as MAX_ID_CHARACTERS
from madsci_event_server.sent_fields import RENAMED_EVENT_TYPES as RENAMED_EVENT_TYPES
from madsci_event_server.sent_fields import (
    SERVER_FIELDS,
    Tidied,
    as_it_is,
    parse_sent,
    parse_server_fields,
    tidied,
)
from madsci_event_server.sent_fields import canonical_id as canonical_id
from madsci_event_server.sent_fields import parse_event_type as parse_event_type
from madsci_event_server.sent_fields import parse_level as parse_level
from madsci_event_server.subject import NAMED_BY as NAMED_BY
from madsci_event_server.subject import NamedId as NamedId
from madsci_event_server.vocabulary import ID_FIELDS as ID_FIELDS
from madsci_event_server.vocabulary import SOURCE_ID_FIELDS as SOURCE_ID_FIELDS
from madsci_event_server.vocabulary import EventLogLevel as EventLogLevel
from madsci_event_server.vocabulary import EventType as EventType
from madsci_event_server.words import distinct_words

NOT_ARCHIVED_TAIL: Final = b'"archived":false,"archived_at":null}'
"""How the bytes of every event end that is not archived; `archived_tail` is what replaces it."""

NOT_RECEIVED_TAIL: Final = b'"received_at":null,' + NOT_ARCHIVED_TAIL
"""How they end before the server has taken it; `received_tail` is what replaces it."""


def new_event_id() -> str:
    """A new ULID (26 characters of Crockford's base 32): ids made later sort later, to the millisecond."""
    return str(ULID())


def archived_tail(archived_at: datetime) -> bytes:
    """How the bytes of an event end that was archived at this instant."""
    return b'"archived":true,"archived_at":"%s"}' % format_time(archived_at).encode()


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
        fields, extra = parse_sent(value, (info.context or {}).get("zone"), tidied)
        assert isinstance(value, Mapping)  # noqa: S101  # `parse_sent` refuses anything else
        return extra | fields | parse_server_fields(value)

    @classmethod
    def read(cls, body: bytes, zone: tzinfo | None = None, field: str = "body") -> Self:
        """The event a sender means by this JSON text: `sent(parse_json(body, field), zone)`, at half its cost.

        Raises InvalidEvent, and InvalidInput for what is not JSON.
        """
        document, plain_data = parse_tidy_beside(body, "event_data")
        if document is DOUBTFUL:
            return cls.sent(parse_json(body, field), zone)
        event = cls._sent(document, zone, sent_source, as_it_is)
        if plain_data is not None:
            event.__dict__["_plain_data"] = plain_data
        return event

    @classmethod
    def sent(cls, document: object, zone: tzinfo | None = None) -> Self:
        """The event a sender means by this parsed JSON; what it says of the server's own fields is ignored.

        `zone` is the lab's, for a timestamp without one. Raises InvalidEvent.
        """
        return cls._sent(document, zone, OwnershipInfo.sent, tidied)

    @classmethod
    def _sent(
        cls, document: object, zone: tzinfo | None, source: Callable[[object], OwnershipInfo], tidied: Tidied
    ) -> Self:
        # Not `model_validate`: it would check again what `parse_sent` has, for a good part of a request's time.
        fields, extra = parse_sent(document, zone, tidied)
        if "source" in fields:
            fields["source"] = source(fields["source"])
        sent_names = set(fields)
        if not sent_names >= _EVENT_DEFAULTS_MADE.keys():
            fields |= {name: make() for name, make in _EVENT_DEFAULTS_MADE.items() if name not in sent_names}
        return constructed(cls, _EVENT_DEFAULTS | fields, extra, sent_names)

    @classmethod
    def stored(cls, document: dict[str, Any]) -> Self:
        """The event of a parsed answer or stored row, unchecked: for what `encode` once wrote."""
        fields = {name: document[name] for name in _EVENT_FIELDS if name in document}
        fields["log_level"] = EventLogLevel(fields["log_level"])
        fields["source"] = stored_source(fields["source"])
        for name in ("event_timestamp", "received_at", "archived_at"):
            if fields.get(name) is not None:
                fields[name] = datetime.fromisoformat(fields[name])
        extra = {name: value for name, value in document.items() if name not in _EVENT_FIELDS and name != "_id"}
        return constructed(cls, fields, extra, set(fields))

    def changed(self, **update: Any) -> Self:
        """A copy with these fields replaced, unchecked."""
        fields = {name: self.__dict__[name] for name in _EVENT_FIELDS} | update
        return constructed(type(self), fields, dict(self.__pydantic_extra__ or {}), set(fields))

    def stamp(self, received_at: datetime) -> None:
        """Says when the server took it, without the cost of a model's assignment."""
        self.__dict__["received_at"] = received_at

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
        found["received_at"] = format_shared_time(fields["received_at"])
        found["archived"] = fields["archived"]
        found["archived_at"] = format_shared_time(fields["archived_at"])
        return found

    def encode(self) -> bytes:
        """`wire` as compact JSON. Ends in NOT_ARCHIVED_TAIL or in an `archived_tail`."""
        fields, plain_data, plain_source = self.__dict__, self._plain_data, self.source.plain
        if plain_data is None or plain_source is None or not self._has_usual_fields:
            return encode_json(self.wire())
        event_id, flag = encode_json(fields["event_id"]), b"true" if fields["alert"] else b"false"
        # What `encode_json` would write of the usual fields, at half its cost: most of it has been written before.
        return b"".join((
            b'{"_id":', event_id, b',"event_id":', event_id, b',"event_type":"', fields["event_type"].encode(),
            b'","log_level":', _LEVELS_WRITTEN[fields["log_level"]], b',"alert":', flag,
            b',"event_timestamp":', encode_time(fields["event_timestamp"]), b',"source":', plain_source,
            b',"event_data":', plain_data, b',"trace_id":null,"span_id":null,', _tail_of(fields)
        ))  # fmt: skip

    @property
    def _has_usual_fields(self) -> bool:
        """Whether it has nothing but what most events have."""
        return not self.__pydantic_extra__ and self.trace_id is None and self.span_id is None

    @derived
    def document(self) -> dict[str, Any]:
        """The queryable form: what selectors see. The id is `event_id` only."""
        found = self.wire()
        del found["_id"]
        if self._plain_data is not None and self.source.plain is not None and self._has_usual_fields:
            return found
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
        fields = self.__dict__
        data, said = self.data, fields["source"].said
        kind = fields["kind"] = subject.kind_of(fields["event_type"], data)
        ids = fields["ids"] = subject.ids_of(said, data)
        fields["message"] = subject.message_of(kind, data)
        fields["name"] = subject.name_of(said, data)
        fields["named_ids"] = subject.named_ids_of(said, data, ids)

    @derived
    def kind(self) -> str:
        """What the event is about: its type, or the one MADSci's client hid in `event_data` behind `log_info`."""
        return subject.kind_of(self.event_type, self.data)

    @derived
    def ids(self) -> Mapping[str, str]:
        """The ids it can be found by, in canonical form: of `source`, else the same key of `event_data`."""
        return subject.ids_of(self.source.said, self.data)

    @derived
    def message(self) -> str:
        """One text that says it: `event_data.message`, the text that was logged, else the kind and compact data."""
        return subject.message_of(self.kind, self.data)

    @derived
    def name(self) -> str | None:
        """The human name of what it is about, or None: a node's before that of the component that says it."""
        return subject.name_of(self.source.said, self.data)

    @derived
    def named_ids(self) -> tuple[NamedId, ...]:
        """The names this event gives to ids: of who sent it, of the node it is about, and of what it belongs to."""
        return subject.named_ids_of(self.source.said, self.data, self.ids)

    @derived
    def words(self) -> frozenset[str]:
        """The words `search` finds it by: of message, name, kind and every string in `event_data`."""
        texts = [self.message, self.kind]
        if self.name is not None:
            texts.append(self.name)
        subject.texts_of(self.data, texts)
        return distinct_words(texts)

    def source_value(self, key: str) -> str | None:
        """`source[key]` as filters compare it: text as it is, any other JSON value as compact JSON; None if absent."""
        return self.source.value(key)


_EVENT_FIELDS: Final = tuple(Event.model_fields)
_EVENT_DEFAULTS: Final[dict[str, Any]] = {
    name: field.default for name, field in Event.model_fields.items() if field.default_factory is None
}
_EVENT_DEFAULTS_MADE: Final[Mapping[str, Callable[[], Any]]] = {
    name: partial(field.get_default, call_default_factory=True)
    for name, field in Event.model_fields.items()
    if field.default_factory is not None
}
_LEVELS_WRITTEN: Final = {level: b"%d" % level for level in EventLogLevel}


def _tail_of(fields: Mapping[str, Any]) -> bytes:
    """How the bytes of the event of these fields end, from `received_at` on."""
    if fields["archived"] is False and fields["archived_at"] is None:
        received_at = fields["received_at"]
        return NOT_RECEIVED_TAIL if received_at is None else received_tail(received_at)
    tail = {"received_at": fields["received_at"], "archived": fields["archived"], "archived_at": fields["archived_at"]}
    for name in ("received_at", "archived_at"):
        tail[name] = format_shared_time(tail[name])
    return encode_json(tail)[1:]


@lru_cache(maxsize=16)
def received_tail(received_at: datetime) -> bytes:
    """How the bytes of an event end that the server took at this instant."""
    return b'"received_at":"%b",%b' % (format_time(received_at).encode(), NOT_ARCHIVED_TAIL)


Sameness = Literal["duplicate", "raised", "conflict"]


def sent_again(body: bytes, *, says_when: bool) -> Event:
    """The event these bytes are of, for `compare_again`; `says_when`: whether its sender gave its timestamp."""
    event = Event.stored(parse_stored(body))
    if not says_when:
        event.model_fields_set.discard("event_timestamp")
    return event


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
