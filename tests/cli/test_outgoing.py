"""What a log call makes of what it is given: whole, in its place, and nothing overwritten."""

import json
import re
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from ulid import ULID

from madsci_event_cli import Event, EventLogLevel, EventType
from madsci_event_cli.sending.event_ids import new_event_id
from madsci_event_cli.sending.outgoing import (
    MAX_EVENT_BYTES,
    Outgoing,
    as_sent,
    as_whole_event,
    bound_context,
    encode_line,
    event_in,
    level_number,
)

NODE = "01JJ4S0WNGEF5FQAZG5KDGJRBV"
WORKFLOW = "01JTESTAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
def outgoing() -> Outgoing:
    return Outgoing({"name": "arm_1", "host": "bench-3", "node_id": NODE, "lab_id": None})


def logged(outgoing: Outgoing, what: Any, level: int = 20, /, **keywords: Any) -> dict[str, Any]:
    """The event as the server parses it."""
    found: dict[str, Any] = json.loads(encode_line(outgoing.event(what, level, {}, keywords, alert=False)))
    return found


def test_a_text_is_the_message_beside_its_keywords(outgoing: Outgoing) -> None:
    event = logged(outgoing, "plate 7 loaded", 30, volume=1.5)

    assert event["event_data"] == {"message": "plate 7 loaded", "volume": 1.5}
    assert (event["event_type"], event["log_level"], event["alert"]) == ("log_warning", 30, False)
    assert event["source"] == {"name": "arm_1", "host": "bench-3", "node_id": NODE}


def test_an_event_is_one_that_the_server_takes_as_it_is(outgoing: Outgoing) -> None:
    event = logged(outgoing, "hello", answer=42)

    assert {name: Event.sent(event).wire()[name] for name in event} == event


@pytest.mark.parametrize(
    "event_type", [EventType.WORKFLOW_START, "workflow_start", "WORKFLOW_START", "EventType.WORKFLOW_START"]
)
def test_event_type_sets_the_type(outgoing: Outgoing, event_type: Any) -> None:
    event = logged(outgoing, "go", event_type=event_type)

    assert event["event_type"] == "workflow_start"
    assert "event_type" not in event["event_data"]


def test_what_cannot_be_a_type_is_kept_as_data(outgoing: Outgoing) -> None:
    event = logged(outgoing, "go", event_type="no such/type!")

    assert event["event_type"] == "log_info"
    assert event["event_data"]["event_type"] == "no such/type!"


@pytest.mark.parametrize("data", [{"temperature": 5}, {"event_type": "X", "temperature": 5}, {}, [1, 2]])
def test_data_comes_back_whole(outgoing: Outgoing, data: Any) -> None:
    assert as_whole_event(data) is None
    assert logged(outgoing, data)["event_data"] == data


@pytest.mark.parametrize("value", [5, None, True, 2.5])
def test_any_other_value_is_the_message(outgoing: Outgoing, value: Any) -> None:
    assert logged(outgoing, value, step=3)["event_data"] == {"message": value, "step": 3}


def test_data_that_is_no_object_stands_beside_keywords(outgoing: Outgoing) -> None:
    assert logged(outgoing, [1, 2], step=3)["event_data"] == {"data": [1, 2], "step": 3}


def test_keywords_never_overwrite(outgoing: Outgoing) -> None:
    event = logged(
        outgoing, "one", message="two", level="high", self="me", traceback="mine", exc_info=ValueError("three")
    )

    data = event["event_data"]
    assert (data["message"], data["message_"], data["level"], data["self"]) == ("one", "two", "high", "me")
    assert data["traceback"] == "mine"
    assert "ValueError: three" in data["traceback_"]


def test_an_exception_that_was_never_raised_keeps_its_message(outgoing: Outgoing) -> None:
    data = logged(outgoing, ValueError("no tip"), 40)["event_data"]

    assert data == {
        "message": "no tip",
        "exception": {"type": "ValueError", "message": "no tip"},
        "traceback": "ValueError: no tip",
    }


@pytest.mark.parametrize("how", ["true", "exception", "tuple"])
def test_exc_info_is_the_traceback(outgoing: Outgoing, how: str) -> None:
    try:
        _ = dict[str, int]()["well A9"]
    except KeyError as error:
        asked = {"true": True, "exception": error, "tuple": sys.exc_info()}[how]
        data = logged(outgoing, "aspirate failed", 40, exc_info=asked)["event_data"]

    assert data["message"] == "aspirate failed"
    assert data["exception"] == {"type": "KeyError", "message": "'well A9'"}
    assert data["traceback"].startswith("Traceback (most recent call last):")
    assert "exc_info" not in data


@pytest.mark.parametrize("value", [object(), b"\xff", {1, 2}, float("nan"), ValueError("x"), datetime.now(UTC)])
def test_a_value_json_cannot_hold_does_not_cost_the_event(outgoing: Outgoing, value: Any) -> None:
    data = logged(outgoing, "measured", value=value)["event_data"]

    assert data["message"] == "measured"
    assert data["value"]


def test_context_of_the_task_and_of_the_client_is_carried(outgoing: Outgoing) -> None:
    with bound_context(workflow_id=WORKFLOW, step=1), bound_context(step=2):
        event = outgoing.event("go", 20, {"bound": True}, {}, alert=False)
    after = outgoing.event("go", 20, {}, {}, alert=False)

    assert event["event_data"] == {"message": "go", "bound": True, "workflow_id": WORKFLOW, "step": 2}
    assert Event.sent(event).ids["workflow_id"] == WORKFLOW
    assert after["event_data"] == {"message": "go"}


def test_what_a_call_says_goes_before_context(outgoing: Outgoing) -> None:
    with bound_context(step=1):
        assert outgoing.event({"step": 2}, 20, {}, {}, alert=False)["event_data"] == {"step": 2}


@pytest.mark.parametrize(
    ("data", "where"),
    [({"a": 1}, lambda event: event["event_data"]), ("text", lambda event: event["source"])],
    ids=["in the data", "in the source"],
)
def test_a_whole_event_carries_the_ids_of_its_context(outgoing: Outgoing, data: Any, where: Any) -> None:
    with bound_context(workflow_id=WORKFLOW):
        event = outgoing.whole({"event_data": data}, None, {}, {})

    assert where(event)["workflow_id"] == WORKFLOW
    assert Event.sent(event).ids["workflow_id"] == WORKFLOW


def test_an_event_object_is_sent_as_it_is() -> None:
    event = Event(
        event_type="node_create", log_level=EventLogLevel.DEBUG, event_data=[1], source={"name": "me"}, mine=1
    )
    fields = as_whole_event(event)

    assert fields is not None
    assert Event.sent(as_sent(fields)).model_dump(exclude={"received_at"}) == event.model_dump(exclude={"received_at"})


@pytest.mark.parametrize(
    "document",
    [
        {"event_type": "node_create", "event_data": {}},
        {"event_type": "node_create"},
        {"event_data": "text", "log_level": 10},
        {"_id": "x", "event_data": 1, "unknown": 2},
    ],
)
def test_a_dict_of_an_event_is_one_and_so_is_its_json(document: Any) -> None:
    assert as_whole_event(document) == event_in(json.dumps(document)) == document


@pytest.mark.parametrize("text", ["{", "{}", '{"message": "x"}', "{not json", "plain", ""])
def test_other_text_is_a_message(outgoing: Outgoing, text: str) -> None:
    assert as_whole_event(text) is None
    assert event_in(text) is None
    assert logged(outgoing, text)["event_data"] == {"message": text}


def test_a_whole_event_keeps_its_id_and_leaves_the_servers_fields_to_the_server() -> None:
    event = as_sent(
        {"_id": "mine", "event_data": 1, "archived": True, "archived_at": "2026-01-01T00:00:00Z", "received_at": "x"}
    )

    assert event == {"event_id": "mine", "event_data": 1, "event_timestamp": event["event_timestamp"]}


def test_a_naive_time_is_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 5, 1, 12, 0)  # noqa: DTZ001 - MADSci's events have no zone

    assert as_sent({"event_timestamp": moment})["event_timestamp"] == moment.astimezone(UTC).strftime(
        "%Y-%m-%dT%H:%M:%S.%fZ"
    )


def test_an_event_without_a_source_gets_the_clients(outgoing: Outgoing) -> None:
    assert outgoing.whole({"source": {}, "event_data": 1}, None, {}, {})["source"]["name"] == "arm_1"
    assert outgoing.whole({"source": {"node_id": NODE}, "event_data": 1}, None, {}, {})["source"] == {"node_id": NODE}


def test_an_event_beyond_all_bounds_is_cut_and_says_so(outgoing: Outgoing) -> None:
    line = encode_line(outgoing.event("x" * MAX_EVENT_BYTES, 20, {}, {}, alert=False))
    event = json.loads(line)

    assert len(line) < 20_000
    assert event["event_data"]["cut_from_bytes"] > MAX_EVENT_BYTES
    assert event["event_data"]["message"].startswith("xxx")


@pytest.mark.parametrize(
    ("level", "number"),
    [
        ("info", 20),
        ("WARN", 30),
        ("EventLogLevel.ERROR", 40),
        (EventLogLevel.DEBUG, 10),
        (25, 20),
        (5, 10),
        (0, 0),
        (99, 50),
        (-3, 0),
        (40.0, 40),
        ("30", 30),
        ("loud", 20),
        (None, 20),
        (float("nan"), 20),
    ],
)
def test_any_level_is_one_of_the_six(level: Any, number: int) -> None:
    assert level_number(level) == number


def test_ids_are_ulids_that_sort_as_they_were_made() -> None:
    ids = [new_event_id() for _ in range(5000)]

    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", event_id) for event_id in ids)
    assert abs(ULID.from_str(ids[0]).datetime - datetime.now(UTC)).total_seconds() < 60
