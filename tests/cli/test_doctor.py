"""The doctor: each thing well and each thing wrong, and that looking changes nothing."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.post_office import a_post_office
from tests.alerts.smtp_servers import PASSWORD
from tests.cli.runs import Ran, run_here
from tests.live_server import LiveServer
from tests.mongod import Mongod
from tests.processes import free_port
from tests.server.test_definition import written


def doctor(server: str = "http://127.0.0.1:9", **environment: str) -> tuple[Ran, dict[str, list[Any]]]:
    """The run, and its findings by what was looked at: verdict, message and remedy of each."""
    ran = run_here("doctor", "-o", "json", server=server, environment={"EVENT_DB_URL": "memory:", **environment})
    found: dict[str, list[Any]] = {}
    for check in json.loads(ran.out)["checks"]:
        found.setdefault(check["check"], []).append((check["verdict"], check["message"], check["remedy"]))
    return ran, found


def test_a_lab_that_is_well(lab: Path) -> None:
    with a_post_office(login=True) as office, LiveServer(lab / "data") as server:
        written(f"{PASSWORD}\n", "secrets/smtp").chmod(0o600)
        written(
            f"name: Robot Lab\nport: {server.port}\nemail_alerts:\n  smtp_server: 127.0.0.1\n"
            f"  smtp_port: {office.post.port}\n  use_tls: false\n  smtp_username: bell\n"
            "  smtp_password_file: secrets/smtp\n  email_addresses: [ada@lab.test]\n"
        )
        before = sorted(path for path in lab.rglob("*") if "data" not in path.parts)
        ran, found = doctor(server.url, EVENT_DB_URL=server.db)

    assert ran.code == 0
    assert {verdict for checks in found.values() for verdict, _, _ in checks} == {"ok"}
    assert "logged in as bell" in found["mail"][0][1]
    assert office.post.taken == []
    assert sorted(path for path in lab.rglob("*") if "data" not in path.parts) == before
    assert PASSWORD not in ran.out + ran.err


def test_a_lab_with_nothing_yet_is_left_as_it_was(lab: Path) -> None:
    ran = run_here("doctor", server="http://127.0.0.1:9")

    assert ran.code == 1
    assert "WARNING  definition  there is none" in ran.out
    assert "→ madsci-events manager add" in ran.out
    assert "FAILURE  server" in ran.out
    assert "→ madsci-events serve" in ran.out
    assert list(lab.iterdir()) == []


def test_a_wrong_definition_is_a_failure_with_its_line() -> None:
    written("prot: 1")
    ran, found = doctor()

    assert ran.code == 1
    assert found["definition"][0][0] == "failure"
    assert "events.manager.yaml:1: prot" in found["definition"][0][1]


def test_a_port_that_another_program_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        written(f"port: {port}")
        _, found = doctor("")

    assert found["address"][0] == (
        "failure",
        f"127.0.0.1:{port} cannot be listened on (Address already in use)",
        f"madsci-events serve --port {port + 1}, or stop the other program",
    )


@pytest.mark.parametrize(
    ("mail", "words"),
    [
        ("{smtp_server: 127.0.0.1, smtp_port: %d, email_addresses: [a@b.c]}", "connection refused"),
        ("{smtp_server: no-such-host.invalid, email_addresses: [a@b.c]}", "was not found"),
        ("{smtp_server: 127.0.0.1}", "names nobody"),
    ],
)
def test_mail_that_would_not_leave(mail: str, words: str) -> None:
    written("email_alerts: " + (mail % free_port() if "%d" in mail else mail))
    _, found = doctor()

    [(verdict, message, remedy)] = found["mail"]
    assert (verdict, words in message, bool(remedy)) == ("failure", True, True)


def test_a_login_that_is_refused() -> None:
    with a_post_office(login=True) as office:
        written(
            f"email_alerts: {{smtp_server: 127.0.0.1, smtp_port: {office.post.port}, use_tls: false, "
            "smtp_username: bell, smtp_password: hush, email_addresses: [a@b.c]}"
        )
        ran, found = doctor()

    assert found["mail"][0][0] == "failure"
    assert "refused the login" in found["mail"][0][1]
    assert "hush" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"milk, eggs\n" * 20, "is not a database"), (b"SQLite format 3\0" + b"\1" * 84, "of another program")],
)
def test_a_file_that_is_no_event_database(content: bytes, words: str, lab: Path) -> None:
    (lab / "a.db").write_bytes(content)
    _, found = doctor(EVENT_DB_URL="sqlite:///a.db")

    assert found["store"][0][0] == "failure"
    assert words in found["store"][0][1]
    assert (lab / "a.db").read_bytes() == content


def test_mongodb_as_a_replica_set_and_alone(mongod: Mongod, standalone_mongod: Mongod) -> None:
    _, replicas = doctor(EVENT_DB_URL=mongod.new_database())
    _, alone = doctor(EVENT_DB_URL=standalone_mongod.new_database())

    assert "MongoDB" in replicas["store"][0][1]
    assert ("ok", "replica set", "") in [
        (verdict, " ".join(words.split()[:2]), _) for verdict, words, _ in replicas["store"]
    ]
    assert any(verdict == "warning" and "standalone" in message for verdict, message, _ in alone["store"])


def test_mongodb_that_is_away() -> None:
    _, found = doctor(EVENT_DB_URL=f"mongodb://lab:hush@127.0.0.1:{free_port()}/events")

    [(verdict, message, _)] = found["store"]
    assert verdict == "failure"
    assert "hush" not in message


def test_a_clock_that_is_ahead(lab: Path) -> None:
    with LiveServer(lab / "data", db="memory:") as server, server.client() as client:
        client.post("/event", json={"event_timestamp": "2199-01-01T00:00:00Z", "source": {"name": "arm_1"}})
        ran, found = doctor(server.url)

    assert ran.code == 0
    assert any(verdict == "warning" and "arm_1 stamps its events" in words for verdict, words, _ in found["clocks"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["arm_1"], "the newest event of arm_1 came "),
        (["arm_1", "arm_2"], "the newest events of 2 names came "),
    ],
)
def test_events_that_came_long_after_their_time_are_one_finding(lab: Path, names: list[str], said: str) -> None:
    with LiveServer(lab / "data", db="memory:") as server, server.client() as client:
        for name in names:
            client.post("/event", json={"event_timestamp": "2020-01-01T00:00:00Z", "source": {"name": name}})
        client.post("/event", json={"source": {"name": "in_time"}})
        _, found = doctor(server.url)

    late = [words for verdict, words, _ in found["clocks"] if verdict == "warning"]
    assert len(late) == 1
    assert late[0].startswith(said)
    assert all(name in late[0] for name in names)
    assert "in_time" not in late[0]
