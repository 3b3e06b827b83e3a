"""What becomes of appended events, their places in received order, and reading one back."""

import asyncio

import pytest

from madsci_event_server.errors import NotFound, StoreUnavailable
from madsci_event_server.event import Event, EventLogLevel
from madsci_event_server.storage.base import Appended, EventStore, Outcome
from tests.contract.conftest import NewStore
from tests.factories import NOON, a_query, an_event


def outcomes(appended: list[Appended]) -> list[str]:
    return [str(one.outcome) for one in appended]


async def test_a_new_event_is_stored_and_read_back(store: EventStore) -> None:
    event = an_event("Tip lost", level="error", id="a/b é")

    (appended,) = await store.append([event])

    assert appended.outcome is Outcome.STORED
    assert await store.get("a/b é") == appended.stored
    assert appended.stored.body == event.encode()
    assert appended.stored.event == event


async def test_places_in_received_order_go_up(store: EventStore) -> None:
    first = await store.append([an_event(), an_event()])
    second = await store.append([an_event()])

    seqs = [one.stored.seq for one in first + second]
    assert seqs == sorted(set(seqs))
    assert [one.stored.first_seq for one in first + second] == seqs


async def test_nothing_to_append_is_nothing(store: EventStore) -> None:
    assert await store.append([]) == []


async def test_the_same_again_is_a_duplicate_of_the_first(store: EventStore) -> None:
    event = an_event("Tip lost", level="error")
    (first,) = await store.append([event])

    (again,) = await store.append([event.changed(received_at=NOON, log_level=EventLogLevel.INFO)])

    assert again == Appended(Outcome.DUPLICATE, first.stored)
    assert await store.get(event.event_id) == first.stored


async def test_other_data_under_one_id_is_a_conflict_and_the_first_is_kept(store: EventStore) -> None:
    event = an_event("Tip lost", id="e1")
    (first,) = await store.append([event])

    (again,) = await store.append([an_event("Tip found", id="e1", at=event.event_timestamp)])

    assert again == Appended(Outcome.CONFLICT, first.stored)
    assert (await store.get("e1")).event.message == "Tip lost"


@pytest.mark.parametrize("update", [{"log_level": EventLogLevel.ERROR}, {"alert": True}])
async def test_more_of_the_same_raises_it(store: EventStore, update: dict[str, object]) -> None:
    event = an_event("Tip lost", level="info")
    (first, other) = await store.append([event, an_event()])

    (again,) = await store.append([event.changed(**update)])

    assert again.outcome is Outcome.RAISED
    assert again.stored.seq > other.stored.seq
    assert again.stored.first_seq == first.stored.first_seq
    assert again.stored.event == event.changed(**update)
    assert await store.get(event.event_id) == again.stored


async def test_a_raise_never_lowers(store: EventStore) -> None:
    event = an_event("Tip lost", level="error")
    await store.append([event])

    (again,) = await store.append([event.changed(log_level=EventLogLevel.INFO, alert=True)])

    assert again.outcome is Outcome.RAISED
    assert (again.stored.event.log_level, again.stored.event.alert) == (EventLogLevel.ERROR, True)


async def test_a_raised_event_is_found_by_its_new_level_only(store: EventStore) -> None:
    event = an_event("Tip lost", level="info", name="arm")
    await store.append([event])
    await store.append([event.changed(log_level=EventLogLevel.ERROR, alert=True)])

    counts = (await store.facets(a_query(), ["log_level", "alert", "name"], 10)).facets

    assert {field: [(one.value, one.count) for one in ones] for field, ones in counts.items()} == {
        "log_level": [("ERROR", 1)],
        "alert": [("true", 1)],
        "name": [("arm", 1)],
    }
    assert (await store.find(a_query(log_level=["info"]))).events == []


async def test_a_raise_of_an_archived_event_leaves_it_archived(store: EventStore) -> None:
    event = an_event("Tip lost")
    await store.append([event])
    await store.archive(ids=[event.event_id], at=NOON)

    (again,) = await store.append([event.changed(log_level=EventLogLevel.CRITICAL)])

    assert again.outcome is Outcome.RAISED
    assert again.stored.event.archived_at == NOON
    assert len((await store.find(a_query(only_archived=True, level="critical"))).events) == 1


async def test_one_id_many_times_in_one_call_is_as_if_sent_one_by_one(store: EventStore) -> None:
    event = an_event("Tip lost", level="info", id="e1")
    batch = [
        event,
        event,
        event.changed(log_level=EventLogLevel.WARNING),
        an_event("Tip found", id="e1", at=event.event_timestamp),
        event.changed(alert=True),
        an_event(),
    ]

    appended = await store.append(batch)

    assert outcomes(appended) == ["stored", "duplicate", "raised", "conflict", "raised", "stored"]
    assert [one.stored.event.log_level.name for one in appended[:5]] == [
        "INFO",
        "INFO",
        "WARNING",
        "WARNING",
        "WARNING",
    ]
    assert appended[5].stored.seq > appended[4].stored.seq > appended[2].stored.seq > appended[0].stored.seq
    assert await store.get("e1") == appended[4].stored
    assert (await store.facets(a_query(), ["alert"], 10)).total == 2


async def test_of_many_who_send_one_event_at_once_one_stores_it(store: EventStore) -> None:
    events = [an_event("Tip lost") for _ in range(20)]

    answers = await asyncio.gather(*(store.append(events) for _ in range(8)))

    for position, event in enumerate(events):
        said = sorted(str(answer[position].outcome) for answer in answers)
        assert said == ["duplicate"] * 7 + ["stored"]
        assert {answer[position].stored for answer in answers} == {await store.get(event.event_id)}
    assert (await store.status()).events == 20


async def test_commit_order_is_received_order(store: EventStore) -> None:
    """Whoever has read up to a place never finds a new event at or below it."""
    seen: list[int] = []

    async def read_until(total: int) -> None:
        query = a_query(order="received", limit=7)
        while len(seen) < total:
            page = await store.find(query)
            seen.extend(stored.seq for stored in page.events)
            if page.events:
                after = page.next or await cursor_after(store, seen[-1])
                query = query.page_after(after)
            await asyncio.sleep(0)

    writers = [store.append([an_event(), an_event(), an_event()]) for _ in range(40)]
    await asyncio.gather(read_until(120), *writers)

    assert seen == sorted(seen)
    assert len(set(seen)) == 120


async def cursor_after(store: EventStore, seq: int) -> str:
    """The received-order cursor after a place."""
    return (await store.head()).rsplit(".", 2)[0] + f".{seq}.0"


async def test_what_is_not_there_is_not_found(store: EventStore) -> None:
    await store.append([an_event(id="e1")])

    for event_id in ("E1", "e", "", "e1\0", "\ud800"):
        with pytest.raises(NotFound):
            await store.get(event_id)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("01ABCDEF", ["01ABCDEFGH", "01abcdefgx", "x01ABCDEF"]),
        ("01abcdef", ["01ABCDEFGH", "01abcdefgx", "x01ABCDEF"]),
        ("FGH", ["01ABCDEFGH"]),
        ("strasse", ["Straße"]),
        ("%", []),
        ("_", ["a_"]),
        ("\\", []),
        ("\ud800", []),
    ],
)
async def test_ids_are_found_by_their_beginning_or_end(store: EventStore, text: str, found: list[str]) -> None:
    await store.append([an_event(id=id_) for id_ in ("01ABCDEFGH", "01abcdefgx", "x01ABCDEF", "Straße", "a_", "zz")])

    assert await store.ids_like(text, 10) == found
    assert await store.ids_like(text, 1) == found[:1]


async def test_head_is_after_the_last_event(store: EventStore) -> None:
    await store.append([an_event(), an_event()])
    head = await store.head()
    (new,) = await store.append([an_event()])

    page = await store.find(a_query(order="received", after=head))

    assert list(page.events) == [new.stored]
    assert (await store.find(a_query(order="received", after=await store.head()))).events == []


async def test_status_counts(store: EventStore) -> None:
    await store.append([an_event(id="a"), an_event(id="b"), an_event(id="c")])
    await store.archive(ids=["b"], at=NOON)

    status = await store.status()

    assert (status.events, status.archived, status.last_seq) == (3, 1, 3)
    assert status.kind
    assert status.location


async def test_a_closed_store_says_so(new_store: NewStore) -> None:
    async with new_store() as store:
        await store.append([an_event(id="e1")])

    for call in (store.append([an_event()]), store.get("e1"), store.find(a_query()), store.status(), store.head()):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call


async def test_an_event_that_says_it_is_archived_is_stored_so(store: EventStore) -> None:
    """What a copy from another store brings along."""
    event = an_event("Tip lost").changed(archived=True, archived_at=NOON)

    await store.append([event])

    assert [stored.event for stored in (await store.find(a_query(only_archived=True))).events] == [event]
    assert (await store.status()).archived == 1


def test_events_differ() -> None:
    """The factory makes events that no test can confuse."""
    assert isinstance(an_event(), Event)
    assert an_event().event_id != an_event().event_id
