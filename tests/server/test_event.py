"""The wire contract: what may be sent, what comes back, and what an event is about."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madsci_event_server.errors import InvalidEvent
from madsci_event_server.event import (
    NOT_ARCHIVED_TAIL,
    Event,
    EventLogLevel,
    NamedId,
    archived_tail,
    compare_again,
    format_time,
    parse_time,
    raised,
    time_to_us,
    us_to_time,
)
from madsci_event_server.json_text import encode_json, parse_json, parse_stored
from tests.factories import events

NODE = "01M84VMC3N1SG08XM8G777QGT5"
MANAGER = "01M84VGGJADP6KPTQCRNA0GN93"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def sent(**document: Any) -> Event:
    """The event a sender means by these fields, in a lab whose clock is UTC."""
    return Event.sent(document, UTC)


@pytest.mark.parametrize("value", [40, "40", 40.0, "40.0", "ERROR", "error", "Error", "EventLogLevel.ERROR"])
def test_a_level_is_read_from_its_number_or_name(value: object) -> None:
    assert sent(log_level=value).log_level is EventLogLevel.ERROR


@pytest.mark.parametrize(("value", "level"), [("warn", 30), ("fatal", 50), ("notset", 0), (0, 0)])
def test_levels_have_the_names_python_gives_them(value: object, level: int) -> None:
    assert sent(log_level=value).log_level == level


@pytest.mark.parametrize("value", [15, 60, -10, True, None, "loud", "", [], {}, "nan", "1e999"])
def test_what_is_no_level_is_refused_with_those_that_are(value: object) -> None:
    with pytest.raises(InvalidEvent, match=r"^log_level: .*use notset, debug"):
        sent(log_level=value)


@pytest.mark.parametrize(
    ("value", "event_type"),
    [
        ("WORKFLOW_START", "workflow_start"),
        ("EventType.LOG", "log"),
        ("my-lab.type_2", "my-lab.type_2"),
        ("experiment_stop", "experiment_cancelled"),
    ],
)
def test_a_type_is_kept_in_lower_case_also_one_nobody_knows(value: str, event_type: str) -> None:
    assert sent(event_type=value).event_type == event_type


@pytest.mark.parametrize("value", ["", "a b", "x" * 65, "é", 5, None, ["log"], "a\x1b[2J"])
def test_what_is_no_type_is_refused(value: object) -> None:
    with pytest.raises(InvalidEvent, match=r"^event_type: .*1 to 64 letters"):
        sent(event_type=value)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2026-11-23T12:00:00", NOON),
        ("2026-11-23T12:00:00Z", NOON),
        ("2026-11-23 14:00:00+02:00", NOON),
        ("2026-11-23T12:00:00.000000999Z", NOON),
        ("2026-11-23", NOON - timedelta(hours=12)),
        (1795435200, NOON),
        (1795435200000, NOON),
        (1795435200.25, NOON + timedelta(milliseconds=250)),
        ("1795435200", NOON),
        ("1795122310459", NOON - timedelta(seconds=312889, milliseconds=541)),
        ("20261123", NOON - timedelta(hours=12)),
        ("2026-11-23t12:00:00z", NOON),
    ],
)
def test_a_timestamp_is_an_instant_whatever_its_form(value: object, instant: datetime) -> None:
    assert sent(event_timestamp=value).event_timestamp == instant


@pytest.mark.parametrize("value", ["soon", "", "2026-13-01", True, [], {}, "0001-01-01T00:00:00+14:00", 1e300, "inf"])
def test_what_is_no_time_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(InvalidEvent, match=r"^event_timestamp: .*2026-11-23T18:51"):
        sent(event_timestamp=value)


def test_a_time_without_zone_is_the_labs() -> None:
    event = Event.sent({"event_timestamp": "2026-07-01T12:00:00"}, ZoneInfo("America/Chicago"))

    assert format_time(event.event_timestamp) == "2026-07-01T17:00:00.000000Z"


def test_a_repeated_hour_is_its_first_pass() -> None:
    assert parse_time("2026-11-01T01:30:00", ZoneInfo("America/Chicago")).hour == 6


def test_a_skipped_hour_moves_forward() -> None:
    moment = parse_time("2026-03-08T02:30:00", ZoneInfo("America/Chicago"))

    assert moment.astimezone(ZoneInfo("America/Chicago")).hour == 3


@pytest.mark.parametrize("year", [1, 1969, 1970, 2026, 9999])
def test_microseconds_since_1970_are_exact_both_ways(year: int) -> None:
    moment = datetime(year, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)

    assert us_to_time(time_to_us(moment)) == moment
    assert len(format_time(moment)) == 27


def test_the_id_is_the_senders_under_either_key_and_comes_back_under_both() -> None:
    for key in ("event_id", "_id"):
        wire = sent(**{key: "run 7/plate-é"}).wire()
        assert wire["event_id"] == wire["_id"] == "run 7/plate-é"


def test_two_ids_that_differ_are_refused() -> None:
    with pytest.raises(InvalidEvent, match="send one of them"):
        sent(event_id="a", _id="b")


@pytest.mark.parametrize("value", ["", "x" * 129, 5, "a\nb", "\x1b", True, {"$oid": "5"}])
def test_what_is_no_id_is_refused(value: object) -> None:
    with pytest.raises(InvalidEvent, match="1 to 128 printable"):
        sent(event_id=value)


def test_null_id_timestamp_and_source_count_as_absent() -> None:
    event = sent(event_id=None, event_timestamp=None, source=None)

    assert len(event.event_id) == 26
    assert event.source.wire() == {}
    assert "event_timestamp" not in event.model_fields_set


@pytest.mark.parametrize("value", ["x", "", 5, "8" + "0" * 25, "01M84VMC3N1SG08XM8G777QGTU", "0" * 27])
def test_a_source_id_that_is_no_ulid_is_refused(value: object) -> None:
    with pytest.raises(InvalidEvent, match=r"^source\.node_id: .*ULID"):
        sent(source={"node_id": value})


@pytest.mark.parametrize("value", ["node", 5, [], True])
def test_a_source_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(InvalidEvent, match=r"^source: must be an object"):
        sent(source=value)


def test_unknown_fields_are_kept_at_the_top_and_in_source() -> None:
    document = {"shift": "night", "source": {"name": "ot2", "rack": [1, None]}, "cls": 1, "_fields_set": 2, "kind": 3}

    wire = sent(**document).wire()

    assert {name: wire[name] for name in document} == document
    assert Event.stored(parse_stored(sent(**document).encode())).wire()["cls"] == 1


def test_the_servers_own_fields_are_not_the_senders_to_set() -> None:
    event = sent(received_at="garbage", archived="yes", archived_at=5)

    assert (event.received_at, event.archived, event.archived_at) == (None, False, None)


@pytest.mark.parametrize(
    "text",
    [
        "1e22",
        "123456789012345678901234567890",
        "-9223372036854775809",
        "0.1",
        '"\\u0000"',
        '"\\ud83d\\ude00"',
        '{"a.b": {"$x": []}}',
        "[1, 1.0, true, null]",
        '""',
        "{}",
    ],
)
def test_event_data_comes_back_equal(text: str) -> None:
    data = json.loads(text)

    event = Event.sent(parse_json(f'{{"event_data": {text}}}'))
    again = Event.stored(parse_stored(event.encode()))

    assert json.dumps(again.event_data) == json.dumps(json.loads(event.encode())["event_data"]) == json.dumps(data)


def test_what_json_cannot_carry_is_answered_as_text() -> None:
    event = Event.sent(parse_json(b'{"event_data": [NaN, Infinity, -Infinity, "\\ud800x", {"\\udfff": 1}]}'))

    assert event.event_data == ["NaN", "Infinity", "-Infinity", "�x", {"�": 1}]


def test_filters_see_one_queryable_form() -> None:
    event = sent(event_data={"big": 10**30, "huge": -(10**400), "nul": "a\0b", "key\0": 2**63 - 1})

    assert event.document["event_data"] == {"big": 1e30, "huge": "-Infinity", "nul": "a␀b", "key␀": 2**63 - 1}
    assert event.event_data["big"] == 10**30


def test_two_names_that_would_become_one_are_refused() -> None:
    with pytest.raises(InvalidEvent, match="two names"):
        sent(event_data=dict.fromkeys(["\ud800", "\ud801"], 1))


def test_nesting_beyond_64_is_refused_and_64_is_kept() -> None:
    def nested(depth: int) -> object:
        value: object = float("nan")
        for _ in range(depth):
            value = [value]
        return value

    assert sent(event_data=nested(64)).event_data
    with pytest.raises(InvalidEvent, match=r"^event_data: is nested more than 64"):
        sent(event_data=nested(65))


@pytest.mark.parametrize("value", [1, "yes", "TRUE", "on", True])
def test_alert_reads_what_madsci_reads(value: object) -> None:
    assert sent(alert=value).alert


@pytest.mark.parametrize("value", [2, "maybe", None, [], 0.5])
def test_what_is_neither_true_nor_false_is_refused(value: object) -> None:
    with pytest.raises(InvalidEvent, match=r"^alert: "):
        sent(alert=value)


@pytest.mark.parametrize("value", [[], "text", 5, None])
def test_an_event_is_an_object(value: object) -> None:
    with pytest.raises(InvalidEvent, match="must be a JSON object"):
        Event.sent(value)


@given(event=events(), state=st.sampled_from(["new", "received", "archived", "flagged, not archived"]))
def test_the_bytes_are_the_wire_form_whatever_of_it_was_written_before(event: Event, state: str) -> None:
    body = json.dumps(event.wire() | {"received_at": None}).encode()
    event = Event.read(body)
    changes: dict[str, dict[str, Any]] = {
        "new": {},
        "received": {"received_at": NOON},
        "archived": {"received_at": NOON, "archived": True, "archived_at": NOON},
        "flagged, not archived": {"archived": False, "archived_at": NOON, "alert": True},
    }
    changed = event.changed(**changes[state])

    assert changed.encode() == encode_json(changed.wire())
    assert changed.document == Event.sent(json.loads(body)).changed(**changes[state]).document


def test_events_of_one_source_say_the_same_of_it_and_each_its_own_of_the_rest() -> None:
    source = {"node_id": NODE, "name": "liquidhandler_1", "action_id": None, "rack": {"shelf": 3}}
    bodies = [
        {"source": source, "event_data": {"workflow_id": f"run {number}", "node_id": "another"}} for number in (1, 2)
    ]
    first, second = (Event.read(json.dumps(body).encode()) for body in bodies)

    assert first.source is second.source
    assert [first.ids, second.ids] == [{"node_id": NODE, "workflow_id": f"run {number}"} for number in (1, 2)]
    assert first.source.wire() == source
    assert [second.source_value(key) for key in ("rack", "node_id", "user_id", "said")] == [
        '{"shelf":3}', NODE, None, None
    ]  # fmt: skip


def test_the_bytes_end_in_what_archiving_replaces() -> None:
    event = sent(event_data={"archived": True})
    archived = event.changed(archived=True, archived_at=NOON)

    assert event.encode().endswith(NOT_ARCHIVED_TAIL)
    assert archived.encode() == event.encode().removesuffix(NOT_ARCHIVED_TAIL) + archived_tail(NOON)


@pytest.mark.parametrize(
    ("outer", "data", "kind"),
    [
        ("log_info", {"event_type": "WORKFLOW_START"}, "workflow_start"),
        ("unknown", {"event_type": "experiment_stop"}, "experiment_cancelled"),
        ("log", {"event_type": "our.own"}, "our.own"),
        ("log_info", {"event_type": "not a type"}, "log_info"),
        ("log_info", {"event_type": 5}, "log_info"),
        ("log_info", '{"event_type": "workflow_start"}', "log_info"),
        ("node_start", {"event_type": "workflow_start"}, "node_start"),
        ("logistics", {"event_type": "workflow_start"}, "logistics"),
    ],
)
def test_the_kind_is_the_type_that_tells_most(outer: str, data: object, kind: str) -> None:
    assert sent(event_type=outer, event_data=data).kind == kind


def test_ids_are_the_sources_before_those_in_event_data() -> None:
    event = sent(
        source={"node_id": NODE, "action_id": "a-1"},
        event_data={"node_id": MANAGER, "workflow_id": NODE.lower(), "step_id": "s 1", "user_id": 5, "lab_id": ""},
    )

    assert event.ids == {"node_id": NODE, "workflow_id": NODE, "step_id": "s 1", "action_id": "a-1"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"message": "tip lost", "x": 1}, "tip lost"),
        ({"message": 4}, "4"),
        ("plain", "plain"),
        ('"Gr\\u00fc\\u00dfe"', "Grüße"),
        ('"half', '"half'),
        ('{"a": 1}', '{"a": 1}'),
        ({}, "test"),
        (None, "test"),
        ({"temperature": 5}, 'test {"temperature":5}'),
        ([1, 2], "test [1,2]"),
    ],
)
def test_the_message_is_the_text_that_was_meant(data: object, message: str) -> None:
    assert sent(event_type="test", event_data=data).message == message


@pytest.mark.parametrize(
    ("source", "data", "name"),
    [
        ({"name": "bench"}, {"node_name": "arm"}, "bench"),
        ({}, {"node_name": "arm", "component_name": "Workcell"}, "arm"),
        ({}, {"component_name": "node.liquidhandler_1"}, "liquidhandler_1"),
        ({}, {"component_name": "node."}, None),
        ({}, {"node_name": 5}, None),
        ({}, "text", None),
    ],
)
def test_the_name_is_of_what_the_event_is_about(source: dict[str, Any], data: object, name: str | None) -> None:
    assert sent(source=source, event_data=data).name == name


@pytest.mark.parametrize(
    ("source", "data", "named"),
    [
        ({"node_id": NODE, "manager_id": MANAGER}, {"component_name": "node.arm"}, [("node_id", NODE, "arm")]),
        ({"manager_id": MANAGER}, {"component_name": "Workcell"}, [("manager_id", MANAGER, "Workcell")]),
        ({"manager_id": MANAGER}, {"node_name": "arm"}, []),
        ({"manager_id": MANAGER}, {"node_name": "arm", "node_id": NODE}, [("node_id", NODE, "arm")]),
        ({}, {"workflow_id": NODE, "workflow_name": "wf dispense"}, [("workflow_id", NODE, "wf dispense")]),
    ],
)
def test_names_pair_with_the_ids_they_are_seen_beside(
    source: dict[str, Any], data: dict[str, Any], named: list[tuple[str, str, str]]
) -> None:
    assert sent(source=source, event_data=data).named_ids == tuple(NamedId(*item) for item in named)


def test_words_are_of_message_name_kind_and_every_string() -> None:
    event = sent(
        event_type="log_info",
        source={"name": "Arm 2"},
        event_data={"message": "Tip-Pickup", "event_type": "action_failed", "deep": [{"x": "STRASSE straße"}], "n": 7},
    )

    assert {"tip", "pickup", "action", "failed", "arm", "2", "strasse"} <= event.words
    assert "7" not in event.words


def test_only_the_beginning_of_a_text_has_words() -> None:
    event = sent(event_data={"message": "x " * 3000 + "late", "other": "found"})

    assert "late" not in event.words
    assert "found" in event.words


FIRST = {"event_id": "one", "event_timestamp": "2026-11-23T12:00:00Z", "log_level": 20, "event_data": {"a": 1}}


@pytest.mark.parametrize(
    ("change", "sameness"),
    [
        ({}, "duplicate"),
        ({"log_level": 10}, "duplicate"),
        ({"event_timestamp": None}, "duplicate"),
        ({"event_timestamp": "2026-11-23T14:00:00+02:00"}, "duplicate"),
        ({"archived": True}, "duplicate"),
        ({"log_level": 30}, "raised"),
        ({"alert": True}, "raised"),
        ({"alert": True, "log_level": 10}, "raised"),
        ({"event_data": {"a": 2}}, "conflict"),
        ({"event_data": {"a": 1.0}}, "conflict"),
        ({"event_data": {"a": True}}, "conflict"),
        ({"event_type": "test", "log_level": 50}, "conflict"),
        ({"extra": 1}, "conflict"),
        ({"event_timestamp": "2026-11-23T12:00:01Z"}, "conflict"),
    ],
)
def test_the_same_id_again_is_a_duplicate_a_raise_or_a_conflict(change: dict[str, Any], sameness: str) -> None:
    assert compare_again(sent(**FIRST), sent(**FIRST | change)) == sameness


def test_a_raise_goes_up_and_changes_nothing_else() -> None:
    stored = sent(**FIRST | {"log_level": 40})
    assert stored.document["alert"] is False

    up = raised(stored, sent(**FIRST | {"log_level": 10, "alert": True}))

    assert (up.log_level, up.alert, up.document["alert"]) == (40, True, True)
    assert up.event_data == stored.event_data


def test_an_event_built_in_python_represents_what_is_not_json() -> None:
    class Plate:
        def __repr__(self) -> str:
            return "<plate 7>"

    event = Event(event_data={"plate": Plate(), "at": NOON, "wells": {1, 2}, 5: "five"}, log_level="warn")

    assert json.loads(event.encode())["event_data"]["plate"] == "<plate 7>"
    assert event.event_data["5"] == "five"
