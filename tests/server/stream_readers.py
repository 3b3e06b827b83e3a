"""Readers of the live stream over real sockets, as little as is needed to see what is written."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import httpx

from tests.processes import WAIT_SECONDS

EVENTS = ("", "raised")


class Message(NamedTuple):
    name: str
    """"" for an event."""
    cursor: str
    data: Any


class StreamReader:
    """Reads one stream, message by message."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.seen: list[Message] = []
        self._chunks = response.aiter_bytes()
        self._text = b""

    async def next(self) -> Message:
        """The next message. Raises StopAsyncIteration at the end of the stream."""
        while b"\n\n" not in self._text:
            async with asyncio.timeout(WAIT_SECONDS):
                self._text += await anext(self._chunks)
        text, _, self._text = self._text.partition(b"\n\n")
        message = parsed(text)
        self.seen.append(message)
        return message

    async def until(self, name: str) -> Message:
        """The next message of this name."""
        while (message := await self.next()).name != name:
            pass
        return message

    async def events(self, count: int) -> list[str]:
        """The ids of the next events, new or raised."""
        found: list[str] = []
        while len(found) < count:
            message = await self.next()
            if message.name in EVENTS:
                found.append(message.data["event_id"])
        return found


def parsed(text: bytes) -> Message:
    fields = dict(line.split(": ", 1) for line in text.decode().split("\n"))
    return Message(fields.get("event", ""), fields["id"], json.loads(fields["data"]))


@asynccontextmanager
async def reading(url: str, headers: Any = None, **parameters: Any) -> AsyncIterator[StreamReader]:
    """A reader that has been greeted."""
    async with (
        httpx.AsyncClient(timeout=WAIT_SECONDS) as client,
        client.stream("GET", f"{url}/events/stream", params=parameters, headers=headers) as response,
    ):
        assert response.status_code == 200, await response.aread()
        reader = StreamReader(response)
        assert (await reader.next()).name == "hello"
        yield reader


class StalledReader:
    """A client that asks for the stream, and then reads nothing until it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connected(cls, port: int, target: str = "/events/stream") -> Self:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"event: hello")
        return cls(reader, writer)

    async def ids_until(self, last: str) -> list[str]:
        """Reads on: the ids of all events up to this one, in their order."""
        parts: list[bytes] = []
        tail, marker = b"", f'"event_id":"{last}"'.encode()
        async with asyncio.timeout(WAIT_SECONDS):
            while marker not in tail:
                part = await self._reader.read(1 << 16)
                assert part, "the stream ended"
                parts.append(part)
                tail = (tail + part)[-(1 << 16) - len(marker) :]
        found = b"".join(parts).split(b'"event_id":"')[1:]
        return [text[: text.index(b'"')].decode() for text in found]

    async def close(self) -> None:
        self._writer.close()
