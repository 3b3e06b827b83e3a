"""The page a browser gets at `/`: the newest events as they come, with filters. One file, which loads nothing.

Event text reaches the page through the stream, and the document only as text: see `pages/live.js`.
"""

import base64
import hashlib
from html import escape
from importlib.resources import files
from typing import Final

from starlette.responses import HTMLResponse, Response

from madsci_event_server.api.health import VERSION
from madsci_event_server.settings import Settings

_PAGES: Final = files(__package__).joinpath("pages")
_HTML, _STYLE, _SCRIPT = (
    _PAGES.joinpath(name).read_text(encoding="utf-8") for name in ("live.html", "live.css", "live.js")
)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_HEADERS: Final = {
    # Exactly this script and this style; nothing that an event could smuggle in.
    "Content-Security-Policy": f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def front_page(settings: Settings) -> Response:
    """The page of this server."""
    description = f"{escape(settings.description)} · " if settings.description else ""
    page = _HTML.format(
        name=escape(settings.name), version=escape(VERSION), description=description, style=_STYLE, script=_SCRIPT
    )
    return HTMLResponse(page, headers=_HEADERS)
