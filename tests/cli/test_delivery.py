"""Everything that is logged arrives, once and in order, whatever the server does meanwhile. Over real sockets."""

import itertools
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from madsci_event_cli import EventClient
from madsci_event_cli.sending.delivery import Pace
from madsci_event_cli.sending.outbox import Limits
from tests.cli.scripted_server import (
    Answer,
    Behaviour,
    DripForEver,
    Hang,
    Raw,
    Reply,
    Request,
    Reset,
    ScriptedServer,
    always,
    as_madsci,
    as_ours,
    batch_reply,
    scripted_server,
)
from tests.processes import free_port

IMPATIENT = Pace(first_pause_seconds=0.01, longest_pause_seconds=0.05, answer_seconds=0.5, adopt_seconds=0.2)
MakeClient = Callable[..., EventClient]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture
def make_client(tmp_path: Path, server: ScriptedServer) -> Iterator[MakeClient]:
    """Clients of a fresh spool. What they still hold at the end is taken, so that none goes on trying."""
    made: list[EventClient] = []

    def make(url: str, limits: Limits | None = None, pace: Pace = IMPATIENT, **settings: Any) -> EventClient:
        arguments: dict[str, Any] = {"name": "arm_1", **settings}
        client = EventClient(
            event_server=url, spool_directory=tmp_path / "spool", limits=limits, pace=pace, **arguments
        )
        made.append(client)
        return client

    yield make
    server.behaviour = as_ours
    for client in made:
        with nullcontext() if server.url.endswith(f":{port_of(client)}") else scripted_server(port=port_of(client)):
            client.flush(10)
        client.close(0)


def port_of(client: EventClient) -> int:
    return int(client.event_server.rpartition(":")[2])


def messages(server: ScriptedServer) -> list[Any]:
    return [event["event_data"]["message"] for event in server.events]


def at_first(answers: list[Answer], then: Behaviour = as_ours) -> Behaviour:
    """These answers, one a request, and then as usual."""
    left = iter(answers)
    return lambda server, request: next(left, None) or then(server, request)


def took_it_and_died(server: ScriptedServer, request: Request) -> Answer:
    """Stored, but the answer never came: sending again must not store twice."""
    as_ours(server, request)
    return Reset()


def set_aside(client: EventClient) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (client.status().directory / "set_aside.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "trouble",
    [
        Hang(),
        Reset(),
        Raw(b""),
        Raw(b"\x00garbage\r\n\r\n"),
        Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf an answer"),
        Raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>Please log in</html>"),
        DripForEver(),
        Reply(200, {"status": "ok"}),
        Reply(200, []),
        Reply(301, {}, {"Location": "https://elsewhere/"}),
        Reply(401, {"detail": "who are you?"}),
        Reply(429, {"detail": "slower"}),
        Reply(429, {"detail": "slower"}, {"Retry-After": "0"}),
        Reply(500, {"detail": "oh"}),
        Reply(502, {}),
        Reply(503, {"detail": "the disk is full"}, {"Retry-After": "0"}),
        Reply(507, {}),
    ],
    ids=lambda trouble: f"{trouble}"[:40],
)
def test_nothing_is_lost_or_out_of_order(server: ScriptedServer, make_client: MakeClient, trouble: Answer) -> None:
    server.behaviour = at_first([trouble] * 2)
    client = make_client(server.url)
    for number in range(200):
        client.info(number)

    assert client.flush(30)
    assert messages(server) == list(range(200))
    assert (client.status().pending, client.status().delivered, client.status().trouble) == (0, 200, None)


def test_what_was_stored_without_an_answer_is_stored_once(server: ScriptedServer, make_client: MakeClient) -> None:
    dying = iter([took_it_and_died] * 3)
    server.behaviour = lambda server, request: next(dying, as_ours)(server, request)
    client = make_client(server.url)
    client.info("once")

    assert client.flush(30)
    assert len(server.arrivals) == 4
    assert messages(server) == ["once"]


def test_a_server_that_was_away_from_the_start_gets_everything(make_client: MakeClient) -> None:
    port = free_port()
    client = make_client(f"http://127.0.0.1:{port}")
    for number in range(100):
        client.info(number)
    assert not client.flush(0.1)
    trouble = client.status().trouble

    with scripted_server(port=port) as server:
        assert client.flush(30)
        assert messages(server) == list(range(100))
    assert "cannot be reached" in str(trouble)


def test_an_event_goes_out_without_being_asked_for(server: ScriptedServer, make_client: MakeClient) -> None:
    client = make_client(server.url)
    client.info("now")
    assert server.wait_until(lambda server: messages(server) == ["now"])
    client.info("again")

    assert server.wait_until(lambda server: messages(server) == ["now", "again"])


def test_a_burst_shares_requests(server: ScriptedServer, make_client: MakeClient) -> None:
    client = make_client(server.url)
    for number in range(5000):
        client.info(number)
    client.flush(30)

    assert len(server.requests) < 1000


def test_retry_after_is_heeded_even_by_who_flushes(server: ScriptedServer, make_client: MakeClient) -> None:
    server.behaviour = always(Reply(429, {"detail": "300 a minute"}, {"Retry-After": "3"}))
    client = make_client(server.url)
    client.info("patience")
    assert server.wait_until(lambda server: len(server.requests) == 1)

    assert not client.flush(0.5)
    client.close(0.5)
    assert len(server.requests) == 1


def test_what_the_server_rejects_is_set_aside_and_the_rest_delivered(
    server: ScriptedServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def picky(server: ScriptedServer, request: Request) -> Answer:
        bad = {3, 7}
        return batch_reply(
            server, request, lambda event: "no sevens" if event["event_data"]["message"] in bad else None
        )

    server.behaviour = picky
    client = make_client(server.url)
    for number in range(10):
        client.info(number)

    assert client.flush(30)
    assert messages(server) == [0, 1, 2, 4, 5, 6, 8, 9]
    aside = set_aside(client)
    assert [json.loads(entry["event"])["event_data"]["message"] for entry in aside] == [3, 7]
    assert {entry["reason"] for entry in aside} == {"no sevens"}
    assert client.status().set_aside == 2
    assert "refused an event, which is kept in" in caplog.text


@pytest.mark.parametrize("status", [413, 422, 400])
def test_a_batch_refused_as_a_whole_is_divided(server: ScriptedServer, make_client: MakeClient, status: int) -> None:
    """A proxy with a smaller limit, or one event that spoils all: found by halving."""

    def strict(server: ScriptedServer, request: Request) -> Answer:
        spoilt = any(json.loads(line)["event_data"]["message"] == 70 for line in request.lines)
        if len(request.lines) > 10 or spoilt:
            return Reply(status, {"detail": "too much"})
        return as_ours(server, request)

    server.behaviour = strict
    client = make_client(server.url)
    for number in range(100):
        client.info(number)

    assert client.flush(30)
    assert messages(server) == [number for number in range(100) if number != 70]
    assert [entry["reason"] for entry in set_aside(client)] == [f"{status} too much"]


@pytest.mark.parametrize("good", [as_ours, as_madsci], ids=["in batches", "one by one"])
def test_an_event_the_server_fails_at_does_not_hold_up_the_rest(
    server: ScriptedServer, make_client: MakeClient, good: Behaviour
) -> None:
    def fails_at_poison(server: ScriptedServer, request: Request) -> Answer:
        return Reply(500, {"detail": "bug"}) if b"poison" in request.body else good(server, request)

    server.behaviour = fails_at_poison
    client = make_client(server.url)
    for text in ("first", "poison", "second", "third"):
        client.info(text)

    assert client.flush(30)
    assert messages(server) == ["first", "second", "third"]
    assert [json.loads(entry["event"])["event_data"]["message"] for entry in set_aside(client)] == ["poison"]


def test_a_server_that_fails_at_everything_loses_nothing(server: ScriptedServer, make_client: MakeClient) -> None:
    client = make_client(server.url)
    client.info(0)
    assert client.flush(30)
    server.behaviour = always(Reply(500, {"detail": "bug"}))
    for number in range(1, 5):
        client.info(number)
    assert server.wait_until(lambda server: len(server.requests) > 15)
    server.behaviour = as_ours

    assert client.flush(30)
    assert messages(server) == list(range(5))
    assert client.status().set_aside == 0


def test_a_server_of_madscis_gets_events_one_by_one(server: ScriptedServer, make_client: MakeClient) -> None:
    server.behaviour = as_madsci
    client = make_client(server.url)
    for number in range(50):
        client.info(number)

    assert client.flush(30)
    assert messages(server) == list(range(50))
    assert [request.path for request in server.requests].count("/events") == 1


def test_a_server_that_comes_back_as_ours_gets_batches_again(server: ScriptedServer, make_client: MakeClient) -> None:
    """A proxy that knew no route, in front of a server that was away."""
    server.behaviour = at_first([Reply(404, {"detail": "Not Found"})] * 4)
    client = make_client(server.url)
    for number in range(50):
        client.info(number)

    assert client.flush(30)
    assert messages(server) == list(range(50))
    assert server.requests[-1].path == "/events"


def test_closing_many_clients_does_not_wait_for_each(server: ScriptedServer, make_client: MakeClient) -> None:
    """Of a server that hangs. Twenty times three seconds would be more than a test may take."""
    server.behaviour = always(Hang())
    for _ in range(20):
        client = make_client(server.url)
        client.info("x")
        client.close()

    assert client.status().pending == 20


def test_an_id_that_is_taken_is_said(
    server: ScriptedServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    counts = {"accepted": 0, "duplicates": 0, "raised": 0, "conflicts": 1, "rejected": []}
    server.behaviour = always(Reply(200, counts))
    client = make_client(server.url)
    client.log({"event_id": "taken", "event_data": 1})

    assert client.flush(30)
    assert client.status().conflicts == 1
    assert "have the id of another event" in caplog.text


def test_trouble_is_said_once_and_so_is_its_end(
    server: ScriptedServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "madsci_event_cli")
    server.behaviour = at_first([Reply(503, {"detail": "away"})] * 6)
    client = make_client(server.url)
    client.info("x")

    assert client.flush(30)
    said = [record.getMessage() for record in caplog.records if record.name == "madsci_event_cli"]
    assert len(said) == 2
    assert "503 away" in said[0]
    assert str(client.status().directory) in said[0]
    assert "again" in said[1]


def test_sending_writes_no_line_a_request_into_the_labs_log(
    server: ScriptedServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = make_client(server.url)
    client.info("quiet")
    client.flush(30)

    assert caplog.records == []


def test_threads_keep_their_own_order(server: ScriptedServer, make_client: MakeClient) -> None:
    client = make_client(server.url)

    def log(thread: int) -> None:
        for number in range(300):
            client.info("t", thread=thread, number=number)

    threads = [threading.Thread(target=log, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert client.flush(30)
    for place in range(6):
        own = [event["event_data"] for event in server.events if event["event_data"]["thread"] == place]
        assert [data["number"] for data in own] == list(range(300))


def test_clients_of_one_server_share_one_thread_and_one_lane(server: ScriptedServer, make_client: MakeClient) -> None:
    """MADSci makes thousands of short-lived ones."""
    clients = [make_client(server.url, name=f"request.{number}/") for number in range(50)]
    for number, client in enumerate(clients):
        client.info(number)

    assert clients[0].flush(30)
    assert sorted(messages(server)) == list(range(50))
    assert [thread.name for thread in threading.enumerate()].count("madsci-events sender") == 1
    assert len(list(clients[0].status().directory.glob("*.lock"))) == 1


def test_the_last_one_out_leaves_no_thread_and_no_file(server: ScriptedServer, make_client: MakeClient) -> None:
    first, second = make_client(server.url), make_client(server.url)
    first.info(1)
    first.close()
    second.info(2)
    second.close()

    assert messages(server) == [1, 2]
    assert "madsci-events sender" not in [thread.name for thread in threading.enumerate()]
    assert [path.name for path in first.status().directory.iterdir()] == ["server.url"]


def test_logging_after_the_end_is_logging(server: ScriptedServer, make_client: MakeClient) -> None:
    client = make_client(server.url)
    for number in range(20):
        client.info(number)
        client.close()

    assert messages(server) == list(range(20))


def test_closing_does_not_wait_for_a_server_that_is_away(make_client: MakeClient) -> None:
    """With an hour to wait: it is known to be away after one attempt."""
    client = make_client(f"http://127.0.0.1:{free_port()}")
    client.info("x")
    client.close(timeout=3600)

    assert client.status().pending == 1


def test_a_full_spool_refuses_counts_and_tells(server: ScriptedServer, make_client: MakeClient) -> None:
    server.behaviour = always(Reply(503, {}))
    client = make_client(server.url, limits=Limits(max_bytes=20_000))
    ids = [client.info(number) for number in range(200)]
    lost = ids.count(None)
    server.behaviour = as_ours

    assert lost > 0
    assert client.status().lost == lost
    assert client.flush(30)
    client.info("room again")
    assert client.flush(30)
    kept = [event for event in server.events if event["event_id"] in ids]
    told = [event for event in server.events if event["event_data"].get("lost") == lost]
    assert len(kept) == 200 - lost
    assert [event["log_level"] for event in told] == [40]
    assert f"{lost} events were not kept" in told[0]["event_data"]["message"]


def test_requests_are_what_servers_and_proxies_expect(server: ScriptedServer, make_client: MakeClient) -> None:
    client = make_client(server.url)
    client.info("x")
    client.flush(30)
    [request] = server.requests

    assert (request.method, request.path) == ("POST", "/events")
    assert request.headers["content-type"] == "application/x-ndjson"
    assert request.headers["user-agent"].startswith("madsci-events")
    assert request.headers["content-length"] == str(len(request.body))


def test_events_logged_while_others_are_being_sent_arrive_too(server: ScriptedServer, make_client: MakeClient) -> None:
    """Wakes must not be lost between reading and resting."""
    client = make_client(server.url)
    for number in itertools.count():
        client.info(number)
        if len(server.requests) > 300:
            break

    assert client.flush(30)
    assert messages(server) == list(range(number + 1))


def test_user_and_password_of_the_address_are_sent_and_not_said(
    server: ScriptedServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.url.replace("://", "://ada:hunter2@")
    server.behaviour = always(Reply(401, {"detail": "who are you?"}))
    client = make_client(url)
    client.info("hello")
    assert server.wait_until(lambda it: len(it.requests) > 1)
    server.behaviour = as_ours

    assert client.flush(30)
    assert server.requests[-1].headers["authorization"] == "Basic YWRhOmh1bnRlcjI="
    assert "are not delivered to http://***@" in caplog.text
    assert "hunter2" not in caplog.text
