"""`madsci-events tui`, as an operator starts it."""

import sys
from pathlib import Path

import pytest

from madsci_event_cli.diagnostics import ExitCode
from tests.cli.runs import run_here
from tests.tui.terminal import Terminal
from tests.tui.watching import numbered, write_events

posix = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a matter of POSIX")


def test_without_a_terminal_it_says_what_to_use() -> None:
    ran = run_here("tui")

    assert ran.code == ExitCode.USAGE
    assert "needs a terminal" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("nowhere.jsonl", "'nowhere.jsonl' does not exist"),
        ("events.jsonl --theme pink", "'pink' is not a theme"),
        ("events.jsonl --level loud", "--level"),
        ("-", "nothing is piped in"),
    ],
)
@posix
def test_what_cannot_be_opened_is_named(lab: Path, arguments: str, said: str) -> None:
    write_events(lab / "events.jsonl", numbered(3))

    with Terminal(f"{{tui}} {arguments}; echo code $?") as terminal:
        printed = terminal.read_until("code 2").decode()

    assert said in printed
    assert "Traceback" not in printed


@posix
def test_filters_of_the_command_line_are_on(lab: Path) -> None:
    write_events(lab / "events.jsonl", numbered(30))

    with Terminal("{tui} events.jsonl --level error; echo left with $?") as terminal:
        terminal.read_until("message 29")
        terminal.press("q")
        terminal.read_until("left with 0")


@posix
def test_it_ends_with_its_terminal_whatever_signals_are_ignored(lab: Path) -> None:
    write_events(lab / "events.jsonl", numbered(30))

    with Terminal("trap '' HUP; exec {tui} events.jsonl") as terminal:
        terminal.read_until("message 29")
        terminal.hang_up()


@posix
def test_while_paused_not_a_byte_is_written(lab: Path) -> None:
    path = write_events(lab / "events.jsonl", numbered(100))

    with Terminal("{tui} events.jsonl") as terminal:
        terminal.read_until("message 99")
        terminal.press(" ")
        terminal.read_until("PAUSED")
        terminal.read_until_quiet()
        with path.open("ab") as file:
            file.writelines(event.encode() + b"\n" for event in numbered(5000, start=100))
        counted = terminal.read_until("5,000 new")
        after = terminal.read_until_quiet()

    assert b"message" not in counted
    assert after == b""


@posix
def test_a_pipe_shows_its_lines_as_they_come_and_can_be_left_while_it_is_open(lab: Path) -> None:
    write_events(lab / "events.jsonl", numbered(3))

    with Terminal("(cat events.jsonl; exec sleep 1000) | {tui} -; echo left with $?") as terminal:
        terminal.read_until("message 2")
        terminal.press("q")
        # The shell waits for all of the pipe, so only the screen's own end can be seen: it gives the terminal back.
        terminal.read_until("\x1b[?1049l")


@posix
def test_a_pipe_that_ends_is_said_to_have_ended(lab: Path) -> None:
    write_events(lab / "events.jsonl", numbered(3))

    with Terminal("printf '%s' \"$(cat events.jsonl)\" | {tui} -") as terminal:
        terminal.read_until("message 2", "END")
