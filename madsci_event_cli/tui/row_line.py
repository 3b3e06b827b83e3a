"""One event as one line of the list: which columns fit, and what each shows.

Colours, glyphs and what is done to hostile text come from `rendering`; here is only the arrangement.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any, Final, NamedTuple

from madsci_event_cli.rendering import (
    ALERT_MARK,
    LEVEL_FACES,
    Names,
    cells,
    clock_text,
    cut,
    elapsed_text,
    fitted,
    kind_text,
    message_text,
    visible,
    who,
)
from madsci_event_server.event import ID_FIELDS, Event

LONGEST_MESSAGE: Final = 2000
"""Characters of a message that a line looks at: more than any terminal is wide."""

_HINTS: Final = 12
_SAID_ELSEWHERE: Final = frozenset(
    {
        "message",
        "event_type",
        "component_name",
        "component_type",
        "node_name",
        "exc_info",
        "workcell_name",
        "lab_name",
        *ID_FIELDS,
    }
)
"""Names in `event_data` that other columns or the detail pane show."""


class Cell(NamedTuple):
    """A piece of a line: safe text, the key of its style, and the filter field it can be included or excluded by."""

    text: str
    style: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """What a line of this width has room for; zero leaves a column out."""

    width: int
    milliseconds: bool
    who: int
    kind: int
    time: bool = True
    glyph: bool = True


@lru_cache(maxsize=64)
def columns_for(width: int) -> Columns:
    """Narrow lines lose the kind first, then milliseconds, then whom it is about, then the time.

    Fifteen cells hold `liquidhandler_1`: with less, what tells one node of a kind from another is cut off.
    """
    if width >= 132:
        return Columns(width, milliseconds=True, who=22, kind=22)
    if width >= 92:
        return Columns(width, milliseconds=True, who=18, kind=0)
    if width >= 84:
        return Columns(width, milliseconds=False, who=18, kind=0)
    if width >= 58:
        return Columns(width, milliseconds=False, who=15, kind=0)
    return Columns(width, milliseconds=False, who=0, kind=0, time=width >= 34, glyph=width >= 26)


def event_cells(
    event: Event, columns: Columns, names: Names, zone: tzinfo | None, before: datetime | None
) -> list[Cell]:
    """The line's pieces, exactly `columns.width` cells wide.

    `before`: the time column tells how long after this moment the event happened, instead of when.
    """
    head = [*_time(event, columns, zone, before), *_level(event, columns)]
    head += _who_and_kind(event, columns, names)
    room = columns.width - sum(cells(cell.text) for cell in head)
    return [*head, *_message(event, room)]


def _time(event: Event, columns: Columns, zone: tzinfo | None, before: datetime | None) -> Iterator[Cell]:
    if not columns.time:
        return
    width = 12 if columns.milliseconds else 8
    if before is None:
        text = clock_text(event.event_timestamp, zone, milliseconds=columns.milliseconds)
    else:
        text = elapsed_text((event.event_timestamp - before).total_seconds(), milliseconds=columns.milliseconds)
    yield Cell(f"{text:>{width}} ", "time")


def _level(event: Event, columns: Columns) -> Iterator[Cell]:
    face = LEVEL_FACES[event.log_level]
    text = f"{face.glyph} {face.label}" if columns.glyph else face.label
    yield Cell(text, face.style, "log_level")
    yield Cell(ALERT_MARK if event.alert else " ", "alert" if event.alert else "")
    yield Cell(" ", "")


def _who_and_kind(event: Event, columns: Columns, names: Names) -> Iterator[Cell]:
    if columns.who:
        about, style = who(event, names, columns.who)
        yield Cell(fitted(about, columns.who), style, "name")
        yield Cell("  ", "")
    if columns.kind:
        yield Cell(fitted(kind_text(event), columns.kind), "kind", "kind")
        yield Cell("  ", "")


def _message(event: Event, room: int) -> Iterator[Cell]:
    style = LEVEL_FACES[event.log_level].message_style
    data = event.event_data
    hints = " ".join(data_hints(data))
    if isinstance(data, Mapping) and "message" not in data and hints:
        # The message of an event that has none is its data as JSON: the small values say it better.
        text, hints = hints, ""
    else:
        text = visible(message_text(event)[:LONGEST_MESSAGE])
    text = cut(text or event.kind, room)
    yield Cell(text, style, "message")
    left = room - cells(text)
    if left > 8 and hints:
        hints = cut(f"  {hints}", left)
        yield Cell(hints, "dim")
        left -= cells(hints)
    if left > 0:
        yield Cell(" " * left, "")


def data_hints(data: Any) -> Iterator[str]:
    """`error=... status=running`: the small values of `event_data` that the message leaves out, the error first."""
    if not isinstance(data, Mapping):
        return
    names = sorted((name for name in data if name not in _SAID_ELSEWHERE), key=lambda name: name != "error")
    for name in names[:_HINTS]:
        value = data[name]
        if isinstance(value, Mapping):
            name, value = "status", value.get("status")
        if isinstance(value, (str, int, float)) and value != "":
            text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
            yield visible(f"{name[:40]}={text[:200]}")
