"""A new lab, set up in a terminal by somebody who has README and nothing else."""

import re
from collections.abc import Iterator

import pytest

from tests.alerts.post_office import PostOffice, a_post_office
from tests.cli.terminals import Terminal
from tests.processes import free_port
from tests.test_documented import installed, section, sessions


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with a_post_office() as office:
        yield office


def questions(printed: str) -> list[tuple[str, str]]:
    """What README shows being asked, up to where a default or the answer begins, and the answer."""
    asked = re.findall(r"^([A-Z][^:\n\[]*?)(?: \[[^\]]*\])?:(?: (.*))?$", printed, re.MULTILINE)
    hints = ("Where ", "Events of", "How the")
    return [(question, answer) for question, answer in asked if question != "Next" and not question.startswith(hints)]


def run(command: str) -> str:
    """A command of README in a terminal; what it showed."""
    program, *rest = re.findall(r'"[^"]*"|\S+', command)
    with Terminal([installed(program), *(part.strip('"') for part in rest)]) as terminal:
        code = terminal.wait()
    assert code == 0, terminal.seen
    return terminal.seen


def test_a_lab_is_set_up_from_readme_alone(office: PostOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    (add, dialogue), (validate, valid), (serve, serving), *rest = sessions(section("Set up a lab"))
    port = free_port()
    # What is the reader's own: the mail server, and a port that is free where this test runs.
    own = {
        "Mail server": "127.0.0.1",
        "Mail server's port": str(office.post.port),
        "Encryption": "none",
        "Port": str(port),
    }
    program, *arguments = add.split()
    with Terminal([installed(program), *arguments]) as terminal:
        for question, answer in questions(dialogue):
            terminal.wait_for(
                f"{question} [" if question in (*own, "Store") and question != "Mail server" else question
            )
            terminal.wait_for(": ")
            terminal.type(own.get(question, answer))
        assert terminal.wait() == 0, terminal.seen
    assert "managers/robot_lab.manager.yaml\n" in terminal.seen
    assert "Next:" in terminal.seen

    assert run(validate) == valid
    program, *arguments = serve.split()
    with Terminal([installed(program), *arguments]) as server:
        server.wait_for(serving.strip().replace("8001", str(port)))
        monkeypatch.setenv("EVENT_SERVER_URL", f"http://127.0.0.1:{port}")
        shown = [run(command) for command, _ in rest]
        office.wait_until(lambda post: len(post.taken) >= 2)
        server.interrupt()
        assert server.wait() == 0, server.seen

    assert [command.split()[1] for command, _ in rest] == ["alerts", "log", "doctor"]
    assert office.post.recipients == ["ada@example.org", "ada@example.org"]
    assert "[Robot Lab]" in office.post.subjects[1]
    assert "Arm stuck" in office.post.subjects[1]
    assert re.fullmatch(r"[0-9A-Z]{26}\n", shown[1])
    assert "FAILURE" not in shown[2]
