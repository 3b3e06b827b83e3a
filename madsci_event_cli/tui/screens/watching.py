"""WatchingScreen: what the dashboard knows and how it stays true. It owns the state; widgets draw it, workers report.

What is shown is one query: of the feed that follows it, of the pages beyond the list, of the counts beside it.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final, TypeVar

from textual import on, work
from textual.screen import Screen

from madsci_event_cli.tui import messages
from madsci_event_cli.tui.delays import Delays
from madsci_event_cli.tui.feed import Feed
from madsci_event_cli.tui.narrowing import chips
from madsci_event_cli.tui.pager import Pager
from madsci_event_cli.tui.rows import Item, Note, Row, time_of
from madsci_event_cli.tui.settings import DashboardSettings
from madsci_event_cli.tui.source import Counts, Source
from madsci_event_cli.tui.widgets.detail_pane import DetailPane
from madsci_event_cli.tui.widgets.event_list import EventList
from madsci_event_cli.tui.widgets.facet_panel import FIELDS, FacetPanel
from madsci_event_cli.tui.widgets.histogram import Histogram
from madsci_event_cli.tui.widgets.lines import ChipLine
from madsci_event_cli.tui.widgets.status_line import Status, StatusLine, when_empty
from madsci_event_server.errors import MadsciEventsError
from madsci_event_server.query import EventQuery

if TYPE_CHECKING:
    from madsci_event_cli.tui.searching import Found

_REST_AFTER_COUNTING: Final = 9
"""So many times as long as counting took nothing is counted: a tenth of the source's time at most."""

_NOTICE_SECONDS: Final = 10

_LOOK_AGAIN_SECONDS: Final = 15.0
"""Between two looks at alerts and names."""

WINDOWS: Final = (
    (900, "in 15 min"),
    (3600, "in 1 h"),
    (6 * 3600, "in 6 h"),
    (86_400, "in 24 h"),
    (7 * 86_400, "in 7 d"),
)
"""How far back counts go, in seconds, and how the screen says it."""


T = TypeVar("T")


class WatchingScreen(Screen[None]):
    """Reads the source and keeps the widgets up to date."""

    def __init__(self, source: Source, query: EventQuery, settings: DashboardSettings) -> None:
        super().__init__()
        self.source = source
        self.event_query = query
        self.settings = settings
        self.names: dict[tuple[str, str], str] = {}
        self.status = Status(title=source.title, counted="" if source.local else WINDOWS[0][1])
        self.counts = Counts()
        self.found: Found | None = None
        self._zone = settings.zone
        self.pager = Pager(source, query)
        self.feed = Feed(source, query, self.post_message)
        self._window = 0
        self._retry_since: datetime | None = None
        self.delays = Delays()
        self._status_shown = ""
        self._uncounted = False
        self._loaded = False
        self._count_at = 0.0
        self._notice_until = 0.0
        self._look_again_at = 0.0

    def zone(self) -> tzinfo | None:
        """The zone times are shown in; None is this machine's."""
        return self._zone

    def on_mount(self) -> None:
        """Begins to read."""
        self.event_list.focus()
        self.set_interval(self.settings.tick_seconds, self._tick)
        self.set_interval(1.0, self._each_second)
        self.show_filters()
        self._start()
        self.fetch_names()
        if self.settings.hint:
            self.notice(self.settings.hint)

    @property
    def event_list(self) -> EventList:
        """The event list."""
        return self.query_one(EventList)

    @property
    def detail(self) -> DetailPane:
        """The event pane."""
        return self.query_one(DetailPane)

    def show_filters(self) -> None:
        """Shows what is filtered on."""
        self.query_one(ChipLine).show(chips(self.event_query, self.names))

    def show_hints(self) -> None:
        """Shows the few keys that matter here."""

    def toggle_zone(self) -> None:
        """Shows times in UTC, or in the zone of this machine."""
        self._zone = self.settings.zone if self._zone is UTC else UTC
        self.event_list.redraw()
        self.detail.redraw()
        self.query_one(Histogram).refresh()

    def window_step(self, step: int) -> None:
        """Counts over more, or less, time."""
        if not self.source.local:
            self._window = min(max(self._window + step, 0), len(WINDOWS) - 1)
            self.status.counted = WINDOWS[self._window][1]
            self.load_counts()

    # --- reading the source ------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Follows the query from now on, with what there is already above."""
        self.pager = Pager(self.source, self.event_query)
        self.feed = Feed(self.source, self.event_query, self.post_message)
        self._loaded = False
        self.read_feed(self.feed)
        self.load_tail(self.feed)
        self.load_counts()

    @work(group="feed", exclusive=True)
    async def read_feed(self, feed: Feed) -> None:
        """Follows until another query is followed."""
        await self.reporting(feed.read())

    @work(group="page", exclusive=True)
    async def load_tail(self, feed: Feed) -> None:
        """Shows the newest events; what arrives meanwhile comes after."""
        await feed.connected.wait()
        pager = self.pager
        # What is kept up to here is in the page; what comes while it is fetched belongs below it.
        self.event_list.forget_pending()
        items = await self.reporting(pager.newest())
        if items is not None:
            self.event_list.show(items, at_oldest=pager.at_oldest, at_newest=True)
            feed.release()
            self._loaded = True
            self._say_when_empty()

    @work(group="page", exclusive=True)
    async def load_beyond(self, *, above: bool) -> None:
        """Adds a page at one end."""
        events, pager = self.event_list, self.pager
        if above:
            dropped = not events.at_oldest and pager.at_oldest
            items = await self.reporting(pager.above(events.window, dropped=dropped))
            if items is not None:
                events.add_above(items, at_oldest=pager.at_oldest)
        else:
            dropped = not events.at_newest and pager.at_newest
            items = await self.reporting(pager.below(events.window, dropped=dropped))
            if items is not None:
                events.add_below(items, at_newest=pager.at_newest)

    @work(group="page", exclusive=True)
    async def load_oldest(self) -> None:
        """Shows the first events."""
        items = await self.reporting(self.pager.oldest())
        if items is not None:
            events = self.event_list
            events.show(items, at_oldest=True, at_newest=self.pager.at_newest)
            if items:
                events.select(events.window.first)

    @work(group="page", exclusive=True)
    async def load_around(self, moment: datetime, event_id: bytes | None = None) -> None:
        """Shows what happened around a moment; selects that event, else the first from then on."""
        found = await self.reporting(self.pager.around(moment))
        if found is None:
            return
        before, after = found
        events = self.event_list
        events.show([*before, *after], at_oldest=self.pager.at_oldest, at_newest=self.pager.at_newest)
        row = events.window.row_of(event_id) if event_id is not None else _first_from(events, moment)
        if row is not None:
            events.select_centred(row.number)

    @work(group="counts", exclusive=True)
    async def load_counts(self) -> None:
        """Counts anew."""
        self._uncounted = False
        begun = self._loop_time()
        seconds = None if self.source.local else WINDOWS[self._window][0]
        columns = self.query_one(Histogram).columns
        query = self.event_query
        counts = await self.reporting(self.source.counts(query, tuple(FIELDS), seconds, columns))
        spent = self._loop_time() - begun
        self._count_at = self._loop_time() + max(self.settings.counts_seconds, spent * _REST_AFTER_COUNTING)
        if counts is not None and query is self.event_query:
            self._show_counts(counts)

    @staticmethod
    def _loop_time() -> float:
        return asyncio.get_running_loop().time()

    def _show_counts(self, counts: Counts) -> None:
        self.counts = counts
        self.status.matching, self.status.total = counts.matching, counts.total
        self.status.filters = len(chips(self.event_query))
        self._learn_names(counts.names)
        self._show_facets()
        self.query_one(Histogram).show(counts.buckets, counts.interval_seconds, f"no events {self.status.counted}")
        self.refresh_status()

    def _show_facets(self) -> None:
        further = not self.source.local and self._window < len(WINDOWS) - 1
        otherwise: list[str] = []
        if self.status.total is not None:  # until it has been counted nobody knows
            otherwise = [f"no events {self.status.counted}".rstrip(), *(["]  looks further back"] if further else [])]
        self.query_one(FacetPanel).show(self.counts, self.event_query, otherwise)

    @work(group="alerts", exclusive=True)
    async def load_alerts(self) -> None:
        """Asks what is wrong. That nobody answers is the connection's to say."""
        try:
            alerts = await self.source.alerts()
        except MadsciEventsError:
            alerts = None
        self.status.alerts = alerts

    @work(group="names", exclusive=True)
    async def fetch_names(self) -> None:
        """Learns what ids are called."""
        self._learn_names(await self.reporting(self.source.names()) or ())

    def _learn_names(self, names: Sequence[tuple[str, str, str]]) -> None:
        new = {(field, id_): name for field, id_, name in names if self.names.get((field, id_)) != name}
        if new:
            self.names.update(new)
            self.show_filters()
            self.event_list.redraw()
            self.detail.redraw()
            self._show_facets()

    async def reporting(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What the work gives; None, and a word on the status line, where the source did not answer.

        Cancels the worker that waits for it where the screen was closed meanwhile: there is nothing to show it on.
        """
        found: T | None = None
        reason = ""
        try:
            found = await work
        except (MadsciEventsError, OSError) as error:
            reason = str(error)
        if not (self.app.is_running and self.is_attached):
            raise asyncio.CancelledError
        if reason:
            self.notice(reason, "level.error")
        return found

    # --- what the source says ----------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.feed.deliver()

    def _each_second(self) -> None:
        self.status.now = self.settings.clock()
        if self.status.notice and self._loop_time() >= self._notice_until:
            self.status.notice = ""
        self.refresh_status()
        if self._loop_time() >= self._look_again_at:
            self._look_again_at = self._loop_time() + _LOOK_AGAIN_SECONDS
            self.load_alerts()
            self.fetch_names()
        # A paused screen stands still altogether; one that nothing has come to would only count the same again.
        if self.event_list.following and self._uncounted and self._loop_time() >= self._count_at:
            self.load_counts()

    def refresh_status(self) -> None:
        """Draws the status line only when it would look different: a paused screen sends nothing."""
        line = self.query_one(StatusLine)
        shown = repr(line.line_pieces(0, line.size.width))
        if shown != self._status_shown:
            self._status_shown = shown
            line.refresh()

    def notice(self, text: str, style: str = "") -> None:
        """Says something on the status line."""
        self.status.notice, self.status.notice_style = text, style
        self._notice_until = self._loop_time() + _NOTICE_SECONDS
        self.refresh_status()

    @on(Histogram.WidthChanged)
    def _histogram_width_changed(self) -> None:
        self.load_counts()

    @on(messages.EventsArrived)
    def _events_arrived(self, message: messages.EventsArrived) -> None:
        if message.feed is not self.feed:
            return
        self._uncounted = True
        self._measure_delays(message.items)
        self.event_list.absorb(message.items)

    @on(messages.ServerBeat)
    def _server_beat(self, message: messages.ServerBeat) -> None:
        """A beat comes after everything before it: the screen is up to date."""
        self.delays.server_is_at(message.server_time, self.settings.clock())
        self.status.lag_seconds = 0.0
        self.refresh_status()

    def _measure_delays(self, items: Sequence[Item]) -> None:
        newest = next((item for item in reversed(items) if not isinstance(item, Note)), None)
        if newest is not None and not self.source.local:
            self.status.lag_seconds, self.status.late_seconds = self.delays.of(newest, self.settings.clock())
            self.refresh_status()

    @on(messages.EventsRaised)
    def _events_raised(self, message: messages.EventsRaised) -> None:
        if message.feed is self.feed:
            self.event_list.raise_events(message.raws)

    @on(messages.ConnectionChanged)
    def _connection_changed(self, message: messages.ConnectionChanged) -> None:
        change, now = message.change, self.settings.clock()
        self.status.link, self.status.reason = change.link, change.reason
        self.status.retry_at = None if change.retry_seconds is None else now + timedelta(seconds=change.retry_seconds)
        self.refresh_status()
        self._say_when_empty()
        if change.link in ("retry", "offline") and self.status.total is None:
            self.query_one(Histogram).show((), 60, "")  # nobody counts

    def _say_when_empty(self) -> None:
        self.event_list.say_when_empty(when_empty(self.status, self.event_query, loaded=self._loaded))

    @on(messages.FollowChanged)
    def _follow_changed(self, message: messages.FollowChanged) -> None:
        self.status.following = message.following
        self.refresh_status()
        self.show_hints()

    @on(messages.PendingChanged)
    def _pending_changed(self, message: messages.PendingChanged) -> None:
        self.status.pending, self.status.pending_errors = message.count, message.errors
        self.refresh_status()

    @on(messages.EdgeReached)
    def _edge_reached(self, message: messages.EdgeReached) -> None:
        self.load_beyond(above=message.above)

    @on(EventList.TailWanted)
    def _tail_wanted(self) -> None:
        self.load_tail(self.feed)

    @on(StatusLine.FollowToggled)
    def action_toggle_follow(self) -> None:
        """Pauses, or follows."""
        self.event_list.toggle_follow()

    def action_follow(self) -> None:
        """Goes to the newest event and stays with it."""
        self.event_list.follow()

    def action_oldest(self) -> None:
        """Goes to the oldest event."""
        events = self.event_list
        if events.at_oldest and len(events.window):
            events.select(events.window.first)
        else:
            events.pause()
            self.load_oldest()


def _first_from(events: EventList, moment: datetime) -> Row | None:
    """The first row from a moment on, else the last before it."""
    rows = [row for row in events.window.rows if row.note is None]
    return next((row for row in rows if time_of(row.raw) >= moment), rows[-1] if rows else None)
