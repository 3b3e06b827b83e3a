"""How requests to an event server fail, told apart: who cannot be reached, who says no, and who is somebody else."""

import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from madsci_event_cli.addresses import shown_address
from madsci_event_server.errors import (
    InvalidInput,
    NotAllowed,
    NotFound,
    ServerRefused,
    ServerUnreachable,
    UnexpectedAnswer,
    shown,
)

USER_AGENT: Final = "madsci-events"
TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
"""Longer than a server lets any query run; a server that does not answer at all is noticed sooner."""

_NOT_ALLOWED: Final = frozenset({401, 403})
_GATEWAY_ALONE: Final = frozenset({502, 503, 504})
"""What a proxy answers when the server behind it is away."""
_BROKEN_OFF: Final = ("disconnected", "closed connection")
"""How HTTPX says that a connection ended in the midst: it has no class of its own for that."""
_NOTHING_NEEDED: Final[Mapping[str, type]] = {}
_MAX_PORT: Final = 65535


def base_url(server: str) -> str:
    """`server` as requests are joined to it: with scheme, with one slash at the end. Raises InvalidInput."""
    text = server.strip() if "://" in server else f"http://{server.strip()}"
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        said = shown(shown_address(server))
        raise InvalidInput("server", f"{said} is not an address ({error}); use http://HOST:PORT") from None
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > _MAX_PORT:
        said = shown(shown_address(server))
        raise InvalidInput("server", f"{said} is not an address; use http://HOST:PORT or https://HOST")
    return f"{str(url.copy_with(query=None, fragment=None)).rstrip('/')}/"


def json_body(document: object) -> dict[str, Any]:
    """What makes `document` the body of an HTTPX request. Unlike HTTPX's `json` it takes half a surrogate pair, too."""
    return {"content": json.dumps(document).encode(), "headers": {"Content-Type": "application/json"}}


def certificates(base: str) -> ssl.SSLContext | bool:
    """How to check the server's certificate: as usual, but plain HTTP, which has none, loads no authorities."""
    return True if base.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Turns what goes wrong on the way to the server and back into ServerUnreachable or UnexpectedAnswer.

    `address` is the server's as it may be shown, here and below.
    """
    try:
        yield
    except httpx.TimeoutException as error:
        awaited = "connection to" if isinstance(error, httpx.ConnectTimeout) else "answer from"
        raise ServerUnreachable(f"no {awaited} {address} in time; is the server up, and the network?") from error
    except httpx.ConnectError as error:
        raise ServerUnreachable(f"cannot connect to {address}: {_reason(error)}; {_way_out(error)}") from error
    except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
        if any(words in str(error) for words in _BROKEN_OFF):
            raise _broken_off(address) from error
        raise UnexpectedAnswer(
            f"{address} does not answer in HTTP as an event server does: {_reason(error)}"
        ) from error
    except httpx.TransportError as error:
        raise _broken_off(address) from error


def _broken_off(address: str) -> ServerUnreachable:
    return ServerUnreachable(f"lost the connection to {address}; is the server up?")


def _reason(error: Exception) -> str:
    """What the operating system says, where it does: the layers between say no more than that it failed."""
    innermost: BaseException | None = error
    while innermost is not None:
        if isinstance(innermost, OSError) and innermost.errno and innermost.strerror:
            # asyncio puts words of its own in the place of the system's.
            ours = innermost.strerror.startswith("Connect call failed")
            return os.strerror(innermost.errno) if ours else innermost.strerror
        innermost = innermost.__cause__ or innermost.__context__
    return str(error) or type(error).__name__


def _way_out(error: Exception) -> str:
    if "WRONG_VERSION_NUMBER" in str(error):
        return "it does not speak TLS; use http:// instead of https://"
    return "is its certificate in order?" if "CERTIFICATE" in str(error) else "is the server up?"


def check(response: httpx.Response, address: str) -> None:
    """Returns for an answer of success; raises NotAllowed, NotFound, ServerRefused, or UnexpectedAnswer.

    The text of a refusal is the server's own. The body has been read.
    """
    if response.is_success:
        return
    reason = _detail(response)
    if response.status_code in _NOT_ALLOWED:
        raise NotAllowed(response.status_code, reason or _not_allowed(response.status_code, address))
    if reason is not None:
        raise _refused(response.status_code, reason)
    if response.status_code in _GATEWAY_ALONE:
        raise ServerUnreachable(f"a proxy at {address} cannot reach the event server (HTTP {response.status_code})")
    if response.is_redirect:
        raise UnexpectedAnswer(f"{address} sends us on to {shown(response.headers.get('location'))}; use that address")
    raise _not_ours(f"{address} answers HTTP {response.status_code}")


def _not_allowed(status: int, address: str) -> str:
    if status == httpx.codes.UNAUTHORIZED:
        return f"{address} wants credentials (HTTP 401); give them in the address, as http://USER:PASSWORD@HOST"
    return f"{address} does not let us do this (HTTP 403); ask who runs it"


def parsed(response: httpx.Response, address: str, needs: Mapping[str, type] = _NOTHING_NEEDED) -> dict[str, Any]:
    """The JSON object of a successful answer, which has members of these names and kinds.

    Raises as `check`, and UnexpectedAnswer for anything else.
    """
    check(response, address)
    found = object_in(response)
    if found is None or not all(isinstance(found.get(name), kind) for name, kind in needs.items()):
        raise not_ours(address)
    return found


def object_in(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object of an answer, whatever its status; None where there is none."""
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _not_ours(what: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"{what}, but not as an event server does; another service on that address?")


def not_ours(address: str) -> UnexpectedAnswer:
    """For an answer of success that is not what an event server says."""
    return _not_ours(f"{address} answers")


def _refused(status: int, reason: str) -> ServerRefused | NotFound:
    return NotFound(reason) if status == httpx.codes.NOT_FOUND else ServerRefused(status, reason)


def _detail(response: httpx.Response) -> str | None:
    """The server's words, or None where the answer is not an event server's."""
    found = object_in(response)
    # Half the services of a lab answer `{"detail": "Not Found"}` to what they don't know; ours say `errors`, too.
    ours = found is not None and isinstance(found.get("detail"), str) and "errors" in found
    return str(found["detail"]) if found is not None and ours else None
