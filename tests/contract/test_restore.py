"""Events put into a store in the places they had in another one."""

import pytest

from madsci_event_server.errors import StoreUnusable
from madsci_event_server.event import EventLogLevel
from madsci_event_server.storage.base import EventStore, StoredEvent
from madsci_event_server.storage.memory import MemoryStore
from tests.factories import NODES, NOON, a_query, an_event


async def lived_in() -> list[StoredEvent]:
    """What a store holds after some life: an event raised, one archived, one deleted for good."""
    async with MemoryStore() as other:
        raised = an_event("Tip lost", id="raised", level="info", node_id=NODES[0], name="arm")
        await other.append([an_event(id="gone"), raised, an_event("plate", id="archived"), an_event(id="plain")])
        await other.archive(ids=["gone"], at=NOON.replace(year=2020))
        await other.purge(NOON.replace(year=2021))
        await other.archive(ids=["archived"], at=NOON)
        await other.append([raised.changed(log_level=EventLogLevel.ERROR)])
        return await in_received_order(other)


async def in_received_order(store: EventStore) -> list[StoredEvent]:
    return list((await store.find(a_query(order="received", include_archived=True))).events)


async def test_restored_events_stand_as_they_stood_in_their_places(store: EventStore) -> None:
    events = await lived_in()

    assert await store.restore(events) == 3
    assert await in_received_order(store) == events
    assert [stored.seq for stored in events] == [3, 4, 5]
    assert await store.get("raised") == events[-1]
    assert (await store.find(a_query(search="plate", only_archived=True))).events == events[:1]


async def test_restoring_again_changes_nothing(store: EventStore) -> None:
    events = await lived_in()
    await store.restore(events[:2])

    assert await store.restore(events) == 1
    assert await store.restore(events) == 0
    assert await in_received_order(store) == events


async def test_what_changed_since_is_restored_as_it_now_stands(store: EventStore) -> None:
    async with MemoryStore() as other:
        event = an_event("Tip lost", id="e1", level="info", words="many")
        await other.append([event, an_event(id="e2")])
        await store.restore(await in_received_order(other))
        await other.append([event.changed(log_level=EventLogLevel.ERROR, alert=True)])
        await other.archive(ids=["e2"], at=NOON)
        events = await in_received_order(other)

    assert await store.restore(events) == 2
    assert await in_received_order(store) == events
    assert [stored.event.event_id for stored in (await store.find(a_query(search="tip", alert=True))).events] == ["e1"]


async def test_new_events_come_after_those_restored(store: EventStore) -> None:
    events = await lived_in()
    await store.restore(events)

    (new,) = await store.append([an_event()])

    assert new.stored.seq > events[-1].seq
    found = await store.find(a_query(node=["arm"]).resolved(store.names_directory))
    assert [stored.event.event_id for stored in found.events] == ["raised"]


async def test_a_store_with_events_of_its_own_is_left_as_it_is(store: EventStore) -> None:
    await store.append([an_event(id="mine"), an_event(), an_event(), an_event(), an_event()])
    before = await in_received_order(store)

    with pytest.raises(StoreUnusable, match="copy into an empty one"):
        await store.restore(await lived_in())
    assert await in_received_order(store) == before


@pytest.mark.parametrize("raised_here", [True, False])
async def test_a_place_an_event_was_raised_from_is_taken_for_good(store: EventStore, raised_here: bool) -> None:
    """Ties of event time are broken by it."""
    async with MemoryStore() as other:
        for holder, ids in ((store, ("mine", "also mine")), (other, ("theirs", "theirs too"))):
            events = [an_event(id=id_, level="info") for id_ in ids]
            await holder.append(events)
            if (holder is store) == raised_here:
                for event in events:
                    await holder.append([event.changed(log_level=EventLogLevel.ERROR)])
        copied, before = await in_received_order(other), await in_received_order(store)

    with pytest.raises(StoreUnusable, match="copy into an empty one"):
        await store.restore(copied)
    assert await in_received_order(store) == before
