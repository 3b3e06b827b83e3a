"""The dashboard on a real server: followed, filtered, paused, killed and restarted, with nothing missing."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from madsci_event_cli.following import Patience
from madsci_event_cli.reader import EventReader
from madsci_event_cli.tui.screens.alerts import AlertsScreen
from madsci_event_cli.tui.server_source import ServerSource
from madsci_event_cli.tui.widgets.lines import HintLine
from madsci_event_server.event import Event
from tests.live_server import LiveServer
from tests.tui.watching import NOW, SAMPLE, Watched, file_source, numbered, sample_events, text_of, watching

IMPATIENT = Patience(first_seconds=0.05, longest_seconds=0.2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path / "server") as running:
        yield running


@asynccontextmanager
async def on_server(server: LiveServer, **options: Any) -> AsyncIterator[Watched]:
    reader = EventReader(server.url, patience=IMPATIENT)
    source = ServerSource(reader, ask_again_seconds=0.1)
    options.setdefault("clock", lambda: datetime.now(UTC))
    async with watching(source, **options) as dashboard:
        yield dashboard


def lately(events: list[Event]) -> list[Event]:
    """The events as if the last had happened just now: within the time that is counted."""
    shift = datetime.now(UTC) - events[-1].event_timestamp
    return [event.changed(event_timestamp=event.event_timestamp + shift, received_at=None) for event in events]


async def send(server: LiveServer, events: list[Event]) -> None:
    body = b"".join(event.encode() + b"\n" for event in events)
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(f"{server.url}/events", content=body)
    assert answer.json()["accepted"] == len(events), answer.text


def ids(events: list[Event]) -> list[str]:
    return [event.event_id for event in events]


async def test_history_is_there_at_once_and_new_events_come_by_themselves(server: LiveServer) -> None:
    await send(server, numbered(30))
    async with on_server(server) as dashboard:
        assert ids(dashboard.events) == ids(numbered(30))
        assert "LIVE" in dashboard.status

        await send(server, numbered(5, start=30))
        await dashboard.until(lambda: len(dashboard.events) == 35)

        assert "message 34" in dashboard.shown[34]


async def test_a_burst_of_20000_events_is_followed_live(server: LiveServer) -> None:
    events = numbered(20_000)
    async with on_server(server, size=(100, 30)) as dashboard:
        sending = [asyncio.create_task(send(server, events[start : start + 2500])) for start in range(0, 20_000, 2500)]
        await asyncio.gather(*sending)
        await dashboard.until(lambda: dashboard.event_list.window.event_count == 20_000)

        assert sorted(ids(dashboard.events)) == ids(events)
        assert dashboard.event_list.following


async def test_pause_counts_a_burst_exactly_and_resume_shows_it(server: LiveServer) -> None:
    async with on_server(server) as dashboard:
        await send(server, numbered(50))
        await dashboard.until(lambda: len(dashboard.events) == 50)
        await dashboard.press("space")
        still = dashboard.shown
        await send(server, numbered(3000, start=50))
        await dashboard.until(lambda: dashboard.event_list.pending_count >= 3000)

        assert "PAUSED 3,000 new (300 ERR)" in dashboard.status
        assert dashboard.shown == still

        await dashboard.press("end")

        assert ids(dashboard.events) == ids(numbered(3050))


async def test_filters_narrow_and_widen_to_the_exact_rows(server: LiveServer) -> None:
    events = lately(sample_events())
    await send(server, events)
    async with on_server(server, size=(160, 60)) as dashboard:
        everything = ids(dashboard.events)
        assert sorted(everything) == sorted(ids(events))

        await dashboard.press("right_square_bracket", "exclamation_mark")
        errors = [event.event_id for event in events if event.log_level >= 40]
        assert ids(dashboard.events) == errors
        assert f"{len(errors)} of {len(events)}" in dashboard.status
        assert f"hides {len(events) - len(errors)} in 1 h" in dashboard.status

        await dashboard.press("ampersand")
        dashboard.screen.prompt.input.value = "--type workflow_* --node liquidhandler_1"
        await dashboard.press("enter")
        names = {"liquidhandler_1"}
        node_ids = {
            id_ for (field, id_), name in dashboard.screen.names.items() if field == "node_id" and name in names
        }
        assert ids(dashboard.events) == [
            event.event_id
            for event in events
            if event.kind.startswith("workflow_") and (event.name in names or event.ids.get("node_id") in node_ids)
        ]

        await dashboard.press("c")
        assert ids(dashboard.events) == everything


async def test_a_quiet_lab_is_said_to_be_quiet_and_how_to_look_further_back(server: LiveServer) -> None:
    old = [event.changed(event_timestamp=datetime.now(UTC) - timedelta(minutes=40)) for event in numbered(3)]
    await send(server, old)
    async with on_server(server) as dashboard:
        assert dashboard.facets.split("\n")[:2] == [" no events in 15 min", " ]  looks further back"]

        await dashboard.press("right_square_bracket")

        assert "node_0" in dashboard.facets
        assert "no events" not in dashboard.facets


async def test_a_filter_is_followed_too(server: LiveServer) -> None:
    async with on_server(server) as dashboard:
        await dashboard.press("exclamation_mark")
        await send(server, numbered(100))
        await dashboard.until(lambda: len(dashboard.events) == 10)

        assert [event.log_level for event in dashboard.events] == [40] * 10


async def test_a_selector_is_followed_and_counted(server: LiveServer) -> None:
    async with on_server(server) as dashboard:
        await dashboard.press("ampersand")
        dashboard.screen.prompt.input.value = """--selector '{"event_data.node_name": "node_1"}'"""
        await dashboard.press("enter")
        await send(server, lately(numbered(30)))
        await dashboard.until(lambda: len(dashboard.events) == 10)

        assert {event.name for event in dashboard.events} == {"node_1"}
        await dashboard.until(lambda: "10 of 30" in dashboard.status)


async def test_a_server_killed_and_restarted_while_following_costs_nothing(server: LiveServer) -> None:
    async with on_server(server) as dashboard:
        await send(server, numbered(100))
        await dashboard.until(lambda: len(dashboard.events) == 100)
        server.kill()
        await dashboard.until(lambda: "RETRY" in dashboard.status)
        server.start()
        await send(server, numbered(100, start=100))
        await dashboard.until(lambda: len(dashboard.events) == 200)

        assert ids(dashboard.events) == ids(numbered(200))
        notes = [row.note.text for row in dashboard.event_list.window.rows if row.note is not None]
        assert [note.partition(" after ")[0] for note in notes] == ["connected again"]
        assert "LIVE" in dashboard.status


async def test_a_server_that_is_not_there_yet_is_waited_for(server: LiveServer) -> None:
    server.stop()
    async with on_server_later(server) as dashboard:
        await dashboard.until(lambda: "RETRY" in dashboard.status)
        assert f"no event server answers at {server.url}" in "".join(dashboard.shown)
        assert "counting" not in dashboard.histogram
        server.start()
        await send(server, numbered(3))
        await dashboard.until(lambda: len(dashboard.events) == 3)

        assert "LIVE" in dashboard.status


@asynccontextmanager
async def on_server_later(server: LiveServer) -> AsyncIterator[Watched]:
    """A dashboard whose first page cannot come yet, so it is not waited for."""
    source = ServerSource(EventReader(server.url, patience=IMPATIENT), ask_again_seconds=0.1)
    async with watching(source, clock=lambda: datetime.now(UTC), settle=False) as dashboard:
        yield dashboard


async def test_another_service_at_the_address_is_said_to_be_one(server: LiveServer) -> None:
    async def not_events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(not_events, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    source = ServerSource(EventReader(f"http://127.0.0.1:{port}"), ask_again_seconds=60)
    async with other, watching(source, settle=False) as dashboard:
        await dashboard.until(lambda: "OFFLINE" in dashboard.status)


async def test_a_raised_event_changes_its_row(server: LiveServer) -> None:
    events = numbered(20)
    async with on_server(server) as dashboard:
        await send(server, events)
        await dashboard.until(lambda: len(dashboard.events) == 20)
        row = next(index for index, line in enumerate(dashboard.shown) if "message 5" in line)
        raised = events[5].changed(log_level=50, alert=True)
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{server.url}/event", content=raised.encode())
        assert answer.headers["Event-Outcome"] == "raised"
        await dashboard.until(lambda: "CRT!" in dashboard.shown[row])

        assert len(dashboard.events) == 20


async def test_old_events_are_paged_from_the_server(server: LiveServer) -> None:
    events = numbered(1300)
    await send(server, events)
    async with on_server(server, size=(60, 120), clock=lambda: NOW) as dashboard:
        assert len(dashboard.events) == 500
        while not dashboard.event_list.at_oldest:
            await dashboard.press("pageup")
        assert ids(dashboard.events) == ids(events)

        await dashboard.press("end", "g", "t")
        await dashboard.type("12:10:00")
        assert dashboard.selected.message == "message 600"


async def test_late_events_are_said_to_be_late_and_lag_is_another_thing(server: LiveServer) -> None:
    async with on_server(server, size=(180, 40)) as dashboard:
        await send(server, numbered(30))
        await dashboard.until(lambda: len(dashboard.events) == 30)

        assert "late" in dashboard.status
        assert "LIVE" in dashboard.status


async def test_alerts_are_shown_gone_to_and_taken_on(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "alerting", environment={"EVENT_ALERT_LEVEL": "error"}) as server:
        events = lately(numbered(10))
        async with on_server(server, size=(160, 40)) as dashboard:
            await send(server, events)
            await dashboard.until(lambda: len(dashboard.events) == 10)
            await dashboard.until(lambda: _looked(dashboard) and "1 open alert" in dashboard.status)
            await dashboard.press("A")
            assert "message" in text_of(dashboard.pilot.app.screen.query_one("_AlertLines"))

            await dashboard.press("enter")
            assert dashboard.selected.event_id == events[9].event_id

            await dashboard.press("A", "a")
            await dashboard.until(lambda: _looked(dashboard) and "open alert" not in dashboard.status)

            assert "alert" not in dashboard.status


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 15)], ids=str)
async def test_the_keys_of_the_alerts_stay_in_view_however_many_there_are(size: tuple[int, int]) -> None:
    alert = {"alert_id": "7f3k", "state": "open", "log_level": 40, "count": 1, "updated_at": "2026-11-23T18:59:00Z"}
    alerts = [{**alert, "source": "液体ハンドラー", "message": f"plate {number} " + "x" * 90} for number in range(99)]
    async with watching(file_source(SAMPLE), size=size) as dashboard:
        screen = AlertsScreen(alerts, NOW)
        await dashboard.pilot.app.push_screen(screen)
        await dashboard.pilot.pause()
        hints, lines = screen.query_one(HintLine), screen.query_one("_AlertLines")

        assert hints.region.bottom <= size[1] * 0.9
        assert text_of(hints).startswith(" Enter its last event   a take it on   Esc close")
        assert text_of(screen.query_one("_Title")).startswith(" Alerts: 99 open, 0 acknowledged")
        assert lines.size.height >= 3
        assert text_of(lines).splitlines()[0].endswith("…")


def _looked(dashboard: Watched) -> bool:
    """Looks now, instead of in fifteen seconds."""
    dashboard.screen.load_alerts()
    dashboard.screen.refresh_status()
    return True
