"""The list: what it shows, when it moves, and when it stands still."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path

import pytest

from madsci_event_cli.tui.messages import EventsArrived
from madsci_event_cli.tui.rows import Note, id_of
from madsci_event_server.event import Event
from madsci_event_server.vocabulary import EventLogLevel
from tests.tui.watching import SAMPLE, file_source, numbered, sample_events, watching, write_events


async def test_it_opens_at_the_newest_event(lab: Path) -> None:
    path = write_events(lab / "events.jsonl", numbered(1000))

    async with watching(file_source(path)) as dashboard:
        assert "message 999" in dashboard.shown[-1]
        assert "message 998" in dashboard.shown[-2]
        assert "FILE  following" in dashboard.status


async def test_every_event_of_a_file_can_be_reached_by_paging_up(lab: Path) -> None:
    events = numbered(1300)
    path = write_events(lab / "events.jsonl", events)

    async with watching(file_source(path), size=(60, 120)) as dashboard:
        while not dashboard.event_list.at_oldest:
            await dashboard.press("pageup")

        assert [event.event_id for event in dashboard.events] == [event.event_id for event in events]


async def test_what_is_read_stays_where_it_is_while_a_page_is_added_above(lab: Path) -> None:
    path = write_events(lab / "events.jsonl", numbered(1200))

    async with watching(file_source(path)) as dashboard:
        events = dashboard.event_list
        await dashboard.press("up")
        top = events.window.first
        events.scroll_to(y=10, animate=False, immediate=True)
        before = dashboard.shown
        await dashboard.settled()

        assert events.window.first < top
        assert dashboard.shown == before


async def test_what_is_appended_to_the_file_is_followed(lab: Path) -> None:
    path = write_events(lab / "events.jsonl", numbered(10))

    async with watching(file_source(path)) as dashboard:
        with path.open("ab") as file:
            file.writelines(event.encode() + b"\n" for event in numbered(5, start=10))
        await dashboard.until(lambda: len(dashboard.events) == 15)

        assert "message 14" in dashboard.shown[14]


async def test_paused_it_counts_what_comes_and_shows_none_of_it(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(100)))) as dashboard:
        await dashboard.press("space")
        before = dashboard.shown
        dashboard.event_list.absorb([event.encode() for event in numbered(37, start=100)])
        await dashboard.pilot.pause()

        assert dashboard.shown == before
        assert "PAUSED 37 new (3 ERR)" in dashboard.status

        await dashboard.press("space")

        assert "message 136" in dashboard.shown[-1]
        assert "following" in dashboard.status


async def test_an_event_that_is_here_already_is_not_counted_again(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(10)))) as dashboard:
        await dashboard.press("space")
        dashboard.event_list.absorb([event.encode() for event in numbered(12)])
        await dashboard.pilot.pause()

        assert "PAUSED 2 new" in dashboard.status


async def test_moving_up_pauses_and_end_follows(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(100)))) as dashboard:
        await dashboard.press("up", "up")
        assert dashboard.selected.message == "message 98"
        assert "PAUSED" in dashboard.status

        await dashboard.press("end")
        assert "following" in dashboard.status
        assert dashboard.event_list.selected is None


async def test_down_at_the_last_row_takes_in_what_has_come(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(10)))) as dashboard:
        await dashboard.press("up")
        dashboard.event_list.absorb([event.encode() for event in numbered(1, start=10)])
        await dashboard.press("down", "down")

        assert dashboard.selected.message == "message 10"
        assert not dashboard.event_list.following


async def test_a_raised_event_changes_its_row_in_place(lab: Path) -> None:
    events = numbered(20)
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        row = dashboard.shown.index(next(line for line in dashboard.shown if "message 5" in line))
        dashboard.event_list.raise_events([events[5].changed(log_level=EventLogLevel.CRITICAL, alert=True).encode()])
        await dashboard.pilot.pause()

        assert "CRT!" in dashboard.shown[row]
        assert len(dashboard.events) == 20


async def test_a_raised_event_that_has_no_row_comes_in_as_new(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(3)))) as dashboard:
        dashboard.event_list.raise_events([numbered(1, start=50)[0].changed(log_level=EventLogLevel.ERROR).encode()])
        await dashboard.pilot.pause()

        assert "ERR" in dashboard.shown[3]
        assert "message 50" in dashboard.shown[3]


async def test_midnight_and_gaps_have_rows_of_their_own(lab: Path) -> None:
    late = numbered(1, event_timestamp=datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC))
    early = numbered(1, start=1, event_timestamp=datetime(2026, 11, 24, 0, 0, 1, tzinfo=UTC))
    async with watching(file_source(write_events(lab / "events.jsonl", [*late, *early]))) as dashboard:
        dashboard.event_list.absorb([Note("gap", "37 events were missed: the server restarted")])
        await dashboard.pilot.pause()

        assert dashboard.shown[1].startswith("── Tuesday 24 November 2026 ──")
        assert dashboard.shown[3].startswith("── 37 events were missed: the server restarted ──")


async def test_the_topmost_row_tells_a_day_that_is_not_today(lab: Path) -> None:
    path = write_events(lab / "events.jsonl", numbered(60))

    async with watching(file_source(path), clock=lambda: datetime(2026, 11, 24, 3, 0, tzinfo=UTC)) as dashboard:
        assert dashboard.shown[0].endswith("Mon 23 Nov")
        assert "Nov" not in "".join(dashboard.shown[1:])
    async with watching(file_source(path), clock=lambda: datetime(2027, 1, 5, tzinfo=UTC)) as dashboard:
        assert dashboard.shown[0].endswith("Mon 23 Nov 2026")
    async with watching(file_source(path)) as dashboard:
        assert "Nov" not in "".join(dashboard.shown)


async def test_the_window_is_bounded_and_still_goes_back_to_the_first_event(lab: Path) -> None:
    events = numbered(500)
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        dashboard.event_list.window.max_rows = 600
        dashboard.event_list.absorb([event.encode() for event in numbered(300, start=500)])
        await dashboard.pilot.pause()
        assert len(dashboard.events) == 600
        assert "message 799" in dashboard.shown[-1]

        await dashboard.press("g")

        assert dashboard.selected.message == "message 0"


async def test_marks_are_stepped_between(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(100)))) as dashboard:
        await dashboard.press("up", "m", "up", "up", "up", "m", "down", "down", "U")
        assert dashboard.selected.message == "message 96"

        await dashboard.press("u")
        assert dashboard.selected.message == "message 99"
        assert "◆" in dashboard.shown[-1]


@pytest.mark.parametrize("size", [(200, 50), (120, 40), (80, 24), (60, 15), (20, 5), (4, 2)])
async def test_it_fits_every_terminal(size: tuple[int, int]) -> None:
    async with watching(file_source(SAMPLE), size=size) as dashboard:
        await dashboard.press("E", "enter", "escape", "F", "H", "question_mark", "escape")

        assert all(len(line) <= size[0] for line in dashboard.shown)


async def test_the_sample_shows_names_not_ids() -> None:
    async with watching(file_source(SAMPLE)) as dashboard:
        named = next(event for event in sample_events() if event.name == "liquidhandler_1" and "node_id" in event.ids)
        row = dashboard.event_list.window.row_of(id_of(Event.model_validate(named).encode()))

        assert row is not None
        assert dashboard.screen.names["node_id", named.ids["node_id"]] == "liquidhandler_1"


async def test_what_comes_while_the_newest_page_is_fetched_is_not_lost(lab: Path) -> None:
    path = write_events(lab / "events.jsonl", numbered(1200))
    async with watching(file_source(path)) as dashboard:
        await dashboard.press("g")
        await dashboard.pilot.press("end")
        for start in range(1200, 1300, 10):
            with path.open("ab") as file:
                file.writelines(event.encode() + b"\n" for event in numbered(10, start=start))
            await dashboard.pilot.pause()
        await dashboard.until(lambda: dashboard.events and dashboard.events[-1].message == "message 1299")

        messages = [event.message for event in dashboard.events]
        assert messages == [f"message {number}" for number in range(1300 - len(messages), 1300)]
        assert dashboard.event_list.following


async def test_what_an_earlier_filter_had_on_the_way_is_not_shown(lab: Path) -> None:
    async with watching(file_source(write_events(lab / "events.jsonl", numbered(50)))) as dashboard:
        feed = dashboard.screen.feed
        await dashboard.press("exclamation_mark")
        dashboard.screen.post_message(EventsArrived([numbered(1, start=60)[0].encode()], feed))
        await dashboard.pilot.pause()

        assert len(dashboard.events) == 5


@pytest.mark.parametrize("size", [(200, 50), (120, 40), (80, 24), (60, 15)], ids=str)
async def test_nodes_of_one_kind_are_told_apart_at_every_usual_size(size: tuple[int, int], lab: Path) -> None:
    events = [
        event.model_copy(update={"event_data": {"message": "moved", "node_name": f"liquidhandler_{place}"}})
        for place, event in enumerate(numbered(2))
    ]
    async with watching(file_source(write_events(lab / "events.jsonl", events)), size=size) as dashboard:
        assert ["liquidhandler_0" in dashboard.shown[0], "liquidhandler_1" in dashboard.shown[1]] == [True, True]


async def test_an_empty_list_says_why_and_the_way_out(lab: Path) -> None:
    path = lab / "events.jsonl"
    path.touch()
    async with watching(file_source(path)) as dashboard:
        assert "no events" in "".join(dashboard.shown)
        path.write_bytes(b"\n".join(event.encode() for event in numbered(1)) + b"\n")
        await dashboard.until(lambda: dashboard.events)
        assert "no events" not in "".join(dashboard.shown)

        await dashboard.press("w", "exclamation_mark")
        assert "no event matches the filter" in "".join(dashboard.shown)
        assert "Backspace takes the last filter away" in "".join(dashboard.shown)

        await dashboard.press("backspace")
        assert "message 0" in "".join(dashboard.shown)


@pytest.mark.parametrize(
    ("minutes", "zone", "first"),
    [
        (16, UTC, "12:00"),
        (16, timezone(timedelta(hours=5, minutes=45)), "17:46"),
        (16, timezone(timedelta(hours=-3, minutes=-30)), "08:30"),
        (1, UTC, "12:00:00"),
        (60 * 11, UTC, "12:00"),
        (60 * 24 * 30, UTC, "30 Nov"),
    ],
    ids=["16 min", "east", "west", "1 min", "11 h", "30 days"],
)
async def test_the_axis_has_round_times(minutes: int, zone: tzinfo, first: str, lab: Path) -> None:
    events = numbered(1) + numbered(1, start=minutes * 60)
    async with watching(file_source(write_events(lab / "events.jsonl", events)), zone=zone) as dashboard:
        axis = dashboard.histogram.splitlines()[-1]
        times = re.findall(r"[\d:]+\d(?: [A-Z][a-z]+)?", axis)

    assert times[0] == first
    assert len(times) >= 4
    if ":" in first:
        numbers = [sum(int(part) * 60**place for place, part in enumerate(time.split(":")[::-1])) for time in times]
        step = numbers[1] - numbers[0]
        assert numbers == [numbers[0] + step * place for place in range(len(numbers))]
        assert [number % step for number in numbers] == [0] * len(numbers)
