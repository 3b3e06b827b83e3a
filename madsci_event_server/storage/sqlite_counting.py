"""Counts by value and over time. Where labels, states and times decide, the indexes are counted, not the events.

Works in one snapshot, on a reader's thread, and stops when the time limit is over.
"""

import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

from madsci_event_server import counting
from madsci_event_server.errors import InvalidQuery
from madsci_event_server.event import Event, EventLogLevel
from madsci_event_server.json_text import parse_stored
from madsci_event_server.query import EventQuery
from madsci_event_server.storage.base import FACET_FIELDS, MAX_FACET_VALUES, Bucket, FacetCount, Facets
from madsci_event_server.storage.sqlite_database import TimeLimit
from madsci_event_server.storage.sqlite_query import Plan, plan_of
from madsci_event_server.storage.sqlite_rows import unpack_labels
from madsci_event_server.storage.sqlite_schema import ARCHIVED, BODY, EVERY_EVENT
from madsci_event_server.vocabulary import SOURCE_ID_FIELDS

_CHUNK: Final = 2000
_FEW_EVENTS: Final = 20_000
"""Of so few events in a time range it is cheaper to read the labels than to look every label up."""

Values = dict[str, int]
"""How many events have each value."""


# --- By value ---


def facets(
    connection: sqlite3.Connection, limit: TimeLimit, query: EventQuery, fields: Sequence[str], most: int
) -> Facets:
    """Counts by value for each of the fields."""
    for field in fields:
        _check_field(field)
    plan = plan_of(query, connection)
    count = _Counting(connection, limit, query, plan)
    found, total = count.by_value(fields)
    answer, truncated = {}, []
    for field in fields:
        ordered = sorted(found[field].items(), key=lambda item: (-item[1], item[0]))
        answer[field] = [FacetCount(value, events) for value, events in ordered[: min(most, MAX_FACET_VALUES)]]
        if len(ordered) > len(answer[field]):
            truncated.append(field)
    return Facets(answer, total, truncated)


def _check_field(field: str) -> None:
    if field not in FACET_FIELDS and not (field.startswith("source.") and field != "source."):
        raise InvalidQuery("field", f"{field!r} cannot be counted by; use {', '.join(FACET_FIELDS)} or source.KEY")


def histogram(
    connection: sqlite3.Connection, limit: TimeLimit, query: EventQuery, interval_seconds: int
) -> list[Bucket]:
    """Counts over time, by level."""
    counting.check_interval(interval_seconds)
    since, until = query.time_range_us
    if since is not None and until is not None and since < until:
        counting.check_range(since, until - 1, interval_seconds)
    plan = plan_of(query, connection)
    counts = _Counting(connection, limit, query, plan).over_time(interval_seconds)
    return counting.fill(counts, interval_seconds, query.time_range_us)


class Matched(NamedTuple):
    """What is counted of a matching event."""

    state: int
    time_us: int
    labels: bytes
    body: bytes
    """Empty where the tables decide the query."""


class _Counting:
    """One query's events, counted."""

    def __init__(self, connection: sqlite3.Connection, limit: TimeLimit, query: EventQuery, plan: Plan) -> None:
        self._connection = connection
        self._limit = limit
        self._query = query
        self._plan = plan

    # --- By value ---

    def by_value(self, fields: Sequence[str]) -> tuple[dict[str, Values], int]:
        """For each field its values, and how many events match."""
        if self._plan.finds_nothing:
            return {field: {} for field in fields}, 0
        if any(_is_id_of_source(field) for field in fields):
            return self._by_value_of_events(fields)
        if self._plan.is_plain and self._plan.is_timeless:
            return self._by_value_of_counts(fields)
        if self._plan.is_plain and self._in_time_range(EVERY_EVENT) > _FEW_EVENTS:
            return self._by_value_of_ranges(fields)
        return self._by_value_of_labels(fields)

    def _by_value_of_counts(self, fields: Sequence[str]) -> tuple[dict[str, Values], int]:
        """From what is counted already."""
        states = _numbers(self._plan.states)
        by_state = dict(
            self._connection.execute(
                "SELECT state, events FROM label_counts WHERE label = ?", (EVERY_EVENT,)
            ).fetchall()
        )
        by_state = {state: by_state.get(state, 0) for state in self._plan.states}

        def values_of(field: str) -> Values:
            rows = self._connection.execute(
                "SELECT value, sum(events) FROM labels JOIN label_counts ON label = id"
                f" WHERE field = ? AND state IN ({states}) GROUP BY id",
                (field,),
            )
            return dict(rows.fetchall())

        return self._completed(fields, values_of, by_state)

    def _by_value_of_ranges(self, fields: Sequence[str]) -> tuple[dict[str, Values], int]:
        """From a range of the index for each label and state."""
        by_state = {state: self._in_range(EVERY_EVENT, state) for state in self._plan.states}

        def values_of(field: str) -> Values:
            rows = self._connection.execute(
                "SELECT value, sum((SELECT count(*) FROM event_labels e WHERE e.label = id AND e.state = c.state"
                " AND e.time_us >= ? AND e.time_us < ?))"
                " FROM labels JOIN label_counts c ON c.label = id"
                f" WHERE field = ? AND c.state IN ({_numbers(self._plan.states)}) GROUP BY id",
                (self._plan.since_us, self._plan.until_us, field),
            )
            return dict(rows.fetchall())

        return self._completed(fields, values_of, by_state)

    def _by_value_of_labels(self, fields: Sequence[str]) -> tuple[dict[str, Values], int]:
        """From the labels of each matching event."""
        by_state: Counter[int] = Counter()
        by_label: Counter[int] = Counter()
        for chunk in self._matched():
            by_state.update([row.state for row in chunk])
            by_label.update(_joined(chunk))
        values: dict[str, Values] = {field: {} for field in fields}
        for labels in _chunks(sorted(by_label)):
            for label, field, value in self._connection.execute(
                f"SELECT id, field, value FROM labels WHERE id IN ({_numbers(labels)})"
            ):
                if field in values:
                    values[field][value] = by_label[label]
        return self._completed(fields, lambda field: values[field], by_state)

    def _by_value_of_events(self, fields: Sequence[str]) -> tuple[dict[str, Values], int]:
        """From each matching event itself: for what has no label of its own."""
        total = 0
        values: dict[str, Counter[str]] = {field: Counter() for field in fields}
        for chunk in self._matched(bodies=True):
            for row in chunk:
                total += 1
                event = _event(row)
                for field in fields:
                    if (value := _value_of(event, field)) is not None:
                        values[field][value] += 1
        return {field: dict(counts) for field, counts in values.items()}, total

    def _completed(
        self, fields: Sequence[str], values_of: Callable[[str], Values], by_state: dict[int, int]
    ) -> tuple[dict[str, Values], int]:
        """With the fields that are not labels: levels, and the events without an alert."""
        total = sum(by_state.values())
        found: dict[str, Values] = {}
        for field in fields:
            if field == "log_level":
                counts: Counter[str] = Counter()
                for state, events in by_state.items():
                    counts[EventLogLevel(state % ARCHIVED).name] += events
                values: Values = dict(counts)
            else:
                values = dict(values_of(field))
                if field == "alert":
                    values["false"] = total - values.get("true", 0)
            found[field] = {value: events for value, events in values.items() if events}
        return found, total

    # --- Over time ---

    def over_time(self, interval_seconds: int) -> Counter[tuple[int, int]]:
        """`(bucket start in us, level number) -> count`."""
        plan = self._plan
        if plan.finds_nothing:
            return Counter()
        if plan.is_plain:
            return self._over_time_of_label([EVERY_EVENT], interval_seconds)
        decided = not (plan.excluded or plan.match or plan.has_content) and plan.match_is_exact
        if decided and len(plan.wanted) == 1 and plan.wanted[0].disjoint:
            return self._over_time_of_label(sorted(plan.wanted[0].labels), interval_seconds)
        counts: Counter[tuple[int, int]] = Counter()
        for chunk in self._matched():
            counts.update(
                [(counting.bucket_start_us(row.time_us, interval_seconds), row.state % ARCHIVED) for row in chunk]
            )
        return counts

    def _over_time_of_label(self, labels: Sequence[int], interval_seconds: int) -> Counter[tuple[int, int]]:
        """From the index: bucket by bucket, from each event that begins one to the end of the bucket."""
        places = [(label, state) for label in labels for state in self._plan.states]
        self._check_extent(places, interval_seconds)
        width = interval_seconds * 1_000_000
        counts: Counter[tuple[int, int]] = Counter()
        for place in places:
            low = self._plan.since_us
            while (first := self._first(place, low)) is not None:
                self._limit.check()
                start = counting.bucket_start_us(first, interval_seconds)
                low = min(start + width, self._plan.until_us)
                (events,) = self._connection.execute(COUNT, (*place, first, low)).fetchone()
                counts[start, place[1] % ARCHIVED] += events
        return counts

    def _check_extent(self, places: Sequence[tuple[int, int]], interval_seconds: int) -> None:
        """Refuses too many buckets before they are counted."""
        plan = self._plan
        firsts = [first for place in places if (first := self._first(place, plan.since_us)) is not None]
        lasts = [last for place in places if (last := self._last(place, plan.until_us)) is not None]
        if firsts and lasts:
            counting.check_range(min(firsts), max(lasts), interval_seconds)

    def _first(self, place: tuple[int, int], low: int) -> int | None:
        row = self._connection.execute(FIRST, (*place, low, self._plan.until_us)).fetchone()
        return None if row is None else int(row[0])

    def _last(self, place: tuple[int, int], high: int) -> int | None:
        row = self._connection.execute(LAST, (*place, self._plan.since_us, high)).fetchone()
        return None if row is None else int(row[0])

    # --- Counting along the index ---

    def _in_range(self, label: int, state: int) -> int:
        (events,) = self._connection.execute(COUNT, (label, state, self._plan.since_us, self._plan.until_us)).fetchone()
        return int(events)

    def _in_time_range(self, label: int) -> int:
        return sum(self._in_range(label, state) for state in self._plan.states)

    # --- The matching events ---

    def _matched(self, *, bodies: bool = False) -> Iterator[list[Matched]]:
        """All of them, in any order, some at a time."""
        plan = self._plan
        undecided = plan.has_content or not plan.match_is_exact
        sources = [
            f"e.first_seq IN (SELECT first_seq FROM event_labels WHERE label IN ({_numbers(any_of.labels)})"
            f" AND state IN ({_numbers(plan.states)}))"
            for any_of in plan.wanted
        ]
        if plan.match is not None:
            sources.append("e.first_seq IN (SELECT rowid FROM words WHERE words MATCH ?)")
        if not sources and not plan.is_timeless:
            sources.append(
                f"e.first_seq IN (SELECT first_seq FROM event_labels WHERE label = {EVERY_EVENT}"
                f" AND state IN ({_numbers(plan.states)})"
                f" AND time_us >= {plan.since_us:d} AND time_us < {plan.until_us:d})"
            )
        body = BODY if undecided or bodies else "x''"
        rows = self._connection.execute(
            f"SELECT state, time_us, labels, {body} FROM events e"
            f" WHERE {' AND '.join(['e.time_us >= ? AND e.time_us < ?', *sources])}"
            f" AND e.state IN ({_numbers(plan.states)})",
            (plan.since_us, plan.until_us, *([] if plan.match is None else [plan.match])),
        )
        while chunk := rows.fetchmany(_CHUNK):
            self._limit.check()
            found = list(map(Matched._make, chunk))
            if plan.excluded:
                found = [row for row in found if plan.labels_hold(unpack_labels(row.labels))]
            if undecided:
                found = [row for row in found if self._query.matches(_event(row))]
            yield found


COUNT: Final = "SELECT count(*) FROM event_labels WHERE label = ? AND state = ? AND time_us >= ? AND time_us < ?"
FIRST: Final = (
    "SELECT time_us FROM event_labels WHERE label = ? AND state = ? AND time_us >= ? AND time_us < ?"
    " ORDER BY time_us LIMIT 1"
)
LAST: Final = (
    "SELECT time_us FROM event_labels WHERE label = ? AND state = ? AND time_us >= ? AND time_us < ?"
    " ORDER BY time_us DESC LIMIT 1"
)


def _is_id_of_source(field: str) -> bool:
    return field.startswith("source.") and field.removeprefix("source.") in SOURCE_ID_FIELDS


def _event(row: Matched) -> Event:
    return Event.stored(parse_stored(row.body))


def _value_of(event: Event, field: str) -> str | None:
    if field == "log_level":
        return event.log_level.name
    if field == "alert":
        return "true" if event.alert else "false"
    if field in ("kind", "event_type", "name"):
        value: str | None = getattr(event, field)
        return value
    if field.startswith("source."):
        return event.source_value(field.removeprefix("source."))
    return event.ids.get(field)


def _joined(rows: Sequence[Matched]) -> "array[int]":
    """The labels of all of them, one after the other."""
    labels = array("I")
    labels.frombytes(b"".join([row.labels for row in rows]))
    return labels


def _numbers(numbers: Collection[int]) -> str:
    return ", ".join(f"{number:d}" for number in numbers)


def _chunks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _CHUNK):
        yield numbers[start : start + _CHUNK]
