"""LiveStream without a socket: time turned by hand, any query, other servers, queries too slow for the store."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from madsci_event_server.errors import Overloaded, QueryTimedOut
from madsci_event_server.event import Event
from madsci_event_server.ingest import Ingest
from madsci_event_server.live import HEARTBEAT_SECONDS, LiveStream
from madsci_event_server.query import Cursor, EventQuery
from madsci_event_server.storage.base import EventStore, Page
from madsci_event_server.storage.memory import MemoryStore
from madsci_event_server.storage.sqlite import SQLiteStore
from tests.factories import NOON, a_query, an_event, event_lists, queries
from tests.server.stream_readers import Message, parsed

pytestmark = pytest.mark.usefixtures("no_blocking")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = NOON
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + timedelta(seconds=seconds), woken))
        await woken

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self.now]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self.now]
        for _, woken in due:
            woken.set_result(None)


class Server:
    """A store, its ingest and its live stream."""

    def __init__(self, store: EventStore, **options: Any) -> None:
        self.clock = Clock()
        self.stopping = asyncio.Event()
        self.store = store
        self.ingest = Ingest(store, clock=self.clock)
        self.live = LiveStream(
            store,
            self.ingest.committed,
            clock=self.clock,
            sleep=self.clock.sleep,
            version="1",
            stopping=self.stopping,
            **options,
        )

    async def add(self, *events: Event) -> None:
        await self.ingest.accept(events, 1)


@asynccontextmanager
async def running(store: EventStore, **options: Any) -> AsyncIterator[Server]:
    server = Server(store, **options)
    async with server.ingest, server.live:
        yield server


@asynccontextmanager
async def alone(**options: Any) -> AsyncIterator[Server]:
    async with MemoryStore() as store, running(store, **options) as server:
        yield server


@asynccontextmanager
async def following(
    server: Server, query: EventQuery | None = None, **where: Any
) -> AsyncIterator[AsyncGenerator[Message]]:
    """The messages of a reader that has been greeted."""
    reader = await server.live.follow(query or EventQuery(), **where)
    async with aclosing(_messages(reader.messages())) as messages:
        assert (await anext(messages)).name == "hello"
        yield messages


async def _messages(parts: AsyncGenerator[bytes]) -> AsyncGenerator[Message]:
    rest = b""
    async with aclosing(parts):
        async for part in parts:
            assert part, "an empty part would end an answer in chunks"
            *whole, rest = (rest + part).split(b"\n\n")
            for text in whole:
                yield parsed(text.removeprefix(b"retry: 1000\n").removeprefix(b"retry: 5000\n"))


async def events_until(messages: AsyncGenerator[Message], seq: int) -> list[str]:
    """The ids of events up to a place that heartbeats tell, too."""
    found = []
    async for message in messages:
        if message.name in ("", "raised"):
            found.append(message.data["event_id"])
        if place(message) >= seq:
            break
    return found


async def next_beat(server: Server, messages: AsyncGenerator[Message]) -> Message:
    """What comes once the time of a heartbeat has passed."""
    waiting = asyncio.ensure_future(anext(messages))
    await asyncio.sleep(0)
    server.clock.pass_seconds(HEARTBEAT_SECONDS)
    return await waiting


def place(message: Message) -> int:
    return int(message.cursor.split(".")[2])


async def test_a_quiet_hour_is_heartbeats_and_no_event() -> None:
    async with alone() as server, following(server) as messages:
        beats = [await next_beat(server, messages) for _ in range(360)]

    assert {message.name for message in beats} == {"heartbeat"}
    times = [datetime.fromisoformat(message.data["server_time"]) for message in beats]
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(seconds=HEARTBEAT_SECONDS)}
    assert times[-1] == NOON + timedelta(hours=1)
    assert {message.data["cursor"] for message in beats} == {message.cursor for message in beats}


async def test_heartbeats_carry_a_narrow_filter_on() -> None:
    async with alone() as server, following(server, a_query(level="error")) as messages:
        await server.add(*(an_event("nothing much") for _ in range(500)))
        beat = await next_beat(server, messages)
        while place(beat) < 500:
            beat = await next_beat(server, messages)

        assert (beat.name, place(beat)) == ("heartbeat", 500)


async def test_readers_who_ask_the_same_share_what_is_made_for_them() -> None:
    async with alone() as server:
        alike = [await server.live.follow(a_query(level="error")) for _ in range(3)]
        parts = [reader.messages() for reader in alike]
        for part in parts:
            await anext(part)
        assert (server.live.readers, server.live.queries) == (3, 1)
        await server.add(an_event("lost", level="error"))
        [first, second, third] = [await anext(part) for part in parts]

        assert first is second is third
        for part in parts:
            await part.aclose()
        assert (server.live.readers, server.live.queries) == (0, 0)


async def test_what_another_server_commits_only_has_to_wake_readers() -> None:
    """As a change stream does: the place is told, the events are read."""
    async with MemoryStore() as store, running(store) as one, running(store) as two, following(one) as messages:
        await one.add(an_event(id="a"))
        await two.add(an_event(id="b"))
        await one.add(an_event(id="c"))
        assert await events_until(messages, 3) == ["a", "b", "c"]
        await two.add(an_event(id="d"))
        one.ingest.committed.reach(4)

        assert await events_until(messages, 4) == ["d"]


async def test_what_is_read_before_it_is_told_of_comes_once() -> None:
    """The store holds another server's commit before the news of it is here."""
    async with MemoryStore() as store, running(store) as one, running(store) as two, following(one) as messages:
        await one.add(an_event(id="a"))
        one.live.forget()
        await two.add(an_event(id="b"))
        found = await events_until(messages, 1)
        one.ingest.committed.reach(2)
        await one.add(an_event(id="c"))

        assert found + await events_until(messages, 3) == ["a", "b", "c"]


async def test_too_many_readers_are_refused() -> None:
    async with alone(max_readers=1) as server, following(server):
        with pytest.raises(Overloaded):
            await server.live.follow(EventQuery())


async def test_a_store_that_is_away_ends_the_stream_in_words() -> None:
    async with MemoryStore() as store, running(store) as server, following(server) as messages:
        await server.add(an_event())
        await server.store.archive(ids=["nobody"], at=NOON)
        server.live.forget()
        await store.__aexit__()
        message = await anext(messages)

        assert (message.name, message.data["retry_ms"]) == ("bye", 5000)
        assert "closed" in message.data["reason"]


async def test_a_reader_that_changes_between_store_and_memory_misses_nothing(tmp_path: Path) -> None:
    """Memory is short of room all the time: what it held a moment ago it may not hold any more."""
    rounds, at_once = 150, 20
    wanted = [f"e-{number}" for number in range(rounds * at_once)]

    async def keep_adding(server: Server) -> None:
        for start in range(0, len(wanted), at_once):
            server.live.forget()
            await server.add(*(an_event(id=event_id) for event_id in wanted[start : start + at_once]))

    async with SQLiteStore(tmp_path / "events.db") as store, running(store) as server, following(server) as messages:
        adding = asyncio.create_task(keep_adding(server))
        found = [(await anext(messages)).data["event_id"] for _ in wanted]
        await adding

    assert found == wanted


@pytest.mark.parametrize("start", [0, 1999])
async def test_a_query_too_slow_for_the_store_gets_through_all_the_same(tmp_path: Path, start: int) -> None:
    """The few that match among many that do not: found some at a time, each page within the limit."""
    async with SQLiteStore(tmp_path / "events.db", query_seconds=0.05) as store, running(store) as server:
        await server.add(*(an_event(f"step {number}", id=f"e-{number}") for number in range(6000)))
        server.live.forget()
        after = server.live.cursor(start)
        async with following(server, a_query(regex="^step [0-9]*99[89]$"), after=after) as messages:
            wanted = [f"e-{number}" for number in range(start, 6000) if number % 1000 in (998, 999)]
            assert await events_until(messages, 6000) == wanted


class SlowStore(MemoryStore):
    """Matches no pattern in its time, and reads no more than a few events."""

    async def find(self, query: EventQuery) -> Page:
        if query.regex is not None or query.limit > 20:
            raise QueryTimedOut("this takes too long")
        return await super().find(query)


async def test_a_store_that_reads_few_events_in_its_time_is_asked_for_fewer() -> None:
    async with SlowStore() as store, running(store) as server:
        await server.add(*(an_event(f"step {number}", id=f"e-{number}") for number in range(500)))
        server.live.forget()
        async with following(server, a_query(regex="99$"), after=server.live.cursor(0)) as messages:
            assert await events_until(messages, 500) == [f"e-{number}" for number in (99, 199, 299, 399, 499)]


class ToldStore(MemoryStore):
    """Matches no pattern in its time, and tells how far back it was asked to look."""

    farthest = 1_000_000

    async def find(self, query: EventQuery) -> Page:
        if query.regex is not None:
            raise QueryTimedOut("this takes too long")
        begins = Cursor.decode(query.after or "", store_id=self.store_id, order="received").position
        self.farthest = min(self.farthest, begins)
        return await super().find(query)


async def test_who_waits_for_what_is_far_back_is_greeted_first_and_told_that_all_is_well() -> None:
    """To get through many events takes long, and a server that says nothing meanwhile is taken for dead."""
    async with ToldStore() as store, running(store) as server:
        await server.add(*(an_event(f"step {number}", id=f"e-{number}") for number in range(11_000)))
        async with following(server, a_query(regex="^step (7|99|199|new)$"), last=2) as messages:
            assert store.farthest >= 1_000
            server.clock.pass_seconds(HEARTBEAT_SECONDS)
            await asyncio.sleep(0)
            beat = await anext(messages)
            assert (beat.name, place(beat)) == ("heartbeat", 0)
            await server.add(an_event("step new", id="new"))
            assert await events_until(messages, 11_001) == ["e-99", "e-199", "new"]
            assert store.farthest == 0


@pytest.mark.parametrize(("pattern", "last", "wanted"), [("99$", 2, [399, 499]), ("99$", 9, range(99, 500, 100))])
async def test_the_last_ones_of_a_query_too_slow_for_the_store_are_found(
    pattern: str, last: int, wanted: Sequence[int]
) -> None:
    async with SlowStore() as store, running(store) as server:
        await server.add(*(an_event(f"step {number}", id=f"e-{number}") for number in range(500)))
        async with following(server, a_query(regex=pattern), last=last) as messages:
            assert await events_until(messages, 500) == [f"e-{number}" for number in wanted]


@hypothesis.settings(max_examples=40)
@hypothesis.given(event_lists(), st.lists(queries(), min_size=1, max_size=4))
async def test_any_query_means_on_a_stream_what_it_means_in_history(
    events: Sequence[Event], asked: Sequence[EventQuery]
) -> None:
    """Live, and caught up on from the store. Events of one id come as often as they had a place."""
    async with alone() as server:
        followers = [(query, await server.live.follow(query)) for query in asked]
        live = [(query, _messages(reader.messages())) for query, reader in followers]
        for _, messages in live:
            await anext(messages)
        committed: list[Event] = []
        server.ingest.committed.subscribe(lambda stored: committed.extend(item.event for item in stored))
        for event in events:
            await server.add(event)
        await asyncio.sleep(0)
        server.clock.pass_seconds(HEARTBEAT_SECONDS)
        for query, messages in live:
            found = []
            while (message := await anext(messages)).name != "heartbeat":
                found.append(message.data)
            known = query.resolved(server.store.names_directory)  # names that the events themselves have told
            wanted = [event.wire() for event in committed if known.matches(event)]
            assert [item["event_id"] for item in found] == [item["event_id"] for item in wanted]
            assert [item["log_level"] for item in found] == [item["log_level"] for item in wanted]


class TestCommittedAfter:
    """What the stream holds of the last commits, for whoever reads on in received order."""

    async def test_it_is_what_the_store_finds(self) -> None:
        async with alone() as server:
            await server.add(*[an_event(id=f"e{number}") for number in range(5)])
            await server.add(an_event(id="e5"))
            for seq in range(6):
                found = await server.store.find(EventQuery(order="received", after=server.live.cursor(seq)))
                assert server.live.committed_after(seq) == found.events

    async def test_what_it_may_not_hold_only_the_store_can_tell(self) -> None:
        async with alone() as server:
            assert server.live.committed_after(0) is None
            await server.add(an_event(id="e1"))
            assert server.live.committed_after(1) is None
            server.live.forget()
            assert server.live.committed_after(0) is None

    async def test_nothing_is_held_before_it_follows(self) -> None:
        async with MemoryStore() as store:
            assert Server(store).live.committed_after(0) is None
