"""Ingest: events in, stored once, whoever waits for commits woken.

Requests that arrive while a commit is under way are committed together by the next one: a lone event waits for nobody,
and a burst shares the cost of making it durable.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self

from madsci_event_server.errors import Overloaded, StoreError, StoreUnavailable
from madsci_event_server.event import Event
from madsci_event_server.storage.base import (
    Appended,
    EventStore,
    Outcome,
    Prepared,
    PreparingStore,
    QueueingStore,
    StoredEvent,
)

MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Of request bodies; parsed, an event takes several times its size."""
MAX_WAITING_EVENTS: Final = 50_000
MAX_COMMIT_EVENTS: Final = 2_000
"""How many events one commit takes: more makes those who wait, wait longer, and saves nothing."""

_log = logging.getLogger(__name__)

CommitListener = Callable[[Sequence[StoredEvent]], None]


class Commits:
    """What was committed here, for those who want to know at once: every new or raised event, in received order."""

    def __init__(self) -> None:
        self.seq = 0
        """The highest seq known to be committed; the store's last one once the server has started."""
        self._listeners: list[CommitListener] = []
        self._moved = asyncio.Event()

    def subscribe(self, listener: CommitListener) -> Callable[[], None]:
        """Calls `listener` with the events of each commit made here, lowest seq first; returns how to end that.

        It is called on the event loop before those who sent the events are answered: it must return at once.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def wait_past(self, seq: int) -> int:
        """The highest committed seq, as soon as it is greater than `seq`."""
        while self.seq <= seq:
            await self._moved.wait()
        return self.seq

    def reach(self, seq: int) -> None:
        """Wakes who waits: the store is known to hold events up to `seq`, wherever they were committed."""
        if seq > self.seq:
            self.seq = seq
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Tells the listeners of one commit, then wakes who waits."""
        for listener in tuple(self._listeners):
            try:
                listener(events)
            except Exception:  # noqa: BLE001  # the events are stored: whatever a listener does, their senders must be told so
                _log.exception("a listener to commits failed")
        self.reach(events[-1].seq)


class _Waiting(NamedTuple):
    """One request's events on their way into the next commit."""

    prepared: Sequence[Prepared]
    events: int
    size: int
    since: float
    done: asyncio.Future[list[Appended]]
    after: asyncio.Future[list[Appended]] | None
    """Of events that have to be stored before these."""

    def is_free(self, taken: Collection[asyncio.Future[list[Appended]]]) -> bool:
        """Whether it may be stored next, with these or after them."""
        return self.after is None or self.after.done() or self.after in taken

    @property
    def refusal(self) -> BaseException | None:
        """Why it cannot be stored any more: what those before it met."""
        after = self.after
        # Cancelled is what somebody has gone who waited for it: it is stored all the same.
        return after.exception() if after is not None and after.done() and not after.cancelled() else None


def utc_now() -> datetime:
    """The server's clock."""
    return datetime.now(UTC)


class Ingest:
    """The way into the store. `async with`: on leaving, what was accepted is committed first."""

    def __init__(
        self,
        store: EventStore,
        *,
        clock: Callable[[], datetime] = utc_now,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        max_waiting_events: int = MAX_WAITING_EVENTS,
    ) -> None:
        self.committed = Commits()
        self.outcomes: Counter[Outcome] = Counter()
        """What became of the events taken since the start."""
        self._store = store
        self._append = _append_of(store)
        self.prepare: Callable[[Event], Prepared] = store.prepare if isinstance(store, PreparingStore) else Alone
        """What `begin` takes: done right after an event was parsed it costs least."""
        self._clock = clock
        self._max_bytes, self._max_events = max_waiting_bytes, max_waiting_events
        self._waiting: deque[_Waiting] = deque()
        self._bytes = self._events = 0
        self._groups: list[_Group] = []
        """In the hands of the store."""
        self._commits: set[asyncio.Task[None]] = set()
        self._is_ready = True
        """Whether the store had better have what waits."""
        self._closed = False

    async def __aenter__(self) -> Self:
        self.committed.reach((await self._store.status()).last_seq)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._closed = True
        while self._commits:
            await asyncio.wait(self._commits)

    @property
    def waiting_events(self) -> int:
        """How many events wait for their commit, or are in the one under way."""
        return self._events

    @property
    def lag_seconds(self) -> float:
        """How long the oldest event that is not committed yet has waited; 0 when none waits."""
        oldest = min((group[0].since for group in (*self._groups, self._waiting) if group), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    async def accept(self, events: Sequence[Event], size: int) -> list[Appended]:
        """Stores events durably, stamped with the time they were received; says what became of each, in their order.

        `size` is what they take as JSON. Raises Overloaded when too much waits already, and the store's StoreError;
        then none of these events is stored by this call.
        """
        return await self.begin([self.prepare(event) for event in events], size) if events else []

    def begin(
        self, prepared: Sequence[Prepared], size: int, after: asyncio.Future[list[Appended]] | None = None
    ) -> asyncio.Future[list[Appended]]:
        """Begins to store at least one event that `prepare` has made ready; what is returned says what `accept` does.

        `after` is what was returned for others, without which these are not to be stored. Raises Overloaded at once.
        """
        events = sum(map(len, prepared))
        self._check_room(events, size)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(prepared, events, size, time.monotonic(), done, after))
        self._bytes += size
        self._events += events
        self._hand_over()
        return done

    def _check_room(self, count: int, size: int) -> None:
        if self._closed:
            raise StoreUnavailable("the server is stopping; send it again in a moment")
        # An idle server takes anything: the limits of one request are its own.
        if self._events and (self._events + count > self._max_events or self._bytes + size > self._max_bytes):
            raise Overloaded(f"{self._events} events wait to be stored already; send it again in a moment")

    def _hand_over(self) -> None:
        """Gives the store what has gathered, where it is ready for it."""
        if self._is_ready and (group := self._next_group()):
            self._is_ready = False
            commit = asyncio.create_task(self._flush(group))
            self._commits.add(commit)
            commit.add_done_callback(self._commits.discard)

    async def _flush(self, group: "_Group") -> None:
        ready = _Once(self._go_on)
        self._groups.append(group)
        try:
            await self._commit(group, ready)
        finally:
            self._groups.remove(group)
            self._forget(group)
            ready()
            self._hand_over()  # what waited for these to be stored

    def _go_on(self) -> None:
        self._is_ready = True
        self._hand_over()

    def _next_group(self) -> "_Group":
        """What is stored together next; nothing where nothing waits, or only what has to wait longer."""
        group: _Group = []
        later: _Group = []
        taken: set[asyncio.Future[list[Appended]]] = set()
        room = MAX_COMMIT_EVENTS
        while self._waiting and (room > 0 or not group):
            waiting = self._waiting.popleft()
            if (refusal := waiting.refusal) is not None:
                self._forget([waiting])
                _refuse([waiting], refusal)
            elif waiting.is_free(taken) and (waiting.events <= room or not group):
                group.append(waiting)
                taken.add(waiting.done)
                room -= waiting.events
            else:
                later.append(waiting)
                if waiting.is_free(taken):
                    break
        self._waiting.extendleft(reversed(later))
        return group

    def _forget(self, group: "_Group") -> None:
        for waiting in group:
            self._bytes -= waiting.size
            self._events -= waiting.events

    async def _commit(self, group: "_Group", ready: Callable[[], None]) -> None:
        try:
            appended = await self._append(self._stamped(group), ready)
        except StoreError as error:
            _refuse(group, error)
        except Exception as error:  # noqa: BLE001  # whatever one request's events do to a store, the others must not pay
            if len(group) > 1:
                _log.exception("a commit of %d requests failed; each is now committed by itself", len(group))
                for waiting in group:
                    if (refusal := waiting.refusal) is not None:
                        _refuse([waiting], refusal)
                    else:
                        await self._commit([waiting], ready)
            else:
                _refuse(group, error)
        else:
            outcomes = [item.outcome for item in appended]
            self.outcomes.update(outcomes)
            if news := _news(appended, outcomes):
                self.committed.publish(news)
            _answer(group, appended)

    def _stamped(self, group: Iterable[_Waiting]) -> list[Any]:
        now = self._clock()
        found = [prepared for waiting in group for prepared in waiting.prepared]
        for prepared in found:
            prepared.stamp(now)
        return found

    def counts(self) -> Mapping[str, int]:
        """How many events met each outcome since the start."""
        return {outcome.value: self.outcomes[outcome] for outcome in Outcome}


_Group = list[_Waiting]


class _Once:
    """Calls what it is given when it is first called."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work: Callable[[], None] | None = work

    def __call__(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work()


def _append_of(store: EventStore) -> Callable[[list[Any], Callable[[], None]], Awaitable[list[Appended]]]:
    """How events are appended to this store; it may call what it is given when the next had better come."""
    if isinstance(store, QueueingStore):
        return store.append_next
    if isinstance(store, PreparingStore):
        append = store.append_prepared
        return lambda prepared, _: append(prepared)
    return lambda prepared, _: store.append([one.event for one in prepared])


class Alone:
    """An event for a store that takes events."""

    def __init__(self, event: Event) -> None:
        event.derive()
        self.event = event

    def __len__(self) -> int:
        return 1

    def stamp(self, received_at: datetime) -> None:
        self.event.stamp(received_at)


def _answer(group: Iterable[_Waiting], appended: Sequence[Appended]) -> None:
    start = 0
    for waiting in group:
        end = start + waiting.events
        # Who sent it may have gone; it is stored all the same.
        if not waiting.done.done():
            waiting.done.set_result(list(appended[start:end]))
        start = end


def _refuse(group: Iterable[_Waiting], error: BaseException) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)


def _news(appended: Sequence[Appended], outcomes: list[Outcome]) -> list[StoredEvent]:
    """The events that are new or raised, as they now stand, in received order."""
    if outcomes.count(Outcome.STORED) == len(outcomes):
        return [item.stored for item in appended]
    latest = {
        item.stored.first_seq: item.stored
        for item in appended
        if item.outcome is Outcome.STORED or item.outcome is Outcome.RAISED
    }
    return sorted(latest.values(), key=lambda stored: stored.seq)
