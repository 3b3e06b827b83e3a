"""A disk that fills up or takes no write any more while the server runs: said over HTTP, nothing lost, over by itself.

The limit is the kernel's, on the size of any file the server writes: it is put on the running process from outside, as
a disk fills up, and lifted as room is made. At 0 no write succeeds at all, as on a file system that turned read-only.
"""

import json
import resource
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.live_server import LiveServer

SOME_ROOM = 1_500_000
NO_WRITE = 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path / "lab") as server:
        yield server


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def limit_files(server: LiveServer, size: int) -> None:
    """From now on no file the server writes may grow beyond this."""
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def an_event(event_id: str) -> dict[str, object]:
    return {"event_id": event_id, "event_data": {"message": "x" * 5000}}


def send_until_refused(client: httpx.Client) -> tuple[list[str], httpx.Response]:
    """The ids of what was acknowledged, and the answer to what was not."""
    acknowledged: list[str] = []
    for number in count():
        answer = client.post("/event", json=an_event(f"e{number}"))
        if answer.status_code != 200:
            return acknowledged, answer
        acknowledged.append(f"e{number}")
    raise AssertionError("count ends")


def stored_ids(client: httpx.Client) -> set[str]:
    return set(client.get("/events", params={"number": 0}).raise_for_status().json())


def assert_says_where(answer: httpx.Response, server: LiveServer) -> None:
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert server.db.removeprefix("sqlite:///") in answer.json()["detail"]


@pytest.mark.parametrize("room", [SOME_ROOM, NO_WRITE])
def test_what_cannot_be_stored_is_refused_and_what_was_acknowledged_stays(
    server: LiveServer, client: httpx.Client, room: int
) -> None:
    client.post("/event", json=an_event("before")).raise_for_status()
    limit_files(server, room)
    acknowledged, refused = send_until_refused(client)

    assert_says_where(refused, server)
    assert bool(acknowledged) == (room > 0)
    assert stored_ids(client) == {"before", *acknowledged}
    assert client.get("/event/before").status_code == 200


@pytest.mark.parametrize("room", [SOME_ROOM, NO_WRITE])
def test_it_goes_on_by_itself_when_there_is_room_again(server: LiveServer, client: httpx.Client, room: int) -> None:
    limit_files(server, room)
    acknowledged, refused = send_until_refused(client)
    assert refused.status_code == 503
    limit_files(server, resource.RLIM_INFINITY)

    again = client.post("/event", json=an_event(f"e{len(acknowledged)}"))

    assert again.status_code == 200
    assert again.headers["event-outcome"] == "stored"
    assert client.get("/health").status_code == 200
    assert stored_ids(client) == {f"e{number}" for number in range(len(acknowledged) + 1)}


def test_health_says_so_while_it_lasts(server: LiveServer, client: httpx.Client) -> None:
    limit_files(server, NO_WRITE)

    health = client.get("/health")

    assert health.status_code == 503
    assert server.db.removeprefix("sqlite:///") in health.text


def test_a_batch_answers_for_what_was_stored_of_it(server: LiveServer, client: httpx.Client) -> None:
    limit_files(server, SOME_ROOM)
    lines = [json.dumps(an_event(f"e{number}")) for number in range(2000)]

    answer = client.post("/events", content="\n".join(lines))

    assert_says_where(answer, server)
    accepted = answer.json()["accepted"]
    assert stored_ids(client) == {f"e{number}" for number in range(accepted)}
    assert accepted < 2000


def test_what_was_acknowledged_is_there_after_a_crash_on_a_full_disk(server: LiveServer, client: httpx.Client) -> None:
    limit_files(server, SOME_ROOM)
    acknowledged, refused = send_until_refused(client)
    assert refused.status_code == 503
    server.kill()
    server.start()

    assert stored_ids(client) == set(acknowledged)


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_acknowledged_into_a_file_that_was_taken_away(
    server: LiveServer, client: httpx.Client, replaced: bool
) -> None:
    """SQLite would go on writing to it, and who looks in its place tomorrow would find nothing of that."""
    path = Path(server.db.removeprefix("sqlite:///"))
    client.post("/event", json=an_event("before")).raise_for_status()
    path.rename(path.with_name("elsewhere.db"))
    if replaced:
        path.write_bytes(b"")
    refused = client.post("/event", json=an_event("meanwhile"))
    health = client.get("/health")
    path.with_name("elsewhere.db").rename(path)
    again = client.post("/event", json=an_event("after"))

    assert_says_where(refused, server)
    assert "moved, deleted or replaced" in refused.json()["detail"]
    assert health.status_code == 503
    assert again.headers["event-outcome"] == "stored"
    assert stored_ids(client) == {"before", "after"}
