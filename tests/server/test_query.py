"""EventQuery: what each filter means, how it is written, and what is refused."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from madsci_event_server.errors import CursorExpired, InvalidQuery
from madsci_event_server.event import Event
from madsci_event_server.query import Cursor, EventQuery

NODE = "01M84VMC3N1SG08XM8G777QGT5"


class Directory:
    """The names of one node."""

    def ids_of(self, field: str, name: str) -> set[str]:
        """The node's id for its name."""
        return {NODE} if (field, name) == ("node_id", "arm") else set()


def event(**document: Any) -> Event:
    """An event with some defaults that filters can find."""
    base = {
        "event_id": "e1",
        "event_type": "log_error",
        "log_level": "error",
        "event_timestamp": "2026-11-23T12:00:00Z",
        "source": {"node_id": NODE, "host": "bench-3", "slot": 4},
        "event_data": {
            "message": "Tip pickup failed after 3 tries",
            "event_type": "action_failed",
            "component_name": "node.arm",
            "workflow_id": "wf-1",
            "well": "A1",
        },
    }
    return Event.sent(base | document, UTC)


def finds(*parameters: tuple[str, str], **document: Any) -> bool:
    """Whether a query string finds that event."""
    return EventQuery.from_parameters(parameters, UTC).matches(event(**document))


@pytest.mark.parametrize(
    ("name", "hit", "miss"),
    [
        ("level", "warning", "critical"),
        ("level", "40", "50"),
        ("level", "-1", "41"),
        ("log_level", "error", "warning"),
        ("log_level", "!warning", "!error"),
        ("kind", "action_failed", "log_error"),
        ("kind", "ACTION_*", "workflow_*"),
        ("kind", "*failed", "*fail"),
        ("kind", "!workflow_*", "!action_*"),
        ("event_type", "log_error", "action_failed"),
        ("event_type", "log*", "!log*"),
        ("node_id", NODE.lower(), "01M84VMC3N1SG08XM8G777QGT6"),
        ("node_id", "!other", f"!{NODE}"),
        ("workflow_id", "wf-1", "wf-2"),
        ("step_id", "!s1", "s1"),
        ("node", "arm", "leg"),
        ("node", NODE, "!arm"),
        ("name", "arm", "node.arm"),
        ("source.host", "bench-3", "bench-4"),
        ("source.slot", "4", "!4"),
        ("source.none", "!x", "x"),
        ("since", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00.000001Z"),
        ("until", "2026-11-23T12:00:00.000001Z", "2026-11-23T12:00:00Z"),
        ("start_time", "2026-11-23T12:00:00Z", "2026-11-23T12:00:01Z"),
        ("end_time", "2026-11-23T12:00:00Z", "2026-11-23T11:59:59Z"),
        ("since", "2026-11-23T14:00:00+02:00", "2026-11-23T10:00:01 -02:00"),
        ("since", "2026-11-23T13:00:00 01:00", "2026-11-23T13:00:00"),
        ("search", "tip PICKUP", "pick"),
        ("search", "pick* -success", "tip -pick*"),
        ("search", "action-failed", "bench"),
        ("search", "-later", "-arm"),
        ("regex", r"after \d tries$", r"^\d"),
        ("regex", "(?i)TIP", "TIP"),
        ("alert", "false", "true"),
    ],
)
def test_each_filter_finds_what_it_means_and_nothing_else(name: str, hit: str, miss: str) -> None:
    assert finds((name, hit))
    assert not finds((name, miss))


def test_values_of_one_filter_are_alternatives_and_filters_must_all_hold() -> None:
    assert finds(("kind", "workflow_*"), ("kind", "action_*"), ("log_level", "error"), ("log_level", "info"))
    assert not finds(("kind", "action_*"), ("kind", "!*_failed"))
    assert not finds(("kind", "action_*"), ("node", "leg"))


def test_levels_can_be_excluded() -> None:
    assert EventQuery.from_parameters([("log_level", "!debug"), ("log_level", "!error")]).levels == (0, 20, 30, 50)
    assert EventQuery(log_level=("error", "info", "!error")).levels == (20,)
    with pytest.raises(InvalidQuery, match="log_level: leaves no level"):
        EventQuery(log_level=("error", "!error"))


def test_archived_events_are_left_out_unless_asked_for() -> None:
    archived = event().changed(archived=True, archived_at=datetime.now(UTC))

    assert not EventQuery().matches(archived)
    assert EventQuery(include_archived=True).matches(archived)
    assert EventQuery(only_archived=True).matches(archived)
    assert not EventQuery(only_archived=True).matches(event())


def test_a_node_by_name_finds_events_that_carry_only_its_id() -> None:
    nameless = event(event_data={})

    assert not EventQuery(node=("arm",)).matches(nameless)
    assert EventQuery(node=("arm",)).resolved(Directory()).matches(nameless)
    assert not EventQuery(node=("!arm",)).resolved(Directory()).matches(nameless)


def test_a_time_without_zone_is_the_labs() -> None:
    query = EventQuery.parse(
        {"since": "2026-11-23T06:00:00", "selector": {"event_timestamp": {"$lte": "2026-11-23T06:00:00"}}},
        ZoneInfo("America/Chicago"),
    )

    assert query.since == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert query.matches(event())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("levl", "error", "did you mean level?"),
        ("sources", "x", "is not a parameter"),
        ("selector", "source", "JSON body of POST /events/query"),
        ("level", "loud", "use notset, debug"),
        ("level", "--5", "use notset, debug"),
        ("log_level", "25", "use notset, debug"),
        ("kind", "a b", "letters"),
        ("kind", "", "give text"),
        ("node_id", "!", "give text"),
        ("kind", "(*", "glob"),
        ("since", "soon", "2026-11-23T18:51"),
        ("search", "", "is empty"),
        ("search", "-- !!", "no letter or digit"),
        ("search", "x" * 1001, "at most 1000"),
        ("regex", "(", "not an RE2 pattern"),
        ("regex", "(?=x)", "no look-around"),
        ("regex", r"(a)\1", "back references"),
        ("regex", "x" * 1001, "at most 1000"),
        ("regex", r"(?i)\pL{400}", "pattern too large"),
        ("alert", "perhaps", "valid boolean"),
        ("limit", "0", "between 1 and 10000"),
        ("limit", "-1", "between 1 and 10000"),
        ("limit", "many", "valid integer"),
        ("order", "sideways", "-time"),
        ("order", "-archived", "only_archived"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(name: str, value: str, words: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        EventQuery.from_parameters([(name, value)], UTC)

    assert str(refused.value).startswith(f"{name}: ")
    assert words in str(refused.value)


@pytest.mark.parametrize("document", [[], "x", 5, None, {"levl": "error"}, {"source": 5}, {"selector": "x"}])
def test_a_query_is_an_object_of_filters(document: object) -> None:
    with pytest.raises(InvalidQuery):
        EventQuery.parse(document)


def test_a_filter_given_twice_that_can_have_one_value_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="given twice"):
        EventQuery.from_parameters([("since", "2026-01-01"), ("since", "2026-01-02")], UTC)


def test_a_query_survives_its_own_query_string_and_its_own_json() -> None:
    query = EventQuery.from_parameters(
        [
            ("level", "warning"),
            ("log_level", "error"),
            ("kind", "!action_*"),
            ("kind", "log*"),
            ("source.host", "b 1"),
            ("source.host", "!c"),
            ("since", "2026-11-23T12:00:00.5Z"),
            ("alert", "true"),
            ("search", "a -b c*"),
            ("include_archived", "true"),
            ("order", "received"),
            ("limit", "7"),
        ],
        UTC,
    )

    assert EventQuery.from_parameters(query.parameters(), UTC) == query
    assert EventQuery.parse(query.model_dump(mode="json"), UTC) == query


def test_four_time_bounds_make_one_half_open_range() -> None:
    query = EventQuery.from_parameters([("since", "1"), ("start_time", "2"), ("until", "9"), ("end_time", "5")], UTC)

    assert query.time_range_us == (2_000_000, 5_000_001)


def test_a_cursor_is_good_for_its_own_store_and_order_only() -> None:
    text = Cursor("abc", "t", 7, -5).encode()

    assert Cursor.decode(text, store_id="abc", order="-time") == Cursor("abc", "t", 7, -5)
    with pytest.raises(CursorExpired, match="another store"):
        Cursor.decode(text, store_id="abd", order="-time")
    with pytest.raises(InvalidQuery, match="another order"):
        Cursor.decode(text, store_id="abc", order="received")


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "t.abc", "t.abc.x.0", "r.abc.-1.0", "t.abc.1.0\n", "t.ABC.1.0", "t.abc.\u0661.0"),
        *("t.abc.9223372036854775808.0", "t.abc.1.-9223372036854775808", "t.abc.1.9999999999999999999"),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="is not a cursor"):
        Cursor.decode(text, store_id="abc", order="time")


def test_levels_are_what_both_level_filters_leave() -> None:
    counts = Counter(level.name for level in EventQuery(level="warning", log_level=("info", "error")).levels)

    assert counts == {"ERROR": 1}
