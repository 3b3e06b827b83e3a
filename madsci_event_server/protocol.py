"""Uvicorn's HTTP protocol: refuses what is no request in our words, and a head that has no end; writes answers whole,
and in HTTP/1.0 to who asks in it.

An answer's head and body go out in one write: each write is a call of the system, and a packet that wakes who reads.
"""

import asyncio
from typing import Any, Final

from starlette.types import Message
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from madsci_event_server.json_text import encode_json

MAX_HEAD_BYTES: Final = 256 * 1024
"""Of a request's first line and headers. The parser has no limit but for the address: 64 kB."""
_GATHERED_BYTES: Final = 64 * 1024
"""Of answers, from how much on nothing more is waited for: whoever writes must notice that a reader is slow."""

_NO_REQUEST: Final = (
    "this is no HTTP request that can be read; percent-encode what is not ASCII in an address "
    "(curl: -G --data-urlencode 'search=...') and keep it below 64 kB; https is spoken with --tls-cert only"
)
_TOO_LARGE: Final = f"the headers are larger than {MAX_HEAD_BYTES} bytes; send less in them"


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # whichever Uvicorn finds on this machine
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        """What has come of a head that has not ended."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begins to serve a connection."""
        super().connection_made(_Gathering(transport, self.loop))

    def data_received(self, data: bytes) -> None:
        """Hands on what has come; hangs up where a head takes too much."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(b"431 Request Header Fields Too Large", _TOO_LARGE)
        else:
            self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """A request's head has ended; of httptools, as h11 looks after HTTP/1.0 itself."""
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0" and self.cycle is not None:
            _send_without_chunks(self.cycle)

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's answer to what its parser cannot read, in the shape of every other refusal."""
        self._refuse(b"400 Bad Request", _NO_REQUEST)

    @property
    def _is_in_head(self) -> bool:
        """A request's scope is made at its first byte, its cycle once its head has ended."""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _refuse(self, status: bytes, detail: str) -> None:
        body = encode_json({"detail": detail, "errors": []})
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = [b"HTTP/1.1 " + status, *(b"%b: %b" % header for header in headers), b"", body]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()


def _send_without_chunks(cycle: Any) -> None:
    """Lets an answer of unknown length end with its connection: HTTP/1.0 knows no chunks, and would read their sizes.

    Uvicorn closes after each answer to HTTP/1.0, but sends chunks whatever the version where no length is given.
    """
    send = cycle.send
    cycle.chunked_encoding = False

    async def send_as_it_is(message: Message) -> None:
        if message["type"] == "http.response.body":
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = send_as_it_is


class _Gathering:
    """A transport that writes at the end of a turn of the event loop what it was given in it."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._gathered: list[bytes] = []
        self._size = 0
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(data)
        self._size += len(data)
        if self._size > _GATHERED_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        whole = b"".join(self._gathered)
        self._gathered.clear()
        self._size = 0
        if whole and not self.is_closing():  # else whoever was to read has gone meanwhile
            self._transport.write(whole)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
