"""The rows the event list shows: a bounded window of raw events and notes, numbered so that a number never moves.

A row's number is its place in this window's life, not its index: rows added below get higher numbers, rows added above
lower ones, and dropping rows at either end renumbers nothing. Whatever remembers a row (cursor, cache, mark) remembers
its number.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Final, Literal

from madsci_event_cli.rendering import in_zone
from madsci_event_server.event import EventLogLevel

MAX_ROWS: Final = 50_000
MAX_BYTES: Final = 96 * 1024 * 1024
"""Whichever is reached first; an event may be a megabyte."""

_NUMBERS_APART: Final = 10**12
"""More rows than anybody pages upwards through."""

NoteKind = Literal["midnight", "gap", "connection", "broken", "edge"]

_ID_KEY: Final = b'"event_id":"'
_BACKSLASH: Final = ord("\\")
_ID = re.compile(rb'"event_id":"((?:[^"\\]|\\.)*)"')
_LEVEL = re.compile(rb',"log_level":(\d+),')
_TIME = re.compile(rb',"event_timestamp":"([^"]{27})"')


@dataclass(slots=True, frozen=True)
class Note:
    """Something that happened to the stream, not an event: shown as a row of its own."""

    kind: NoteKind
    text: str


Item = bytes | Note
"""What sources deliver: an event's bytes exactly as `Event.encode` writes them, or a note."""


class Row:
    """One line of the list. `raw` changes in place when the event is raised; `version` counts those changes."""

    __slots__ = ("level", "note", "number", "raw", "version")

    def __init__(self, number: int, raw: bytes, level: int, note: Note | None = None) -> None:
        self.number = number
        self.raw = raw
        self.level = level
        self.note = note
        self.version = 0


def id_of(raw: bytes) -> bytes:
    """The event id in an event's bytes, as JSON text without its quotes: compared, never shown."""
    start = raw.find(_ID_KEY) + len(_ID_KEY)
    end = raw.find(b'"', start)
    if start > len(_ID_KEY) and raw[end - 1] != _BACKSLASH:
        return raw[start:end]
    found = _ID.search(raw)
    if found is None:
        raise ValueError(f"bytes of an event carry its id; these begin {raw[:80]!r}")
    return found[1]


def level_of(raw: bytes) -> int:
    """The level in an event's bytes, without parsing the rest: `encode` writes it before any free text."""
    found = _LEVEL.search(raw)
    if found is None:
        raise ValueError(f"bytes of an event carry its level; these begin {raw[:80]!r}")
    return int(found[1])


def time_of(raw: bytes) -> datetime:
    """When the event happened, aware and in UTC."""
    return datetime.fromisoformat(_time_text(raw).decode())


def _time_text(raw: bytes) -> bytes:
    found = _TIME.search(raw)
    if found is None:
        raise ValueError(f"bytes of an event carry its time; these begin {raw[:80]!r}")
    return found[1]


def midnight(day: date) -> Note:
    """The note that opens a day."""
    return Note("midnight", f"{day:%A} {day.day} {day:%B %Y}")


class _Calendar:
    """The local day of an event's bytes; only the first event of an hour pays for the time zone."""

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self._days: dict[bytes, date] = {}

    def day(self, raw: bytes) -> date:
        # A quarter of an hour is the finest step by which zones differ from UTC.
        text = _time_text(raw)
        quarter = text[:14] + bytes([48 + int(text[14:16]) // 15])
        found = self._days.get(quarter)
        if found is None:
            if len(self._days) > 1000:
                self._days.clear()
            found = self._days[quarter] = in_zone(time_of(raw), self._zone).date()
        return found


class RowWindow:
    """Consecutive rows, oldest first, at most MAX_ROWS events and MAX_BYTES bytes (at least one page is kept)."""

    def __init__(self, zone: tzinfo | None = None, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> None:
        self.rows: list[Row] = []
        self._calendar = _Calendar(zone)
        self._by_id: dict[bytes, Row] = {}
        self.max_rows = max_rows
        self._max_bytes = max_bytes
        self._bytes = 0
        self._newest_day: date | None = None
        self._restart = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def first(self) -> int:
        """The number of the topmost row; meaningful only where there is one."""
        return self.rows[0].number if self.rows else self._restart

    @property
    def last(self) -> int:
        """The number of the bottom row; meaningful only where there is one."""
        return self.rows[-1].number if self.rows else self._restart - 1

    @property
    def event_count(self) -> int:
        """How many rows are events."""
        return len(self._by_id)

    def row(self, number: int) -> Row | None:
        """The row of this number, None where it is not, or no longer, in the window."""
        index = number - self.first
        return self.rows[index] if 0 <= index < len(self.rows) else None

    def row_of(self, event_id: bytes) -> Row | None:
        """The row of the event with this id (as `id_of` gives it), None where it has none here."""
        return self._by_id.get(event_id)

    def __contains__(self, event_id: bytes) -> bool:
        return event_id in self._by_id

    def extend(self, items: Iterable[Item]) -> int:
        """Adds below what is not here yet; returns how many rows were dropped at the top to keep the bound."""
        number = self.last + 1
        for item in items:
            if isinstance(item, Note):
                number = self._add_note(number, item)
                continue
            event_id = id_of(item)
            if event_id in self._by_id:
                continue
            number = self._open_day(number, item)
            row = Row(number, item, level_of(item))
            number += 1
            self.rows.append(row)
            self._by_id[event_id] = row
            self._bytes += len(item)
        return self._drop_top()

    def _add_note(self, number: int, note: Note) -> int:
        self.rows.append(Row(number, b"", EventLogLevel.NOTSET, note))
        return number + 1

    def _open_day(self, number: int, raw: bytes) -> int:
        """A late event of the day before does not turn the calendar back."""
        day = self._calendar.day(raw)
        if self._newest_day is None:
            self._newest_day = day
        elif day > self._newest_day:
            self._newest_day = day
            return self._add_note(number, midnight(day))
        return number

    def extend_above(self, items: Sequence[Item]) -> tuple[int, int]:
        """Adds above, `items` oldest first; how many rows that made, and how many were dropped at the bottom."""
        fresh = [item for item in items if isinstance(item, Note) or id_of(item) not in self._by_id]
        opened = self._with_midnights(fresh)
        number = self.first - len(opened)
        above = []
        for item in opened:
            note = item if isinstance(item, Note) else None
            row = Row(number, b"" if note else item, EventLogLevel.NOTSET if note else level_of(item), note)  # type: ignore[arg-type]
            if note is None:
                self._by_id[id_of(row.raw)] = row
                self._bytes += len(row.raw)
            above.append(row)
            number += 1
        self.rows[:0] = above
        return len(above), self._drop_bottom()

    def _with_midnights(self, items: Sequence[Item]) -> list[Item]:
        """`items` with a note where a day begins, also between them and what is below."""
        found: list[Item] = []
        day: date | None = None
        following = next((row.raw for row in self.rows if row.note is None), None)
        for item in [*items, *([following] if following else [])]:
            if not isinstance(item, Note):
                this = self._calendar.day(item)
                if day is not None and this > day:
                    found.append(midnight(this))
                day = this if day is None else max(day, this)
            found.append(item)
        if following:
            found.pop()
        if self._newest_day is None:
            self._newest_day = day
        return found

    def raise_in_place(self, raw: bytes) -> Row | None:
        """Gives a row its event's new bytes; None where that event has no row here."""
        row = self._by_id.get(id_of(raw))
        if row is not None:
            self._bytes += len(raw) - len(row.raw)
            row.raw = raw
            row.level = level_of(raw)
            row.version += 1
        return row

    def clear(self) -> None:
        """Empties the window; numbers go on far away, so nothing remembered points at another row."""
        self._restart = self.last + _NUMBERS_APART
        self.rows = []
        self._by_id.clear()
        self._bytes = 0
        self._newest_day = None

    def _drop_top(self) -> int:
        # Dropping in chunks: each costs a move of the whole list.
        if len(self.rows) <= self.max_rows * 1.05 and self._bytes <= self._max_bytes:
            return 0
        count = max(len(self.rows) - self.max_rows, 0)
        spare = self._bytes - sum(len(row.raw) for row in self.rows[:count]) - self._max_bytes
        while spare > 0 and count < len(self.rows) - 1:
            spare -= len(self.rows[count].raw)
            count += 1
        self._forget(self.rows[:count])
        del self.rows[:count]
        return count

    def _drop_bottom(self) -> int:
        count = max(len(self.rows) - self.max_rows, 0)
        spare = self._bytes - sum(len(row.raw) for row in self.rows[len(self.rows) - count :]) - self._max_bytes
        while spare > 0 and count < len(self.rows) - 1:
            spare -= len(self.rows[-1 - count].raw)
            count += 1
        if count:
            self._forget(self.rows[-count:])
            del self.rows[-count:]
            self._newest_day = None
        return count

    def _forget(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.note is None:
                self._bytes -= len(row.raw)
                del self._by_id[id_of(row.raw)]
