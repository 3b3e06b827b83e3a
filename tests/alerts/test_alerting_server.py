"""Alerting as a lab runs it: a server of its own on a socket, killed at any moment."""

import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alerts.post_office import PostOffice, a_post_office
from tests.alerts.smtp_servers import PASSWORD, Post
from tests.live_server import LiveServer

ADA = "ada@lab.test"
WORDS = ("tip", "arm", "door", "lamp", "pump", "valve", "plate", "heater", "shaker", "reader")


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with a_post_office() as running:
        yield running


def a_definition(folder: Path, port: int, **email: object) -> Path:
    """With no wait for company, so that tests need not wait either."""
    document = {
        "name": "Robot Lab",
        "email_alerts": {
            "smtp_server": "127.0.0.1",
            "smtp_port": port,
            "use_tls": False,
            "sender": "bell@lab.test",
            "email_addresses": [ADA],
            "group_wait_seconds": 0,
            "mails_per_hour": 60,
            "mails_per_hour_in_all": 1000,
            **email,
        },
        "alert_rules": [{"name": "arm", "query": {"search": "arm", "level": "info"}, "guidance": "call Bob"}],
    }
    path = folder / "events.manager.yaml"
    path.write_text(json.dumps(document))  # JSON is YAML
    return path


def a_server(folder: Path, office: PostOffice, **email: object) -> LiveServer:
    return LiveServer(folder, "--definition", str(a_definition(folder, office.post.port, **email)))


def log(server: LiveServer, message: str, level: str = "error", **fields: object) -> str:
    with server.client() as client:
        answer = client.post("/event", json={"log_level": level, "event_data": {"message": message}, **fields})
    assert answer.status_code == 200
    return str(answer.json()["event_id"])


def test_an_error_is_mailed(lab: Path, office: PostOffice) -> None:
    with a_server(lab, office) as server:
        log(server, "Tip lost")
        office.wait_until(lambda post: post.subjects == ["[Robot Lab] ERROR Tip lost"])


def test_the_environment_says_what_the_definition_does_not(lab: Path) -> None:
    secrets = {"EVENT_EMAIL_ALERTS__SMTP_USERNAME": "bell", "EVENT_EMAIL_ALERTS__SMTP_PASSWORD": PASSWORD}
    with a_post_office(login=True) as office:
        definition = a_definition(lab, office.post.port)
        with LiveServer(lab, "--definition", str(definition), environment=secrets) as server, server.client() as client:
            proof = client.post("/alerts/test", json={}).json()
            shown = client.get("/health").text + client.get("/definition").text + client.get("/settings").text

    assert proof["taken"]
    assert "C: AUTH as bell, password ***" in proof["transcript"]
    assert PASSWORD not in json.dumps(proof) + shown + server.process.said


def test_killed_after_an_answer_no_alert_is_lost_or_told_twice(lab: Path, office: PostOffice) -> None:
    _kill_and_restart(lab, office, times=3)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_killed_fifty_times_no_alert_is_lost_or_told_twice(lab: Path, office: PostOffice) -> None:
    _kill_and_restart(lab, office, times=50)


def _kill_and_restart(lab: Path, office: PostOffice, *, times: int) -> None:
    chance = random.Random(17)
    troubles = [f"{WORDS[number % 10]} and {WORDS[number // 10]} broken" for number in range(times)]
    with a_server(lab, office) as server:
        for trouble in troubles:
            log(server, trouble)
            # Anywhere between the answer and the mail: there is no event for a random moment.
            time.sleep(chance.uniform(0, 0.4))
            server.kill()
            server.start()
        office.wait_until(lambda post: set(troubles) <= set(_told(post)))

    assert {trouble: len(ids) for trouble, ids in _told(office.post).items()} == dict.fromkeys(troubles, 1)


def _told(post: Post) -> dict[str, set[str]]:
    """By trouble, the Message-IDs of the mails that tell of it."""
    found = defaultdict(set)
    for mail in post.mails:
        for trouble in re.findall(
            r"^(?:ERROR|  ERROR     \w{10})  (\w+ and \w+ broken)", mail.get_content(), re.MULTILINE
        ):
            found[trouble].add(str(mail["Message-ID"]))
    return found


def test_the_routes_tell_the_alert_and_its_end(lab: Path, office: PostOffice) -> None:
    with a_server(lab, office) as server, server.client() as client:
        event_id = log(server, "robot arm stuck", node_name="x", source={"name": "robotarm_1"})
        office.wait_until(lambda post: len(post.taken) == 1)
        [alert] = client.get("/alerts").json()["alerts"]
        whole = client.get(f"/alerts/{alert['alert_id']}").json()
        acknowledged = client.post(f"/alerts/{alert['alert_id']}/ack", json={"by": "ada", "note": "coming"}).json()
        explained = client.get(f"/alerts/explain/{event_id}").json()
        client.post(f"/alerts/{alert['alert_id']}/resolve", json={"by": "ada"})
        office.wait_until(lambda post: len(post.taken) == 2)
        left = client.get("/alerts").json()

    assert (alert["source"], alert["log_level"], alert["count"]) == ("robotarm_1", 40, 1)
    assert (whole["guidance"], whole["recipients"]) == ("call Bob", [ADA])
    assert acknowledged["state"] == "acknowledged"
    assert explained["rules"] == ["arm"]
    assert any(sentence.startswith("ada acknowledged it at ") for sentence in explained["explanation"])
    assert left["alerts"] == []
    assert office.post.subjects[1] == "[Robot Lab] RESOLVED robotarm_1: robot arm stuck"


def test_silences_come_and_go(lab: Path, office: PostOffice) -> None:
    with a_server(lab, office) as server, server.client() as client:
        asked = {"matcher": {"rule": "alert_level"}, "expires_at": "2999-01-01T00:00:00Z", "reason": "r", "author": "a"}
        too_long = client.post("/alerts/silences", json=asked)
        without_end = client.post("/alerts/silences", json={"matcher": {"rule": "x"}, "reason": "r", "author": "a"})
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        silence = client.post("/alerts/silences", json=asked | {"expires_at": soon}).json()
        listed = client.get("/alerts/silences").json()["silences"]
        log(server, "Tip lost")
        ended = client.delete("/alerts/silences", params={"silence_id": silence["silence_id"]}).json()
        office.wait_until(lambda post: len(post.taken) == 1)

    assert (too_long.status_code, without_end.status_code) == (422, 422)
    assert "at most 30 days" in too_long.json()["detail"]
    assert [item["silence_id"] for item in listed] == [silence["silence_id"]]
    assert not ended["active"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/alerts?state=closed", None, 422, "open, acknowledged, resolved, all"),
        ("GET", "/alerts?limt=3", None, 422, "limt"),
        ("GET", "/alerts/zzz", None, 404, "no alert 'zzz'"),
        ("POST", "/alerts/zzz/ack", {"by": "ada"}, 404, "no alert 'zzz'"),
        ("POST", "/alerts/zzz/ack", {"by": " "}, 422, "by: must say who"),
        ("POST", "/alerts/zzz/ack", {"who": "ada"}, 422, "who: is not a field here"),
        ("POST", "/alerts/zzz/ack", [], 422, "must be a JSON object"),
        ("POST", "/alerts/zzz/resolve", None, 404, "no alert 'zzz'"),
        ("POST", "/alerts/silences", {"matcher": {}, "who": 1}, 422, "who: is not a field here"),
        ("DELETE", "/alerts/silences/zz", None, 404, "no silence 'zz'"),
        ("POST", "/alerts/outbox/zz/retry", None, 404, "no mail 'zz'"),
        ("GET", "/alerts/explain/nothing", None, 404, "nothing"),
        ("POST", "/alerts/test", {"to": ["eve@elsewhere.test"]}, 422, "this server mails only ada@lab.test"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    running: LiveServer, method: str, path: str, body: object, status: int, words: str
) -> None:
    with running.client() as client:
        answer = client.request(method, path, json=body)

    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_half_a_character_of_who_says_so_is_replaced(running: LiveServer) -> None:
    """As in every other text; a login need not be UTF-8."""
    silence = '{"matcher": {"node": "\\ud800"}, "duration_seconds": 60, "reason": "\\udfff", "author": "a\\udcff"}'
    with running.client() as client:
        made = client.post("/alerts/silences", content=silence).json()
        client.delete(f"/alerts/silences/{made['silence_id']}")

    assert (made["matcher"], made["reason"], made["author"]) == ({"node": "\ufffd"}, "\ufffd", "a\ufffd")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with nothing to tell."""
    folder = tmp_path_factory.mktemp("server")
    with LiveServer(folder, "--definition", str(a_definition(folder, 9))) as server:
        yield server
