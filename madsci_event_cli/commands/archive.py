"""`archive`: hide events; nothing is deleted."""

from typing import Annotated, Final

import typer

from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.registration import register
from madsci_event_cli.session import Session
from madsci_event_cli.time_expressions import parse_moment
from madsci_event_server.errors import InvalidInput

EXAMPLES: Final = """
    madsci-events archive --before 90d
    madsci-events archive --before 2026-01-01
    madsci-events archive --id 01M84W00C21SPHKDZ53DPXVAZS --id 01M84VYEZ589K1WX7173XX7GYH
"""


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, archive, panel="Keep", examples=EXAMPLES)


async def archive(
    session: Session,
    *,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="TIME", help="All that happened before: 90d (ago), 2026-01-01, RFC 3339."),
    ] = None,
    id: Annotated[  # noqa: A002  # the option's name
        list[str] | None, typer.Option("--id", metavar="ID", help="The event of this id. May be given again.")
    ] = None,
) -> ExitCode:
    """Hide events from queries. They are kept, and `query --archived` shows them.

    Prints how many are archived now that were not before.
    """
    if (before is None) == (not id):
        raise InvalidInput("--before or --id", "must say which events; give one of the two")
    moment = None if before is None else parse_moment(before, now=session.clock(), field="--before")
    if moment is not None:
        session.diagnostics.detail(f"before: {moment.isoformat()}")
    async with session.reader() as reader:
        count = await reader.archive(ids=id, before=moment)
    session.output.document({"archived_count": count}, [[(f"{count}", "")]])
    return ExitCode.OK
