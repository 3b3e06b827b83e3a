"""StatusLine: three states that are never mixed up (connection, view, filter), then lag, alerts, address, time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from textual.message import Message

from madsci_event_cli.rendering import Span, counted, cut, visible
from madsci_event_cli.tui.narrowing import chips
from madsci_event_cli.tui.source import Alerts, Link, span_text
from madsci_event_cli.tui.widgets.span_line import Piece, SpanLines, spread
from madsci_event_server.query import EventQuery

LAG_SECONDS = 5.0
"""Being further behind than this is worth a word."""


@dataclass
class Status:
    """What the status line says."""

    link: Link = "connecting"
    reason: str = ""
    retry_at: datetime | None = None
    following: bool = True
    pending: int = 0
    pending_errors: int = 0
    filters: int = 0
    matching: int = 0
    total: int | None = None
    counted: str = ""
    """What `matching` and `total` were counted over: `last hour`."""
    lag_seconds: float | None = None
    """How long ago the server took what was shown last, when it was shown."""
    late_seconds: float | None = None
    """How long after it happened, by its sender's clock, the server took the event; negative: that clock is ahead."""
    alerts: Alerts | None = None
    """None where nothing watches, or nothing is known."""
    title: str = ""
    notice: str = ""
    """What went wrong or was done last; replaces the right side until the next key."""
    notice_style: str = ""
    now: datetime | None = field(default=None, repr=False)


def when_empty(status: Status, query: EventQuery, *, loaded: bool) -> list[Span]:
    """What the list says where it has no row: why, and the way out."""
    if status.link == "retry":
        return [
            (f"no event server answers at {status.title}", "heading"),
            ("It is tried again by itself.", "dim"),
            ("madsci-events serve starts one here, --server names another.", "dim"),
        ]
    if status.link == "offline":
        return [(status.reason, "heading"), ("It is asked again every few seconds.", "dim")]
    if not loaded:
        return []
    if chips(query):
        way_out = "Backspace takes the last filter away, c all of them."
        return [("no event matches the filter", "heading"), (way_out, "dim")]
    soon = "What is logged shows here as it comes." if status.link == "live" else ""
    return [("no events", "heading"), (soon, "dim")]


class StatusLine(SpanLines):
    """Draws a Status. A click on the view's state follows or pauses."""

    class FollowToggled(Message):
        """The view's state was clicked."""

    def __init__(self, status: Status, zone: Callable[[], tzinfo | None]) -> None:
        super().__init__()
        self.status = status
        self._zone = zone

    def on_click(self) -> None:
        """A click anywhere on the line follows or pauses."""
        self.post_message(self.FollowToggled())

    def line_pieces(self, y: int, width: int) -> list[Piece]:
        """The one line."""
        left = [*self._link(), *self._view(width), *self._filter(width)]
        if self.status.notice:
            room = width - sum(len(text) for text, _ in left) - 2
            return [*left, ("  ", ""), (cut(visible(self.status.notice), room), self.status.notice_style)]
        return spread(left, self._right(), width)

    def _link(self) -> list[Piece]:
        status = self.status
        if status.link == "live":
            if status.lag_seconds is not None and status.lag_seconds > LAG_SECONDS:
                return [(f" ● LAG {span_text(status.lag_seconds)} ", "level.warning bold")]
            return [(" ● LIVE ", "good bold")]
        if status.link == "retry":
            return [(f" ◌ RETRY {self._retry_in()}", "level.warning reverse bold"), (" ", "level.warning reverse bold")]
        if status.link == "offline":
            return [(" ✖ OFFLINE ", "level.critical")]
        return [({"reading": " ▤ FILE ", "ended": " ▤ END ", "connecting": " ◌ CONNECTING "}[status.link], "bold")]

    def _retry_in(self) -> str:
        status = self.status
        if status.retry_at is None or status.now is None:
            return "now"
        return f"{max((status.retry_at - status.now).total_seconds(), 0):.0f} s"

    def _view(self, width: int) -> list[Piece]:
        status = self.status
        if status.following:
            return [(" following ", "")]
        new = f" {status.pending:,} new" if status.pending else ""
        errors = f" ({status.pending_errors:,} ERR)" if status.pending_errors else ""
        hint = " End follows" if width >= 100 and status.pending else ""
        return [(f" PAUSED{new}{errors} ", "reverse bold"), (f"{hint} ", "dim")]

    def _filter(self, width: int) -> list[Piece]:
        status = self.status
        if status.total is None:
            return []
        if not status.filters:
            return [(f" {counted(status.total, 'event')} {status.counted} ", "dim")]
        hidden = max(status.total - status.matching, 0)
        hide = "filter hides" if status.filters == 1 else "filters hide"
        found: list[Piece] = [(f" {status.matching:,} of {status.total:,} ", "bold")]
        if width >= 70:
            found.append((f" {status.filters} {hide} {hidden:,} {status.counted} ", "level.warning"))
        return found

    def _alerts(self) -> list[Piece]:
        alerts = self.status.alerts
        if alerts is None:
            return []
        found: list[Piece] = []
        if alerts.trouble:
            found += [(" alert mail does not leave ", "level.error reverse"), (" ", "")]
        if alerts.silences:
            found.append((f" {alerts.silences} silenced ", "level.warning"))
        if alerts.open:
            found.append((f" {counted(alerts.open, 'open alert')} ", "level.critical"))
        return found

    def _right(self) -> list[Piece]:
        status = self.status
        found: list[Piece] = []
        found += self._alerts()
        if status.late_seconds is not None and abs(status.late_seconds) > LAG_SECONDS:
            how = "late" if status.late_seconds > 0 else "ahead of the server's clock"
            found.append((f" events come {span_text(abs(status.late_seconds))} {how} ", "level.warning"))
        if status.reason and status.link in ("retry", "offline"):
            found.append((f" {visible(status.reason)[:60]} ", "level.warning"))
        found.append((f" {visible(status.title)} ", "dim"))
        if status.now is not None and status.link not in ("reading", "ended"):
            # Without seconds: a screen that stands still sends nothing.
            found.append((f" {status.now.astimezone(self._zone()):%H:%M} ", "dim"))
        return found
