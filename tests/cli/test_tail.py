"""`tail`: the last events, then those that come; when it ends, and what it says then."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.followers import ids, numbered, send
from tests.cli.runs import COMMAND, run_here
from tests.live_server import LiveServer
from tests.processes import WAIT_SECONDS, Process, free_port
from tests.thread_server import ThreadServer

CURSOR = r"--after (r\.\w+\.\d+\.0)"


@pytest.fixture
def lab_server(tmp_path: Path) -> Iterator[ThreadServer]:
    """A server with nine events."""
    with ThreadServer(tmp_path) as running:
        send(running, *numbered(1, 9, event_timestamp="2026-11-23T12:00:00Z"))
        yield running


def shown_ids(out: str) -> list[str]:
    return [json.loads(line)["event_id"] for line in out.splitlines()]


def tailing(server: ThreadServer | LiveServer, *arguments: str) -> Process:
    """`tail` as a process."""
    return Process([*COMMAND, "tail", *arguments, "--server", server.url])


def test_the_last_in_order_of_time(lab_server: ThreadServer) -> None:
    send(lab_server, {"event_id": "late", "event_timestamp": "2026-11-23T11:00:00Z"})

    ran = run_here("tail", "-n", "3", "-o", "jsonl", server=lab_server.url)

    assert (ran.code, shown_ids(ran.out), ran.err) == (0, ids(7, 9), "")


def test_ten_unless_told_otherwise(lab_server: ThreadServer) -> None:
    send(lab_server, *numbered(10, 12))

    assert shown_ids(run_here("tail", "-o", "jsonl", server=lab_server.url).out) == ids(3, 12)


def test_none_that_match(lab_server: ThreadServer) -> None:
    ran = run_here("tail", "--level", "error", server=lab_server.url)

    assert (ran.code, ran.out, ran.err) == (0, "", "No event matches.\n")


def test_follow_shows_the_last_then_those_that_come(lab_server: ThreadServer) -> None:
    with tailing(lab_server, "-f", "-n", "2", "-o", "jsonl") as tail:
        tail.stdout.line(1)
        send(lab_server, *numbered(10, 11))
        tail.stdout.line(3)

        assert tail.interrupt() == 130
    assert shown_ids(tail.stdout.text) == ids(8, 11)
    assert re.fullmatch(rf"To go on from here: {CURSOR}\n", tail.stderr.text)


def test_the_cursor_at_the_end_is_where_another_goes_on(lab_server: ThreadServer) -> None:
    with tailing(lab_server, "-f", "-n", "1", "-o", "jsonl") as tail:
        tail.stdout.line(0)
        tail.interrupt()
    [cursor] = re.findall(CURSOR, tail.stderr.text)
    send(lab_server, *numbered(10, 12), {"event_id": "end", "event_type": "workflow_complete"})

    ran = run_here("tail", "--after", cursor, "--until-type", "workflow_complete", "-o", "jsonl", server=lab_server.url)

    assert (ran.code, shown_ids(ran.out)) == (0, [*ids(10, 12), "end"])


def test_a_server_that_restarts_is_said_on_stderr_and_costs_no_event(tmp_path: Path) -> None:
    arguments = ["-f", "-n", "0", "--until-type", "test_end", "-o", "jsonl"]
    with LiveServer(tmp_path) as server, tailing(server, *arguments) as tail:
        _connected(server)
        send(server, *numbered(1, 2))
        tail.stdout.line(1)
        server.kill()
        tail.wait_for_line("reconnecting in")
        server.start()
        send(server, *numbered(3, 4), {"event_id": "end", "event_type": "test_end"})

        assert tail.wait() == 0
    assert shown_ids(tail.stdout.text) == [*ids(1, 4), "end"]
    assert "connected again" in tail.stderr.text


def _connected(server: LiveServer) -> None:
    """Waits until somebody follows: what is sent then comes."""
    with server.client() as client:
        while not client.get("/health").json()["stream_readers"]:
            pass


@pytest.mark.parametrize(
    ("condition", "event"),
    [
        ("level>=error", {"log_level": "critical"}),
        ("level == warning", {"log_level": "warning"}),
        ("type=node_*", {"event_data": {"event_type": "node_error"}}),
        ("alert", {"alert": True}),
    ],
)
def test_exit_on(lab_server: ThreadServer, condition: str, event: dict[str, object]) -> None:
    with tailing(lab_server, "--exit-on", condition, "-n", "1", "-o", "jsonl") as tail:
        tail.stdout.line(0)
        send(lab_server, *numbered(10, 10), {"event_id": "feared"} | event)

        assert tail.wait() == 1
    assert shown_ids(tail.stdout.text) == ["e-9", "e-10", "feared"]


def test_what_was_there_before_ends_nothing(lab_server: ThreadServer) -> None:
    send(lab_server, {"log_level": "error"})

    ran = run_here("tail", "-f", "--exit-on", "level>=error", "--timeout", "0.2s", "-q", server=lab_server.url)

    assert (ran.code, len(ran.lines), ran.err) == (0, 10, "")


def test_time_is_over_before_what_was_waited_for(lab_server: ThreadServer) -> None:
    ran = run_here("tail", "-f", "--until-type", "workflow_complete", "--timeout", "0.2s", server=lab_server.url)

    assert ran.code == 5


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-f", "-o", "json"], "-o: json is one array"),
        (["--exit-on", "level~error"], "--exit-on: 'level~error' is no condition"),
        (["--exit-on", "level>=loud"], "--exit-on: 'loud' is not a level"),
        (["--timeout", "soon"], "--timeout"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_asked(arguments: list[str], named: str) -> None:
    ran = run_here("tail", *arguments, server=f"http://127.0.0.1:{free_port()}")

    assert (ran.code, ran.out) == (2, "")
    assert named in ran.err


def test_an_unreachable_server_is_said_before_the_first_byte() -> None:
    ran = run_here("tail", "-f", "-o", "csv", server=f"http://127.0.0.1:{free_port()}")

    assert (ran.code, ran.out) == (3, "")


def test_a_cursor_of_another_store(lab_server: ThreadServer) -> None:
    ran = run_here("tail", "-f", "--after", "r.0123456789abcdef.7.0", server=lab_server.url)

    assert ran.code == 1
    assert "another store" in ran.err


def test_head_takes_what_it_wants(lab_server: ThreadServer) -> None:
    """And nothing has to come for `tail` to know."""
    command = " ".join([*COMMAND, "tail", "-f", "-o", "jsonl", "--server", lab_server.url, "| head -n 1"])
    with Process(["bash", "-o", "pipefail", "-c", command]) as shell:
        shell.stdout.line(0)

        assert (shell.wait(), shell.stderr.text) == (0, "")


def test_a_reader_that_leaves_while_nothing_comes(lab_server: ThreadServer) -> None:
    ours, theirs = socket.socketpair()
    command = [*COMMAND, "tail", "-f", "-n", "1", "-o", "jsonl", "--server", lab_server.url]
    with theirs, subprocess.Popen(command, stdout=theirs.fileno()) as tail:
        theirs.close()
        assert ours.recv(1)
        ours.close()

        assert tail.wait(WAIT_SECONDS) == 0
