"""A real lab's events, posted one by one as its nodes posted them, come back equal and are found."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests import lab_data
from tests.live_server import LiveServer


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    return lab_data.read(lab_data.RECORDING)


@pytest.fixture(scope="module")
def client(events: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server on SQLite that has taken them all."""
    folder = tmp_path_factory.mktemp("lab")
    with LiveServer(folder, environment={"EVENT_TIMEZONE": "UTC"}) as server, server.client() as client:
        for event in events:
            answer = client.post("/event", json=lab_data.as_sent(event))
            assert answer.headers["event-outcome"] == "stored", answer.text
        yield client


def instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def inner_type(event: dict[str, Any]) -> str | None:
    """The kind that MADSci's client hid in the data."""
    data = event["event_data"]
    return data.get("event_type") if isinstance(data, dict) else None


def test_every_field_comes_back_equal(client: httpx.Client, events: list[dict[str, Any]]) -> None:
    stored = client.get("/events", params={"number": 0}).json()

    assert len(stored) == len(events)
    for event in events:
        found = stored[event["_id"]]
        assert instant(found["event_timestamp"]) == instant(event["event_timestamp"])
        assert {name: found[name] for name in event if name != "event_timestamp"} == {
            name: value for name, value in event.items() if name != "event_timestamp"
        }


def test_newest_first(client: httpx.Client, events: list[dict[str, Any]]) -> None:
    stored = client.get("/events", params={"number": 0}).json()

    times = [instant(event["event_timestamp"]) for event in stored.values()]
    assert times == sorted(times, reverse=True)


def test_counts_are_those_of_the_file(client: httpx.Client, events: list[dict[str, Any]]) -> None:
    fields = ["log_level", "event_type", "kind", "node_id", "workflow_id", "alert"]
    found = client.get("/events/facets", params={"field": fields, "limit": 1000}).json()
    counts = {
        field: Counter({item["value"]: item["count"] for item in values}) for field, values in found["facets"].items()
    }
    level_names = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}

    assert found["total"] == len(events)
    assert found["truncated"] == []
    assert counts["log_level"] == Counter(level_names[event["log_level"]] for event in events)
    assert counts["event_type"] == Counter(event["event_type"] for event in events)
    assert counts["alert"] == Counter(str(event["alert"]).lower() for event in events)
    assert counts["kind"] == Counter(inner_type(event) or event["event_type"] for event in events)
    for field in ("node_id", "workflow_id"):
        assert counts[field] == Counter(found_id for event in events if (found_id := id_of(event, field)))


def id_of(event: dict[str, Any], field: str) -> str | None:
    """Where a look at the file finds it: in `source`, else in the data."""
    data = event["event_data"]
    found = event["source"].get(field) or (data.get(field) if isinstance(data, dict) else None)
    return found if isinstance(found, str) else None


def test_a_workflow_is_found_by_its_id(client: httpx.Client, events: list[dict[str, Any]]) -> None:
    [(workflow, count)] = Counter(filter(None, (id_of(event, "workflow_id") for event in events))).most_common(1)

    found = client.get("/events", params={"workflow_id": workflow, "number": 0}).json()

    assert set(found) == {event["_id"] for event in events if id_of(event, "workflow_id") == workflow}
    assert len(found) == count > 0


def test_a_node_is_found_by_its_name(client: httpx.Client, events: list[dict[str, Any]]) -> None:
    """By the name itself, and by the ids it was seen beside: those of the events it sent, and of those about it."""
    names = client.get("/events/names").json()["names"]
    ids = {seen["id"] for seen in names if (seen["field"], seen["name"]) == ("node_id", "liquidhandler_1")}
    expected = {
        event["_id"]
        for event in events
        if id_of(event, "node_id") in ids or id_of(event, "node_name") == "liquidhandler_1"
    }

    found = client.get("/events", params={"node": "liquidhandler_1", "number": 0}).json()

    assert ids
    assert expected
    assert expected <= set(found)
    for event_id in set(found) - expected:
        assert "liquidhandler_1" in json.dumps(found[event_id])


def test_pages_by_cursor_are_the_whole_once(client: httpx.Client, events: list[dict[str, Any]]) -> None:
    ids: list[str] = []
    answer = client.get("/events", params={"number": 77})
    while True:
        ids += answer.json()
        if "next" not in answer.links:
            break
        answer = client.get(answer.links["next"]["url"])

    assert ids == list(client.get("/events", params={"number": 0}).json())
