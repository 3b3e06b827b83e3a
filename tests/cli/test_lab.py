"""The events of a real lab, found from the command line as a look at the file finds them."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runs import run_here
from tests.live_server import LiveServer

LAB = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "lab_events_sample.jsonl").read_text().splitlines()
]


@pytest.fixture(scope="module")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that holds the lab's events."""
    with LiveServer(tmp_path_factory.mktemp("server"), db="memory:") as server:
        with server.client() as client:
            for event in LAB:
                client.post("/event", json=event).raise_for_status()
        yield server.url


def data(event: dict[str, Any]) -> dict[str, Any]:
    """What was logged, where it is an object."""
    found = event["event_data"]
    return found if isinstance(found, dict) else {}


def found_by(*arguments: str, server: str) -> list[str]:
    """The ids a query finds, sorted."""
    return sorted(run_here("query", "--all", "--fields", "event_id", *arguments, server=server).lines)


def ids(events: list[dict[str, Any]]) -> list[str]:
    return sorted(event["_id"] for event in events)


def test_every_event_comes_back_as_it_was_sent(lab_server: str) -> None:
    answered = json.loads(run_here("query", "--all", "-o", "json", server=lab_server).out)

    sent = {event["_id"]: (event["event_data"], event["source"], event["log_level"]) for event in LAB}
    assert {event["_id"]: (event["event_data"], event["source"], event["log_level"]) for event in answered} == sent


def test_a_workflow_is_found_by_its_id(lab_server: str) -> None:
    counted = Counter(str(data(event)["workflow_id"]) for event in LAB if data(event).get("workflow_id"))
    assert counted
    for workflow, _ in counted.most_common(3):
        expected = ids([event for event in LAB if data(event).get("workflow_id") == workflow])
        assert found_by("--workflow-id", workflow, server=lab_server) == expected


@pytest.mark.parametrize("node", ["liquidhandler_1", "advanced_example_node"])
def test_a_node_is_found_by_its_name(node: str, lab_server: str) -> None:
    named = [event for event in LAB if data(event).get("component_name") == f"node.{node}"]
    node_ids = {event["source"]["node_id"] for event in named if "node_id" in event["source"]}
    about = [
        event
        for event in LAB
        if data(event).get("node_name", str(data(event).get("component_name")).removeprefix("node.")) == node
        or event["source"].get("node_id", data(event).get("node_id")) in node_ids
    ]

    assert named
    assert found_by("--node", node, server=lab_server) == ids(about)


@pytest.mark.parametrize("kind", ["workflow_start", "action_status_change", "workflow_step_failed"])
def test_a_kind_is_found_wherever_it_was_put(kind: str, lab_server: str) -> None:
    expected = [event for event in LAB if kind in (event["event_type"], data(event).get("event_type"))]

    assert expected
    assert found_by("--type", kind, server=lab_server) == ids(expected)


@pytest.mark.parametrize(("level", "least"), [("debug", 10), ("warning", 30), ("critical", 50)])
def test_a_level_and_above(level: str, least: int, lab_server: str) -> None:
    assert found_by("--level", level, server=lab_server) == ids([e for e in LAB if e["log_level"] >= least])
