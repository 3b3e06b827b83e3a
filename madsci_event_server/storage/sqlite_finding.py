"""A page of events in order: which way through the tables is the shortest, and what is left to decide on the way.

Works in one snapshot, on a reader's thread, and stops when the time limit is over.
"""

import heapq
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from math import isqrt
from typing import Final, NamedTuple

from madsci_event_server.query import Cursor, EventQuery, cursor_letter
from madsci_event_server.storage.base import Page, StoredEvent
from madsci_event_server.storage.sqlite_database import TimeLimit
from madsci_event_server.storage.sqlite_query import FOREVER, AnyOf, Plan, plan_of
from madsci_event_server.storage.sqlite_rows import unpack_labels
from madsci_event_server.storage.sqlite_schema import BODY, EVERY_EVENT

FEW: Final = 20_000
"""Up to so many events of a label are collected and sorted where no index has them in the order wanted."""
_DECIDING_COSTS: Final = 15
"""What reading and deciding an event in Python costs, in lookups of a row that SQLite makes by itself."""
_MAX_RANGES: Final = 200
"""How many index ranges are merged at most; of more labels the events are collected and sorted."""
_MAX_CHUNK: Final = 1000

Place = tuple[int, int]
"""(time_us, first_seq): a place in time order; (archived_us, first_seq): in order of archiving."""


class Found(NamedTuple):
    """A row of `events` as searches see it."""

    seq: int
    first_seq: int
    time_us: int
    state: int
    archived_us: int | None
    event_type: str
    labels: bytes
    body: bytes

    @property
    def stored(self) -> StoredEvent:
        """What a page holds."""
        return StoredEvent(self.seq, self.first_seq, self.time_us, self.event_type, self.body)


_COLUMNS: Final = ", ".join([*(f"e.{name}" for name in Found._fields if name != "body"), BODY])
_RANGE: Final = (
    "SELECT time_us, first_seq FROM event_labels WHERE label = ? AND state = ?"
    " AND (time_us, first_seq) > (?, ?) AND (time_us, first_seq) < (?, ?)"
    " ORDER BY time_us {0}, first_seq {0}"
)
RANGE_UP: Final = _RANGE.format("ASC")
RANGE_DOWN: Final = _RANGE.format("DESC")


# --- A page ---


def find(connection: sqlite3.Connection, limit: TimeLimit, query: EventQuery, store_id: str) -> Page:
    """The page of matching events after the query's cursor."""
    after = None if query.after is None else Cursor.decode(query.after, store_id=store_id, order=query.order)
    plan = plan_of(query, connection)
    if plan.finds_nothing:
        return Page([], None)
    found = list(islice(_Search(connection, limit, query, plan).events(after), query.limit + 1))
    page = found[: query.limit]
    following = _cursor_after(query, page[-1], store_id).encode() if len(found) > query.limit else None
    return Page([row.stored for row in page], following)


def _cursor_after(query: EventQuery, row: Found, store_id: str) -> Cursor:
    if query.order == "received":
        return Cursor(store_id, "r", row.seq)
    time_us = row.archived_us if query.order == "-archived" else row.time_us
    return Cursor(store_id, cursor_letter(query.order), row.first_seq, time_us or 0)


class _Search:
    """One query's way through the tables."""

    def __init__(self, connection: sqlite3.Connection, limit: TimeLimit, query: EventQuery, plan: Plan) -> None:
        self._connection = connection
        self._limit = limit
        self._query = query
        self._plan = plan
        self._by_words = False
        """Whether the candidates come from the full-text index, which then has decided `search`."""

    def events(self, after: Cursor | None) -> Iterator[Found]:
        """Matching events in the query's order."""
        candidates = self._candidates(after)  # decides what of the content is left to look at
        return filter(self._holds_content(), filter(self._holds_labels, candidates))

    def _candidates(self, after: Cursor | None) -> Iterator[Found]:
        driver = self._driver()
        order = self._query.order
        if order == "received":
            return self._received(driver, 0 if after is None else after.position)
        if order == "-archived":
            return self._rows(self._archived(after))
        low: Place = (self._plan.since_us, 0)
        high: Place = (self._plan.until_us, 0)
        if after is not None:
            place = (after.time_us, after.position)
            low, high = (max(low, place), high) if order == "time" else (low, min(high, place))
        if self._by_words:
            return self._rows(self._collected(low, high))
        return self._rows(self._walked(driver, low, high))

    def _driver(self) -> AnyOf:
        """The labels to go by: those on the fewest events. Or the words, where those are in fewer and few enough."""
        drivers = [(self._count(any_of), any_of) for any_of in self._plan.wanted]
        fewest, driver = min(drivers, default=(self._count(_EVERYTHING), _EVERYTHING), key=lambda item: item[0])
        if self._plan.match is not None:
            # Collecting costs a lookup for each event with the words; walking until the page is full, a decision for
            # each event on the way: `limit` events times the share of those with the words.
            most = min(fewest, isqrt(_DECIDING_COSTS * self._query.limit * fewest))
            self._by_words = self._count_words(most + 1) <= most
        return driver

    def _count(self, any_of: AnyOf) -> int:
        """On how many events in the plan's states the labels are; its times are not looked at."""
        wanted = set(self._plan.states)
        return sum(
            events
            for label in any_of.labels
            for state, events in self._connection.execute(
                "SELECT state, events FROM label_counts WHERE label = ?", (label,)
            )
            if state in wanted
        )

    def _places_after(self, seq: int) -> int:
        (last,) = self._connection.execute("SELECT value FROM meta WHERE name = 'last_seq'").fetchone()
        return int(last) - seq

    def _count_words(self, at_most: int) -> int:
        (count,) = self._connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)", (self._plan.match, at_most)
        ).fetchone()
        return int(count)

    # --- Candidates, in order ---

    def _walked(self, driver: AnyOf, low: Place, high: Place) -> Iterator[int]:
        """Along the index of the driver's labels, range by range merged."""
        ranges = [(label, state) for label in driver.labels for state in self._plan.states]
        backwards = self._query.order == "-time"
        if len(ranges) > _MAX_RANGES:
            return self._sorted(driver, low, high)
        statement = RANGE_DOWN if backwards else RANGE_UP
        cursors = [self._connection.execute(statement, (*place, *low, *high)) for place in ranges]
        return _distinct(first_seq for _, first_seq in heapq.merge(*cursors, reverse=backwards))

    def _sorted(self, driver: AnyOf, low: Place, high: Place) -> Iterator[int]:
        direction = "DESC" if self._query.order == "-time" else "ASC"
        rows = self._connection.execute(
            "SELECT DISTINCT time_us, first_seq FROM event_labels"
            f" WHERE label IN ({_numbers(driver.labels)}) AND state IN ({_numbers(self._plan.states)})"
            " AND (time_us, first_seq) > (?, ?) AND (time_us, first_seq) < (?, ?)"
            f" ORDER BY time_us {direction}, first_seq {direction}",
            (*low, *high),
        )
        return (first_seq for _, first_seq in rows)

    def _collected(self, low: Place, high: Place) -> Iterator[int]:
        """The events with the words, sorted."""
        direction = "DESC" if self._query.order == "-time" else "ASC"
        rows = self._connection.execute(
            "SELECT e.first_seq FROM words JOIN events e ON e.first_seq = words.rowid WHERE words MATCH ?"
            f" AND e.state IN ({_numbers(self._plan.states)})"
            " AND (e.time_us, e.first_seq) > (?, ?) AND (e.time_us, e.first_seq) < (?, ?)"
            f" ORDER BY e.time_us {direction}, e.first_seq {direction}",
            (self._plan.match, *low, *high),
        )
        return (first_seq for (first_seq,) in rows)

    def _archived(self, after: Cursor | None) -> Iterator[int]:
        # In two steps, because many are archived at one instant: within that, SQLite would not seek the second column.
        end = FOREVER[1] if after is None else after.time_us
        steps = [] if after is None else [(ARCHIVED_WITH, (end, after.position))]
        for statement, values in [*steps, (ARCHIVED_DOWN, (end,))]:
            for (first_seq,) in self._connection.execute(statement, values):
                yield first_seq

    def _received(self, driver: AnyOf, after: int) -> Iterator[Found]:
        plan = self._plan
        states = _numbers(plan.states)
        values: list[object] = []
        if self._by_words:
            source = "JOIN words ON words.rowid = e.first_seq WHERE words MATCH ? AND"
            values.append(plan.match)
        elif driver is not _EVERYTHING and self._count(driver) <= min(FEW, self._places_after(after)):
            source = (
                "WHERE e.first_seq IN (SELECT first_seq FROM event_labels"
                f" WHERE label IN ({_numbers(driver.labels)}) AND state IN ({states})) AND"
            )
        else:
            source = "WHERE"
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM events e {source} e.seq > ? AND e.state IN ({states})"
            " AND e.time_us >= ? AND e.time_us < ? ORDER BY e.seq",
            (*values, after, plan.since_us, plan.until_us),
        )
        return self._checked(map(Found._make, rows))

    def _checked(self, rows: Iterable[Found]) -> Iterator[Found]:
        for count, row in enumerate(rows):
            if count % _MAX_CHUNK == 0:
                self._limit.check()
            yield row

    def _rows(self, first_seqs: Iterator[int]) -> Iterator[Found]:
        """The rows of candidates: at first as many as a page has, then, where they don't fill it, more at once."""
        size = min(self._query.limit + 1, _MAX_CHUNK)
        while chunk := list(islice(first_seqs, size)):
            self._limit.check()
            rows = {row.first_seq: row for row in self._fetched(chunk)}
            yield from (rows[first_seq] for first_seq in chunk if self._in_range(rows[first_seq]))
            size = min(size * 2, _MAX_CHUNK)

    def _fetched(self, first_seqs: Sequence[int]) -> Iterator[Found]:
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM events e WHERE e.first_seq IN ({_numbers(first_seqs)})"
        )
        return map(Found._make, rows)

    # --- What a candidate must hold ---

    def _in_range(self, row: Found) -> bool:
        return row.state in self._plan.states and self._plan.since_us <= row.time_us < self._plan.until_us

    def _holds_labels(self, row: Found) -> bool:
        return self._plan.labels_hold(unpack_labels(row.labels))

    def _holds_content(self) -> Callable[[Found], bool]:
        undecided = self._plan.has_content or (self._query.search is not None and not self._by_words)
        return (lambda row: self._query.matches(row.stored.event)) if undecided else (lambda _: True)


_EVERYTHING: Final = AnyOf(frozenset({EVERY_EVENT}), disjoint=True)

ARCHIVED_WITH: Final = "SELECT first_seq FROM events WHERE archived_us = ? AND first_seq < ? ORDER BY first_seq DESC"
ARCHIVED_DOWN: Final = "SELECT first_seq FROM events WHERE archived_us < ? ORDER BY archived_us DESC, first_seq DESC"


def _numbers(numbers: Iterable[int]) -> str:
    """Whole numbers as a list in SQL; there may be more of them than a statement may have parameters."""
    return ", ".join(f"{number:d}" for number in numbers)


def _distinct(values: Iterable[int]) -> Iterator[int]:
    last = None
    for value in values:
        if value != last:
            yield value
        last = value
