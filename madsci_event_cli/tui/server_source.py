"""A server as a Source: its reader, in the dashboard's terms."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from madsci_event_cli.reader import EventReader
from madsci_event_cli.tui.counting import FACET_VALUES, interval_for
from madsci_event_cli.tui.narrowing import changed, cleared, filtered_fields, filters_of, without
from madsci_event_cli.tui.source import Bucket, Counts, FeedItem, Page
from madsci_event_server.event import EventLogLevel
from madsci_event_server.query import EventQuery


class ServerSource:
    """One event server. Raises what EventReader raises."""

    local = False

    def __init__(self, reader: EventReader) -> None:
        self._reader = reader
        self.title = reader.server.rstrip("/")

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.__aexit__(kind, error, trace)

    async def follow(self, query: EventQuery) -> AsyncIterator[FeedItem]:
        """See Source."""
        raise NotImplementedError
        yield

    async def older(self, query: EventQuery, after: str | None, limit: int) -> Page:
        """See Source."""
        found = await self._reader.find(query.model_copy(update={"order": "-time", "after": after, "limit": limit}))
        return Page(found.events[::-1], found.next)

    async def newer(self, query: EventQuery, after: str | None, limit: int) -> Page:
        """See Source."""
        found = await self._reader.find(query.model_copy(update={"order": "time", "after": after, "limit": limit}))
        return Page(found.events, found.next)

    async def counts(
        self, query: EventQuery, fields: Collection[str], window_seconds: int | None, columns: int
    ) -> Counts:
        """See Source. A query with times of its own is counted over these."""
        query, interval = _windowed(query, window_seconds, columns)
        narrowed = filtered_fields(query, fields)
        plain = [field for field in fields if field not in narrowed]
        everything = changed(cleared(query), since=query.since, until=query.until)
        main, total, histogram, *widened = await asyncio.gather(
            self._reader.facets(plain, query, limit=FACET_VALUES),
            self._reader.facets(["alert"], everything, limit=1),
            self._reader.histogram(interval, query),
            *(self._reader.facets([field], without(query, field), limit=FACET_VALUES) for field in narrowed),
        )
        answers = [main, *widened]
        return Counts(
            facets={field: _values(found) for answer in answers for field, found in answer["facets"].items()},
            truncated=[field for answer in answers for field in answer["truncated"]],
            matching=main["total"],
            total=total["total"],
            buckets=[_bucket(bucket) for bucket in histogram["buckets"]],
            interval_seconds=interval,
        )

    async def names(self) -> Sequence[tuple[str, str, str]]:
        """See Source."""
        # Latest first; what is last in a mapping wins.
        return [(item["field"], item["id"], item["name"]) for item in reversed(await self._reader.names())]


def _windowed(query: EventQuery, window_seconds: int | None, columns: int) -> tuple[EventQuery, int]:
    """The query over the window that ends now, and a histogram's interval for it."""
    now = datetime.now(UTC)
    until = query.until or now
    span = window_seconds or 3600
    since = query.since or until - timedelta(seconds=span)
    interval = interval_for(max((until - since).total_seconds(), 1), max(columns - 2, 1))
    # Until the end of the bucket that has begun: the newest one is the one to watch.
    end = until if query.until else now + timedelta(seconds=interval)
    return changed(query, since=since, until=end), interval


def _values(found: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(str(item["value"]), int(item["count"])) for item in found]


def _bucket(found: dict[str, Any]) -> Bucket:
    counts = {EventLogLevel[level.upper()]: int(count) for level, count in found["counts"].items()}
    return Bucket(datetime.fromisoformat(found["start"]), counts)


def uncountable(query: EventQuery) -> bool:
    """Whether the server cannot count this: a selector has no form in a query string."""
    return "selector" in filters_of(query)
