"""Our client and MADSci's own event manager 0.8.1, on a real MongoDB: what works, and what that server cannot do."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from madsci_event_cli import Event, EventClient
from tests.processes import WAIT_SECONDS, Process, ProcessEnded, free_port
from tests.server.madsci_clients.environments import MADSCI_2026, environment_of

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="its server and its database are set up for POSIX here"),
]

NODE = "01JJ4S0WNGEF5FQAZG5KDGJRBV"
WITH_SERVER = replace(MADSCI_2026, requirements=("madsci.event_manager==0.8.1", *MADSCI_2026.requirements))


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment that has MADSci's server; built before any test's time runs."""
    return environment_of(WITH_SERVER)


@pytest.fixture
def server(python: Path, mongodb_url: str, tmp_path: Path) -> Iterator[str]:
    lab = tmp_path / "lab"
    (lab / ".madsci").mkdir(parents=True)
    url = f"http://127.0.0.1:{free_port()}"
    settings = {
        "EVENT_SERVER_URL": f"{url}/",
        "EVENT_DOCUMENT_DB_URL": mongodb_url,
        "EVENT_ENABLE_REGISTRY_RESOLUTION": "false",
    }
    with Process([python, "-m", "madsci.event_manager.event_server"], cwd=lab, environment=settings) as process:
        wait_until_healthy(url, process)
        yield url


def wait_until_healthy(url: str, process: Process) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.TransportError:
            if not process.running:
                raise ProcessEnded(process.said) from None
        # There is no event to wait for: this looks at the server from outside.
        time.sleep(0.2)
    raise TimeoutError(process.said)


@pytest.fixture
def client(server: str, tmp_path: Path) -> Iterator[EventClient]:
    with EventClient(
        event_server=server, spool_directory=tmp_path / "spool", name="arm_1", source={"node_id": NODE}
    ) as made:
        yield made


def test_events_are_delivered_and_read_back(client: EventClient) -> None:
    ids = [client.info(f"number {number}", number=number, value=float("nan")) for number in range(100)]

    assert client.flush(60)
    found = client.get_events(number=200)
    assert [event_id for event_id in found if event_id in ids] == ids[::-1]
    assert found[str(ids[7])].event_data == {"message": "number 7", "number": 7, "value": "NaN"}
    assert found[str(ids[7])].ids["node_id"] == NODE
    assert client.get_event(str(ids[3])).message == "number 3"
    assert set(ids) <= set(client.query_events({"source": {"node_id": NODE}}))


def test_types_and_alerts_arrive(client: EventClient) -> None:
    started = client.info("go", event_type="workflow_start")
    client.alert("fire")

    assert client.flush(60)
    assert started in client.query_events({"event_type": "workflow_start"})
    assert [event.message for event in client.query_events({"alert": True}).values()] == ["fire"]


def test_archiving_works(client: EventClient) -> None:
    event_id = str(client.info("old"))

    assert client.flush(60)
    assert client.archive_events(event_ids=[event_id]) == {"archived_count": 1}
    assert client.purge_events(older_than_days=0) == {"deleted_count": 1}


def test_what_it_cannot_hold_is_set_aside_and_said(client: EventClient, caplog: pytest.LogCaptureFixture) -> None:
    """It knows only its own types; and it keeps neither names nor a raised level."""
    client.info("before")
    client.info("of our own", event_type="our_own_type")
    event = Event(event_type="node_create", event_data="once")
    client.log(event)
    client.log_error(event)

    assert client.flush(60)
    [aside] = [json.loads(line) for line in (client.status().directory / "set_aside.jsonl").read_text().splitlines()]
    assert json.loads(aside["event"])["event_type"] == "our_own_type"
    assert aside["reason"].startswith("422 ")
    assert "refused an event" in caplog.text
    assert client.get_event(event.event_id).log_level == 20
    assert all(event.source_value("name") is None for event in client.get_events().values())
