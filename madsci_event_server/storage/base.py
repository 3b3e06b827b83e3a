"""EventStore: what every store promises. The stores are held to it by one suite, `tests/contract/`.

- **Acknowledged is durable.** When `append` returns, its events survive the process and the machine's power.
- **An id is stored once.** Two appends of one id, from whatever server, store one event; each is told what it became.
- **Received order.** Every stored event has `seq`, its place in received order; no two share one, and they become
  visible in seq order: who has read up to n will never see a new event at or below n. A raised event gets a new seq.
- **Time order.** Ties of event time are broken by `first_seq`, the seq it was first stored with, which never changes,
  so that a page never skips or repeats, whatever is appended, raised or archived meanwhile.
- **One meaning.** `find`, `facets` and `histogram` are about exactly the events for which `query.matches(event)` holds.
- **Nothing is plausible.** A store that is away, full or read-only raises StoreUnavailable; a query that takes longer
  than the store's time limit raises QueryTimedOut; neither is ever an empty answer.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

from madsci_event_server.errors import StoreUnusable
from madsci_event_server.event import Event, EventLogLevel
from madsci_event_server.json_text import parse_stored
from madsci_event_server.query import EventQuery, NameDirectory
from madsci_event_server.storage.alert_base import AlertStore
from madsci_event_server.vocabulary import ID_FIELDS

DEFAULT_QUERY_SECONDS = 10.0
"""How long one query may take before QueryTimedOut."""

MAX_FACET_VALUES = 1000
MAX_NAMES = 10_000
"""How many names `names` answers, the most lately seen."""


class Outcome(StrEnum):
    """What became of an appended event."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """Sent before; the first is kept."""
    RAISED = "raised"
    """Sent before with a lower level or without the alert flag: the stored one was raised and got a new seq."""
    CONFLICT = "conflict"
    """Another event has this id; that one is kept."""


class StoredEvent(NamedTuple):
    """One event as it stands in the store."""

    seq: int
    """Its place in received order; greater after a raise."""
    first_seq: int
    """The seq it was first stored with: breaks ties of event time, and never changes."""
    time_us: int
    """Event time, microseconds since 1970 UTC."""
    event_type: str
    """As sent, so that a route can tell whether MADSci's clients know it without parsing the body."""
    body: bytes
    """The event's JSON exactly as `Event.encode` gives it: what answers and streams write."""

    @property
    def event(self) -> Event:
        """The event, parsed anew at each call."""
        return Event.stored(parse_stored(self.body))


class Appended(NamedTuple):
    """What became of one event of an append."""

    outcome: Outcome
    stored: StoredEvent
    """As it now stands; of a duplicate or conflict, the first."""


@dataclass(frozen=True, slots=True)
class Page:
    """Events in the query's order, at most its limit."""

    events: Sequence[StoredEvent]
    next: str | None
    """The cursor of the following page; None when nothing more matches now."""


class Frame(NamedTuple):
    """How each event of a Run is written: `begin`, its seq, `new` or `again`, its body, `end`."""

    begin: str
    new: str
    again: str
    """In place of `new` for an event first stored at or before the place the run begins after: it was raised since."""
    end: str


@dataclass(frozen=True, slots=True)
class Run:
    """Events in received order, written one after the other."""

    written: Sequence[bytes]
    """In parts, none of them empty: to join them is a copy, and left to who must copy them anyway."""
    through: int
    """The place up to which they are all there are."""
    purged_through: int
    """As `EventStore.purged_through` says, at the same moment."""


@dataclass(frozen=True, slots=True)
class FacetCount:
    """A value and how many matching events have it; an absent value is not counted.

    Levels are names (`ERROR`), `alert` is `true` or `false`.
    """

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    """Per field the most frequent values, largest count first, then by value."""

    facets: Mapping[str, Sequence[FacetCount]]
    total: int
    """How many events match."""
    truncated: Sequence[str]
    """Fields that have more values than were asked for."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Counts by level of the matching events in [start, start + interval)."""

    start: datetime
    counts: Mapping[EventLogLevel, int]
    """Levels that occur; empty in a quiet bucket."""


@dataclass(frozen=True, slots=True)
class SeenName:
    """A human name, the id it was seen beside, and when last (event time of the latest such event)."""

    field: str
    id: str
    name: str
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What `/health` and `status` say of a store. No address with a secret in it."""

    kind: str
    """`memory`, `sqlite` or `mongodb`."""
    location: str
    """Path, or address without credentials."""
    events: int
    archived: int
    last_seq: int
    size_bytes: int | None
    """On disk, where known."""
    details: Mapping[str, Any]
    """More in the store's own terms: versions, journal mode, replica set members ..."""


def not_as_here(events: Sequence[StoredEvent], known: Mapping[str, StoredEvent]) -> dict[str, StoredEvent]:
    """By id, those of `events` that are not here or older here; `known` are those of their ids that are here.

    Raises StoreUnusable for an id that has another place here.
    """
    found = {}
    for event_id, stored in ((stored.event.event_id, stored) for stored in events):
        here = known.get(event_id)
        if here is not None and here.first_seq != stored.first_seq:
            raise has_its_own(event_id)
        if here is None or (here.seq <= stored.seq and here.body != stored.body):
            found[event_id] = stored
    return found


def has_its_own(event_id: str) -> StoreUnusable:
    """The error for an event whose place is another's."""
    return StoreUnusable(
        f"the place of event {event_id} is taken by another one: the store copied to has events of its own; "
        "copy into an empty one, or one that was only ever copied to from there"
    )


@runtime_checkable
class EventStore(Protocol):
    """Opened and closed as an async context manager; safe to use from many tasks of one event loop."""

    async def __aenter__(self) -> Self:
        """Opens. Raises StoreUnusable (not ours, newer, in use) or StoreUnavailable (away: may come back)."""

    async def __aexit__(self, *exc: object) -> None:
        """Finishes what was begun, then closes; later calls raise StoreUnavailable."""

    @property
    def store_id(self) -> str:
        """Which store this is, 1-32 of [0-9a-z]: made with the store, kept for its life; part of every cursor."""

    @property
    def names_directory(self) -> NameDirectory:
        """Names to ids as far as appended here, in memory; for `EventQuery.resolved`."""

    def alert_store(self) -> AlertStore:
        """What alerting remembers, kept with the events and as durably; always the same one."""

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        """Stores all or none, durably, in this order; the answers are in this order too.

        Events carry their `received_at` already. The same id twice in one call is as if sent in two.
        """

    async def restore(self, events: Sequence[StoredEvent]) -> int:
        """Stores events of another store as they stand there, in the same places; returns how many were not here so.

        All or none, and the same again changes nothing. Raises StoreUnusable where an id or a place is another event's:
        this store has events of its own.
        """

    async def get(self, event_id: str) -> StoredEvent:
        """The event of this id, archived or not. Raises NotFound."""

    async def ids_like(self, text: str, limit: int) -> list[str]:
        """Up to `limit` ids that begin or end with `text`, any letter case."""

    async def find(self, query: EventQuery) -> Page:
        """The page of matching events after the query's cursor. Raises CursorExpired, InvalidQuery, QueryTimedOut."""

    async def facets(self, query: EventQuery, fields: Collection[str], limit: int) -> Facets:
        """Counts by value for each of FACET_FIELDS asked for. Raises InvalidQuery for another field."""

    async def histogram(self, query: EventQuery, interval_seconds: int) -> list[Bucket]:
        """Buckets aligned to multiples of the interval since 1970, zero-filled from the first to the last.

        They cover the query's time range where it has both ends, else the range of what matches. Raises InvalidQuery
        where that would be more than 1,000, saying which interval would do.
        """

    async def names(self) -> list[SeenName]:
        """The names seen beside ids, latest first, at most MAX_NAMES."""

    async def archive(self, *, ids: Collection[str] | None = None, before: datetime | None = None, at: datetime) -> int:
        """Marks as archived at `at` the events with these ids, or all before a time; returns how many were not yet."""

    async def purge(self, archived_before: datetime, *, dry_run: bool = False) -> int:
        """Deletes for good the events archived before this; returns how many (`dry_run`: would be)."""

    async def purged_through(self) -> int:
        """The highest seq that a purged event had; 0 when none was ever purged.

        Who reads on from before it in received order may miss events.
        """

    async def head(self) -> str:
        """The received-order cursor after the last event: what follows it is new."""

    async def status(self) -> StoreStatus:
        """Counts and condition; raises StoreUnavailable when the store could not take an event now."""


class Prepared(Protocol):
    """One event, or several, on their way into a store, as that store wants them."""

    def __len__(self) -> int:
        """How many."""

    def stamp(self, received_at: datetime) -> None:
        """Says when the server took them."""


P = TypeVar("P", bound=Prepared)
P_co = TypeVar("P_co", bound=Prepared, covariant=True)


@runtime_checkable
class PreparingStore(Protocol[P]):
    """What a store may offer besides: to work out what it needs of an event while that is at hand.

    What was just parsed is then in the processor's cache, need not be kept until the commit, and no thread that writes
    has to look through it.
    """

    def prepare(self, event: Event) -> P:
        """What `append_prepared` takes. The event is not asked again."""

    async def append_prepared(self, prepared: Sequence[P]) -> list[Appended]:
        """What `append` does with the events they were made of."""


class Packer(Protocol):
    """Prepares events that go to another process together."""

    def add(self, event: Event) -> None:
        """One more."""

    def packed(self) -> Any:
        """All of them as a value that `marshal` writes: of texts, bytes, numbers, lists, tuples and dictionaries."""


class Packing(Protocol[P_co]):
    """How a store prepares events, apart from the store: another process can do it that has none open."""

    @property
    def kind(self) -> str:
        """By which `storage.packing` finds it in another process."""

    def packer(self) -> Packer:
        """What prepares the next events that go together."""

    def unpack(self, packed: Any) -> Sequence[P_co]:
        """What `PreparingStore.prepare` answers for each of those events, or for some together."""


@runtime_checkable
class PackingStore(PreparingStore[P], Protocol[P]):
    """A PreparingStore whose prepared events can come from another process."""

    packing: Packing[P]


@runtime_checkable
class QueueingStore(PreparingStore[P], Protocol[P]):
    """What a preparing store may offer besides: to take the next events while those before are being made durable."""

    async def append_next(self, prepared: Sequence[P], ready: Callable[[], None]) -> list[Appended]:
        """What `append_prepared` does; calls `ready`, on the event loop, as soon as more had better be appended.

        They are committed after these, and their answers come after those to these. It may be called never, or more
        than once.
        """


@runtime_checkable
class RunStore(Protocol):
    """What a store may offer besides: events as bytes for the wire, with nothing made of each on the way."""

    async def run_between(self, seq: int, through: int, frame: Frame) -> Run:
        """What `find` finds without any filter after a place in received order, written, up to another place.

        Where that is very much, up to a nearer one.
        """


@runtime_checkable
class SharedStore(Protocol):
    """An EventStore that several servers may have open."""

    def commits(self) -> AsyncGenerator[int]:
        """The last place in received order, at once and each time a server, whichever, has committed.

        While this one commits all the time its own commits may stand for those before them: whoever made them knows.

        Ends where no other server can be. Raises StoreUnavailable when the store is away; ask again then.
        """


FACET_FIELDS = ("log_level", "kind", "event_type", "name", "alert", *ID_FIELDS)
"""What can be counted by value: also any `source.KEY`."""
