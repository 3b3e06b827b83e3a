"""Counts, names, and what the server says of itself."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from madsci_event_server.app import create_app
from madsci_event_server.settings import Settings, without_credentials
from tests.server.calls import a_client, detail, get, post, post_at

NODE = "01JYKZDPANTNRYXF5TQKRJS0F2"


async def test_facets(client: httpx.AsyncClient) -> None:
    for level, kind in ((20, "log_info"), (40, "node_error"), (40, "log_error")):
        await post(client, log_level=level, event_type=kind, source={"host": "bench-3"})

    found = await get(client, "/events/facets", field=["log_level", "kind", "source.host"], limit=2, level="info")

    assert found == {
        "facets": {
            "log_level": [{"value": "ERROR", "count": 2}, {"value": "INFO", "count": 1}],
            "kind": [{"value": "log_error", "count": 1}, {"value": "log_info", "count": 1}],
            "source.host": [{"value": "bench-3", "count": 3}],
        },
        "total": 3,
        "truncated": ["kind"],
    }


async def test_facets_asked_for_nothing_in_particular(client: httpx.AsyncClient) -> None:
    assert list((await get(client, "/events/facets"))["facets"]) == ["log_level", "kind", "node_id"]


async def test_histogram(client: httpx.AsyncClient) -> None:
    await post_at(client, "2026-11-23T08:00:01Z", "2026-11-23T08:00:59Z", "2026-11-23T08:02:00Z", log_level=40)

    found = await get(client, "/events/histogram", interval=60)

    assert found == {
        "interval_seconds": 60,
        "buckets": [
            {"start": "2026-11-23T08:00:00.000000Z", "counts": {"ERROR": 2}},
            {"start": "2026-11-23T08:01:00.000000Z", "counts": {}},
            {"start": "2026-11-23T08:02:00.000000Z", "counts": {"ERROR": 1}},
        ],
    }


async def test_a_selector_is_counted_from_a_body(client: httpx.AsyncClient) -> None:
    for plate in ("P7", "P7", "P8"):
        await post(client, event_data={"plate": plate}, event_timestamp="2026-11-23T08:00:01Z")
    body = {"selector": {"event_data.plate": "P7"}, "level": "info"}

    counts = (await client.post("/events/facets?field=log_level", json=body)).json()
    buckets = (await client.post("/events/histogram?interval=3600", json=body)).json()["buckets"]

    assert counts == {"facets": {"log_level": [{"value": "INFO", "count": 2}]}, "total": 2, "truncated": []}
    assert buckets == [{"start": "2026-11-23T08:00:00.000000Z", "counts": {"INFO": 2}}]


async def test_too_many_buckets_say_which_interval_would_do(client: httpx.AsyncClient) -> None:
    await post_at(client, "2026-11-23T08:00:00Z", "2026-11-23T18:00:00Z")

    assert "interval=60" in detail(await client.get("/events/histogram", params={"interval": 1}), 422)


async def test_an_interval_does_for_however_long_a_time(client: httpx.AsyncClient) -> None:
    await post_at(client, "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z")

    said = detail(await client.get("/events/histogram", params={"interval": 3600}), 422)
    interval = re.findall(r"use interval=([0-9]+)", said)[0]
    assert len((await get(client, "/events/histogram", interval=interval))["buckets"]) > 900


async def test_names(client: httpx.AsyncClient) -> None:
    event = await post(client, "ready", event_data={"node_id": NODE, "node_name": "liquidhandler_1"})

    assert await get(client, "/events/names") == {
        "names": [
            {"field": "node_id", "id": NODE, "name": "liquidhandler_1", "last_seen": event["event_timestamp"]},
        ]
    }


async def test_health(client: httpx.AsyncClient) -> None:
    await post(client, event_id="a")
    await post(client, event_id="a")

    found = await get(client, "/health")

    assert found["healthy"] is found["db_connected"] is True
    assert (found["total_events"], found["last_seq"]) == (1, 1)
    assert found["received"] == {"stored": 1, "duplicate": 1, "raised": 0, "conflict": 0}
    assert found["store"]["kind"] == "memory"
    assert found["problems"] == []
    assert {"version", "description", "otel_enabled", "otel_exporter_type", "otel_endpoint"} <= set(found)
    assert found["uptime_seconds"] >= 0
    assert found["lag_seconds"] == found["waiting_events"] == 0


async def test_a_store_that_cannot_take_an_event_is_a_503_with_the_reason(settings: Settings) -> None:
    """The store is closed here: every store's answer to that is StoreUnavailable."""
    async with a_client(create_app(settings)) as client:
        health = await client.get("/health")
        assert (health.status_code, health.json()["healthy"], health.json()["total_events"]) == (503, False, None)
        assert health.json()["problems"] == ["the store is closed"]

        for answer in (await client.post("/event", json={}), await client.get("/events"), await client.get("/event/x")):
            assert "the store is closed" in detail(answer, 503)
            assert int(answer.headers["retry-after"]) > 0

        batch = await client.post("/events", json=[{}, {"log_level": "loud"}])
        assert "the store is closed" in detail(batch, 503)
        assert (batch.json()["accepted"], len(batch.json()["rejected"])) == (0, 1)


class TestDefinition:
    @pytest.mark.parametrize("path", ["/", "/info", "/definition"])
    async def test_madscis_shape(self, client: httpx.AsyncClient, path: str) -> None:
        found = await get(client, path)

        assert (found["manager_type"], found["name"], found["alert_level"]) == ("event_manager", "Event Manager", 40)
        assert len(found["manager_id"]) == 26
        assert {"description", "url", "host", "port", "db_url", "event_client_config", "email_alerts"} <= set(found)

    async def test_the_address_is_what_clients_are_to_dial(self, client: httpx.AsyncClient, settings: Settings) -> None:
        behind_a_proxy = settings.model_copy(update={"url": "https://lab.example.org/events/"})
        async with a_client(create_app(behind_a_proxy)) as proxied:
            assert (await get(proxied, "/info"))["url"] == "https://lab.example.org/events/"
        assert (await get(client, "/info"))["url"] == "http://server/"

    async def test_a_browser_gets_a_page(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

        assert answer.headers["content-type"].startswith("text/html")
        assert 'href="docs"' in answer.text

    async def test_no_name_is_markup(self, settings: Settings) -> None:
        hostile = settings.model_copy(update={"name": "<script>alert(1)</script>", "description": "<b>"})
        async with a_client(create_app(hostile)) as client:
            page = (await client.get("/", headers={"accept": "text/html"})).text

        assert "<script>alert" not in page
        assert "<b>" not in page


async def test_no_secret_is_in_any_answer(settings: Settings, lab: Any) -> None:
    secret = settings.model_copy(update={"db_url": SecretStr("memory:"), "origins": {"db_url": "--db"}})
    shown = secret.model_copy(update={"db_url": SecretStr("mongodb://lab:hunter2@db.example.org/events")}).shown()
    async with a_client(create_app(secret)) as client:
        found = await get(client, "/settings")

    assert shown["db_url"] == "mongodb://***@db.example.org/events"
    assert found["settings"]["db_url"] == "memory:"
    assert found["origins"] == {"db_url": "--db"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mongodb://lab:hunter2@db/events", "mongodb://***@db/events"),
        ("mongodb://lab:hunter@2@db/events", "mongodb://***@db/events"),
        (
            "mongodb://db/events?tls=true&tlscertificatekeyfilepassword=hunter2&w=1",
            "mongodb://db/events?tls=true&tlscertificatekeyfilepassword=***&w=1",
        ),
        (
            "mongodb://key:hunter2@db/?authMechanismProperties=AWS_SESSION_TOKEN:hunter@3",
            "mongodb://***@db/?authMechanismProperties=***",
        ),
        ("sqlite:///a@b.db", "sqlite:///a@b.db"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


async def test_settings_that_are_defaults_may_be_left_out(client: httpx.AsyncClient) -> None:
    assert (await get(client, "/settings", include_defaults="false"))["settings"] == {}
    assert (await get(client, "/settings", include_schema="true"))["schema_title"] == "Settings"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/utilization/sessions"),
        ("GET", "/utilization/periods?start_time=2026"),
        ("GET", "/utilization/users"),
        ("POST", "/backup"),
        ("GET", "/backup"),
        ("GET", "/backup/status"),
    ],
)
async def test_what_madsci_has_and_we_have_not_is_said_in_words(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    assert "not" in detail(await client.request(method, path), 501)


@pytest.mark.parametrize("path", ["/events", "/health", "/", "/event/x", "/events/archived", "/settings", "/docs"])
async def test_head_is_get_without_its_body(client: httpx.AsyncClient, path: str) -> None:
    await post(client, event_id="x")
    head, whole = await client.head(path), await client.get(path)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]


async def test_head_of_an_answer_without_end_ends(client: httpx.AsyncClient) -> None:
    answer = await client.head("/events", params={"number": 0})

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/events", "GET, POST"),
        ("PUT", "/event", "POST"),
        ("POST", "/health", "GET"),
        ("GET", "/events/query", "POST"),
        ("POST", "/events/archived", "GET, DELETE"),
    ],
)
async def test_another_method_says_which_there_are(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)

    assert allowed in detail(answer, 405)
    assert answer.headers["allow"] == allowed


async def test_an_unknown_path_is_a_404_in_our_shape(client: httpx.AsyncClient) -> None:
    assert "/nope" in detail(await client.get("/nope"), 404)


async def test_any_page_may_read_us_as_it_may_madsci(client: httpx.AsyncClient) -> None:
    answer = await client.get("/events", headers={"origin": "http://dashboard.example"})
    preflight = await client.options(
        "/event", headers={"origin": "http://x.example", "access-control-request-method": "POST"}
    )

    assert answer.headers["access-control-allow-origin"] == "*"
    assert "X-Next-Cursor" in answer.headers["access-control-expose-headers"]
    assert preflight.status_code == 200


async def test_a_lab_may_be_in_a_directory_whose_name_is_no_text(settings: Settings, lab: Path) -> None:
    odd = lab / "lab\udcff"
    app = create_app(settings.model_copy(update={"lab_directory": odd, "db_url": SecretStr("sqlite:///events.db")}))
    async with app.router.lifespan_context(app), a_client(app) as client:
        shown = (await get(client, "/settings"))["settings"]
        health = await get(client, "/health")

    assert shown["lab_directory"] == str(lab / "lab\ufffd")
    assert str(lab / "lab\ufffd" / "events.db") in json.dumps(health, ensure_ascii=False)


PAGE = {"origin": "http://dashboard.example"}
DESTRUCTIVE = [
    ("DELETE", "/events/archived"),
    ("POST", "/events/archive"),
    ("POST", "/alerts/test"),
    ("POST", "/alerts/x/ack"),
    ("POST", "/alerts/x/resolve"),
    ("POST", "/alerts/silences"),
    ("DELETE", "/alerts/silences/x"),
    ("DELETE", "/alerts/silences"),
    ("POST", "/alerts/outbox/x/cancel"),
    ("POST", "/alerts/outbox/x/retry"),
]


@pytest.mark.parametrize(("method", "path"), DESTRUCTIVE)
async def test_a_page_of_another_site_changes_nothing(client: httpx.AsyncClient, method: str, path: str) -> None:
    """Nobody has to log in, so any page an operator looks at could: by a plain form, too, which asks nothing first."""
    answer = await client.request(
        method, path, headers={**PAGE, "content-type": "text/plain"}, content=b'{"dry_run": true}'
    )

    assert "name it in allowed_origins or EVENT_ALLOWED_ORIGINS" in detail(answer, 403)
    assert answer.headers["access-control-allow-origin"] == "*"
    for strange in ("null", "http://[", "server"):
        assert (await client.request(method, path, headers={"origin": strange})).status_code == 403
    for ours in ({}, {"origin": "http://server"}):
        assert (await client.request(method, path, headers=ours, content=b'{"dry_run": true}')).status_code in (
            200,
            404,
            422,
        )


async def test_a_page_of_another_site_reads_and_sends(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("POST", "/event"),
        ("GET", "/events"),
        ("POST", "/events/query"),
        ("POST", "/events/search"),
        ("POST", "/events/facets"),
        ("GET", "/events/archived"),
        ("GET", "/alerts"),
        ("GET", "/alerts/silences"),
    ):
        answer = await client.request(method, path, headers=PAGE, json={} if method == "POST" else None)
        assert answer.status_code == 200, (method, path, answer.text)


@pytest.mark.parametrize(
    "changed",
    [
        {"allowed_origins": ("http://other.example", "http://dashboard.example")},
        {"allowed_origins": ("*",)},
        {"url": "http://dashboard.example/"},
    ],
)
async def test_a_site_that_is_named_may_do_everything(settings: Settings, changed: dict[str, Any]) -> None:
    app = create_app(settings.model_copy(update=changed))
    preflight = {**PAGE, "access-control-request-method": "DELETE", "access-control-request-private-network": "true"}
    async with app.router.lifespan_context(app), a_client(app) as client:
        assert (await client.delete("/events/archived", headers=PAGE)).status_code == 200
        asked = await client.options("/events/archived", headers=preflight)

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-private-network"] == "true"


async def test_a_browser_that_asks_for_a_private_network_decides_itself_of_a_site_that_is_not_named(
    client: httpx.AsyncClient,
) -> None:
    preflight = {**PAGE, "access-control-request-method": "GET", "access-control-request-private-network": "true"}
    answer = await client.options("/events", headers=preflight)

    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
    assert "access-control-allow-private-network" not in answer.headers
