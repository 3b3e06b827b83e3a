"""What was read of lines, kept so small that another filter is counted without reading them again.

Most events are alike in all that the panels count: of each only which of these kinds it is, when it happened and where
it stands is kept. Filters that look at more than that (words, patterns, times, other fields) need the lines.
"""

import asyncio
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Final, NamedTuple, cast

from madsci_event_cli.tui.counting import Tally, second_of
from madsci_event_server.event import ID_FIELDS, Event, EventLogLevel
from madsci_event_server.query import EventQuery

MAX_KINDS: Final = 200_000
"""Beyond that nothing is alike, and keeping it takes more room than it saves time: some 100 MB."""

_IDS: Final = tuple(field for field in ID_FIELDS if field not in ("step_id", "action_id"))
"""Those that many events share."""

_FILTERS: Final = frozenset({"level", "log_level", "alert", "kind", "event_type", "name", "node", *_IDS})
_NO_MATTER: Final = frozenset({"include_archived", "only_archived", "order", "limit", "after"})
"""What a query may say besides: whether an event is archived is kept, and the rest is paging."""
_FIELDS: Final = frozenset({"log_level", "alert", "kind", "name", *_IDS})
_EVENTS_A_SLICE: Final = 20_000
_KINDS_A_SLICE: Final = 500
"""Counted between two looks at the keyboard: a few milliseconds."""

_ANY_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Alike(NamedTuple):
    """What events have in common that none of these filters, and nothing that is counted, tells apart."""

    log_level: EventLogLevel
    alert: bool
    archived: bool
    event_type: str
    kind: str
    name: str | None
    ids: tuple[str | None, ...]

    def one(self) -> Event:
        """What filters and panels see of one such event."""
        ids = {field: value for field, value in zip(_IDS, self.ids, strict=True) if value is not None}
        return cast("Event", SimpleNamespace(**self._asdict() | {"ids": ids, "event_timestamp": _ANY_TIME}))


class Ledger:
    """Events in the order of their lines."""

    def __init__(self) -> None:
        self._kinds: dict[_Alike, int] = {}
        self._kind_of = array("L")
        self._seconds = array("q")
        self._positions = array("q")
        self._names: dict[tuple[str, str], str] = {}

    @property
    def is_full(self) -> bool:
        """Whether it takes no more, and knows only of the first."""
        return len(self._kinds) >= MAX_KINDS

    def add(self, event: Event, position: int) -> None:
        """One event more; positions grow."""
        ids = event.ids.get
        alike = _Alike(
            event.log_level,
            event.alert,
            event.archived,
            event.event_type,
            event.kind,
            event.name,
            tuple([ids(field) for field in _IDS]),
        )
        self._kind_of.append(self._kinds.setdefault(alike, len(self._kinds)))
        self._seconds.append(second_of(event))
        self._positions.append(position)
        for named in event.named_ids:
            self._names[named.field, named.id] = named.name

    async def tally(self, query: EventQuery, fields: Collection[str], start: int) -> Tally | None:
        """Counts of the events from a position on; None where a filter, or a field, looks at more than is kept.

        What was before that position is let go.
        """
        asked = query.model_dump(exclude_defaults=True).keys() - _NO_MATTER
        if self.is_full or not (asked <= _FILTERS and _FIELDS.issuperset(fields)):
            return None
        tally = Tally(query, fields)
        tally.learn(self._names)
        gone = slice(bisect_left(self._positions, start))
        del self._positions[gone], self._seconds[gone], self._kind_of[gone]
        end = len(self._positions)
        slices = [slice(begin, min(begin + _EVENTS_A_SLICE, end)) for begin in range(0, end, _EVENTS_A_SLICE)]
        numbers: Counter[int] = Counter()
        for part in slices:
            numbers.update(self._kind_of[part])
            await asyncio.sleep(0)
        levels: dict[int, EventLogLevel] = {}
        for alike, kind in list(self._kinds.items()):
            if (number := numbers[kind]) and tally.count(alike.one(), number):
                levels[kind] = alike.log_level
            if kind % _KINDS_A_SLICE == 0:
                await asyncio.sleep(0)
        for part in slices:
            pairs = zip(self._seconds[part], self._kind_of[part], strict=True)
            tally.mark(Counter([(second, levels[kind]) for second, kind in pairs if kind in levels]))
            await asyncio.sleep(0)
        return tally
