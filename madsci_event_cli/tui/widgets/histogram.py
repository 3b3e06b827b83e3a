"""Histogram: events over time by level, a column a bucket; errors at the bottom, where they cannot hide."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from textual import events
from textual.message import Message

from madsci_event_cli.rendering import LEVEL_FACES
from madsci_event_cli.tui.source import Bucket
from madsci_event_cli.tui.widgets.span_line import Piece, SpanLines
from madsci_event_server.event import EventLogLevel

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_LABEL_EVERY: Final = 16


class Histogram(SpanLines):
    """Draws buckets, the newest at the right, above a line of times where glyphs say which hold errors or warnings."""

    @dataclass
    class BucketClicked(Message):
        """The operator wants to go to this bucket."""

        start: datetime
        end: datetime

    def __init__(self, zone: Callable[[], tzinfo | None], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._zone = zone
        self._buckets: Sequence[Bucket] = ()
        self._interval = timedelta(seconds=60)
        self._title = ""
        self._highest = 0

    def show(self, buckets: Sequence[Bucket], interval_seconds: int, title: str) -> None:
        """Draws these buckets; `title` says what they are of."""
        self._buckets = buckets
        self._interval = timedelta(seconds=interval_seconds)
        self._title = title
        self._highest = max((sum(bucket.counts.values()) for bucket in buckets), default=0)
        self.refresh()

    @property
    def columns(self) -> int:
        """How many buckets there is room for."""
        return max(self.size.width - 2, 1)

    def on_click(self, event: events.Click) -> None:
        """Goes there."""
        shown = self._shown()
        index = event.x - 1
        if 0 <= index < len(shown):
            start = shown[index].start
            self.post_message(self.BucketClicked(start, start + self._interval))

    def _shown(self) -> Sequence[Bucket]:
        return self._buckets[-self.columns :]

    def line_pieces(self, y: int, width: int) -> list[Piece]:
        """Bars, and the axis at the bottom."""
        bars = self.size.height - 1
        if y >= bars:
            return [(" ", ""), *self._axis(width - 2)]
        return [(" ", ""), *(self._bar_cell(bucket, bars - 1 - y, bars) for bucket in self._shown())]

    def _bar_cell(self, bucket: Bucket, row: int, rows: int) -> Piece:
        """The cell `row` rows above the axis: filled in eighths, in the colour of the worst level that reaches it."""
        total, trouble, warnings = _sums(bucket.counts)
        if not total:
            return (" ", "")
        height = max(round(total / self._highest * rows * 8), 1)
        reach = {"bar.error": trouble, "bar.warning": trouble + warnings}
        filled = min(max(height - row * 8, 0), 8)
        style = "bar"
        for key, count in reversed(list(reach.items())):
            part = max(round(count / self._highest * rows * 8), 1) if count else 0
            if part > row * 8 and (key == "bar.error" and trouble or key == "bar.warning" and warnings):
                style = key
        return (_EIGHTHS[filled], style)

    def _axis(self, width: int) -> list[Piece]:
        shown = self._shown()
        if not shown:
            return [(f"{self._title or 'no events'}"[:width], "dim")]
        labels = self._labels(shown, width)
        found: list[Piece] = []
        for index, bucket in enumerate(shown):
            _, trouble, warnings = _sums(bucket.counts)
            level = EventLogLevel.ERROR if trouble else EventLogLevel.WARNING if warnings else None
            if level is not None:
                found.append((LEVEL_FACES[level].glyph, LEVEL_FACES[level].style))
            else:
                found.append((labels[index], "dim"))
        return found

    def _labels(self, shown: Sequence[Bucket], width: int) -> str:
        """A time every few columns, begun where its bucket is."""
        line = ["·"] * len(shown)
        for index in range(0, len(shown), _LABEL_EVERY):
            text = self._time_text(shown[index].start)
            if index + len(text) < len(shown):
                line[index : index + len(text)] = text
        return "".join(line)

    def _time_text(self, moment: datetime) -> str:
        local = moment.astimezone(self._zone())
        seconds = self._interval.total_seconds()
        if seconds >= 21_600:  # noqa: PLR2004
            return f"{local:%d %b}"
        return f"{local:%H:%M:%S}" if seconds < 15 else f"{local:%H:%M}"  # noqa: PLR2004


def _sums(counts: Mapping[EventLogLevel, int]) -> tuple[int, int, int]:
    """All events, errors and worse, warnings."""
    trouble = sum(count for level, count in counts.items() if level >= EventLogLevel.ERROR)
    return sum(counts.values()), trouble, counts.get(EventLogLevel.WARNING, 0)
