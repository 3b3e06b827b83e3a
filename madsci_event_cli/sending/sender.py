"""Sending one event and knowing that it is stored. No event model: the server checks, and says what is wrong."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from madsci_event_cli.addresses import shown_address
from madsci_event_cli.connection import (
    TIMEOUT,
    USER_AGENT,
    base_url,
    certificates,
    json_body,
    not_ours,
    parsed,
    reaching,
)
from madsci_event_server.errors import ServerRefused, ServerUnreachable

PAUSES_SECONDS: Final = (0.2, 0.6)
"""Before each further attempt: a server that restarts is back in that time, a person still waits."""

_TRY_AGAIN: Final = frozenset({429, 503})


def send(server: str, event: Mapping[str, Any], *, sleep: Callable[[float], None] = time.sleep) -> bytes:
    """The event as the server stored it, durably. `event` has its own `event_id`, so sending it again is harmless.

    Raises ServerUnreachable and ServerRefused once the last attempt has failed, UnexpectedAnswer at once.
    """
    base = base_url(server)
    with httpx.Client(verify=certificates(base), timeout=TIMEOUT, headers={"User-Agent": USER_AGENT}) as client:
        for pause in PAUSES_SECONDS:
            try:
                return _send_once(client, base, event)
            except ServerUnreachable:
                sleep(pause)
            except ServerRefused as error:
                if error.status not in _TRY_AGAIN:
                    raise
                sleep(pause)
        return _send_once(client, base, event)


def _send_once(client: httpx.Client, base: str, event: Mapping[str, Any]) -> bytes:
    address = shown_address(base)
    with reaching(address):
        response = client.post(f"{base}event", **json_body(event))
    stored = parsed(response, address)
    # Only an answer that holds the event acknowledges it: any service may say 200 and {}.
    if event["event_id"] not in (stored.get("event_id"), stored.get("_id")):
        raise not_ours(address)
    return response.content
