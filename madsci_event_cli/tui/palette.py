"""The styles of `rendering` as Rich styles, for widgets that draw lines themselves."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from rich.segment import Segment
from rich.style import Style

from madsci_event_cli.rendering import PALETTE, Span

NOTE_STYLES = {
    "midnight": "date",
    "gap": "level.warning",
    "connection": "dim",
    "broken": "level.warning",
    "edge": "dim",
}
"""What kind of note looks how, by the keys of the one palette."""

FOUND = Style(reverse=True)
"""What a search found, on top of whatever style the text has."""


_SCREEN: Final = {
    "good": "green",
    "bar": "bright_black",
    "bar.warning": PALETTE["level.warning"],
    "bar.error": "red",
    "on.bar": "on bright_black",
    "on.bar.warning": f"on {PALETTE['level.warning']}",
    "chip": "reverse",
    # A screen that is looked at all day keeps colour for what needs a look.
    "level.info": "dim",
    "kind": "dim",
}
"""Keys of the screen alone, and those it draws more quietly than a line among others on the command line."""


@lru_cache(maxsize=256)
def style_of(key: str) -> Style:
    """The Rich style of a palette key."""
    return Style.parse(_SCREEN[key] if key in _SCREEN else PALETTE[key])


def segments(spans: list[Span], base: Style) -> list[Segment]:
    """Spans as segments; each has a style, which a screen without colour needs."""
    return [Segment(text, base + style_of(key)) for text, key in spans if text]


def split_at(text: str, pattern: re.Pattern[str] | None, style: Style) -> Iterator[Segment]:
    """Text as segments, what the pattern finds standing out."""
    if pattern is None:
        yield Segment(text, style)
        return
    position = 0
    for match in pattern.finditer(text):
        if match.start() > position:
            yield Segment(text[position : match.start()], style)
        if match.group():
            yield Segment(match.group(), style + FOUND)
        position = match.end()
    if position < len(text):
        yield Segment(text[position:], style)
