"""What was acknowledged is there after the worst, once; and what keeps a store from opening is one clear line."""

import asyncio
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx

from tests.live_server import LiveServer
from tests.processes import Process

WRITERS = 32
KILL_AFTER = 1500


async def post_until_it_dies(server: LiveServer, acknowledged: list[str]) -> None:
    """Thousands of posts over many connections; the server is killed in their midst."""

    async def write(writer: int) -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            for number in range(1000):
                event_id = f"{writer}-{number}"
                answer = await client.post("/event", json={"event_id": event_id, "event_data": {"n": number}})
                assert answer.status_code == 200
                acknowledged.append(event_id)
                if len(acknowledged) == KILL_AFTER:
                    server.kill()

    outcomes = await asyncio.gather(*(write(writer) for writer in range(WRITERS)), return_exceptions=True)
    assert all(isinstance(outcome, httpx.TransportError) for outcome in outcomes), outcomes


def test_every_acknowledged_event_survives_kill_9_once(lab: Path) -> None:
    acknowledged: list[str] = []
    with LiveServer(lab) as server:
        asyncio.run(post_until_it_dies(server, acknowledged))
        server.start()
        with server.client() as client:
            stored = client.get("/events", params={"number": 0}).json()
            again = client.post(
                "/events", json=[{"event_id": i, "event_data": stored[i]["event_data"]} for i in stored]
            )

    assert len(acknowledged) >= KILL_AFTER
    assert set(acknowledged) <= set(stored)
    assert again.json() == {
        "accepted": 0,
        "duplicates": len(stored),
        "raised": 0,
        "conflicts": 0,
        "rejected": [],
    }
    with closing(sqlite3.connect(lab / "events.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def wait_for_events(server: LiveServer) -> None:
    with server.client() as client:
        while not client.get("/events", params={"number": 1}).json():
            time.sleep(0.01)


def test_a_batch_killed_in_its_midst_is_whole_up_to_a_point(lab: Path) -> None:
    """In order: if an event is there, so are all that were sent before it."""
    with LiveServer(lab) as server, server.client() as client:

        def lines() -> Iterator[bytes]:
            for number in range(200_000):
                if number == 20_000:
                    wait_for_events(server)  # it may not have come to any yet: what was sent waits in between
                    server.kill()
                yield b'{"event_id": "e%06d"}\n' % number

        try:
            client.post("/events", content=lines())
        except httpx.TransportError:
            pass
        else:
            raise AssertionError("the server was killed, and still answered")
        server.start()
        stored = client.get("/events", params={"number": 0}).json()

    assert sorted(stored) == [f"e{number:06}" for number in range(len(stored))]
    assert stored


def refusal(folder: Path, db: str, exit_code: int = 1) -> str:
    command = [sys.executable, "-m", "madsci_event_server", "--port", "0", "--db", db]
    with Process(command, cwd=folder) as process:
        assert process.wait() == exit_code, process.said
        [line] = process.stderr.text.splitlines()
        return line


def test_a_second_server_on_the_same_file(lab: Path) -> None:
    with LiveServer(lab):
        assert str(lab / "events.db") in refusal(lab, f"sqlite:///{lab}/events.db")


def test_a_file_that_is_no_database(lab: Path) -> None:
    (lab / "events.db").write_text("Dear diary, " * 1000)

    assert "events.db" in refusal(lab, "sqlite:///events.db")
    assert (lab / "events.db").read_text().startswith("Dear diary")


def test_a_database_of_something_else(lab: Path) -> None:
    with closing(sqlite3.connect(lab / "events.db")) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")

    assert "events.db" in refusal(lab, "sqlite:///events.db")


def test_a_directory_is_no_database(lab: Path) -> None:
    (lab / "events").mkdir()

    assert "it is a directory; name a file in it" in refusal(lab, "sqlite:///events")


def test_a_directory_that_cannot_be_made(lab: Path) -> None:
    (lab / "file").write_text("")

    assert "file" in refusal(lab, "sqlite:///file/events.db")


def test_a_server_that_was_stopped_is_opened_elsewhere(lab: Path) -> None:
    """The file is all there is: copied after a clean stop, it is the whole log."""
    with LiveServer(lab / "one") as server, server.client() as client:
        client.post("/event", json={"event_id": "kept"})
        assert server.stop() == 0
    (lab / "two").mkdir()
    shutil.copy(lab / "one/events.db", lab / "two/events.db")

    with LiveServer(lab / "two") as server, server.client() as client:
        assert client.get("/event/kept").status_code == 200
