"""Archive and purge: never twice, never too much, and everything that counts knows."""

from datetime import timedelta

import pytest

from madsci_event_server.errors import NotFound
from madsci_event_server.event import archived_tail
from madsci_event_server.storage.base import EventStore, Outcome
from tests.factories import NOON, a_query, an_event

LATER = NOON + timedelta(days=1)


@pytest.fixture
async def lab(store: EventStore) -> EventStore:
    """2,500 events, a second apart, numbered."""
    await store.append(
        [an_event(f"step {n}", id=f"{n:04}", at=NOON + timedelta(seconds=n), name=f"n{n}") for n in range(2500)]
    )
    return store


async def test_archiving_by_id_counts_what_was_not_yet(lab: EventStore) -> None:
    assert await lab.archive(ids=["0001", "0002", "none", "\ud800"], at=LATER) == 2
    assert await lab.archive(ids=["0002", "0003"], at=LATER + timedelta(days=1)) == 1
    assert await lab.archive(ids=[], at=LATER) == 0

    assert (await lab.get("0002")).event.archived_at == LATER
    assert (await lab.status()).archived == 3


async def test_archiving_before_a_time_leaves_that_time(lab: EventStore) -> None:
    assert await lab.archive(before=NOON + timedelta(seconds=2100), at=LATER) == 2100

    assert (await lab.get("2100")).event.archived is False
    assert (await lab.find(a_query(order="time", limit=1))).events[0].event.event_id == "2100"
    assert (await lab.facets(a_query(), ["log_level"], 1)).total == 400
    assert (await lab.facets(a_query(only_archived=True), ["log_level"], 1)).total == 2100


async def test_ids_and_a_time_must_both_hold(lab: EventStore) -> None:
    assert await lab.archive(ids=["0001", "0002"], before=NOON + timedelta(seconds=2), at=LATER) == 1


async def test_an_archived_event_changes_in_nothing_else(lab: EventStore) -> None:
    before = await lab.get("0001")

    await lab.archive(ids=["0001"], at=LATER)

    after = await lab.get("0001")
    assert (after.seq, after.first_seq) == (before.seq, before.first_seq)
    assert after.event == before.event.changed(archived=True, archived_at=LATER)
    assert after.body == after.event.encode()
    assert after.body.endswith(archived_tail(LATER))


async def test_purging_deletes_for_good_what_was_archived_before(lab: EventStore) -> None:
    await lab.archive(before=NOON + timedelta(seconds=2100), at=LATER)
    await lab.archive(ids=["2200"], at=LATER + timedelta(seconds=1))

    assert await lab.purge(LATER, dry_run=True) == await lab.purge(LATER) == 0
    assert await lab.purge(LATER + timedelta(microseconds=1), dry_run=True) == 2100
    assert (await lab.status()).events == 2500
    assert await lab.purge(LATER + timedelta(microseconds=1)) == 2100

    with pytest.raises(NotFound):
        await lab.get("0001")
    status = await lab.status()
    assert (status.events, status.archived) == (400, 1)
    assert (await lab.find(a_query(search="step 1", include_archived=True))).events == []
    assert len((await lab.find(a_query(search="step 2300"))).events) == 1
    facets = await lab.facets(a_query(include_archived=True), ["name"], 1000)
    assert (facets.total, len(facets.facets["name"])) == (400, 400)


async def test_places_of_purged_events_are_never_given_again(lab: EventStore) -> None:
    await lab.archive(at=LATER)
    assert await lab.purge(LATER + timedelta(days=1)) == 2500

    (appended,) = await lab.append([an_event("step 1", id="0001", name="n1")])

    assert appended.outcome is Outcome.STORED
    assert appended.stored.first_seq == 2501
    assert [stored.seq for stored in (await lab.find(a_query(search="step", name=["n1"]))).events] == [2501]
    assert (await lab.status()).events == 1
