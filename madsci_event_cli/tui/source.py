"""What the dashboard reads events from: a server, a file or standard input, behind one protocol.

Whatever the source, a filter means `EventQuery.matches`, pages never skip or repeat, and events are the bytes that
`Event.encode` writes.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from madsci_event_cli.tui.rows import Item
from madsci_event_server.event import EventLogLevel
from madsci_event_server.query import EventQuery

Link = Literal["connecting", "live", "retry", "offline", "reading", "ended"]
"""How it stands with the source: the last two are a file's or a pipe's."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event came in, or something to note between events."""

    item: Item


@dataclass(frozen=True, slots=True)
class Raised:
    """An event that may have been here before now has a higher level or an alert."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The connection is in another state."""

    link: Link
    reason: str = ""
    retry_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """The source is alive, and this is its clock."""

    server_time: datetime


FeedItem = Arrived | Raised | LinkChanged | Beat


@dataclass(frozen=True, slots=True)
class Page:
    """Items oldest first, whatever order they were asked for in."""

    items: Sequence[Item]
    next: str | None
    """Where the following page begins, None where nothing more matches now."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Counts by level in [start, start + interval)."""

    start: datetime
    counts: Mapping[EventLogLevel, int]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a window of time holds: of the filtered events by value, by level over time, and of all events."""

    facets: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    """Per field the most frequent values. A field that is filtered on is counted as if it were not."""
    truncated: Collection[str] = ()
    matching: int = 0
    total: int = 0
    """Without any filter but time."""
    buckets: Sequence[Bucket] = ()
    interval_seconds: int = 60
    names: Sequence[tuple[str, str, str]] = ()
    """Names met while counting: (id field, id, name)."""


@dataclass(frozen=True, slots=True)
class Alerts:
    """What is wrong in the lab, as the server's alerting has it."""

    unresolved: Sequence[Mapping[str, Any]]
    """As the server answers them, the one that counted last first."""
    open: int
    """How many nobody has taken on."""
    silences: int
    """How many silences hold: one that was forgotten hides an outage."""
    trouble: str
    """Why mail does not leave; "" while it does."""


class Source(Protocol):
    """Opened and closed as an async context manager."""

    async def __aenter__(self) -> Self:
        """Opens. Raises what keeps it from being read."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes."""

    @property
    def title(self) -> str:
        """What it is called on the screen: an address, a file's name."""

    @property
    def local(self) -> bool:
        """Whether it is a file or a pipe: no connection, no lag, no server to ask."""

    def follow(self, query: EventQuery) -> AsyncIterator[FeedItem]:
        """What is new from the moment of the first LinkChanged("live") on, for ever; connects again by itself."""

    async def older(self, query: EventQuery, after: str | None, limit: int) -> Page:
        """The newest page before a place (`next` of the page before it), or from the newest event on."""

    async def newer(self, query: EventQuery, after: str | None, limit: int) -> Page:
        """The oldest page after a place, from the oldest event on where there is none."""

    async def counts(
        self, query: EventQuery, fields: Collection[str], window_seconds: int | None, columns: int
    ) -> Counts:
        """Counts over the last seconds before now (None: over everything); a histogram of at most `columns` buckets."""

    async def names(self) -> Sequence[tuple[str, str, str]]:
        """Human names: (id field, id, name)."""

    async def alerts(self) -> Alerts | None:
        """What is wrong; None where nothing watches for it."""

    async def acknowledge(self, alert_id: str, by: str) -> None:
        """Takes an alert on, in somebody's name."""


def span_text(seconds: float) -> str:
    """`8 s`, `3 min`, `2 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"
