"""LiveStream: every matching event as it is committed, once per place in received order, or an explicit gap.

A commit only wakes readers, who then take what has a place after theirs: from memory while they keep up, else from the
store. So nothing waits for a reader, a reader holds one chunk at most, and one that falls behind loses nothing. Whoever
knows of commits made elsewhere, by another server on the same store, calls `Commits.reach`: that, too, only wakes.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Self

from madsci_event_server import sse
from madsci_event_server.errors import CursorExpired, Overloaded, QueryTimedOut, StoreError
from madsci_event_server.event import format_time
from madsci_event_server.ingest import Commits
from madsci_event_server.json_text import encode_json
from madsci_event_server.looking import MAX_PAGE, Looking, LookingBack
from madsci_event_server.query import Cursor, EventQuery
from madsci_event_server.recent import Channel, RecentEvents, event_frame, stream_message
from madsci_event_server.storage.base import EventStore, Run, RunStore, StoredEvent

HEARTBEAT_SECONDS: Final = 10.0
MAX_READERS: Final = 2000
RETRY_MS: Final = 1000
"""How long a reader should wait before it comes back."""
STORE_RETRY_MS: Final = 5000
_FIRST_PAGE: Final = 200
_PAGE_BYTES: Final = 512 * 1024
_FIRST_RUN: Final = 200
_MAX_RUN: Final = 8000
_RUN_BYTES: Final = 2 * 1024 * 1024
_ALL_RUN_BYTES: Final = 8 * 1024 * 1024
"""About what one run of each reader may take together: the more readers, the shorter runs they read."""
_RUNS_AHEAD: Final = 2
"""How many runs are read while one is sent: one alone would begin only when the event loop is done with the socket."""
_READERS_AHEAD: Final = 32
"""With more readers than that none reads ahead: runs that wait cost memory, and others have need of the processor."""
_LOOKED_AT_FIRST: Final = 10_000
"""How far back the last n are looked for before a reader is greeted; further back it takes as long as it takes."""

Sleep = Callable[[float], Awaitable[None]]


class LiveStream:
    """The stream of one store. `async with`, inside that of the ingest whose commits it follows."""

    def __init__(
        self,
        store: EventStore,
        committed: Commits,
        *,
        clock: Callable[[], datetime],
        version: str,
        stopping: asyncio.Event,
        sleep: Sleep = asyncio.sleep,
        max_readers: int = MAX_READERS,
    ) -> None:
        """`stopping` ends every reader with a `bye`; `sleep` is what heartbeats are timed by."""
        self.store, self.committed = store, committed
        self.clock, self.version = clock, version
        self.beats = 0
        """How many heartbeats were due since the start."""
        self.stopping = stopping
        self._sleep = sleep
        self._max_readers = max_readers
        self._readers = 0
        self._woken = asyncio.Event()
        self._channels: dict[str, Channel] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._unsubscribe: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        self._recent = RecentEvents(self.store.store_id, self.committed.seq)
        self._unsubscribe = self.committed.subscribe(self._recent.add)
        self._tasks = [asyncio.create_task(work()) for work in (self._pass_on_commits, self._beat, self._pass_on_stop)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._unsubscribe()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def readers(self) -> int:
        """How many are being served."""
        return self._readers

    @property
    def queries(self) -> int:
        """How many different queries they have."""
        return len(self._channels)

    def forget(self) -> None:
        """Drops what is in memory, once stored events were archived or purged: who is behind reads them as they are."""
        self._recent.forget()

    def committed_after(self, seq: int) -> list[StoredEvent] | None:
        """The events after a place as they were committed here, or None: then the store has to be asked."""
        if not self._tasks or not self._recent.holds(seq):
            return None
        return self._recent.stored_after(seq)

    async def follow(self, query: EventQuery, *, after: str | None = None, last: int = 0) -> "Reader":
        """A reader of what matches: from now on, from after a cursor, or from so far back that `last` are included.

        Raises CursorExpired for a cursor of another store or one this store has not reached, InvalidQuery, Overloaded
        and StoreError. The reader costs nothing until its messages are asked for.
        """
        if self._readers >= self._max_readers:
            raise Overloaded(f"{self._readers} readers follow already; try again in a moment", retry_after_seconds=5)
        store = self.store
        head = Cursor.decode(await store.head(), store_id=store.store_id, order="received").position
        if after is not None:
            place = Cursor.decode(after, store_id=store.store_id, order="received").position
            if place > head:
                raise CursorExpired(
                    "after: this store has not come so far; was it restored from a copy? Start again without the cursor"
                )
            return Reader(self, query, place)
        if not last:
            return Reader(self, query, head)
        looking = LookingBack(store, query.resolved(store.names_directory), head, last)
        while looking.place is None and looking.start >= head - _LOOKED_AT_FIRST:
            await looking.look()
        return Reader(self, query, looking.place or 0, new_until=head, looking=looking)

    # --- For its readers ---

    def cursor(self, seq: int) -> str:
        """A place, as readers are told it."""
        return Cursor(self.store.store_id, "r", seq).encode()

    @contextlib.contextmanager
    def channel(self, query: EventQuery, seq: int) -> Iterator[Channel]:
        """The channel of all readers who ask this, for one more of them who is at `seq`."""
        key = repr(query.filters)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(query, self._recent, self.store.names_directory, seq)
        channel.readers += 1
        self._readers += 1
        try:
            yield channel
        finally:
            self._readers -= 1
            channel.readers -= 1
            if not channel.readers:
                del self._channels[key]

    async def news(self, seq: int, beats: int) -> None:
        """Returns once there is a place after `seq`, a heartbeat is due, or the server stops."""
        while self.committed.seq <= seq and self.beats == beats and not self.stopping.is_set():
            await self._woken.wait()

    # --- In the background ---

    async def _pass_on_commits(self) -> None:
        seq = self.committed.seq
        while True:
            seq = await self.committed.wait_past(seq)
            self._wake()

    async def _beat(self) -> None:
        while True:
            await self._sleep(HEARTBEAT_SECONDS)
            self.beats += 1
            self._wake()

    async def _pass_on_stop(self) -> None:
        await self.stopping.wait()
        self._wake()

    def _wake(self) -> None:
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()


class _Ahead(NamedTuple):
    """A run being read before it is asked for."""

    after: int
    through: int
    reading: asyncio.Task[Run]


class Reader:
    """One reader of the stream, and the place up to which it was told everything that matches."""

    def __init__(
        self,
        live: LiveStream,
        query: EventQuery,
        seq: int,
        *,
        new_until: int = 0,
        looking: LookingBack | None = None,
    ) -> None:
        """From `seq` on, or from the place that is still being looked for: until then it is told of no event.

        It has been told of nothing up to `new_until`: no event there is news of an older one.
        """
        self._live = live
        self._query = query
        self._seq = self._began = seq
        self._new_until = new_until
        self._page_size, self._run_size = _FIRST_PAGE, _FIRST_RUN
        self._purged_told = 0
        self._looking_back = looking
        self._looking = Looking(live.store)
        self._runs = live.store if isinstance(live.store, RunStore) and not query.filters else None
        self._ahead: deque[_Ahead] = deque()

    async def messages(self) -> AsyncGenerator[bytes]:
        """What to write, part after part, for ever: until the server stops or cannot read its store.

        A long run comes as it was read, in parts that together are whole messages: to join them is a copy.
        """
        live = self._live
        beats = live.beats
        with live.channel(self._query, max(self._seq, self._new_until)) as channel:
            try:
                yield sse.retry(RETRY_MS) + self._message("hello", version=live.version)
                while not live.stopping.is_set():
                    begun = await self._has_begun()
                    if begun:
                        for part in await self._next(channel):
                            yield part
                    if live.beats != beats:
                        beats = live.beats
                        yield self._message("heartbeat")
                    if begun:
                        await live.news(self._seq, beats)
                yield self._bye("the server is stopping", RETRY_MS)
            except (StoreError, QueryTimedOut) as error:
                yield self._bye(str(error), STORE_RETRY_MS)
            finally:
                await self._drop_ahead()

    async def _has_begun(self) -> bool:
        """Whether it is known where to begin; if not, it is looked for a little further."""
        looking = self._looking_back
        if looking is None:
            return True
        if looking.place is None:
            await looking.look()
        if looking.place is None:
            return False
        self._seq = self._began = looking.place
        self._looking_back = None
        return True

    async def _next(self, channel: Channel) -> Sequence[bytes]:
        """The next messages, in parts; none when there are none just now."""
        if self._ahead and self._has(channel):
            await self._drop_ahead()
        if self._has(channel):  # with nothing to wait for between this and taking it
            found, self._seq = channel.after(self._seq)
            await asyncio.sleep(0)  # one call does little, but a reader far behind calls often
            return [found] if found else ()
        if self._live.committed.seq > self._seq:
            return await self._from_store()
        return ()

    def _has(self, channel: Channel) -> bool:
        return self._seq >= self._new_until and channel.holds(self._seq)

    async def _from_store(self) -> Sequence[bytes]:
        if self._runs is not None and self._seq >= self._new_until:
            return await self._run(self._runs)
        live = self._live
        known = live.committed.seq  # what is committed so far the store has, too; it may have more
        query = self._query.resolved(live.store.names_directory)
        events, end = await self._looking.after(query, self._seq, self._page_size)
        self._page_size = _next_size(events)
        if end is None:
            end = max(known, events[-1].seq) if events else known
        parts = [stream_message(live.store.store_id, stored, again=self._was_passed(stored)) for stored in events]
        parts.insert(0, self._gap(await live.store.purged_through()))
        self._seq = end
        return [whole] if (whole := b"".join(parts)) else ()

    async def _run(self, store: RunStore) -> Sequence[bytes]:
        """The next messages without a filter; those after them are read while these are sent."""
        if self._ahead and self._ahead[0].after != self._seq:
            await self._drop_ahead()
        self._read_ahead(store, 1)
        run = await self._ahead.popleft().reading
        gap = self._gap(run.purged_through)
        written = [gap, *run.written] if gap else run.written
        size = sum(map(len, written))
        readers = self._live.readers
        run_bytes = min(_RUN_BYTES, _ALL_RUN_BYTES // readers)
        self._run_size = min(_MAX_RUN, run_bytes * (run.through - self._seq) // (size + 1) + 1)
        self._seq = run.through
        self._read_ahead(store, _RUNS_AHEAD if readers <= _READERS_AHEAD else 0)
        return written

    def _read_ahead(self, store: RunStore, runs: int) -> None:
        """Sees to it that so many runs are being read, of what is committed: that the store has."""
        committed = self._live.committed.seq
        start = self._ahead[-1].through if self._ahead else self._seq
        while len(self._ahead) < runs and start < committed:
            through = min(committed, start + self._run_size)
            run = store.run_between(start, through, event_frame(self._live.store.store_id))
            self._ahead.append(_Ahead(start, through, asyncio.create_task(run)))
            start = through

    async def _drop_ahead(self) -> None:
        reading = [ahead.reading for ahead in self._ahead]
        self._ahead.clear()
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    def _was_passed(self, stored: StoredEvent) -> bool:
        """Whether this is a raised event that the reader may have been told of in its earlier place."""
        if stored.seq <= self._new_until and stored.first_seq <= self._began:
            return False
        return stored.first_seq <= self._seq

    def _gap(self, purged: int) -> bytes:
        """The message that events up to `purged` may be missing; nothing where the reader was past it, or told."""
        live = self._live
        if purged <= max(self._seq, self._purged_told):
            return b""
        self._purged_told = purged
        document = {
            "after": live.cursor(self._seq),
            "before": live.cursor(purged + 1),
            "missing": None,
            "reason": "events received in this range were purged",
        }
        return sse.message(encode_json(document), cursor=live.cursor(self._seq), name="gap")

    def _message(self, name: str, **more: object) -> bytes:
        cursor = self._live.cursor(self._seq)
        document = {"cursor": cursor, "server_time": format_time(self._live.clock()), **more}
        return sse.message(encode_json(document), cursor=cursor, name=name)

    def _bye(self, reason: str, retry_ms: int) -> bytes:
        data = encode_json({"reason": reason, "retry_ms": retry_ms})
        return sse.retry(retry_ms) + sse.message(data, cursor=self._live.cursor(self._seq), name="bye")


def _next_size(events: Sequence[StoredEvent]) -> int:
    average = sum(len(stored.body) for stored in events) // max(len(events), 1) + 1
    return max(1, min(MAX_PAGE, _PAGE_BYTES // average))
