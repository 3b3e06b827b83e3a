"""`stats`: how many events of which kind, node and level, and when."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from madsci_event_cli.commands.status import span_text
from madsci_event_cli.completing import countable
from madsci_event_cli.filters import FILTER_OPTIONS, query_document, split_values
from madsci_event_cli.output import Format, Output
from madsci_event_cli.registration import register
from madsci_event_cli.rendering import (
    LEVEL_FACES,
    Names,
    Span,
    cells,
    clock_text,
    counted,
    cut_spans,
    date_text,
    fitted,
    names_by_id,
    parse_event,
    visible,
)
from madsci_event_cli.session import Session
from madsci_event_cli.time_expressions import parse_span
from madsci_event_server.errors import InvalidInput
from madsci_event_server.vocabulary import EventLogLevel

if TYPE_CHECKING:
    from madsci_event_cli.reader import EventReader

DEFAULT_FIELDS: Final = ("log_level", "kind", "name")
DEFAULT_VALUES: Final = 10
EXAMPLES: Final = """
    madsci-events stats
    madsci-events stats --level error --since today
    madsci-events stats --field node_id --field kind -n 20
    madsci-events stats --since 24h --interval 1h -o json | jq '.buckets[]'
    madsci-events stats --field source.host -o csv
"""
_SHOW: Final = "What to count"
_INTERVALS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
"""Seconds: those a clock face is divided by."""
_LAST: Final = datetime.max.replace(tzinfo=UTC)
"""Where the calendar ends."""
_DAY: Final = 86400
_MAX_COLUMNS: Final = 60
_WITHOUT_A_TERMINAL: Final = 80
_VALUE_CELLS: Final = 28
_BAR_CELLS: Final = 30
_SPARKS: Final = "▁▂▃▄▅▆▇█"
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_LABELS: Final = {"log_level": "level"}


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, stats, panel="Look", examples=EXAMPLES, more=FILTER_OPTIONS)


async def stats(
    session: Session,
    filters: Mapping[str, Any],
    *,
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD",
            help="log_level, kind, name, event_type, alert, any id such as node_id, or source.KEY; may be repeated.",
            autocompletion=countable,
            rich_help_panel=_SHOW,
        ),
    ] = None,
    number: Annotated[
        int, typer.Option("-n", "--number", metavar="N", min=1, max=1000, help="Values of each.", rich_help_panel=_SHOW)
    ] = DEFAULT_VALUES,
    interval: Annotated[
        str | None, typer.Option(metavar="TIME", help="Count over time in steps of 1m, 1h ...", rich_help_panel=_SHOW)
    ] = None,
    utc: Annotated[bool, typer.Option("--utc", help="Times in UTC.", rich_help_panel=_SHOW)] = False,
) -> None:
    """Count the events that match: by level, kind and name, and over time.

    The columns of the chart are as high as the busiest moment of that level.
    """
    document = query_document(filters, now=session.clock())
    output = session.output_in(UTC if utc else None)
    fields = list(dict.fromkeys(split_values(field or DEFAULT_FIELDS, "--field")))
    steps = None if interval is None else _whole_seconds(interval)
    async with session.reader() as reader:
        found = await reader.facets(fields, document, limit=number)
        found |= await _over_time(reader, document, steps, found["total"])
        names = names_by_id(await reader.names()) if output.shows_names else {}
    if output.format is Format.CSV:
        output.documents(_rows(found), ("field", "value", "count"), [])
    else:
        output.document(_ordered(found), _lines(found, output, names))


def _whole_seconds(text: str) -> int:
    seconds = parse_span(text, field="--interval").total_seconds()
    if seconds < 1 or seconds != int(seconds):
        raise InvalidInput("--interval", f"{text} is not a whole number of seconds", value=text)
    return int(seconds)


async def _over_time(
    reader: "EventReader", document: Mapping[str, Any], steps: int | None, total: int
) -> Mapping[str, Any]:
    """The histogram, in as many steps as a line has room for unless it was said how long one is."""
    if not total:
        return {"interval_seconds": steps or 60, "buckets": []}
    if steps is None:
        ends = [await _time_of_first(reader, document, order) for order in ("time", "-time")]
        steps = interval_for((ends[1] - ends[0]).total_seconds())
        # A time range with both ends is filled to its ends; the events need not be.
        if "since" in document and "until" in document:
            bounds = [datetime.fromisoformat(document[bound]) for bound in ("since", "until")]
            steps = interval_for((bounds[1] - bounds[0]).total_seconds())
    return await reader.histogram(steps, document)


async def _time_of_first(reader: "EventReader", document: Mapping[str, Any], order: str) -> datetime:
    page = await reader.find({**document, "order": order, "limit": 1})
    return parse_event(page.events[0]).event_timestamp


def interval_for(seconds: float) -> int:
    """The finest handy interval that shows so many seconds in one line."""
    wanted = seconds / (_MAX_COLUMNS - 1)
    return next((step for step in _INTERVALS if step >= wanted), -(-int(wanted) // _DAY) * _DAY)


def _ordered(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("total", "facets", "truncated", "interval_seconds", "buckets")}


def _rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"field": field, **count} for field, counts in found["facets"].items() for count in counts]


# --- For people ------------------------------------------------------------------------------------------------------


def _lines(found: Mapping[str, Any], output: Output, names: Names) -> list[Sequence[Span]]:
    width = output.width or _WITHOUT_A_TERMINAL
    lines: list[list[Span]] = [_heading(found, output.zone)]
    if found["buckets"]:
        lines += [[], *_chart(found["buckets"], width)]
    for field, counts in found["facets"].items():
        lines += [[], *_bars(field, counts, found, names)]
    return [cut_spans(line, width) for line in lines]


def _heading(found: Mapping[str, Any], zone: tzinfo | None) -> list[Span]:
    total = found["total"]
    said: list[Span] = [(counted(total, "event"), "heading")]
    buckets = found["buckets"]
    if not buckets:
        return said
    step = timedelta(seconds=found["interval_seconds"])
    first, last = (datetime.fromisoformat(buckets[place]["start"]) for place in (0, -1))
    end = last + min(step, _LAST - last)
    return [*said, (f"  {_range(first, end, zone)}, each column {_step_text(step)}", "dim")]


def _step_text(step: timedelta) -> str:
    return span_text(step).replace(" 0 s", "").replace(" 0 min", "").replace(".0 s", " s").replace(" 0 h", "")


def _range(start: datetime, end: datetime, zone: tzinfo | None) -> str:
    first, last = (
        f"{date_text(moment, zone)} {clock_text(moment, zone, milliseconds=False)}" for moment in (start, end)
    )
    if first.rpartition(" ")[0] == last.rpartition(" ")[0]:
        last = last.rpartition(" ")[2]
    return f"{first} – {last}"


def _chart(buckets: Sequence[Mapping[str, Any]], width: int) -> list[list[Span]]:
    """One line a level, the gravest on top."""
    rows = []
    for level in sorted(EventLogLevel, reverse=True):
        counts = [bucket["counts"].get(level.name, 0) for bucket in buckets]
        if any(counts):
            face = LEVEL_FACES[level]
            columns = _joined(counts, max(1, width - 14))
            label: Span = (f"{face.label} ", face.style)
            rows.append([label, (sparkline(columns), face.style), (f" {sum(counts):,}", "dim")])
    return rows


def _joined(counts: Sequence[int], most: int) -> list[int]:
    """The counts in at most so many columns, neighbours added up."""
    size = -(-len(counts) // most)
    return [sum(counts[start : start + size]) for start in range(0, len(counts), size)]


def sparkline(counts: Sequence[int]) -> str:
    """A column for each count, a blank for none; the largest is a full block."""
    largest = max(counts)
    return "".join(_SPARKS[(count * 8 - 1) // largest] if count else " " for count in counts)


def _bars(field: str, counts: Sequence[Mapping[str, Any]], found: Mapping[str, Any], names: Names) -> list[list[Span]]:
    title = [(_LABELS.get(field, field), "heading")]
    if not counts:
        return [[*title, ("  no event has one", "dim")]]
    largest, total = counts[0]["count"], found["total"]
    values = [_value(field, str(count["value"]), names) for count in counts]
    room = min(_VALUE_CELLS, max(cells(text) for text, _ in values))
    digits = len(f"{largest:,}")
    lines = [
        [
            ("  ", ""),
            (fitted(text, room), style),
            (f"  {bar(count['count'] / largest, _BAR_CELLS)} ", "kind"),
            (f"{count['count']:>{digits},}", ""),
            (f" {count['count'] / total:>6.1%}", "dim"),
        ]
        for (text, style), count in zip(values, counts, strict=True)
    ]
    more = [[("  and more; see them with -n", "dim")]] if field in found["truncated"] else []
    return [title, *lines, *more]


def _value(field: str, value: str, names: Names) -> Span:
    if field == "log_level":
        return value, LEVEL_FACES[EventLogLevel[value]].style
    name = names.get((field, value))
    return visible(name or value), "name" if name or field == "name" else ""


def bar(share: float, width: int) -> str:
    """A bar of this share of the width, to an eighth of a cell; never nothing."""
    whole, part = divmod(max(1, round(share * width * 8)), 8)
    return fitted("█" * whole + (_EIGHTHS[part] if part else ""), width)
