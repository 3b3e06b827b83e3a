"""What the server holds, seen without MADSci."""

from typing import Any

import httpx

Stored = dict[str, Any]


def event(api: httpx.Client, event_id: str) -> Stored:
    answer = api.get(f"/event/{event_id}")
    assert answer.status_code == httpx.codes.OK, answer.text
    found: Stored = answer.json()
    return found


def newest(api: httpx.Client, number: int = 1) -> list[Stored]:
    """The last that happened, newest first."""
    answer = api.get("/events", params={"number": number})
    assert answer.status_code == httpx.codes.OK, answer.text
    return list(answer.json().values())


def level_and_alert(api: httpx.Client, event_id: str) -> tuple[int, bool]:
    found = event(api, event_id)
    return found["log_level"], found["alert"]
