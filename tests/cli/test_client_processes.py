"""Events survive their process: real processes that fork, end, are interrupted and killed."""

import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from madsci_event_cli.sending.delivery import CUT_OFF
from madsci_event_cli.sending.spool import directory_for
from tests.cli.scripted_server import Hang, ScriptedServer, always, as_ours, scripted_server
from tests.processes import Process, free_port

PROGRAM = Path(__file__).with_name("logging_program.py")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def program(how: str, server: str, spool: Path, count: int = 1) -> Process:
    return Process([sys.executable, PROGRAM, how, server, spool, str(count)])


def run(how: str, server: str, spool: Path, count: int = 1) -> Process:
    """To its end."""
    with program(how, server, spool, count) as process:
        assert process.wait() == 0, process.said
    return process


def places_by_process(server: ScriptedServer) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for event in server.events:
        data = event["event_data"]
        if "process" in data:
            found[data["process"]].append(data["message"])
    return found


def left_in(spool: Path) -> list[str]:
    return sorted(path.name for path in spool.rglob("*") if path.is_file() and path.name != "server.url")


def test_a_script_that_logs_one_event_and_ends(server: ScriptedServer, spool: Path) -> None:
    process = run("count", server.url, spool)

    assert [event["event_data"]["message"] for event in server.events] == [0]
    assert left_in(spool) == []
    assert process.stderr.text == ""


def test_what_waits_at_the_end_is_said_and_delivered_by_the_next(spool: Path) -> None:
    port = free_port()
    process = run("count", f"http://127.0.0.1:{port}", spool, 5)

    assert "5 events for http://127.0.0.1:" in process.stderr.text
    assert "`madsci-events spool flush`" in process.stderr.text
    with scripted_server(port=port) as server:
        run("flush", server.url, spool)
        assert list(places_by_process(server).values()) == [list(range(5))]
    assert left_in(spool) == []


def test_the_end_does_not_wait_for_ever_for_a_server_that_hangs(server: ScriptedServer, spool: Path) -> None:
    server.behaviour = always(Hang())
    run("count", server.url, spool, 3)
    server.behaviour = as_ours
    run("flush", server.url, spool)

    assert list(places_by_process(server).values()) == [[0, 1, 2]]


@pytest.mark.parametrize("end", ["terminate", "kill", "interrupt"])
def test_an_event_whose_call_has_returned_survives_any_end(spool: Path, end: str) -> None:
    port = free_port()
    with program("wait", f"http://127.0.0.1:{port}", spool) as process:
        event_id = process.stdout.line(0).strip()
        getattr(process, end)()

    with scripted_server(port=port) as server:
        run("flush", server.url, spool)
        assert [event["event_id"] for event in server.events] == [event_id]


@pytest.mark.parametrize("rounds", [6, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_kill_9_at_any_moment_loses_nothing_that_was_logged(spool: Path, rounds: int) -> None:
    """The server comes and goes meanwhile; each program takes over what the killed ones left."""
    port = free_port()
    chance = random.Random(rounds)
    promised: list[str] = []
    arrived: dict[str, tuple[int, int]] = {}
    for round_ in range(rounds):
        with scripted_server(port=port if round_ % 3 else 0) as server:
            with program("for-ever", f"http://127.0.0.1:{port}", spool) as process:
                process.stdout.line(chance.randrange(1, 400))
                process.kill()
                promised += [line.strip() for line in process.stdout.lines if line.endswith("\n")]
            note(server, arrived)
    with scripted_server(port=port) as server:
        run("flush", server.url, spool)
        note(server, arrived)

    assert [event_id for event_id in promised if event_id not in arrived] == []
    # A kill ends a write, too, where it goes from one page of the file to the next: about once in a hundred rounds.
    cut_off = set_aside_in(spool)
    assert {entry["reason"] for entry in cut_off} <= {CUT_OFF}
    assert [entry for entry in cut_off if any(event_id in entry["event"] for event_id in promised)] == []
    assert [name for name in left_in(spool) if name != "set_aside.jsonl"] == []


def test_a_line_that_a_kill_cut_off_is_set_aside_and_the_rest_delivered(server: ScriptedServer, spool: Path) -> None:
    with program("wait", "http://127.0.0.1:9", spool) as process:
        event_id = process.stdout.line(0).strip()
        process.kill()
    [segment] = spool.rglob("*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"event_id":"01J')
    segment.parent.rename(directory_for(server.url, spool))
    flushed = run("flush", server.url, spool)

    assert [event["event_id"] for event in server.events] == [event_id]
    assert [(entry["event"], entry["reason"]) for entry in set_aside_in(spool)] == [('{"event_id":"01J', CUT_OFF)]
    assert "a process was killed while it wrote an event" in flushed.stderr.text
    assert "refused" not in flushed.stderr.text


def set_aside_in(spool: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in spool.rglob("set_aside.jsonl") for line in path.read_text().splitlines()]


def note(server: ScriptedServer, arrived: dict[str, tuple[int, int]]) -> None:
    for event in server.events:
        arrived[event["event_id"]] = (event["event_data"]["process"], event["event_data"]["message"])


@pytest.mark.skipif(not hasattr(sys, "getswitchinterval") or sys.platform == "win32", reason="fork is POSIX's")
def test_forked_processes_each_deliver_their_own_once(server: ScriptedServer, spool: Path) -> None:
    run("os.fork", server.url, spool, 200)
    run("flush", server.url, spool)
    found = places_by_process(server)

    assert sorted(len(places) for places in found.values()) == [200] * 4 + [800]
    for places in found.values():
        assert places == list(range(200)) * (len(places) // 200)
    assert len(server.arrivals) == len(server.events)
    assert left_in(spool) == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_deliver_their_own(server: ScriptedServer, spool: Path, method: str) -> None:
    run(method, server.url, spool, 100)
    run("flush", server.url, spool)

    assert list(places_by_process(server).values()) == [list(range(100))] * 4
    assert left_in(spool) == []


def test_a_signal_handler_may_log_in_the_middle_of_a_log_call(server: ScriptedServer, spool: Path) -> None:
    run("signals", server.url, spool, 20_000)
    run("flush", server.url, spool)  # on a busy machine more than the end of a program waits for
    [places] = places_by_process(server).values()

    assert places == list(range(20_000))
    assert len(server.events) > 20_000


def test_what_the_sending_logs_does_not_become_events(server: ScriptedServer, spool: Path) -> None:
    run("logging", server.url, spool, 100)

    assert [event["event_data"]["message"] for event in server.events] == [f"place {place}" for place in range(100)]


@pytest.mark.parametrize(
    ("processes", "count"),
    [(4, 500), pytest.param(20, 10_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])],
)
def test_many_processes_while_the_server_is_away(spool: Path, processes: int, count: int) -> None:
    port = free_port()
    running = [program("count", f"http://127.0.0.1:{port}", spool, count) for _ in range(processes)]
    for process in running:
        process.wait_for_line(r"^logged")
        process.wait()
    with scripted_server(port=port) as server:
        run("flush", server.url, spool)
        found = places_by_process(server)

    assert list(found.values()) == [list(range(count))] * processes
    assert left_in(spool) == []


def test_a_client_takes_over_from_those_that_die_while_it_lives(server: ScriptedServer, spool: Path) -> None:
    """A worker that was killed must not wait for the next start of the whole lab."""
    with program("wait", server.url, spool):
        server.wait_until(lambda server: len(server.events) == 1)
        server.behaviour = always(Hang())
        with program("wait", server.url, spool) as worker:
            event_id = worker.stdout.line(0).strip()
            worker.kill()
        server.behaviour = as_ours

        assert server.wait_until(lambda server: event_id in [event["event_id"] for event in server.events])


def test_importing_and_logging_load_neither_models_nor_faces(server: ScriptedServer, spool: Path) -> None:
    # Not rich: httpx loads it for its own command line, where it finds it.
    code = f"""
import sys
from madsci_event_cli import EventClient
print(*(name for name in ("httpx", "pydantic") if name in sys.modules))
client = EventClient(event_server={server.url!r}, spool_directory={str(spool)!r})
client.info("light"), client.flush()
print(*(name for name in ("pydantic", "typer", "textual", "fastapi", "pymongo") if name in sys.modules))
"""
    with Process([sys.executable, "-c", code]) as process:
        assert process.wait() == 0, process.said

    assert process.stdout.text == "\n\n"
    assert len(server.events) == 1
