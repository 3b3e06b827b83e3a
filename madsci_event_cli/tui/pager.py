"""Pager: pages of one query, in both directions from wherever the list stands; and the next event that is wanted.

The window above or below which a page belongs is an argument: it decides what is already there.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from madsci_event_cli.rendering import parse_event
from madsci_event_cli.tui.narrowing import changed, cleared
from madsci_event_cli.tui.rows import Item, Note, RowWindow, id_of, time_of
from madsci_event_cli.tui.source import Page, Source
from madsci_event_server.event import Event
from madsci_event_server.query import EventQuery

PAGE_EVENTS: Final = 500
AROUND_EVENTS: Final = 4
"""How many events before and after one are shown beside it."""

_LATE_ROWS: Final = 300
"""Live rows are in received order: so far from an end of the window a row's time may be beyond that of its end."""

_RELATIONS: Final = (
    "workflow_id",
    "experiment_id",
    "action_id",
    "step_id",
    "node_id",
    "campaign_id",
    "workcell_id",
    "manager_id",
)
"""What `o` steps along: the first of these that an event has."""


@dataclass(slots=True)
class _Place:
    """Where a direction goes on: this query, after this cursor."""

    query: EventQuery
    after: str | None


Fetch = Callable[[int], Awaitable[Page]]


class Pager:
    """Pages of one query. Raises what the source raises."""

    def __init__(self, source: Source, query: EventQuery) -> None:
        self._source = source
        self.query = query
        self._above: _Place | None = None
        self._below: _Place | None = None

    @property
    def at_oldest(self) -> bool:
        """Nothing matches before what was fetched."""
        return self._above is None

    @property
    def at_newest(self) -> bool:
        """What was fetched reaches what is followed live."""
        return self._below is None

    async def newest(self, limit: int = PAGE_EVENTS) -> Sequence[Item]:
        """The last events."""
        self._below = None
        self._above = _Place(self.query, None)
        return await self._fill(self._above_page, limit)

    async def oldest(self, limit: int = PAGE_EVENTS) -> Sequence[Item]:
        """The first events."""
        self._above = None
        self._below = _Place(self.query, None)
        return await self._fill(self._below_page, limit)

    async def around(self, moment: datetime, limit: int = PAGE_EVENTS) -> tuple[Sequence[Item], Sequence[Item]]:
        """The events before a moment, and those from it on."""
        self._above = _Place(changed(self.query, end_time=None, until=_earlier(self.query.until, moment)), None)
        self._below = _Place(changed(self.query, start_time=moment), None)
        return await self._fill(self._above_page, limit // 2), await self._fill(self._below_page, limit // 2)

    async def above(self, window: RowWindow, *, dropped: bool) -> Sequence[Item]:
        """The page before the window; `dropped`: rows at its top were let go since the last one."""
        if dropped or self._above is None:
            bound = max((time_of(row.raw) for row in window.rows[:_LATE_ROWS] if row.note is None), default=None)
            self._above = _Place(changed(self.query, end_time=bound), None)
        return await self._fresh(window, self._above_page)

    async def below(self, window: RowWindow, *, dropped: bool) -> Sequence[Item]:
        """The page after the window; `dropped`: rows at its bottom were let go since the last one."""
        if dropped or self._below is None:
            bound = min((time_of(row.raw) for row in window.rows[-_LATE_ROWS:] if row.note is None), default=None)
            self._below = _Place(changed(self.query, start_time=bound), None)
        return await self._fresh(window, self._below_page)

    async def _fresh(self, window: RowWindow, fetch: Fetch) -> Sequence[Item]:
        """A page with something in it that the window does not hold yet, if there is any."""
        while True:
            page = await fetch(PAGE_EVENTS)
            fresh = [item for item in page.items if isinstance(item, Note) or id_of(item) not in window]
            if fresh or page.next is None:
                return fresh

    async def _fill(self, fetch: Fetch, limit: int) -> Sequence[Item]:
        """The first page that is not empty: a source may take several to find a rare match."""
        while True:
            page = await fetch(limit)
            if page.items or page.next is None:
                return page.items

    async def _above_page(self, limit: int) -> Page:
        place = self._above
        if place is None:
            return Page((), None)
        page = await self._source.older(place.query, place.after, limit)
        self._above = None if page.next is None else _Place(place.query, page.next)
        return page

    async def _below_page(self, limit: int) -> Page:
        place = self._below
        if place is None:
            return Page((), None)
        page = await self._source.newer(place.query, place.after, limit)
        self._below = None if page.next is None else _Place(place.query, page.next)
        return page

    async def next_match(self, query: EventQuery, window: RowWindow, *, above: bool) -> bytes | None:
        """The nearest event beyond the window that matches; None where there is none."""
        rows = [row for row in window.rows if row.note is None]
        if not rows:
            return None
        if above:
            bounded = changed(query, end_time=max(time_of(row.raw) for row in rows[:_LATE_ROWS]))
        else:
            bounded = changed(query, start_time=min(time_of(row.raw) for row in rows[-_LATE_ROWS:]))
        after: str | None = None
        fetch = self._source.older if above else self._source.newer
        while True:
            page = await fetch(bounded, after, _LATE_ROWS)
            nearest_first = reversed(page.items) if above else page.items
            for item in nearest_first:
                if not isinstance(item, Note) and id_of(item) not in window:
                    return item
            if page.next is None:
                return None
            after = page.next

    async def beside(self, event: Event) -> tuple[str, list[bytes], list[bytes]]:
        """What the event has in common with others, and those just before and just after it, whatever the filter."""
        relation = relation_of(event)
        if relation is None:
            return "", [], []
        query = changed(cleared(self.query), **{relation[0]: (relation[1],)})
        earlier = await self._some(query, event, before=True)
        later = await self._some(query, event, before=False)
        return relation[0], earlier, later

    async def _some(self, query: EventQuery, event: Event, *, before: bool) -> list[bytes]:
        bound = {"end_time" if before else "start_time": event.event_timestamp}
        fetch = self._source.older if before else self._source.newer
        found: list[bytes] = []
        after: str | None = None
        while True:
            page = await fetch(changed(query, **bound), after, AROUND_EVENTS + 1)
            others = [item for item in page.items if not isinstance(item, Note) and _is_other(item, event)]
            found = [*others, *found] if before else [*found, *others]
            if page.next is None or len(found) >= AROUND_EVENTS:
                return found[-AROUND_EVENTS:] if before else found[:AROUND_EVENTS]
            after = page.next


def _is_other(raw: bytes, event: Event) -> bool:
    return f'"event_id":"{event.event_id}"'.encode() not in raw[:400]


def relation_of(event: Event) -> tuple[str, str] | None:
    """The closest thing an event belongs to: its workflow, else its experiment, else its node ...; None for nothing."""
    return next(((field, event.ids[field]) for field in _RELATIONS if field in event.ids), None)


def carries(raw: bytes, value: str, field: str) -> bool:
    """Whether an event's bytes have this id for this field; parsed only where the id occurs at all."""
    return value.encode() in raw.upper() and parse_event(raw).ids.get(field) == value


def _earlier(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else min(one, other)
