"""Finding: filters mean what they mean on the server, and stepping finds what is next wherever it is."""

from collections import Counter
from pathlib import Path

import pytest

from madsci_event_cli.tui.widgets.facet_panel import FacetPanel
from madsci_event_cli.tui.widgets.lines import HintLine
from madsci_event_server.event import OwnershipInfo
from madsci_event_server.query import EventQuery
from tests.tui.watching import SAMPLE, Watched, file_source, numbered, sample_events, text_of, watching, write_events


def expected(**filters: object) -> list[str]:
    query = EventQuery.parse({"include_archived": True, **filters})
    return [event.event_id for event in sample_events() if query.matches(event)]


async def whole(dashboard: Watched) -> list[str]:
    """Every id of the view, paged in from its beginning."""
    while not dashboard.event_list.at_oldest:
        await dashboard.press("g")
    return [event.event_id for event in dashboard.events]


LINES = {
    "--level warning": {"level": "warning"},
    "--level error,critical": {"log_level": ["error", "critical"]},
    "--type workflow_*": {"kind": ["workflow_*"]},
    "--type !log_info": {"kind": ["!log_info"]},
    "--node liquidhandler_1": {"node": ["liquidhandler_1"]},
    "--name 'Example Workcell'": {"name": ["Example Workcell"]},
    "step -failed": {"search": "step -failed"},
    "--regex (?i)WORKFLOW": {"regex": "(?i)WORKFLOW"},
    """--selector '{"event_data.step_index": 0}'""": {"selector": {"event_data.step_index": 0}},
    "--alert": {"alert": True},
}


@pytest.mark.parametrize(("line", "filters"), LINES.items(), ids=LINES)
async def test_a_typed_filter_shows_exactly_what_the_server_would(line: str, filters: dict[str, object]) -> None:
    async with watching(file_source(SAMPLE)) as dashboard:
        await dashboard.press("ampersand")
        dashboard.screen.prompt.input.value = line
        await dashboard.press("enter")

        assert await whole(dashboard) == expected(**filters)


async def test_a_filter_that_means_nothing_says_so_and_stays_to_be_mended() -> None:
    async with watching(file_source(SAMPLE)) as dashboard:
        await dashboard.press("ampersand")
        dashboard.screen.prompt.input.value = "--level loud"
        await dashboard.press("enter")

        assert dashboard.screen.prompt.display
        assert dashboard.chips == ""

        await dashboard.press("escape")
        assert not dashboard.screen.prompt.display


async def test_narrowing_and_widening_come_back_to_the_same_rows() -> None:
    async with watching(file_source(SAMPLE)) as dashboard:
        everything = await whole(dashboard)
        await dashboard.press("exclamation_mark")
        assert await whole(dashboard) == expected(level="error")
        assert "level ≥ error" in dashboard.chips
        hidden = len(everything) - len(expected(level="error"))
        assert f"{len(expected(level='error'))} of {len(everything)}" in dashboard.status
        assert f"1 filter hides {hidden}" in dashboard.status

        await dashboard.press("exclamation_mark")
        assert await whole(dashboard) == everything
        assert dashboard.chips == ""


async def test_the_selected_field_is_included_and_excluded() -> None:
    async with watching(file_source(SAMPLE)) as dashboard:
        await dashboard.press("up")
        while dashboard.selected.name is None:
            await dashboard.press("up")
        name = dashboard.selected.name
        selected = dashboard.selected.event_id

        await dashboard.press("i")
        assert dashboard.chips == f" filter  name = {name} ×"
        assert dashboard.selected.event_id == selected
        assert await whole(dashboard) == expected(name=[name])

        await dashboard.press("backspace", "g", "c")
        assert len(await whole(dashboard)) == len(expected())


async def test_hiding_a_level_shows_all_others() -> None:
    async with watching(file_source(SAMPLE)) as dashboard:
        await dashboard.press("up", "right")
        while dashboard.event_list.field != "log_level":
            await dashboard.press("right")
        level = dashboard.selected.log_level
        await dashboard.press("x")

        assert await whole(dashboard) == [event.event_id for event in sample_events() if event.log_level != level]


async def test_facets_count_and_filter() -> None:
    events = sample_events()
    async with watching(file_source(SAMPLE), size=(140, 60)) as dashboard:
        errors = sum(event.log_level == 40 for event in events)
        line = next(line for line in dashboard.facets.splitlines() if "error" in line)
        assert line.split()[-1] == str(errors)

        panel = dashboard.screen.query_one(FacetPanel)
        panel.focus()
        while panel.line is None or panel.line.value != "error":
            await dashboard.press("down")
        await dashboard.press("enter")

        assert [event.log_level for event in dashboard.events] == [40] * errors
        assert "+" in next(line for line in dashboard.facets.splitlines() if "error" in line)


async def test_stepping_goes_from_error_to_error_beyond_what_is_loaded(lab: Path) -> None:
    events = numbered(1200)
    for number in (3, 700):
        events[number] = events[number].changed(log_level=50)
    quiet = [event if event.log_level == 50 else event.changed(log_level=20) for event in events]
    async with watching(file_source(write_events(lab / "events.jsonl", quiet))) as dashboard:
        await dashboard.press("E")
        assert dashboard.selected.message == "message 700"
        await dashboard.press("E")
        assert dashboard.selected.message == "message 3"
        await dashboard.press("E")
        assert "no earlier error" in dashboard.status
        await dashboard.press("e")
        assert dashboard.selected.message == "message 700"


async def test_stepping_along_a_workflow() -> None:
    events = sample_events()
    workflows = Counter(event.ids["workflow_id"] for event in events if "workflow_id" in event.ids)
    workflow = workflows.most_common(1)[0][0]
    ids = [event.event_id for event in events if event.ids.get("workflow_id") == workflow]
    assert len(ids) > 1
    async with watching(file_source(SAMPLE)) as dashboard:
        row = dashboard.event_list.window.row_of(ids[-1].encode())
        assert row is not None
        dashboard.event_list.select(row.number)
        walked = [dashboard.selected.event_id]
        for _ in ids[1:]:
            await dashboard.press("O")
            walked.append(dashboard.selected.event_id)

        assert walked == ids[::-1]


async def test_search_finds_up_and_down(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(1000)))) as dashboard:
        await dashboard.press("slash")
        await dashboard.type("MESSAGE 77")
        assert "no earlier" in dashboard.status  # capitals are meant

        await dashboard.press("slash")
        await dashboard.type("message 77")
        found = [dashboard.selected.message]
        for _ in range(3):
            await dashboard.press("n" if len(found) == 3 else "N")
            found.append(dashboard.selected.message)

        assert found == ["message 779", "message 778", "message 777", "message 778"]


async def test_a_time_is_gone_to(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(1200)))) as dashboard:
        await dashboard.press("t")
        await dashboard.type("12:01:40")

        assert dashboard.selected.message == "message 100"
        assert not dashboard.event_list.following


async def test_a_click_in_the_histogram_goes_there(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(1200)))) as dashboard:
        width = dashboard.screen.size.width
        await dashboard.pilot.click("Histogram", offset=(width // 2, 0))
        await dashboard.settled()

        assert 500 < int(dashboard.selected.message.split()[1]) < 700


async def test_completion_knows_options_and_values() -> None:
    async with watching(file_source(SAMPLE)) as dashboard:
        screen = dashboard.screen

        assert screen.complete("--lev") == ["--level"]
        assert "--type workflow_start" in screen.complete("--type workflow_s")
        assert "--node liquidhandler_1" in screen.complete("--node liq")
        assert screen.complete("--level error ") == []


async def test_filters_given_at_the_start_are_shown() -> None:
    query = EventQuery.parse({"level": "warning", "include_archived": True})
    async with watching(file_source(SAMPLE), query=query) as dashboard:
        assert "level ≥ warning" in dashboard.chips


@pytest.mark.parametrize(("key", "hint"), [("ampersand", "Enter apply"), ("slash", "Enter find"), ("t", "Enter go")])
async def test_the_keys_of_a_prompt_are_said_while_it_is_open(key: str, hint: str) -> None:
    async with watching(file_source(SAMPLE)) as dashboard:
        line = dashboard.screen.query_one(HintLine)
        await dashboard.press(key)
        assert text_of(line).startswith(f" {hint}")
        assert "pause" not in text_of(line)

        await dashboard.press("escape")
        assert "Space pause" in text_of(line)


async def test_a_hint_speaks_of_ids_by_name_or_by_their_end(lab: Path) -> None:
    manager = "01M84VGGJADP6KPTQCRNA0GN93"
    events = [
        event.model_copy(update={"event_data": {"message": "stepped"}, "source": OwnershipInfo(manager_id=manager)})
        for event in numbered(1)
    ]
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        await dashboard.press("up")
        line = dashboard.screen.query_one(HintLine)
        assert "i only manager …RNA0GN93   x hide it" in text_of(line)

        dashboard.screen.names["manager_id", manager] = "Example Workcell"
        await dashboard.press("left", "right")
        assert "i only manager Example Workcell   x hide it" in text_of(line)
