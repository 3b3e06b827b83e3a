"""An event as people see it: a styled line, or a block with all of it. For the command line and the dashboard alike.

Everything is made of spans, `(text, style key)`. What a key looks like is in `PALETTE`, once; nothing here knows of
markup, so no event text can be taken for it. Text from events has passed `visible` before it is in a span: a terminal
obeys nothing of it, and it stays on its line.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from madsci_event_server.errors import UnexpectedAnswer
from madsci_event_server.visible import HOSTILE
from madsci_event_server.visible import visible as visible  # offered on: screens render with what is here
from madsci_event_server.vocabulary import ID_FIELDS, EventLogLevel

if TYPE_CHECKING:
    from madsci_event_server.event import Event

Span = tuple[str, str]
"""Text that is safe to print, and the key of its style in a palette."""

Names = Mapping[tuple[str, str], str]
"""Human names by field and id: `("node_id", "01J...")` -> `liquidhandler_1`."""

PALETTE: Final[Mapping[str, str]] = {
    "": "",
    "dim": "dim",
    "time": "dim",
    "date": "dim bold",
    "name": "cyan",
    "id": "dim",
    "kind": "blue",
    "message": "",
    "message.debug": "dim",
    "message.critical": "bold",
    "level.notset": "dim",
    "level.debug": "dim",
    "level.info": "green",
    "level.warning": "yellow",
    "level.error": "bold red",
    "level.critical": "bold reverse red",
    "alert": "bold magenta",
    "heading": "bold",
    "label": "dim",
    "json.name": "cyan",
    "json.text": "",
    "json.number": "green",
    "json.word": "magenta",
    "json.mark": "dim",
}
"""Style keys -> Rich style definitions, in the terminal's own sixteen colours: they suit any background."""


@dataclass(frozen=True, slots=True)
class LevelFace:
    """How a level looks: told apart by letters and glyph first, by colour second."""

    label: str
    """Three letters."""
    glyph: str
    """One cell."""
    style: str
    message_style: str = "message"


LEVEL_FACES: Final[Mapping[EventLogLevel, LevelFace]] = {
    EventLogLevel.NOTSET: LevelFace("---", " ", "level.notset"),
    EventLogLevel.DEBUG: LevelFace("DBG", "·", "level.debug", "message.debug"),
    EventLogLevel.INFO: LevelFace("INF", " ", "level.info"),
    EventLogLevel.WARNING: LevelFace("WRN", "▲", "level.warning"),
    EventLogLevel.ERROR: LevelFace("ERR", "✖", "level.error"),
    EventLogLevel.CRITICAL: LevelFace("CRT", "✖", "level.critical", "message.critical"),
}

ALERT_MARK: Final = "!"
SHORT_ID_CHARACTERS: Final = 8
"""The end of a ULID is its random part: 8 characters tell events apart, and `get` finds an event by them."""

# --- text ------------------------------------------------------------------------------------------------------------

_JSON_HOSTILE = re.compile(HOSTILE.pattern.replace("\x00-\x1f", "", 1))


def safe_json(text: str) -> str:
    """JSON text that means the same, with what a terminal would obey written as `\\u` escapes."""
    return text if text.isascii() and "\x7f" not in text else _JSON_HOSTILE.sub(_as_json_escape, text)


def _as_json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def cells(text: str) -> int:
    """How many terminal cells `text` takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # knows all of Unicode's widths, and what the dashboard's screen will do

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, the last an ellipsis where something is missing."""
    if len(text) <= _MEASURED_CHARACTERS and cells(text) <= width:
        return text
    if width <= 0:
        return ""
    head = text[: max(width, _MEASURED_CHARACTERS)]
    if head.isascii():
        return f"{head[: width - 1]}…"
    from rich.cells import split_text

    left, _ = split_text(head, width - 1)
    # A wide character cut in half is a space there; here the ellipsis takes its place.
    return f"{left if head.startswith(left) else left[:-1]}…"


_MEASURED_CHARACTERS: Final = 4096
"""Longer text is no line of any terminal: it is cut without being measured."""


def fitted(text: str, width: int) -> str:
    """`text` in exactly `width` cells: cut, or filled up with spaces."""
    shown = cut(text, width)
    return shown + " " * (width - cells(shown))


def counted(count: int, what: str) -> str:
    """`1 event`, `4,200 events`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


# --- spans -----------------------------------------------------------------------------------------------------------


def plain(spans: Iterable[Span]) -> str:
    """The text of spans."""
    return "".join(text for text, _ in spans)


def painted(spans: Iterable[Span], palette: Mapping[str, str] = PALETTE) -> str:
    """The text of spans with the escape sequences of their styles, in the sixteen colours every terminal has."""
    styled = groupby(spans, lambda span: palette.get(span[1], ""))
    return "".join(_escape(definition, plain(alike)) for definition, alike in styled)


def _escape(definition: str, text: str) -> str:
    if not definition or not text.strip():
        return text
    from rich.color import ColorSystem
    from rich.style import Style

    return Style.parse(definition).render(text, color_system=ColorSystem.STANDARD)


def cut_spans(spans: Iterable[Span], width: int) -> list[Span]:
    """The spans that fit into `width` cells, the last one ending in an ellipsis where something is missing."""
    found: list[Span] = []
    left = width
    pending = list(spans)
    for number, (text, style) in enumerate(pending):
        size = cells(text)
        rest = any(more for more, _ in pending[number + 1 :])
        if size < left or (size == left and not rest):
            found.append((text, style))
            left -= size
            continue
        found.append((cut(text, left) if size > left else cut(f"{text}…", left), style))
        break
    return found


# --- time ------------------------------------------------------------------------------------------------------------


def in_zone(moment: datetime, zone: tzinfo | None) -> datetime:
    """The instant as clocks show it in `zone` (None: this machine's); in UTC at the edges of the calendar."""
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return moment.astimezone(UTC)


def clock_text(moment: datetime, zone: tzinfo | None, *, milliseconds: bool = True) -> str:
    """`14:05:09.120` in `zone` (None: this machine's)."""
    return in_zone(moment, zone).strftime("%H:%M:%S") + (f".{moment.microsecond // 1000:03d}" if milliseconds else "")


def instant_text(moment: datetime, zone: tzinfo | None) -> str:
    """`2026-11-23T14:05:09.120+01:00` in `zone` (None: this machine's); RFC 3339, to the millisecond."""
    return in_zone(moment, zone).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def date_text(moment: datetime, zone: tzinfo | None) -> str:
    """`Mon 2026-11-23` in `zone` (None: this machine's)."""
    return in_zone(moment, zone).strftime("%a %Y-%m-%d")


def elapsed_text(seconds: float, *, milliseconds: bool = True) -> str:
    """`+0.120`, `+1:04`, `+2:03:00`, `-0.020`: the time between two rows, at most eight cells below a day."""
    sign, size = "-" if seconds < 0 else "+", abs(seconds)
    if size < 60:
        return f"{sign}{size:.{3 if milliseconds else 1}f}"
    minutes, rest = divmod(int(size), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{sign}{hours // 24}d{hours % 24:02d}h"
    return f"{sign}{hours}:{minutes:02d}:{rest:02d}" if hours else f"{sign}{minutes}:{rest:02d}"


# --- the line --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """Which parts a line has, and how wide: time, level, who, kind, message, id.

    A kind without a column of its own (`kind` 0) stands before the message.
    """

    width: int | None
    """Cells of the whole line; None: as long as it takes, for a file or a pipe."""
    milliseconds: bool = True
    full_time: bool = False
    """Date, time and offset instead of the time of day."""
    who: int = 0
    """Cells for whom it is about; 0: as long as it takes."""
    kind: int = 0
    short_id: bool = False
    zone: tzinfo | None = None
    """Times are shown in it; None: this machine's."""


UNBOUNDED: Final = Layout(width=None, full_time=True)
"""The layout of `-o text`: one event a line, nothing cut, the same for every width."""

_WIDE, _MIDDLE, _NARROW = 150, 110, 60


def layout_for(width: int, zone: tzinfo | None = None) -> Layout:
    """The layout for a terminal of that width."""
    if width >= _WIDE:
        return Layout(width, who=26, kind=24, short_id=True, zone=zone)
    if width >= _MIDDLE:
        return Layout(width, who=22, kind=22, zone=zone)
    if width >= _NARROW:
        return Layout(width, milliseconds=False, who=15, zone=zone)
    return Layout(width, milliseconds=False, who=8, zone=zone)


def snug(layout: Layout, events: Iterable["Event"], names: Names) -> Layout:
    """The same layout with no column wider than these events need."""
    widest_who, widest_kind = 1, 0
    for event in events:
        widest_who = max(widest_who, cells(who(event, names, layout.who)[0]))
        widest_kind = max(widest_kind, cells(kind_text(event)))
    return replace(layout, who=min(layout.who, widest_who), kind=min(layout.kind, widest_kind))


def event_line(event: "Event", layout: Layout = UNBOUNDED, names: Names | None = None) -> list[Span]:
    """The event on one line: time, level, whom it is about, kind, message and, where there is room, the id's end."""
    face = LEVEL_FACES[event.log_level]
    found: list[Span] = [
        (_time(event, layout), "time"),
        ("  " if layout.width is None or layout.width >= _MIDDLE else " ", ""),
        *_level(event, face, layout),
        (" ", ""),
        *_who_and_kind(event, layout, names or {}),
    ]
    tail: list[Span] = [(f"  {short_id(event.event_id)}", "id")] if layout.short_id else []
    message = visible(message_text(event))
    if layout.width is None:
        return [*found, (message, face.message_style)]
    room = layout.width - cells(plain(found)) - cells(plain(tail))
    if room <= 0:
        return cut_spans(found, layout.width)
    return [*found, (fitted(message, room) if tail else cut(message, room), face.message_style), *tail]


def short_id(event_id: str) -> str:
    """The end of an id, enough for `get` to find it: 8 characters."""
    return fitted(visible(event_id[-SHORT_ID_CHARACTERS:]), SHORT_ID_CHARACTERS)


def id_end(id_: str) -> str:
    """The end of an id where it stands for something that has no name: `…3YBAV7Q2`."""
    return f"…{visible(id_[-SHORT_ID_CHARACTERS:])}"


def who(event: "Event", names: Names, width: int = 0) -> Span:
    """Whom or what an event is about: its name, else that of one of its ids, else the end of an id; "" for nothing.

    Where `width` cells do not hold an id's field as well, the id's end stands alone.
    """
    if event.name is not None:
        return visible(event.name), "name"
    present = [(field, event.ids[field]) for field in _WHO_FIELDS if field in event.ids]
    name = next((names[pair] for pair in present if names.get(pair)), None)
    if name is not None:
        return visible(name), "name"
    if not present:
        return "", "id"
    field, id_ = present[0]
    end = id_end(id_)
    whole = f"{field.removesuffix('_id')} {end}"
    return whole if not width or cells(whole) <= width else end, "id"


_WHO_FIELDS: Final = ("node_id", "manager_id", "workcell_id", "experiment_id", "workflow_id", "lab_id", "user_id")
"""Whom a line names, the most telling first."""


def kind_text(event: "Event") -> str:
    """The kind where it says something the level does not: `log_info` is silence."""
    return "" if event.kind in ("unknown", "log") or event.kind.startswith("log_") else event.kind


def message_text(event: "Event") -> str:
    """The message, without the kind that stands in for one where there is none."""
    shown_kind = kind_text(event)
    return event.message.removeprefix(shown_kind).removeprefix(" ") if shown_kind else event.message


def _time(event: "Event", layout: Layout) -> str:
    if layout.full_time:
        return instant_text(event.event_timestamp, layout.zone)
    return clock_text(event.event_timestamp, layout.zone, milliseconds=layout.milliseconds)


def _level(event: "Event", face: LevelFace, layout: Layout) -> list[Span]:
    flag: Span = (ALERT_MARK, "alert") if event.alert else (" ", "")
    if layout.width is None:
        return [(event.log_level.name.ljust(len("CRITICAL")), face.style), flag]
    glyph: list[Span] = [(f"{face.glyph} ", face.style)] if layout.width >= _MIDDLE else []
    return [*glyph, (face.label, face.style), flag]


def _who_and_kind(event: "Event", layout: Layout, names: Names) -> list[Span]:
    kind = kind_text(event)
    about, style = who(event, names, layout.who)
    if layout.width is None:
        return [(f"{about or '-'} ", style), (f"{kind or '-'} ", "kind")]
    gap: Span = ("  " if layout.width >= _MIDDLE else " ", "")
    found: list[Span] = [(fitted(about, layout.who), style), gap]
    if layout.kind:
        return [*found, (fitted(kind, layout.kind), "kind"), gap]
    return [*found, (f"{kind} ", "kind")] if kind else found


# --- the block -------------------------------------------------------------------------------------------------------

_LABEL_WIDTH = 14


def event_block(event: "Event", zone: tzinfo | None = None, names: Names | None = None) -> list[list[Span]]:
    """All of an event, as lines of spans: what a line says first, then every field, then its data as JSON.

    Lines are as long as they are: who draws them wraps or cuts. Line breaks inside the message are kept.
    """
    return [
        *_heading(event, zone, names or {}),
        [],
        *_facts(event, zone, names or {}),
        *_data(event),
    ]


def _heading(event: "Event", zone: tzinfo | None, names: Names) -> list[list[Span]]:
    face = LEVEL_FACES[event.log_level]
    first: list[Span] = [(f" {event.log_level.name} ", face.style), (" ", "")]
    if event.alert:
        first += [(f"{ALERT_MARK} alert ", "alert"), (" ", "")]
    about, style = who(event, names)
    if about:
        first += [(about, style), ("  ", "")]
    first += [(event.kind, "kind"), ("  ", ""), (_long_time(event.event_timestamp, zone), "time")]
    return [first, *([(visible(line), "heading")] for line in message_text(event).splitlines() or [""])]


def _long_time(moment: datetime, zone: tzinfo | None) -> str:
    return f"{date_text(moment, zone)} {clock_text(moment, zone)}{in_zone(moment, zone).strftime(' %Z').rstrip()}"


def _facts(event: "Event", zone: tzinfo | None, names: Names) -> list[list[Span]]:
    facts = [_fact("id", event.event_id, "id")]
    if event.event_type != event.kind:
        facts.append(_fact("type", event.event_type, "kind"))
    for field in ID_FIELDS:
        if (id_ := event.ids.get(field)) is not None:
            name = names.get((field, id_))
            facts.append([*_fact(field.removesuffix("_id"), id_, "id"), (f"  {visible(name)}" if name else "", "name")])
    if event.received_at is not None:
        lag = (event.received_at - event.event_timestamp).total_seconds()
        late = f"{lag:+.3f} s" if abs(lag) < 60 else elapsed_text(lag)
        facts.append([*_fact("received", _long_time(event.received_at, zone), "time"), (f"  {late}", "dim")])
    if event.archived_at is not None:
        facts.append(_fact("archived", _long_time(event.archived_at, zone), "time"))
    facts += [_fact(label, text, "id") for label, text in (("trace", event.trace_id), ("span", event.span_id)) if text]
    others = {**(event.source.model_extra or {}), **(event.model_extra or {})}
    facts += [
        _fact(key, text if isinstance(text, str) else json.dumps(text, ensure_ascii=False), "")
        for key, text in others.items()
        if key != "event_type_as_sent"
    ]
    return facts


def _fact(label: str, text: str, style: str) -> list[Span]:
    return [(fitted(visible(label), _LABEL_WIDTH), "label"), (visible(text), style)]


def _data(event: "Event") -> list[list[Span]]:
    data = event.event_data
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key != "message"}
    if isinstance(data, str) or data in (None, {}, []):
        return []
    return [[], *json_lines(data)]


def json_lines(value: Any) -> list[list[Span]]:
    """A JSON value, indented, as lines of spans."""
    lines: list[list[Span]] = []
    _write_json(value, lines, [], "", "")
    return lines


def _write_json(value: Any, lines: list[list[Span]], start: list[Span], indent: str, end: str) -> None:
    if not isinstance(value, (dict, list)) or not value:
        lines.append([*start, *_scalar(value), (end, "json.mark")])
        return
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    lines.append([*start, (opening, "json.mark")])
    inner = f"{indent}  "
    items: Sequence[tuple[Any, Any]] = list(value.items()) if isinstance(value, dict) else [(None, v) for v in value]
    for number, (key, item) in enumerate(items, 1):
        begin: list[Span] = [(inner, "")]
        if isinstance(value, dict):
            begin += [(_json_text(key), "json.name"), (": ", "json.mark")]
        _write_json(item, lines, begin, inner, "," if number < len(items) else "")
    lines.append([(indent, ""), (closing, "json.mark"), (end, "json.mark")])


def _scalar(value: Any) -> list[Span]:
    style = "json.text" if isinstance(value, str) else "json.word" if value in (None, True, False) else "json.number"
    return [(_json_text(value), "json.mark" if value in ({}, []) else style)]


def _json_text(value: Any) -> str:
    return safe_json(json.dumps(value, ensure_ascii=False))


# --- reading ---------------------------------------------------------------------------------------------------------


def parse_event(body: bytes | Mapping[str, Any]) -> "Event":
    """The event of a server's answer: its bytes, or what they were parsed to. Raises UnexpectedAnswer."""
    from madsci_event_server.event import Event  # 100 ms of pydantic, which `log` does without

    try:
        return Event.stored(json.loads(body) if isinstance(body, bytes) else dict(body))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UnexpectedAnswer(
            f"the server answered an event that is none ({type(error).__name__}: {error})"
        ) from error


def names_by_id(names: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The `names` of a server's answer as a mapping; of two names of one id the last seen is kept."""
    found: dict[tuple[str, str], str] = {}
    for name in names:  # latest first
        found.setdefault((str(name["field"]), str(name["id"])), str(name["name"]))
    return found
