"""The least an ASGI application can do: what uvicorn itself costs."""

from typing import Any

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
}
_BODY = {"type": "http.response.body", "body": b"{}"}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers `{}` to anything."""
    await send(_START)
    await send(_BODY)
