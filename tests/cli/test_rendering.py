"""An event as people see it."""

import json
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madsci_event_cli.alert_rendering import alert_line
from madsci_event_cli.rendering import (
    LEVEL_FACES,
    PALETTE,
    cells,
    cut,
    cut_spans,
    event_block,
    event_line,
    fitted,
    instant_text,
    layout_for,
    names_by_id,
    painted,
    parse_event,
    plain,
    safe_json,
    snug,
    visible,
)
from madsci_event_server.errors import UnexpectedAnswer
from madsci_event_server.event import Event, EventLogLevel
from tests.cli.events import HOSTILE, NODE, body, some_bodies

OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
ANY_EVENT = st.builds(
    lambda message, name, level, alert, kind: Event(
        event_data={"message": message, "node_name": name}, log_level=level, alert=alert, event_type=kind
    ),
    st.text(),
    st.text(),
    st.sampled_from(EventLogLevel),
    st.booleans(),
    st.sampled_from(["log_info", "workflow_step_failed", "a" * 64]),
)


def line(event: Event, width: int, names: dict[tuple[str, str], str] | None = None) -> str:
    return plain(event_line(event, layout_for(width, UTC), names))


@given(st.text())
def test_nothing_visible_is_obeyed(text: str) -> None:
    assert not OBEYED.search(visible(text))


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_hostile_text_is_seen_for_what_it_is() -> None:
    assert visible(HOSTILE) == ("evil ␛]0;title␇ \\x9b31m red␍⏎next⇥tab \\u202eoverride\\u202c \\u2028 ␡ end")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_safe_json_means_the_same(value: object) -> None:
    text = safe_json(json.dumps(value, ensure_ascii=False))

    assert json.loads(text) == value
    assert not OBEYED.search(text)


@given(ANY_EVENT, st.integers(1, 220))
def test_a_line_never_passes_the_width_and_is_one_line(event: Event, width: int) -> None:
    text = line(event, width)

    assert cells(text) <= width
    assert not OBEYED.search(text)


@given(ANY_EVENT)
def test_the_unbounded_line_cuts_nothing(event: Event) -> None:
    text = plain(event_line(event))

    assert text.endswith(visible(event.message))
    assert not OBEYED.search(text)


@given(ANY_EVENT)
def test_no_line_of_a_block_is_obeyed(event: Event) -> None:
    assert not any(OBEYED.search(plain(spans)) for spans in event_block(event, UTC))


@given(st.text(), st.integers(0, 60))
def test_text_is_cut_to_its_cells(text: str, width: int) -> None:
    shown = visible(text)

    assert cells(cut(shown, width)) <= width
    assert cells(fitted(shown, width)) == width
    assert cut(shown, cells(shown)) == shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
        ("👩‍🔬👩‍🔬", 3, "👩‍🔬…"),
        ("abc", 0, ""),
    ],
)
def test_wide_and_combining_characters_are_cut_whole(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


@given(st.lists(st.tuples(st.text().map(visible), st.just(""))), st.integers(1, 40))
def test_spans_are_cut_to_their_cells(spans: list[tuple[str, str]], width: int) -> None:
    whole = plain(spans)
    found = plain(cut_spans(spans, width))

    assert cells(found) <= width
    assert found == whole if cells(whole) <= width else found.endswith("…")


@pytest.mark.parametrize("width", [200, 120, 80, 50])
def test_levels_differ_without_colour(width: int) -> None:
    shown = {line(parse_event(body(log_level=level)), width) for level in EventLogLevel}

    assert len(shown) == len(EventLogLevel)


@pytest.mark.parametrize("answered", [b"{}", b"[]", b'{"log_level": "x"}', b'{"event_id": 1, "source": 3}', b"{"])
def test_an_event_that_is_none_is_called_so(answered: bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match="an event that is none"):
        parse_event(answered)


def test_every_style_is_in_the_palette_and_every_level_has_a_face() -> None:
    from rich.style import Style

    events = [parse_event(body_) for body_ in some_bodies()]
    lines = [event_line(event, layout_for(width)) for event in events for width in (60, 200)]
    lines += [spans for event in events for spans in event_block(event)]
    used = {style for spans in lines for _, style in spans}

    assert used <= set(PALETTE)
    assert set(LEVEL_FACES) == set(EventLogLevel)
    assert all(Style.parse(definition) is not None for definition in PALETTE.values() if definition)


def test_an_id_is_shown_as_its_name_where_one_is_known() -> None:
    event = parse_event(body(source={"node_id": NODE}))

    assert "node …SQEACFYV"[:6] in line(event, 200)
    assert "liquidhandler_1" in line(event, 200, {("node_id", NODE): "liquidhandler_1"})


def test_of_two_names_of_one_id_the_last_seen_is_shown() -> None:
    seen = [
        {"field": "node_id", "id": NODE, "name": "new", "last_seen": "2026-11-23T18:51:47Z"},
        {"field": "node_id", "id": NODE, "name": "old", "last_seen": "2026-11-22T18:51:47Z"},
    ]

    assert names_by_id(seen) == {("node_id", NODE): "new"}


def test_a_kind_that_repeats_the_level_is_not_shown() -> None:
    assert "log_info" not in line(parse_event(body()), 200)


def test_a_message_made_of_the_kind_does_not_say_it_twice() -> None:
    event = parse_event(body(event_type="node_error", event_data={"volume": 1}))

    assert line(event, 200).count("node_error") == 1


def test_times_are_shown_in_the_zone_asked_for() -> None:
    event = parse_event(body())

    assert line(event, 120).startswith("18:51:47.000")
    assert plain(event_line(event, layout_for(120, ZoneInfo("America/Chicago")))).startswith("12:51:47.000")


@pytest.mark.parametrize(("zone", "edge"), [("America/Chicago", "0001-01-01"), ("Asia/Tokyo", "9999-12-31")])
def test_a_time_that_a_zone_cannot_have_is_shown_in_utc(zone: str, edge: str) -> None:
    event = Event.sent({"event_timestamp": f"{edge}T{'23' if edge > '9' else '00'}:30:00Z"})

    assert ":30:00.000 " in plain(event_line(event, layout_for(120, ZoneInfo(zone))))
    assert f"{edge.lstrip('0')} " in "\n".join(map(plain, event_block(event, ZoneInfo(zone))))
    assert instant_text(event.event_timestamp, ZoneInfo(zone)).startswith(edge)


def test_columns_are_no_wider_than_what_is_in_them() -> None:
    events = [parse_event(body(number)) for number in (1, 2)]
    columns = snug(layout_for(200, UTC), events, {})

    assert (columns.who, columns.kind) == (1, 0)


def test_painting_changes_no_text() -> None:
    for body_ in some_bodies():
        spans = event_line(parse_event(body_), layout_for(120, UTC))
        unpainted = re.sub(r"\x1b\[[0-9;]*m", "", painted(spans))
        assert unpainted == plain(spans)


def test_a_block_keeps_the_lines_of_a_message() -> None:
    block = [plain(spans) for spans in event_block(parse_event(body(event_data={"message": "first\nsecond\r\nthird"})))]

    assert block[1:4] == ["first", "second", "third"]


def test_a_block_says_everything_sent() -> None:
    event = Event(
        log_level="error", trace_id="t1", span_id="s1", alert=True, source={"node_id": NODE, "host": "bench-3"},
        event_data={"message": "m", "deep": {"list": [1, None, True, "x", {}]}}, extra_field={"k": "v"},
    )  # fmt: skip
    text = "\n".join(plain(spans) for spans in event_block(event, UTC, {("node_id", NODE): "liquidhandler_1"}))

    for said in (
        event.event_id,
        "ERROR",
        "alert",
        "t1",
        "s1",
        NODE,
        "liquidhandler_1",
        "bench-3",
        '{"k": "v"}',
        '"deep"',
    ):
        assert said in text


@pytest.mark.parametrize("width", [20, 40, 60, 96, 200])
def test_an_alert_stays_on_its_line(width: int) -> None:
    alert = {
        "alert_id": "7f3kz0qa1b", "state": "open", "log_level": 40, "count": 12345, "source": "液体ハンドラー_1",
        "message": "x" * 300, "updated_at": "2026-11-23T18:59:00Z",
    }  # fmt: skip

    line = alert_line(alert, datetime(2026, 11, 23, 19, tzinfo=UTC), width)

    assert width - 1 <= cells(plain(line)) <= width  # a wide character is not cut in half
