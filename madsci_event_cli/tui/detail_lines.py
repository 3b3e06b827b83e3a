"""All of one event as lines: what it says, what it is about, its data as a tree that folds, tracebacks as tracebacks.

Pure: the pane draws these, searches them, and asks each for the field it stands for and the text to copy.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final

from madsci_event_cli.rendering import (
    ALERT_MARK,
    LEVEL_FACES,
    Names,
    Span,
    cells,
    clock_text,
    date_text,
    elapsed_text,
    fitted,
    in_zone,
    message_text,
    safe_json,
    visible,
    who,
)
from madsci_event_server.event import ID_FIELDS, Event

LONGEST_TEXT: Final = 6000
"""Characters of one text that are shown; all of it can be copied."""

_FOLDED_FROM: Final = 16
"""A part of the data with more lines than this below its first level starts folded."""

_LABEL_CELLS: Final = 12
_DEEPEST_INDENT: Final = 32
_WIDEST_LABEL: Final = 20
_SHOWN_ITEMS: Final = 500
"""Members of one object or array that are shown."""


@dataclass(frozen=True, slots=True)
class DetailLine:
    """One line of the pane."""

    spans: Sequence[Span]
    field: str = ""
    """The filter field this line's value can be included or excluded by; "" where there is none."""
    value: str = ""
    """That value, as the filter wants it."""
    copy: str = ""
    """What `y` copies here."""
    fold: str = ""
    """The path of the part that begins here and can be folded; "" where none does."""

    @property
    def filter(self) -> tuple[str, Any] | None:
        """The field and value a filter can be made of; None where none can."""
        if not self.field or self.field == "event_id":
            return None
        return (
            (self.field, json.loads(self.value)) if self.field.startswith("event_data.") else (self.field, self.value)
        )


@dataclass(frozen=True, slots=True)
class Around:
    """The events just before and after, of the same workflow, experiment or node."""

    field: str
    before: Sequence[Event]
    after: Sequence[Event]


class _Writer:
    """Collects lines; `toggled` are the paths folded or unfolded by hand."""

    def __init__(self, width: int, toggled: Collection[str]) -> None:
        self.lines: list[DetailLine] = []
        self.width = max(width, 8)
        self._toggled = toggled

    def add(self, *spans: Span, field: str = "", value: str = "", copy: str = "", fold: str = "") -> None:
        self.lines.append(DetailLine([span for span in spans if span[0]], field, value, copy, fold))

    def text(
        self, start: Sequence[Span], text: str, style: str, *, field: str = "", value: str = "", copy: str = ""
    ) -> None:
        """Text that wraps under its own beginning."""
        indent = sum(cells(part) for part, _ in start)
        room = max(self.width - indent, 8)
        for number, piece in enumerate(wrapped(text, room)):
            begin = start if number == 0 else [(" " * indent, "")]
            self.add(*begin, (piece, style), field=field, value=value, copy=copy)

    def heading(self, text: str) -> None:
        self.add()
        self.add((f"{text} ", "heading"), ("─" * max(self.width - cells(text) - 1, 0), "dim"))

    def is_folded(self, path: str, size: int, depth: int) -> bool:
        """Large inner parts start folded; a toggle turns that round."""
        return (depth > 0 and size > _FOLDED_FROM) != (path in self._toggled)


def detail_lines(
    event: Event,
    *,
    width: int,
    zone: tzinfo | None,
    names: Names,
    toggled: Collection[str] = (),
    around: Around | None = None,
) -> list[DetailLine]:
    """The event as lines of at most `width` cells."""
    out = _Writer(width, toggled)
    _write_heading(out, event, names)
    _write_data(out, event)
    _write_facts(out, event, zone, names)
    if around is not None and (around.before or around.after):
        _write_around(out, event, around, zone)
    return out.lines


def _write_heading(out: _Writer, event: Event, names: Names) -> None:
    face = LEVEL_FACES[event.log_level]
    level = event.log_level.name
    spans: list[Span] = [(f"{face.glyph} {level}".strip(), face.style)]
    if event.alert:
        spans.append((f"  {ALERT_MARK} alert", "alert"))
    about, style = who(event, names)
    spans.append((f"  {about}", style))
    out.add(*spans, field="log_level", value=level.lower(), copy=level.lower())
    message = message_text(event) or event.kind
    if is_traceback(message):
        _write_block(out, message, "", path="message")
    else:
        for line in message[:LONGEST_TEXT].splitlines() or [""]:
            out.text([], visible(line), "heading", copy=message)
    _write_cut(out, message, "")
    out.add()


def _write_cut(out: _Writer, text: str, indent: str) -> None:
    if len(text) > LONGEST_TEXT:
        out.add((f"{indent}… {len(text) - LONGEST_TEXT:,} more characters; y copies all", "dim"), copy=text)


def _write_facts(out: _Writer, event: Event, zone: tzinfo | None, names: Names) -> None:
    out.heading("about")
    _fact(out, "time", moment_text(event.event_timestamp, zone), "", copy=event.event_timestamp.isoformat())
    if event.received_at is not None:
        late = elapsed_text((event.received_at - event.event_timestamp).total_seconds())
        _fact(out, "received", f"{moment_text(event.received_at, zone)}  {late}", "dim")
    _fact(out, "kind", event.kind, "kind", field="kind", value=event.kind)
    if event.event_type != event.kind:
        _fact(out, "sent as", event.event_type, "kind", field="event_type", value=event.event_type)
    for field in ID_FIELDS:
        if (id_ := event.ids.get(field)) is not None:
            name = names.get((field, id_))
            label = field.removesuffix("_id")
            _fact(
                out,
                label,
                f"{name}  {id_}" if name else id_,
                "name" if name else "id",
                field=field,
                value=id_,
                copy=id_,
            )
    _fact(out, "event id", event.event_id, "id")
    if event.archived_at is not None:
        _fact(out, "archived", moment_text(event.archived_at, zone), "")
    for label, text in (("trace", event.trace_id), ("span", event.span_id)):
        if text:
            _fact(out, label, text, "id")
    for key, value in (event.source.model_extra or {}).items():
        _fact(out, key, _plain(value), "", field=f"source.{key}", value=event.source_value(key) or "")
    for key, value in (event.model_extra or {}).items():
        _fact(out, key, _plain(value), "")


def _fact(out: _Writer, label: str, text: str, style: str, *, field: str = "", value: str = "", copy: str = "") -> None:
    start: list[Span] = [(f"{fitted(visible(label), _LABEL_CELLS)} ", "label")]
    out.text(start, visible(text[:LONGEST_TEXT]), style, field=field, value=value, copy=copy or value or text)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def moment_text(moment: datetime, zone: tzinfo | None) -> str:
    """`Mon 2026-11-23 14:05:09.120 CET`."""
    return f"{date_text(moment, zone)} {clock_text(moment, zone)} {in_zone(moment, zone):%Z}".rstrip()


def _write_data(out: _Writer, event: Event) -> None:
    data = event.event_data
    if isinstance(data, Mapping):
        data = {key: value for key, value in data.items() if key != "message" or not isinstance(value, str)}
    if isinstance(data, str) or data in (None, {}, []):
        return
    if isinstance(data, (Mapping, list)):
        _write_members(out, data, "event_data", 0)
    else:
        out.add((_json(data), _scalar_style(data)), copy=_json(data))


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((str(key), item) for key, item in value.items())
    else:
        yield from ((str(number), item) for number, item in enumerate(value))


def _write_members(out: _Writer, value: Any, path: str, depth: int) -> None:
    members = list(_members(value))
    named = isinstance(value, Mapping)
    labels = [visible((key if named else f"[{key}]")[:200]) for key, _ in members[:_SHOWN_ITEMS]]
    # Values stand in a column where that is no waste; a name longer than most does not push them all aside.
    column = min(max(map(cells, labels), default=0), _WIDEST_LABEL)
    for label, (key, item) in zip(labels, members, strict=False):
        shown = fitted(label, column) if cells(label) < column else label
        _write_member(out, shown, item, f"{path}.{key.replace('.', '$')}", depth)
    if len(members) > _SHOWN_ITEMS:
        out.add((f"{_indent(depth)}… {len(members) - _SHOWN_ITEMS:,} more", "dim"))


def _indent(depth: int) -> str:
    return " " * min(2 * depth, _DEEPEST_INDENT)


def _write_member(out: _Writer, label: str, value: Any, path: str, depth: int) -> None:
    indent = _indent(depth)
    name: Span = (label, "json.name")
    if isinstance(value, (Mapping, list)) and value:
        size = _size(value)
        folded = out.is_folded(path, size, depth + 1)
        count = f"  {len(value)} {'fields' if isinstance(value, Mapping) else 'items'}"
        marker: Span = (f"{indent}{'▸' if folded else '▾'} ", "json.mark")
        out.add(marker, name, (count, "dim"), copy=_json(value, indented=True), fold=path)
        if not folded:
            _write_members(out, value, path, depth + 1)
        return
    start: list[Span] = [(f"{indent}  ", ""), name, ("  ", "")]
    if isinstance(value, str) and "\n" in value.strip():
        out.add(*start, copy=value)
        _write_block(out, value, f"{indent}    ", path)
        return
    _write_scalar(out, start, value, path)


def _write_scalar(out: _Writer, start: Sequence[Span], value: Any, path: str) -> None:
    text = _json(value[:LONGEST_TEXT] if isinstance(value, str) else value)
    copy = value if isinstance(value, str) else text
    field = path if len(text) < _LONGEST_FILTER and _is_path(path) else ""
    out.text(start, text, _scalar_style(value), field=field, value=_json(value), copy=copy)
    if isinstance(value, str):
        _write_cut(out, value, "    ")


_LONGEST_FILTER: Final = 1000


def _is_path(path: str) -> bool:
    """Whether a selector can say this path: names with a dot or a dollar sign have no place in one."""
    return "$" not in path and "\0" not in path


def _scalar_style(value: Any) -> str:
    if isinstance(value, str):
        return "json.text"
    return "json.word" if value is None or isinstance(value, bool) else "json.number"


def _json(value: Any, *, indented: bool = False) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=2 if indented else None)
    return text if indented else safe_json(text)


def _size(value: Any) -> int:
    """How many lines a part has, counted no further than it matters."""
    total, waiting = 0, [value]
    while waiting and total <= _FOLDED_FROM:
        item = waiting.pop()
        inner = list(item.values()) if isinstance(item, Mapping) else item
        total += len(inner)
        waiting += [child for child in inner[: _FOLDED_FROM + 1] if isinstance(child, (Mapping, list)) and child]
    return total


# --- tracebacks ------------------------------------------------------------------------------------------------------

_FRAME = re.compile(r'^(\s*File ")([^"]*)(", line )(\d+)(.*)$')
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(:\s.*|)$")


def is_traceback(text: str) -> bool:
    """Whether text looks like what Python prints of an exception."""
    return "Traceback (most recent call last)" in text[:LONGEST_TEXT]


def _write_block(out: _Writer, text: str, indent: str, path: str) -> None:
    """Text of several lines, as it is; a traceback in its colours."""
    style = _traceback_spans if is_traceback(text) else _text_spans
    for line in text[:LONGEST_TEXT].rstrip("\n").split("\n"):
        shown = line.replace("\t", "    ").rstrip("\r")
        for spans in style(visible(shown), out.width - len(indent)):
            out.add((indent, ""), *spans, copy=text)


def _text_spans(line: str, room: int) -> Iterator[list[Span]]:
    for piece in wrapped(line, max(room, 8)):
        yield [(piece, "json.text")]


def _traceback_spans(line: str, room: int) -> Iterator[list[Span]]:
    frame = _FRAME.match(line)
    if frame is not None and cells(line) <= room:
        yield [(frame[1], "dim"), (frame[2], "name"), (frame[3], "dim"), (frame[4], "json.number"), (frame[5], "dim")]
        return
    error = _RAISED.match(line)
    style = "level.error" if error and not line.startswith("Traceback") else "dim" if line.startswith("Trace") else ""
    for piece in wrapped(line, max(room, 8)):
        yield [(piece, style)]


# --- around ----------------------------------------------------------------------------------------------------------


def _write_around(out: _Writer, event: Event, around: Around, zone: tzinfo | None) -> None:
    out.heading(f"same {around.field.removesuffix('_id')}, just before and after")
    for other in (*around.before, event, *around.after):
        face = LEVEL_FACES[other.log_level]
        here = other is event
        late = "  now " if here else elapsed_text((other.event_timestamp - event.event_timestamp).total_seconds())
        style = "heading" if here else face.message_style
        name = f"{visible(other.name)} " if other.name and other.name != event.name else ""
        text = f"{name}{visible(message_text(other)[:400]) or other.kind}"
        start: list[Span] = [(f"{late:>9} ", "time"), (f"{face.label} ", face.style)]
        room = out.width - sum(cells(part) for part, _ in start)
        out.add(
            *start,
            (fitted(text, max(room, 1)).rstrip(), style),
            field="event_id",
            value=other.event_id,
            copy=other.event_timestamp.isoformat(),
        )


def wrapped(text: str, width: int) -> list[str]:
    """`text` in pieces of at most `width` cells, broken at spaces where that is not wasteful."""
    if cells(text) <= width:
        return [text]
    pieces = []
    while text:
        end = _fitting(text, width)
        space = text.rfind(" ", 0, end + 1) if end < len(text) else -1
        if space > end // 3:
            pieces.append(text[:space])
            text = text[space + 1 :]
        else:
            pieces.append(text[:end])
            text = text[end:]
    return pieces


def _fitting(text: str, width: int) -> int:
    """How many characters fit into so many cells; at least one."""
    if text[:width].isascii():
        return width
    total = 0
    for number, character in enumerate(text):
        total += cells(character)
        if total > width:
            return max(number, 1)
    return len(text)
