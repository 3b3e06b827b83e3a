"""Request bodies: read within a bound, parsed strictly, whatever their Content-Type says."""

from collections.abc import AsyncIterator, Collection
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from madsci_event_server.api.context import context_of
from madsci_event_server.errors import InvalidQuery, TooLarge
from madsci_event_server.json_text import parse_json
from madsci_event_server.query import EventQuery

MAX_QUERY_BYTES: Final = 1024 * 1024
"""A selector or a list of ids beyond this is no question a person or a program of ours asks."""


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises TooLarge before more than `limit` bytes are held, ClientDisconnect."""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        parts = [body]
        size = len(body)
        async for part in _rest(receive):
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
        body = b"".join(parts)
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def read_json(request: Request) -> Any:
    """The JSON value of a body that asks for something. Raises InvalidInput, TooLarge, ClientDisconnect."""
    return parse_json(await read_body(request.scope, request.receive, MAX_QUERY_BYTES))


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


def _too_large(limit: int) -> TooLarge:
    return TooLarge("body", f"is larger than {limit} bytes; send less at once, or raise EVENT_MAX_EVENT_BYTES")
