"""The helper that starts real programs, on programs small enough to see."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.processes import Process, ProcessEnded, free_port


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_waits_for_a_line_of_either_stream_and_gives_the_match() -> None:
    with Process(python("import sys, time; print('port 17', file=sys.stderr, flush=True); time.sleep(60)")) as process:
        found = process.wait_for_line(r"port (\d+)")

    assert found[1] == "17"
    assert process.stderr.text == "port 17\n"


def test_leaves_nothing_running_behind_not_even_children(tmp_path: Path) -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with Process(python(program), cwd=tmp_path) as process:
        process.wait_for_line("1")

    assert not process.running
    assert process.stdout.ended, "a child that still ran would hold the stream open"


def test_an_end_without_the_line_shows_what_was_written() -> None:
    with (
        Process(python("raise SystemExit('no such disk')")) as process,
        pytest.raises(ProcessEnded, match="no such disk"),
    ):
        process.wait_for_line("ready")


def test_a_line_that_never_comes_is_a_timeout() -> None:
    with Process(python("input()")) as process, pytest.raises(TimeoutError, match="a line like 'ready'"):
        process.wait_for_line("ready", seconds=0.1)


def test_ends_by_itself_when_its_input_ends() -> None:
    with Process(python("import sys; print(sys.stdin.read().upper())")) as process:
        process.send_line("good evening")
        process.close_stdin()

        assert process.wait() == 0
    assert process.stdout.text == "GOOD EVENING\n\n"


@pytest.mark.parametrize(("way", "number"), [("kill", signal.SIGKILL), ("terminate", signal.SIGTERM)])
def test_the_exit_code_of_what_was_stopped_names_the_signal(way: str, number: signal.Signals) -> None:
    with Process(python("print('up', flush=True); input()")) as process:
        process.wait_for_line("up")

        assert getattr(process, way)() == -number


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
