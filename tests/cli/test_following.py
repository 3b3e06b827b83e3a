"""`reader.follow`: each event once, however often the connection or the server goes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from madsci_event_cli.following import Connected, Disconnected, Gap, Heartbeat, Patience, Raised, Received
from madsci_event_cli.reader import EventReader
from madsci_event_server.errors import ServerRefused, ServerUnreachable, UnexpectedAnswer
from madsci_event_server.query import EventQuery
from tests.cli.followers import QUICK, archive_and_purge, following, id_of, ids, numbered, send
from tests.cli.scripted_server import Hang, Raw, Reply, Reset, ScriptedServer, always, scripted_server
from tests.live_server import LiveServer
from tests.processes import free_port
from tests.thread_server import ThreadServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadServer]:
    """A server of the test's own, which keeps its events when it is started again."""
    with ThreadServer(tmp_path) as running:
        yield running


@pytest.fixture
def process(tmp_path: Path) -> Iterator[LiveServer]:
    """The same as a process, which can be killed."""
    with LiveServer(tmp_path / "process") as running:
        yield running


async def test_from_now_on(server: ThreadServer) -> None:
    send(server, *numbered(1, 3))
    async with following(server.url) as stream:
        hello = await stream.until(Connected)
        send(server, *numbered(4, 6))

        assert await stream.events(3) == ids(4, 6)
        assert hello.version
        assert stream.seen[0] is hello


async def test_from_so_far_back(server: ThreadServer) -> None:
    send(server, *numbered(1, 9))
    async with following(server.url, last=4) as stream:
        assert await stream.events(4) == ids(6, 9)


async def test_from_after_a_cursor_any_item_carried(server: ThreadServer) -> None:
    send(server, *numbered(1, 9))
    async with following(server.url, last=9) as stream:
        while not isinstance(item := await stream.next(), Received) or id_of(item) != "e-5":
            pass
    async with following(server.url, after=item.cursor) as stream:
        assert await stream.events(4) == ids(6, 9)


async def test_from_after_a_cursor_of_found_events(server: ThreadServer) -> None:
    """What a page in received order ends with, a stream takes up."""
    send(server, *numbered(1, 5))
    async with EventReader(server.url) as reader:
        page = await reader.find({"order": "received", "limit": 2})
    async with following(server.url, after=page.next) as stream:
        assert await stream.events(3) == ids(3, 5)


async def test_the_body_is_what_the_server_stored(server: ThreadServer) -> None:
    async with following(server.url) as stream:
        await stream.until(Connected)
        send(server, {"event_id": "é-x", "event_data": {"message": "line\nbreak\r ␛ \u2029"}})
        item = await stream.until(Received)
    async with EventReader(server.url) as reader:
        assert item.body == await reader.get("é-x")


@pytest.mark.parametrize(
    "query",
    [
        {"level": "error"},
        EventQuery.parse({"level": "error"}),
        {"selector": {"log_level": {"$gte": 40}}},
        EventQuery.parse({"selector": {"log_level": {"$gte": 40}}}),
    ],
)
async def test_filtered(server: ThreadServer, query: Any) -> None:
    async with following(server.url, query) as stream:
        await stream.until(Connected)
        send(server, *numbered(1, 2), *numbered(3, 4, log_level="error"), *numbered(5, 5))
        send(server, *numbered(6, 6, log_level="critical"))

        assert await stream.events(3) == ["e-3", "e-4", "e-6"]


async def test_a_raised_event_comes_again(server: ThreadServer) -> None:
    async with following(server.url) as stream:
        await stream.until(Connected)
        send(server, *numbered(1, 2))
        await stream.events(2)
        send(server, *numbered(1, 1, log_level="error"))
        item = await stream.next()

    assert isinstance(item, Raised)
    assert id_of(item) == "e-1"
    assert json.loads(item.body)["log_level"] == 40


async def test_a_server_that_restarts_costs_nothing_but_time(server: ThreadServer) -> None:
    async with following(server.url) as stream:
        await stream.until(Connected)
        send(server, *numbered(1, 3))
        assert await stream.events(3) == ids(1, 3)
        server.stop()
        gone = await stream.until(Disconnected)
        server.start()
        send(server, *numbered(4, 6))

        assert await stream.events(3) == ids(4, 6)
    assert gone.reason == "the server is stopping"
    assert gone.retry_in >= 1  # as its goodbye asked


async def test_a_killed_server_likewise(process: LiveServer) -> None:
    async with following(process.url) as stream:
        await stream.until(Connected)
        send(process, *numbered(1, 3))
        await stream.events(3)
        process.kill()
        gone = await stream.until(Disconnected)
        process.start()
        send(process, *numbered(2, 6))

        assert await stream.events(3) == ids(4, 6)
    assert isinstance(gone.error, ServerUnreachable)


async def test_what_was_raised_meanwhile_is_told(server: ThreadServer) -> None:
    async with following(server.url) as stream:
        await stream.until(Connected)
        send(server, *numbered(1, 3))
        await stream.events(3)
        server.stop()
        await stream.until(Disconnected)
        server.start()
        send(server, *numbered(2, 2, log_level="critical"), *numbered(4, 4), *numbered(4, 4, alert=True))
        raised, new = await stream.until(Raised), await stream.until(Received)

    assert (id_of(raised), id_of(new)) == ("e-2", "e-4")
    assert json.loads(new.body)["alert"] is True


async def test_what_was_purged_meanwhile_is_a_gap(server: ThreadServer) -> None:
    async with following(server.url) as stream:
        hello = await stream.until(Connected)
    send(server, *numbered(1, 5))
    archive_and_purge(server, "e-2", "e-4")
    async with following(server.url, after=hello.cursor) as stream:
        gap = await stream.until(Gap)

        assert await stream.events(3) == ["e-1", "e-3", "e-5"]
    assert gap.after == hello.cursor
    assert gap.missing is None
    assert "purged" in gap.reason


async def test_a_gap_is_told_once(server: ThreadServer) -> None:
    async with following(server.url) as stream:
        hello = await stream.until(Connected)
    send(server, *numbered(1, 3))
    archive_and_purge(server, "e-2")
    async with following(server.url, after=hello.cursor) as stream:
        await stream.events(2)
        server.stop()
        server.start()
        send(server, *numbered(4, 4))
        await stream.events(1)

    assert [type(item) for item in stream.seen if isinstance(item, Gap)] == [Gap]


async def test_a_cursor_of_another_store_is_refused(server: ThreadServer, tmp_path: Path) -> None:
    with ThreadServer(tmp_path, db="memory:") as other:
        async with following(other.url) as stream:
            hello = await stream.until(Connected)
    async with following(server.url, after=hello.cursor) as stream:
        with pytest.raises(ServerRefused, match="another store") as refused:
            await stream.next()
    assert refused.value.status == 410


async def test_a_store_that_was_replaced_ends_the_following(tmp_path: Path) -> None:
    """Its places mean nothing any more: whoever follows must decide where to begin."""
    with ThreadServer(tmp_path, db="memory:") as server:
        async with following(server.url) as stream:
            await stream.until(Connected)
            server.stop()
            server.start()
            with pytest.raises(ServerRefused) as refused:
                await stream.until(Connected)
    assert refused.value.status == 410


async def test_a_query_without_meaning_is_refused(server: ThreadServer) -> None:
    async with following(server.url, {"selector": {"$where": "1"}}) as stream:
        with pytest.raises(ServerRefused, match="where") as refused:
            await stream.next()
    assert refused.value.status == 422


async def test_no_server_is_a_disconnection_from_the_start() -> None:
    async with following(f"http://127.0.0.1:{free_port()}") as stream:
        first, second = await stream.next(), await stream.next()

    assert isinstance(first, Disconnected)
    assert isinstance(second, Disconnected)
    assert "is the server up?" in first.reason


async def test_waiting_grows_to_a_bound_and_differs() -> None:
    patience = Patience(first_seconds=0.001, longest_seconds=0.016)
    async with following(f"http://127.0.0.1:{free_port()}", patience=patience) as stream:
        waits = [(await stream.until(Disconnected)).retry_in for _ in range(8)]

    for number, wait in enumerate(waits):
        longest = min(0.016, 0.001 * 2**number)
        assert longest / 2 <= wait <= longest
    assert len(set(waits)) == len(waits)


def _stream(*messages: str) -> Raw:
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    return Raw((head + "".join(f"{message}\n\n" for message in messages)).encode())


HELLO = 'id: c0\nevent: hello\ndata: {"cursor":"c0","server_time":"2026-11-23T12:00:00Z","version":"1"}'


async def test_a_silent_link_is_given_up() -> None:
    with scripted_server(always(Hang())) as scripted:
        async with following(scripted.url, patience=Patience(0.01, 0.1, silence_seconds=0.2)) as stream:
            item = await stream.next()

    assert isinstance(item, Disconnected)
    assert "in time" in item.reason


async def test_the_place_is_kept_by_heartbeats_too() -> None:
    """So that a narrow filter has not hours to go through again."""
    beat = 'id: c7\nevent: heartbeat\ndata: {"cursor":"c7","server_time":"2026-11-23T12:00:00Z"}'
    with scripted_server(always(_stream(HELLO, beat))) as scripted:
        async with following(scripted.url) as stream:
            await stream.until(Heartbeat)
            await stream.until(Heartbeat)
    assert [request.path for request in scripted.requests[:2]] == ["/events/stream", "/events/stream?after=c7"]


async def test_a_place_that_comes_twice_is_delivered_once() -> None:
    event = 'id: c1\ndata: {"event_id":"e"}'
    with scripted_server(
        always(_stream(HELLO, event, event, ": a comment", "event: new-fangled\ndata: {}"))
    ) as scripted:
        async with following(scripted.url) as stream:
            await stream.until(Disconnected)

    assert [type(item) for item in stream.seen] == [Connected, Received, Disconnected]


async def test_half_a_message_is_not_delivered() -> None:
    def behaviour(server: ScriptedServer, _: object) -> Raw:
        cut = _stream(HELLO, 'id: c1\ndata: {"event_id":"e"}').content[:-1]
        return Raw(cut) if len(server.requests) == 1 else _stream(HELLO, 'id: c1\ndata: {"event_id":"whole"}')

    with scripted_server(behaviour) as scripted:
        async with following(scripted.url) as stream:
            await stream.until(Disconnected)
            assert await stream.events(1) == ["whole"]
            assert not any(isinstance(item, Received) for item in stream.seen[:-1])


@pytest.mark.parametrize("status", [401, 403, 404, 410, 422])
async def test_refusals_are_final(status: int) -> None:
    with scripted_server(always(Reply(status, {"detail": "not so", "errors": []}))) as scripted:
        async with following(scripted.url) as stream:
            with pytest.raises(Exception, match="not so"):
                await stream.next()
    assert len(scripted.requests) == 1


async def test_an_overloaded_server_is_given_the_time_it_asks_for() -> None:
    with scripted_server(always(Reply(503, {"detail": "too many", "errors": []}, {"Retry-After": "7"}))) as scripted:
        async with following(scripted.url) as stream:
            item = await stream.next()

    assert isinstance(item, Disconnected)
    assert 7 <= item.retry_in <= 10.5


@pytest.mark.parametrize("answer", [Reply(200, {"hello": "world"}), Raw(b"SSH-2.0-OpenSSH_9.9\r\n")])
async def test_another_service_is_told_apart(answer: Any) -> None:
    with scripted_server(always(answer)) as scripted:
        async with following(scripted.url) as stream:
            with pytest.raises(UnexpectedAnswer):
                await stream.next()


async def test_a_loss_is_said_without_the_question_that_trying_again_answers() -> None:
    with scripted_server(always(_stream(HELLO))) as scripted:
        async with following(scripted.url) as stream:
            lost = await stream.until(Disconnected)
            scripted.behaviour = always(Reset())
            again = await stream.until(Disconnected)

    assert again.happened == f"lost the connection to {scripted.url}/"
    assert not lost.happened.endswith("?")


async def test_a_server_that_greets_and_drops_is_waited_for_longer_each_time() -> None:
    with scripted_server(always(_stream(HELLO))) as scripted:
        async with following(scripted.url, patience=Patience(0.001, 10)) as stream:
            waits = [(await stream.until(Disconnected)).retry_in for _ in range(4)]

    assert waits[3] > waits[0] * 2


def test_the_defaults_are_the_documented_ones() -> None:
    assert Patience() == Patience(first_seconds=0.5, longest_seconds=30, silence_seconds=25)
    assert QUICK.silence_seconds == Patience().silence_seconds
