"""The alerts that are not resolved: what is wrong, for how long, and who has taken it on."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.strip import Strip

from madsci_event_cli.alert_rendering import alert_line
from madsci_event_cli.tui.palette import style_of
from madsci_event_cli.tui.widgets.cursor_view import CursorView
from madsci_event_cli.tui.widgets.lines import HintLine
from madsci_event_cli.tui.widgets.span_line import Piece, SpanLines

_SHARE: Final = 0.8
"""Of the screen's height that the box may have."""
_OTHER_LINES: Final = 6
"""Of the box, that are no alerts: title, keys, and what is empty around them."""


class AlertsScreen(ModalScreen[tuple[str, Mapping[str, Any]] | None]):
    """Answers `("go", alert)`, to see its last event, `("ack", alert)`, to take it on, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,A", "dismiss", "Close", show=False),
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("enter", "choose('go')", "Go to its last event", show=False),
        Binding("a", "choose('ack')", "Take it on", show=False),
    ]

    def __init__(self, alerts: Sequence[Mapping[str, Any]], now: datetime) -> None:
        super().__init__()
        self._alerts = alerts
        self._lines = _AlertLines(alerts, now)
        self._title = _Title(alerts)
        self._hints = HintLine()

    def compose(self) -> ComposeResult:
        """A box of lines, and the keys."""
        with Vertical(id="alerts"):
            yield self._title
            yield self._lines
            yield self._hints

    def on_mount(self) -> None:
        """Says which keys there are."""
        self._hints.show([("Enter", "its last event"), ("a", "take it on"), ("Esc", "close")], helps=False)

    def on_resize(self) -> None:
        """Leaves room for the title and the keys, however many alerts there are."""
        self._lines.styles.max_height = max(int(self.app.size.height * _SHARE) - _OTHER_LINES, 1)

    def action_move(self, lines: int) -> None:
        """Moves the cursor."""
        self._lines.move(lines)

    def action_choose(self, what: str) -> None:
        """Answers with the alert under the cursor."""
        if self._alerts:
            self.dismiss((what, self._alerts[self._lines.cursor]))


class _Title(SpanLines):
    def __init__(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        states = Counter(str(alert["state"]) for alert in alerts)
        self._text = f" Alerts: {states['open']} open, {states['acknowledged']} acknowledged"

    def line_pieces(self, y: int, width: int) -> list[Piece]:
        """What the lines below are, and an empty line."""
        return [] if y else [(self._text, "bold")]


class _AlertLines(CursorView[Mapping[str, Any]]):
    COMPONENT_CLASSES: ClassVar[set[str]] = {"alert-lines--cursor"}
    CURSOR_CLASS = "alert-lines--cursor"

    def __init__(self, alerts: Sequence[Mapping[str, Any]], now: datetime) -> None:
        super().__init__()
        self._lines = alerts
        self._now = now
        self.virtual_size = Size(0, max(len(alerts), 1))

    def move(self, lines: int) -> None:
        """Moves the cursor, and brings it into view."""
        self.put_cursor(min(max(self.cursor + lines, 0), max(len(self._lines) - 1, 0)))

    def render_line(self, y: int) -> Strip:
        """Line `y`; without alerts, a word of comfort."""
        if self._lines or y:
            return super().render_line(y)
        width, base = self.size.width, self.rich_style
        return Strip([Segment(" no alerts: all is well", base)]).adjust_cell_length(width, base)

    def drawn(self, line: Mapping[str, Any], base: Style) -> Iterable[Segment]:
        """One alert."""
        spans = alert_line(line, self._now, self.size.width - 2, says_id=False)
        return [Segment(" ", base), *(Segment(text, base + style_of(style)) for text, style in spans if text)]
