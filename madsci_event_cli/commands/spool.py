"""`spool`: events that wait on this machine for their server."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from madsci_event_cli.addresses import shown_address
from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.registration import COMMANDS_PANEL, command_group, register
from madsci_event_cli.rendering import Span, clock_text, counted, date_text, fitted, visible
from madsci_event_cli.session import Session
from madsci_event_server.errors import InvalidInput

if TYPE_CHECKING:
    from madsci_event_cli.sending.waiting import Waiting

LIST_EXAMPLES: Final = """
    madsci-events spool list
    madsci-events spool list -o json | jq '.spools[] | select(.events > 0)'
"""
FLUSH_EXAMPLES: Final = """
    madsci-events spool flush
    madsci-events spool flush --server http://lab-server:8001
    madsci-events spool flush --set-aside  # once what was wrong with them, or with the server, is mended
"""
DROP_EXAMPLES: Final = """
    madsci-events spool drop  # shows what would go, then asks
    madsci-events spool drop --set-aside --yes
"""
_LABEL_CELLS: Final = 10


def register_in(app: typer.Typer) -> None:
    """Adds the commands."""
    spool = command_group(
        "Events that wait on this machine for their server.", "madsci-events spool list\nmadsci-events spool flush"
    )
    register(spool, list_, name="list", panel=COMMANDS_PANEL, examples=LIST_EXAMPLES)
    register(spool, flush, panel=COMMANDS_PANEL, examples=FLUSH_EXAMPLES)
    register(spool, drop, panel=COMMANDS_PANEL, examples=DROP_EXAMPLES)
    app.add_typer(spool, name="spool", rich_help_panel="Log")


def list_(session: Session) -> ExitCode:
    """List what waits, for which server, and what the server refused for good."""
    found = _spools(session)
    lines = [line for waiting in found for line in _lines(waiting)]
    session.output.document({"spools": [waiting.document() for waiting in found]}, lines)
    if not found:
        session.diagnostics.note("Nothing waits.")
    return ExitCode.OK


def flush(
    session: Session,
    *,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Send once more what the server refused for good.")
    ] = False,
) -> ExitCode:
    """Deliver what processes that have ended left behind. Living ones deliver their own.

    Of every server, or of the one that --server names. Exits with 3 when events still wait.
    """
    found = [waiting for waiting in _spools(session) if waiting.events or (set_aside and waiting.set_aside)]
    if not found:
        session.diagnostics.note("Nothing waits.")
    return max((_flush(session, waiting, set_aside=set_aside) for waiting in found), default=ExitCode.OK)


def drop(
    session: Session,
    *,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Those the server refused, instead of those that wait.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
) -> ExitCode:
    """Delete events that wait, undelivered. It shows how many, and asks, before it does.

    Of every server, or of the one that --server names. Those of living processes stay. Prints how many were deleted.
    """
    found = [waiting for waiting in _spools(session) if (waiting.set_aside if set_aside else waiting.events)]
    count = sum(waiting.set_aside if set_aside else waiting.events for waiting in found)
    if count and not yes and not _agreed(session, count):
        session.diagnostics.note("Nothing was deleted.")
        return ExitCode.REFUSED
    from madsci_event_cli.sending.waiting import drop_set_aside, drop_waiting

    drop_from = drop_set_aside if set_aside else drop_waiting
    dropped = sum(drop_from(waiting.path) for waiting in found)
    session.output.document({"dropped_count": dropped}, [[(f"{dropped}", "")]])
    return ExitCode.OK


def _spools(session: Session) -> "list[Waiting]":
    """Where anything is, of the server that `--server` names, or of all."""
    from madsci_event_cli.sending.waiting import spool_root, spools_in, waiting_for

    found = spools_in(spool_root(session.environment))
    if session.options.server is not None:
        from madsci_event_cli.connection import base_url  # 400 ms of httpx

        wanted = base_url(session.options.server).rstrip("/")
        found = ((server, directory) for server, directory in found if server == wanted)
    every = (waiting_for(server, directory) for server, directory in found)
    return [waiting for waiting in every if waiting.events or waiting.set_aside or waiting.living_processes]


def _flush(session: Session, waiting: "Waiting", *, set_aside: bool) -> ExitCode:
    from madsci_event_cli.sending.waiting import set_aside_events, spool_root
    from madsci_event_cli.spooling import (  # 400 ms of httpx: only where something waits
        deliver_dead,
        open_outbox,
    )

    outbox = open_outbox(waiting.server, spool_root(session.environment), session.diagnostics)
    if set_aside:
        file, lines = set_aside_events(waiting.path)
        for line in lines:
            outbox.emit_line(line)
        file.unlink(missing_ok=True)
    status, server = deliver_dead(outbox), shown_address(waiting.server)
    session.output.document(
        {
            "server": shown_address(waiting.server),
            "delivered": status.delivered,
            "refused": status.set_aside,
            "left": status.pending,
        },
        [[(f"{status.delivered:,} delivered to {visible(server)}", "")]],
    )
    if status.pending:
        return ExitCode.UNREACHABLE
    return ExitCode.REFUSED if status.set_aside else ExitCode.OK


def _agreed(session: Session, count: int) -> bool:
    what = f"{counted(count, 'event')} that no server has"
    if not session.interactive:
        raise InvalidInput("--yes", f"is needed to delete {what} where nobody can be asked; nothing was deleted")
    return session.diagnostics.asked(f"Delete {what} for good?", session.stdin)


def _lines(waiting: "Waiting") -> list[list[Span]]:
    lines: list[list[Span]] = [_line("server", (visible(shown_address(waiting.server)), "heading"))]
    since = f"  since {_moment_text(waiting.oldest)}" if waiting.oldest else ""
    lines.append(_line("waiting", (f"{waiting.events:,}", "level.warning" if waiting.events else ""), (since, "dim")))
    if waiting.living_processes:
        lines.append(_line("", (f"processes that deliver theirs themselves: {waiting.living_processes}", "dim")))
    if waiting.set_aside:
        lines.append(
            _line("refused", (f"{waiting.set_aside:,}", "level.error"), (f"  {waiting.set_aside_file}", "dim"))
        )
    return lines


def _moment_text(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return f"{date_text(moment, None)} {clock_text(moment, None, milliseconds=False)}"


def _line(label: str, *spans: Any) -> list[Span]:
    return [(fitted(label, _LABEL_CELLS), "label"), *spans]
