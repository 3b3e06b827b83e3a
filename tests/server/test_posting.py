"""POST /event and POST /events: what becomes of an event that is sent."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from madsci_event_server.api.context import Context
from madsci_event_server.app import create_app
from madsci_event_server.settings import Settings
from madsci_event_server.workers import Worth
from tests.server.calls import a_client, detail, get, post

ID = "01JYKZDPANTNRYXF5TQKRJS0F2"


async def test_an_event_is_answered_as_it_is_stored(client: httpx.AsyncClient) -> None:
    answer = await client.post("/event", json={"event_id": ID, "event_type": "LOG_INFO", "event_data": {"n": 1.5}})

    assert answer.headers["event-outcome"] == "stored"
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == await get(client, f"/event/{ID}")
    assert answer.json()["_id"] == answer.json()["event_id"] == ID
    assert answer.json()["event_type"] == "log_info"
    assert answer.json()["event_data"] == {"n": 1.5}


async def test_nothing_at_all_is_an_event(client: httpx.AsyncClient) -> None:
    event = await post(client)

    assert (event["event_type"], event["log_level"], event["event_data"], event["source"]) == ("unknown", 20, {}, {})


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", None])
async def test_the_content_type_does_not_matter(client: httpx.AsyncClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    answer = await client.post("/event", content=b'{"event_data": {"message": "x"}}', headers=headers)

    assert answer.json()["event_data"] == {"message": "x"}


@pytest.mark.parametrize("path", ["/event", "/events", "/events/query", "/events/search", "/alerts/test"])
@pytest.mark.parametrize("encoding", ["gzip", "identity, GZIP", "deflate", "br", "zstd"])
async def test_a_compressed_body_is_refused_as_such(client: httpx.AsyncClient, path: str, encoding: str) -> None:
    headers = {"content-encoding": encoding}

    said = detail(await client.post(path, content=gzip.compress(b"{}"), headers=headers), 422)

    assert said == f"Content-Encoding: {encoding!r} is not read here; send the body as it is"


@pytest.mark.parametrize("encoding", ["identity", "utf-8", ""])
async def test_an_encoding_that_changes_nothing_does_not_matter(client: httpx.AsyncClient, encoding: str) -> None:
    answer = await client.post("/event", content=b'{"event_data": 1}', headers={"content-encoding": encoding})

    assert answer.json()["event_data"] == 1


@pytest.mark.parametrize("path", ["//event", "///event", "/event/", "//event/"])
async def test_a_slash_too_many_is_forgiven(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(f"http://server{path}", json={"event_id": ID})

    assert answer.json()["event_id"] == ID


async def test_the_zone_of_the_lab_is_that_of_a_naive_time(client: httpx.AsyncClient) -> None:
    event = await post(client, event_timestamp="2026-11-23T06:00:00")

    assert event["event_timestamp"] == "2026-11-23T12:00:00.000000Z"


async def test_what_only_the_server_knows_is_not_taken_from_a_sender(client: httpx.AsyncClient) -> None:
    event = await post(client, archived=True, archived_at="2020-01-01T00:00:00Z", received_at="2020-01-01T00:00:00Z")

    assert event["archived"] is False
    assert event["archived_at"] is None
    assert not event["received_at"].startswith("2020")


@pytest.mark.parametrize(
    ("again", "outcome"),
    [
        ({}, "duplicate"),
        ({"log_level": 10}, "duplicate"),
        ({"log_level": 40}, "raised"),
        ({"alert": True}, "raised"),
        ({"event_data": {"message": "other"}}, "conflict"),
    ],
)
async def test_the_same_id_again(client: httpx.AsyncClient, again: dict[str, Any], outcome: str) -> None:
    event = {"event_id": ID, "log_level": 20, "event_data": {"message": "first"}}
    first = (await client.post("/event", json=event)).json()

    answer = await client.post("/event", json=event | again)

    assert answer.headers["event-outcome"] == outcome
    changed = again if outcome == "raised" else {}
    assert answer.json() == first | changed


async def test_conflicts_are_counted_where_an_operator_looks(client: httpx.AsyncClient) -> None:
    await post(client, "first", event_id=ID)
    await post(client, "second", event_id=ID)

    assert (await get(client, "/health"))["conflicts"] == 1


async def test_two_writers_of_the_same_ids_at_once(app: FastAPI) -> None:
    """Each event is stored once, both writers are answered, and exactly one of them is told it came second."""
    ids = [f"event-{n}" for n in range(200)]

    async def write() -> list[str]:
        async with a_client(app) as client:
            answers = [await client.post("/event", json={"event_id": id_, "event_data": id_}) for id_ in ids]
        return [answer.headers["event-outcome"] for answer in answers]

    first, second = await asyncio.gather(write(), write())

    assert [{*pair} for pair in zip(first, second, strict=True)] == [{"stored", "duplicate"}] * len(ids)


async def test_an_event_over_the_limit_is_refused_unread(client: httpx.AsyncClient) -> None:
    sent = 0

    async def body() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b" " * 16384

    answer = await client.post("/event", content=body())

    assert "65536 bytes" in detail(answer, 413)


async def test_a_promised_length_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/event", content=b"{}", headers={"content-length": "65537"})

    assert "EVENT_MAX_EVENT_BYTES" in detail(answer, 413)


async def test_a_client_that_leaves_before_its_body_is_no_error(app: FastAPI) -> None:
    """MADSci's clients do; the exception would otherwise end in the log."""
    sent: list[object] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/event", "headers": [], "query_string": b"", "root_path": ""}
    await app(scope, receive, send)

    assert sent == []


class TestBatch:
    """The same answers whether the items are read in the server or by a worker."""

    @pytest.fixture(
        params=[("sqlite", 0), ("sqlite", 1), ("mongodb", 1)],
        ids=["in the server", "by a worker", "by a worker for MongoDB"],
    )
    async def app(self, request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[FastAPI]:
        store, workers = request.param
        url = "sqlite:///events.db" if store == "sqlite" else request.getfixturevalue("mongodb_url")
        chosen = {"db_url": SecretStr(url), "batch_workers": workers}
        app = create_app(settings.model_copy(update=chosen), worth=Worth(starting=0, asking=0))
        async with app.router.lifespan_context(app):
            context: Context = app.state.context
            if context.judges.workers is not None:
                await context.judges.workers.started()
            yield app

    async def test_an_array(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/events", json=[{"event_id": "a"}, {"event_id": "b"}, {"event_id": "a"}])

        assert answer.json() == {"accepted": 2, "duplicates": 1, "raised": 0, "conflicts": 0, "rejected": []}

    async def test_one_event_a_line(self, client: httpx.AsyncClient) -> None:
        body = b'\xef\xbb\xbf{"event_id": "a"}\r\n\n {"event_id": "b"} \n{"event_id": "b", "log_level": 50}'

        answer = await client.post("/events", content=body)

        assert answer.json() == {"accepted": 2, "duplicates": 0, "raised": 1, "conflicts": 0, "rejected": []}

    async def test_each_item_is_judged_by_itself(self, client: httpx.AsyncClient) -> None:
        body = b'[{"event_id":"a"}, {"event_id":"b",}, 7, {"log_level":"loud"}, {"x":1,"x":2}, {"event_id":"a","z":1}]'

        answer = (await client.post("/events", content=body)).json()

        assert {key: answer[key] for key in ("accepted", "conflicts")} == {"accepted": 1, "conflicts": 1}
        assert [item["index"] for item in answer["rejected"]] == [1, 2, 3, 4]
        assert "not JSON" in answer["rejected"][0]["error"]
        assert "JSON object" in answer["rejected"][1]["error"]
        assert "'loud' is not a level" in answer["rejected"][2]["error"]
        assert "twice" in answer["rejected"][3]["error"]

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            (b"", "is empty"),
            (b" \n", "is empty"),
            (b'[{"event_id":"a"},', "ends before"),
            (b'[{"event_id":"a"},]', "a comma without an event"),
            (b'[{"event_id":"a"}] []', "goes on after"),
            (b'[{"event_id":"a"}, {"event_id": "b', "ends before"),
        ],
    )
    async def test_a_body_that_is_not_whole_says_so(self, client: httpx.AsyncClient, body: bytes, problem: str) -> None:
        answer = (await client.post("/events", content=body)).json()

        assert answer["accepted"] == (1 if b'"a"' in body else 0)
        assert problem in answer["rejected"][-1]["error"]
        assert answer["rejected"][-1]["index"] == answer["accepted"]

    async def test_an_empty_array_is_nothing_to_do(self, client: httpx.AsyncClient) -> None:
        answer = (await client.post("/events", content=b" [ ] ")).json()

        assert answer == {"accepted": 0, "duplicates": 0, "raised": 0, "conflicts": 0, "rejected": []}

    @pytest.mark.parametrize("array", [True, False])
    async def test_an_item_over_the_limit_is_refused_and_the_others_are_not(
        self, client: httpx.AsyncClient, array: bool
    ) -> None:
        big = json.dumps({"event_id": "big", "event_data": '"\\' * 40_000})
        items = ['{"event_id": "a"}', big, '{"event_id": "b"}']
        body = f"[{','.join(items)}]" if array else "\n".join(items)

        answer = (await client.post("/events", content=body.encode())).json()

        assert answer["accepted"] == 2
        assert [item["index"] for item in answer["rejected"]] == [1]
        assert "65536 bytes" in answer["rejected"][0]["error"]

    async def test_thousands_are_stored_in_their_order(self, client: httpx.AsyncClient) -> None:
        ids = [f"e{n:05}" for n in range(3000)]

        answer = await client.post("/events", json=[{"event_id": id_} for id_ in ids])

        assert answer.json()["accepted"] == 3000
        found = (await client.post("/events/search", json={"order": "received", "limit": 10_000})).json()
        assert [event["event_id"] for event in found["events"]] == ids

    async def test_too_many_refused_items_end_the_reading(self, client: httpx.AsyncClient) -> None:
        answer = (await client.post("/events", content=b"x\n" * 10_050 + b'{"event_id":"late"}')).json()

        assert answer["accepted"] == 0
        assert len(answer["rejected"]) == 10_001
        assert "nothing from here on" in answer["rejected"][-1]["error"]

    @pytest.mark.parametrize("before", [0, 250])
    async def test_as_many_refused_items_as_may_be_are_not_too_many(
        self, client: httpx.AsyncClient, before: int
    ) -> None:
        """What comes after them would be; wherever it stands in what is read together."""
        events = "".join(f'{{"event_id": "e{n}"}}\n' for n in range(before))
        answer = (await client.post("/events", content=events + "x\n" * 10_000)).json()
        assert (answer["accepted"], len(answer["rejected"])) == (before, 10_000)

        answer = (await client.post("/events", content=events + "x\n" * 10_000 + '{"event_id":"late"}\nx\n')).json()

        assert (answer["accepted"], answer["duplicates"], len(answer["rejected"])) == (0, before, 10_001)
        assert answer["rejected"][-1]["index"] == before + 10_000
        assert "nothing from here on" in answer["rejected"][-1]["error"]

    async def test_what_arrived_before_a_client_left_is_stored(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": b'{"event_id": "a"}\n{"event_id": "b"}\n{"event_', "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        async def send(message: Any) -> None:
            raise AssertionError(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/events",
            "headers": [],
            "query_string": b"",
            "root_path": "",
        }
        await app(scope, receive, send)

        assert set(await get(client, "/events")) == {"a", "b"}
