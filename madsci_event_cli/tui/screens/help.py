"""The keys, for where the operator is."""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.scroll_view import ScrollView
from textual.strip import Strip

from madsci_event_cli.tui.detail_lines import wrapped
from madsci_event_cli.tui.palette import style_of

Section = tuple[str, Sequence[tuple[str, str]]]

LIST: Final[Section] = (
    "In the list",
    (
        ("↑ ↓ j k", "choose an event; the list stands still"),
        ("PgUp PgDn b", "by a screenful; beyond what is loaded, more is fetched"),
        ("g  G", "the oldest; the newest"),
        ("Space", "pause, follow"),
        ("End f", "follow the newest"),
        ("Enter", "read the event"),
        ("← →", "choose the field that i and x are about"),
        ("i  x", "show only, hide, this value of the field"),
        ("m  u U", "mark; next and previous mark"),
    ),
)
DETAIL: Final[Section] = (
    "In the event",
    (
        ("↑ ↓ j k PgUp PgDn", "move"),
        ("Enter ← →", "fold and unfold; on an event around, go there"),
        ("i  x", "show only, hide, this value"),
        ("/  n N", "search in the event"),
        ("y", "copy what is under the cursor"),
        ("Esc", "close"),
    ),
)
FACETS: Final[Section] = (
    "In the panel of values",
    (
        ("↑ ↓ j k", "move"),
        ("Enter i", "show only this; again: all"),
        ("x", "hide this; again: show it"),
        ("Esc", "back"),
    ),
)
FIND: Final[Section] = (
    "Find",
    (
        ("e  E", "next, previous error"),
        ("w  W", "next, previous warning"),
        ("o  O", "next, previous of the same workflow, experiment or node"),
        ("/  n N", "find text; next, previous"),
        ("t", "go to a time"),
        ("&", "type a filter, in the command line's words"),
        ("!", "errors only; again: all"),
        ("Backspace  c", "take away the last filter; all of them"),
    ),
)
SHOW: Final[Section] = (
    "Show",
    (
        ("Tab", "to the next part of the screen"),
        ("v  F  H", "the event; the panel of values; the histogram"),
        ("[  ]", "count over less, over more time"),
        ("d  z", "time between rows; UTC or local time"),
        ("A", "the alerts that are not resolved"),
        ("y  Y", "copy the event; the command that gives this view"),
        ("s", "save the view to a file"),
        ("Ctrl+P", "all commands, themes"),
        ("q", "quit"),
    ),
)


_KEY_CELLS: Final = 20


class HelpScreen(ModalScreen[None]):
    """Closes at any of Esc, `?`, q, Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close", show=False),
    ]

    def __init__(self, here: Section) -> None:
        super().__init__()
        self._sections = [here, *(section for section in (FIND, SHOW, LIST) if section is not here)]

    def compose(self) -> ComposeResult:
        """A box of lines."""
        with VerticalScroll(id="help"):
            yield _Keys(self._sections)


class _Keys(ScrollView):
    def __init__(self, sections: Sequence[Section]) -> None:
        super().__init__()
        self._sections = sections
        self._lines: list[list[tuple[str, str]]] = []

    def on_resize(self) -> None:
        """Wraps to the new width."""
        room = max(self.size.width - _KEY_CELLS, _KEY_CELLS)
        self._lines = []
        for title, keys in self._sections:
            self._lines.append([(title, "heading")])
            for key, what in keys:
                first, *more = wrapped(what, room)
                self._lines.append([(f"  {key}".ljust(_KEY_CELLS), "name"), (first, "")])
                self._lines += [[(" " * _KEY_CELLS + text, "")] for text in more]
            self._lines.append([])
        self.virtual_size = Size(0, len(self._lines))
        self.styles.height = len(self._lines)

    def render_line(self, y: int) -> Strip:
        """Line `y`."""
        index, base = y + self.scroll_offset.y, self.rich_style
        pieces = self._lines[index] if index < len(self._lines) else []
        drawn = [Segment(text, base + style_of(style)) for text, style in pieces]
        return Strip(drawn).adjust_cell_length(self.size.width, base)
