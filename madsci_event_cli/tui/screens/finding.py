"""FindingScreen: narrowing the view to what matters, and stepping to what is next."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from textual import on, work

from madsci_event_cli.rendering import parse_event
from madsci_event_cli.tui import messages
from madsci_event_cli.tui.filter_line import completions, filter_line, parse_filter_line
from madsci_event_cli.tui.narrowing import changed, chips, cleared, selector_toggled, toggled, without
from madsci_event_cli.tui.pager import carries, relation_of
from madsci_event_cli.tui.rows import id_of, level_of, time_of
from madsci_event_cli.tui.screens.watching import WatchingScreen
from madsci_event_cli.tui.searching import Found, search_query
from madsci_event_cli.tui.widgets.lines import ChipLine
from madsci_event_server.event import Event, EventLogLevel
from madsci_event_server.query import EventQuery

_ROWS_A_SLICE: Final = 500
"""Looked at between two looks at the keyboard."""

Wanted = Callable[[bytes], bool]


class FindingScreen(WatchingScreen):
    """Filters and steps."""

    # --- filtering ---------------------------------------------------------------------------------------------------

    def apply(self, query: EventQuery) -> None:
        """Shows another query; a row that still matches stays selected."""
        if query == self.event_query:
            return
        selected = self.event_list.selected
        self.event_query = query
        self.show_filters()
        self.event_list.following = True
        self.status.following = True
        self._start()
        if selected is not None and selected.note is None and query.matches(parse_event(selected.raw)):
            self.event_list.pause()
            self.load_around(time_of(selected.raw), id_of(selected.raw))

    @on(messages.ValueToggled)
    def _value_toggled(self, message: messages.ValueToggled) -> None:
        self.apply(toggled(self.event_query, message.field, message.value, exclude=message.exclude))

    @on(ChipLine.Removed)
    def _chip_removed(self, message: ChipLine.Removed) -> None:
        self.apply(without(self.event_query, message.field))

    def action_remove_filter(self) -> None:
        """Takes away the last filter."""
        if found := chips(self.event_query):
            self.apply(without(self.event_query, found[-1].field))

    def action_clear_filters(self) -> None:
        """Takes away every filter."""
        self.apply(cleared(self.event_query))

    def action_errors_only(self) -> None:
        """Shows errors and worse only, or everything again."""
        wanted = None if self.event_query.level == EventLogLevel.ERROR else EventLogLevel.ERROR
        self.apply(changed(self.event_query, log_level=(), level=wanted))

    def action_narrow(self, exclude: bool) -> None:
        """Shows only, or hides, the value under the cursor."""
        found = self.field_here()
        if found is None:
            self.notice("nothing here to filter by: ↑ ↓ choose an event or a line, ← → one of an event's fields")
            return
        field, value = found
        if field.startswith("event_data."):
            self.apply(selector_toggled(self.event_query, field, value, exclude=exclude))
        else:
            self.apply(toggled(self.event_query, field, value, exclude=exclude))

    def field_here(self) -> tuple[str, Any] | None:
        if self.detail.has_focus:
            line = self.detail.line
            return None if line is None else line.filter
        number = self.event_list.cursor
        event = None if number is None else self.event_list.event(number)
        return None if event is None else _field_of(event, self.event_list.field)

    # --- stepping ----------------------------------------------------------------------------------------------------

    def action_step_level(self, level: int, above: bool) -> None:
        """Goes to the next, or the previous, error (and worse) or warning."""
        if level == EventLogLevel.ERROR:
            worse = max(self.event_query.level or 0, EventLogLevel.ERROR)
            self.step(
                lambda raw: level_of(raw) >= EventLogLevel.ERROR, changed(self.event_query, level=worse), above, "error"
            )
        else:
            query = changed(self.event_query, level=None, log_level=("warning",))
            shown = EventLogLevel.WARNING in self.event_query.levels
            self.step(lambda raw: level_of(raw) == EventLogLevel.WARNING, query if shown else None, above, "warning")

    def action_step_related(self, above: bool) -> None:
        """Goes to the next, or the previous, event of the same workflow, experiment or node."""
        row = self.event_list.selected
        relation = None if row is None or row.note is not None else relation_of(parse_event(row.raw))
        if relation is None:
            self.notice("choose an event that belongs to a workflow, an experiment or a node first")
            return
        field, value = relation
        query = changed(self.event_query, **{field: (value,)})
        self.step(lambda raw: carries(raw, value, field), query, above, f"event of this {field.removesuffix('_id')}")

    def action_step_found(self, above: bool) -> None:
        """Goes to the next, or the previous, that the search finds."""
        if self.detail.has_focus and self.detail.found is not None:
            self.detail.next_found(-1 if above else 1)
        elif self.found is not None:
            self.step(self.found.matches, search_query(self.event_query, self.found), above, f"{self.found.text!r}")

    def action_step_mark(self, above: bool) -> None:
        """Goes to the next, or the previous, marked event."""
        marks = self.event_list.marks
        self.step(lambda raw: id_of(raw) in marks, None, above, "mark")

    def action_mark(self) -> None:
        """Marks the selected event."""
        self.event_list.toggle_mark()

    @work(group="step", exclusive=True)
    async def step(self, wanted: Wanted, query: EventQuery | None, above: bool, what: str) -> None:
        """Goes to the nearest wanted row; beyond what is loaded, asks the source for what matches the query."""
        if not above:
            self.event_list.admit_pending()
        number = await self._nearest(wanted, above=above)
        if number is not None:
            self.event_list.select_centred(number)
            return
        end_reached = self.event_list.at_oldest if above else self.event_list.at_newest
        if query is not None and not end_reached:
            self.notice(f"looking for {'an earlier' if above else 'a later'} {what} ...")
            raw = await self.reporting(self.pager.next_match(query, self.event_list.window, above=above))
            if raw is not None:
                self.notice("")
                self.event_list.pause()
                self.load_around(time_of(raw), id_of(raw))
                return
        self.notice(f"no {'earlier' if above else 'later'} {what}{'' if query is not None else ' among those loaded'}")

    async def _nearest(self, wanted: Wanted, *, above: bool) -> int | None:
        window = self.event_list.window
        selected = self.event_list.selected
        here = window.last + 1 if selected is None else selected.number
        step = -1 if above else 1
        number = here + step
        while (row := window.row(number)) is not None:
            if row.note is None and wanted(row.raw):
                return number
            if number % _ROWS_A_SLICE == 0:
                await asyncio.sleep(0)
            number += step
        return None

    def search_for(self, text: str, *, in_event: bool = False) -> None:
        """Highlights a text in the messages and goes to the nearest above; an empty text ends the search.

        `in_event`: in the event that is read, instead.
        """
        if in_event:
            if not self.detail.search(Found(text).pattern if text else None) and text:
                self.notice(f"{text!r} is not in this event")
            return
        self.found = Found(text) if text else None
        self.event_list.found = None if self.found is None else self.found.pattern
        self.detail.search(None)
        self.event_list.redraw()
        if self.found is not None:
            self.action_step_found(True)

    # --- the filter line ---------------------------------------------------------------------------------------------

    def filter_text(self) -> str:
        """The filter as a line, to be changed."""
        return filter_line(self.event_query)

    def parse_filter(self, text: str) -> EventQuery:
        """The query a filter line means. Raises InvalidInput."""
        return parse_filter_line(text, now=self.settings.clock(), zone=self._zone, base=self.event_query)

    def complete(self, text: str) -> list[str]:
        """What an unfinished filter line could become."""
        values: dict[str, list[str]] = {
            field: [value for value, _ in found] for field, found in self.counts.facets.items()
        }
        for (field, id_), name in self.names.items():
            values.setdefault(field, []).append(id_)
            if field == "node_id":
                values.setdefault("name", []).append(name)
        return completions(text, values)


def _field_of(event: Event, field: str) -> tuple[str, str] | None:
    """The value `i` and `x` are about. Where an event has no name, the id it goes by stands in."""
    if field == "log_level":
        return field, event.log_level.name.lower()
    if field == "kind":
        return field, event.kind
    if event.name is not None:
        return "name", event.name
    by_id = ("node_id", "manager_id", "workcell_id", "experiment_id", "workflow_id", "lab_id", "user_id")
    return next(((name, event.ids[name]) for name in by_id if name in event.ids), None)
