"""Counting events that are at hand: facets, totals and a histogram, as the server would count them."""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from madsci_event_cli.tui.narrowing import filtered_fields, without
from madsci_event_cli.tui.source import Bucket, Counts
from madsci_event_server.event import ID_FIELDS, Event, EventLogLevel, time_to_us
from madsci_event_server.query import EventQuery

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = time_to_us(datetime.min.replace(tzinfo=UTC)) // 1_000_000
"""Where the calendar begins; a bucket that would begin before does so then."""

FACET_VALUES: Final = 20
"""How many values of a field are shown."""

INTERVALS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
"""Seconds a histogram's bucket may have: those a clock face is divided by."""


def interval_for(seconds: float, columns: int) -> int:
    """The finest interval that shows so many seconds in so many columns."""
    wanted = seconds / max(columns, 1)
    return next((step for step in INTERVALS if step >= wanted), -(-int(wanted) // 86400) * 86400)


def facet_value(event: Event, field: str) -> str | None:
    """What an event counts as for this field; None where it has no value."""
    if field == "log_level":
        return event.log_level.name.lower()
    if field == "kind":
        return event.kind
    if field == "name":
        return event.name
    if field == "alert":
        return str(event.alert).lower()
    return event.ids.get(field) if field in ID_FIELDS else None


def second_of(event: Event) -> int:
    """The second since 1970 in which it happened."""
    return time_to_us(event.event_timestamp) // 1_000_000


class Tally:
    """Counts as events pass by. A field that is filtered on is counted as if it were not."""

    def __init__(self, query: EventQuery, fields: Collection[str]) -> None:
        self._query = query
        self._counters: dict[str, Counter[str]] = {field: Counter() for field in fields}
        self._widened = {field: without(query, field) for field in filtered_fields(query, fields)}
        self._seconds: dict[int, Counter[EventLogLevel]] = {}
        self._matching = 0
        self._total = 0
        self._names: dict[tuple[str, str], str] = {}

    def add(self, event: Event) -> None:
        """Counts one event."""
        self.learn({(named.field, named.id): named.name for named in event.named_ids})
        if self.count(event, 1):
            self.mark({(second_of(event), event.log_level): 1})

    def count(self, event: Event, number: int) -> bool:
        """Counts so many events by their values, all alike in them and in what is filtered; whether they match."""
        self._total += number
        matches = self._query.matches(event)
        if matches:
            self._matching += number
        for field, counter in self._counters.items():
            query = self._widened.get(field)
            if (matches if query is None else query.matches(event)) and (
                value := facet_value(event, field)
            ) is not None:
                counter[value] += number
        return matches

    def mark(self, matching: Mapping[tuple[int, EventLogLevel], int]) -> None:
        """Counts events that match over time: how many of a level there are in a second."""
        for (second, level), number in matching.items():
            self._seconds.setdefault(second, Counter())[level] += number

    def learn(self, names: Mapping[tuple[str, str], str]) -> None:
        """Takes in what ids are called."""
        self._names.update(names)

    def counts(self, columns: int) -> Counts:
        """What was counted; the histogram has at most `columns` buckets."""
        interval = 60
        buckets: list[Bucket] = []
        if self._seconds:
            first, last = min(self._seconds), max(self._seconds)
            interval = interval_for(last - first + 1, max(columns - 1, 1))
            buckets = self._buckets(first, last, interval)
        return Counts(
            facets={field: _ranked(counter) for field, counter in self._counters.items()},
            truncated=[field for field, counter in self._counters.items() if len(counter) > FACET_VALUES],
            matching=self._matching,
            total=self._total,
            buckets=buckets,
            interval_seconds=interval,
            names=[(field, id_, name) for (field, id_), name in self._names.items()],
        )

    def _buckets(self, first: int, last: int, interval: int) -> list[Bucket]:
        merged: dict[int, Counter[EventLogLevel]] = {}
        for second, counter in self._seconds.items():
            merged.setdefault(second - second % interval, Counter()).update(counter)
        starts = range(first - first % interval, last + 1, interval)
        return [Bucket(_EPOCH + timedelta(seconds=max(start, _FIRST)), merged.get(start, {})) for start in starts]


def _ranked(counter: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:FACET_VALUES]
