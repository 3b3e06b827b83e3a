"""The page a browser gets at `/`: what this is, that it runs, where to go. It loads nothing from anywhere."""

from html import escape
from typing import Final

from madsci_event_server.api.health import VERSION
from madsci_event_server.settings import Settings

_ROUTES: Final = (
    ("/docs", "every route, with examples to try"),
    ("/redoc", "the same, to read"),
    ("/health", "whether events can be stored now"),
    ("/events?number=20", "the newest events"),
    ("/events/facets", "counts by level, kind and node"),
    ("/events/names", "names and the ids they stand for"),
    ("/definition", "what this server says it is"),
    ("/settings", "settings in force, secrets hidden"),
)

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1.25rem; }}
h1 {{ font-size: 1.5rem; margin: 0; }}
.about {{ margin: .25rem 0 2rem; opacity: .75; }}
h2 {{ font-size: 1rem; margin: 2rem 0 .5rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.5rem; margin: 0; }}
dd {{ margin: 0; opacity: .8; }}
pre {{ font: 14px/1.5 ui-monospace, monospace; padding: .75rem 1rem; border: 1px solid var(--line);
      border-radius: .5rem; overflow-x: auto; }}
a {{ font-family: ui-monospace, monospace; font-size: .95em; }}
@media (max-width: 32rem) {{ dl {{ grid-template-columns: 1fr; gap: 0; }} dd {{ margin-bottom: .5rem; }} }}
</style>
</head>
<body>
<h1>{name}</h1>
<p class="about">madsci-events {version}{description}</p>
<h2>Look</h2>
<dl>
{routes}
</dl>
<h2>Send an event</h2>
<pre>curl -d '{{"log_level": "info", "event_data": {{"message": "hello"}}}}' <span id="here"></span>/event</pre>
<h2>Watch</h2>
<pre>madsci-events tail -f
madsci-events tui</pre>
<script>document.getElementById("here").textContent = location.origin;</script>
</body>
</html>
"""


def front_page(settings: Settings) -> str:
    """The page of this server."""
    routes = "\n".join(f'<dt><a href="{escape(url)}">{escape(url)}</a></dt><dd>{text}</dd>' for url, text in _ROUTES)
    description = f" · {escape(settings.description)}" if settings.description else ""
    return _PAGE.format(name=escape(settings.name), version=VERSION, description=description, routes=routes)
