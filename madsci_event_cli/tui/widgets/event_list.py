"""EventList: a window of rows, drawn a line at a time; follows the newest, or holds still and counts.

Cost depends on the lines on the screen, not on the rows held. While it follows, a batch is one change of size, one
scroll and one refresh. While paused, arriving events are only kept and counted: not a byte is drawn.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, tzinfo
from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from madsci_event_cli.rendering import Names, Span, cells, in_zone, parse_event
from madsci_event_cli.tui.messages import EdgeReached, FollowChanged, PendingChanged, RowOpened, RowSelected
from madsci_event_cli.tui.palette import NOTE_STYLES, split_at, style_of
from madsci_event_cli.tui.row_line import Cell, Columns, columns_for, event_cells
from madsci_event_cli.tui.rows import Item, Note, Row, RowWindow, id_of, level_of, time_of
from madsci_event_cli.tui.settings import now
from madsci_event_cli.tui.strips import centred, note_strip, underlined, with_selection
from madsci_event_server.event import Event, EventLogLevel

if TYPE_CHECKING:
    import re

MAX_PENDING: Final = 20_000
"""Events kept while paused; more are counted and read again from the source when the operator goes on."""

CHOOSABLE: Final = ("log_level", "name", "kind", "message")
"""What `i` and `x` can be about, in the order of the columns."""

_CACHED_LINES: Final = 2000

_LEAST_DATED: Final = 40
"""Cells a line must have for the day to stand at its end, too."""


class EventList(ScrollView, can_focus=True):
    """The list of events. `names` and `zone` are how rows speak of ids and times."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"event-list--cursor", "event-list--cell", "event-list--mark"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,b", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("end,f,G", "screen.follow", "Follow the newest", show=False),
        Binding("home,g", "screen.oldest", "Go to the oldest", show=False),
        Binding("left", "choose_field(-1)", "Field to the left", show=False),
        Binding("right", "choose_field(1)", "Field to the right", show=False),
        Binding("enter", "open", "Read", show=False),
    ]

    class TailWanted(Message):
        """The operator wants the newest events, and the window does not hold all of them."""

    def __init__(
        self,
        names: Names,
        zone: Callable[[], tzinfo | None],
        *,
        clock: Callable[[], datetime] = now,
        window: RowWindow | None = None,
    ) -> None:
        super().__init__()
        self._clock = clock
        self.window = window or RowWindow(zone())
        self.following = True
        self.at_newest = True
        """Whether the bottom row is the newest there was when it was added: nothing was dropped or skipped below."""
        self.at_oldest = False
        self.cursor: int | None = None
        """The number of the selected row; None while nothing is selected."""
        self.field = "name"
        """Which field of the selected row `i` and `x` are about."""
        self.show_elapsed = False
        self.marks: set[bytes] = set()
        self.found: re.Pattern[str] | None = None
        """What the search highlights."""
        self.pending_count = 0
        self.pending_errors = 0
        self._names = names
        self._zone = zone
        self._otherwise: Sequence[Span] = ()
        self._pending: dict[bytes, Item] = {}
        self._lines: LRUCache[tuple[object, ...], Strip] = LRUCache(_CACHED_LINES)
        self._scrolling_ourselves = False

    # --- what comes in -----------------------------------------------------------------------------------------------

    def absorb(self, items: Sequence[Item]) -> None:
        """Takes what has arrived: shown at once while following, else kept and counted."""
        if self.following and self.at_newest:
            self._append(items)
        else:
            self._hold(items)

    def _append(self, items: Iterable[Item]) -> None:
        dropped = self.window.extend(items)
        if dropped:
            self.at_oldest = False
        self._fit()
        if self.following:
            self._scroll_to_row(len(self.window))
        self.refresh()

    def _hold(self, items: Sequence[Item]) -> None:
        before = self.pending_count
        for item in items:
            key = f"note {len(self._pending)} {self.pending_count}".encode() if isinstance(item, Note) else id_of(item)
            if key in self.window or key in self._pending:
                continue
            self._pending[key] = item
            if not isinstance(item, Note):
                self.pending_count += 1
                self.pending_errors += level_of(item) >= EventLogLevel.ERROR
        while len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]
            self.at_newest = False
        if self.pending_count != before:
            self.post_message(PendingChanged(self.pending_count, self.pending_errors))

    def raise_events(self, raws: Iterable[bytes]) -> None:
        """Changes the rows of these events in place; one that has no row yet comes in as new."""
        new = []
        for raw in raws:
            row = self.window.raise_in_place(raw)
            key = id_of(raw)
            if row is not None:
                self.refresh_line(row.number - self.window.first)
            elif key in self._pending:
                self.pending_errors += _is_error(raw) - _is_error(self._pending[key])
                self._pending[key] = raw
            else:
                new.append(raw)
        if new:
            self.absorb(new)

    def show(self, items: Sequence[Item], *, at_oldest: bool, at_newest: bool) -> None:
        """Replaces everything shown by these rows, oldest first."""
        self.window.clear()
        self._lines.clear()
        self.at_oldest, self.at_newest = at_oldest, at_newest
        self.window.extend(items)
        if at_newest:
            self.window.extend(self._pending.values())
            self.forget_pending()
        self._select(None)
        self._fit()
        self._scroll_to_row(len(self.window) if self.following else 0)
        self.refresh()

    def add_above(self, items: Sequence[Item], *, at_oldest: bool) -> None:
        """Adds a page above; what is on the screen stays where it is."""
        self.at_oldest = at_oldest
        added, dropped = self.window.extend_above(items)
        if dropped:
            self.at_newest = False
        self._fit()
        if added:
            self._scroll_to_row(self.scroll_offset.y + added)
        self.refresh()

    def add_below(self, items: Sequence[Item], *, at_newest: bool) -> None:
        """Adds a page below; what is on the screen stays where it is."""
        dropped = self.window.extend(items)
        if at_newest:
            dropped += self.window.extend(self._pending.values())
            self.forget_pending()
            self.at_newest = True
        if dropped:
            self.at_oldest = False
        self._fit()
        if dropped:
            self._scroll_to_row(max(self.scroll_offset.y - dropped, 0))
        self.refresh()

    def admit_pending(self) -> None:
        """Takes in what has arrived while paused, below; still does not follow."""
        if self.at_newest and self._pending:
            self.add_below([], at_newest=True)

    def forget_pending(self) -> None:
        """Lets go of what has come while paused."""
        self._pending.clear()
        self.pending_count = self.pending_errors = 0
        self.post_message(PendingChanged(0, 0))

    def say_when_empty(self, lines: Sequence[Span]) -> None:
        """What stands in the middle while there is no row."""
        if lines != self._otherwise:
            self._otherwise = lines
            if not len(self.window):
                self.refresh()

    # --- following ---------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Holds still."""
        if self.following:
            self.following = False
            self.post_message(FollowChanged(following=False))

    def follow(self) -> None:
        """Goes to the newest event and stays with it."""
        self._select(None)
        if not self.following:
            self.following = True
            self.post_message(FollowChanged(following=True))
        if not self.at_newest:
            self.post_message(self.TailWanted())
            return
        held = list(self._pending.values())
        self.forget_pending()
        self._append(held)

    def toggle_follow(self) -> None:
        """Pauses, or follows."""
        if self.following:
            self.pause()
        else:
            self.follow()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolling by hand pauses: nobody wants to fight the list for the line they read."""
        super().watch_scroll_y(old_value, new_value)
        if self._scrolling_ourselves or round(old_value) == round(new_value):
            return
        if new_value > old_value:
            if new_value >= self.max_scroll_y:
                self._ask_for_more(above=False)
        elif new_value < self.max_scroll_y:
            # At the bottom it was not a hand: the rows became fewer.
            self.pause()
            if new_value < self.size.height:
                self._ask_for_more(above=True)

    def _ask_for_more(self, *, above: bool) -> None:
        if above:
            if not self.at_oldest:
                self.post_message(EdgeReached(above=True))
        elif not self.at_newest:
            self.post_message(EdgeReached(above=False))
        else:
            self.admit_pending()

    # --- the cursor --------------------------------------------------------------------------------------------------

    @property
    def selected(self) -> Row | None:
        """The selected row, where there is one that is still in the window."""
        return None if self.cursor is None else self.window.row(self.cursor)

    def select(self, number: int) -> None:
        """Puts the cursor on this row and brings it into view; pauses."""
        self.pause()
        self._select(number)
        self._bring_into_view(number)

    def _bring_into_view(self, number: int) -> None:
        index = number - self.window.first
        top, height = self.scroll_offset.y, self.size.height
        if index < top:
            self._scroll_to_row(index)
        elif index >= top + height:
            self._scroll_to_row(index - height + 1)

    def select_centred(self, number: int) -> None:
        """The same, with what surrounds it in view."""
        self.select(number)
        self._scroll_to_row(number - self.window.first - self.size.height // 2)

    def _select(self, number: int | None) -> None:
        if number == self.cursor:
            return
        old, self.cursor = self.cursor, number
        for changed in (old, number):
            if changed is not None:
                self.refresh_line(changed - self.window.first)
        self.post_message(RowSelected(number))

    def action_move(self, rows: int) -> None:
        """Moves the cursor; from nowhere, to the bottom line of the screen."""
        if not len(self.window):
            return
        if self.selected is None:
            self.select(self._bottom_visible())
            return
        wanted = self.selected.number + rows
        if wanted > self.window.last:
            self._ask_for_more(above=False)
        if wanted - self.window.first < self.size.height and rows < 0:
            self._ask_for_more(above=True)
        self.select(min(max(wanted, self.window.first), self.window.last))

    def _bottom_visible(self) -> int:
        return min(self.window.first + self.scroll_offset.y + self.size.height - 1, self.window.last)

    def action_page(self, pages: int) -> None:
        """Moves by a screenful."""
        self.action_move(pages * max(self.size.height - 1, 1))

    def action_open(self) -> None:
        """Opens the selected row, or the newest."""
        if self.selected is None and len(self.window):
            self.select(self._bottom_visible())
        if self.cursor is not None:
            self.post_message(RowOpened(self.cursor))

    def action_choose_field(self, step: int) -> None:
        """Moves between the fields of the selected row that a filter can be made of."""
        shown = [name for name in CHOOSABLE if name != "message" and self._has_column(name)]
        if not shown:
            return
        position = shown.index(self.field) if self.field in shown else 0
        self.field = shown[(position + step) % len(shown)]
        if self.cursor is not None:
            self.refresh_line(self.cursor - self.window.first)
            self.post_message(RowSelected(self.cursor))

    def _has_column(self, field: str) -> bool:
        return {"name": self._columns.who > 0, "kind": self._columns.kind > 0}.get(field, True)

    def toggle_mark(self) -> None:
        """Marks the selected event, or takes its mark away."""
        row = self.selected
        if row is not None and row.note is None:
            self.marks ^= {id_of(row.raw)}
            self.refresh_line(row.number - self.window.first)

    # --- mouse -------------------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """A click selects, a double click opens; on a field it chooses that field."""
        number = self.window.first + self.scroll_offset.y + event.y
        if self.window.row(number) is None:
            return
        self.field = self._field_at(number, event.x) or self.field
        self.select(number)
        self.post_message(RowSelected(number))
        if event.chain > 1:
            self.post_message(RowOpened(number))

    def _field_at(self, number: int, x: int) -> str:
        row = self.window.row(number)
        if row is None or row.note is not None:
            return ""
        left = 1
        for cell in self._cells(row):
            left += cells(cell.text)
            if x < left:
                return cell.field if cell.field in CHOOSABLE else ""
        return ""

    @property
    def _columns(self) -> Columns:
        # The scroll bar lies over the last cells of the lines; the first is for marks.
        return columns_for(max(self.scrollable_content_region.width - 1, 0))

    # --- drawing -----------------------------------------------------------------------------------------------------

    def redraw(self) -> None:
        """Draws every line anew: names, zone, marks or search changed."""
        self._lines.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        """A theme change outdates every cached line."""
        super().notify_style_update()
        self._lines.clear()

    def on_resize(self) -> None:
        """Keeps the newest row at the bottom while following."""
        self._fit()
        if self.following:
            self._scroll_to_row(len(self.window))
        elif self.selected is not None:
            self._bring_into_view(self.selected.number)

    def _fit(self) -> None:
        self._scrolling_ourselves = True
        self.virtual_size = Size(self.size.width, len(self.window))
        self._scrolling_ourselves = False

    def _scroll_to_row(self, index: int) -> None:
        self._scrolling_ourselves = True
        self.scroll_to(y=min(max(index, 0), self.max_scroll_y), animate=False, force=True, immediate=True)
        self._scrolling_ourselves = False

    def render_line(self, y: int) -> Strip:
        """Line `y` of the screen."""
        index = self.scroll_offset.y + y
        width = self.size.width
        base = self.rich_style
        if not len(self.window):
            return self._empty_line(y, width, base)
        if index >= len(self.window):
            return Strip.blank(width, base)
        row = self.window.rows[index]
        strip = self._line(row, width, base)
        selection = self.text_selection
        if selection is not None:
            strip = with_selection(strip, selection, index, self.screen.get_component_rich_style("screen--selection"))
        if y == 0 and width >= _LEAST_DATED and (day := self._other_day(row)) is not None:
            strip = self._dated(strip, day, base)
        return strip.apply_offsets(0, index)

    def _empty_line(self, y: int, width: int, base: Style) -> Strip:
        place = y - (self.size.height - len(self._otherwise)) // 2
        said = self._otherwise[place] if 0 <= place < len(self._otherwise) else ("", "")
        return centred(said, width, base)

    def _other_day(self, row: Row) -> date | None:
        """The day of the topmost row where that is not today: rows tell no more than the time."""
        if row.note is not None:
            return None
        zone = self._zone()
        day = in_zone(time_of(row.raw), zone).date()
        return None if day == self._clock().astimezone(zone).date() else day

    def _dated(self, strip: Strip, day: date, base: Style) -> Strip:
        year = "" if day.year == self._clock().year else f" {day.year}"
        label = f"  {day:%a} {day.day} {day:%b}{year} "
        end = self.scrollable_content_region.width
        written = Strip([Segment(label, base + style_of(NOTE_STYLES["midnight"]))])
        return Strip.join([strip.crop(0, end - len(label)), written, strip.crop(end)])

    def _line(self, row: Row, width: int, base: Style) -> Strip:
        at_cursor = row.number == self.cursor
        marked = bool(self.marks) and row.note is None and id_of(row.raw) in self.marks
        key = (row.number, row.version, width, at_cursor and (self.field, self.has_focus), marked)
        strip = self._lines.get(key)
        if strip is None:
            strip = self._lines[key] = self._drawn(row, width, base, at_cursor=at_cursor, marked=marked)
        return strip

    def _drawn(self, row: Row, width: int, base: Style, *, at_cursor: bool, marked: bool) -> Strip:
        if at_cursor:
            base += self.get_component_rich_style("event-list--cursor", partial=True)
        if row.note is not None:
            return note_strip(row.note, width, base)
        gutter = Segment("◆" if marked else "▌" if at_cursor else " ", base + self._gutter_style())
        chosen = self.field if at_cursor and self.has_focus else ""
        drawn = [gutter]
        for cell in self._cells(row):
            style = base + style_of(cell.style)
            if chosen and cell.field == chosen:
                drawn += underlined(cell, style)
            else:
                drawn += split_at(cell.text, self.found if cell.field == "message" else None, style)
        return Strip(drawn).adjust_cell_length(width, base)

    def _gutter_style(self) -> Style:
        return self.get_component_rich_style("event-list--mark", partial=True)

    def _cells(self, row: Row) -> list[Cell]:
        before = self._moment_before(row) if self.show_elapsed else None
        return event_cells(parse_event(row.raw), self._columns, self._names, self._zone(), before)

    def _moment_before(self, row: Row) -> datetime | None:
        number = row.number - 1
        while (above := self.window.row(number)) is not None:
            if above.note is None:
                return time_of(above.raw)
            number -= 1
        return None

    def event(self, number: int) -> Event | None:
        """The event of a row, None for a note or a row that is gone."""
        row = self.window.row(number)
        return None if row is None or row.note is not None else parse_event(row.raw)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The text the mouse has selected."""
        width, base = self.size.width, self.rich_style
        start, end = selection.start, selection.end
        first = start.y if start is not None else 0
        last = end.y if end is not None else len(self.window) - 1
        rows = self.window.rows[first : last + 1]
        text = "\n".join([""] * first + [self._line(row, width, base).text.rstrip() for row in rows])
        return selection.extract(text), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Draws what is selected."""
        self.refresh()


def _is_error(item: Item) -> bool:
    return not isinstance(item, Note) and level_of(item) >= EventLogLevel.ERROR
