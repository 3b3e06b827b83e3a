"""Following a server's live stream for days: what it says, and what becomes of the connection, as one run of items.

Each place in received order comes once, however often the connection breaks: the stream is taken up where it was. What
no wait can mend is raised: the server refused (401, 403, 404, 410, 422 ...), or there never was an event server.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx
from httpx_sse import EventSource, ServerSentEvent

from madsci_event_cli.connection import check, json_body, not_ours, reaching
from madsci_event_server.errors import ServerError, ServerRefused, ServerUnreachable, UnexpectedAnswer

PATH: Final = "events/stream"
_COMES_BACK: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Refusals that are about this moment, not about what was asked."""
_MAX_WAIT_ASKED_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Connected:
    """The stream has begun, or has been taken up again; what follows comes after `cursor`."""

    cursor: str
    server_time: datetime
    version: str


@dataclass(frozen=True, slots=True)
class Received:
    """An event, and the place to go on from once it is dealt with."""

    cursor: str
    body: bytes
    """The JSON the server wrote, byte for byte."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An event that may have come before, now of a higher level or with the alert flag: it replaces the older one."""

    cursor: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Between two places events are missing that the server no longer has."""

    after: str
    before: str
    missing: int | None
    """How many, where the server knows."""
    reason: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """All is well, and everything that matches has come up to `cursor`."""

    cursor: str
    server_time: datetime


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The stream has ended or never began; it is tried again in `retry_in` seconds."""

    reason: str
    retry_in: float
    error: ServerError

    @property
    def happened(self) -> str:
        """The reason without `is the server up?` at its end: who tries again finds out."""
        happened, _, question = self.reason.rpartition("; ")
        return happened if happened and question.endswith("?") else self.reason


Followed = Connected | Received | Raised | Gap | Heartbeat | Disconnected


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what."""

    first_seconds: float = 0.5
    """After the first failure; twice as long after each further one, less a random part of it ..."""
    longest_seconds: float = 30.0
    """... but never longer."""
    silence_seconds: float = 25.0
    """A stream that says nothing for so long is dead: two and a half of the server's heartbeats."""


class Follower:
    """One query followed on one server."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        base: str,
        query: Mapping[str, Any],
        parameters: list[tuple[str, str]],
        patience: Patience,
    ) -> None:
        """`parameters` say the same as `query`, but for a selector, which no query string holds."""
        self._client = client
        self._base = base
        self._query = query
        self._parameters = parameters
        self._patience = patience
        self._cursor = ""
        self._failures = 0
        self._asked_to_wait = 0.0
        self._was_connected = False

    async def items(self, after: str | None, last: int) -> AsyncGenerator[Followed]:
        """From after a cursor, or from so far back that `last` events are included, or from now on."""
        self._cursor = after or ""
        while True:
            self._asked_to_wait = 0.0
            error: ServerError
            try:
                async with aclosing(self._connection(last)) as connection:
                    async for item in connection:
                        yield item
                error = ServerUnreachable(f"{self._base} ended the stream")
            except _Bye as bye:
                self._failures = 0
                self._asked_to_wait = bye.retry_seconds
                error = ServerUnreachable(bye.reason)
            except UnexpectedAnswer as failure:
                if not self._was_connected:
                    raise
                # A server killed while it speaks, or for a while a proxy in its place.
                error = ServerUnreachable(f"lost the connection to {self._base}")
                error.__cause__ = failure
            except ServerRefused as refusal:
                if refusal.status not in _COMES_BACK:
                    raise
                error = refusal
            except ServerUnreachable as failure:
                if not self._was_connected and isinstance(failure.__cause__, httpx.RemoteProtocolError):
                    # Who hangs up on the first word is another service more often than a server that is just dying.
                    raise UnexpectedAnswer(f"{self._base} does not answer as an event server does") from failure
                error = failure
            delay = self._delay()
            yield Disconnected(str(error), delay, error)
            await asyncio.sleep(delay)

    def _delay(self) -> float:
        patience = self._patience
        doubled = min(patience.longest_seconds, patience.first_seconds * 2.0 ** min(self._failures, 30))
        self._failures += 1
        # A hundred screens that lost one server must not all come back at once.
        return max(doubled * random.uniform(0.5, 1), self._asked_to_wait * random.uniform(1, 1.5))  # noqa: S311

    async def _connection(self, last: int) -> AsyncGenerator[Followed]:
        with reaching(self._base):
            async with self._client.stream(**self._request(last), timeout=self._timeout()) as response:
                if not response.is_success:
                    self._asked_to_wait = _seconds(response.headers.get("retry-after"))
                    await response.aread()
                check(response, self._base)
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise not_ours(self._base)
                async with aclosing(EventSource(response).aiter_sse()) as messages:
                    async for message in messages:
                        if (item := self._item(message)) is not None:
                            yield item

    def _request(self, last: int) -> dict[str, Any]:
        place = {"after": self._cursor} if self._cursor else {"last": str(last)} if last else {}
        accepted = {"Accept": "text/event-stream"}
        if self._query.get("selector") is None:
            return {"method": "GET", "url": PATH, "params": [*self._parameters, *place.items()], "headers": accepted}
        body = {name: value for name, value in self._query.items() if name not in ("order", "limit", "after")}
        if self._cursor:
            body, place = body | place, {}
        sent = json_body(body)
        return {"method": "POST", "url": PATH, "params": place, **sent, "headers": accepted | sent["headers"]}

    def _timeout(self) -> httpx.Timeout:
        return httpx.Timeout(self._patience.silence_seconds, connect=min(5.0, self._patience.silence_seconds))

    def _item(self, message: ServerSentEvent) -> Followed | None:
        if not message.data:
            return None
        if message.event in ("message", "raised"):
            if message.id == self._cursor:
                return None  # a place comes once
            self._advance(message.id)
            kind = Received if message.event == "message" else Raised
            return kind(message.id, message.data.encode())
        return self._said(message)

    def _said(self, message: ServerSentEvent) -> Followed | None:
        try:
            said = json.loads(message.data)
            match message.event:
                case "hello":
                    self._cursor, self._was_connected = message.id or said["cursor"], True
                    return Connected(said["cursor"], datetime.fromisoformat(said["server_time"]), said["version"])
                case "heartbeat":
                    self._advance(message.id)
                    return Heartbeat(said["cursor"], datetime.fromisoformat(said["server_time"]))
                case "gap":
                    self._advance(message.id)
                    return Gap(said["after"], said["before"], said["missing"], said["reason"])
                case "bye":
                    self._advance(message.id)
                    raise _Bye(said["reason"], said["retry_ms"] / 1000)
        except (ValueError, KeyError, TypeError):
            raise not_ours(self._base) from None
        return None  # of a newer server

    def _advance(self, cursor: str) -> None:
        # Only now is the connection known to be good for something: a server that greets and drops is waited for.
        self._failures = 0
        self._cursor = cursor or self._cursor


class _Bye(Exception):  # the server says it
    """The server ends the stream, and says when to come back."""

    def __init__(self, reason: str, retry_seconds: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_seconds = retry_seconds


def _seconds(text: str | None) -> float:
    """A Retry-After; a date counts as none, ours are numbers."""
    return min(float(text), _MAX_WAIT_ASKED_SECONDS) if text is not None and text.isdecimal() else 0.0
