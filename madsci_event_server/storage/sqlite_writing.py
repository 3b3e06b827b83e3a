"""What changes the tables: append, archive, purge. Each function is the work of one transaction."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from madsci_event_server.event import (
    NOT_ARCHIVED_TAIL,
    Event,
    archived_tail,
    compare_again,
    raised,
    time_to_us,
)
from madsci_event_server.json_text import parse_stored
from madsci_event_server.storage.base import Appended, Outcome, StoredEvent, has_its_own, not_as_here
from madsci_event_server.storage.sqlite_columns import Columns, columns_of, rows_of
from madsci_event_server.storage.sqlite_rows import READ_COLUMNS, NewEvent, Row, pack_each, pack_labels, unpack_labels
from madsci_event_server.storage.sqlite_schema import ARCHIVED, BODY, EVERY_EVENT
from madsci_event_server.storage.sqlite_words import indexed_text
from madsci_event_server.storage.terms import ALERT, Term

STEP: Final = 1000
"""How many events one transaction archives or purges, so that appends wait for no more."""

_MAX_PARAMETERS: Final = 4096
"""Of one statement: far below SQLite's limit."""
_MAX_KNOWN_LABELS: Final = 20_000
_IDS_AT_ONCE: Final = 500


class SomeAreKnown(Exception):
    """Some of the ids to append are stored already, or come twice: the sign to look them up."""


class Labels:
    """The dictionary of labels as the writer sees it, its most used part in memory."""

    def __init__(self) -> None:
        self.known: dict[Term, int] = {}
        """The numbers of those that were learnt."""

    def forget(self) -> None:
        """For when a transaction failed or labels were deleted: what is in memory may not be in the file."""
        self.known.clear()

    def learn(self, connection: sqlite3.Connection, terms: Iterable[Term]) -> None:
        """Makes those labels that there are not yet, and knows the numbers of all until the next call."""
        if len(self.known) >= _MAX_KNOWN_LABELS:
            self.known.clear()
        unknown = [term for term in dict.fromkeys(terms) if term not in self.known]
        _insert_rows(connection, "OR IGNORE INTO labels (field, value)", unknown)
        step = _rows_at_once(3)
        for at in range(0, len(unknown), step):
            self._find(connection, unknown[at : at + step])

    def _find(self, connection: sqlite3.Connection, terms: Sequence[Term]) -> None:
        """Knows the numbers of labels that there are: all in one row, as Python's lock is asked for after each."""
        asked = _padded([value for place, term in enumerate(terms) for value in (place, *term)], 3)
        (found,) = connection.execute(
            "SELECT group_concat(asked.column1 || ' ' || labels.id)"
            f" FROM (VALUES {_marks(3, len(asked) // 3)}) asked"
            " CROSS JOIN labels ON labels.field = asked.column2 AND labels.value = asked.column3",
            asked,
        ).fetchone()
        for pair in found.split(","):
            place, number = pair.split(" ")
            self.known[terms[int(place)]] = int(number)


# --- Append ---

NewOnes = Sequence[NewEvent | Columns]
Append = Callable[[sqlite3.Connection, NewOnes, Labels], list[Appended]]


def append_new(connection: sqlite3.Connection, prepared: NewOnes, labels: Labels) -> list[Appended]:
    """Stores events that all are new, in this order. Raises SomeAreKnown: then the transaction is to be given up."""
    added = columns_of(prepared)
    ids = list(chain.from_iterable([columns.event_ids for columns in added]))
    if len(set(ids)) != len(ids):
        raise SomeAreKnown
    last_seq = _last_seq(connection)
    appended: list[Appended] = []
    for columns in added:
        appended += columns.place(last_seq + len(appended))
    try:
        _insert(connection, added, labels)
    except sqlite3.IntegrityError:
        raise SomeAreKnown from None
    _keep_last_seq(connection, last_seq + len(appended))
    return appended


def append_any(connection: sqlite3.Connection, prepared: NewOnes, labels: Labels) -> list[Appended]:
    """Stores those events that are new, raises those that are raised, and tells what became of each."""
    events = rows_of(prepared)
    rows = _stored_rows(connection, [new.event_id for new in events])
    seq = last_seq = _last_seq(connection)
    added: list[NewEvent] = []
    before_raise: dict[str, tuple[int, tuple[int, ...]]] = {}
    appended = []
    for new in events:
        row = rows.get(new.event_id)
        if row is None:
            seq += 1
            fresh = rows[new.event_id] = copy(new)  # one of those after it may raise it
            appended.append(Appended(Outcome.STORED, fresh.place(seq)))
            added.append(fresh)
            continue
        again = new.again
        outcome = Outcome(compare_again(row.event, again))
        if outcome is Outcome.RAISED:
            seq += 1
            before_raise.setdefault(row.event_id, (row.state, row.labels))
            row.change_to(raised(row.event, again), seq)
        appended.append(Appended(outcome, row.stored))
    if seq != last_seq:
        raised_rows = [rows[event_id] for event_id in before_raise]
        for row in raised_rows:
            if isinstance(row, NewEvent) and row.event.alert and ALERT not in row.terms:
                row.terms = [*row.terms, ALERT]
        _insert(connection, [Columns.of(added)], labels)
        for row in raised_rows:
            if not isinstance(row, NewEvent):
                _update(connection, row, before_raise[row.event_id], labels)
        _keep_last_seq(connection, seq)
    return appended


def restore(connection: sqlite3.Connection, events: Sequence[StoredEvent], labels: Labels) -> list[NewEvent]:
    """Stores events in the places they had elsewhere; those that were not here so."""
    rows = _stored_rows(connection, [stored.event.event_id for stored in events])
    changed = not_as_here(events, {event_id: row.stored for event_id, row in rows.items()})
    if not changed:
        return []
    before = [
        connection.execute(
            f"SELECT first_seq, seq, state, time_us, labels, {BODY} FROM events WHERE event_id = ?", (event_id,)
        ).fetchone()
        for event_id in changed.keys() & rows.keys()
    ]
    _delete(connection, before, labels)
    restored = []
    for stored in changed.values():
        new = NewEvent(stored.event)
        new.first_seq, new.seq = stored.first_seq, stored.seq
        restored.append(new)
    try:
        _insert(connection, [Columns.of(restored)], labels)
    except sqlite3.IntegrityError:
        raise has_its_own(restored[0].event_id) from None
    _keep_last_seq(connection, max(stored.seq for stored in changed.values()))
    return restored


def _stored_rows(connection: sqlite3.Connection, event_ids: Sequence[str]) -> dict[str, Row]:
    rows = {}
    for start in range(0, len(event_ids), _IDS_AT_ONCE):
        ids = event_ids[start : start + _IDS_AT_ONCE]
        marks = ", ".join("?" * len(ids))
        for columns in connection.execute(f"SELECT {READ_COLUMNS} FROM events WHERE event_id IN ({marks})", ids):
            row = Row.read(columns)
            rows[row.event_id] = row
    return rows


def _last_seq(connection: sqlite3.Connection) -> int:
    (last_seq,) = connection.execute("SELECT value FROM meta WHERE name = 'last_seq'").fetchone()
    return int(last_seq)


def _keep_last_seq(connection: sqlite3.Connection, seq: int) -> None:
    connection.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'last_seq'", (seq,))


def _insert(connection: sqlite3.Connection, added: Iterable[Columns], labels: Labels) -> None:
    """Writes new rows. Raises IntegrityError where one has an id or a place that is taken."""
    labels.learn(connection, chain.from_iterable([columns.terms for columns in added]))
    events: list[object] = []
    texts: list[object] = []
    places = _Places()
    for new in added:
        numbers, ends = new.labels(labels.known)
        places.add(numbers, ends, new)
        packed = pack_each(numbers, ends)
        rows = zip(new.first_seqs, new.seqs, new.event_ids, new.times_us, new.states, new.archived_us, new.event_types,
            packed, new.bodies, strict=True)  # fmt: skip
        events += chain.from_iterable(rows)
        texts += chain.from_iterable(zip(new.first_seqs, new.tokens, strict=True))
    _insert_values(connection, "INTO events", 9, events, ends_in_text=True)
    _insert_values(connection, "INTO event_labels", 4, places.values())
    _insert_values(connection, "INTO words (rowid, tokens)", 2, texts, ends_in_text=True)
    _add_counts(connection, places.counts())
    _add_names(connection, added)


class _Places:
    """The rows of `event_labels` for many events, gathered by label and state: so they need hardly be sorted."""

    def __init__(self) -> None:
        self._by_state: defaultdict[int, defaultdict[int, list[list[int]]]]
        self._by_state = defaultdict(lambda: defaultdict(list))

    def add(self, numbers: Sequence[int], ends: Sequence[int], events: Columns) -> None:
        """Those of events with these labels."""
        start = 0
        for end, state, *place in zip(ends, events.states, events.times_us, events.first_seqs, strict=True):
            by_label = self._by_state[state]
            by_label[EVERY_EVENT].append(place)
            for number in numbers[start:end]:
                by_label[number].append(place)
            start = end

    def values(self) -> list[object]:
        """All columns of all rows one after the other, in the order of the index: neighbours are written together."""
        found: list[object] = []
        groups = [
            (label, state, places) for state, by_label in self._by_state.items() for label, places in by_label.items()
        ]
        for label, state, places in sorted(groups):
            places.sort()
            for time_us, first_seq in places:
                found += (label, state, time_us, first_seq)
        return found

    def counts(self) -> dict[tuple[int, int], int]:
        """How many events of each label and state."""
        return {
            (label, state): len(places)
            for state, by_label in self._by_state.items()
            for label, places in by_label.items()
        }


def _update(connection: sqlite3.Connection, row: Row, before: tuple[int, tuple[int, ...]], labels: Labels) -> None:
    """Writes a raised row; its words and ids are the same as before."""
    state_before, labels_before = before
    numbers = set(labels_before)
    if row.event.alert:
        labels.learn(connection, [ALERT])
        numbers.add(labels.known[ALERT])
    row.labels = tuple(sorted(numbers))
    connection.execute(
        "UPDATE events SET seq = ?, state = ?, labels = ?, body = ? WHERE first_seq = ?",
        (row.seq, row.state, pack_labels(row.labels), row.body.decode(), row.first_seq),
    )
    place = (row.time_us, row.first_seq)
    counts: Counter[tuple[int, int]] = Counter()
    _remove_labels(connection, [(label, state_before, *place) for label in (EVERY_EVENT, *labels_before)], counts)
    _insert_labels(connection, [(label, row.state, *place) for label in (EVERY_EVENT, *row.labels)], counts)
    _add_counts(connection, counts)


def _insert_rows(
    connection: sqlite3.Connection, into: str, rows: Sequence[tuple[object, ...]], on_conflict: str = ""
) -> None:
    if rows:
        _insert_values(connection, into, len(rows[0]), list(chain.from_iterable(rows)), on_conflict)


def _insert_values(
    connection: sqlite3.Connection,
    into: str,
    columns: int,
    values: Sequence[object],
    on_conflict: str = "",
    *,
    ends_in_text: bool = False,
) -> None:
    """Many rows a statement: Python's lock is asked for after each, and whoever computes meanwhile holds it long.

    `ends_in_text`: the last column is text, given as its bytes, which Python need not look through.
    """
    step = _rows_at_once(columns) * columns
    for at in range(0, len(values), step):
        some = _padded(values[at : at + step], columns)
        connection.execute(_inserting(into, columns, len(some) // columns, on_conflict, ends_in_text), some)


@lru_cache(maxsize=128)
def _inserting(into: str, columns: int, rows: int, on_conflict: str, ends_in_text: bool) -> str:
    taken = [f"column{number}" for number in range(1, columns + 1)]
    if ends_in_text:
        taken[-1] = f"CAST({taken[-1]} AS TEXT)"
    return (
        f"INSERT {into} SELECT {', '.join(taken)} FROM (VALUES {_marks(columns, rows)})"
        f" WHERE column1 IS NOT NULL {on_conflict}"
    )


def _rows_at_once(columns: int) -> int:
    """A power of two."""
    return 1 << (_MAX_PARAMETERS // columns).bit_length() - 1


def _padded(values: Sequence[object], columns: int) -> list[object]:
    """The values of as many rows as a power of two, those too many being NULL: few statements have to be prepared."""
    rows = 1 << (len(values) // columns - 1).bit_length()
    return [*values, *[None] * (rows * columns - len(values))]


@lru_cache(maxsize=128)
def _marks(columns: int, rows: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


Entry = tuple[int, int, int, int]
"""A row of `event_labels`."""


def _insert_labels(connection: sqlite3.Connection, entries: list[Entry], counts: Counter[tuple[int, int]]) -> None:
    _insert_rows(connection, "INTO event_labels", sorted(entries))
    counts.update([(label, state) for label, state, _, _ in entries])


def _remove_labels(connection: sqlite3.Connection, entries: list[Entry], counts: Counter[tuple[int, int]]) -> None:
    connection.executemany(
        "DELETE FROM event_labels WHERE label = ? AND state = ? AND time_us = ? AND first_seq = ?", sorted(entries)
    )
    counts.subtract([(label, state) for label, state, _, _ in entries])


def _add_counts(connection: sqlite3.Connection, counts: Mapping[tuple[int, int], int]) -> None:
    _insert_rows(
        connection,
        "INTO label_counts",
        [(label, state, change) for (label, state), change in counts.items() if change],
        "ON CONFLICT DO UPDATE SET events = events + excluded.events",
    )


def _add_names(connection: sqlite3.Connection, added: Iterable[Columns]) -> None:
    _insert_rows(
        connection,
        "INTO name_pairs",
        [(*named, time_us) for columns in added for named, time_us in columns.named.items()],
        "ON CONFLICT DO UPDATE SET last_seen_us = excluded.last_seen_us WHERE excluded.last_seen_us > last_seen_us",
    )


# --- Archive and purge ---


def archive_ids(connection: sqlite3.Connection, ids: Sequence[str], before: datetime | None, at: datetime) -> int:
    """Archives those of these events that are not yet, and that happened before a time where one is given."""
    marks = ", ".join("?" * len(ids))
    found = connection.execute(f"SELECT first_seq, time_us FROM events WHERE event_id IN ({marks})", tuple(ids))
    end = None if before is None else time_to_us(before)
    return _archive(connection, [first_seq for first_seq, time_us in found if end is None or time_us < end], at)


def archive_some(connection: sqlite3.Connection, before: datetime | None, at: datetime) -> int:
    """Archives up to STEP events that happened before a time; 0 when all are."""
    end = 2**63 - 1 if before is None else time_to_us(before)
    found: list[int] = []
    for state in range(0, ARCHIVED, 10):
        rows = connection.execute(
            "SELECT first_seq FROM event_labels WHERE label = ? AND state = ? AND time_us < ? LIMIT ?",
            (EVERY_EVENT, state, end, STEP - len(found)),
        )
        found += [first_seq for (first_seq,) in rows]
    return _archive(connection, found, at)


def _archive(connection: sqlite3.Connection, first_seqs: Sequence[int], at: datetime) -> int:
    rows = []
    for first_seq in first_seqs:
        rows += connection.execute(
            "SELECT first_seq, state, time_us, labels FROM events WHERE first_seq = ? AND state < ?",
            (first_seq, ARCHIVED),
        ).fetchall()
    tail, at_us = archived_tail(at).decode(), time_to_us(at)
    counts: Counter[tuple[int, int]] = Counter()
    old: list[Entry] = []
    for first_seq, state, time_us, packed in rows:
        old += [(label, state, time_us, first_seq) for label in (EVERY_EVENT, *unpack_labels(packed))]
    _remove_labels(connection, old, counts)
    _insert_labels(connection, [(label, state + ARCHIVED, *place) for label, state, *place in old], counts)  # type: ignore[misc]
    connection.executemany(
        "UPDATE events SET state = state + ?, archived_us = ?,"
        " body = substr(body, 1, length(body) - ?) || ? WHERE first_seq = ?",
        [(ARCHIVED, at_us, len(NOT_ARCHIVED_TAIL), tail, first_seq) for first_seq, _, _, _ in rows],
    )
    _add_counts(connection, counts)
    return len(rows)


def purge_some(connection: sqlite3.Connection, archived_before: datetime, labels: Labels) -> int:
    """Deletes up to STEP events archived before a time; 0 when all are gone."""
    rows = connection.execute(
        f"SELECT first_seq, seq, state, time_us, labels, {BODY} FROM events"
        " WHERE archived_us IS NOT NULL AND archived_us < ? ORDER BY archived_us LIMIT ?",
        (time_to_us(archived_before), STEP),
    ).fetchall()
    _keep_purged_through(connection, max((row[1] for row in rows), default=0))
    _delete(connection, rows, labels)
    return len(rows)


def _delete(connection: sqlite3.Connection, rows: Sequence[Sequence[Any]], labels: Labels) -> None:
    """Deletes events, given their first_seq, seq, state, time_us, labels and body."""
    counts: Counter[tuple[int, int]] = Counter()
    entries: list[Entry] = []
    for first_seq, _, state, time_us, packed, _ in rows:
        entries += [(label, state, time_us, first_seq) for label in (EVERY_EVENT, *unpack_labels(packed))]
    _remove_labels(connection, entries, counts)
    # The full-text index holds no texts: it has to be told which words to take out.
    connection.executemany(
        "INSERT INTO words (words, rowid, tokens) VALUES ('delete', ?, CAST(? AS TEXT))",
        [(first_seq, indexed_text(Event.stored(parse_stored(body)))) for first_seq, *_, body in rows],
    )
    connection.executemany("DELETE FROM events WHERE first_seq = ?", [(row[0],) for row in rows])
    _add_counts(connection, counts)
    _remove_unused(connection, {label for label, _ in counts} - {EVERY_EVENT}, labels)


def _keep_purged_through(connection: sqlite3.Connection, seq: int) -> None:
    connection.execute(
        "INSERT INTO meta VALUES ('purged_through', ?1)"
        " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        (seq,),
    )


def _remove_unused(connection: sqlite3.Connection, numbers: Collection[int], labels: Labels) -> None:
    """Deletes labels that no event has any more."""
    connection.executemany("DELETE FROM label_counts WHERE label = ? AND events = 0", [(number,) for number in numbers])
    connection.executemany(
        "DELETE FROM labels WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM label_counts WHERE label = ?1)",
        [(number,) for number in numbers],
    )
    labels.forget()
