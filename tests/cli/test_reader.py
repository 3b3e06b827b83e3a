"""EventReader against a real server, and against others."""

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madsci_event_cli.connection import base_url
from madsci_event_cli.reader import EventReader, split_events
from madsci_event_server.errors import (
    InvalidInput,
    MadsciEventsError,
    NotAllowed,
    NotFound,
    ServerRefused,
    ServerUnreachable,
    UnexpectedAnswer,
)
from madsci_event_server.event import Event
from madsci_event_server.query import EventQuery
from tests.cli.events import NODE, body, some_bodies
from tests.cli.strangers import answering, silent
from tests.live_server import LiveServer
from tests.processes import free_port

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def without_received(body_: bytes) -> dict[str, object]:
    """An event without what the server sets."""
    document: dict[str, object] = json.loads(body_)
    del document["received_at"]
    return document


async def test_find_gives_the_events_as_bytes(server: str) -> None:
    async with EventReader(server) as reader:
        page = await reader.find({"order": "time"})

    assert [without_received(found) for found in page.events] == [without_received(sent) for sent in some_bodies()]
    assert (page.next, page.truncated) == (None, False)


async def test_a_query_may_be_an_event_query(server: str) -> None:
    query = EventQuery.parse({"level": "error", "order": "time", "since": "2026-11-23T18:51:47.000006Z"})
    async with EventReader(server) as reader:
        page = await reader.find(query)

    assert [json.loads(found)["log_level"] for found in page.events] == [50]


@pytest.mark.parametrize(("limit", "count"), [(None, 9), (4, 4), (100, 9)])
async def test_pages_go_on_to_the_limit_or_the_end(server: str, limit: int | None, count: int) -> None:
    async with EventReader(server) as reader:
        pages = [page async for page in reader.pages({"order": "time"}, limit=limit)]

    assert sum(len(page.events) for page in pages) == count
    assert pages[-1].truncated is (count < 9)


async def test_pages_follow_one_another(own_server: LiveServer) -> None:
    with own_server.client() as client:
        lines = b"\n".join(body(number) for number in range(2500))
        client.post("/events", content=lines).raise_for_status()
    async with EventReader(own_server.url) as reader:
        pages = [page async for page in reader.pages({"order": "time"})]

    ids = [json.loads(found)["event_id"] for page in pages for found in page.events]
    assert len(pages) > 1
    assert ids == sorted(set(ids))
    assert len(ids) == 2500


async def test_get_by_the_whole_id_and_by_part(server: str) -> None:
    async with EventReader(server) as reader:
        whole = await reader.get("01M84W00C21SPHKDZ53DPX0003")
        part = await reader.get("3DPX0003", partial=True)

    assert json.loads(whole)["event_id"] == "01M84W00C21SPHKDZ53DPX0003"
    assert part == whole


async def test_an_id_may_hold_anything(own_server: LiveServer) -> None:
    strange = "a/b c?d#e%2Fé"
    async with EventReader(own_server.url) as reader:
        with own_server.client() as client:
            client.post("/event", json={"event_id": strange}).raise_for_status()

        assert json.loads(await reader.get(strange))["event_id"] == strange


async def test_part_of_several_ids_is_refused(server: str) -> None:
    async with EventReader(server) as reader:
        with pytest.raises(ServerRefused) as refused:
            await reader.get("01M84W00C2", partial=True)

    assert refused.value.status == 409


async def test_counts(server: str) -> None:
    async with EventReader(server) as reader:
        facets = await reader.facets(["log_level"], {"level": "warning", "limit": 1})
        histogram = await reader.histogram(3600, EventQuery.parse({"level": "error"}))
        names = await reader.names()

    assert facets["total"] == 3
    assert [bucket["counts"] for bucket in histogram["buckets"]] == [{"ERROR": 1, "CRITICAL": 1}]
    assert [(name["field"], name["id"], name["name"]) for name in names] == [("node_id", NODE, "liquidhandler_1")]


async def test_archive_and_purge(own_server: LiveServer) -> None:
    with own_server.client() as client:
        for number in range(3):
            client.post("/event", json=json.loads(body(number))).raise_for_status()
    async with EventReader(own_server.url) as reader:
        archived = await reader.archive(ids=["01M84W00C21SPHKDZ53DPX0001"])
        would_be = await reader.purge(0, dry_run=True)
        purged = await reader.purge(0)
        left = await reader.find({"include_archived": True})

    assert (archived, would_be, purged, len(left.events)) == (1, 1, 1, 2)


async def test_what_the_server_refuses_is_told_in_its_words(server: str) -> None:
    async with EventReader(server) as reader:
        with pytest.raises(ServerRefused, match=r"^kindd: .*did you mean kind"):
            await reader.find({"kindd": "x"})
        with pytest.raises(NotFound, match="nobody"):
            await reader.get("nobody")


@pytest.mark.parametrize(
    ("status", "body_", "content_type", "error"),
    [
        (200, b"<html>", "text/html", UnexpectedAnswer),
        (200, b'{"events": 3}', "application/json", UnexpectedAnswer),
        (200, b'{"events": [3], "next": null}', "application/json", UnexpectedAnswer),
        (200, b'{"events": []}', "application/json", UnexpectedAnswer),
        (200, b"[]", "application/json", UnexpectedAnswer),
        (200, b"\xff\xfe", "application/json", UnexpectedAnswer),
        (404, b'{"detail": "Not Found"}', "application/json", UnexpectedAnswer),
        (404, b"nothing here", "text/plain", UnexpectedAnswer),
        (500, b"Internal Server Error", "text/plain", UnexpectedAnswer),
        (401, b"", "text/plain", NotAllowed),
        (403, b'{"detail": "not you", "errors": []}', "application/json", NotAllowed),
        (502, b"<html>Bad Gateway", "text/html", ServerUnreachable),
        (503, b'{"detail": "the disk is full", "errors": []}', "application/json", ServerRefused),
    ],
)
async def test_each_answer_is_called_what_it_is(
    status: int, body_: bytes, content_type: str, error: type[MadsciEventsError]
) -> None:
    with answering(status, body_, content_type) as address:
        async with EventReader(address) as reader:
            with pytest.raises(error) as raised:
                await reader.find({})

    assert type(raised.value) is error
    assert address in str(raised.value) or str(raised.value) in ("not you", "the disk is full")


async def test_a_redirect_names_the_address_to_use() -> None:
    with answering(308, b"", "text/plain", Location="https://lab.example/") as address:
        async with EventReader(address) as reader:
            with pytest.raises(UnexpectedAnswer, match=r"https://lab\.example/"):
                await reader.names()


async def test_nobody_there() -> None:
    async with EventReader(f"http://127.0.0.1:{free_port()}") as reader:
        with pytest.raises(ServerUnreachable, match=r"cannot connect to http://127\.0\.0\.1:"):
            await reader.status()


async def test_an_answer_that_never_comes() -> None:
    with silent() as address:
        async with EventReader(address, timeout=httpx.Timeout(0.05)) as reader:
            with pytest.raises(ServerUnreachable, match="in time"):
                await reader.status()


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://lab:8001", "http://lab:8001/"),
        ("http://lab:8001/", "http://lab:8001/"),
        ("lab:8001", "http://lab:8001/"),
        ("https://lab/events//", "https://lab/events/"),
        ("http://[::1]:8001", "http://[::1]:8001/"),
    ],
)
def test_addresses(given: str, base: str) -> None:
    assert base_url(given) == base


@pytest.mark.parametrize("address", ["", "ftp://lab", "http://", "http://lab:port"])
def test_no_addresses(address: str) -> None:
    with pytest.raises(InvalidInput, match=r"^server: .* use http://HOST:PORT"):
        base_url(address)


@given(
    st.lists(st.dictionaries(st.text(), JSON_VALUES, max_size=3), max_size=4), JSON_VALUES, st.sampled_from([None, 2])
)
def test_events_are_cut_out_as_they_stand(events: list[dict[str, object]], more: object, indent: int | None) -> None:
    text = json.dumps({"before": more, "events": events, "next": more}, indent=indent)
    bodies, rest = split_events(text)

    assert [json.loads(found) for found in bodies] == events
    assert rest == {"before": more, "next": more}


def test_an_event_keeps_its_bytes() -> None:
    first, second = b'{"a":1.50,"b":"\\u0041"}', Event(event_data={"big": 2**80}).encode()
    text = b'{"events":[' + first + b" , " + second + b'],"next":null,"truncated":false}'

    assert split_events(text.decode()) == ([first, second], {"next": None, "truncated": False})
