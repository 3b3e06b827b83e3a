"""FacetPanel: what there is, with counts; a line chosen is a filter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size

from madsci_event_cli.rendering import LEVEL_FACES, Names, cells, cut, visible
from madsci_event_cli.tui.messages import ValueToggled
from madsci_event_cli.tui.narrowing import filters_of
from madsci_event_cli.tui.palette import style_of
from madsci_event_cli.tui.source import Counts
from madsci_event_cli.tui.widgets.cursor_view import CursorView
from madsci_event_server.event import EventLogLevel
from madsci_event_server.query import EventQuery

FIELDS: Final = {
    "log_level": "level",
    "name": "name",
    "kind": "kind",
    "experiment_id": "experiment",
    "workflow_id": "workflow",
    "alert": "alert",
}
"""What is counted, and what it is called on the screen."""

_SHOWN: Final = {"log_level": 6, "name": 12, "kind": 12, "experiment_id": 6, "workflow_id": 6, "alert": 2}


@dataclass(frozen=True, slots=True)
class FacetLine:
    """A line of the panel: a value with its count, (no value) the heading of a field, or (no field) a remark."""

    field: str
    value: str = ""
    label: str = ""
    count: int = 0
    state: str = ""
    """`+` shown only, `-` hidden, "" neither."""


class FacetPanel(CursorView[FacetLine]):
    """The panel."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"facet-panel--cursor"}
    CURSOR_CLASS = "facet-panel--cursor"
    _ABOVE = 1
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,b", "move(-10)", "Page up", show=False),
        Binding("pagedown", "move(10)", "Page down", show=False),
        Binding("home,g", "move(-1000)", "Top", show=False),
        Binding("G", "move(1000)", "Bottom", show=False),
        Binding("enter,i", "choose(False)", "Only this", show=False),
        Binding("x", "choose(True)", "Hide this", show=False),
    ]

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names
        self.cursor = 1

    def show(self, counts: Counts, query: EventQuery, otherwise: Sequence[str] = ()) -> None:
        """Draws these counts, or those words where there are none; keeps the cursor on its value."""
        here = self.line
        self._lines = facet_lines(counts, query, self._names) or [FacetLine("", label=text) for text in otherwise]
        if here is not None:
            same = (
                index for index, line in enumerate(self._lines) if (line.field, line.value) == (here.field, here.value)
            )
            self.cursor = next(same, min(self.cursor, max(len(self._lines) - 1, 0)))
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()

    def action_move(self, lines: int) -> None:
        """Moves the cursor over values."""
        step = 1 if lines > 0 else -1
        target = min(max(self.cursor + lines, 0), len(self._lines) - 1)
        while 0 <= target < len(self._lines) and not self._lines[target].value:
            target += step
        if 0 <= target < len(self._lines):
            self.put_cursor(target)

    def action_choose(self, exclude: bool) -> None:
        """Shows only, or hides, the value under the cursor."""
        line = self.line
        if line is not None and line.value:
            self.post_message(ValueToggled(line.field, line.value, exclude))

    def on_click(self, event: events.Click) -> None:
        """A click on a value shows only that."""
        index = self.scroll_offset.y + event.y
        if index < len(self._lines) and self._lines[index].value:
            self.put_cursor(index)
            self.action_choose(exclude=False)

    def drawn(self, line: FacetLine, base: Style) -> Iterable[Segment]:
        """Label on the left, count on the right."""
        return (Segment(text, base + style_of(style)) for text, style in _line_spans(line, self.size.width - 1))


def facet_lines(counts: Counts, query: EventQuery, names: Names) -> Sequence[FacetLine]:
    """The panel's lines: a heading a field, its values below."""
    found: list[FacetLine] = []
    for field, title in FIELDS.items():
        values = [item for item in counts.facets.get(field, ()) if not (field == "alert" and item[0] == "false")]
        if not values:
            continue
        if found:
            found.append(FacetLine("", label=""))
        more = len(values) > _SHOWN[field] or field in counts.truncated
        found.append(FacetLine(field, label=title, count=-1 if more else 0))
        if field == "log_level":
            values = sorted(values, key=lambda item: -EventLogLevel[item[0].upper()])
        states = _states(query, field)
        for value, count in values[: _SHOWN[field]]:
            found.append(FacetLine(field, value, _label(field, value, names), count, states.get(value, "")))
    return found


def _states(query: EventQuery, field: str) -> Mapping[str, str]:
    filters = filters_of(query)
    if field == "log_level":
        narrowed = "log_level" in filters or "level" in filters
        return (
            {level.name.lower(): "+" if level in query.levels else "-" for level in EventLogLevel} if narrowed else {}
        )
    if field == "alert":
        return {} if query.alert is None else {str(query.alert).lower(): "+"}
    terms = [*filters.get(field, ()), *(filters.get("node", ()) if field == "name" else ())]
    return {term.removeprefix("!"): "-" if term.startswith("!") else "+" for term in terms}


def _label(field: str, value: str, names: Names) -> str:
    if field.endswith("_id"):
        name = names.get((field, value))
        # Runs of one workflow have one name: the end of the id tells them apart.
        return f"…{value[-8:]}" if name is None else f"{name} …{value[-4:]}"
    return {"true": "alerts"}.get(value, value) if field == "alert" else value


def _line_spans(line: FacetLine, width: int) -> Sequence[tuple[str, str]]:
    if not line.value:
        return [(f" {line.label}{' …' if line.count < 0 else ''}", "heading" if line.field else "dim")]
    count = f"{line.count:,}"
    room = max(width - len(count) - 4, 1)
    face = LEVEL_FACES[EventLogLevel[line.value.upper()]] if line.field == "log_level" else None
    style = "dim" if line.state == "-" else face.style if face else ""
    label = f"{face.glyph} {line.label}" if face else line.label
    shown = _cut_inside(visible(label), room) if line.field.endswith("_id") else cut(visible(label), room)
    return [
        (f" {line.state or ' '} ", "heading"),
        (shown, style),
        (" " * (room - cells(shown)), ""),
        (f" {count}", "dim"),
    ]


def _cut_inside(label: str, width: int) -> str:
    """Cut before the id's end, which is what tells one from another."""
    head, _, end = label.rpartition("…")
    if cells(label) <= width or not head:
        return cut(label, width)
    return f"{cut(head, max(width - cells(end), 1)).rstrip('… ')}…{end}"
