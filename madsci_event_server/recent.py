"""RecentEvents: the last commits in memory, so that a thousand readers of the live stream are not a thousand reads.

What is in memory has no hole: from `floor` (exclusive) to `top` it is every event that has a place there.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from operator import attrgetter
from typing import Final

from madsci_event_server.event import NOT_ARCHIVED_TAIL, Event
from madsci_event_server.query import Cursor, EventQuery, NameDirectory
from madsci_event_server.sse import message
from madsci_event_server.storage.base import Frame, StoredEvent

MAX_EVENTS: Final = 8192
MAX_BYTES: Final = 8 * 1024 * 1024
"""Whichever is reached first: a few seconds of the busiest lab. Who is further behind reads from the store."""
JUDGED_AT_ONCE: Final = 200
"""How many events are matched before others have their turn on the event loop."""
CHUNK_BYTES: Final = 256 * 1024
"""How much one reader is given at once, if it is more than one event."""


def stream_message(store_id: str, stored: StoredEvent, *, again: bool) -> bytes:
    """The message of one event. `again`: it may have been there before, with a lower level or without the flag."""
    cursor = Cursor(store_id, "r", stored.seq).encode()
    return message(stored.body, cursor=cursor, name="raised" if again else "")


def event_frame(store_id: str) -> Frame:
    """How `stream_message` writes events, for a store that writes them itself."""
    return Frame(f"id: r.{store_id}.", ".0\ndata: ", ".0\nevent: raised\ndata: ", "\n\n")


class RecentEvent:
    """One committed event, parsed and written at most once, whoever asks for it."""

    def __init__(self, store_id: str, stored: StoredEvent, *, again: bool) -> None:
        self.seq = stored.seq
        self.stored = stored
        self._store_id, self._again = store_id, again

    @property
    def is_listed(self) -> bool:
        """Whether a query without any filter matches it, known without parsing."""
        return self.stored.body.endswith(NOT_ARCHIVED_TAIL)

    @cached_property
    def event(self) -> Event:
        """The event, for matching."""
        return self.stored.event

    @cached_property
    def message(self) -> bytes:
        """The event as the stream writes it."""
        return stream_message(self._store_id, self.stored, again=self._again)


_seq_of: Final = attrgetter("seq")


class _Commit:
    """One commit's events, made ready for readers when the first reader asks."""

    def __init__(self, store_id: str, stored: Sequence[StoredEvent], before: int) -> None:
        """`before` is the place that had been reached."""
        self.stored = stored
        self.size = sum([len(one.body) for one in stored])
        self._store_id, self._before = store_id, before

    @property
    def last_seq(self) -> int:
        """The place of the last of them."""
        return self.stored[-1].seq

    @cached_property
    def recent(self) -> list[RecentEvent]:
        """Its events."""
        # A place up to `before` has been passed by every reader served from here. One after it was left in the same
        # commit: nobody has been there.
        return [RecentEvent(self._store_id, one, again=one.first_seq <= self._before) for one in self.stored]

    def index_after(self, seq: int) -> int:
        """Where those of a later place begin."""
        return bisect_right(self.stored, seq, key=_seq_of)


class RecentEvents:
    """A bounded run of committed events, without a hole."""

    def __init__(self, store_id: str, seq: int, *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        """Nothing yet; events from `seq` on are to be added."""
        self.floor = self.top = seq
        self._store_id = store_id
        self._max_events, self._max_bytes = max_events, max_bytes
        self._commits: deque[_Commit] = deque()
        self._count = self._bytes = 0

    def add(self, committed: Sequence[StoredEvent]) -> None:
        """Takes one commit's events, lowest seq first.

        Where its first seq does not follow ours, another server has committed between, or an event was raised in the
        commit that stored it; what came before is forgotten then, and read from the store by who still needs it.
        """
        first = committed[0].seq
        if first != self.top + 1:
            self.top = first - 1
            self.forget()
        commit = _Commit(self._store_id, committed, self.top)
        self._commits.append(commit)
        self._count += len(committed)
        self._bytes += commit.size
        self.top = commit.last_seq
        while self._count > self._max_events or self._bytes > self._max_bytes:
            self._forget_first()

    def forget(self) -> None:
        """Holds nothing any more; what is added from now on follows."""
        self._commits.clear()
        self._count = self._bytes = 0
        self.floor = self.top

    def _forget_first(self) -> None:
        gone = self._commits.popleft()
        self._count -= len(gone.stored)
        self._bytes -= gone.size
        self.floor = gone.last_seq

    def holds(self, seq: int) -> bool:
        """Whether what follows this place is here, all of it, and is something."""
        return self.floor <= seq < self.top

    def after(self, seq: int, limit: int) -> list[RecentEvent]:
        """The first events after a place, at most `limit`, in received order."""
        found: list[RecentEvent] = []
        for commit in self._commits_after(seq):
            start = commit.index_after(seq)
            found += commit.recent[start : start + limit - len(found)]
            if len(found) >= limit:
                break
        return found

    def stored_after(self, seq: int) -> list[StoredEvent]:
        """All events after a place, in received order."""
        found: list[StoredEvent] = []
        for commit in self._commits_after(seq):
            found += commit.stored[commit.index_after(seq) :]
        return found

    def _commits_after(self, seq: int) -> list[_Commit]:
        """Those that hold an event of a later place."""
        return list(takewhile(lambda commit: commit.last_seq > seq, reversed(self._commits)))[::-1]


class Channel:
    """One query's view of the recent events, shared by all readers who ask the same: each event is judged once."""

    def __init__(self, query: EventQuery, recent: RecentEvents, names: NameDirectory, seq: int) -> None:
        """From `seq` on."""
        self.readers = 0
        self._query, self._recent, self._names = query, recent, names
        self._filtered = bool(query.filters)
        self._from = self._judged = seq
        self._matching: deque[RecentEvent] = deque()
        self._given: tuple[tuple[int, int], bytes, int] | None = None

    def holds(self, seq: int) -> bool:
        """Whether what follows this place can be had from here."""
        return self._from <= seq and self._recent.holds(seq)

    def after(self, seq: int) -> tuple[bytes, int]:
        """Messages after a place that it `holds`, and the place up to which they are all there are.

        One call does little, so that others have their turn: there may be more.
        """
        if self._judged <= seq:
            self._judge()
        # Most readers of one query are at the same place: what one is given, the next one is given, too.
        wanted = seq, self._judged
        if self._given is None or self._given[0] != wanted:
            self._given = wanted, *self._chunk(seq)
        return self._given[1:]

    def _judge(self) -> None:
        """Looks at the next events that were not looked at yet."""
        floor = self._recent.floor
        if self._judged < floor:  # nobody has asked for so long that there is a hole
            self._matching.clear()
            self._from = self._judged = floor
        while self._matching and self._matching[0].seq <= floor:
            self._matching.popleft()
        query = self._query.resolved(self._names)  # a name may stand for more ids than it did
        for recent in self._recent.after(self._judged, JUDGED_AT_ONCE):
            if query.matches(recent.event) if self._filtered else recent.is_listed:
                self._matching.append(recent)
            self._judged = recent.seq

    def _chunk(self, seq: int) -> tuple[bytes, int]:
        later = list(takewhile(lambda recent: recent.seq > seq, reversed(self._matching)))
        parts: list[bytes] = []
        size = 0
        while later:
            recent = later.pop()
            parts.append(recent.message)
            size += len(recent.message)
            if later and size > CHUNK_BYTES:
                return b"".join(parts), recent.seq
        return b"".join(parts), max(seq, self._judged)
