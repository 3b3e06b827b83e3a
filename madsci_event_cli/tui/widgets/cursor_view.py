"""CursorView: lines to scroll, one of them under the cursor, which shows while the keys go here."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual.scroll_view import ScrollView
from textual.strip import Strip

L = TypeVar("L")


class CursorView(ScrollView, Generic[L], can_focus=True):
    """What panes of lines have in common; each says what its lines are, and how one is drawn."""

    CURSOR_CLASS: ClassVar[str]
    """The component class that colours the line under the cursor."""
    _ABOVE: ClassVar[int] = 0
    """How many lines stay in view above the cursor: a heading, where there are headings."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[L] = ()
        self.cursor = 0

    @property
    def line(self) -> L | None:
        """The line under the cursor."""
        return self._lines[self.cursor] if 0 <= self.cursor < len(self._lines) else None

    def put_cursor(self, index: int) -> None:
        """Puts the cursor on a line that is there, and brings it into view."""
        old, self.cursor = self.cursor, index
        self.refresh_line(old)
        self.refresh_line(index)
        top, height = self.scroll_offset.y, self.size.height
        if index < top:
            self.scroll_to(y=max(index - self._ABOVE, 0), animate=False, force=True, immediate=True)
        elif index >= top + height:
            self.scroll_to(y=index - height + 1, animate=False, force=True, immediate=True)

    def on_focus(self) -> None:
        """Shows the cursor."""
        self.refresh_line(self.cursor)

    def on_blur(self) -> None:
        """Hides the cursor."""
        self.refresh_line(self.cursor)

    def render_line(self, y: int) -> Strip:
        """Line `y` of what is in view."""
        index = self.scroll_offset.y + y
        width, base = self.size.width, self.rich_style
        if index >= len(self._lines):
            return Strip.blank(width, base)
        if index == self.cursor and self.has_focus:
            base += self.get_component_rich_style(self.CURSOR_CLASS, partial=True)
        return Strip(self.drawn(self._lines[index], base)).adjust_cell_length(width, base)

    def drawn(self, line: L, base: Style) -> Iterable[Segment]:
        """One line, over this style."""
        raise NotImplementedError
