"""`tail`: the last events that match, and with `-f` those that come."""

import contextlib
from collections.abc import AsyncGenerator, Collection, Coroutine, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from madsci_event_cli.completing import kinds
from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.endings import Endings
from madsci_event_cli.filters import FILTER_OPTIONS, query_document, split_values
from madsci_event_cli.output import EventWriter, Format, Output, ReaderGone
from madsci_event_cli.registration import register
from madsci_event_cli.rendering import names_by_id
from madsci_event_cli.session import Session
from madsci_event_cli.time_expressions import parse_span
from madsci_event_server.errors import InvalidInput

if TYPE_CHECKING:
    from madsci_event_cli.following import Followed
    from madsci_event_cli.reader import EventReader

DEFAULT_COUNT: Final = 10
EXAMPLES: Final = """
    madsci-events tail -f
    madsci-events tail -f --level warning --node liquidhandler_1
    madsci-events tail -f -o jsonl | jq .event_data
    madsci-events tail -f --workflow-id 01J... --until-type workflow_complete --timeout 2h
    madsci-events tail -f --exit-on 'level>=error' --timeout 1h && echo an hour without an error
    madsci-events tail -f --after r.8f2c90d1.1042.0  # goes on where another one ended
"""
_SHOW: Final = "How many, and how"
_UNTIL: Final = "Until when"
_WAITING_EVENTS: Final = 1000
"""Read ahead of what is written: a terminal is slower than a stream."""


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, tail, panel="Look", examples=EXAMPLES, more=FILTER_OPTIONS)


async def tail(
    session: Session,
    filters: Mapping[str, Any],
    *,
    number: Annotated[
        int, typer.Option("-n", "--number", metavar="N", min=0, help="The last N.", rich_help_panel=_SHOW)
    ] = DEFAULT_COUNT,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Then those that come, for ever.", rich_help_panel=_SHOW)
    ] = False,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR", help="Follow from there on instead: nothing is left out.", rich_help_panel=_SHOW
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B.C", help="Only these, as for query.", rich_help_panel=_SHOW),
    ] = None,
    utc: Annotated[bool, typer.Option("--utc", help="Times in UTC.", rich_help_panel=_SHOW)] = False,
    until_type: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE",
            help="Follow until one of this type came: workflow_complete.",
            rich_help_panel=_UNTIL,
            autocompletion=kinds,
        ),
    ] = None,
    exit_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Follow until one came that is so, and exit with 1: 'level>=error', type=node_error, alert.",
            rich_help_panel=_UNTIL,
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Follow for so long: 30s, 2h. Exits with 5 if --until-type waits.",
            rich_help_panel=_UNTIL,
        ),
    ] = None,
) -> ExitCode:
    """Show the last 10 events that match, and with -f those that come.

    A lost connection is taken up again where it was. When following ends, the place to go on from is said on stderr.
    """
    document = query_document(filters, now=session.clock())
    endings = Endings.parse(until_type or (), exit_on or ())
    seconds = None if timeout is None else _seconds(timeout)
    follow = follow or bool(endings) or after is not None or seconds is not None
    output = session.output_in(UTC if utc else None)
    if follow and output.format is Format.JSON:
        raise InvalidInput("-o", "json is one array, which following never ends; use -o jsonl")
    paths = split_values(fields or (), "--fields")
    async with session.reader() as reader:
        if not follow:
            return await _show_last(session, reader, output, document, number, paths)
        tailing = _Tailing(session, reader, document, endings)
        return await tailing.run(output, paths, number, after, seconds)


def _seconds(text: str) -> float:
    """A length of time; a number alone is seconds, as `timeout` has it."""
    return float(text) if text.isdecimal() else parse_span(text, field="--timeout").total_seconds()


async def _show_last(
    session: Session,
    reader: "EventReader",
    output: Output,
    document: Mapping[str, Any],
    number: int,
    paths: Sequence[str],
) -> ExitCode:
    names = names_by_id(await reader.names()) if output.shows_names and not paths else {}
    with output.events(paths, names) as writer:
        bodies = await _last(reader, document, number)
        writer.write(bodies)
    if not bodies and number:
        session.diagnostics.note("No event matches.")
    return ExitCode.OK


async def _last(reader: "EventReader", document: Mapping[str, Any], number: int) -> list[bytes]:
    newest_first = [
        body async for page in reader.pages({**document, "order": "-time"}, limit=number) for body in page.events
    ]
    return newest_first[::-1]


class _Tailing:
    """One run of `tail -f`."""

    def __init__(self, session: Session, reader: "EventReader", document: Mapping[str, Any], endings: Endings) -> None:
        self._say = session.diagnostics
        self._reader = reader
        self._document = document
        self._endings = endings
        self._cursor = ""
        self._connected = False

    async def run(
        self, output: Output, paths: Sequence[str], number: int, after: str | None, seconds: float | None
    ) -> ExitCode:
        """Shows the last ones, then follows until an ending, the time is over, or Ctrl-C."""
        import asyncio  # 30 ms, which help does without

        code = ExitCode.INCOMPLETE if self._endings.awaited else ExitCode.OK
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    code = await _while_read(output.stream, self._follow(output, paths, number, after))
        except ReaderGone:
            self._cursor = ""  # who has what it wanted does not go on
            raise
        finally:
            if self._cursor:
                self._say.note(f"To go on from here: --after {self._cursor}")
        return code

    async def _follow(self, output: Output, paths: Sequence[str], number: int, after: str | None) -> ExitCode:
        async with aclosing(self._reader.follow(self._document, after)) as items:
            # Connected before the last ones are looked for, so that nothing falls between them and what comes.
            self._take(await anext(items))
            names = names_by_id(await self._reader.names()) if output.shows_names and not paths else {}
            shown = [] if after else await _last(self._reader, self._document, number)
            with output.events(paths, names) as writer:
                writer.write(shown)
                return await self._write_all(items, writer, set(shown))

    async def _write_all(
        self, items: AsyncGenerator["Followed"], writer: EventWriter, shown: Collection[bytes]
    ) -> ExitCode:
        async with aclosing(_gathered(items)) as batches:
            async for batch in batches:
                code = self._write(batch, writer, shown)
                if code is not None:
                    return code
        raise AssertionError("a stream is followed for ever")

    def _write(self, batch: Sequence["Followed"], writer: EventWriter, shown: Collection[bytes]) -> ExitCode | None:
        """Writes what is in the batch; the exit code where one of them is an ending."""
        bodies: list[bytes] = []
        code = None
        for item in batch:
            body = self._take(item)
            if body is None or body in shown:
                continue
            bodies.append(body)
            code = self._endings.met_by(body)
            if code is not None:
                break
        if bodies:
            writer.write(bodies)
        return code

    def _take(self, item: "Followed") -> bytes | None:
        """An event's body; anything else is said on stderr. Raises what kept the first connection from being made."""
        from madsci_event_cli.following import Connected, Disconnected, Gap, Heartbeat

        match item:
            case Disconnected():
                if not self._connected and not self._cursor:
                    raise item.error
                self._say.warning(f"{item.happened}; reconnecting in {item.retry_in:.1f} s")
                self._connected = False
            case Connected():
                if self._cursor:
                    self._say.note("connected again")
                self._connected, self._cursor = True, item.cursor
            case Gap():
                missing = "events" if item.missing is None else f"{item.missing} events"
                self._say.warning(f"{missing} may be missing here: {item.reason}")
            case Heartbeat():
                self._cursor = item.cursor
            case _:
                self._cursor = item.cursor
                return item.body
        return None


async def _while_read(stream: BinaryIO, work: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """What `work` returns. Raises ReaderGone once nobody reads the stream, also when there is nothing to write."""
    import asyncio

    from madsci_event_cli.broken_pipe import reader_gone

    working, gone = asyncio.create_task(work), asyncio.create_task(reader_gone(stream))
    try:
        await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ReaderGone
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gathered(items: AsyncGenerator["Followed"]) -> AsyncGenerator[list["Followed"]]:
    """The items as they come, all that have gathered meanwhile at once."""
    import asyncio

    waiting: asyncio.Queue[Followed] = asyncio.Queue(_WAITING_EVENTS)

    async def fill() -> None:
        async for item in items:
            await waiting.put(item)

    filling = asyncio.create_task(fill())
    try:
        while True:
            first = asyncio.create_task(waiting.get())
            await asyncio.wait([first, filling], return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                first.cancel()
                filling.result()  # raises what ended the stream
                return
            yield [first.result(), *(waiting.get_nowait() for _ in range(waiting.qsize()))]
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
