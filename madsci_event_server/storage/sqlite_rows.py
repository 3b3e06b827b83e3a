"""Events as rows: what is derived from an event once, before the transaction that stores it."""

import struct
from collections.abc import Sequence
from typing import Any, Final, Self

from madsci_event_server.event import Event, time_to_us
from madsci_event_server.json_text import parse_stored
from madsci_event_server.storage.base import StoredEvent
from madsci_event_server.storage.sqlite_schema import ARCHIVED


class Row:
    """One event on its way into the tables, or read from them to be raised."""

    __slots__ = ("archived_us", "body", "event_id", "first_seq", "labels", "seq", "state", "stored_event", "time_us")

    def __init__(self, event: Event) -> None:
        """Everything but its place in received order and the numbers of its labels."""
        if not event.archived and event.archived_at is not None:
            event = event.changed(
                archived_at=None
            )  # so that its bytes end as those of an event do that is not archived
        self.stored_event: Event | None = event
        self.body = event.encode()
        self.event_id = event.event_id
        self.time_us = time_to_us(event.event_timestamp)
        self.state = int(event.log_level) + (ARCHIVED if event.archived else 0)
        self.archived_us = None if event.archived_at is None else time_to_us(event.archived_at)
        self.first_seq = self.seq = 0
        self.labels: tuple[int, ...] = ()

    @classmethod
    def read(cls, columns: Sequence[Any]) -> Self:
        """The row of `READ_COLUMNS`."""
        row = cls.__new__(cls)
        row.stored_event = None
        row.first_seq, row.seq, row.event_id, row.time_us, row.state, row.archived_us, labels, row.body = columns
        row.labels = unpack_labels(labels)
        return row

    @property
    def event(self) -> Event:
        """The event as it now stands."""
        if self.stored_event is None:
            self.stored_event = Event.stored(parse_stored(self.body))
        return self.stored_event

    @property
    def stored(self) -> StoredEvent:
        """The event as it now stands, with its places."""
        return StoredEvent(self.seq, self.first_seq, self.time_us, self.event.event_type, self.body)

    def change_to(self, event: Event, seq: int) -> None:
        """Raises it: the event has another level or flag, and a new place in received order."""
        self.stored_event, self.body, self.seq = event, event.encode(), seq
        self.state = int(event.log_level) + (ARCHIVED if event.archived else 0)


READ_COLUMNS: Final = "first_seq, seq, event_id, time_us, state, archived_us, labels, body"


def pack_labels(labels: Sequence[int]) -> bytes:
    """Label numbers as the column holds them."""
    return struct.pack(f"<{len(labels)}I", *labels)


def unpack_labels(packed: bytes) -> tuple[int, ...]:
    """The label numbers of a column."""
    return struct.unpack(f"<{len(packed) // 4}I", packed)
