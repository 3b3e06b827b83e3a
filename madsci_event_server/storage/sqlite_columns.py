"""Events on their way into the tables together, column by column: as a worker sends them, and as statements take them.

What many events have in common is there once: a label of a thousand events is sent, hashed and looked up once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from typing import Any, Final, Self

from madsci_event_server.event import NOT_RECEIVED_TAIL, Event, NamedId, received_tail, time_to_us
from madsci_event_server.storage.base import Appended, Outcome, StoredEvent
from madsci_event_server.storage.sqlite_rows import NewEvent
from madsci_event_server.storage.sqlite_words import indexed_text
from madsci_event_server.storage.terms import Term, terms_of

_NOT_RECEIVED: Final = len(NOT_RECEIVED_TAIL)
_NEVER_US: Final = -(2**63)


class Columns:
    """New events in order. A worker's say nothing of when they were received until `stamp` does."""

    __slots__ = ("archived_us", "bodies", "event_ids", "event_types", "first_seqs", "heads", "named", "says_when",
        "seqs", "states", "term_ends", "term_numbers", "terms", "times_us", "tokens")  # fmt: skip

    event_ids: list[str]
    event_types: list[str]
    times_us: list[int]
    states: list[int]
    says_when: list[bool]
    tokens: list[bytes]
    heads: list[bytes]
    """Of those that are to be stamped: their bodies up to when they were received."""
    bodies: list[bytes]
    terms: Sequence[Term]
    """Each once."""
    term_numbers: list[int]
    """Which of `terms` the events have, one event's after the other's."""
    term_ends: list[int]
    """Where each event's end."""
    named: dict[NamedId, int]
    """The names they give to ids, each with the latest time it was given."""
    archived_us: list[int | None]
    first_seqs: Sequence[int]
    seqs: Sequence[int]

    @classmethod
    def of(cls, rows: Sequence[NewEvent]) -> Self:
        """Those of events that were prepared one by one, and stamped."""
        found = cls()
        found.event_ids = [row.event_id for row in rows]
        found.event_types = [row.event_type for row in rows]
        found.times_us = [row.time_us for row in rows]
        found.states = [row.state for row in rows]
        found.says_when = [row.says_when for row in rows]
        found.tokens = [row.tokens for row in rows]
        found.bodies = [row.body for row in rows]
        numbers: dict[Term, int] = {}
        found.term_numbers = [numbers.setdefault(term, len(numbers)) for row in rows for term in row.terms]
        found.term_ends = list(accumulate([len(row.terms) for row in rows]))
        found.terms = list(numbers)
        found.named = {}
        for row in rows:
            _see(found.named, row.named_ids, row.time_us)
        found.archived_us = [row.archived_us for row in rows]
        found.first_seqs = [row.first_seq for row in rows]
        found.seqs = [row.seq for row in rows]
        return found

    @classmethod
    def unpacked(cls, values: tuple[Any, ...]) -> Self:
        """What a `ColumnsPacker` has packed."""
        found = cls()
        (found.event_ids, found.event_types, found.times_us, found.states, found.says_when, found.tokens, found.heads,
            found.terms, found.term_numbers, found.term_ends, named) = values  # fmt: skip
        found.named = {NamedId(*names): time_us for names, time_us in named.items()}
        found.archived_us = [None] * len(found.event_ids)
        return found

    def __len__(self) -> int:
        """How many events."""
        return len(self.event_ids)

    def stamp(self, received_at: datetime) -> None:
        """Says when the server took them."""
        tail = received_tail(received_at)
        self.bodies = [head + tail for head in self.heads]

    def place(self, last_seq: int) -> list[Appended]:
        """Gives them the places after this one, as they are new."""
        self.first_seqs = self.seqs = range(last_seq + 1, last_seq + 1 + len(self))
        return [
            Appended(Outcome.STORED, StoredEvent(seq, seq, time_us, event_type, body))
            for seq, time_us, event_type, body in zip(
                self.seqs, self.times_us, self.event_types, self.bodies, strict=True
            )
        ]

    def labels(self, known: Mapping[Term, int]) -> tuple[list[int], list[int]]:
        """The numbers of their labels, one event's after the other's, and where each event's end."""
        numbers = [known[term] for term in self.terms]
        return [numbers[number] for number in self.term_numbers], self.term_ends

    def rows(self) -> Iterator[NewEvent]:
        """Each for itself: to be compared with what is stored of its id."""
        for place, (start, end) in enumerate(pairwise([0, *self.term_ends])):
            row = NewEvent.__new__(NewEvent)
            row.event_id, row.event_type = self.event_ids[place], self.event_types[place]
            row.time_us, row.state = self.times_us[place], self.states[place]
            row.says_when, row.tokens = self.says_when[place], self.tokens[place]
            row.body, row.head = self.bodies[place], self.heads[place]
            row.terms = [self.terms[number] for number in self.term_numbers[start:end]]
            row.archived_us = row.known_event = None
            row.first_seq = row.seq = 0
            row.labels = ()
            row.names = None  # few are asked for them: most of those that come here are stored already
            yield row


class ColumnsPacker:
    """Prepares events that go to another process together."""

    def __init__(self) -> None:
        self._columns: tuple[list[Any], ...] = ([], [], [], [], [], [], [])
        self._numbers: dict[Term, int] = {}
        self._term_numbers: list[int] = []
        self._term_ends: list[int] = []
        self._named: dict[NamedId, int] = {}

    def add(self, event: Event) -> None:
        """One more, that was neither received yet nor archived."""
        event.derive()
        ids, types, times_us, states, says_when, tokens, heads = self._columns
        ids.append(event.event_id)
        types.append(event.event_type)
        time_us = time_to_us(event.event_timestamp)
        times_us.append(time_us)
        states.append(int(event.log_level))
        says_when.append("event_timestamp" in event.model_fields_set)
        tokens.append(indexed_text(event))
        heads.append(event.encode()[:-_NOT_RECEIVED])
        numbers = self._numbers
        self._term_numbers += [numbers.setdefault(term, len(numbers)) for term in terms_of(event)]
        self._term_ends.append(len(self._term_numbers))
        if event.named_ids:
            _see(self._named, event.named_ids, time_us)

    def packed(self) -> tuple[Any, ...]:
        """All of them."""
        named = {(*named,): time_us for named, time_us in self._named.items()}
        return (*self._columns, list(self._numbers), self._term_numbers, self._term_ends, named)


class SQLitePacking:
    """How events are made ready for the tables, in this process or in another."""

    kind: Final = "sqlite"

    def packer(self) -> ColumnsPacker:
        """What prepares the next events that go to another process together."""
        return ColumnsPacker()

    def unpack(self, packed: tuple[Any, ...]) -> list[Columns]:
        """Those events, together."""
        columns = Columns.unpacked(packed)
        return [columns] if len(columns) else []


def columns_of(prepared: Sequence[NewEvent | Columns]) -> list[Columns]:
    """All of them in order, those that were prepared one by one together with their neighbours."""
    found: list[Columns] = []
    alone: list[NewEvent] = []
    for one in prepared:
        if isinstance(one, NewEvent):
            alone.append(one)
            continue
        if alone:
            found.append(Columns.of(alone))
            alone = []
        found.append(one)
    return [*found, Columns.of(alone)] if alone else found


def rows_of(prepared: Iterable[NewEvent | Columns]) -> list[NewEvent]:
    """All of them in order, each for itself."""
    return [row for one in prepared for row in ((one,) if isinstance(one, NewEvent) else one.rows())]


def _see(named: dict[NamedId, int], names: Iterable[NamedId], time_us: int) -> None:
    for name in names:
        if named.get(name, _NEVER_US) < time_us:
            named[name] = time_us
