"""What shells offer at Tab, in the shells themselves."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.runs import COMMAND, run_here
from tests.cli.strangers import silent
from tests.live_server import LiveServer
from tests.test_documented import installed

EVENTS = [
    {
        "event_id": "01M84W00C21SPHKDZ53DPXVAZS",
        "event_type": "plate_read",
        "source": {"node_id": "01M84VP0C1C6F8YQANTXQC4W8T", "name": "reader_1"},
        "event_data": {"workflow_id": "01M84WD9JX5PX0PEFANMSHAJ0S"},
    },
    {"source": {"name": "Example Workcell"}},
    {"source": {"name": "evil\x1b[2J\nname"}},
]


@pytest.fixture(scope="module")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with LiveServer(tmp_path_factory.mktemp("server"), db="memory:") as server:
        httpx.post(f"{server.url}/events", json=EVENTS).raise_for_status()
        yield server.url


BASH = """
source completion.sh
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
$(complete -p madsci-events | sed 's/.*-F \\([^ ]*\\) .*/\\1/') madsci-events
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def environment(server: str, **more: str) -> dict[str, str]:
    path = f"{installed('madsci-events').parent}:{os.environ['PATH']}"
    return {**os.environ, "EVENT_SERVER_URL": server, "PATH": path, **more}


def script(shell: str) -> str:
    """What `--show-completion` gives that shell."""
    return subprocess.run(
        [installed("madsci-events")],
        env=environment("", _MADSCI_EVENTS_COMPLETE=f"source_{shell}"), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@pytest.fixture(scope="module")
def bash_script() -> str:
    return script("bash")


def in_bash(words: str, server: str, bash_script: str) -> list[str]:
    """What bash offers after Tab."""
    Path("completion.sh").write_text(bash_script)
    command = ["bash", "--norc", "-c", BASH.format(words=words)]
    ran = subprocess.run(command, env=environment(server), capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return [line for line in ran.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("madsci-events manager val", ["validate"]),
        ("madsci-events query --level w", ["warning"]),
        ("madsci-events query --type plate", ["plate_read"]),
        ("madsci-events query --node r", ["reader_1"]),
        ("madsci-events query --name E", ["Example\\ Workcell"]),
        ("madsci-events query --name evil", []),
        ("madsci-events tail --until-type plate", ["plate_read"]),
        ("madsci-events stats --field workf", ["workflow_id"]),
        ("madsci-events query --workflow-id 01M84", ["01M84WD9JX5PX0PEFANMSHAJ0S"]),
        ("madsci-events get 01M84W00", ["01M84W00C21SPHKDZ53DPXVAZS"]),
    ],
)
def test_bash_offers(words: str, offered: list[str], lab_server: str, bash_script: str) -> None:
    assert in_bash(words, lab_server, bash_script) == offered


def test_bash_offers_the_profiles_there_are(bash_script: str) -> None:
    run_here("profile", "add", "lab2", "http://lab2:8001")

    assert in_bash("madsci-events query --profile l", "", bash_script) == ["lab2"]


def test_nothing_is_offered_or_said_where_the_server_is_away_or_hangs(bash_script: str) -> None:
    assert in_bash("madsci-events query --profile nowhere --node r", "", bash_script) == []
    with silent() as address:
        assert in_bash("madsci-events query --node r", address, bash_script) == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_their_script(shell: str) -> None:
    text = script(shell)

    assert "_MADSCI_EVENTS_COMPLETE" in text
    if where := shutil.which(shell):
        Path("completion").write_text(text)
        subprocess.run([where, "-n", "completion"], check=True)


HOSTILE = ("it's", 'say "x"', "back\\slash", "a$(reboot)", "a`reboot`", "two words; reboot")


@pytest.fixture(scope="module")
def hostile_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with LiveServer(tmp_path_factory.mktemp("server"), db="memory:") as server:
        names = [{"source": {"name": name}} for name in ("arm_1", *HOSTILE)]
        httpx.post(f"{server.url}/events", json=names).raise_for_status()
        yield server.url


def offered_to(shell: str, server: str) -> str:
    """What the program answers that shell for every name there is."""
    typed = "madsci-events query --name "
    return subprocess.run(
        [installed("madsci-events")],
        env=environment(
            server, _MADSCI_EVENTS_COMPLETE=f"complete_{shell}", _TYPER_COMPLETE_ARGS=typed, COMP_WORDS=typed,
            COMP_CWORD="3", _TYPER_COMPLETE_FISH_ACTION="get-args",
        ),
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


def test_no_name_runs_in_the_shell_that_evaluates_what_is_offered(hostile_server: str) -> None:
    """zsh evaluates it twice: once as the answer, once as a list in double quotes."""
    assert offered_to("zsh", hostile_server) == """_arguments '*: :(("arm_1"\n"two words; reboot"))'"""


def test_no_name_is_more_than_one_word_of_a_command(hostile_server: str) -> None:
    assert offered_to("powershell", hostile_server).split(":::")[0] == "arm_1"
    lines = offered_to("bash", hostile_server).splitlines()
    assert sorted(word for line in lines for word in shlex.split(line)) == sorted(["arm_1", *HOSTILE])


def test_fish_quotes_for_itself(hostile_server: str) -> None:
    assert sorted(offered_to("fish", hostile_server).splitlines()) == sorted(["arm_1", *HOSTILE])


def test_completion_loads_no_client() -> None:
    program = """
import sys
from madsci_event_cli.__main__ import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
    ran = subprocess.run(
        [COMMAND[0], "-c", program],
        env={
            **os.environ, "_MADSCI_EVENTS_COMPLETE": "complete_bash", "COMP_CWORD": "3",
            "COMP_WORDS": "madsci-events query --node r", "EVENT_SERVER_URL": "http://127.0.0.1:9",
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "typer" in ran.stderr.split()
    assert {"httpx", "pydantic", "fastapi", "textual", "rich"} & set(ran.stderr.split()) == set()
