"""The least an ASGI application can do to stream: the bytes of a file, chunk after chunk."""

import os
from pathlib import Path
from typing import Any

_CHUNK_BYTES = int(os.environ.get("BARE_CHUNK_BYTES", "262144"))
_HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
_BYTES = Path(os.environ["BARE_FILE"]).read_bytes() if "BARE_FILE" in os.environ else b""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Streams the file to anything."""
    await send(_HEAD)
    for start in range(0, len(_BYTES), _CHUNK_BYTES):
        await send({"type": "http.response.body", "body": _BYTES[start : start + _CHUNK_BYTES], "more_body": True})
    await send({"type": "http.response.body", "body": b""})
