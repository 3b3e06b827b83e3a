"""Lines of the event list that are not an event's, and what lies over those that are: selection, the chosen field."""

from rich.segment import Segment
from rich.style import Style
from textual.selection import Selection
from textual.strip import Strip

from madsci_event_cli.rendering import Span, cells, cut, visible
from madsci_event_cli.tui.palette import NOTE_STYLES, style_of
from madsci_event_cli.tui.row_line import Cell
from madsci_event_cli.tui.rows import Note


def centred(said: Span, width: int, base: Style) -> Strip:
    """A remark in the middle of a line."""
    text, key = said
    shown = cut(visible(text), max(width - 2, 0))
    left = (width - cells(shown)) // 2
    pieces = [Segment(" " * left, base), Segment(shown, base + style_of(key))]
    return Strip(pieces).adjust_cell_length(width, base)


def note_strip(note: Note, width: int, base: Style) -> Strip:
    """What stands between events: a new day, a gap, a line that is no event."""
    style = base + style_of(NOTE_STYLES[note.kind])
    text = f"── {note.text} " if note.kind != "broken" else f" ? {note.text} "
    fill = "─" if note.kind != "broken" else " "
    if width < 8:
        return Strip([Segment(fill * width, style)])
    shown = Strip([Segment(text, style)])
    if shown.cell_length < width:
        shown = Strip([Segment(text, style), Segment(fill * (width - shown.cell_length), style)])
    return shown.adjust_cell_length(width, base)


def underlined(cell: Cell, style: Style) -> list[Segment]:
    """The field that a filter would be about."""
    text = cell.text.rstrip()
    rest = cell.text[len(text) :]
    return [Segment(text, style + Style(underline=True, bold=True)), *([Segment(rest, style)] if rest else [])]


def with_selection(strip: Strip, selection: Selection, y: int, style: Style) -> Strip:
    """The strip of line `y` with what the mouse has selected of it in this style."""
    span = selection.get_span(y)
    if span is None:
        return strip
    start, end = span
    length = strip.cell_length
    end = length if end == -1 else min(end, length)
    if start >= end:
        return strip
    chosen = Strip([Segment(piece.text, (piece.style or style) + style) for piece in strip.crop(start, end)])
    return Strip.join([strip.crop(0, start), chosen, strip.crop(end, length)])
