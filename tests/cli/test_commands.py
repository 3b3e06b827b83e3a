"""Each command against a real server: bytes on stdout, words on stderr, an exit code."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from madsci_event_cli.diagnostics import ExitCode
from tests.cli.events import NODE, WORKFLOW, some_bodies
from tests.cli.runs import Terminal, run_here, run_with
from tests.cli.scripted_server import Raw, always, scripted_server
from tests.cli.strangers import answering
from tests.live_server import LiveServer
from tests.processes import free_port

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def count(*arguments: str, server: str) -> int:
    """How many events a query finds."""
    return len(run_here("query", "--all", "--fields", "event_id", *arguments, server=server).lines)


# --- query -----------------------------------------------------------------------------------------------------------


def test_the_last_n_come_oldest_first_in_every_format(server: str) -> None:
    ids = ["01M84W00C21SPHKDZ53DPX0008", "01M84W00C21SPHKDZ53DPX0009"]
    as_json = run_here("query", "-n", "2", "-o", "json", server=server)
    as_lines = run_here("query", "-n", "2", "-o", "jsonl", server=server)
    as_csv = run_here("query", "-n", "2", "-o", "csv", server=server)
    as_text = run_here("query", "-n", "2", "--fields", "event_id", server=server)

    assert [event["event_id"] for event in json.loads(as_json.out)] == ids
    assert [json.loads(line)["event_id"] for line in as_lines.lines] == ids
    assert [row["event_id"] for row in csv.DictReader(io.StringIO(as_csv.out))] == ids
    assert as_text.lines == ids


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        (["--level", "error"], [5, 6]),
        (["--level", "warning,error"], [4, 5]),
        (["--level", "error,"], [5]),
        (["--level", "30"], [4, 5, 6]),
        (["--level", "!info,!debug"], [4, 5, 6]),
        (["--type", "workflow_*"], [3]),
        (["--type", "test,node_error"], [5, 8]),
        (["--type", "!log_*", "--type", "!test"], [3, 5]),
        (["--node", "liquidhandler_1"], [2]),
        (["--node", NODE], [2]),
        (["--name", "hood_2"], [6]),
        (["--source", "name=hood_2"], [6]),
        (["--source", "name=!hood_2", "--level", "error"], [5]),
        (["--node-id", NODE], [2]),
        (["--workflow-id", WORKFLOW], [3]),
        (["--manager-id", "01M84VFHW35SXH6M2XV0RNA0GN"], [1]),
        (["--alert"], [6]),
        (["--no-alert", "--level", "error"], [5]),
        (["--since", "2026-11-23T18:51:47.000008Z"], [8, 9]),
        (["--until", "2026-11-23T18:51:47.000002Z"], [1]),
        (["--search", "started"], [3]),
        (["--search", "mess* -done"], [1]),
        (["--regex", "^Action .*e$"], [2]),
        (["--selector", '{"event_data.volume": {"$gt": 1}}'], [5]),
        (["--level", "error", "--reverse"], [6, 5]),
        (["--level", "error", "--all"], [5, 6]),
        (["--level", "error", "--all", "--reverse"], [6, 5]),
        (["--level", "error", "-n", "1"], [6]),
        (["--search", "nowhere"], []),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_filters(arguments: list[str], numbers: list[int], server: str) -> None:
    ran = run_here("query", "--fields", "event_id", *arguments, server=server)

    assert ran.code == ExitCode.OK
    assert [int(line[-1]) for line in ran.lines] == numbers


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--level", "loud"], "--level: 'loud' is not a level"),
        (["--level", "error,!info"], "--level: 'error,!info' mixes"),
        (["--type", "no type"], "--type: 'no type' is not a type"),
        (["--since", "15"], "--since: '15' of what? Write 15m"),
        (["--until", "whenever"], "--until: 'whenever' is not a time"),
        (["--source", "name"], "--source: 'name' is not of the form key=value"),
        (["--selector", "{"], "--selector: '{' is not JSON"),
        (["--selector", "[]"], "--selector: '[]' is not a JSON object; use '{"),
        (["--fields", ""], "--fields: is empty; give at least one value"),
        (["--type", " , "], "--type: is empty; give at least one value"),
        (["--server", ""], "--server: is empty; give an address"),
        (["--server", "http://localhost:99999"], "'http://localhost:99999' is not an address; use http://HOST:PORT"),
        (["--selector", '{"$where": "1"}'], "--selector"),
        (["--regex", "(?=x)"], "--regex"),
        (["--search", "!!!"], "--search: '!!!' holds no letter or digit"),
        (["-n", "0"], "Invalid value for '-n' / '--number'"),
        (["-n", "many"], "Invalid value for '-n' / '--number': 'many' is not a whole number"),
        (["--levle", "error"], "--levle"),
        (["-o", "xml"], "xml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_typing_error_is_told_before_any_server_is_asked(arguments: list[str], said: str) -> None:
    ran = run_here("query", *arguments, server=f"http://127.0.0.1:{free_port()}")

    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert said.lower() in ran.err.lower()
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


def test_a_cut_answer_says_so_and_how_to_get_more(server: str) -> None:
    cut = run_here("query", "-n", "2", "-o", "json", server=server)
    whole = run_here("query", "-n", "9", "-o", "json", server=server)

    assert (cut.code, whole.code, whole.err) == (ExitCode.OK, ExitCode.OK, "")
    assert "-n 20" in cut.err
    assert "--all" in cut.err


def test_strict_makes_a_cut_answer_a_failure(server: str) -> None:
    assert run_here("query", "-n", "2", "--strict", server=server).code == ExitCode.INCOMPLETE
    assert run_here("query", "-n", "9", "--strict", server=server).code == ExitCode.OK


def test_quiet_says_nothing_but_errors(server: str) -> None:
    assert run_here("query", "-n", "2", "-q", server=server).err == ""
    assert run_here("-q", "query", "--search", "nowhere", server=server).err == ""
    assert run_here("-q", "query", "--level", "loud", server=server).err != ""


def test_verbose_says_what_is_asked_of_whom(server: str) -> None:
    ran = run_here("query", "-v", "--since", "2026-11-23", "-n", "1", server=server)

    assert server in ran.err
    assert "2026-11-23T" in ran.err


def test_nothing_found_is_said_and_no_failure(server: str) -> None:
    ran = run_here("query", "--search", "nowhere", "-o", "json", server=server)

    assert (ran.code, ran.out, ran.err) == (ExitCode.OK, "[]\n", "No event matches.\n")


def test_archived_events_are_hidden_unless_asked_for(own_server: LiveServer) -> None:
    with own_server.client() as client:
        client.post("/events", content=b"\n".join(some_bodies())).raise_for_status()
    run_here("archive", "--id", "01M84W00C21SPHKDZ53DPX0001", server=own_server.url)

    assert (count(server=own_server.url), count("--archived", server=own_server.url)) == (8, 9)


# --- get -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["01M84W00C21SPHKDZ53DPX0003", "3DPX0003", "3dpx0003"])
def test_get_by_id_or_by_its_end(id_: str, server: str) -> None:
    ran = run_here("get", id_, "-o", "json", server=server)

    assert [event["event_id"] for event in json.loads(ran.out)] == ["01M84W00C21SPHKDZ53DPX0003"]


@pytest.mark.parametrize(
    ("id_", "said"),
    [
        ("nothing_there", "nothing_there"),
        ("0003", "'0003'; of part of an id give 8 or more"),
        ("01M84W00C2", "01M84W00C2"),
    ],
)
def test_an_id_that_fits_none_or_several_is_refused(id_: str, said: str, server: str) -> None:
    ran = run_here("get", id_, server=server)

    assert (ran.code, ran.out) == (ExitCode.REFUSED, "")
    assert said in ran.err


# --- log -------------------------------------------------------------------------------------------------------------


def logged(*arguments: str, server: str) -> dict[str, object]:
    """The event as the server has it after `log` with these arguments."""
    ran = run_here("log", *arguments, server=server)
    assert (ran.code, ran.err) == (ExitCode.OK, "")
    assert ULID.fullmatch(ran.out.strip())
    event: dict[str, object] = json.loads(run_here("get", ran.out.strip(), "-o", "jsonl", server=server).out)
    return event


def test_log_prints_the_id_of_what_is_stored(log_server: str) -> None:
    event = logged("plate 7 loaded", server=log_server)

    assert (event["event_type"], event["log_level"], event["alert"]) == ("log_info", 20, False)
    assert (event["event_data"], event["source"]) == ({"message": "plate 7 loaded"}, {})


def test_log_with_everything(log_server: str) -> None:
    event = logged(
        "no tip", "--level", "WARN", "--data", "well=A3", "--data", "tries=3", "--data", "deep={\"a\": [1.5, null]}",
        "--data", "nan=NaN", "--data", "eq=a=b", "--alert", "--source", "name=hood_2", "--node-id", NODE,
        "--action-id", "A1", server=log_server,
    )  # fmt: skip

    assert (event["event_type"], event["log_level"], event["alert"]) == ("log_warning", 30, True)
    assert event["source"] == {"node_id": NODE, "name": "hood_2"}
    assert event["event_data"] == {
        "message": "no tip", "well": "A3", "tries": 3, "deep": {"a": [1.5, None]}, "nan": "NaN", "eq": "a=b",
        "action_id": "A1",
    }  # fmt: skip


def test_an_option_of_a_command_before_it_is_told_where_it_goes() -> None:
    before, after = run_here("--level", "error", "query"), run_here("query", "--levle", "error")

    assert "No such option: --level" in before.err
    assert "those of a command go after it" in before.err
    assert "go after it" not in after.err


def test_bytes_that_are_no_text_are_logged_all_the_same(log_server: str) -> None:
    """An instrument writes a degree sign in Latin-1, and a script hands it on."""
    event = logged(
        "37 \udcb0C", "--data", 's="\\ud800"', "--data", "n=1e400", "--source", "name=\udcff", server=log_server
    )

    assert event["event_data"] == {"message": "37 \ufffdC", "s": "\ufffd", "n": "1e400"}
    assert event["source"] == {"name": "\ufffd"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "--node", "n\udcff"),
        ("query", "--selector", '{"a": "\udcff"}'),
        ("query", "--selector", '{"a": "\\ud800"}'),
        ("get", "\udcffaaaaaaaa"),
        ("alerts", "ack", "\udcff"),
        ("archive", "--id", "\udcff"),
        ("tail", "--after", "\udcff"),
        ("tail", "--selector", '{"a": "\\ud800"}', "--timeout", "1"),
    ],
)
def test_bytes_that_are_no_text_find_nothing(arguments: tuple[str, ...], log_server: str) -> None:
    ran = run_here(*arguments, server=log_server)

    assert ran.code in (ExitCode.OK, ExitCode.REFUSED)
    assert ran.out in ("", "0\n")


def test_log_with_a_type_of_its_own(log_server: str) -> None:
    event = logged("done", "--type", "Experiment_Complete", "--level", "error", server=log_server)

    assert (event["event_type"], event["log_level"]) == ("experiment_complete", 40)


def test_log_answers_the_event_to_programs(log_server: str) -> None:
    ran = run_here("log", "hello", "-o", "jsonl", server=log_server)

    assert json.loads(ran.out)["event_data"] == {"message": "hello"}


def test_a_message_may_look_like_an_option(log_server: str) -> None:
    assert logged("--", "--level", server=log_server)["event_data"] == {"message": "--level"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["hello", "--level", "loud"], ExitCode.USAGE, "--level: 'loud' is not a level"),
        (["hello", "--data", "novalue"], ExitCode.USAGE, "--data: 'novalue' is not of the form"),
        (["hello", "--data", "a=1", "--data", "a=2"], ExitCode.USAGE, "--data: 'a' is given twice"),
        (["hello", "--source", "name=x", "--source", "name=x"], ExitCode.USAGE, "--source: 'name' is given twice"),
        (["hello", "--node-id", "not-a-ulid"], ExitCode.REFUSED, "source.node_id: 'not-a-ulid' is not a ULID"),
        (["hello", "--type", "no type"], ExitCode.REFUSED, "event_type: 'no type' is not a type"),
        ([], ExitCode.USAGE, "message"),
    ],
    ids=["level", "data", "data twice", "source twice", "id", "type", "no message"],
)
def test_what_cannot_be_logged_is_refused(arguments: list[str], code: ExitCode, said: str, server: str) -> None:
    ran = run_here("log", *arguments, server=server)

    assert (ran.code, ran.out) == (code, "")
    assert said.lower() in ran.err.lower()


# --- archive, purge --------------------------------------------------------------------------------------------------


@pytest.fixture
def full_server(own_server: LiveServer) -> str:
    """A server of the test's own that holds `some_bodies`."""
    with own_server.client() as client:
        client.post("/events", content=b"\n".join(some_bodies())).raise_for_status()
    return own_server.url


def test_archive_before_a_time(full_server: str) -> None:
    ran = run_here("archive", "--before", "2026-11-23T18:51:47.000004Z", "-o", "json", server=full_server)

    assert json.loads(ran.out) == {"archived_count": 3}
    assert count(server=full_server) == len(some_bodies()) - 3


def test_archive_by_id(full_server: str) -> None:
    ids = ["--id", "01M84W00C21SPHKDZ53DPX0001", "--id", "01M84W00C21SPHKDZ53DPX0002"]

    assert run_here("archive", *ids, server=full_server).out == "2\n"
    assert run_here("archive", *ids, server=full_server).out == "0\n"


@pytest.mark.parametrize("arguments", [[], ["--before", "90d", "--id", "X"], ["--before", "soon"]], ids=" ".join)
def test_archive_wants_to_know_which(arguments: list[str], server: str) -> None:
    ran = run_here("archive", *arguments, server=server)

    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert "--before" in ran.err


@pytest.fixture
def archived_server(full_server: str) -> str:
    """A server with two archived events."""
    run_here("archive", "--before", "2026-11-23T18:51:47.000003Z", server=full_server)
    return full_server


def archived_count(server: str) -> int:
    """How many events are archived."""
    return count("--archived", server=server) - count(server=server)


def test_purge_deletes_what_it_says(archived_server: str) -> None:
    ran = run_here("purge", "--older-than-days", "0", "--yes", "-o", "json", server=archived_server)

    assert json.loads(ran.out) == {"deleted_count": 2}
    assert archived_count(archived_server) == 0


def test_purge_shows_first_and_deletes_nothing_by_that(archived_server: str) -> None:
    assert run_here("purge", "--older-than-days", "0", "--dry-run", server=archived_server).out == "2\n"
    assert run_here("purge", "--older-than-days", "1", server=archived_server).out == "0\n"
    assert archived_count(archived_server) == 2


def test_a_dry_run_deletes_nothing_whatever_else_is_said(archived_server: str) -> None:
    assert run_here("purge", "--older-than-days", "0", "--yes", "--dry-run", server=archived_server).out == "2\n"
    assert archived_count(archived_server) == 2


def test_purge_refuses_where_nobody_can_be_asked(archived_server: str) -> None:
    ran = run_here("purge", "--older-than-days", "0", server=archived_server)

    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert "--yes: is needed to delete 2 events" in ran.err
    assert archived_count(archived_server) == 2


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, 0), ("Yes\n", 0, 0), ("n\n", 1, 2), ("\n", 1, 2), ("", 1, 2)]
)
def test_purge_asks_a_person(answer: str, code: int, left: int, archived_server: str) -> None:
    environment = {"EVENT_SERVER_URL": archived_server}
    ran = run_with(["purge", "--older-than-days", "0"], environment, Terminal(answer), Terminal())

    assert "Delete 2 events archived at least 0 days ago for good? [y/N]" in ran.err
    assert (ran.code, archived_count(archived_server)) == (code, left)


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_of_a_server_that_is_well(server: str) -> None:
    ran = run_here("status", server=server)
    document = json.loads(run_here("status", "-o", "json", server=server).out)

    assert ran.code == ExitCode.OK
    assert re.search(rf"^server +UP  {re.escape(server)}/", ran.out)
    assert re.search(r"^events +9$", ran.out, re.MULTILINE)
    assert "\nlag " in ran.out
    assert "\nnewest " in ran.out
    assert (document["healthy"], document["store"]["events"]) == (True, 9)


def test_status_of_a_server_that_is_not_well() -> None:
    health = {"healthy": False, "problems": ["the disk is full"], "store": None, "version": "1", "uptime_seconds": 90}
    with answering(503, json.dumps(health).encode()) as address:
        ran = run_here("status", server=address)

    assert ran.code == ExitCode.REFUSED
    assert "NOT WELL" in ran.out
    assert "the disk is full" in ran.out


def test_status_of_nobody() -> None:
    ran = run_here("status", server=f"http://127.0.0.1:{free_port()}")

    assert (ran.code, ran.out) == (ExitCode.UNREACHABLE, "")
    assert "is the server up?" in ran.err


# --- all of them -----------------------------------------------------------------------------------------------------

GROUPS = [["alerts"], ["alerts", "outbox"], ["manager"], ["profile"], ["spool"], ["store"]]


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_a_group_alone_is_a_mistake_that_its_help_answers(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    alone = run_here(*group)
    run_here(*group, "--help")  # Typer prints it itself

    assert (alone.code, alone.out) == (ExitCode.USAGE, "")
    assert alone.err == capsys.readouterr().out
    assert "\nUsage:\n  madsci-events " in alone.err


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_options_of_every_command_work_after_the_name_of_a_group(group: list[str]) -> None:
    ran = run_here(*group, "--server", "http://127.0.0.1:1", "-o", "json", "-q", "nonsense")

    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert ran.err == f"error: No such command 'nonsense'; see madsci-events {' '.join(group)} --help\n"


def test_an_option_between_group_and_command_is_heeded() -> None:
    run_here("profile", "add", "lab", "http://lab:8001")

    assert json.loads(run_here("profile", "-o", "json", "list").out)[0]["name"] == "lab"


EVERY_PAGE = [
    [], ["query"], ["tail"], ["get"], ["stats"], ["status"], ["tui"], ["log"], ["archive"], ["purge"], ["doctor"],
    ["serve"], *GROUPS, ["alerts", "silence"], ["alerts", "test"], ["manager", "add"], ["manager", "show"],
    ["store", "copy"], ["spool", "flush"],
]  # fmt: skip


@pytest.mark.parametrize("command", EVERY_PAGE, ids=" ".join)
def test_help_opens_with_examples_and_fits(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_here(*command, "--help")
    lines = capsys.readouterr().out.splitlines()
    usage = next(place for place, line in enumerate(lines) if line == "Usage:")

    assert "Examples:" in lines[:usage]
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize(
    ("mistake", "command"),
    [
        (["query", "--node"], "query"),
        (["query", "--nope"], "query"),
        (["alerts", "ack", "--note"], "alerts ack"),
        (["get"], "get"),
    ],
    ids=["no value", "no such option", "below a group", "no argument"],
)
def test_a_mistake_names_the_command_whose_help_answers_it(mistake: list[str], command: str) -> None:
    ran = run_here(*mistake)

    assert ran.code == ExitCode.USAGE
    assert ran.err.endswith(f"; see madsci-events {command} --help\n")


EVERY_COMMAND = [
    ["query"],
    ["get", "01M84W00C21SPHKDZ53DPX0003"],
    ["log", "hello"],
    ["archive", "--before", "1d"],
    ["purge", "--older-than-days", "9", "--yes"],
    ["status"],
    ["stats"],
    ["tail"],
    ["alerts", "list"],
    ["alerts", "test"],
    ["alerts", "show", "7f3k"],
    ["alerts", "ack", "7f3k"],
    ["alerts", "silence", "--node", "arm", "--for", "1h", "--reason", "why"],
    ["alerts", "silences"],
    ["alerts", "unsilence", "7f3k"],
    ["alerts", "explain", "01M84W00C21SPHKDZ53DPX0003"],
    ["alerts", "outbox", "list"],
    ["alerts", "outbox", "show", "7f3k"],
    ["alerts", "outbox", "retry", "7f3k"],
]


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: " ".join(command[:3]))
@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, b"", ExitCode.NOT_ALLOWED),
        (403, b"", ExitCode.NOT_ALLOWED),
        (502, b"", ExitCode.UNREACHABLE),
        (503, b'{"detail": "no upstream"}', ExitCode.UNREACHABLE),
        (200, b"<html>a web page", ExitCode.REFUSED),
        (200, b"{}", ExitCode.REFUSED),
        (200, b'{"status": "ok", "facets": 3, "alerts": null, "healthy": "yes"}', ExitCode.REFUSED),
        (404, b"<html>no such page", ExitCode.REFUSED),
        (422, b'{"detail": "field: is wrong; use another", "errors": []}', ExitCode.REFUSED),
    ],
    ids=["401", "403", "proxy", "proxy that speaks JSON", "page", "empty object", "another service", "404", "422"],
)
def test_a_failure_has_its_code_and_its_line(command: list[str], status: int, body: bytes, code: ExitCode) -> None:
    with answering(status, body) as address:
        ran = run_here(*command, server=address)

    assert (ran.code, ran.out) == (code, "")
    assert re.fullmatch(r"error: [^\n]+\n", ran.err)


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: " ".join(command[:3]))
@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"], ids=["at once", "midway"])
def test_a_server_that_hangs_up_is_retryable(command: list[str], words: bytes) -> None:
    with scripted_server(always(Raw(words))) as hanging_up:
        ran = run_here(*command, server=hanging_up.url)

    assert (ran.code, ran.out) == (ExitCode.UNREACHABLE, "")
    assert ran.err == f"error: lost the connection to {hanging_up.url}/; is the server up?\n"


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: " ".join(command[:3]))
def test_a_server_that_is_away_is_retryable(command: list[str]) -> None:
    ran = run_here(*command, server=f"http://127.0.0.1:{free_port()}")

    assert (ran.code, ran.out) == (ExitCode.UNREACHABLE, "")
    assert re.fullmatch(r"error: cannot connect to http://127\.0\.0\.1:\d+/: [^\n]+\n", ran.err)


def test_the_reason_is_the_operating_systems() -> None:
    ran = run_here("query", server=f"http://127.0.0.1:{free_port()}")

    assert ran.err.endswith(": Connection refused; is the server up?\n")


def test_tls_where_there_is_none_is_told_the_way_out(server: str) -> None:
    ran = run_here("query", server=server.replace("http:", "https:"))

    assert (ran.code, ran.out) == (ExitCode.UNREACHABLE, "")
    assert ran.err.endswith("it does not speak TLS; use http:// instead of https://\n")


@pytest.mark.parametrize(("status", "said"), [(401, "as http://USER:PASSWORD@HOST"), (403, "ask who runs it")])
def test_who_is_not_allowed_is_told_the_way_out(status: int, said: str) -> None:
    with answering(status, b"") as address:
        assert said in run_here("query", server=address).err


PASSWORD = "hunter2"
SAYING_WHERE = [
    ["-v", "query"], ["-v", "log", "hello"], ["status"], ["status", "-o", "json"], ["stats"], ["alerts", "list"],
    ["tail", "-f", "--timeout", "0.1s"], ["log", "hello", "--spool"], ["doctor"], ["profile", "add", "lab", "ADDRESS"],
    ["profile", "list", "-o", "json"], ["spool", "list"], ["spool", "list", "-o", "json"], ["spool", "flush"],
]  # fmt: skip


@pytest.mark.parametrize("command", SAYING_WHERE, ids=" ".join)
@pytest.mark.parametrize("listening", [True, False])
def test_no_word_holds_the_password_of_an_address(
    command: list[str], listening: bool, log_server: str, tmp_path: Path
) -> None:
    port = log_server.rpartition(":")[2] if listening else str(free_port())
    address = f"http://ada:{PASSWORD}@127.0.0.1:{port}"
    environment = {"EVENT_CLIENT_SPOOL_DIR": str(tmp_path)}
    run_here("profile", "add", "before", address)
    run_here(
        "log", "waits", "--spool", server=f"http://ada:{PASSWORD}@127.0.0.1:{free_port()}", environment=environment
    )
    ran = run_here(
        *(address if part == "ADDRESS" else part for part in command), server=address, environment=environment
    )

    assert PASSWORD not in ran.out + ran.err
    assert not [path for path in tmp_path.rglob("*") if PASSWORD in path.name]


def test_verbose_shows_why_without_a_traceback() -> None:
    ran = run_here("query", "-v", server=f"http://127.0.0.1:{free_port()}")

    assert "because of ConnectError" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "json", "query", "-n", "1"],
        ["query", "-o", "json", "-n", "1"],
        ["-o", "csv", "query", "-o", "json", "-n", "1"],
        ["query", "-n", "1", "--output=json"],
    ],
    ids=" ".join,
)
def test_global_options_work_before_and_after_and_the_later_wins(arguments: list[str], server: str) -> None:
    assert len(json.loads(run_here(*arguments, server=server).out)) == 1


@pytest.mark.parametrize("before", [True, False])
def test_the_server_option_goes_before_the_environment(before: bool, server: str) -> None:
    option = ["--server", server]
    arguments = [*option, "status"] if before else ["status", *option]

    assert run_here(*arguments, server=f"http://127.0.0.1:{free_port()}").code == ExitCode.OK


def test_a_hostile_answer_drives_no_terminal() -> None:
    reason = '{"detail": "no \\u001b]0;title\\u0007\\n\\u202e", "errors": []}'
    with answering(422, reason.encode()) as address:
        ran = run_here("query", server=address)

    assert ran.err == "error: no ␛]0;title␇⏎\\u202e\n"


@pytest.mark.parametrize(("choice", "colored"), [("always", True), ("never", False), ("auto", False)])
def test_colour_is_as_asked(choice: str, colored: bool, server: str) -> None:
    ran = run_here("query", "-n", "1", "--color", choice, server=server)

    assert ("\x1b[" in ran.out, "\x1b[" in ran.err) == (colored, colored)


def test_errors_heed_the_options_of_the_command_that_failed() -> None:
    ran = run_here("query", "--since", "?", "--color", "always")

    assert ran.err.startswith("\x1b[1;31merror:\x1b[0m ")
