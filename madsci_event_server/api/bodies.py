"""Request bodies: read within a bound, parsed strictly, whatever their Content-Type says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from madsci_event_server.api.context import context_of
from madsci_event_server.errors import InvalidInput, InvalidQuery, TooLarge, shown
from madsci_event_server.json_text import parse_json
from madsci_event_server.query import EventQuery

MAX_QUERY_BYTES: Final = 1024 * 1024
"""A selector or a list of ids beyond this is no question a person or a program of ours asks."""

_PASSED_OVER_BYTES: Final = 64 * 1024 * 1024
_PASSED_OVER_SECONDS: Final = 5.0
_COMPRESSIONS: Final = frozenset({"gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"})
"""What a body may be sent in; anything else there, such as `utf-8`, changes nothing."""


async def read_body(scope: Scope, receive: Receive, limit: int, way_out: str = "raise EVENT_MAX_EVENT_BYTES") -> bytes:
    """The whole body. Raises TooLarge before more than `limit` bytes are held, InvalidInput, ClientDisconnect."""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            await _pass_over_whole(scope, receive)
            raise _too_large(limit, way_out)
        if name == b"content-encoding":
            await _check_plain(value, scope, receive)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        parts = [body]
        size = len(body)
        rest = _rest(receive)
        async for part in rest:
            size += len(part)
            if size > limit:
                await pass_over(rest)
                raise _too_large(limit, way_out)
            parts.append(part)
        body = b"".join(parts)
    if len(body) > limit:
        raise _too_large(limit, way_out)
    return body


async def check_plain(scope: Scope, receive: Receive) -> None:
    """Raises InvalidInput for a body that is compressed: read as it is, it would be taken for garbage."""
    for name, value in scope["headers"]:
        if name == b"content-encoding":
            await _check_plain(value, scope, receive)


async def pass_over(parts: AsyncIterator[bytes]) -> None:
    """Takes what is still being sent of a body that is refused, within reason. Raises ClientDisconnect.

    Of a connection that closes after the answer, who is still sending would see the end and not the answer.
    """
    left = _PASSED_OVER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PASSED_OVER_SECONDS):
            async for part in parts:
                left -= len(part)
                if left < 0:
                    return


async def read_json(request: Request) -> Any:
    """The JSON value of a body that asks for something. Raises InvalidInput, TooLarge, ClientDisconnect."""
    return parse_json(await read_question(request))


async def read_question(request: Request) -> bytes:
    """The body that asks for something, or is empty. Raises InvalidInput, TooLarge, ClientDisconnect."""
    return await read_body(request.scope, request.receive, MAX_QUERY_BYTES, "ask in parts")


async def query_in_body(request: Request, *, refused: Collection[str]) -> EventQuery:
    """The EventQuery that is the body; `refused` of its fields mean nothing to the route.

    Raises InvalidQuery, InvalidInput, TooLarge, ClientDisconnect.
    """
    query = EventQuery.parse(await read_json(request), context_of(request).zone)
    for field in refused:
        if field in query.model_fields_set:
            raise InvalidQuery(field, "has no meaning on this route; leave it out")
    return query


async def chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises ClientDisconnect when it breaks off."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        yield message.get("body", b"")


_rest = chunks


async def _check_plain(encoding: bytes, scope: Scope, receive: Receive) -> None:
    text = encoding.decode("latin-1")
    if not _COMPRESSIONS.isdisjoint(text.lower().replace(",", " ").split()):
        await _pass_over_whole(scope, receive)
        raise InvalidInput("Content-Encoding", f"{shown(text)} is not read here; send the body as it is", value=text)


async def _pass_over_whole(scope: Scope, receive: Receive) -> None:
    if all(name != b"expect" for name, _ in scope["headers"]):  # who expects something asks whether to send at all
        await pass_over(_rest(receive))


def _too_large(limit: int, way_out: str) -> TooLarge:
    return TooLarge("body", f"is larger than {limit} bytes; send less at once, or {way_out}")
