"""Histogram: events over time by level, a column a bucket; errors at the bottom, where they cannot hide."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from textual import events
from textual.message import Message

from madsci_event_cli.rendering import LEVEL_FACES, in_zone
from madsci_event_cli.tui.source import Bucket
from madsci_event_cli.tui.widgets.span_line import Piece, SpanLines
from madsci_event_server.event import EventLogLevel

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_LABEL_EVERY: Final = 12
"""Columns from one time on the axis to the next, at least."""
_ROUND: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(3600 * hours for hours in (1, 2, 3, 6, 12)),
    *(86_400 * days for days in (1, 2, 7, 14, 28)),
)
"""Seconds between two times that people call round."""


_FIRST_MONDAY: Final = datetime(1, 1, 1, tzinfo=UTC)


class Histogram(SpanLines):
    """Draws buckets, the newest at the right, above a line of times where glyphs say which hold errors or warnings."""

    @dataclass
    class BucketClicked(Message):
        """The operator wants to go to this bucket."""

        start: datetime
        end: datetime

    class WidthChanged(Message):
        """There is room for another number of buckets."""

    def __init__(self, zone: Callable[[], tzinfo | None]) -> None:
        super().__init__()
        self._zone = zone
        self._buckets: Sequence[Bucket] = ()
        self._interval = timedelta(seconds=60)
        self._title = "counting ..."
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

    def on_resize(self) -> None:
        """Another width has room for other buckets."""
        self.post_message(self.WidthChanged())

    def on_click(self, event: events.Click) -> None:
        """Goes there."""
        shown = self._shown()
        index = (event.x - self._left) // self._cells_a_bucket
        if 0 <= index < len(shown):
            start = shown[index].start
            self.post_message(self.BucketClicked(start, start + self._interval))

    def _shown(self) -> Sequence[Bucket]:
        return self._buckets[-self.columns :]

    @property
    def _cells_a_bucket(self) -> int:
        """Few buckets are drawn wider, so that they fill the line."""
        return max(self.columns // max(len(self._buckets), 1), 1)

    def line_pieces(self, y: int, width: int) -> list[Piece]:
        """Bars, and the axis at the bottom."""
        bars = self.size.height - 1
        if y >= bars:
            return [(" " * self._left, ""), *self._axis(width - 2)]
        wide = self._cells_a_bucket
        cells = (self._bar_cell(bucket, bars - 1 - y, bars) for bucket in self._shown())
        return [(" " * self._left, ""), *((text * wide, style) for text, style in cells)]

    @property
    def _left(self) -> int:
        """The newest bucket stands at the right edge."""
        return self.size.width - 1 - len(self._shown()) * self._cells_a_bucket if self._buckets else 1

    def _bar_cell(self, bucket: Bucket, row: int, rows: int) -> Piece:
        """The cell `row` rows above the axis, filled in eighths: errors below, then warnings, then the rest."""
        total, trouble, warnings = _sums(bucket.counts)
        if not total:
            return (" ", "")
        top = min(self._eighths(total, rows) - row * 8, 8)
        parts = (("bar.error", trouble), ("bar.warning", trouble + warnings if warnings else 0), ("bar", total))
        extents, begin = {}, 0
        for key, count in parts:
            end = min(self._eighths(count, rows) - row * 8, 8) if count else 0
            extents[key] = max(end - begin, 0)
            begin = max(begin, end)
        inside = [key for key, extent in extents.items() if extent]
        if not inside:
            return (" ", "")
        lowest, widest = inside[0], max(inside, key=extents.__getitem__)
        if top == 8 and widest != lowest:
            return (_EIGHTHS[extents[lowest]], f"{lowest} on.{widest}")
        return (_EIGHTHS[top], widest)

    def _eighths(self, count: int, rows: int) -> int:
        return max(round(count / self._highest * rows * 8), 1)

    def _axis(self, width: int) -> list[Piece]:
        shown = self._shown()
        if not shown:
            return [(self._title[:width], "dim")]
        labels = self._labels(shown)
        if not self.app.no_color:
            return [(labels, "dim")]
        # Without colour, glyphs between the times tell what the bars cannot.
        marks = "".join(_mark(bucket.counts) * self._cells_a_bucket for bucket in shown)
        return [("".join(mark if label == "·" else label for mark, label in zip(marks, labels, strict=True)), "")]

    def _labels(self, shown: Sequence[Bucket]) -> str:
        """Round times, each begun where its bucket is; of a single bucket, its time."""
        wide = self._cells_a_bucket
        line = ["·"] * len(shown) * wide
        step = self._step(wide)
        rounds = [self._rounded(bucket.start, step) for bucket in shown]
        begun = [index for index in range(1, len(shown)) if rounds[index] != rounds[index - 1]]
        if rounds[0] == shown[0].start or not begun:
            begun = [0, *begun]
        for index in begun:
            text = f"{self._time_text(shown[index].start, step)} "
            if index * wide + len(text) <= len(line):
                line[index * wide : index * wide + len(text)] = text
        return "".join(line)

    def _step(self, wide: int) -> timedelta:
        """From one label to the next, by the clock."""
        least = self._interval * _LABEL_EVERY / wide
        return next((step for seconds in _ROUND if (step := timedelta(seconds=seconds)) >= least), least)

    def _rounded(self, moment: datetime, step: timedelta) -> datetime:
        """The last round time up to a moment, by the clock on the wall."""
        wall = in_zone(moment, self._zone()).replace(tzinfo=UTC)
        return moment - min((wall - _FIRST_MONDAY) % step, moment - _FIRST_MONDAY)

    def _time_text(self, moment: datetime, step: timedelta) -> str:
        local = in_zone(moment, self._zone())
        if step >= timedelta(days=1):
            return f"{local:%d %b}"
        return f"{local:%H:%M:%S}" if step < timedelta(minutes=1) else f"{local:%H:%M}"


def _sums(counts: Mapping[EventLogLevel, int]) -> tuple[int, int, int]:
    """All events, errors and worse, warnings."""
    trouble = sum(count for level, count in counts.items() if level >= EventLogLevel.ERROR)
    return sum(counts.values()), trouble, counts.get(EventLogLevel.WARNING, 0)


def _mark(counts: Mapping[EventLogLevel, int]) -> str:
    _, trouble, warnings = _sums(counts)
    if trouble:
        return LEVEL_FACES[EventLogLevel.ERROR].glyph
    return LEVEL_FACES[EventLogLevel.WARNING].glyph if warnings else "·"
