"""The only writer of stdout: events and small documents, in the format that was asked for.

`json`, `jsonl` and `csv` are for programs: the same bytes whatever the terminal, its width, locale or colour, and
nothing is cut. `table` is for the eye; without a terminal it is `text`, one uncut line an event. `raw` is the messages
alone, as they were logged (on a terminal, visibly, as everything is there).
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from madsci_event_cli.rendering import (
    UNBOUNDED,
    Layout,
    Names,
    Span,
    cells,
    cut,
    date_text,
    event_block,
    event_line,
    fitted,
    layout_for,
    painted,
    parse_event,
    plain,
    safe_json,
    snug,
    visible,
)
from madsci_event_server.errors import MadsciEventsError

if TYPE_CHECKING:
    from madsci_event_server.event import Event


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    RAW = "raw"


CSV_FIELDS: Final = (
    "event_timestamp",
    "level",
    "name",
    "kind",
    "message",
    "alert",
    "event_id",
    "event_type",
    "node_id",
    "workflow_id",
    "experiment_id",
    "source",
    "event_data",
)
"""The header of `-o csv` without `--fields`."""

_DERIVED: Final[Mapping[str, Callable[["Event"], Any]]] = {
    "level": lambda event: event.log_level.name.lower(),
    "kind": lambda event: event.kind,
    "name": lambda event: event.name,
    "message": lambda event: event.message,
}
"""Fields that say what an event is about; an event's own field of that name goes first."""

_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


class ReaderGone(Exception):
    """Nobody reads stdout any more: `head` has what it wanted. No failure, but nothing is left to do."""


class NotWritten(MadsciEventsError):
    """stdout did not take the results: the disk is full, or the device is gone."""


@contextmanager
def _reader_listening() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        raise NotWritten(f"the results could not be written: {error.strerror}; what is there is not all") from error


@dataclass
class Output:
    """Where results go and how they look. Raises ReaderGone and NotWritten."""

    stream: BinaryIO
    format: Format
    width: int | None = None
    """Cells of the terminal; None where stdout is none."""
    color: bool = False
    zone: tzinfo | None = None
    """Times for people are shown in it; None: this machine's."""

    @property
    def shows_names(self) -> bool:
        """Whether events are written for people, for whom ids have names."""
        return self.format in (Format.TABLE, Format.TEXT)

    def events(self, fields: Sequence[str] = (), names: Names | None = None) -> "EventWriter":
        """Writes events as they come. A context manager: what the format needs at the end is written when it closes."""
        match self.format:
            case Format.TABLE if self.width is not None and fields:
                return _FieldTable(self, self.width, tuple(fields))
            case Format.TABLE if self.width is not None:
                return _Table(self, self.width, dict(names or {}))
            case Format.JSON:
                return _Array(self, _chosen(fields) if fields else _as_answered)
            case Format.JSONL:
                return _Lines(self, _chosen(fields) if fields else _as_answered)
            case Format.CSV:
                return _Lines(self, _csv_line(fields or CSV_FIELDS), csv_row(fields or CSV_FIELDS))
            case _ if fields:
                return _Lines(self, _between_tabs(fields))
            case Format.RAW:
                return _Lines(self, self._message)
            case _:
                return _Lines(self, lambda body: self._text(body, names or {}))

    def event(self, body: bytes, names: Names | None = None) -> None:
        """One event: on a terminal all of it, else as `events` writes it."""
        if self.format is not Format.TABLE or self.width is None:
            with self.events(names=names) as writer:
                writer.write([body])
            return
        for line in event_block(parse_event(body), self.zone, names):
            self.spans(line)
        self.flush()

    def document(self, document: Mapping[str, Any], spans: Iterable[Sequence[Span]]) -> None:
        """A result that is no event: `document` for programs, lines of spans for people."""
        if self.format in (Format.JSON, Format.JSONL):
            self.line(encode(document))
        elif self.format is Format.CSV:
            self.line(csv_row(document.keys()))
            self.line(csv_row(document.values()))
        else:
            for line in spans:
                self.spans(line)
        self.flush()

    def documents(
        self, documents: Sequence[Mapping[str, Any]], fields: Sequence[str], spans: Iterable[Sequence[Span]]
    ) -> None:
        """Results that are no events: all of each for programs, these fields in a CSV, lines of spans for people."""
        match self.format:
            case Format.JSON:
                self.line(encode(documents))
            case Format.JSONL:
                for document in documents:
                    self.line(encode(document))
            case Format.CSV:
                for row in (fields, *([document.get(field) for field in fields] for document in documents)):
                    self.line(csv_row(row))
            case _:
                for line in spans:
                    self.spans(line)
        self.flush()

    def text(self, text: str) -> None:
        """One line: an id, a count. The same in every format."""
        self.line(text if self.width is None else visible(text))
        self.flush()

    def spans(self, spans: Sequence[Span]) -> None:
        """One styled line."""
        self.line(painted(spans) if self.color else plain(spans))

    def line(self, text: str) -> None:
        """One line of text as it is, in UTF-8."""
        self.part(f"{text}\n")

    def part(self, text: str) -> None:
        """Text without a line end."""
        with _reader_listening():
            self.stream.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Hands what was written to the reader now."""
        with _reader_listening():
            self.stream.flush()

    def _message(self, body: bytes) -> str:
        message = parse_event(body).message
        return message if self.width is None else visible(message)

    def _text(self, body: bytes, names: Names) -> str:
        spans = event_line(parse_event(body), replace(UNBOUNDED, zone=self.zone), names)
        return painted(spans) if self.color else plain(spans)


class EventWriter:
    """Writes events in one format; `write` may be called again and again, and each call's events are out at its end."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None:
            self.write([])
            self._finish()
            self.output.flush()

    def write(self, bodies: Sequence[bytes]) -> None:
        """Writes these events, each the JSON the server answered."""
        if not self._begun:
            self._begun = True
            self._begin()
        if bodies:
            self._write(bodies)
        self.output.flush()

    def _begin(self) -> None:
        """Writes what comes before the first event: not before one was looked for, so that a failure leaves nothing."""

    def _write(self, bodies: Sequence[bytes]) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """Writes what comes after the last event."""


class _Lines(EventWriter):
    """A line an event."""

    def __init__(self, output: Output, line_of: Callable[[bytes], str], header: str | None = None) -> None:
        super().__init__(output)
        self.line_of = line_of
        self.header = header

    def _begin(self) -> None:
        if self.header is not None:
            self.output.line(self.header)

    def _write(self, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            self.output.line(self.line_of(body))


class _Array(EventWriter):
    """One JSON array, an event a line."""

    def __init__(self, output: Output, text_of: Callable[[bytes], str]) -> None:
        super().__init__(output)
        self.text_of = text_of
        self.mark = "["

    def _write(self, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            # The line ends with the next event's comma, so that the array is whole at every length.
            self.output.part(f"{self.mark}\n{self.text_of(body)}")
            self.mark = ","

    def _finish(self) -> None:
        self.output.line("[]" if self.mark == "[" else "\n]")


class _Table(EventWriter):
    """Lines fitted to the terminal; the date once, where it changes."""

    def __init__(self, output: Output, width: int, names: Names) -> None:
        super().__init__(output)
        self.names = names
        self.layout = layout_for(width, output.zone)
        self.width = width
        self.columns: Layout | None = None
        self.day: str | None = None

    def _write(self, bodies: Sequence[bytes]) -> None:
        events = [parse_event(body) for body in bodies]
        # Columns stay where the first events put them: a table that moves cannot be read.
        self.columns = self.columns or snug(self.layout, events, self.names)
        for event in events:
            self._rule_at_a_new_day(event)
            self.output.spans(event_line(event, self.columns, self.names))

    def _rule_at_a_new_day(self, event: "Event") -> None:
        day = f"── {date_text(event.event_timestamp, self.output.zone)} "
        if day != self.day:
            self.day = day
            self.output.spans([(cut(day.ljust(self.width, "─"), self.width), "date")])


class _FieldTable(EventWriter):
    """Chosen fields as columns under a heading, fitted to the terminal."""

    def __init__(self, output: Output, width: int, fields: tuple[str, ...]) -> None:
        super().__init__(output)
        self.width = width
        self.fields = fields
        self.columns: list[int] | None = None

    def _write(self, bodies: Sequence[bytes]) -> None:
        rows = [[visible(value_text(value)) for value in _values(body, self.fields)] for body in bodies]
        if self.columns is None:
            self.columns = column_widths([list(self.fields), *rows], self.width)
            self.output.spans([(self._row(self.fields), "heading")])
        for row in rows:
            self.output.line(self._row(row))

    def _row(self, texts: Sequence[str]) -> str:
        columns = zip(texts, self.columns or [], strict=True)
        return cut("  ".join(fitted(text, width) for text, width in columns).rstrip(), self.width)


def _as_answered(body: bytes) -> str:
    return safe_json(body.decode())


def _chosen(fields: Sequence[str]) -> Callable[[bytes], str]:
    return lambda body: encode(dict(zip(fields, _values(body, fields), strict=True)))


def _csv_line(fields: Sequence[str]) -> Callable[[bytes], str]:
    return lambda body: csv_row(_values(body, fields))


def _between_tabs(fields: Sequence[str]) -> Callable[[bytes], str]:
    return lambda body: "\t".join(visible(value_text(value)) for value in _values(body, fields))


def _values(body: bytes, fields: Sequence[str]) -> list[Any]:
    document = json.loads(body)
    event = parse_event(document)
    return [field_of(document, event, path) for path in fields]


def encode(value: object) -> str:
    """Compact JSON, with what a terminal would obey written as escapes."""
    return safe_json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def value_text(value: object) -> str:
    """A JSON value as a cell: text as it is, nothing for null, the rest as compact JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else encode(value)


def csv_row(values: Iterable[object]) -> str:
    """One row of CSV without its line end. A spreadsheet takes no cell for a formula: an apostrophe goes before it."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow([_cell(value) for value in values])
    return row.getvalue()


def _cell(value: object) -> str:
    text = visible(value_text(value))
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def field_of(document: Mapping[str, Any], event: "Event", path: str) -> Any:
    """The value at a dotted path (`event_data.volume`, `event_data.wells.0`), or what an event is about: `level`,
    `kind`, `name`, `message`, an id (`workflow_id`) wherever it stands. None where there is nothing.
    """
    found: Any = document
    for part in path.split("."):
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            return _DERIVED[path](event) if path in _DERIVED else event.ids.get(path)
    return found


def column_widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """How wide each column is so that all fit into `width` with two spaces between: wide ones give way first."""
    widths = [max(cells(row[column]) for row in rows) for column in range(len(rows[0]))]
    excess = sum(widths) + 2 * (len(widths) - 1) - width
    while excess > 0 and max(widths) > 1:
        widest = widths.index(max(widths))
        rest = sorted(widths)[-2] if len(widths) > 1 else 0
        taken = max(1, min(excess, widths[widest] - rest))
        widths[widest] -= min(taken, widths[widest] - 1)
        excess -= taken
    return widths
