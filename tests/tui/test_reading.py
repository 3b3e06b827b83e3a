"""Reading one event: all of it, folded, searched, copied; and what stands beside it."""

import json
from pathlib import Path

import pytest

from madsci_event_cli.tui.detail_lines import detail_lines
from madsci_event_server.event import Event
from tests.tui.watching import NOW, file_source, numbered, text_of, watching, write_events

TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/opt/lab/arm.py", line 42, in pick\n'
    "    self.grip()\n"
    "lab.errors.GripperError: nothing between the fingers\n"
)


def shown(event: Event, width: int = 80) -> str:
    lines = detail_lines(event, width=width, zone=None, names={})
    return "\n".join("".join(text for text, _ in line.spans) for line in lines)


def test_every_field_is_there() -> None:
    event = Event.model_validate(
        {
            "event_id": "E1",
            "event_type": "node_error",
            "log_level": 40,
            "alert": True,
            "event_timestamp": NOW,
            "received_at": NOW,
            "source": {"node_id": "01M84VMC3N1SG08XM8G777QGT5", "host": "bench-3"},
            "event_data": {"message": "tip lost", "well": {"row": "A", "column": 1}, "none": None, "ok": False},
            "trace_id": "t1",
            "rack": [1, 2],
        }
    )
    text = shown(event)

    for part in ("ERROR", "! alert", "tip lost", "node_error", "01M84VMC3N1SG08XM8G777QGT5", "bench-3", "t1", "[1, 2]"):
        assert part in text
    for part in ('row     "A"', "column  1", "null", "false", "E1"):
        assert part in text


def test_a_traceback_keeps_its_lines() -> None:
    text = shown(Event.model_validate({"event_data": {"message": "failed", "exception": TRACEBACK}}))

    assert '      File "/opt/lab/arm.py", line 42, in pick' in text
    assert "    lab.errors.GripperError: nothing between the fingers" in text
    assert "⏎" not in text


def test_no_line_is_wider_than_the_pane() -> None:
    data = {
        "message": "long " * 100,
        "text": "界" * 300,
        "url": "x" * 500,
        "deep": {"a": {"b": {"c": {"d": "e" * 90}}}},
    }
    lines = detail_lines(Event.model_validate({"event_data": data}), width=40, zone=None, names={})

    assert max(sum(len(text) for text, _ in line.spans) for line in lines if "界" not in str(line.spans)) <= 40


async def test_opening_folding_and_closing(lab: Path) -> None:
    events = numbered(5, event_data={"message": "configured", "settings": {f"key_{n}": n for n in range(30)}, "n": 1})
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        await dashboard.press("enter")
        assert "▸ settings  30 fields" in dashboard.detail

        while not (dashboard.screen.detail.line and dashboard.screen.detail.line.fold):
            await dashboard.press("down")
        await dashboard.press("enter")
        assert "▾ settings  30 fields" in dashboard.detail
        assert "key_7" in dashboard.detail

        await dashboard.press("escape")
        assert not dashboard.screen.has_class("-reading")
        assert dashboard.event_list.has_focus


async def test_what_happened_just_before_and_after_is_there_whatever_the_filter(lab: Path) -> None:
    workflow = "01M84VYEZ589K1WX7173XX7GYH"
    events = [
        event.changed(event_data={**event.event_data, "workflow_id": workflow}) if number % 2 else event
        for number, event in enumerate(numbered(40))
    ]
    async with watching(file_source(write_events(lab / "events.jsonl", events)), size=(180, 50)) as dashboard:
        await dashboard.press("exclamation_mark", "E", "enter")

        assert "same workflow, just before and after" in dashboard.detail
        assert "-2.000 INF node_1 message 37" in dashboard.detail.replace("  ", " ")
        assert "now ERR message 39" in dashboard.detail.replace("  ", " ")
        assert "message 38" not in dashboard.detail


async def test_searching_in_an_event(lab: Path) -> None:
    events = numbered(1, event_data={"message": "m", "list": [f"item {n}" for n in range(12)]})
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        await dashboard.press("enter", "slash")
        await dashboard.type("item 7")
        line = dashboard.screen.detail.line

        assert line is not None
        assert line.copy == "item 7"


async def test_a_field_of_the_event_becomes_a_filter(lab: Path) -> None:
    events = [event.changed(event_data={"message": "m", "volume": n % 4}) for n, event in enumerate(numbered(40))]
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        await dashboard.press("enter")
        while dashboard.screen.detail.line is None or dashboard.screen.detail.line.field != "event_data.volume":
            await dashboard.press("down")
        await dashboard.press("i")

        assert "event_data.volume = 3" in dashboard.chips
        assert len(dashboard.events) == 10


async def test_copies_go_to_a_file_as_well(lab: Path) -> None:
    events = numbered(3)
    path = lab / "copied.txt"
    async with watching(file_source(write_events(lab / "events.jsonl", events)), copy_path=path) as dashboard:
        await dashboard.press("up", "y")
        assert json.loads(path.read_text())["event_id"] == events[2].event_id
        assert str(path) in dashboard.status

        await dashboard.press("exclamation_mark", "Y")
        assert path.read_text() == "madsci-events query --archived --level error --all"


async def test_a_view_is_saved_whole(lab: Path) -> None:
    events = numbered(1200)
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        await dashboard.press("exclamation_mark", "s")
        dashboard.screen.prompt.input.value = "errors.jsonl"
        await dashboard.press("enter")
        saved = [json.loads(line)["event_id"] for line in (lab / "errors.jsonl").read_text().splitlines()]
        assert saved == [event.event_id for event in events if event.log_level == 40]

        await dashboard.press("s")
        dashboard.screen.prompt.input.value = "errors.jsonl"
        await dashboard.press("enter")
        assert "exists already" in dashboard.status

        await dashboard.press("s")
        dashboard.screen.prompt.input.value = "errors.csv"
        await dashboard.press("enter")
        assert len((lab / "errors.csv").read_text().splitlines()) == 121


async def test_time_between_rows_and_utc(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(3)))) as dashboard:
        await dashboard.press("d")
        assert "+1.000" in dashboard.shown[1]


async def test_the_palette_has_what_keys_do(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(20)))) as dashboard:
        await dashboard.press("ctrl+p", *"errors only", "enter")
        await dashboard.until(lambda: "level ≥ error" in dashboard.chips)

        assert [event.message for event in dashboard.events] == ["message 9", "message 19"]


async def test_help_fits_where_it_is_asked_for(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(3)))) as dashboard:
        await dashboard.press("question_mark")
        assert text_of(dashboard.pilot.app.screen.query_one("_Keys")).startswith("In the list")
        await dashboard.press("escape", "enter", "question_mark")
        assert text_of(dashboard.pilot.app.screen.query_one("_Keys")).startswith("In the event")


@pytest.mark.parametrize("size", [(120, 40), (60, 15), (44, 12)], ids=str)
async def test_help_says_whole_sentences_at_every_size(size: tuple[int, int], lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(3))), size=size) as dashboard:
        await dashboard.press("question_mark")
        keys = dashboard.pilot.app.screen.query_one("_Keys")
        shown = " ".join(text_of(keys).split())

        assert "o O next, previous of the same workflow, experiment or node / n N find text" in shown
