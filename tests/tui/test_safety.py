"""Event text is shown, never obeyed, and never a crash."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from textual.widget import Widget

from madsci_event_server.event import Event
from tests.tui.terminal import Terminal
from tests.tui.watching import Watched, file_source, numbered, strips_of, watching, write_events

HOSTILE = {
    "escape": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;pwned\x07",
    "clipboard": "\x1b]52;c;cHduZWQ=\x07",
    "c1": "\x9b31mred \x9d0;pwned\x9c",
    "markup": "[red]not red[/red] [/x/y] [@click=app.quit]quit[/]",
    "bidi": "abc \u202edesrever\u202c \u2066isolated\u2069",
    "tabs": "a\tb\r\nc\vd\fe",
    "separators": "a\u2028b\u2029c\u0085d",
    "invisible": "zero\u200bwidth\ufeffmarks \U000e0041tags",
    "combining": "e" + "\u0301" * 200,
    "wide": "界" * 500,
    "emoji": "👩‍🔬" * 100,
    "nul": "a\0b",
    "empty": "",
}
OBEYED = set(range(32)) | set(range(0x7F, 0xA0)) | {0x2028, 0x2029, 0x202A, 0x202D, 0x202E, 0x2066, 0x2067, 0x2069}


def obeyed(widget: Widget) -> list[str]:
    return [repr(text) for strip in strips_of(widget) for text in [strip.text] if OBEYED & set(map(ord, text))]


async def look_everywhere(dashboard: Watched) -> None:
    await dashboard.press("up", "enter")
    while dashboard.selected.event_id != dashboard.events[0].event_id:
        for widget in dashboard.screen.query("*").results(Widget):
            assert not obeyed(widget)
        dashboard.event_list.action_move(-1)
        await dashboard.settled()


async def test_hostile_text_reaches_the_screen_as_pictures(lab: Path) -> None:
    events = [
        event.changed(event_data={"message": text, "node_name": text or None, name: {text: [text, text]}})
        for event, (name, text) in zip(numbered(len(HOSTILE)), HOSTILE.items(), strict=True)
    ]
    async with watching(file_source(write_events(lab / "events.jsonl", events)), size=(160, 50)) as dashboard:
        await look_everywhere(dashboard)

        assert "␛[31mred␛[0m" in dashboard.shown[0]


@pytest.mark.parametrize("name", ["escape", "clipboard", "markup", "bidi", "tabs", "wide", "nul"])
async def test_a_hostile_name_as_a_filter_is_a_chip_and_nothing_more(lab: Path, name: str) -> None:
    events = numbered(3, event_data={"message": "m", "node_name": HOSTILE[name]})
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        await dashboard.press("up", "i")

        assert dashboard.chips.startswith(" filter  name = ")
        assert len(dashboard.events) == 3
        assert not [line for widget in dashboard.screen.query("*").results(Widget) for line in obeyed(widget)]


@pytest.mark.parametrize("zone", ["America/Chicago", "Asia/Tokyo"])
async def test_times_at_the_edges_of_the_calendar(lab: Path, zone: str) -> None:
    """The unset time of some languages is the first instant there is: no zone west of Greenwich can show it."""
    edges = [moment.replace(tzinfo=UTC) for moment in (datetime.min, datetime.max)]  # noqa: DTZ901
    events = [numbered(1, start=number)[0].changed(event_timestamp=edges[number % 2]) for number in range(6)]
    path = write_events(lab / "events.jsonl", events)
    async with watching(file_source(path), zone=ZoneInfo(zone)) as dashboard:
        await dashboard.press("up", "enter", "G", "escape", "up", "d", "z", "z", "H", "H", "enter", "escape", "g")

        assert len(dashboard.events) == 6


async def test_a_megabyte_in_one_line(lab: Path) -> None:
    events = numbered(3, event_data={"message": "M" * 1_000_000, "more": "m " * 200_000})
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        await dashboard.press("enter", "G")

        assert "MMMM" in dashboard.shown[0]
        assert dashboard.event_list.has_focus is False


async def test_deep_and_broad_json(lab: Path) -> None:
    deep: object = "bottom"
    for _ in range(60):
        deep = {"down": deep}
    events = [
        numbered(1)[0].changed(event_data={"message": "deep", "deep": deep}),
        numbered(1, start=1)[0].changed(event_data={"message": "broad", **{f"key {n}": n for n in range(5000)}}),
        numbered(1, start=2)[0].changed(event_data=list(range(3000))),
    ]
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        await dashboard.press("enter", "G", "escape", "up", "enter", "G", "escape", "up", "enter", "G")

        assert dashboard.selected.message == "deep"


async def test_lines_that_are_no_events_are_shown_as_such(lab: Path) -> None:
    path = lab / "events.jsonl"
    good = numbered(1)[0].encode()
    bad = [b"{not json", b'["a list"]', b'{"log_level": "loud"}', b"\xff\xfe\x1b[31m", b"[" * 2000 + b"]" * 2000]
    path.write_bytes(b"\n".join([*bad, b"", good]))
    async with watching(file_source(path)) as dashboard:
        assert ["│ not an event: " in line for line in dashboard.shown[:4]] == [True] * 4
        assert dashboard.shown[0].startswith(" ? {not json  │ not an event: not JSON")
        assert "message 0" in dashboard.shown[5]
        assert not obeyed(dashboard.event_list)
        await dashboard.press("up", "up", "enter", "y", "m", "i", "o", "g")


async def test_an_empty_file(lab: Path) -> None:
    path = lab / "events.jsonl"
    path.touch()
    async with watching(file_source(path)) as dashboard:
        await dashboard.press(
            "up", "enter", "e", "E", "g", "end", "i", "y", "m", "tab", "down", "enter", "exclamation_mark", "c"
        )

        assert dashboard.events == []


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a matter of POSIX")
def test_what_a_terminal_is_sent_holds_no_sequence_of_an_event(lab: Path) -> None:
    """On a real pseudo-terminal, from a real pipe: titles and clipboard writes stay pictures."""
    path = lab / "events.jsonl"
    path.write_text(
        json.dumps({"event_data": {"message": HOSTILE["title"] + HOSTILE["clipboard"] + " the end"}}) + "\n"
    )
    with Terminal(f"{{tui}} - < {path}") as terminal:
        sent = terminal.read_until("the end")

    assert b"\x1b]0;pwned" not in sent
    assert b"\x1b]52;c;cHduZWQ" not in sent
    assert "␛]52;c;cHduZWQ=".encode() in sent


def test_a_hostile_event_is_one_a_server_takes() -> None:
    """The texts above are not refused on the way in, so they do come out."""
    for text in HOSTILE.values():
        assert Event.sent({"event_data": {"message": text}}).message is not None
