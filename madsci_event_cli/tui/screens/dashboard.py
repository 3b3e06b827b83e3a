"""DashboardScreen: the screen that is left open: what stands where, which key does what, and reading one event."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from madsci_event_cli.alert_rendering import named
from madsci_event_cli.rendering import cut, id_end, parse_event, visible
from madsci_event_cli.tui import messages
from madsci_event_cli.tui.detail_lines import Around
from madsci_event_cli.tui.screens.alerts import AlertsScreen
from madsci_event_cli.tui.screens.help import DETAIL, FACETS, LIST, HelpScreen
from madsci_event_cli.tui.screens.taking import TakingScreen
from madsci_event_cli.tui.widgets.detail_pane import DetailPane
from madsci_event_cli.tui.widgets.event_list import EventList
from madsci_event_cli.tui.widgets.facet_panel import FacetPanel
from madsci_event_cli.tui.widgets.histogram import Histogram
from madsci_event_cli.tui.widgets.lines import ChipLine, Hint, HintLine
from madsci_event_cli.tui.widgets.prompt import Prompt
from madsci_event_cli.tui.widgets.status_line import StatusLine
from madsci_event_server.event import Event

_WIDE, _NARROW, _LOW, _LOWEST = 150, 90, 32, 20
"""Columns and lines at which the layout changes."""

_HINT_CELLS = 36
"""Of a value in a hint: the other keys want room, too."""


class DashboardScreen(TakingScreen):
    """The dashboard."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "toggle_follow", "Pause or follow", show=False),
        Binding("f", "follow", "Follow the newest", show=False),
        Binding("e", "step_level(40, False)", "Next error", show=False),
        Binding("E", "step_level(40, True)", "Previous error", show=False),
        Binding("w", "step_level(30, False)", "Next warning", show=False),
        Binding("W", "step_level(30, True)", "Previous warning", show=False),
        Binding("o", "step_related(False)", "Next of the same", show=False),
        Binding("O", "step_related(True)", "Previous of the same", show=False),
        Binding("m", "mark", "Mark", show=False),
        Binding("u", "step_mark(False)", "Next mark", show=False),
        Binding("U", "step_mark(True)", "Previous mark", show=False),
        Binding("i", "narrow(False)", "Show only this", show=False),
        Binding("x", "narrow(True)", "Hide this", show=False),
        Binding("exclamation_mark", "errors_only", "Errors only", show=False),
        Binding("ampersand", "prompt('filter')", "Type a filter", show=False),
        Binding("slash", "prompt('search')", "Search", show=False),
        Binding("n", "step_found(False)", "Next found", show=False),
        Binding("N", "step_found(True)", "Previous found", show=False),
        Binding("t", "prompt('time')", "Go to a time", show=False),
        Binding("s", "prompt('save')", "Save the view", show=False),
        Binding("y", "copy", "Copy", show=False),
        Binding("Y", "copy_command", "Copy the command", show=False),
        Binding("backspace", "remove_filter", "Remove the last filter", show=False),
        Binding("c", "clear_filters", "Remove all filters", show=False),
        Binding("v", "toggle_detail", "Show the event", show=False),
        Binding("F", "toggle_facets", "Show values", show=False),
        Binding("H", "toggle_histogram", "Show the histogram", show=False),
        Binding("left_square_bracket", "window(-1)", "Count over less time", show=False),
        Binding("right_square_bracket", "window(1)", "Count over more time", show=False),
        Binding("d", "toggle_elapsed", "Time between rows", show=False),
        Binding("z", "toggle_zone", "UTC or local time", show=False),
        Binding("A", "alerts", "Alerts", show=False),
        Binding("question_mark", "help", "Help", show=False),
        Binding("escape", "leave", "Leave", show=False),
        Binding("q", "app.quit", "Quit", show=False),
    ]

    # --- building ----------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Top to bottom as it looks."""
        yield StatusLine(self.status, self.zone)
        yield Histogram(self.zone)
        yield ChipLine()
        with Horizontal(id="body"):
            yield FacetPanel(self.names)
            with Horizontal(id="main"):
                yield EventList(self.names, self.zone, clock=self.settings.clock)
                yield DetailPane(self.names, self.zone)
        yield Prompt(self.complete)
        yield HintLine()

    def on_resize(self) -> None:
        """Gives every size its layout."""
        width, height = self.app.size
        self.set_class(width >= _WIDE, "-wide")
        self.set_class(width < _NARROW, "-narrow")
        self.set_class(height < _LOW, "-low")
        self.set_class(height < _LOWEST, "-lowest")

    # --- reading an event --------------------------------------------------------------------------------------------

    @on(messages.RowSelected)
    def _row_selected(self, message: messages.RowSelected) -> None:
        if self.has_class("-reading") and message.number is not None:
            self._read(message.number)
        self.show_hints()

    @on(messages.RowOpened)
    def _row_opened(self, message: messages.RowOpened) -> None:
        self.add_class("-reading")
        self._read(message.number)
        self.detail.focus()

    def _read(self, number: int) -> None:
        event = self.event_list.event(number)
        if event is not None and (self.detail.event is None or self.detail.event.event_id != event.event_id):
            self.detail.show(event)

    @on(DetailPane.AroundWanted)
    def _around_wanted(self, message: DetailPane.AroundWanted) -> None:
        self.load_beside(message.event)

    @work(group="beside", exclusive=True)
    async def load_beside(self, event: Event) -> None:
        """Finds what happened just before and after."""
        found = await self.reporting(self.pager.beside(event))
        if found is not None:
            field, before, after = found
            around = Around(field, [parse_event(raw) for raw in before], [parse_event(raw) for raw in after])
            self.detail.show_around(event.event_id, around)

    @on(DetailPane.EventChosen)
    def _event_chosen(self, message: DetailPane.EventChosen) -> None:
        row = self.event_list.window.row_of(message.event_id.encode())
        if row is not None:
            self.event_list.select_centred(row.number)
        else:
            self.load_around(message.at, message.event_id.encode())

    def action_toggle_detail(self) -> None:
        """Opens or closes the event pane."""
        if self.has_class("-reading"):
            self._close_detail()
        else:
            self.event_list.action_open()

    def _close_detail(self) -> None:
        self.remove_class("-reading")
        self.event_list.focus()

    # --- what is shown, and how --------------------------------------------------------------------------------------

    def action_toggle_facets(self) -> None:
        """Shows or hides the panel of values."""
        facets = self.query_one(FacetPanel)
        shown = facets.display
        self.set_class(shown, "-without-facets")
        self.set_class(not shown, "-with-facets")
        if shown:
            self.event_list.focus()
        else:
            facets.focus()

    def action_toggle_histogram(self) -> None:
        """Shows or hides the histogram."""
        self.toggle_class("-without-histogram")

    def action_window(self, step: int) -> None:
        """Counts over more, or less, time."""
        self.window_step(step)

    def action_toggle_elapsed(self) -> None:
        """Shows the time between rows, or the time."""
        self.event_list.show_elapsed = not self.event_list.show_elapsed
        self.event_list.redraw()

    def action_toggle_zone(self) -> None:
        """Shows times in UTC, or in the zone of this machine."""
        self.toggle_zone()

    def action_help(self) -> None:
        """Shows the keys that matter here."""
        here = DETAIL if self.detail.has_focus else FACETS if self.query_one(FacetPanel).has_focus else LIST
        self.app.push_screen(HelpScreen(here))

    def action_alerts(self) -> None:
        """Shows what is wrong."""
        if self.status.alerts is None:
            self.notice("there are no alerts here: no server watches for them")
            return
        by_id = {id_: name for (_, id_), name in self.names.items()}
        screen = AlertsScreen([named(alert, by_id) for alert in self.status.alerts.unresolved], self.settings.clock())
        self.app.push_screen(screen, self._alert_chosen)

    def _alert_chosen(self, chosen: tuple[str, Mapping[str, Any]] | None) -> None:
        if chosen is None:
            return
        what, alert = chosen
        if what == "ack":
            self.acknowledge(str(alert["alert_id"]))
        else:
            self.event_list.pause()
            event_id = str(alert["last_event_id"]).encode()
            self.load_around(datetime.fromisoformat(alert["last_event_at"]), event_id)

    @work(group="alerts")
    async def acknowledge(self, alert_id: str) -> None:
        """Takes an alert on."""
        await self.reporting(self.source.acknowledge(alert_id, self.settings.operator))
        self.load_alerts()

    def action_leave(self) -> None:
        """Closes the innermost thing that is open."""
        if self.detail.found is not None or self.event_list.found is not None:
            self.search_for("")
        elif self.query_one(FacetPanel).has_focus:
            if self.has_class("-narrow"):
                self.action_toggle_facets()
            self.event_list.focus()
        elif self.has_class("-reading"):
            self._close_detail()
        else:
            self.event_list.follow()

    @on(Histogram.BucketClicked)
    def _bucket_clicked(self, message: Histogram.BucketClicked) -> None:
        self.event_list.pause()
        self.load_around(message.start)

    @on(DetailPane.LineSelected)
    def _line_selected(self) -> None:
        self.show_hints()

    def on_descendant_focus(self) -> None:
        """Other keys matter elsewhere."""
        self.show_hints()

    def show_hints(self) -> None:
        """Shows the few keys that matter here."""
        line = self.query_one(HintLine)
        if self.prompt.display:
            line.show(self.prompt.hints, helps=False)
        else:
            line.show(self._hints())

    def _hints(self) -> list[Hint]:
        if self.detail.has_focus:
            return [*self._narrow_hints(), ("Enter", "fold"), ("/", "search"), ("y", "copy"), ("Esc", "close")]
        if self.query_one(FacetPanel).has_focus:
            return [("Enter", "show only"), ("x", "hide"), ("c", "show all"), ("Esc", "back")]
        if self.event_list.following:
            return [
                ("↑", "choose"),
                ("E", "last error"),
                ("&", "filter"),
                ("/", "search"),
                ("Space", "pause"),
                ("Tab", "values"),
            ]
        return [
            ("End", "follow"),
            ("Enter", "read"),
            *self._narrow_hints(),
            ("e E", "errors"),
            ("o O", "same workflow"),
            ("&", "filter"),
            ("t", "time"),
        ]

    def _narrow_hints(self) -> list[Hint]:
        found = self.field_here()
        if found is None:
            return []
        field, value = found
        name = self.names.get((field, str(value)))
        said = name or (id_end(str(value)) if field.endswith("_id") else str(value))
        label = f"{field.removeprefix('event_data.').removesuffix('_id').replace('log_level', 'level')} {said}"
        return [("i", f"only {cut(visible(label), _HINT_CELLS)}"), ("x", "hide it")]
