"""`query`: the events that match, the newest at the bottom."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.filters import FILTER_OPTIONS, query_document, split_values
from madsci_event_cli.output import EventWriter
from madsci_event_cli.registration import register
from madsci_event_cli.rendering import names_by_id
from madsci_event_cli.session import Session

if TYPE_CHECKING:
    from madsci_event_cli.reader import FoundPage

DEFAULT_COUNT: Final = 100
EXAMPLES: Final = """
    madsci-events query --level warning --since 2h
    madsci-events query --node liquidhandler_1 --type 'workflow_*'
    madsci-events query --search 'pickup -retry' --since yesterday --until 14:05
    madsci-events query --level error,critical -n 20 -o jsonl | jq .event_data
    madsci-events query --all --fields event_timestamp,name,message -o csv
"""
_SHOW: Final = "How many, and how"


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, query, panel="Look", examples=EXAMPLES, more=FILTER_OPTIONS)


async def query(
    session: Session,
    filters: Mapping[str, Any],
    *,
    number: Annotated[
        int, typer.Option("-n", "--number", metavar="N", min=1, help="The last N.", rich_help_panel=_SHOW)
    ] = DEFAULT_COUNT,
    everything: Annotated[bool, typer.Option("--all", help="All that match.", rich_help_panel=_SHOW)] = False,
    reverse: Annotated[bool, typer.Option("--reverse", help="The newest first.", rich_help_panel=_SHOW)] = False,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--fields",
            metavar="A,B.C",
            help="Only these: event_timestamp, level, name, kind, message, or any path such as event_data.volume.",
            rich_help_panel=_SHOW,
        ),
    ] = None,
    utc: Annotated[bool, typer.Option("--utc", help="Times in UTC.", rich_help_panel=_SHOW)] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 5 when more match than are shown.", rich_help_panel=_SHOW)
    ] = False,
) -> ExitCode:
    """Show the events that match: the last 100, the newest at the bottom.

    All filters must hold; of one given several times, any value. With ! before it, a value is what must not be.
    """
    document = query_document(filters, now=session.clock())
    session.diagnostics.detail(f"query: {document}")
    output = session.output_in(UTC if utc else None)
    paths = split_values(fields or (), "--fields")
    async with session.reader() as reader:
        names = names_by_id(await reader.names()) if output.shows_names and not paths else {}
        with output.events(paths, names) as writer:
            if everything:
                pages = reader.pages({**document, "order": "-time" if reverse else "time"})
                return _say_if_empty(session, await _write_all(pages, writer))
            pages = reader.pages({**document, "order": "-time"}, limit=number)
            count, truncated = await _write_last(pages, writer, reverse=reverse)
    return _say_if_cut(session, count, strict=strict) if truncated else _say_if_empty(session, count)


async def _write_all(pages: "AsyncIterator[FoundPage]", writer: EventWriter) -> int:
    count = 0
    async for page in pages:
        writer.write(page.events)
        count += len(page.events)
    return count


async def _write_last(pages: "AsyncIterator[FoundPage]", writer: EventWriter, *, reverse: bool) -> tuple[int, bool]:
    """Writes the newest events in the order asked for: how many, and whether older ones match, too."""
    newest_first: list[bytes] = []
    truncated = False
    async for page in pages:
        newest_first += page.events
        truncated = page.truncated
    writer.write(newest_first if reverse else newest_first[::-1])
    return len(newest_first), truncated


def _say_if_cut(session: Session, count: int, *, strict: bool) -> ExitCode:
    session.diagnostics.note(
        f"These are the newest {count}; more match. See more with -n {count * 10}, all with --all."
    )
    return ExitCode.INCOMPLETE if strict else ExitCode.OK


def _say_if_empty(session: Session, count: int) -> ExitCode:
    if not count:
        session.diagnostics.note("No event matches.")
    return ExitCode.OK
