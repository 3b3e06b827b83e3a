"""Whose page may do what. A browser says in `Origin` which site's page asks; nothing else that asks has reason to.

There is no login, and a browser inside a lab reaches what the page it shows, from anywhere, could not reach by itself.
So any page may read, and send events, as with MADSci; what cannot be taken back is for our own pages, and for sites
that the settings name.
"""

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from madsci_event_server.api.context import context_of
from madsci_event_server.errors import OriginNotAllowed, shown
from madsci_event_server.settings import ANY_ORIGIN, Settings

_TOLD_TO_BROWSERS: Final = ("Event-Outcome", "Link", "Retry-After", "X-Next-Cursor")
_READING: Final = frozenset({"GET", "HEAD"})
_PRIVATE_NETWORK: Final = "access-control-request-private-network"


async def refuse_foreign_pages(request: Request) -> None:
    """For routes that archive, delete, or change what is said of alerts. Raises OriginNotAllowed."""
    origin = request.headers.get("origin")
    if origin is None or request.method in _READING:
        return
    settings = context_of(request).settings
    # Compared as text: what a stranger sends need not be an address.
    if not (is_allowed(origin, settings) or origin.partition("://")[2] == request.headers.get("host")):
        raise OriginNotAllowed(
            f"a page of {shown(origin)} may read here, but not change this; to let it, name it in allowed_origins "
            "or EVENT_ALLOWED_ORIGINS"
        )


def is_allowed(origin: str, settings: Settings) -> bool:
    """Whether the settings let pages of this origin do everything."""
    dialled = urlsplit(settings.url or "")
    return (
        origin in settings.allowed_origins
        or ANY_ORIGIN in settings.allowed_origins
        or origin == f"{dialled.scheme}://{dialled.netloc}"
    )


class BrowserAnswers(CORSMiddleware):
    """The headers that let pages of other sites read what is answered."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(
            app, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], expose_headers=_TOLD_TO_BROWSERS
        )
        self._settings = settings

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks beforehand.

        From a public site into a private network it wants to hear that this is meant, too: it does of allowed origins.
        Of others it hears nothing of that, and decides for itself.
        """
        asked = Headers({name: value for name, value in request_headers.items() if name != _PRIVATE_NETWORK})
        answer = super().preflight_response(asked)
        if _PRIVATE_NETWORK in request_headers and is_allowed(request_headers["origin"], self._settings):
            answer.headers["Access-Control-Allow-Private-Network"] = "true"
        return answer
