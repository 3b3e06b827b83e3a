"""Events as rows: what is derived from an event once, before the transaction that stores it."""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Self

from madsci_event_server.event import NOT_RECEIVED_TAIL, Event, NamedId, received_tail, sent_again, time_to_us
from madsci_event_server.json_text import parse_stored
from madsci_event_server.storage.base import StoredEvent
from madsci_event_server.storage.sqlite_schema import ARCHIVED, BODY
from madsci_event_server.storage.sqlite_words import indexed_text
from madsci_event_server.storage.terms import Term, terms_of


class Row:
    """One event as it is in the tables, to be raised perhaps."""

    __slots__ = ("archived_us", "body", "event_id", "first_seq", "known_event", "labels", "seq", "state", "time_us")

    first_seq: int
    seq: int
    event_id: str
    time_us: int
    state: int
    archived_us: int | None
    labels: tuple[int, ...]
    body: bytes
    known_event: Event | None

    @classmethod
    def read(cls, columns: Sequence[Any]) -> Self:
        """The row of `READ_COLUMNS`."""
        row = cls.__new__(cls)
        row.known_event = None
        row.first_seq, row.seq, row.event_id, row.time_us, row.state, row.archived_us, labels, row.body = columns
        row.labels = unpack_labels(labels)
        return row

    @property
    def event(self) -> Event:
        """The event as it now stands."""
        if self.known_event is None:
            self.known_event = Event.stored(parse_stored(self.body))
        return self.known_event

    @property
    def stored(self) -> StoredEvent:
        """The event as it now stands, with its places."""
        return StoredEvent(self.seq, self.first_seq, self.time_us, self.event.event_type, self.body)

    def change_to(self, event: Event, seq: int) -> None:
        """Raises it: the event has another level or flag, and a new place in received order."""
        self.known_event, self.body, self.seq = event, event.encode(), seq
        self.state = int(event.log_level) + (ARCHIVED if event.archived else 0)


class NewEvent(Row):
    """One event on its way into the tables: all but its place in received order and the numbers of its labels."""

    __slots__ = ("event_type", "head", "names", "says_when", "terms", "tokens")

    event_type: str
    head: bytes | None
    """Its body up to when it was received, while `stamp` has to say that."""
    names: Sequence[NamedId] | None
    """Its `named_ids`, if they were worked out already."""
    says_when: bool
    terms: list[Term]
    tokens: bytes

    def __init__(self, event: Event) -> None:
        if not event.archived and event.archived_at is not None:
            event = event.changed(archived_at=None)  # so that its bytes end as those of an event that is not archived
        event.derive()
        self.says_when = "event_timestamp" in event.model_fields_set
        self.known_event = None  # it is asked for once in a while: what it holds need not be kept for that
        self.event_id, self.event_type = event.event_id, event.event_type
        self.body = event.encode()
        self.head = self.body[: -len(NOT_RECEIVED_TAIL)] if self.body.endswith(NOT_RECEIVED_TAIL) else None
        self.time_us = time_to_us(event.event_timestamp)
        self.state = int(event.log_level) + (ARCHIVED if event.archived else 0)
        self.archived_us = None if event.archived_at is None else time_to_us(event.archived_at)
        self.first_seq = self.seq = 0
        self.labels = ()
        self.terms = terms_of(event)
        self.tokens = indexed_text(event)
        self.names = event.named_ids

    def __len__(self) -> int:
        """One."""
        return 1

    def stamp(self, received_at: datetime) -> None:
        """Says when the server took it."""
        if self.head is None:  # it has said so before, or it is archived
            event = self.event
            event.stamp(received_at)
            self.body = event.encode()
        else:
            self.body = self.head + received_tail(received_at)

    @property
    def named_ids(self) -> Sequence[NamedId]:
        """The names it gives to ids."""
        return self.event.named_ids if self.names is None else self.names

    @property
    def again(self) -> Event:
        """The event, to be compared with a stored one of the same id."""
        return sent_again(self.body, says_when=self.says_when)

    def place(self, seq: int) -> StoredEvent:
        """Gives it its place: it is new."""
        self.seq = self.first_seq = seq
        return StoredEvent(seq, seq, self.time_us, self.event_type, self.body)


READ_COLUMNS: Final = f"first_seq, seq, event_id, time_us, state, archived_us, labels, {BODY}"


def pack_labels(labels: Sequence[int]) -> bytes:
    """Label numbers as the column holds them."""
    return _packed(len(labels)).pack(*labels)


def unpack_labels(packed: bytes) -> tuple[int, ...]:
    """The label numbers of a column."""
    return _packed(len(packed) // 4).unpack(packed)


def pack_each(numbers: Iterable[int], ends: Iterable[int]) -> list[bytes]:
    """Label numbers of many events one after the other, as the column holds those of each; `ends` is where each end."""
    packed = array("I", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    whole, size = packed.tobytes(), packed.itemsize
    bounds = [0, *[end * size for end in ends]]
    return [whole[start:end] for start, end in pairwise(bounds)]


@lru_cache(maxsize=64)
def _packed(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")
