"""DetailPane: one event whole, a line at a time, with a cursor that folds, copies and filters."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from madsci_event_cli.rendering import Names
from madsci_event_cli.tui.detail_lines import Around, DetailLine, detail_lines
from madsci_event_cli.tui.palette import split_at, style_of
from madsci_event_cli.tui.widgets.cursor_view import CursorView
from madsci_event_server.event import Event


class DetailPane(CursorView[DetailLine]):
    """The pane. Shows what `show` was given last; remembers what was folded by hand from event to event."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"detail-pane--cursor"}
    CURSOR_CLASS = "detail-pane--cursor"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,b", "page(-1)", "Page up", show=False),
        Binding("pagedown,space", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(-1)", "Top", show=False),
        Binding("end,G", "edge(1)", "Bottom", show=False),
        Binding("enter", "toggle_fold", "Fold", show=False),
        Binding("left", "fold(True)", "Fold", show=False),
        Binding("right", "fold(False)", "Unfold", show=False),
    ]

    @dataclass
    class AroundWanted(Message):
        """An event is shown, and what happened around it is not known yet."""

        event: Event

    @dataclass
    class EventChosen(Message):
        """The operator wants to go to one of the events around."""

        event_id: str
        at: datetime

    class LineSelected(Message):
        """The cursor is on another line."""

    def __init__(self, names: Names, zone: Callable[[], tzinfo | None]) -> None:
        super().__init__()
        self._names = names
        self._zone = zone
        self.event: Event | None = None
        self.found: re.Pattern[str] | None = None
        self._around: Around | None = None
        self._toggled: set[str] = set()

    # --- what is shown -----------------------------------------------------------------------------------------------

    def show(self, event: Event | None) -> None:
        """Shows this event from its top; asks for what happened around it."""
        self.event, self._around = event, None
        self.cursor = 0
        self.redraw()
        self.scroll_to(y=0, animate=False, force=True, immediate=True)
        if event is not None:
            self.post_message(self.AroundWanted(event))

    def show_around(self, event_id: str, around: Around) -> None:
        """Adds what happened around the event, if that is still the one shown."""
        if self.event is not None and self.event.event_id == event_id:
            self._around = around
            self.redraw()

    def redraw(self) -> None:
        """Builds the lines anew: width, zone, names or folds changed."""
        width = max(self.size.width - 2, 8)
        self._lines = (
            []
            if self.event is None
            else detail_lines(
                self.event,
                width=width,
                zone=self._zone(),
                names=self._names,
                toggled=self._toggled,
                around=self._around,
            )
        )
        self.cursor = min(self.cursor, max(len(self._lines) - 1, 0))
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()

    def on_resize(self) -> None:
        """Wraps to the new width."""
        self.redraw()

    # --- the cursor --------------------------------------------------------------------------------------------------

    def move_to(self, index: int) -> None:
        """Puts the cursor on a line and brings it into view."""
        if not self._lines:
            return
        self.put_cursor(min(max(index, 0), len(self._lines) - 1))
        self.post_message(self.LineSelected())

    def action_move(self, lines: int) -> None:
        """Moves the cursor."""
        self.move_to(self.cursor + lines)

    def action_page(self, pages: int) -> None:
        """Moves by a screenful."""
        self.move_to(self.cursor + pages * max(self.size.height - 1, 1))

    def action_edge(self, side: int) -> None:
        """Goes to the top or the bottom."""
        self.move_to(0 if side < 0 else len(self._lines) - 1)

    def action_toggle_fold(self) -> None:
        """Folds or unfolds here; on an event around, goes there."""
        line = self.line
        if line is None:
            return
        if line.fold:
            self._toggled ^= {line.fold}
            self.redraw()
        elif line.field == "event_id":
            self.post_message(self.EventChosen(line.value, datetime.fromisoformat(line.copy)))

    def action_fold(self, fold: bool) -> None:
        """Folds, or unfolds, the part that begins here; folding inside a part goes to where it begins."""
        line = self.line
        if line is None:
            return
        if line.fold:
            folded = "▸" in line.spans[0][0]
            if folded != fold:
                self.action_toggle_fold()
                return
        if fold:
            self._move_to_parent()

    def _move_to_parent(self) -> None:
        indent = _indent_of(self._lines[self.cursor])
        for index in range(self.cursor - 1, -1, -1):
            if self._lines[index].fold and _indent_of(self._lines[index]) < indent:
                self.move_to(index)
                return

    def on_click(self, event: events.Click) -> None:
        """A click selects; on a part's first line, a click folds it."""
        index = self.scroll_offset.y + event.y
        if index >= len(self._lines):
            return
        again = index == self.cursor
        self.move_to(index)
        if self._lines[index].fold or (again and event.chain > 1):
            self.action_toggle_fold()

    # --- searching ---------------------------------------------------------------------------------------------------

    def search(self, pattern: re.Pattern[str] | None) -> bool:
        """Highlights what matches and goes to the first from the cursor on; whether there is any."""
        self.found = pattern
        self.refresh()
        return pattern is not None and self.next_found(1, start=self.cursor)

    def next_found(self, step: int, start: int | None = None) -> bool:
        """Goes to the next line that matches, round the ends; whether there is any."""
        if self.found is None or not self._lines:
            return False
        begin = self.cursor + step if start is None else start
        for offset in range(len(self._lines)):
            index = (begin + offset * step) % len(self._lines)
            if self.found.search("".join(text for text, _ in self._lines[index].spans)):
                self.move_to(index)
                return True
        return False

    # --- drawing -----------------------------------------------------------------------------------------------------

    def drawn(self, line: DetailLine, base: Style) -> Iterable[Segment]:
        """What is searched for stands out."""
        yield Segment(" ", base)
        for text, key in line.spans:
            yield from split_at(text, self.found, base + style_of(key))


def _indent_of(line: DetailLine) -> int:
    text = "".join(text for text, _ in line.spans)
    return len(text) - len(text.lstrip(" ▸▾"))
