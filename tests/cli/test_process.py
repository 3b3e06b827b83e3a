"""The command line as a process of its own: what it loads, pipes, terminals, signals."""

import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from fcntl import ioctl
from pathlib import Path

import pytest

from tests.cli.events import body
from tests.cli.runs import COMMAND
from tests.cli.strangers import silent
from tests.live_server import LiveServer
from tests.processes import WAIT_SECONDS, Process

LOADED = """
import sys
from madsci_event_cli.__main__ import main
code = main()
print(code, *sys.modules, file=sys.stderr)
"""


def loaded_by(*arguments: str, server: str = "") -> set[str]:
    """The modules in memory after a run that went well."""
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        env={**os.environ, "EVENT_SERVER_URL": server},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, *modules = ran.stderr.splitlines()[-1].split()
    assert code == "0", ran.stderr
    return set(modules)


def environment(server: str, **more: str) -> dict[str, str]:
    """The test's environment, and the server."""
    return {**os.environ, "EVENT_SERVER_URL": server, "TZ": "UTC", **more}


# --- what is loaded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["query"],
        ["get"],
        ["log"],
        ["status"],
        ["archive"],
        ["purge"],
        ["serve"],
        ["manager", "add"],
        ["doctor"],
        ["profile"],
    ],
)
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    heavy = {"fastapi", "starlette", "uvicorn", "pymongo", "httpx", "pydantic", "textual", "rich", "asyncio"}

    assert heavy & loaded_by(*command, "--help") == set()


def test_log_loads_httpx_but_no_event_model(log_server: str) -> None:
    loaded = loaded_by("log", "hello", "--data", "a=1", "--level", "debug", server=log_server)

    assert "httpx" in loaded
    assert {"pydantic", "pydantic_core", "fastapi", "starlette", "pymongo", "textual"} & loaded == set()
    assert {"rich", "click", "pygments", "asyncio.runners"} & loaded == set()


def test_a_command_loads_no_other(log_server: str) -> None:
    prefix = "madsci_event_cli.commands."

    loaded = loaded_by("log", "hello", server=log_server)

    assert {name for name in loaded if name.startswith(prefix)} == {f"{prefix}log"}


def test_reading_loads_no_server_and_no_screen(server: str) -> None:
    loaded = loaded_by("query", server=server)

    assert {"fastapi", "starlette", "uvicorn", "pymongo", "sqlite3", "textual"} & loaded == set()


# --- pipes -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with more than fits into any pipe."""
    with LiveServer(tmp_path_factory.mktemp("server"), db="memory:") as server:
        with server.client() as client:
            events = (body(number, event_data={"message": "x" * 200}) for number in range(3000))
            client.post("/events", content=b"\n".join(events)).raise_for_status()
        yield server.url


@pytest.mark.parametrize("format_", ["jsonl", "json", "csv", "text", "raw"])
def test_a_reader_that_goes_away_is_no_failure(format_: str, long_server: str) -> None:
    ours = subprocess.Popen(
        [*COMMAND, "query", "--all", "-o", format_],
        env=environment(long_server), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert ours.stdout is not None
    assert ours.stderr is not None
    first = ours.stdout.readline()
    ours.stdout.close()
    said = ours.stderr.read()
    ours.stderr.close()

    assert first
    assert (ours.wait(WAIT_SECONDS), said) == (0, b"")


def test_head_in_a_shell(long_server: str) -> None:
    line = f"{' '.join(COMMAND)} query --all -o jsonl | head -n 2"
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env=environment(long_server), capture_output=True, check=True
    )

    assert len(ran.stdout.splitlines()) == 2
    assert ran.stderr == b""


@pytest.mark.parametrize(
    "command",
    [["query"], ["query", "-o", "json"], ["tail"], ["stats"], ["--help"], ["query", "--help"], ["--version"]],
    ids=" ".join,
)
def test_results_that_cannot_be_written_are_a_failure(command: list[str], long_server: str) -> None:
    with Path(os.devnull).open("rb") as unwritable:  # as a full disk, but on every system
        ran = subprocess.run(
            [*COMMAND, *command], env=environment(long_server), stdout=unwritable, stderr=subprocess.PIPE, check=False
        )

    assert ran.returncode == 1
    assert re.fullmatch(rb"error: [^\n]*Bad file descriptor[^\n]*\n", ran.stderr)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["query -n 1", "log hello", "--help"])
def test_closed_streams_are_no_failure(closed: str, command: str, own_server: LiveServer) -> None:
    line = f"{' '.join(COMMAND)} {command} {closed}"
    ran = subprocess.run(
        ["bash", "-c", line], env=environment(own_server.url), capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0
    assert "Traceback" not in ran.stderr


def test_a_locale_changes_no_byte(server: str) -> None:
    found = {
        subprocess.run(
            [*COMMAND, "query", "-o", "json"], env=environment(server, LC_ALL=locale, PYTHONUTF8="0"), check=True,
            capture_output=True,
        ).stdout
        for locale in ("C", "C.UTF-8", "POSIX")
    }  # fmt: skip

    assert len(found) == 1
    assert json.loads(found.pop())


# --- terminals -------------------------------------------------------------------------------------------------------


NOTHING: Mapping[str, str] = {}


def on_a_terminal(
    arguments: Sequence[str],
    server: str,
    *,
    columns: int = 100,
    stdout: int | None = None,
    more: Mapping[str, str] = NOTHING,
) -> str:
    """What a terminal of that width gets to see of a run (of its stderr alone, where stdout goes elsewhere)."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(server, TERM="xterm-256color") | dict(more),
        stdin=theirs, stdout=theirs if stdout is None else stdout, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = _read_all(ours)
    os.close(ours)
    assert process.wait(WAIT_SECONDS) == 0, seen
    return seen.decode().replace("\r\n", "\n")


def _read_all(terminal: int) -> bytes:
    seen = b""
    while select.select([terminal], [], [], WAIT_SECONDS)[0]:
        try:
            more = os.read(terminal, 65536)
        except OSError:  # Linux says so when the last program has left the terminal
            return seen
        if not more:
            return seen
        seen += more
    raise TimeoutError(seen)


def without_colors(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("columns", [200, 100, 60])
def test_a_table_is_as_wide_as_the_terminal(columns: int, server: str) -> None:
    lines = without_colors(on_a_terminal(["query"], server, columns=columns)).splitlines()

    assert lines[0].startswith("── Mon 2026-11-23 ")
    assert max(len(line) for line in lines) == columns


def test_columns_may_be_said(server: str) -> None:
    lines = without_colors(on_a_terminal(["query"], server, columns=100, more={"COLUMNS": "70"})).splitlines()

    assert max(len(line) for line in lines) == 70


@pytest.mark.parametrize(
    ("more", "arguments", "colored"),
    [
        ({}, [], True),
        ({"NO_COLOR": "1"}, [], False),
        ({"NO_COLOR": ""}, [], True),
        ({"TERM": "dumb"}, [], False),
        ({"NO_COLOR": "1"}, ["--color", "always"], True),
        ({}, ["--color", "never"], False),
    ],
    ids=["a terminal", "NO_COLOR", "NO_COLOR empty", "dumb", "always", "never"],
)
def test_colour_on_a_terminal(more: dict[str, str], arguments: list[str], colored: bool, server: str) -> None:
    assert ("\x1b[" in on_a_terminal(["query", *arguments], server, more=more)) is colored


@pytest.mark.parametrize(("more", "colored"), [({}, False), ({"FORCE_COLOR": "1"}, True)])
def test_colour_is_decided_for_each_stream(more: dict[str, str], colored: bool, server: str, lab: Path) -> None:
    with (lab / "out").open("wb") as file:
        said = on_a_terminal(["query", "-n", "2"], server, stdout=file.fileno(), more=more)

    assert "\x1b[" in said, "stderr is a terminal"
    assert (b"\x1b[" in (lab / "out").read_bytes()) is colored


def test_hostile_events_drive_no_terminal(server: str) -> None:
    for format_ in ("table", "text", "json", "jsonl", "csv", "raw"):
        seen = without_colors(on_a_terminal(["query", "-o", format_], server))

        assert not set("\x1b\x07\x9b\x7f\u202e\u2028") & set(seen), format_


def test_one_event_on_a_terminal_is_all_of_it(server: str) -> None:
    seen = without_colors(on_a_terminal(["get", "3DPX0005", "--utc"], server))

    assert seen.splitlines()[0] == " ERROR  node_error  Mon 2026-11-23 18:51:47.000 UTC"
    assert '"wells": [' in seen


# --- signals, and the server -----------------------------------------------------------------------------------------


def test_ctrl_c_ends_a_wait_at_once() -> None:
    with silent() as address, Process([*COMMAND, "-v", "query"], environment=environment(address)) as waiting:
        waiting.stderr.line(1)  # what is asked of whom: from here on it only waits
        waiting.interrupt()
        code = waiting.wait()

    assert code == 130
    assert "Traceback" not in waiting.said


def test_serve_serves_until_ctrl_c(lab: Path) -> None:
    with Process([*COMMAND, "serve", "--db", "memory:", "--port", "0"], cwd=lab) as serving:
        greeting = serving.stderr.line(0)
        found = re.search(r"http://127\.0\.0\.1:\d+", greeting)
        assert found, greeting
        logged = subprocess.run([*COMMAND, "log", "hello", "--server", found[0]], check=True, capture_output=True)
        serving.interrupt()
        code = serving.wait()

    assert logged.stdout.strip()
    assert (code, serving.stdout.text) == (0, "")
    assert "Traceback" not in serving.said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--db", "ftp://x"], 2, "ftp://x"),
        (["--port", "99999"], 2, "--port"),
        (["--db", "memory:", "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"], 1, "nowhere.pem"),
    ],
    ids=["store", "port", "certificate"],
)
def test_what_cannot_be_served_is_one_line(arguments: list[str], code: int, said: str) -> None:
    ran = subprocess.run([*COMMAND, "serve", *arguments], capture_output=True, text=True, check=False, timeout=60)

    assert (ran.returncode, ran.stdout) == (code, "")
    assert ran.stderr.startswith("error: ")
    assert said in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line(server: str) -> None:
    port = server.rpartition(":")[2]
    ran = subprocess.run(
        [*COMMAND, "serve", "--db", "memory:", "--port", port], capture_output=True, text=True, check=False, timeout=60
    )

    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.fullmatch(rf"error: 127\.0\.0\.1:{port} is in use[^\n]*\n", ran.stderr)


def test_a_file_that_is_no_database_is_one_line(lab: Path) -> None:
    (lab / "notes.txt").write_text("milk, eggs, tips\n" * 100)
    ran = subprocess.run(
        [*COMMAND, "serve", "--db", "sqlite:///notes.txt", "--port", "0"],
        cwd=lab, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.fullmatch(r"error: [^\n]*notes\.txt[^\n]*\n", ran.stderr)


def test_a_setting_that_is_none_is_a_warning(lab: Path) -> None:
    with Process(
        [*COMMAND, "serve", "--db", "memory:", "--port", "0"],
        cwd=lab,
        environment={**os.environ, "EVENT_TIMEZON": "UTC"},
    ) as serving:
        assert serving.stderr.line(0) == (
            "warning: EVENT_TIMEZON is not a setting of this server and is ignored; did you mean EVENT_TIMEZONE?\n"
        )
        assert "Serving" in serving.stderr.line(1)
