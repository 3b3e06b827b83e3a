"""Facets, histogram and names."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from madsci_event_server.errors import InvalidQuery
from madsci_event_server.event import EventLogLevel
from madsci_event_server.storage.base import EventStore, SeenName
from tests.contract.conftest import NewStore
from tests.factories import NODES, NOON, a_query, an_event

INFO, ERROR = EventLogLevel.INFO, EventLogLevel.ERROR


async def counts(store: EventStore, field: str, limit: int = 10, **filters: Any) -> list[tuple[str, int]]:
    found = await store.facets(a_query(**filters), [field], limit)
    return [(one.value, one.count) for one in found.facets[field]]


@pytest.fixture
async def lab(store: EventStore) -> EventStore:
    """Six events over three minutes: of two nodes, at two levels, one archived."""
    await store.append(
        [
            an_event("Tip lost", id="a", level="error", node_id=NODES[0], at=NOON, host="h"),
            an_event("Tip found", id="b", node_id=NODES[0], at=NOON + timedelta(seconds=59)),
            an_event("Plate in", id="c", node_id=NODES[1], at=NOON + timedelta(seconds=60), alert=True),
            an_event("Plate out", id="d", node_id=NODES[1], at=NOON + timedelta(seconds=150), type="workflow_start"),
            an_event("Plate lost", id="e", source={"host": 4}, at=NOON + timedelta(seconds=150), level="error"),
            an_event("Old", id="f", level="critical", at=NOON),
        ]
    )
    await store.archive(ids=["f"], at=NOON)
    return store


async def test_values_are_counted_largest_first(lab: EventStore) -> None:
    assert await counts(lab, "log_level") == [("INFO", 3), ("ERROR", 2)]
    assert await counts(lab, "node_id") == [(NODES[0], 2), (NODES[1], 2)]
    assert await counts(lab, "alert") == [("false", 4), ("true", 1)]
    assert await counts(lab, "kind") == [("unknown", 4), ("workflow_start", 1)]
    assert await counts(lab, "source.host") == [("4", 1)]
    assert await counts(lab, "user_id") == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"include_archived": True}, [("INFO", 3), ("ERROR", 2), ("CRITICAL", 1)]),
        ({"only_archived": True}, [("CRITICAL", 1)]),
        ({"level": "error"}, [("ERROR", 2)]),
        ({"node_id": [NODES[0]]}, [("ERROR", 1), ("INFO", 1)]),
        ({"search": "plate"}, [("INFO", 2), ("ERROR", 1)]),
        ({"search": "-lost"}, [("INFO", 3)]),
        ({"regex": "^Tip"}, [("ERROR", 1), ("INFO", 1)]),
        ({"since": NOON + timedelta(seconds=59), "until": NOON + timedelta(seconds=150)}, [("INFO", 2)]),
        ({"alert": False, "node_id": [f"!{NODES[0]}"]}, [("ERROR", 1), ("INFO", 1)]),
        ({"kind": ["nothing"]}, []),
    ],
)
async def test_only_what_matches_is_counted(
    lab: EventStore, filters: dict[str, Any], expected: list[tuple[str, int]]
) -> None:
    assert await counts(lab, "log_level", **filters) == expected
    found = await lab.facets(a_query(**filters), ["log_level"], 10)
    assert found.total == sum(count for _, count in expected)


async def test_what_is_left_out_is_named(lab: EventStore) -> None:
    found = await lab.facets(a_query(), ["log_level", "alert", "user_id"], 1)

    assert [len(found.facets[field]) for field in ("log_level", "alert", "user_id")] == [1, 1, 0]
    assert set(found.truncated) == {"log_level", "alert"}
    assert found.total == 5


async def test_what_cannot_be_counted_is_refused(lab: EventStore) -> None:
    for field in ("event_data.well", "event_id", "source.", ""):
        with pytest.raises(InvalidQuery, match="cannot be counted"):
            await lab.facets(a_query(), [field], 10)


async def test_a_histogram_is_aligned_and_zero_filled(lab: EventStore) -> None:
    buckets = await lab.histogram(a_query(), 30)

    assert [(bucket.start - NOON).seconds for bucket in buckets] == [0, 30, 60, 90, 120, 150]
    assert [dict(bucket.counts) for bucket in buckets] == [
        {ERROR: 1},
        {INFO: 1},
        {INFO: 1},
        {},
        {},
        {INFO: 1, ERROR: 1},
    ]


async def test_a_histogram_covers_the_time_asked_for(lab: EventStore) -> None:
    since = NOON - timedelta(seconds=61)

    buckets = await lab.histogram(a_query(since=since, until=NOON + timedelta(seconds=60), level="error"), 60)

    assert [bucket.start for bucket in buckets] == [NOON + timedelta(minutes=minutes) for minutes in (-2, -1, 0)]
    assert [dict(bucket.counts) for bucket in buckets] == [{}, {}, {ERROR: 1}]


@pytest.mark.parametrize(
    "filters", [{}, {"node_id": [NODES[0]]}, {"node": [NODES[0], "arm"]}, {"search": "tip"}, {"alert": False}]
)
async def test_too_many_buckets_are_refused_with_an_interval_that_will_do(
    lab: EventStore, filters: dict[str, Any]
) -> None:
    await lab.append([an_event("tip", node_id=NODES[0], at=NOON + timedelta(days=1))])

    with pytest.raises(InvalidQuery, match=r"use interval=120 or a shorter") as refused:
        await lab.histogram(a_query(**filters), 1)

    assert refused.value.field == "interval"
    assert len(await lab.histogram(a_query(**filters), 120)) == 721


@pytest.mark.parametrize("interval", [0, -60])
async def test_an_interval_that_is_none_is_refused(lab: EventStore, interval: int) -> None:
    with pytest.raises(InvalidQuery, match="interval"):
        await lab.histogram(a_query(), interval)


async def test_an_empty_histogram_is_empty(store: EventStore) -> None:
    assert await store.histogram(a_query(), 60) == []
    assert len(await store.histogram(a_query(since=NOON, until=NOON + timedelta(minutes=3)), 60)) == 3


async def test_a_histogram_reaches_before_1970(store: EventStore) -> None:
    await store.append([an_event(at=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))])

    (bucket,) = await store.histogram(a_query(), 60)

    assert bucket.start == datetime(1969, 12, 31, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize("interval", [7 * 86400, 366 * 86400, 10_000 * 366 * 86400])
async def test_a_bucket_begins_no_earlier_than_the_calendar(store: EventStore, interval: int) -> None:
    first = datetime.min.replace(tzinfo=UTC)
    await store.append([an_event(at=first), an_event(at=datetime.max.replace(tzinfo=UTC))])

    (bucket,) = await store.histogram(a_query(until=first + timedelta(days=1)), interval)
    (latest,) = await store.histogram(a_query(since=NOON), interval)

    assert bucket.start == first
    assert (sum(bucket.counts.values()), sum(latest.counts.values())) == (1, 1)


async def test_names_are_known_latest_first(store: EventStore) -> None:
    await store.append([an_event(node_id=NODES[0], name="arm", at=NOON + timedelta(seconds=5))])
    await store.append(
        [
            an_event(node_id=NODES[0], name="arm", at=NOON),
            an_event(manager_id=NODES[1], component_name="Workcell", at=NOON + timedelta(seconds=9)),
        ]
    )

    assert await store.names() == [
        SeenName("manager_id", NODES[1], "Workcell", NOON + timedelta(seconds=9)),
        SeenName("node_id", NODES[0], "arm", NOON + timedelta(seconds=5)),
    ]
    assert set(store.names_directory.ids_of("node_id", "arm")) == {NODES[0]}
    assert set(store.names_directory.ids_of("node_id", "leg")) == set()


async def test_a_store_without_names_says_so(new_store: NewStore) -> None:
    async with new_store() as store:
        assert await store.names() == []
