"""The page a browser gets at `/`: the newest events as they come, with filters. It loads nothing from elsewhere.

Event text reaches the page through the stream, and the document only as text: see `pages/live.js`.
"""

from html import escape
from importlib.resources import files
from typing import Final

from starlette.responses import HTMLResponse, Response

from madsci_event_server.api.health import VERSION
from madsci_event_server.errors import NotFound, shown
from madsci_event_server.settings import Settings

_PAGES: Final = files(__package__).joinpath("pages")
_PAGE: Final = _PAGES.joinpath("live.html").read_text(encoding="utf-8")
_ASSETS: Final = {
    name: (_PAGES.joinpath(name).read_text(encoding="utf-8"), kind)
    for name, kind in (("live.css", "text/css"), ("live.js", "text/javascript"))
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_SAFE: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}


def front_page(settings: Settings) -> Response:
    """The page of this server."""
    description = f"{escape(settings.description)} · " if settings.description else ""
    page = _PAGE.format(name=escape(settings.name), version=escape(VERSION), description=description)
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY, **_SAFE})


def asset(name: str) -> Response:
    """A file the page loads. Raises NotFound."""
    if name not in _ASSETS:
        raise NotFound(f"{shown(name)} is not a file of this server's pages")
    text, kind = _ASSETS[name]
    return Response(text, media_type=kind, headers=_SAFE)
