"""What every request passes first: a thin ASGI layer that costs the hot path next to nothing."""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _HeadAnswered(OSError):
    """The answer to HEAD is whole; an OSError, as a server raises when nobody reads on, ends what still writes."""


class Door:
    """Reads `//event` and `/event/` as `/event`, answers HEAD wherever GET is, and is quiet about clients that left.

    MADSci's clients of 2025 join their server's address and `/event` without looking for the slash between.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith("//"):
            scope["path"] = "/" + scope["path"].lstrip("/")
        if scope["path"] == "/event/":  # no event's id is empty
            scope["path"] = "/event"
        try:
            if scope["method"] == "HEAD":
                await self._app({**scope, "method": "GET"}, receive, _headers_only(send))
            else:
                await self._app(scope, receive, send)
        except (_HeadAnswered, ClientDisconnect):
            pass


def _headers_only(send: Send) -> Send:
    async def send_start(message: Message) -> None:
        if message["type"] != "http.response.start":
            return
        await send(message)
        await send({"type": "http.response.body"})
        raise _HeadAnswered

    return send_start
