"""GET /events/stream over real sockets: each reader gets exactly its events, in received order, or is told what not."""

import asyncio
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from madsci_event_server.api import stream as streaming
from madsci_event_server.query import EventQuery
from tests.factories import an_event
from tests.live_server import LiveServer
from tests.server.stream_readers import StalledReader, StreamReader, reading
from tests.thread_server import ThreadServer

FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"level": "warning"},
    {"log_level": ["info", "critical"]},
    {"kind": "workflow_*"},
    {"kind": "!log_info"},
    {"node": "arm"},
    {"name": "hood"},
    {"source.bench": "3"},
    {"search": "plate -lost"},
    {"regex": "plate [0-9]*7$"},
    {"alert": "true"},
    {"workflow_id": "wf-1"},
    {"level": "error", "node": "arm"},
    {"since": "2026-11-23T12:30:00Z"},
    {"until": "2026-11-23T12:30:00Z"},
    {"include_archived": "true"},
    {"level": "warning"},
    {"search": "nothing has this word"},
    {"event_type": "log_*"},
    {},
)
"""Twenty readers' filters; two of them twice."""


@pytest.fixture(params=["sqlite", "memory:"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ThreadServer]:
    with ThreadServer(tmp_path, db=None if request.param == "sqlite" else request.param) as running:
        yield running


@pytest.fixture
def sqlite_server(tmp_path: Path) -> Iterator[ThreadServer]:
    with ThreadServer(tmp_path) as running:
        yield running


async def send(server: ThreadServer | LiveServer, *events: dict[str, Any]) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{server.url}/events", json=list(events), timeout=60)
    assert answer.json()["rejected"] == []


def numbered(first: int, last: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"event_id": f"e-{number}", **fields} for number in range(first, last + 1)]


def ids(first: int, last: int) -> list[str]:
    return [f"e-{number}" for number in range(first, last + 1)]


def mixed(count: int) -> list[dict[str, Any]]:
    """Events that some of FILTERS match and others not."""
    chance = random.Random(7)
    return [
        {
            "event_id": f"e-{number}",
            "event_type": chance.choice(("log_info", "workflow_start", "workflow_complete", "log_error")),
            "log_level": chance.choice((10, 20, 20, 30, 40, 50)),
            "alert": chance.random() < 0.1,
            "event_timestamp": f"2026-11-23T12:{chance.randrange(60):02}:00Z",
            "source": {"name": chance.choice(("arm", "hood", "reader")), "bench": str(chance.randrange(5))},
            "event_data": {
                "message": chance.choice((f"plate {number}", f"plate {number} lost", "door open")),
                "workflow_id": f"wf-{chance.randrange(3)}",
            },
        }
        for number in range(count)
    ]


# --- where it begins -------------------------------------------------------------------------------------------------


async def test_it_greets_and_goes_on_from_now(server: ThreadServer) -> None:
    await send(server, *numbered(1, 3))
    async with reading(server.url) as stream:
        await send(server, *numbered(4, 5))

        assert await stream.events(2) == ids(4, 5)
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["x-accel-buffering"] == "no"
        hello = stream.seen[0]
    assert list(hello.data) == ["cursor", "server_time", "version"]
    assert hello.cursor == hello.data["cursor"]


async def test_an_event_is_the_json_every_other_answer_gives(server: ThreadServer) -> None:
    async with reading(server.url) as stream:
        await send(server, {"event_id": "e", "event_data": {"message": "line\nbreak \u2028 é"}, "extra": 2**70})
        message = await stream.until("")
    async with httpx.AsyncClient() as client:
        assert message.data == (await client.get(f"{server.url}/event/e")).json()


@pytest.mark.parametrize(("last", "first"), [(1, 9), (4, 6), (9, 1), (500, 1)])
async def test_last_begins_so_many_back(server: ThreadServer, last: int, first: int) -> None:
    await send(server, *numbered(1, 9))
    async with reading(server.url, last=last) as stream:
        assert await stream.events(10 - first) == ids(first, 9)


async def test_last_counts_what_matches_however_far_back(server: ThreadServer) -> None:
    await send(server, *numbered(1, 3, log_level="error"), *numbered(4, 400))
    async with reading(server.url, last=2, level="error") as stream:
        assert await stream.events(2) == ids(2, 3)


async def test_last_is_of_received_order(server: ThreadServer) -> None:
    await send(server, *numbered(1, 2), *numbered(3, 3, event_timestamp="1999-12-31T00:00:00Z"))
    async with reading(server.url, last=1) as stream:
        assert await stream.events(1) == ["e-3"]


async def test_after_and_last_event_id_resume(server: ThreadServer) -> None:
    await send(server, *numbered(1, 5))
    async with reading(server.url, last=5) as stream:
        await stream.events(2)
        cursor = stream.seen[-1].cursor
    async with reading(server.url, after=cursor) as stream:
        assert await stream.events(3) == ids(3, 5)
    async with reading(server.url, {"Last-Event-ID": cursor}, last=1) as stream:
        assert await stream.events(3) == ids(3, 5)


@pytest.mark.parametrize(
    ("parameters", "status", "said"),
    [
        ({"after": "r.0123456789abcdef.1.0"}, 410, "another store"),
        ({"after": "nonsense"}, 422, "is not a cursor"),
        ({"level": "loud"}, 422, "level"),
        ({"levle": "info"}, 422, "did you mean level?"),
        ({"limit": 3}, 422, "has no meaning"),
        ({"order": "time"}, 422, "has no meaning"),
        ({"last": -1}, 422, "last"),
        ({"last": 3, "after": "r.0123456789abcdef.1.0"}, 422, "give one of them"),
    ],
)
async def test_refusals_come_before_the_first_byte(
    server: ThreadServer, parameters: dict[str, Any], status: int, said: str
) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{server.url}/events/stream", params=parameters)

    assert answer.status_code == status
    assert said in answer.json()["detail"]


async def test_a_cursor_the_store_has_not_reached_is_refused(server: ThreadServer) -> None:
    """As after a restore from an older copy: silence would hide what comes until then."""
    await send(server, *numbered(1, 1))
    async with reading(server.url, last=1) as stream:
        cursor = (await stream.until("")).cursor.replace(".1.0", ".7.0")
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{server.url}/events/stream", params={"after": cursor})

    assert answer.status_code == 410


async def test_a_selector_filters_a_stream_sent_as_json(server: ThreadServer) -> None:
    await send(server, *numbered(1, 3), {"event_id": "x", "event_data": {"plate": "P7"}})
    query = {"selector": {"event_data.plate": "P7"}}
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{server.url}/events/stream?last=1", json=query) as response,
    ):
        assert await StreamReader(response).events(1) == ["x"]


# --- what comes ------------------------------------------------------------------------------------------------------


async def test_twenty_readers_get_exactly_their_events_in_order(server: ThreadServer) -> None:
    events = mixed(1500)
    end = {"event_id": "end", "log_level": 50, "alert": True}
    async with asyncio.TaskGroup() as group, asyncio.timeout(100):
        readers = [group.create_task(_ids_until_quiet(server, filters, len(events))) for filters in FILTERS]
        await _until_readers(server, len(FILTERS))
        for start in range(0, len(events), 50):
            await send(server, *events[start : start + 50])
        await send(server, end)
    for filters, reader in zip(FILTERS, readers, strict=True):
        assert reader.result() == _matching(filters, events), filters


async def _ids_until_quiet(server: ThreadServer, filters: dict[str, Any], count: int) -> list[str]:
    """Reads until the cursor has passed so many events, which heartbeats or later events tell."""
    found: list[str] = []
    async with reading(server.url, **filters) as stream:
        while int(stream.seen[-1].cursor.split(".")[2]) < count + 1:
            message = await stream.next()
            if message.name == "":
                found.append(message.data["event_id"])
    return [event_id for event_id in found if event_id != "end"]


async def _until_readers(server: ThreadServer | LiveServer, count: int) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        while (await client.get("/health")).json()["stream_readers"] != count:
            pass


def _matching(filters: dict[str, Any], events: list[dict[str, Any]]) -> list[str]:
    pairs = [
        (name, str(item)) for name, value in filters.items() for item in (value if isinstance(value, list) else [value])
    ]
    query = EventQuery.from_parameters(pairs)
    return [event["event_id"] for event in events if query.matches(_event(event))]


def _event(document: dict[str, Any]) -> Any:
    fields = {name: value for name, value in document.items() if name not in ("event_id", "event_timestamp")}
    return an_event(id=document["event_id"], at=datetime.fromisoformat(document["event_timestamp"]), **fields)


async def test_a_raised_event_comes_again_as_raised(server: ThreadServer) -> None:
    async with reading(server.url) as stream:
        await send(server, *numbered(1, 2))
        await stream.events(2)
        await send(server, *numbered(1, 1, log_level="error"))
        message = await stream.next()

    assert (message.name, message.data["event_id"], message.data["log_level"]) == ("raised", "e-1", 40)


async def test_raised_while_away_is_told_first_received_while_away_is_new(server: ThreadServer) -> None:
    async with reading(server.url) as stream:
        await send(server, *numbered(1, 2))
        await stream.events(2)
        cursor = stream.seen[-1].cursor
    await send(server, *numbered(1, 1, log_level="error"), *numbered(3, 3), *numbered(3, 3, alert=True))
    # Archiving anything empties the memory: what was missed is read from the store.
    await _archive(server, "e-2")
    async with reading(server.url, after=cursor) as stream:
        first, second = await stream.next(), await stream.next()

    assert [(message.name, message.data["event_id"]) for message in (first, second)] == [("raised", "e-1"), ("", "e-3")]


async def test_an_event_raised_into_a_filter_comes(server: ThreadServer) -> None:
    async with reading(server.url, level="error") as stream:
        await send(server, *numbered(1, 2))
        await send(server, *numbered(2, 2, log_level="error"))

        assert (await stream.next()).data["event_id"] == "e-2"


async def test_a_node_named_meanwhile_is_found_by_its_name(server: ThreadServer) -> None:
    node = "01M84VMC3N1SG08XM8G777QGT5"
    async with reading(server.url, node="arm_7") as stream:
        await send(server, *numbered(1, 1, source={"node_id": node}))
        await send(server, *numbered(2, 2, source={"node_id": node, "name": "arm_7"}))
        await send(server, *numbered(3, 3, source={"node_id": node}))

        assert await stream.events(2) == ids(2, 3)


async def _archive(server: ThreadServer, *event_ids: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{server.url}/events/archive", json={"event_ids": event_ids})
    assert answer.json()["archived_count"] == len(event_ids)


async def test_what_is_live_and_what_is_caught_up_on_are_the_same_bytes(server: ThreadServer) -> None:
    async with reading(server.url) as live:
        start = live.seen[0].cursor
        for chunk in range(0, 600, 60):
            await send(server, *mixed(600)[chunk : chunk + 60])
        await live.events(600)
    await send(server, {"event_id": "old"})
    await _archive(server, "old")
    async with reading(server.url, after=start) as later:
        await later.events(600)

    assert [message for message in later.seen[1:] if message.name == ""] == live.seen[1:]


async def test_purged_events_are_a_gap(server: ThreadServer) -> None:
    async with reading(server.url) as stream:
        cursor = stream.seen[0].cursor
    await send(server, *numbered(1, 5))
    await _archive(server, "e-2", "e-4")
    async with httpx.AsyncClient() as client:
        await client.delete(f"{server.url}/events/archived", params={"older_than_days": 0})
    for parameters in ({}, {"level": "info"}):
        async with reading(server.url, after=cursor, **parameters) as stream:
            gap = await stream.next()

            assert await stream.events(3) == ["e-1", "e-3", "e-5"]
        assert gap.name == "gap"
        assert list(gap.data) == ["after", "before", "missing", "reason"]
        assert (gap.data["after"], gap.data["before"]) == (cursor, cursor.replace(".0.0", ".5.0"))


# --- slow, gone, stopped ---------------------------------------------------------------------------------------------


async def test_a_reader_that_reads_nothing_holds_nobody_up_and_gets_everything_later(
    sqlite_server: ThreadServer,
) -> None:
    stalled = await StalledReader.connected(sqlite_server.port)
    async with reading(sqlite_server.url) as other:
        for start in range(1, 12_001, 2000):
            await send(sqlite_server, *numbered(start, start + 1999, event_data="x" * 500))
        assert await other.events(12_000) == ids(1, 12_000)

    assert await stalled.ids_until("e-12000") == ids(1, 12_000)
    await stalled.close()


async def test_readers_that_vanish_leave_nothing_behind(server: ThreadServer) -> None:
    for _ in range(5):
        stalled = [
            await StalledReader.connected(server.port, f"/events/stream?level={level}") for level in (10, 20, 30)
        ]
        await send(server, *numbered(1, 50))
        for reader in stalled:
            await reader.close()
    await _until_readers(server, 0)

    assert server.context.live.queries == 0


async def test_a_reader_that_takes_nothing_for_long_is_cut_off_and_others_are_not(
    sqlite_server: ThreadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "STALLED_SECONDS", 1.0)
    stalled = await StalledReader.connected(sqlite_server.port)
    async with reading(sqlite_server.url) as other:
        await _until_readers(sqlite_server, 2)
        # It reads while the events are sent: on a busy machine that alone takes long enough to be cut off.
        large = [{"event_data": "x" * 500_000} for _ in range(30)]
        await asyncio.gather(send(sqlite_server, *large), other.events(30))
        await _until_readers(sqlite_server, 1)
        await asyncio.sleep(2.5)  # long enough to be cut off, had it anything to take
        await send(sqlite_server, *numbered(1, 3))

        assert await other.events(3) == ids(1, 3)
    await stalled.close()


async def test_stopping_says_goodbye_and_when_to_come_back(server: ThreadServer) -> None:
    async with reading(server.url) as stream:
        await asyncio.to_thread(server.stop)
        message = await stream.until("bye")
        with pytest.raises(StopAsyncIteration):
            await stream.next()

    assert message.data == {"reason": "the server is stopping", "retry_ms": 1000}


async def test_a_stalled_reader_does_not_keep_the_server_from_stopping(sqlite_server: ThreadServer) -> None:
    stalled = await StalledReader.connected(sqlite_server.port)
    await send(sqlite_server, *numbered(1, 20), *[{"event_data": "x" * 500_000} for _ in range(30)])
    await asyncio.to_thread(sqlite_server.stop)

    await stalled.close()


async def _reads_with_interruptions(
    server: ThreadServer | LiveServer, last: str, interruptions: int, chance: random.Random
) -> list[str]:
    """A reader that is cut off again and again, and resumes after what it had."""
    found: list[str] = []
    cursor: str | None = None
    while not found or found[-1] != last:
        until = chance.randrange(1, 40) if interruptions > 0 else 10**9
        interruptions -= 1
        try:
            async with reading(server.url, **({} if cursor is None else {"after": cursor})) as stream:
                cursor = stream.seen[0].cursor
                while until > 0 and (not found or found[-1] != last):
                    message = await stream.next()
                    cursor = message.cursor
                    until -= 1
                    if message.name == "":
                        found.append(message.data["event_id"])
        except (httpx.TransportError, StopAsyncIteration):
            await asyncio.sleep(0.02)  # the server restarts
    return found


async def _interrupted(server: ThreadServer | LiveServer, events: int, interruptions: int, restarts: int) -> None:
    chance = random.Random(11)
    async with reading(server.url):
        reader = asyncio.create_task(_reads_with_interruptions(server, f"e-{events}", interruptions, chance))
        await _until_readers(server, 2)
    part = events // (restarts + 1)
    sent = 0
    while sent < events:
        upper = min(events, sent + part)
        for start in range(sent + 1, upper + 1, 20):
            await send(server, *numbered(start, min(start + 19, upper)))
        sent = upper
        if sent < events:
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
    async with asyncio.timeout(100):
        assert await reader == ids(1, events)


async def test_cut_off_and_restarted_nothing_is_missing_and_nothing_twice(sqlite_server: ThreadServer) -> None:
    await _interrupted(sqlite_server, events=400, interruptions=12, restarts=2)


@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_a_reader_that_reads_nothing_costs_bounded_memory(tmp_path: Path) -> None:
    """100,000 events of 1 kB come while it sleeps: what is kept for it is a chunk, not what it misses."""
    with LiveServer(tmp_path / "process") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:

            async def fill(first: int, last: int) -> int:
                for start in range(first, last + 1, 2000):
                    events = numbered(start, start + 1999, event_data="x" * 1000)
                    (await client.post("/events", json=events)).raise_for_status()
                return _resident_bytes(server.process.pid)

            before = await fill(1, 20_000)
            stalled = [await StalledReader.connected(server.port) for _ in range(5)]
            after = await fill(20_001, 120_000)

            assert after - before < 40_000_000
            for reader in stalled:
                assert await reader.ids_until("e-120000") == ids(20_001, 120_000)
                await reader.close()


def _resident_bytes(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_two_hundred_times_cut_off(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "process") as server:
        await _interrupted(server, events=6000, interruptions=200, restarts=6)
