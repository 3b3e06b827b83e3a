"""A server as a Source: its reader, in the dashboard's terms."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from madsci_event_cli import following
from madsci_event_cli.following import Followed
from madsci_event_cli.reader import EventReader
from madsci_event_cli.rendering import visible
from madsci_event_cli.tui.counting import FACET_VALUES, interval_for
from madsci_event_cli.tui.narrowing import changed, cleared, filtered_fields, without
from madsci_event_cli.tui.rows import Note
from madsci_event_cli.tui.source import (
    Alerts,
    Arrived,
    Beat,
    Bucket,
    Counts,
    FeedItem,
    LinkChanged,
    Page,
    Raised,
    span_text,
)
from madsci_event_server.errors import NotFound, ServerError, ServerRefused, UnexpectedAnswer
from madsci_event_server.event import EventLogLevel
from madsci_event_server.query import EventQuery

ASK_AGAIN_SECONDS: Final = 30.0


class _Place:
    """Where following has come to, and what there is to say of the connection."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.lost_at: datetime | None = None
        self._reason = ""

    def taken(self, item: Followed) -> Iterator[FeedItem]:
        """One item of the stream, in the dashboard's terms."""
        match item:
            case following.Received():
                self.cursor = item.cursor
                yield Arrived(item.body)
            case following.Raised():
                self.cursor = item.cursor
                yield Raised(item.body)
            case following.Gap():
                self.cursor = item.before
                missing = "events" if item.missing is None else f"{item.missing:,} events"
                yield Arrived(Note("gap", visible(f"{missing} were missed: {item.reason}")))
            case following.Heartbeat():
                self.cursor = item.cursor
                yield Beat(item.server_time)
            case following.Connected():
                yield from self._connected(item)
            case following.Disconnected():
                yield self._disconnected(item)

    def _connected(self, item: following.Connected) -> Iterator[FeedItem]:
        if self.lost_at is not None and self.cursor is not None:
            away = span_text((datetime.now(UTC) - self.lost_at).total_seconds())
            yield Arrived(Note("connection", visible(f"connected again after {away}, nothing missed ({self._reason})")))
        self.cursor, self.lost_at = item.cursor, None
        yield LinkChanged("live")
        yield Beat(item.server_time)

    def _disconnected(self, item: following.Disconnected) -> LinkChanged:
        if self.lost_at is None:
            self.lost_at, self._reason = datetime.now(UTC), item.happened
        return LinkChanged("retry", item.reason, item.retry_in)

    def refused(self, error: ServerError) -> Iterator[FeedItem]:
        """What no waiting mends; a cursor of another store is given up, and so is what it would have told."""
        if isinstance(error, ServerRefused) and error.status == _GONE and self.cursor is not None:
            self.cursor, self.lost_at = None, None
            yield Arrived(Note("gap", visible(f"what came meanwhile is not shown: {error}")))
            return
        self.lost_at = self.lost_at or datetime.now(UTC)
        yield LinkChanged("offline", str(error))


_GONE: Final = 410


class ServerSource:
    """One event server. Raises what EventReader raises."""

    local = False

    def __init__(self, reader: EventReader, *, ask_again_seconds: float = ASK_AGAIN_SECONDS) -> None:
        self._reader = reader
        self._ask_again_seconds = ask_again_seconds
        self.title = reader.address.rstrip("/")

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.__aexit__(kind, error, trace)

    async def follow(self, query: EventQuery) -> AsyncIterator[FeedItem]:
        """See Source. A server that refuses is asked again from time to time: it may be mended while nobody looks."""
        place = _Place()
        while True:
            try:
                async with aclosing(self._reader.follow(query, after=place.cursor)) as followed:
                    async for item in followed:
                        for feed_item in place.taken(item):
                            yield feed_item
            except (ServerRefused, UnexpectedAnswer) as error:
                for feed_item in place.refused(error):
                    yield feed_item
            if place.lost_at is not None:
                await asyncio.sleep(self._ask_again_seconds)

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
            facets={field: _values(field, found) for answer in answers for field, found in answer["facets"].items()},
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

    async def alerts(self) -> Alerts | None:
        """See Source."""
        try:
            found = await self._reader.document("GET", "alerts")
        except NotFound:  # a server without alerting
            return None
        condition = found["condition"]
        trouble = condition["last_failure"] or ""
        return Alerts(found["alerts"], int(condition["open"]), int(condition["silences"]), trouble)

    async def acknowledge(self, alert_id: str, by: str) -> None:
        """See Source."""
        await self._reader.document("POST", f"alerts/{quote(alert_id, safe='')}/ack", json={"by": by, "note": None})


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


def _values(field: str, found: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    values = [(str(item["value"]), int(item["count"])) for item in found]
    return [(value.lower(), count) for value, count in values] if field == "log_level" else values


def _bucket(found: dict[str, Any]) -> Bucket:
    counts = {EventLogLevel[level.upper()]: int(count) for level, count in found["counts"].items()}
    return Bucket(datetime.fromisoformat(found["start"]), counts)
