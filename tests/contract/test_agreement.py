"""For any events and any query a store finds and counts exactly what `matches` says, in the query's order."""

import re
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madsci_event_server import counting
from madsci_event_server.errors import InvalidQuery
from madsci_event_server.event import Event, time_to_us
from madsci_event_server.query import EventQuery
from madsci_event_server.storage.base import FACET_FIELDS, EventStore, StoredEvent
from tests.contract.conftest import ADDRESSES, NewStore
from tests.factories import NOON, event_lists, queries


def examples(count: int) -> settings:
    """Hypothesis with so many examples; each opens a store of its own, so the fixture may be shared by them."""
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


FIELDS = (*FACET_FIELDS, "source.host", "source.node_id", "source.name", "source.nothing")


async def everything(store: EventStore) -> list[StoredEvent]:
    """All that is stored, in received order."""
    page = await store.find(EventQuery(order="received", include_archived=True, limit=10_000))
    return list(page.events)


def place(query: EventQuery, stored: StoredEvent) -> tuple[int, int]:
    """Where the contract puts an event in the query's order."""
    if query.order == "received":
        return (0, stored.seq)
    if query.order == "-archived":
        assert stored.event.archived_at is not None
        return (time_to_us(stored.event.archived_at), stored.first_seq)
    return (stored.time_us, stored.first_seq)


async def paged(store: EventStore, query: EventQuery) -> list[StoredEvent]:
    """All pages of a query; each but the last is full."""
    found: list[StoredEvent] = []
    while True:
        page = await store.find(query)
        found += page.events
        if page.next is None:
            return found
        assert len(page.events) == query.limit
        query = query.page_after(page.next)


any_events_and_queries = given(
    batches=st.lists(event_lists(), min_size=1, max_size=3),
    archived=st.sets(st.sampled_from(("e1", "e2", "é3"))),
    asked=st.lists(queries(), min_size=1, max_size=6),
    interval=st.sampled_from((1, 60, 86400 * 30)),
)


@pytest.mark.parametrize("kind", sorted(set(ADDRESSES) - {"mongodb-standalone"}))
@examples(25)
@any_events_and_queries
async def test_what_is_found_is_what_matches(
    new_store: NewStore, batches: list[list[Event]], archived: set[str], asked: list[EventQuery], interval: int
) -> None:
    await check_agreement(new_store, batches, archived, asked, interval)


@pytest.mark.parametrize("kind", ["mongodb-standalone"])  # it finds as a replica set does, but for received order
@examples(8)
@any_events_and_queries
async def test_what_is_found_is_what_matches_without_transactions_too(
    new_store: NewStore, batches: list[list[Event]], archived: set[str], asked: list[EventQuery], interval: int
) -> None:
    await check_agreement(new_store, batches, archived, asked, interval)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@examples(600)
@any_events_and_queries
async def test_what_is_found_is_what_matches_however_long_one_looks(
    new_store: NewStore, batches: list[list[Event]], archived: set[str], asked: list[EventQuery], interval: int
) -> None:
    await check_agreement(new_store, batches, archived, asked, interval)


async def check_agreement(
    new_store: NewStore, batches: list[list[Event]], archived: set[str], asked: list[EventQuery], interval: int
) -> None:
    async with new_store() as store:
        for position, batch in enumerate(batches):
            await store.append(batch)
            await store.archive(ids=archived, at=NOON + timedelta(seconds=position))
        oracle = await everything(store)

        for query in asked:
            resolved = query.resolved(store.names_directory)
            expected = [stored for stored in oracle if resolved.matches(stored.event)]
            backwards = query.order.startswith("-")
            in_order = sorted(expected, key=lambda stored: place(query, stored), reverse=backwards)
            assert await paged(store, resolved) == in_order
            await check_facets(store, resolved, expected)
            await check_histogram(store, resolved, expected, interval)


async def check_facets(store: EventStore, query: EventQuery, expected: list[StoredEvent]) -> None:
    facets = await store.facets(query, FIELDS, 2)

    assert facets.total == len(expected)
    for field in FIELDS:
        counts = Counter(value for stored in expected if (value := value_of(stored.event, field)) is not None)
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        assert [(one.value, one.count) for one in facets.facets[field]] == ordered[:2]
        assert (field in facets.truncated) == (len(ordered) > 2)


def value_of(event: Event, field: str) -> str | None:
    """What a facet counts of an event."""
    if field == "log_level":
        return event.log_level.name
    if field == "alert":
        return str(event.alert).lower()
    if field.startswith("source."):
        return event.source_value(field.removeprefix("source."))
    return event.ids.get(field) if field.endswith("_id") else getattr(event, field)


async def check_histogram(store: EventStore, query: EventQuery, expected: list[StoredEvent], interval: int) -> None:
    counts = Counter(
        (counting.bucket_start_us(stored.time_us, interval), int(stored.event.log_level)) for stored in expected
    )
    try:
        buckets = counting.fill(counts, interval, query.time_range_us)
    except InvalidQuery as too_many:
        with pytest.raises(InvalidQuery, match=re.escape(str(too_many))):
            await store.histogram(query, interval)
    else:
        assert await store.histogram(query, interval) == buckets


@examples(40)
@given(batch=event_lists())
async def test_what_is_put_in_comes_back(new_store: NewStore, batch: list[Event]) -> None:
    async with new_store() as store:
        appended = await store.append(batch)

        first = {event.event_id: event for event in reversed(batch)}
        for event, one in zip(batch, appended, strict=True):
            stored = await store.get(event.event_id)
            document, sent = stored.event.wire(), first[event.event_id].wire()
            assert stored.event.encode() == stored.body
            assert one.stored.first_seq == stored.first_seq
            assert without_what_a_raise_changes(document) == without_what_a_raise_changes(sent)


def without_what_a_raise_changes(document: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in document.items() if name not in ("log_level", "alert")}
