"""Order, pages and cursors."""

from datetime import timedelta
from typing import Any

import pytest

from madsci_event_server.errors import CursorExpired, InvalidQuery, QueryTimedOut
from madsci_event_server.event import EventLogLevel
from madsci_event_server.query import EventQuery
from madsci_event_server.storage.base import EventStore
from tests.contract.conftest import ADDRESSES, IN_MEMORY, NewStore
from tests.factories import NODES, NOON, a_query, an_event


async def ids(store: EventStore, **filters: Any) -> list[str]:
    """The ids of one page."""
    return [stored.event.event_id for stored in (await store.find(a_query(**filters))).events]


async def all_ids(store: EventStore, query: EventQuery) -> list[str]:
    """The ids of all pages from here on."""
    found = []
    while True:
        page = await store.find(query)
        found += [stored.event.event_id for stored in page.events]
        if page.next is None:
            return found
        query = query.page_after(page.next)


async def test_history_goes_by_event_time_newest_first(store: EventStore) -> None:
    """Ties go by received order."""
    for id_, seconds in (("b", 2), ("a", 1), ("c2", 3), ("c1", 3)):
        await store.append([an_event(id=id_, at=NOON + timedelta(seconds=seconds))])

    assert await ids(store) == ["c1", "c2", "b", "a"]
    assert await ids(store, order="time") == ["a", "b", "c2", "c1"]
    assert await ids(store, order="received") == ["b", "a", "c2", "c1"]


async def test_times_before_1970_and_far_ahead_are_in_order(store: EventStore) -> None:
    moments = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
    await store.append([an_event(id=str(n), event_timestamp=moment) for n, moment in enumerate(moments)])

    assert await all_ids(store, a_query(order="time", limit=1)) == ["0", "1", "2", "3"]
    assert await all_ids(store, a_query(order="-time", limit=1)) == ["3", "2", "1", "0"]


async def test_archived_events_go_by_when_they_were_archived(store: EventStore) -> None:
    await store.append([an_event(id=id_) for id_ in "abcd"])
    await store.archive(ids=["b"], at=NOON + timedelta(seconds=2))
    await store.archive(ids=["a", "c"], at=NOON + timedelta(seconds=1))

    assert await all_ids(store, a_query(only_archived=True, order="-archived", limit=1)) == ["b", "c", "a"]


@pytest.mark.parametrize("order", ["time", "-time", "received"])
@pytest.mark.parametrize("filters", [{}, {"level": "warning"}, {"node_id": [NODES[0]]}, {"search": "tip"}])
async def test_pages_neither_skip_nor_repeat(store: EventStore, order: str, filters: dict[str, Any]) -> None:
    """Every third event at the same instant as the one before."""
    await store.append(
        [
            an_event("tip", level="error", node_id=NODES[0], id=f"{n:02}", at=NOON + timedelta(seconds=n - n % 3))
            for n in range(20)
        ]
    )

    found = await all_ids(store, a_query(order=order, limit=3, **filters))

    assert found == sorted((f"{n:02}" for n in range(20)), reverse=order == "-time")


@pytest.mark.parametrize("order", ["time", "-time"])
async def test_pages_stay_whole_whatever_happens_meanwhile(store: EventStore, order: str) -> None:
    """Appends at the page's edge, raises and archiving of what was or will be read."""
    old = [an_event(id=f"{n:02}", at=NOON + timedelta(seconds=n), level="info") for n in range(12)]
    await store.append(old)
    query = a_query(order=order, limit=4, include_archived=True)
    page = await store.find(query)
    found = [stored.event.event_id for stored in page.events]

    for step in range(6):
        assert page.next is not None or len(found) >= 12
        if page.next is None:
            break
        await store.append([an_event(id=f"new {step}", at=NOON + timedelta(seconds=5, milliseconds=step))])
        await store.append([old[step].changed(log_level=EventLogLevel.ERROR)])
        await store.archive(ids=[f"{11 - step:02}"], at=NOON)
        page = await store.find(query.page_after(page.next))
        found += [stored.event.event_id for stored in page.events]

    assert len(found) == len(set(found))
    assert {id_ for id_ in found if not id_.startswith("new")} == {f"{n:02}" for n in range(12)}


async def test_a_raised_event_comes_again_in_received_order(store: EventStore) -> None:
    event = an_event(id="e1", level="info")
    await store.append([event, an_event(id="e2")])
    head = await store.head()
    await store.append([event.changed(alert=True)])

    assert await ids(store, order="received", after=head) == ["e1"]
    assert await ids(store, order="received") == ["e2", "e1"]


async def test_the_last_page_has_no_next(store: EventStore) -> None:
    await store.append([an_event(id="a"), an_event(id="b")])

    assert (await store.find(a_query(limit=2))).next is None
    assert (await store.find(a_query(limit=1))).next is not None


async def test_an_empty_store_finds_nothing(store: EventStore) -> None:
    assert await ids(store) == []
    assert await ids(store, kind=["workflow_*"], node=["arm"], search="tip") == []


async def test_a_cursor_of_another_store_has_expired(store: EventStore, new_store: NewStore) -> None:
    async with new_store() as other:
        await other.append([an_event(), an_event()])
        cursor = (await other.find(a_query(limit=1))).next

    with pytest.raises(CursorExpired, match="another store"):
        await store.find(a_query(after=cursor))


async def test_a_cursor_is_of_one_order_only(store: EventStore) -> None:
    with pytest.raises(InvalidQuery, match="another order"):
        await store.find(a_query(order="time", after=await store.head()))


async def test_text_that_is_no_cursor_is_refused(store: EventStore) -> None:
    with pytest.raises(InvalidQuery, match="not a cursor"):
        await store.find(a_query(after="yesterday"))


async def test_a_node_is_found_by_name_through_its_ids(store: EventStore) -> None:
    await store.append(
        [
            an_event(id="named", node_id=NODES[0], name="arm"),
            an_event(id="by id only", node_id=NODES[0]),
            an_event(id="by name only", node_name="arm"),
            an_event(id="another", node_id=NODES[1], name="other"),
        ]
    )

    found = await store.find(a_query(node=["arm"]).resolved(store.names_directory))
    others = await store.find(a_query(node=["!arm"]).resolved(store.names_directory))

    assert {stored.event.event_id for stored in found.events} == {"named", "by id only", "by name only"}
    assert {stored.event.event_id for stored in others.events} == {"another"}


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (1, ["float", "float in list", "int", "nested in list", "zeroes"]),
        (1.0, ["float", "float in list", "int", "nested in list", "zeroes"]),
        (True, ["true"]),
        (0, ["zeroes"]),
        (-0.0, ["zeroes"]),
        (None, ["missing", "null"]),
        ("A1", ["text"]),
        ("", ["empty"]),
        ("…", ["signs"]),
        ([1], ["float in list"]),
        ({"$gte": 1}, ["float", "float in list", "int", "large", "nested in list", "zeroes"]),
        ({"$gte": None}, ["missing", "null"]),
        ({"$exists": False}, ["missing"]),
        ({"$in": [1, "A1"]}, ["float", "float in list", "int", "nested in list", "text", "zeroes"]),
        ({"$in": [True, None]}, ["missing", "null", "true"]),
        ({"$in": []}, []),
        ({"$all": [0, 1]}, ["zeroes"]),
        ({"$ne": 1}, ["empty", "large", "missing", "null", "signs", "text", "true"]),
        (2**70, ["large"]),
        ({"$type": "bool"}, ["true"]),
        ({"$size": 2}, ["nested in list", "zeroes"]),
    ],
)
async def test_a_value_deep_in_event_data_is_found_whatever_it_is(
    store: EventStore, condition: object, found: list[str]
) -> None:
    values = {
        "int": 1,
        "float": 1.0,
        "true": True,
        "null": None,
        "text": "A1",
        "empty": "",
        "signs": "…",
        "zeroes": [-0.0, 1],
        "large": 2**70,
        "nested in list": [1, "x"],
        "float in list": [1.0],
    }
    await store.append([an_event(id=id_, steps=[{"well": value}]) for id_, value in values.items()])
    await store.append([an_event(id="missing", steps=[{"other": 1}])])

    assert sorted(await ids(store, selector={"event_data.steps.well": condition})) == sorted(found)


@pytest.mark.parametrize(
    "filters",
    [
        {"node_id": [f"none {n}" for n in range(900)] + [NODES[0]]},
        {"node_id": [f"!none {n}" for n in range(900)]},
        {"search": " ".join(f"-none{n}" for n in range(90))},
        {"search": "tip " + " ".join(f"-none{n}" for n in range(90))},
        {"selector": {"event_data.well": {"$in": [f"none {n}" for n in range(9000)] + ["A1"]}}},
        {"selector": {"source.node_id": {"$in": [f"none {n}" for n in range(9000)] + [NODES[0]]}}},
    ],
)
async def test_long_lists_of_values_are_no_trouble(store: EventStore, filters: dict[str, Any]) -> None:
    await store.append([an_event("tip", id="e1", node_id=NODES[0], well="A1")])

    assert await ids(store, **filters) == ["e1"]


async def test_long_words_are_found(store: EventStore) -> None:
    """Letters that fold into four and six make words far longer than what was sent."""
    four, six = "ﷲ", "㌖"
    await store.append(
        [an_event(text, id=id_) for id_, text in (("x", "x" * 4096 + "y"), ("four", four * 4000), ("six", six * 4000))]
    )

    assert await ids(store, search="x" * 900 + "*") == ["x"]
    assert await ids(store, search=four * 900 + "*") == ["four"]
    assert await ids(store, search=four * 900) == []
    assert await ids(store, search=six * 900) == []
    assert len(await ids(store, search="-" + six * 900)) == 3


@pytest.mark.parametrize("kind", sorted(set(ADDRESSES) - IN_MEMORY))
async def test_a_query_that_takes_too_long_is_not_half_an_answer(new_store: NewStore) -> None:
    async with new_store(query_seconds=0.0) as store:
        await store.append([an_event()])

        for call in (store.find(a_query()), store.facets(a_query(), ["kind"], 1), store.histogram(a_query(), 60)):
            with pytest.raises(QueryTimedOut, match="narrow"):
                await call
        assert (await store.status()).events == 1
