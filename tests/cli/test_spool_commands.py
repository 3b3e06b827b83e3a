"""The shell's way in: events that must not be lost because the server is away, and pipes that run for days."""

import io
import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from madsci_event_cli.diagnostics import ExitCode
from tests.cli.runs import COMMAND, Ran, Terminal, run_here, run_with
from tests.cli.scripted_server import Reply, Request, ScriptedServer, always, as_ours, batch_reply, scripted_server
from tests.live_server import LiveServer
from tests.processes import Process, free_port

NODE = "01JYKZDPANTNRYXF5TQKRJS0F2"


@pytest.fixture
def spool(tmp_path: Path) -> Mapping[str, str]:
    """The variable that says where spools are."""
    return {"EVENT_CLIENT_SPOOL_DIR": str(tmp_path / "spool")}


@pytest.fixture
def away() -> str:
    """The address of a server that is not there."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


def started(address: str) -> int:
    """The port on which the server that was away comes back."""
    return int(address.rpartition(":")[2])


def spools(spool: Mapping[str, str]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run_here("spool", "list", "-o", "json", environment=spool).out)[
        "spools"
    ]
    return found


def piped(text: str, *arguments: str, server: str, spool: Mapping[str, str]) -> Ran:
    return run_here("log", "-", *arguments, server=server, environment=spool, stdin=io.StringIO(text))


# --- log --spool -----------------------------------------------------------------------------------------------------


def test_without_spool_a_server_that_is_away_is_a_failure(away: str, spool: Mapping[str, str]) -> None:
    ran = run_here("log", "hello", server=away, environment=spool)

    assert (ran.code, ran.out) == (ExitCode.UNREACHABLE, "")
    assert spools(spool) == []


def test_with_spool_the_event_waits_and_that_is_said(away: str, spool: Mapping[str, str]) -> None:
    ran = run_here("log", "hello", "--spool", "--level", "error", server=away, environment=spool)

    assert ran.code == ExitCode.OK
    assert "cannot connect" in ran.err
    assert "`madsci-events spool flush`" in ran.err
    [waiting] = spools(spool)
    assert (waiting["server"], waiting["events"], waiting["living_processes"]) == (away, 1, 0)
    with scripted_server(port=started(away)) as server:
        assert run_here("spool", "flush", environment=spool).code == ExitCode.OK
        [event] = server.events
    assert (event["event_id"], event["log_level"]) == (ran.out.strip(), 40)
    assert event["event_data"] == {"message": "hello"}
    assert spools(spool) == []


def test_the_next_that_reaches_the_server_takes_the_others_along(
    own_server: LiveServer, spool: Mapping[str, str]
) -> None:
    own_server.stop()
    ids = [run_here("log", "x", "--spool", server=own_server.url, environment=spool).out.strip() for _ in range(2)]
    own_server.start()
    ids.append(run_here("log", "x", "--spool", server=own_server.url, environment=spool).out.strip())

    found = run_here("query", "--all", "--fields", "event_id", server=own_server.url).lines
    assert sorted(found) == sorted(ids)
    assert spools(spool) == []


def test_what_the_server_refuses_is_a_failure_spool_or_not(own_server: LiveServer, spool: Mapping[str, str]) -> None:
    ran = run_here("log", "x", "--node-id", "arm_1", "--spool", server=own_server.url, environment=spool)

    assert ran.code == ExitCode.REFUSED
    assert "arm_1" in ran.err
    assert spools(spool) == []


# --- log - -----------------------------------------------------------------------------------------------------------


def test_lines_are_messages_data_or_whole_events(scripted: ScriptedServer, spool: Mapping[str, str]) -> None:
    lines = [
        "plain text",
        "",
        '{"temperature": 5}',
        '{"event_id": "mine", "event_type": "lab_start", "event_data": [1], "source": {}}',
        '{"broken": ',
        "[1, 2]",
        '  "quoted"  \r',
        "no end",
    ]
    ran = piped("\n".join(lines), "--level", "warning", "--node-id", NODE, server=scripted.url, spool=spool)
    events = scripted.events

    assert (ran.code, ran.out) == (ExitCode.OK, "")
    assert [event["event_data"] for event in events] == [
        {"message": "plain text"},
        {"temperature": 5},
        [1],
        {"message": '{"broken": '},
        {"message": "[1, 2]"},
        {"message": '  "quoted"  '},
        {"message": "no end"},
    ]
    assert [event["event_id"] for event in events].index("mine") == 2
    assert {event["log_level"] for event in events if event["event_id"] != "mine"} == {30}
    assert events[0]["source"] == {"node_id": NODE}
    assert events[2]["source"] == {}
    assert ran.err == "7 events read, 7 delivered\n"


def test_a_query_can_be_piped_into_another_server(
    server: str, own_server: LiveServer, spool: Mapping[str, str]
) -> None:
    """Events keep their ids, so doing it twice changes nothing."""
    found = run_here("query", "--all", "-o", "jsonl", server=server).out
    for _ in range(2):
        assert piped(found, server=own_server.url, spool=spool).code == ExitCode.OK
    again = run_here("query", "--all", "-o", "jsonl", server=own_server.url).out

    def without_receipt(text: str) -> list[dict[str, object]]:
        return [{**json.loads(line), "received_at": None} for line in text.splitlines()]

    assert without_receipt(again) == without_receipt(found)


def test_a_pipe_whose_server_is_away_waits_on_disk(away: str, spool: Mapping[str, str]) -> None:
    ran = piped("one\ntwo\n", server=away, spool=spool)

    assert ran.code == ExitCode.OK
    assert "2 events for" in ran.err
    assert "2 events read, 0 delivered" in ran.err
    assert [waiting["events"] for waiting in spools(spool)] == [2]
    with scripted_server(port=started(away)) as server:
        run_here("spool", "flush", environment=spool)
        assert [event["event_data"]["message"] for event in server.events] == ["one", "two"]


def test_lines_go_out_while_the_pipe_is_open(scripted: ScriptedServer, spool: Mapping[str, str]) -> None:
    with Process([*COMMAND, "log", "-", "--server", scripted.url], environment=spool) as process:
        for number in range(3):
            process.send_line(f"reading {number}")
            assert scripted.wait_until(lambda server, expected=number + 1: len(server.events) == expected)  # type: ignore[misc]
        process.close_stdin()

        assert process.wait() == ExitCode.OK
    assert [event["event_data"]["message"] for event in scripted.events] == [f"reading {n}" for n in range(3)]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.OK)], ids=["int", "term"]
)
def test_nothing_is_lost_when_it_is_stopped(
    scripted: ScriptedServer, spool: Mapping[str, str], number: signal.Signals, code: ExitCode
) -> None:
    with Process([*COMMAND, "log", "-", "--server", scripted.url], environment=spool) as process:
        process.send_line("first")
        assert scripted.wait_until(lambda server: len(server.events) == 1)
        for place in range(1000):
            process.send_line(f"{place}")
        process.signal(number)

        assert process.wait() == code, process.said
    assert [event["event_data"]["message"] for event in scripted.events] == ["first", *map(str, range(1000))]


def test_kill_9_of_a_pipe_loses_nothing_it_had_read(away: str, spool: Mapping[str, str]) -> None:
    with Process([*COMMAND, "log", "-", "--server", away], environment=spool) as process:
        for place in range(100):
            process.send_line(f"{place}")
        process.wait_for_line("not delivered")
        process.kill()
    with scripted_server(port=started(away)) as server:
        run_here("spool", "flush", environment=spool)
        arrived = [event["event_data"]["message"] for event in server.events]

    assert arrived == [str(place) for place in range(len(arrived))]
    assert arrived


# --- spool -----------------------------------------------------------------------------------------------------------


def refusing(server: ScriptedServer, request: Request) -> Reply:
    return batch_reply(server, request, lambda event: "I don't like it")


def test_refused_events_are_listed_and_can_be_sent_again(scripted: ScriptedServer, spool: Mapping[str, str]) -> None:
    scripted.behaviour = refusing
    refused = piped("one\ntwo\n", server=scripted.url, spool=spool)
    listed = run_here("spool", "list", environment=spool)
    [waiting] = spools(spool)
    scripted.behaviour = as_ours
    again = run_here("spool", "flush", "--set-aside", environment=spool)

    assert refused.code == ExitCode.REFUSED
    assert "2 were refused" in refused.err
    assert "refused" in listed.out
    assert "set_aside.jsonl" in listed.out
    assert (waiting["events"], waiting["set_aside"]) == (0, 2)
    assert again.code == ExitCode.OK
    assert [event["event_data"]["message"] for event in scripted.events] == ["one", "two"]
    assert spools(spool) == []


def test_flushing_to_nobody_says_so(away: str, spool: Mapping[str, str]) -> None:
    run_here("log", "x", "--spool", server=away, environment=spool)
    ran = run_here("spool", "flush", "-o", "json", environment=spool)

    assert ran.code == ExitCode.UNREACHABLE
    assert json.loads(ran.out) == {"server": away, "delivered": 0, "refused": 0, "left": 1}
    assert run_here("spool", "drop", "--yes", environment=spool).out == "1\n"


def test_only_the_named_servers_spool_is_touched(away: str, scripted: ScriptedServer, spool: Mapping[str, str]) -> None:
    scripted.behaviour = always(Reply(503, {}))
    run_here("log", "a", "--spool", server=away, environment=spool)
    run_here("log", "b", "--spool", server=scripted.url, environment=spool)
    run_here("spool", "drop", "--yes", "--server", away, environment=spool)

    assert [waiting["server"] for waiting in spools(spool)] == [scripted.url]


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", ExitCode.OK, 0), ("n\n", ExitCode.REFUSED, 1)])
def test_dropping_asks(away: str, spool: Mapping[str, str], answer: str, code: ExitCode, left: int) -> None:
    run_here("log", "x", "--spool", server=away, environment=spool)
    unasked = run_here("spool", "drop", environment=spool)
    asked = run_with(["spool", "drop"], spool, Terminal(answer), Terminal())

    assert unasked.code == ExitCode.USAGE
    assert "--yes" in unasked.err
    assert asked.code == code
    assert "1 event that no server has" in asked.err
    assert len(spools(spool)) == left


def test_the_living_keep_theirs(away: str, spool: Mapping[str, str]) -> None:
    with Process([*COMMAND, "log", "-", "--server", away], environment=spool) as process:
        process.send_line("alive")
        process.wait_for_line("not delivered")
        [waiting] = spools(spool)
        dropped = run_here("spool", "drop", "--yes", environment=spool)

        assert (waiting["events"], waiting["living_processes"]) == (1, 1)
        assert dropped.out == "0\n"
        process.kill()
    assert [waiting["events"] for waiting in spools(spool)] == [1]
