"""Batches that programs beside the server read: the same answers, whatever becomes of those programs."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madsci_event_server.api.context import Context
from madsci_event_server.api.events import PIECE_ITEMS
from madsci_event_server.app import create_app
from madsci_event_server.errors import InvalidSettings, TooLarge
from madsci_event_server.event import Event
from madsci_event_server.judging import Item, Judged, Lines, Work
from madsci_event_server.settings import Settings
from madsci_event_server.storage.sqlite_columns import SQLitePacking, rows_of
from madsci_event_server.storage.sqlite_rows import NewEvent
from madsci_event_server.workers import Judges, Workers, Worth
from tests.factories import NOON, events, json_values
from tests.live_server import LiveServer
from tests.server.calls import a_client

ALWAYS = Worth(starting=0, asking=0)
WAY = SQLitePacking()


class Gone:
    """Tells when another program has ended."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)

    async def wait(self) -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._descriptor, ended.set)
        await asyncio.wait_for(ended.wait(), 60)
        loop.remove_reader(self._descriptor)
        os.close(self._descriptor)


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    """One, that can be asked."""
    async with Workers(WAY, "UTC", 1) as workers:
        await workers.started()
        yield workers


async def judged(judges: Judges, items: Work) -> Judged[Any]:
    return await (await judges.begin(items, after=0))


def shown(judged: Judged[Any]) -> tuple[int, list[tuple[Any, ...]], list[tuple[int, str]]]:
    """All of it, in values that can be compared; words stand in any order."""
    for prepared in judged.prepared:
        prepared.stamp(NOON)
    return (
        judged.first,
        [_shown(row) for row in rows_of(judged.prepared)],
        [(place, str(error)) for place, error in judged.refused],
    )


def _shown(row: NewEvent) -> tuple[Any, ...]:
    words = sorted(row.tokens.split())
    return (row.event_id, row.event_type, row.time_us, row.state, row.archived_us, row.body, row.says_when, row.terms,
        words, row.named_ids)  # fmt: skip


async def test_what_many_events_have_in_common_a_worker_writes_once() -> None:
    packer = WAY.packer()
    for id_ in "ab":
        packer.add(Event.sent({"event_id": id_, "source": {"host": "lab-7"}}))

    [columns] = WAY.unpack(packer.packed())

    assert columns.terms == [("kind", "unknown"), ("event_type", "unknown"), ("source.host", "lab-7")]
    assert columns.term_numbers == [0, 1, 2] * 2


async def judged_by_both(workers: Workers, items: Work) -> tuple[Judged[Any], Judged[Any]]:
    before = workers.answers
    there = await judged(Judges(NewEvent, UTC, workers, worth=ALWAYS), items)
    assert workers.answers == before + 1
    return there, await judged(Judges(NewEvent, UTC), items)


sent_events = events().map(lambda event: event.wire())
bodies = st.one_of(
    sent_events.map(lambda sent: json.dumps(sent).encode()),
    st.tuples(sent_events, json_values, st.sampled_from(("log_level", "source", "event_id", "event_data", "x"))).map(
        lambda parts: json.dumps(parts[0] | {parts[2]: parts[1]}).encode()
    ),
    st.binary(max_size=20),
    st.sampled_from((b"[]", b'{"x":1,"x":2}', b'{"log_level":"loud"}', b'{"\\ud800": 1, "event_id": "\\ud800"}')),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(bodies, min_size=1, max_size=12), st.integers(0, 10**6))
async def test_a_worker_judges_as_the_server_does(workers: Workers, bodies: list[bytes], first: int) -> None:
    there, here = await judged_by_both(workers, [Item(first + n, body) for n, body in enumerate(bodies)])

    assert shown(there) == shown(here)


async def test_items_that_are_none_stay_in_their_places(workers: Workers) -> None:
    too_large = TooLarge("event", "is too large")
    items = [Item(3, b"", too_large), Item(4, b'{"event_id":"a"'), Item(5, b"", too_large), Item(6, b"7")]
    items += [Item(7, b'{"event_id": "a", "event_timestamp": 0}')]

    there, here = await judged_by_both(workers, items)

    assert [refused.place for refused in there.refused] == [3, 4, 5, 6]
    assert shown(there) == shown(here)


async def test_lines_are_taken_apart_by_the_worker(workers: Workers) -> None:
    body = b'{"event_id": "a", "event_timestamp": 0}\r\n{"event_id": 7} \n {"event_id": "b", "event_timestamp": 0}'

    there, here = await judged_by_both(workers, Lines(5, 3, body))

    assert [refused.place for refused in there.refused] == [6]
    assert shown(there) == shown(here)
    assert [row.event_id for row in rows_of(there.prepared)] == ["a", "b"]


async def test_an_item_that_fills_no_pipe_and_one_that_does(workers: Workers) -> None:
    large = json.dumps({"event_id": "b", "event_timestamp": 0, "event_data": {"message": "x" * 3_000_000}}).encode()

    there, here = await judged_by_both(workers, [Item(0, large), Item(1, b"{}x"), Item(2, large)])

    assert shown(there) == shown(here)


async def test_what_is_small_is_judged_in_the_server(workers: Workers) -> None:
    judges = Judges(NewEvent, UTC, workers, worth=Worth(starting=1000, asking=3))

    await judged(judges, [Item(0, b"{}"), Item(1, b"{}")])
    assert workers.answers == 0
    await judged(judges, [Item(0, b"{}"), Item(1, b"{}"), Item(2, b"{}")])
    assert workers.answers == 1
    await judged(judges, [Item(0, b'{"event_data": "%s"}' % (b"x" * 3072))])
    assert workers.answers == 2


async def test_workers_start_when_a_batch_is_worth_it() -> None:
    async with Workers(WAY, None, 1) as workers:
        judges = Judges(NewEvent, None, workers, worth=Worth(starting=10, asking=1))

        await judges.begin([Item(0, b"{}")], after=8)
        assert not workers.are_there
        await judges.begin([Item(0, b"{}")], after=9)
        assert workers.are_there


async def test_idle_workers_end() -> None:
    async with Workers(WAY, None, 1, idle_seconds=0) as workers:
        workers.start()
        await workers.started()
        await workers.ended()

        assert workers.pids == []
        assert (await judged(Judges(NewEvent, None, workers, worth=ALWAYS), [Item(0, b"{}")])).end == 1


async def test_a_worker_that_hangs_is_killed_when_the_server_stops() -> None:
    async with Workers(WAY, None, 1, stop_seconds=0) as workers:
        await workers.started()
        [pid] = workers.pids
        gone = Gone(pid)
        os.kill(pid, signal.SIGSTOP)

    await gone.wait()


async def test_a_worker_that_does_not_answer_is_given_up() -> None:
    async with Workers(WAY, None, 1, answer_seconds=0) as workers:
        await workers.started()
        os.kill(workers.pids[0], signal.SIGSTOP)
        found = await judged(Judges(NewEvent, None, workers, worth=ALWAYS), [Item(0, b"{}")])
        await workers.ended()

        assert found.end == 1
        assert not workers.are_there


async def test_a_worker_whose_python_talks_is_none(
    lab: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (lab / "sitecustomize.py").write_text("print('hello')")
    monkeypatch.setenv("PYTHONPATH", str(lab))
    async with Workers(WAY, None, 1) as workers:
        await workers.started()
        await workers.ended()

        assert workers.pids == []
    assert "write to stdout" in caplog.text


async def test_a_worker_that_cannot_start_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    class OfNoStore(SQLitePacking):
        kind = "none"  # type: ignore[misc]

    async with Workers(OfNoStore(), None, 2) as workers:
        judges = Judges(NewEvent, None, workers, worth=ALWAYS)
        await workers.started()
        await workers.ended()
        found = await judged(judges, [Item(0, b"{}")])

        assert found.end == 1
        assert not workers.are_there
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "exit status 1" in caplog.text


async def test_a_worker_knows_the_zone_of_the_lab() -> None:
    async with Workers(WAY, "America/Chicago", 1) as workers:
        await workers.started()
        judges = Judges(NewEvent, UTC, workers, worth=ALWAYS)
        found = await judged(judges, [Item(0, b'{"event_timestamp": "2026-11-23T06:00:00"}')])

    found.prepared[0].stamp(NOON)
    [row] = rows_of(found.prepared)
    assert b'"event_timestamp":"2026-11-23T12:00:00.000000Z"' in row.body


@pytest.mark.usefixtures("no_blocking")
async def test_workers_never_block_the_event_loop() -> None:
    async with Workers(WAY, None, 1) as workers:
        await workers.started()
        await judged(Judges(NewEvent, None, workers, worth=ALWAYS), [Item(0, b"{}")])

        assert workers.answers == 1


# --- In a server ---


@asynccontextmanager
async def an_app(lab: Path) -> AsyncIterator[tuple[FastAPI, Workers]]:
    app = create_app(Settings(lab_directory=lab, batch_workers=1), worth=ALWAYS)
    async with app.router.lifespan_context(app):
        context: Context = app.state.context
        workers = context.judges.workers
        assert workers is not None
        await workers.started()
        yield app, workers


def lines(first: int, end: int) -> bytes:
    return b"".join(b'{"event_id": "e%05d"}\n' % number for number in range(first, end))


async def stored_ids(client: httpx.AsyncClient) -> list[str]:
    found = (await client.post("/events/search", json={"order": "received", "limit": 10_000})).json()
    return [event["event_id"] for event in found["events"]]


async def test_a_worker_killed_in_the_midst_of_a_batch_loses_nothing(
    lab: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed: list[int] = []

    async with an_app(lab) as (app, workers), a_client(app) as client:

        async def body() -> AsyncIterator[bytes]:
            yield lines(0, PIECE_ITEMS)
            [pid] = workers.pids
            os.kill(pid, signal.SIGSTOP)  # so that it has something to lose
            yield lines(PIECE_ITEMS, 2 * PIECE_ITEMS)
            assert workers.questions > 0
            gone = Gone(pid)
            os.kill(pid, signal.SIGKILL)
            await gone.wait()
            killed.append(pid)
            yield lines(2 * PIECE_ITEMS, 4000)

        answer = await client.post("/events", content=body())
        await workers.started()

        assert answer.json() == {"accepted": 4000, "duplicates": 0, "raised": 0, "conflicts": 0, "rejected": []}
        assert await stored_ids(client) == [f"e{number:05}" for number in range(4000)]
        assert workers.pids
        assert workers.pids != killed
    assert f"pid {killed[0]}" in caplog.text


async def test_a_batch_given_up_does_not_confuse_the_next(lab: Path) -> None:
    """Who sent it left while a worker was at it: its answer is nobody's."""
    taken = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield lines(0, PIECE_ITEMS + 1)
        taken.set()
        await asyncio.Event().wait()

    async with an_app(lab) as (app, workers), a_client(app) as client:
        [pid] = workers.pids
        os.kill(pid, signal.SIGSTOP)
        sending = asyncio.create_task(client.post("/events", content=body()))
        await taken.wait()
        assert workers.questions == 1
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        os.kill(pid, signal.SIGCONT)
        answer = await client.post("/events", content=lines(5000, 5800))

        assert answer.json()["accepted"] == 800
        assert await stored_ids(client) == [f"e{number:05}" for number in range(5000, 5800)]


def workers_of(server: LiveServer) -> list[int]:
    """The programs it started: `/proc` knows."""
    tasks = Path(f"/proc/{server.process.pid}/task")
    return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]


@pytest.mark.parametrize("end", ["kill", "interrupt", "terminate"])
async def test_workers_end_with_their_server_however_it_ends(lab: Path, end: str) -> None:
    with LiveServer(lab, environment={"EVENT_BATCH_WORKERS": "2"}) as server:
        with server.client() as client:
            assert client.post("/events", content=lines(0, 5000)).json()["accepted"] == 5000
        pids = workers_of(server)
        gone = [Gone(pid) for pid in pids]

        code = await asyncio.to_thread(getattr(server.process, end))

        for worker in gone:
            await worker.wait()
        assert len(pids) == 2
        assert code == (-signal.SIGKILL if end == "kill" else 0)
        assert server.process.stderr.lines[1:] == []


def test_how_many_is_a_setting() -> None:
    settings, warnings = Settings.read({"EVENT_BATCH_WORKERS": "0"})

    assert settings.batch_workers == 0
    assert settings.origins["batch_workers"] == "EVENT_BATCH_WORKERS"
    assert warnings == []
    assert create_app(settings).state.context.judges.workers is None
    with pytest.raises(InvalidSettings, match="EVENT_BATCH_WORKERS: 'many' is not a number of workers"):
        Settings.read({"EVENT_BATCH_WORKERS": "many"})
