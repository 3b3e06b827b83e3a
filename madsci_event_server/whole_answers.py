"""An answer's head and body in one write: each write is a call of the system, and a packet that wakes who reads."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

_GATHERED_BYTES: Final = 64 * 1024
"""From how much on nothing more is waited for: whoever writes must notice that a reader is slow."""


class WholeAnswers(AutoHTTPProtocol):  # type: ignore[valid-type, misc]  # whichever of Uvicorn's it is
    """Uvicorn's HTTP protocol, which writes together what is ready together."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begins to serve a connection."""
        super().connection_made(_Gathering(transport, self.loop))


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
