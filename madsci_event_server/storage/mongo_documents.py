"""Events as documents: what is stored of one, and what is read back.

`body` is the event's JSON up to its archived fields, and the truth; `document` is its queryable form as BSON has it,
`terms` and `words` what the indexes are of; `about` has the terms of few values once more, in one text.
"""

import asyncio
import struct
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, Self

import bson
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from madsci_event_server.event import (
    NOT_ARCHIVED_TAIL,
    Event,
    NamedId,
    archived_tail,
    format_time,
    sent_again,
    time_to_us,
    us_to_time,
)
from madsci_event_server.json_text import parse_stored
from madsci_event_server.storage.base import Appended, Outcome, StoredEvent
from madsci_event_server.storage.terms import Term, terms_of

EVENTS: Final = "event_log"
NAMES: Final = "event_log_names"
VALUES: Final = "event_log_values"
"""Kinds and types ever seen: what a glob is looked up in."""
META: Final = "event_log_meta"
COUNTER: Final = "seq"
"""The document of META that holds the last place given in received order."""

RAISED_FROM: Final = "raised_from"
"""The first place of an event that has another one now: what `restore` looks up."""
ARCHIVED: Final = 100
"""Added to the level in `state` of an archived event."""

REPEATED: Final = frozenset(("kind", "event_type", "name", "alert", "node_id", "manager_id", "workcell_id", "lab_id",
    "user_id", "project_id", "campaign_id"))  # fmt: skip
"""Fields of few values, which all together are in `about`: to count by them the index is enough."""
APART: Final = "\0"
"""Between the terms in `about`; in none of them, as NUL is not in queryable text."""

READ: Final = {"seq": 1, "first_seq": 1, "time_us": 1, "event_type": 1, "archived_us": 1, "body": 1}
"""The fields `stored_of` reads."""

MADE_AT_ONCE: Final = 100
"""Documents made in one go: some 5 ms in which nothing else runs."""

_NOT_YET: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""In the place of the time an event is going to be received at: as long."""
_RECEIVED: Final = b"\x02received_at\0\x1c\0\0\0"
"""How BSON begins a text of 27 characters of this name."""
_AFTER_BODY: Final = len(b"\0")
"""What follows it, the last of a document."""
_AFTER_RECEIVED_IN_BODY: Final = len(b'",') + _AFTER_BODY
_PLACES: Final = struct.Struct("<6sq11sq")
"""The two places in a document, with what stands before each."""
_BEFORE_ID: Final = len(b"size\x02_id\0size")
_FIRST: Final = b"\x12first_seq\0"

Document = dict[str, Any]


class NewEvent:
    """An event to append, as BSON in which only places and times are left to fill in: so it costs least, and early."""

    __slots__ = ("_body_at", "_bson", "_says_when", "_tail", "event_id", "event_type", "kind", "sightings", "time_us")

    def __init__(self, event: Event, *, is_stamped: bool = True) -> None:
        """`is_stamped`: whether the event says already when it was received, or `stamp` is to come."""
        if event.archived_at is not None and not event.archived:
            event = event.changed(archived_at=None)
        if not is_stamped:
            event.stamp(_NOT_YET)
        event.derive()
        self.event_id, self.event_type, self.kind = event.event_id, event.event_type, event.kind
        self.time_us = time_to_us(event.event_timestamp)
        self.sightings = event.named_ids
        """The names it gives to ids."""
        self._says_when = "event_timestamp" in event.model_fields_set
        self._tail = NOT_ARCHIVED_TAIL if event.archived_at is None else archived_tail(event.archived_at)
        body = event.encode()[: -len(self._tail)]
        self._encode(_document_of(event, self.time_us), body)

    def __len__(self) -> int:
        """One."""
        return 1

    @property
    def body(self) -> bytes:
        """The event's JSON, as `StoredEvent` has it."""
        return b"".join((self._bson[self._body_at : -_AFTER_BODY], self._tail))

    @property
    def event(self) -> Event:
        """The event, parsed anew at each call: it is rarely asked for, and need not be kept for that."""
        return sent_again(self.body, says_when=self._says_when)

    @property
    def document(self) -> Document:
        """As it is to be stored."""
        return bson.decode(self._bson)

    def stamp(self, received_at: datetime) -> None:
        """Says when the server took it."""
        text = _received_text(received_at)
        in_body = len(self._bson) - _AFTER_RECEIVED_IN_BODY - len(text)
        in_document = self._bson.rindex(_RECEIVED, 0, self._body_at) + len(_RECEIVED)
        for at in (in_document, in_body):
            self._bson[at : at + len(text)] = text

    def place(self, seq: int, first_seq: int | None = None) -> StoredEvent:
        """Gives it its place, and the one it was first stored with where that is another."""
        if first_seq is None:
            first_seq = seq
        elif first_seq != seq:
            document = self.document
            body = document.pop("body")
            self._encode(document | {RAISED_FROM: first_seq}, body)
        self.put(seq, first_seq)
        return StoredEvent(seq, first_seq, self.time_us, self.event_type, self.body)

    def put(self, seq: int, first_seq: int) -> None:
        """Writes these places into its document, where the first is the same or was put there before."""
        _PLACES.pack_into(self._bson, _BEFORE_ID + len(self.event_id.encode()), b"\0\x12seq\0", seq, _FIRST, first_seq)

    def raw(self) -> RawBSONDocument:
        """Its document where it was placed and stamped."""
        return RawBSONDocument(bytes(self._bson))

    def packed(self) -> tuple[Any, ...]:
        """What it is made of, as values that can go to another process."""
        sightings = [_written_once(named) for named in self.sightings]
        return (self.event_id, self.event_type, self.kind, self.time_us, sightings, self._says_when, self._tail,
            self._body_at, bytes(self._bson))  # fmt: skip

    @classmethod
    def unpacked(cls, values: tuple[Any, ...]) -> Self:
        """The one that was `packed` as this."""
        new = cls.__new__(cls)
        (new.event_id, new.event_type, new.kind, new.time_us, sightings, new._says_when, new._tail,
            new._body_at, document) = values  # fmt: skip
        new.sightings = tuple([NamedId(*named) for named in sightings])
        new._bson = bytearray(document)
        return new

    def _encode(self, document: Document, body: bytes) -> None:
        document["body"] = body  # the last, where `stamp` looks for it
        self._bson = bytearray(bson.encode(document))
        self._body_at = len(self._bson) - len(body) - _AFTER_BODY


@lru_cache(maxsize=1024)
def _written_once(named: NamedId) -> tuple[str, str, str]:
    """The same tuple for the same name: of many events `marshal` writes it, and who reads it hashes it, once."""
    return named.field, named.id, named.name


class MongoPacking:
    """How events are made ready for the collection, in this process or in another."""

    kind: Final = "mongodb"

    def prepare(self, event: Event) -> NewEvent:
        """The event as a document, to be stamped and placed."""
        return NewEvent(event, is_stamped=False)

    def packer(self) -> "MongoPacker":
        """What prepares the next events that go to another process together."""
        return MongoPacker()

    def unpack(self, packed: list[tuple[Any, ...]]) -> list[NewEvent]:
        """The events, each as `prepare` would have it."""
        return list(map(NewEvent.unpacked, packed))


class MongoPacker:
    """Prepares events that go to another process together."""

    def __init__(self) -> None:
        self._packed: list[tuple[Any, ...]] = []

    def add(self, event: Event) -> None:
        """One more."""
        self._packed.append(NewEvent(event, is_stamped=False).packed())

    def packed(self) -> list[tuple[Any, ...]]:
        """All of them."""
        return self._packed


class Batch:
    """Events to append, made on the event loop, some at a time, while a thread writes those made before."""

    def __init__(self, ids: Sequence[str], made: Iterable[NewEvent] = ()) -> None:
        """Of these ids; `made` are the first of them."""
        self.ids = ids
        self._made = list(made)
        self._is_ended = False
        self._changed = threading.Condition()

    async def make(self, events: Sequence[Event]) -> None:
        """Makes them all."""
        try:
            for start in range(0, len(events), MADE_AT_ONCE):
                await asyncio.sleep(0)  # whoever else is ready goes first
                made = [NewEvent(event) for event in events[start : start + MADE_AT_ONCE]]
                with self._changed:
                    self._made += made
                    self._changed.notify()
        finally:
            self.end()

    def end(self) -> None:
        """No more of them are made: a thread that waits for one gets NotMade."""
        with self._changed:
            self._is_ended = True
            self._changed.notify()

    def parts(self) -> Iterator[list[NewEvent]]:
        """All of them, in order, in parts as large as they are made: for the thread, which waits for them."""
        start = 0
        while part := self._after(start):
            yield part
            start += len(part)

    @property
    def is_made(self) -> bool:
        """Whether there is no more to wait for."""
        return len(self._made) == len(self.ids)

    def all(self) -> list[NewEvent]:
        """All of them, in order, once they are made."""
        return [new for part in self.parts() for new in part]

    def placed(self, before: int) -> list[Appended]:
        """What became of them once they are stored, all new, in the places that follow `before`."""
        made = self._made
        places = range(before + 1, before + 1 + len(made))
        times, types, bodies = zip(*[(new.time_us, new.event_type, new.body) for new in made], strict=True)
        return list(map(Appended, repeat(Outcome.STORED), map(StoredEvent, places, places, times, types, bodies)))

    def _after(self, start: int) -> list[NewEvent]:
        with self._changed:
            self._changed.wait_for(lambda: self._is_ended or len(self._made) > min(start, len(self.ids) - 1))
            if start == len(self._made) < len(self.ids):
                raise NotMade
            return self._made[start:]


class NotMade(Exception):
    """An event of the batch could not be made, or nobody waits for it any more."""


def _document_of(event: Event, time_us: int) -> Document:
    """The document of an event, without its places and its body."""
    terms = terms_of(event)
    found: Document = {
        "_id": event.event_id,
        # Both are filled in later, as 64 bits.
        "seq": Int64(0),
        "first_seq": Int64(0),
        "time_us": time_us,
        "state": int(event.log_level) + (ARCHIVED if event.archived else 0),
        "event_type": event.event_type,
        "terms": [term_text(field, value) for field, value in terms],
        "about": APART.join([f"{field}={value}" for field, value in terms if field in REPEATED]),
        "words": list(event.words),
    }
    if event.archived_at is not None:
        found["archived_us"] = time_to_us(event.archived_at)
    found["document"] = event.document  # the last, where `stamp` looks for the time in it
    return found


@lru_cache(maxsize=16)
def _received_text(received_at: datetime) -> bytes:
    return format_time(received_at).encode()


def changes_of_raise(event: Event, stored: StoredEvent) -> Document:
    """What a raise sets in a document, given the event as it then is."""
    raised: Document = NewEvent(event).document
    return {
        "seq": stored.seq,
        RAISED_FROM: stored.first_seq,
        **{name: raised[name] for name in ("state", "terms", "about", "body")},
        "document.log_level": int(event.log_level),
        "document.alert": event.alert,
    }


def changes_of_archiving(at_us: int) -> Document:
    """What archiving sets in a document, beside its state."""
    return {
        "archived_us": at_us,
        "document.archived": True,
        "document.archived_at": format_time(us_to_time(at_us)),
    }


def stored_of(document: Document) -> StoredEvent:
    """The stored event of a document."""
    archived_us = document.get("archived_us")
    tail = NOT_ARCHIVED_TAIL if archived_us is None else archived_tail(us_to_time(archived_us))
    return StoredEvent(
        document["seq"], document["first_seq"], document["time_us"], document["event_type"], document["body"] + tail
    )


def event_of(stored: StoredEvent) -> Event:
    """The event of a stored one."""
    return Event.stored(parse_stored(stored.body))


# --- Terms ---


def term_text(field: str, value: str) -> str:
    """A term as the index has it: `node_id=01J...`."""
    return f"{term_prefix(field)}={value}"


@lru_cache(maxsize=256)
def term_prefix(field: str) -> str:
    """The part before `=`; a key of `source` may hold anything, also that sign."""
    return field.replace("%", "%25").replace("=", "%3D")


def term_texts(terms: Iterable[Term]) -> list[str]:
    """Those terms that can be in an index: no event holds a lone surrogate, and BSON takes none."""
    return sorted({term_text(field, value) for field, value in terms if can_be_stored(field) and can_be_stored(value)})


def can_be_stored(text: str) -> bool:
    """Whether it is whole Unicode text."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def storable(texts: Collection[str]) -> list[str]:
    """Those that can be stored, once each."""
    return [text for text in dict.fromkeys(texts) if can_be_stored(text)]
