"""StatusLine: three states that are never mixed up (connection, view, filter), then lag, alerts, address, time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from textual.message import Message

from madsci_event_cli.rendering import clock_text, cut, visible
from madsci_event_cli.tui.source import Link
from madsci_event_cli.tui.widgets.span_line import Piece, SpanLines, spread

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
    matching: int | None = None
    total: int | None = None
    counted: str = ""
    """What `matching` and `total` were counted over: `last hour`."""
    lag_seconds: float | None = None
    skew_seconds: float | None = None
    alerts: int | None = None
    """Open alerts; None where the server does not say."""
    title: str = ""
    notice: str = ""
    """What went wrong or was done last; replaces the right side until the next key."""
    notice_style: str = ""
    now: datetime | None = field(default=None, repr=False)


class StatusLine(SpanLines):
    """Draws a Status. A click on the view's state follows or pauses."""

    class FollowToggled(Message):
        """The view's state was clicked."""

    def __init__(self, status: Status, zone: Callable[[], tzinfo | None], *, id: str | None = None) -> None:
        super().__init__(id=id)
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
        if status.total is None or status.matching is None:
            return []
        if not status.filters:
            return [(f" {status.total:,} events {status.counted} ", "dim")]
        hidden = max(status.total - status.matching, 0)
        many = "filter" if status.filters == 1 else "filters"
        found: list[Piece] = [(f" {status.matching:,} of {status.total:,} ", "bold")]
        if width >= 70:
            found.append((f" {status.filters} {many} hide {hidden:,} {status.counted} ", "level.warning"))
        return found

    def _right(self) -> list[Piece]:
        status = self.status
        found: list[Piece] = []
        if status.alerts:
            found.append((f" {status.alerts} alert{'s' if status.alerts > 1 else ''} ", "level.critical"))
        if status.skew_seconds is not None and abs(status.skew_seconds) > LAG_SECONDS:
            found.append((f" clocks differ {span_text(abs(status.skew_seconds))} ", "level.warning"))
        if status.reason and status.link in ("retry", "offline"):
            found.append((f" {visible(status.reason)[:60]} ", "level.warning"))
        found.append((f" {visible(status.title)} ", "dim"))
        if status.now is not None and status.link not in ("reading", "ended"):
            found.append((f" {clock_text(status.now, self._zone(), milliseconds=False)} ", "dim"))
        return found


def span_text(seconds: float) -> str:
    """`8 s`, `3 min`, `2 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"
