"""`store copy` from a database that MADSci's real event manager wrote, on a real MongoDB."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from madsci_event_server.storage import open_store
from tests.factories import NODES, a_query
from tests.mongod import Mongod
from tests.processes import Process, free_port
from tests.server.madsci_clients.environments import MADSCI_2026_SERVER, environment_of

START_SECONDS = 60

SENT: list[dict[str, Any]] = [
    {
        "event_id": "01JTESTAAAAAAAAAAAAAAAAAA1",
        "event_type": "WORKFLOW_START",
        "log_level": 40,
        "event_timestamp": "2026-11-23T06:00:00",
        "source": {"node_id": NODES[0]},
        "event_data": {"message": "Tip lost", "n": 1.5, "$odd.key": [None, {"a": 2**53}]},
    },
    {"event_id": "any text", "event_timestamp": "2026-11-23T12:00:00+05:00", "event_data": "text"},
    {"event_id": "01JTESTAAAAAAAAAAAAAAAAAA2", "event_timestamp": 1763881200, "event_data": {}},
    {"event_id": "01JTESTAAAAAAAAAAAAAAAAAA3", "event_timestamp": "2026-11-23T06:00:01", "archived": True},
    {"event_id": "", "event_timestamp": "2026-11-23T06:00:02", "event_data": {"message": "an id of nothing"}},
]


@pytest.fixture(scope="module")
def madsci_manager(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """MADSci's event manager 0.8.1 on the shared MongoDB, which it uses for `madsci_events`."""
    port, folder = free_port(), tmp_path_factory.mktemp("madsci")
    environment = {"EVENT_SERVER_URL": f"http://127.0.0.1:{port}/", "EVENT_DB_URL": mongod.url}
    command = [str(environment_of(MADSCI_2026_SERVER)), "-m", "madsci.event_manager.event_server"]
    with (
        Process(command, cwd=folder, environment=dict(os.environ) | environment) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        wait_until_up(client, process)
        yield client


def wait_until_up(client: httpx.Client, process: Process) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if client.get("/health").json()["db_connected"]:
                return
        except httpx.TransportError:
            assert process.running, process.said
            assert time.monotonic() < deadline, process.said
        time.sleep(0.1)  # another's program: it can only be looked at from outside


def sent_to(manager: httpx.Client) -> dict[str, Any]:
    """Has MADSci store the events and archive one; all that it then has."""
    for event in SENT:
        manager.post("/event", json=event).raise_for_status()
    manager.post("/events/archive", json={"event_ids": ["any text"]}).raise_for_status()
    found: dict[str, Any] = manager.post("/events/query", json={}).json()
    return found


async def test_what_madsci_stored_becomes_events(madsci_manager: httpx.Client, mongod: Mongod, lab: Path) -> None:
    stored = sent_to(madsci_manager)

    copied = copy(mongod.url.replace("/?", "/madsci_events?"))

    assert copied["events"] == copied["copied"] == len(stored)
    async with open_store("sqlite:///lab.db", lab_directory=lab) as store:
        found = (await store.find(a_query(include_archived=True, limit=1000))).events
        assert len(found) == len(stored)
        first = (await store.get(SENT[0]["event_id"])).event.wire()
        assert first["event_data"] == SENT[0]["event_data"]
        assert (first["event_type"], first["log_level"], first["source"]) == (
            "workflow_start",
            40,
            {"node_id": NODES[0]},
        )
        assert first["event_timestamp"] == "2026-11-23T12:00:00.000000Z"
        zoned = (await store.get("any text")).event
        assert zoned.wire()["event_timestamp"] == "2026-11-23T07:00:00.000000Z"
        assert zoned.archived_at is not None
        assert (await store.get(SENT[2]["event_id"])).event.wire()["event_timestamp"] == "2025-11-23T07:00:00.000000Z"
        assert (await store.get(SENT[3]["event_id"])).event.archived
        (nameless,) = (await store.find(a_query(search="nothing"))).events
        assert "an id of nothing" in json.dumps(nameless.event.event_data)


def copy(source: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "madsci_event_cli", "store", "copy", source, "sqlite:///lab.db"]
    done = subprocess.run(
        [*command, "--timezone", "America/Chicago", "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
