"""Saving a view to a file: every event of it, as JSON lines or CSV."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from madsci_event_cli.rendering import parse_event
from madsci_event_cli.tui.rows import Note
from madsci_event_cli.tui.source import Source
from madsci_event_server.errors import InvalidInput
from madsci_event_server.event import format_time
from madsci_event_server.query import EventQuery

CSV_COLUMNS: Final = ("event_timestamp", "log_level", "name", "kind", "message", "event_id")
_PAGE: Final = 1000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


async def save_view(source: Source, query: EventQuery, path: Path) -> int:
    """Writes every matching event, oldest first, to a new file; returns how many. By its ending: .jsonl or .csv.

    Raises InvalidInput for another ending, FileExistsError rather than overwrite; what the source raises.
    """
    encode = _encoder(path)
    count = 0
    # A file is written between two pages, a few hundred kilobytes at a time.
    with path.expanduser().open("x", encoding="utf-8", newline="") as file:  # noqa: ASYNC240
        if path.suffix == ".csv":
            file.write(_csv_row(CSV_COLUMNS))
        async for raw in _events(source, query):
            file.write(encode(raw))
            count += 1
    return count


def _encoder(path: Path) -> Callable[[bytes], str]:
    if path.suffix == ".csv":
        return _csv_event
    if path.suffix == ".jsonl":
        return lambda raw: f"{raw.decode()}\n"
    raise InvalidInput("save to", f"{path.name!r} ends in neither .jsonl nor .csv", value=str(path))


async def _events(source: Source, query: EventQuery) -> AsyncIterator[bytes]:
    after: str | None = None
    while True:
        page = await source.newer(query, after, _PAGE)
        for item in page.items:
            if not isinstance(item, Note):
                yield item
        if page.next is None:
            return
        after = page.next


def _csv_event(raw: bytes) -> str:
    event = parse_event(raw)
    return _csv_row(
        (
            format_time(event.event_timestamp),
            event.log_level.name,
            event.name or "",
            event.kind,
            event.message,
            event.event_id,
        )
    )


def _csv_row(cells: tuple[str, ...]) -> str:
    out = io.StringIO()
    # A cell that a spreadsheet would take for a formula is made text.
    csv.writer(out).writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return out.getvalue()
