"""Group commit: who waits for whom, what a failure costs whom, and who is told of commits."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from madsci_event_server.errors import Overloaded, StoreUnavailable
from madsci_event_server.event import Event
from madsci_event_server.ingest import Alone, Ingest
from madsci_event_server.storage.base import Appended, Outcome, StoredEvent
from madsci_event_server.storage.memory import MemoryStore
from tests.factories import a_query

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class SlowStore(MemoryStore):
    """Appends when it is let; notes what each commit held."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[str]] = []
        self.let = asyncio.Event()
        self.let.set()
        self.fails: Exception | None = None
        self.chokes_on: str | None = None

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        self.commits.append([event.event_id for event in events])
        await self.let.wait()
        if self.fails is not None:
            raise self.fails
        if self.chokes_on in self.commits[-1]:
            raise OverflowError("no store is perfect")
        return await super().append(events)


def event(event_id: str, **fields: object) -> Event:
    return Event(event_id=event_id, event_timestamp=NOW, **fields)


async def in_flight(ingest: Ingest, *ids: str) -> list[asyncio.Task[list[Appended]]]:
    """Each id on its way in, by a request of its own."""
    tasks = [asyncio.create_task(ingest.accept([event(id_)], 100)) for id_ in ids]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_a_lone_event_waits_for_nobody_and_a_burst_shares_a_commit() -> None:
    async with SlowStore() as store, Ingest(store) as ingest:
        store.let.clear()
        tasks = await in_flight(ingest, "a")
        tasks += await in_flight(ingest, "b", "c", "d")
        store.let.set()
        await asyncio.gather(*tasks)

    assert store.commits == [["a"], ["b", "c", "d"]]


async def test_each_is_told_what_became_of_its_own() -> None:
    async with SlowStore() as store, Ingest(store, clock=lambda: NOW) as ingest:
        first, second = await asyncio.gather(
            ingest.accept([event("a"), event("b")], 200), ingest.accept([event("b", log_level=40), event("a")], 200)
        )

        assert [item.outcome for item in first] == [Outcome.STORED, Outcome.STORED]
        assert [item.outcome for item in second] == [Outcome.RAISED, Outcome.DUPLICATE]
        assert first[0].stored.event.received_at == NOW
        assert ingest.counts() == {"stored": 2, "duplicate": 1, "raised": 1, "conflict": 0}


async def test_a_store_that_is_away_fails_all_who_wait_and_the_next_try_succeeds() -> None:
    async with SlowStore() as store, Ingest(store) as ingest:
        store.fails = StoreUnavailable("the disk is full")
        for task in await in_flight(ingest, "a", "b"):
            with pytest.raises(StoreUnavailable, match="disk is full"):
                await task
        store.fails = None

        assert [item.outcome for item in await ingest.accept([event("a")], 100)] == [Outcome.STORED]


async def test_one_request_that_a_store_chokes_on_does_not_cost_the_others_theirs() -> None:
    async with SlowStore() as store, Ingest(store) as ingest:
        store.chokes_on = "bad"
        store.let.clear()
        tasks = await in_flight(ingest, "first")
        tasks += await in_flight(ingest, "good", "bad", "better")
        store.let.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(answer).__name__ for answer in answers] == ["list", "list", "OverflowError", "list"]


@pytest.mark.parametrize(("most_events", "most_bytes"), [(3, 10_000), (1000, 300)])
async def test_too_much_waiting_is_refused_before_it_is_held(most_events: int, most_bytes: int) -> None:
    async with (
        SlowStore() as store,
        Ingest(store, max_waiting_events=most_events, max_waiting_bytes=most_bytes) as ingest,
    ):
        store.let.clear()
        tasks = await in_flight(ingest, "a", "b", "c")

        with pytest.raises(Overloaded):
            await ingest.accept([event("d")], 100)
        assert ingest.waiting_events == 3
        store.let.set()
        await asyncio.gather(*tasks)
        assert (ingest.waiting_events, ingest.lag_seconds) == (0, 0.0)
        assert len(await ingest.accept([event("d")], 100)) == 1


async def test_one_request_of_any_size_is_taken_by_an_idle_server() -> None:
    async with SlowStore() as store, Ingest(store, max_waiting_events=2) as ingest:
        assert len(await ingest.accept([event(str(n)) for n in range(10)], 1000)) == 10


async def test_what_was_accepted_is_committed_before_the_end() -> None:
    async with SlowStore() as store:
        async with Ingest(store) as ingest:
            store.let.clear()
            tasks = await in_flight(ingest, "a", "b")
            store.let.set()
        with pytest.raises(StoreUnavailable, match="stopping"):
            await ingest.accept([event("late")], 100)

    assert [task.done() for task in tasks] == [True, True]


async def test_a_client_that_has_gone_does_not_stop_the_others() -> None:
    async with SlowStore() as store, Ingest(store) as ingest:
        store.let.clear()
        gone, stays = await in_flight(ingest, "gone", "stays")
        gone.cancel()
        store.let.set()

        assert len(await stays) == 1
        assert (await store.get("gone")).seq == 1


class TestCommits:
    async def test_listeners_hear_of_new_and_raised_events_in_received_order(self) -> None:
        async with SlowStore() as store, Ingest(store) as ingest:
            heard: list[StoredEvent] = []
            ingest.committed.subscribe(heard.extend)
            await ingest.accept([event("a"), event("b"), event("a"), event("a", alert=True)], 400)
            await ingest.accept([event("b")], 100)

        assert [(stored.event.event_id, stored.seq, stored.event.alert) for stored in heard] == [
            ("b", 2, False),
            ("a", 3, True),
        ]

    async def test_who_waits_is_woken_by_what_is_past_it(self) -> None:
        async with SlowStore() as store, Ingest(store) as ingest:
            waiting = asyncio.create_task(ingest.committed.wait_past(0))
            await ingest.accept([event("a")], 100)

            assert await waiting == ingest.committed.seq == 1
            assert await ingest.committed.wait_past(0) == 1

    async def test_it_begins_where_the_store_stands(self) -> None:
        async with SlowStore() as store:
            async with Ingest(store) as ingest:
                await ingest.accept([event("a"), event("b")], 200)
            async with Ingest(store) as later:
                assert later.committed.seq == 2

    async def test_a_listener_that_fails_harms_neither_sender_nor_other_listeners(self) -> None:
        async with SlowStore() as store, Ingest(store) as ingest:
            heard: list[StoredEvent] = []

            def fail(_: Sequence[StoredEvent]) -> None:
                raise ValueError

            ingest.committed.subscribe(fail)
            unsubscribe = ingest.committed.subscribe(heard.extend)

            assert len(await ingest.accept([event("a")], 100)) == 1
            unsubscribe()
            await ingest.accept([event("b")], 100)
            assert len(heard) == 1


# --- Events that come after others ---


def begun(
    ingest: Ingest, id_: str, after: asyncio.Future[list[Appended]] | None = None
) -> "asyncio.Future[list[Appended]]":
    return ingest.begin([ingest.prepare(event(id_))], 100, after)


async def test_what_comes_after_others_is_committed_with_them_or_next() -> None:
    async with SlowStore() as store, Ingest(store) as ingest:
        store.let.clear()
        first = begun(ingest, "first")
        await asyncio.sleep(0)
        second = begun(ingest, "second", first)
        third = begun(ingest, "third", second)
        store.let.set()
        await asyncio.gather(first, second, third)

    assert store.commits == [["first"], ["second", "third"]]


async def test_what_comes_after_refused_ones_is_refused_and_never_stored() -> None:
    async with SlowStore() as store, Ingest(store) as ingest:
        store.let.clear()
        first = begun(ingest, "first")
        await asyncio.sleep(0)
        second = begun(ingest, "second", first)
        third = begun(ingest, "third", second)
        other = begun(ingest, "other")
        store.fails = StoreUnavailable("the disk is full")
        store.let.set()
        for refused in (first, second, third):
            with pytest.raises(StoreUnavailable, match="disk is full"):
                await refused
        with pytest.raises(StoreUnavailable, match="disk is full"):
            await other
        store.fails = None

        assert ingest.waiting_events == 0
        assert [item.outcome for item in await begun(ingest, "other")] == [Outcome.STORED]
    assert store.commits == [["first"], ["other"], ["other"]]


async def test_what_comes_after_events_a_store_chokes_on_is_refused_with_them() -> None:
    async with SlowStore() as store, Ingest(store) as ingest:
        store.chokes_on = "bad"
        store.let.clear()
        tasks = await in_flight(ingest, "first")
        bad = begun(ingest, "bad")
        after, other = begun(ingest, "after", bad), begun(ingest, "other")
        store.let.set()
        answers = await asyncio.gather(*tasks, bad, after, other, return_exceptions=True)

    assert [type(answer).__name__ for answer in answers] == ["list", "OverflowError", "OverflowError", "list"]


async def test_who_has_gone_takes_nothing_along_that_comes_after() -> None:
    async with SlowStore() as store, Ingest(store) as ingest:
        store.let.clear()
        first = begun(ingest, "first")
        second = begun(ingest, "second", first)
        first.cancel()
        store.let.set()

        assert [item.outcome for item in await second] == [Outcome.STORED]
        found = (await store.find(a_query(order="received"))).events
        assert [stored.event.event_id for stored in found] == ["first", "second"]


class QueueingSlowStore(SlowStore):
    """Takes the next events as soon as it has those before."""

    def prepare(self, event: Event) -> Alone:
        return Alone(event)

    async def append_prepared(self, prepared: Sequence[Alone]) -> list[Appended]:
        return await self.append([one.event for one in prepared])

    async def append_next(self, prepared: Sequence[Alone], ready: Callable[[], None]) -> list[Appended]:
        ready()
        return await self.append_prepared(prepared)


async def test_a_store_that_takes_more_early_is_given_what_comes_after_others_once_they_are_stored() -> None:
    async with QueueingSlowStore() as store, Ingest(store) as ingest:
        store.let.clear()
        first = begun(ingest, "first")
        await asyncio.sleep(0)
        second = begun(ingest, "second", first)
        other = begun(ingest, "other")
        await asyncio.sleep(0)
        before = list(store.commits)
        store.let.set()
        await asyncio.gather(first, second, other)

    assert before == [["first"], ["other"]]
    assert store.commits == [["first"], ["other"], ["second"]]
