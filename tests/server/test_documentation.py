"""The OpenAPI document is complete and true, and its pages load nothing from outside."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match

from madsci_event_server.api import about, alerts, archive, counts, documentation, health, reading, search, stream
from madsci_event_server.api.documented import FILTERS, PAGE
from madsci_event_server.query import EventQuery
from tests.server.calls import post

MODULES = (alerts, archive, counts, search, stream, reading, health, about)
README = Path(__file__).parents[2] / "README.md"


def routes() -> set[tuple[str, str]]:
    """Every method and path that is part of the interface."""
    found = {("POST", path) for path in documentation.PLAIN_ROUTES}
    for module in MODULES:
        for route in module.router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                found |= {(method, route.path_format) for method in route.methods or ()}
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, entry in methods.items():
            yield method.upper(), path, entry


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


def validate(value: object, schema: dict[str, Any], document: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def content_of(response: dict[str, Any]) -> dict[str, Any]:
    """What an answer holds: JSON, or a stream."""
    [content] = response["content"].values()
    return dict(content)


async def test_every_route_is_documented_and_every_documented_route_is_there(
    document: dict[str, Any], app: FastAPI
) -> None:
    documented = {(method, path) for method, path, _ in operations(document)}

    assert documented == {(method, path.replace(":path", "")) for method, path in routes()}
    for method, path in documented:
        scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
        assert any(route.matches(scope)[0] is Match.FULL for route in app.routes), (method, path)


async def test_every_operation_says_what_it_does_with_an_example(document: dict[str, Any]) -> None:
    for method, path, entry in operations(document):
        where = f"{method} {path}"
        assert entry["description"].endswith("."), where
        assert content_of(entry["responses"]["200"])["example"], where
        assert all(parameter.get("description") or parameter["in"] == "path" for parameter in entry["parameters"]), (
            where
        )
        if method == "POST":
            assert entry["requestBody"]["content"]["application/json"]["examples"], where


async def test_every_example_is_what_its_schema_says(document: dict[str, Any]) -> None:
    for method, path, entry in operations(document):
        for status, response in entry["responses"].items():
            content = content_of(response)
            validate(content["example"], content["schema"], document)
            assert status.isdigit(), (method, path)
        if body := entry.get("requestBody"):
            content = body["content"]["application/json"]
            for example in content["examples"].values():
                validate(example["value"], content["schema"], document)


def test_every_filter_is_documented() -> None:
    documented = {*FILTERS, *PAGE} - {"source.KEY"}

    assert documented == set(EventQuery.model_fields) - {"source", "selector"}


async def test_documented_examples_are_accepted(document: dict[str, Any], client: httpx.AsyncClient) -> None:
    """As they stand: but for cursors, which are of a store that is not here, and streams, which do not end."""
    for method, path, entry in operations(document):
        if "application/json" not in entry["responses"]["200"]["content"]:
            continue
        if method == "GET" and "{" not in path:
            parameters = {p["name"]: p["example"] for p in entry["parameters"] if "example" in p}
            answer = await client.get(path, params=parameters)
            assert answer.status_code == 200, answer.text
            content = entry["responses"]["200"]["content"]["application/json"]
            validate(answer.json(), content["schema"], document)
        if (body := entry.get("requestBody")) and "{" not in path:
            content = body["content"]["application/json"]
            for example in content["examples"].values():
                cursor = isinstance(example["value"], dict) and "after" in example["value"]
                answer = await client.request(method, path, json=example["value"])
                assert answer.status_code == (410 if cursor else 200), (path, answer.text)


async def test_what_a_request_is_refused_without_is_documented_as_required(
    document: dict[str, Any], client: httpx.AsyncClient
) -> None:
    for method, path, entry in operations(document):
        if method == "POST" or "{" in path or path == "/events/stream":
            continue
        required = [parameter["name"] for parameter in entry["parameters"] if parameter["required"]]
        answer = await client.request(method, path)
        refused = [error["field"] for error in answer.json().get("errors", ())] if answer.is_error else []
        assert refused == required, (method, path)


async def test_a_stored_event_is_what_its_schema_says(document: dict[str, Any], client: httpx.AsyncClient) -> None:
    event = await post(client, "x", event_type="plate_sealed", source={"name": "y"}, extra=[1])

    validate(event, {"$ref": "#/components/schemas/Event"}, document)
    validate((await client.get("/events")).json(), {"$ref": "#/components/schemas/EventsById"}, document)


async def test_a_refusal_is_what_its_schema_says(document: dict[str, Any], client: httpx.AsyncClient) -> None:
    for answer in (await client.get("/nope"), await client.put("/event"), await client.get("/events?x=1")):
        validate(answer.json(), {"$ref": "#/components/schemas/Problem"}, document)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/"])
async def test_pages_load_nothing_from_anywhere(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"accept": "text/html"})

    assert answer.headers["content-type"].startswith("text/html")
    assert re.findall(r"\bsrc=|<link (?!rel=\"icon\" href=\"data:,\")|url\(|@import", answer.text) == []
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_the_reference_shows_every_route(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text

    for method, path in routes():
        assert f'<span class="verb {method.lower()}">{method}</span> {path.replace(":path", "")}</h2>' in page


def test_every_route_is_in_readme() -> None:
    section = README.read_text().split("\n## HTTP\n")[1].split("\n## ")[0]

    missing = {f"{method} {path.replace(':path', '')}" for method, path in routes()} - set(
        re.findall(r"`((?:GET|POST|DELETE) /[^ `?]*)", section)
    )
    assert missing == set()
