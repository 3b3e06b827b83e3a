"""MemoryStore: a list and `query.matches`. The oracle the other stores are held to, and a demo server's store.

Nothing survives the process, and every search looks at every event.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from itertools import islice, takewhile
from typing import Self

from madsci_event_server import counting
from madsci_event_server.errors import InvalidQuery, NotFound, StoreUnavailable
from madsci_event_server.event import Event, compare_again, raised, time_to_us, us_to_time
from madsci_event_server.query import Cursor, EventQuery, NameDirectory, cursor_letter
from madsci_event_server.storage.alert_base import AlertStore
from madsci_event_server.storage.alert_memory import MemoryAlertStore
from madsci_event_server.storage.base import (
    FACET_FIELDS,
    MAX_FACET_VALUES,
    MAX_NAMES,
    Appended,
    Bucket,
    FacetCount,
    Facets,
    Outcome,
    Page,
    SeenName,
    StoredEvent,
    StoreStatus,
    has_its_own,
    not_as_here,
)


class _Row:
    """One event and its two places."""

    __slots__ = ("event", "first_seq", "seq", "stored")

    def __init__(self, event: Event, seq: int) -> None:
        self.first_seq = seq
        self.put(event, seq)

    def put(self, event: Event, seq: int) -> None:
        self.event, self.seq = event, seq
        self.stored = StoredEvent(
            seq, self.first_seq, time_to_us(event.event_timestamp), event.event_type, event.encode()
        )


class MemoryStore:
    """An EventStore in this process's memory."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        """By id, in received order: a raise moves its row to the end."""
        self._last_seq = self._purged_through = 0
        self._names = _Names()
        self._store_id = secrets.token_hex(8)
        self._open = False
        self._alerts = MemoryAlertStore()

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._open = False

    @property
    def store_id(self) -> str:
        """Which store this is."""
        return self._store_id

    @property
    def names_directory(self) -> NameDirectory:
        """Names to ids."""
        return self._names

    def alert_store(self) -> AlertStore:
        """What alerting remembers, beside the events."""
        return self._alerts

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        """Stores them in this order."""
        self._check_open()
        return [self._append_one(event) for event in events]

    async def restore(self, events: Sequence[StoredEvent]) -> int:
        """Stores events in the places they had elsewhere."""
        self._check_open()
        changed = not_as_here(events, {id_: row.stored for id_, row in self._rows.items()})
        taken = {row.first_seq: id_ for id_, row in self._rows.items()}
        for event_id, stored in changed.items():
            if taken.get(stored.first_seq, event_id) != event_id:
                raise has_its_own(event_id)
        for event_id, stored in changed.items():
            row = self._rows[event_id] = _Row(stored.event, stored.first_seq)
            row.put(stored.event, stored.seq)
            self._names.add(stored.event)
            self._last_seq = max(self._last_seq, stored.seq)
        self._rows = dict(sorted(self._rows.items(), key=lambda item: item[1].seq))
        return len(changed)

    async def get(self, event_id: str) -> StoredEvent:
        """The event of this id. Raises NotFound."""
        self._check_open()
        if (row := self._rows.get(event_id)) is None:
            raise NotFound(f"Event with ID {event_id} not found")
        return row.stored

    async def ids_like(self, text: str, limit: int) -> list[str]:
        """Up to `limit` ids that begin or end with `text`."""
        self._check_open()
        part = text.casefold()
        found = (id_ for id_ in self._rows if id_.casefold().startswith(part) or id_.casefold().endswith(part))
        return sorted(found)[:limit]

    async def find(self, query: EventQuery) -> Page:
        """The page of matching events after the query's cursor."""
        self._check_open()
        if query.order == "received":
            return self._find_received(query)
        place = _place_of(query)
        backwards = query.order in ("-time", "-archived")
        rows = sorted((row for row in self._rows.values() if query.matches(row.event)), key=place, reverse=backwards)
        if query.after is not None:
            cursor = Cursor.decode(query.after, store_id=self._store_id, order=query.order)
            after = (cursor.time_us, cursor.position)
            rows = [row for row in rows if (place(row) < after if backwards else place(row) > after)]
        return self._page(query, rows, place)

    def _find_received(self, query: EventQuery) -> Page:
        """Looks only at what follows the cursor: whoever reads on does so after each commit."""
        after = 0
        if query.after is not None:
            after = Cursor.decode(query.after, store_id=self._store_id, order=query.order).position
        later = list(takewhile(lambda row: row.seq > after, reversed(self._rows.values())))
        matching = (row for row in reversed(later) if query.matches(row.event))
        return self._page(query, list(islice(matching, query.limit + 1)), lambda row: (0, row.seq))

    def _page(self, query: EventQuery, rows: Sequence[_Row], place: Callable[[_Row], tuple[int, int]]) -> Page:
        page = rows[: query.limit]
        more = len(rows) > query.limit
        return Page([row.stored for row in page], self._cursor(query, place(page[-1])) if more else None)

    async def facets(self, query: EventQuery, fields: Collection[str], limit: int) -> Facets:
        """Counts by value."""
        self._check_open()
        values = {field: _facet_value(field) for field in fields}
        events = [row.event for row in self._rows.values() if query.matches(row.event)]
        facets, truncated = {}, []
        for field, value_of in values.items():
            counts = Counter(value for event in events if (value := value_of(event)) is not None)
            ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            facets[field] = [FacetCount(value, count) for value, count in ordered[: min(limit, MAX_FACET_VALUES)]]
            if len(ordered) > len(facets[field]):
                truncated.append(field)
        return Facets(facets, len(events), truncated)

    async def histogram(self, query: EventQuery, interval_seconds: int) -> list[Bucket]:
        """Counts over time, by level."""
        self._check_open()
        counting.check_interval(interval_seconds)
        counts = Counter(
            (counting.bucket_start_us(row.stored.time_us, interval_seconds), int(row.event.log_level))
            for row in self._rows.values()
            if query.matches(row.event)
        )
        return counting.fill(counts, interval_seconds, query.time_range_us)

    async def names(self) -> list[SeenName]:
        """The names seen beside ids, latest first."""
        self._check_open()
        return self._names.latest(MAX_NAMES)

    async def archive(self, *, ids: Collection[str] | None = None, before: datetime | None = None, at: datetime) -> int:
        """Marks events as archived; returns how many were not yet."""
        self._check_open()
        wanted = None if ids is None else set(ids)
        rows = [
            row
            for row in self._rows.values()
            if not row.event.archived
            and (wanted is None or row.event.event_id in wanted)
            and (before is None or row.event.event_timestamp < before)
        ]
        for row in rows:
            row.put(row.event.changed(archived=True, archived_at=at), row.seq)
        return len(rows)

    async def purge(self, archived_before: datetime, *, dry_run: bool = False) -> int:
        """Deletes the events archived before this."""
        self._check_open()
        gone = [
            event_id
            for event_id, row in self._rows.items()
            if row.event.archived_at is not None and row.event.archived_at < archived_before
        ]
        if not dry_run:
            for event_id in gone:
                self._purged_through = max(self._purged_through, self._rows.pop(event_id).seq)
        return len(gone)

    async def purged_through(self) -> int:
        """The highest seq that a purged event had."""
        self._check_open()
        return self._purged_through

    async def head(self) -> str:
        """The received-order cursor after the last event."""
        self._check_open()
        return Cursor(self._store_id, "r", self._last_seq).encode()

    async def status(self) -> StoreStatus:
        """Counts."""
        self._check_open()
        archived = sum(row.event.archived for row in self._rows.values())
        return StoreStatus("memory", "memory:", len(self._rows), archived, self._last_seq, None, {})

    def _check_open(self) -> None:
        if not self._open:
            raise StoreUnavailable("the store is closed")

    def _append_one(self, event: Event) -> Appended:
        row = self._rows.get(event.event_id)
        if row is None:
            self._last_seq += 1
            row = self._rows[event.event_id] = _Row(event, self._last_seq)
            self._names.add(event)
            return Appended(Outcome.STORED, row.stored)
        sameness = compare_again(row.event, event)
        if sameness == "raised":
            self._last_seq += 1
            row.put(raised(row.event, event), self._last_seq)
            self._rows[event.event_id] = self._rows.pop(event.event_id)
        return Appended(Outcome(sameness), row.stored)

    def _cursor(self, query: EventQuery, place: tuple[int, int]) -> str:
        time_us, position = place
        return Cursor(self._store_id, cursor_letter(query.order), position, time_us).encode()


class _Names:
    """Names seen beside ids, and when last."""

    def __init__(self) -> None:
        self._last_seen: dict[tuple[str, str, str], int] = {}

    def add(self, event: Event) -> None:
        moment = time_to_us(event.event_timestamp)
        for named in event.named_ids:
            self._last_seen[named] = max(moment, self._last_seen.get(named, moment))

    def ids_of(self, field: str, name: str) -> set[str]:
        """The ids of this field seen with this name."""
        return {id_ for seen_field, id_, seen_name in self._last_seen if (seen_field, seen_name) == (field, name)}

    def latest(self, limit: int) -> list[SeenName]:
        """The most lately seen."""
        ordered = sorted(self._last_seen.items(), key=lambda item: (-item[1], item[0]))
        return [SeenName(*named, us_to_time(moment)) for named, moment in ordered[:limit]]


def _place_of(query: EventQuery) -> Callable[[_Row], tuple[int, int]]:
    if query.order == "-archived":
        return lambda row: (time_to_us(row.event.archived_at), row.first_seq)  # type: ignore[arg-type]  # only archived ones match
    return lambda row: (row.stored.time_us, row.first_seq)


def _facet_value(field: str) -> Callable[[Event], str | None]:
    if field.startswith("source.") and field != "source.":
        return lambda event: event.source_value(field.removeprefix("source."))
    if field not in FACET_FIELDS:
        raise InvalidQuery("field", f"{field!r} cannot be counted by; use {', '.join(FACET_FIELDS)} or source.KEY")
    if field == "log_level":
        return lambda event: event.log_level.name
    if field == "alert":
        return lambda event: "true" if event.alert else "false"
    if field in ("kind", "event_type", "name"):
        return lambda event: getattr(event, field)
    return lambda event: event.ids.get(field)
