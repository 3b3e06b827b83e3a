"""Calls that many tests make, and how to read their answers."""

from typing import Any

import httpx
from fastapi import FastAPI

from madsci_event_server.event import new_event_id

Answer = dict[str, Any]


def a_client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")


async def post(client: httpx.AsyncClient, message: str | None = None, **fields: Any) -> Answer:
    """Posts one event; the stored one."""
    event: Answer = {"event_id": new_event_id(), **fields}
    if message is not None:
        event["event_data"] = {"message": message, **fields.get("event_data", {})}
    answer = await client.post("/event", json=event)
    assert answer.status_code == 200, answer.text
    stored: Answer = answer.json()
    return stored


async def post_at(client: httpx.AsyncClient, *times: str, **fields: Any) -> list[str]:
    """Posts one event for each time; their ids."""
    return [(await post(client, event_timestamp=time, **fields))["event_id"] for time in times]


async def get(client: httpx.AsyncClient, path: str, **parameters: Any) -> Any:
    """The JSON of a 200."""
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def detail(answer: httpx.Response, status: int) -> str:
    """What a refusal says, once its shape is known to be ours."""
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert set(document) >= {"detail", "errors"}
    assert all(set(error) == {"field", "problem", "value"} for error in document["errors"])
    text: str = document["detail"]
    return text
