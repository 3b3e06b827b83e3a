"""What README says is what is: a newcomer follows it to the letter."""

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.core

from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.main import app
from madsci_event_cli.output import Format
from madsci_event_cli.registration import Invocation
from madsci_event_cli.session import Session
from tests.processes import Process, free_port

REPOSITORY = Path(__file__).parents[1]


def section(heading: str) -> str:
    """The text of one of README's sections, up to the next of its rank."""
    readme = (REPOSITORY / "README.md").read_text()
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    assert found, f"README has no section {heading!r}"
    return found[1]


def commands(text: str) -> list[str]:
    """The lines of its shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def sessions(text: str) -> list[tuple[str, str]]:
    """The commands of its console blocks, each with what README says it prints."""
    blocks = "".join(re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    return [
        (command, printed) for command, printed in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", blocks, re.MULTILINE)
    ]


def timeless(text: str) -> str:
    """The text without what differs each time: ids, times, dates, the port, colours, how wide the terminal is."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text.replace("\r\n", "\n"))
    text = re.sub(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ID", text)
    text = re.sub(r"\b\w{3} \d{4}-\d\d-\d\d\b", "DATE", text)
    text = re.sub(r"\b\d\d:\d\d:\d\d\b", "TIME", text)
    return re.sub(r"─+", "─", re.sub(r"(127\.0\.0\.1):\d+", r"\1:PORT", text))


def in_a_terminal(command: str) -> str:
    """What the command prints where it believes to be watched."""
    ours, theirs = pty.openpty()
    program, *arguments = shlex.split(command)
    finished = subprocess.run([installed(program), *arguments], stdin=theirs, stdout=theirs, stderr=theirs, check=False)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert finished.returncode == 0, shown
    return shown


def installed(program: str) -> Path:
    """The script of that name beside this Python."""
    return Path(sys.executable).with_name(program)


def ci_steps() -> list[str]:
    """The commands `.ci/run` takes from README."""
    script = (REPOSITORY / ".ci/run").read_text()
    return re.findall(r'\bdocumented "(.*?)"(?: |$)', script, re.MULTILINE)


def test_ci_runs_the_documented_commands_in_their_order() -> None:
    documented = commands(section("Develop"))

    assert ci_steps() == [command for command in documented if command in ci_steps()]
    assert "python -m pytest" in ci_steps()


def test_ci_leaves_out_only_the_environment_it_makes_elsewhere() -> None:
    left_out = [command for command in commands(section("Develop")) if command not in ci_steps()]

    assert left_out == ["python3 -m venv .venv", ". .venv/bin/activate"]


@pytest.mark.parametrize("package", ["madsci_event_server", "madsci_event_cli"])
def test_the_map_shows_every_module_that_is_there_and_no_other(package: str) -> None:
    table = next(
        text for text in section("Map of the code").split("\n\n") if text.strip().startswith(f"| `{package}/`")
    )
    first_column = re.findall(r"^\|([^|]*)\|", table.strip().partition("\n")[2], re.MULTILINE)
    shown = re.findall(r"`([\w/.]+)`", " ".join(first_column))
    there = {f"{path.name}/" if path.is_dir() else path.name for path in (REPOSITORY / package).iterdir()}

    silent = {"__pycache__/", "py.typed", "__init__.py"}
    assert sorted({*shown} - silent) == sorted(there - silent)
    assert len(shown) == len(set(shown))


def test_the_first_minute_is_as_readme_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (serve, serving), *rest = sessions(section("One minute"))
    monkeypatch.setenv("EVENT_SERVER_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("TERM", "xterm-256color")
    program, *arguments = shlex.split(serve)
    with Process([installed(program), *arguments]) as server:
        said = server.wait_for_line("Serving events at")
        shown = [in_a_terminal(command) for command, _ in rest]

    assert timeless(said.string) == timeless(serving)
    assert [timeless(text) for text in shown] == [timeless(printed) for _, printed in rest]
    assert len(rest) >= 2


def test_no_option_has_a_name_twice_or_one_nobody_gave_it() -> None:
    """Typer takes the first name for a default until it is asked: one put beside it would be a second."""
    longs = {
        (name, tuple(option for option in parameter.opts if option.startswith("--")))
        for name, command in all_commands(typer.main.get_command(app))
        for parameter in command.params
    }

    assert {(name, options) for name, options in longs if len(options) > 1} == set()
    assert ("madsci-events alerts silence", ("--for",)) in longs


def first_cells(text: str, heading: str) -> list[str]:
    """The first column of the table with that first heading."""
    table = text.partition(f"| {heading} | |\n|---|---|\n")[2].partition("\n\n")[0]
    return [line.split("|")[1].strip().strip("`") for line in table.splitlines()]


def runs_of_ours(text: str) -> list[list[str]]:
    """The command lines in a text that run `madsci-events`, up to a pipe or redirection."""
    lines = re.findall(r"^\W*(?:until )?madsci-events (.*)$", text.replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(re.split(r" [|>]|;| 2>| &&", line)[0], comments=True) for line in lines]


def parse(command: Any, arguments: list[str], name: str = "madsci-events", parent: Any = None) -> None:
    """Raises what a command line raises that this command does not take."""
    invocation = Invocation(Session(sys.stdin, sys.stdout.buffer, sys.stderr, {}))
    context = command.make_context(name, list(arguments), parent=parent, obj=invocation)
    rest = [*getattr(context, "_protected_args", ()), *context.args]
    if isinstance(command, typer.core.TyperGroup) and rest:
        chosen_name, chosen, rest = command.resolve_command(context, rest)
        parse(chosen, rest, str(chosen_name), context)


def all_commands(command: Any, name: str = "madsci-events") -> Iterator[tuple[str, Any]]:
    """Every command and group, with what is typed for it."""
    yield name, command
    for sub, chosen in getattr(command, "commands", {}).items():
        yield from all_commands(chosen, f"{name} {sub}")


def test_every_help_opens_with_examples_that_the_command_takes() -> None:
    root = typer.main.get_command(app)
    for name, command in all_commands(root):
        examples = runs_of_ours(command.epilog or "")
        assert examples, f"{name} --help has no examples"
        typed = name.split()[1:]
        assert any(example[: len(typed)] == typed for example in examples), f"no example of {name} is one"
        for example in examples:
            parse(root, example)


def test_every_command_line_of_readme_is_one_the_command_takes() -> None:
    root = typer.main.get_command(app)
    readme = (REPOSITORY / "README.md").read_text()
    found = runs_of_ours("\n".join(re.findall(r"^```(?:sh|console)\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)))

    for example in found:
        parse(root, example)
    assert len(found) > 20


def test_every_command_format_and_exit_code_is_in_readme() -> None:
    text = section("Commands")

    assert sorted(first_cells(text, "command")) == sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert first_cells(text, "format") == list(Format)
    assert first_cells(text, "exit code") == [str(int(code)) for code in ExitCode]
