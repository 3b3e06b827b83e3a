"""A widget that is lines of styled text and nothing more: no markup, no layout, every piece with a style."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from madsci_event_cli.rendering import cells, visible
from madsci_event_cli.tui.palette import style_of

Piece = tuple[str, str]
"""Text and the keys of its styles in the palette, joined by spaces; `reverse` and `bold` are understood too."""


class SpanLines(Widget):
    """Draws what `line_pieces` gives for each line."""

    def line_pieces(self, y: int, width: int) -> Sequence[Piece]:
        """The pieces of line `y`, left to right."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        """Line `y` of the widget."""
        width, base = self.size.width, self.rich_style
        # Names and messages of events get here from many places: none of them reaches the terminal as it is.
        pieces = ((visible(text), style) for text, style in self.line_pieces(y, width) if text)
        drawn = [Segment(text, base + piece_style(style)) for text, style in pieces]
        return Strip(drawn).adjust_cell_length(width, base)


def piece_style(keys: str) -> Style:
    """The style of a piece."""
    found = Style()
    for key in keys.split():
        found += _PLAIN.get(key) or style_of(key)
    return found


_PLAIN = {"reverse": Style(reverse=True), "bold": Style(bold=True), "underline": Style(underline=True)}


def spread(left: Sequence[Piece], right: Sequence[Piece], width: int) -> list[Piece]:
    """Pieces at both ends of a line; where there is not room for all, those given first stay."""
    room = width - sum(cells(text) for text, _ in left)
    kept: list[Piece] = []
    for piece in right:
        if cells(piece[0]) <= room:
            room -= cells(piece[0])
            kept.append(piece)
    return [*left, (" " * max(room, 0), ""), *kept]
