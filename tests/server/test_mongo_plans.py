"""Searches and counts go along indexes: asserted on what MongoDB's own profiler says of what the store asked it."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest

from madsci_event_server.query import EventQuery
from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import EventStore
from tests.factories import NODES, NOON, SERVED_BY_AN_INDEX, WORKFLOW, a_query, one_of_many
from tests.mongod import Mongod

EVENTS = 2000
PAGE = 20


@pytest.fixture(scope="module")
def url(mongod: Mongod) -> str:
    """A store with some of everything; MongoDB keeps a record of what it is asked."""
    database = mongod.new_database()
    asyncio.run(fill(database))
    with pymongo.MongoClient[dict[str, Any]](database) as client:
        client.get_default_database().command("profile", 2)
    return database


async def fill(database: str) -> None:
    async with open_store(database, lab_directory=Path.cwd()) as store:
        await store.append(
            [
                one_of_many(n, message=f"Tip {n} lost" if n % 10 else "Zirconium lost", at=NOON + timedelta(seconds=n))
                for n in range(EVENTS)
            ]
        )
        await store.archive(before=NOON + timedelta(seconds=200), at=NOON)


async def asked(store: EventStore, url: str, question: Any) -> list[dict[str, Any]]:
    """What MongoDB says of each operation on the events that the question made."""
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        profile = client.get_default_database()["system.profile"]
        before = await asyncio.to_thread(profile.count_documents, {})
        await question
        found = await asyncio.to_thread(lambda: list(profile.find(sort=[("$natural", 1)])))
    return [row for row in found[before:] if row["ns"].endswith(".event_log")]


@pytest.mark.parametrize(
    "filters",
    [
        *SERVED_BY_AN_INDEX,
        {"name": ["leg"]},
        {"since": NOON + timedelta(seconds=900)},
        {"until": NOON + timedelta(seconds=1500)},
        {"only_archived": True},
        {"include_archived": True},
        {"level": "error", "node_id": [NODES[1]]},
        {"log_level": ["info"], "workflow_id": [WORKFLOW], "include_archived": True},
    ],
    ids=str,
)
async def test_a_page_newest_first_reads_no_more_events_than_it_shows(url: str, filters: dict[str, Any]) -> None:
    async with open_store(url, lab_directory=Path.cwd()) as store:
        query = a_query(**filters, limit=PAGE).resolved(store.names_directory)
        operations = await asked(store, url, store.find(query))

    assert operations
    for operation in operations:
        assert "COLLSCAN" not in operation["planSummary"]
        assert not operation.get("hasSortStage")
        # One more tells that there is more.
        assert operation["nreturned"] == PAGE + 1
        assert operation["docsExamined"] <= 2 * (PAGE + 1)


async def test_what_many_events_have_in_common_is_counted_without_reading_one(url: str) -> None:
    fields = ("log_level", "kind", "event_type", "name", "alert", "node_id", "manager_id")
    async with open_store(url, lab_directory=Path.cwd()) as store:
        for query in (EventQuery(), a_query(level="error", since=NOON + timedelta(seconds=500))):
            for question in (store.facets(query, fields, 10), store.histogram(query, 3600)):
                operations = await asked(store, url, question)

                assert operations
                assert {operation["docsExamined"] for operation in operations} == {0}
