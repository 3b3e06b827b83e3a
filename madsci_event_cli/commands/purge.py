"""`purge`: delete archived events for good."""

from typing import Annotated, Final

import typer

from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.registration import register
from madsci_event_cli.rendering import counted
from madsci_event_cli.session import Session
from madsci_event_server.errors import InvalidInput

EXAMPLES: Final = """
    madsci-events purge --older-than-days 365  # shows what would go, then asks
    madsci-events purge --older-than-days 365 --dry-run
    madsci-events purge --older-than-days 365 --yes  # in a script
"""


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, purge, panel="Keep", examples=EXAMPLES)


async def purge(
    session: Session,
    *,
    older_than_days: Annotated[
        int,
        typer.Option(
            "--older-than-days",
            metavar="N",
            min=0,
            help="Those archived at least N days ago; 0: all that are archived.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")] = False,
) -> ExitCode:
    """Delete archived events for good. It shows how many, and asks, before it does.

    Prints how many were deleted.
    """
    async with session.reader() as reader:
        if dry_run or not yes:
            count = await reader.purge(older_than_days, dry_run=True)
            if dry_run or not count:
                return _write(session, count)
            if not _agreed(session, count, older_than_days):
                session.diagnostics.note("Nothing was deleted.")
                return ExitCode.REFUSED
        return _write(session, await reader.purge(older_than_days))


def _agreed(session: Session, count: int, days: int) -> bool:
    what = f"{counted(count, 'event')} archived at least {counted(days, 'day')} ago"
    if not session.interactive:
        raise InvalidInput("--yes", f"is needed to delete {what} where nobody can be asked; nothing was deleted")
    return session.diagnostics.asked(f"Delete {what} for good?", session.stdin)


def _write(session: Session, count: int) -> ExitCode:
    session.output.document({"deleted_count": count}, [[(f"{count}", "")]])
    return ExitCode.OK
