"""How requests to an event server fail, told apart: who cannot be reached, who says no, and who is somebody else."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

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


def base_url(server: str) -> str:
    """`server` as requests are joined to it: with scheme, with one slash at the end. Raises InvalidInput."""
    text = server.strip() if "://" in server else f"http://{server.strip()}"
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise InvalidInput("server", f"{shown(server)} is not an address ({error}); use http://HOST:PORT") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput("server", f"{shown(server)} is not an address; use http://HOST:PORT or https://HOST")
    return f"{str(url.copy_with(query=None, fragment=None)).rstrip('/')}/"


def certificates(base: str) -> ssl.SSLContext | bool:
    """How to check the server's certificate: as usual, but plain HTTP, which has none, loads no authorities."""
    return True if base.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def reaching(base: str) -> Iterator[None]:
    """Turns what goes wrong on the way to the server and back into ServerUnreachable or UnexpectedAnswer."""
    try:
        yield
    except httpx.TimeoutException as error:
        awaited = "connection to" if isinstance(error, httpx.ConnectTimeout) else "answer from"
        raise ServerUnreachable(f"no {awaited} {base} in time; is the server up, and the network?") from error
    except httpx.ConnectError as error:
        raise ServerUnreachable(f"cannot connect to {base}: {_reason(error)}; is the server up?") from error
    except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
        raise UnexpectedAnswer(f"{base} does not answer in HTTP as an event server does: {_reason(error)}") from error
    except httpx.TransportError as error:
        raise ServerUnreachable(f"lost the connection to {base}: {_reason(error)}") from error


def check(response: httpx.Response, base: str) -> None:
    """Returns for an answer of success; raises NotAllowed, NotFound, ServerRefused, or UnexpectedAnswer.

    The text of a refusal is the server's own. The body has been read.
    """
    if response.is_success:
        return
    reason = _detail(response)
    if response.status_code in _NOT_ALLOWED:
        raise NotAllowed(response.status_code, reason or f"{base} wants credentials (HTTP {response.status_code})")
    if reason is not None:
        raise _refused(response.status_code, reason)
    if response.status_code in _GATEWAY_ALONE:
        raise ServerUnreachable(f"a proxy at {base} cannot reach the event server (HTTP {response.status_code})")
    if response.is_redirect:
        raise UnexpectedAnswer(f"{base} sends us on to {shown(response.headers.get('location'))}; use that address")
    raise UnexpectedAnswer(
        f"{base} answers HTTP {response.status_code}, but not as an event server does; another service on that address?"
    )


def parsed(response: httpx.Response, base: str) -> dict[str, Any]:
    """The JSON object of a successful answer. Raises as `check`, and UnexpectedAnswer for anything else."""
    check(response, base)
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise not_ours(base)
    return found


def not_ours(base: str) -> UnexpectedAnswer:
    """For an answer of success that is not what an event server says."""
    return UnexpectedAnswer(f"{base} answers, but not as an event server does; another service on that address?")


def _refused(status: int, reason: str) -> ServerRefused | NotFound:
    return NotFound(reason) if status == httpx.codes.NOT_FOUND else ServerRefused(status, reason)


def _detail(response: httpx.Response) -> str | None:
    """The server's words, or None where the answer is not an event server's."""
    try:
        found = response.json()
    except ValueError:
        return None
    # Half the services of a lab answer `{"detail": "Not Found"}` to what they don't know; ours say `errors`, too.
    ours = isinstance(found, dict) and isinstance(found.get("detail"), str) and "errors" in found
    return str(found["detail"]) if ours else None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
