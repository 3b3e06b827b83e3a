"""`tui`: the dashboard."""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from madsci_event_cli.addresses import shown_address
from madsci_event_cli.filters import FILTER_OPTIONS, query_document
from madsci_event_cli.registration import register
from madsci_event_cli.session import Color, Session
from madsci_event_server.errors import InvalidInput

if TYPE_CHECKING:
    from madsci_event_cli.tui.source import Source

EXAMPLES: Final = """
    madsci-events tui
    madsci-events tui --level warning --node liquidhandler_1
    madsci-events tui events.jsonl  # a file of events, one JSON object a line; no server needed
    journalctl -o cat -u my-node | madsci-events tui -
    madsci-events tui --low-bandwidth  # over a slow line
"""
_SCREEN: Final = "The screen"
_SLOW_FRAMES_PER_SECOND: Final = "4"


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, tui, panel="Look", examples=EXAMPLES, more=FILTER_OPTIONS)


def tui(
    session: Session,
    filters: Mapping[str, Any],
    file: Annotated[str | None, typer.Argument(metavar="[FILE|-]", help="A file of events, or - for a pipe.")] = None,
    *,
    theme: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="lab-dark, lab-light, ansi-dark, ansi-light (the terminal's own colours), or another of Textual's.",
            rich_help_panel=_SCREEN,
        ),
    ] = None,
    low_bandwidth: Annotated[
        bool,
        typer.Option("--low-bandwidth", help="Draw less often and in fewer colours.", rich_help_panel=_SCREEN),
    ] = False,
    mouse: Annotated[
        bool,
        typer.Option("--mouse/--no-mouse", help="Without it, the terminal selects text.", rich_help_panel=_SCREEN),
    ] = True,
    utc: Annotated[
        bool, typer.Option("--utc", help="Times in UTC, not in the local zone.", rich_help_panel=_SCREEN)
    ] = False,
) -> int:
    """Watch events as they come, filter them, and find out what happened.

    Press ? there for the keys. Filters given here can be changed there.
    """
    _prepare_environment(session, low_bandwidth=low_bandwidth)
    # After the environment, which Textual reads when it is imported.
    from platformdirs import user_cache_path

    from madsci_event_cli.tui.app import DashboardApp
    from madsci_event_cli.tui.settings import SLOW_TICK_SECONDS, TICK_SECONDS, DashboardSettings
    from madsci_event_server.query import EventQuery

    _require_terminal(session, file)
    source = _source(session, file)
    document = query_document(filters, now=datetime.now(UTC), zone=UTC if utc else None)
    if source.local:
        # What is archived is in the file all the same.
        document["include_archived"] = True
    settings = DashboardSettings(
        copy_path=user_cache_path("madsci-events") / "copied.txt",
        zone=UTC if utc else None,
        tick_seconds=SLOW_TICK_SECONDS if low_bandwidth else TICK_SECONDS,
        low_bandwidth=low_bandwidth,
        theme=theme or "",
        source_options=() if source.local else ("--server", shown_address(session.server)),
        operator=_operator(),
        hint=_hint(session, low_bandwidth=low_bandwidth),
    )
    app = DashboardApp(source, EventQuery.parse(document), settings)
    app.run(mouse=mouse)
    return app.return_code or 0


def _prepare_environment(session: Session, *, low_bandwidth: bool) -> None:
    """Textual takes these from the environment, and from nowhere else."""
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    if low_bandwidth:
        os.environ.setdefault("TEXTUAL_FPS", _SLOW_FRAMES_PER_SECOND)
    if session.options.color is Color.NEVER:
        os.environ["NO_COLOR"] = "1"


def _require_terminal(session: Session, file: str | None) -> None:
    if not session.stderr.isatty():
        raise InvalidInput("tui", "needs a terminal; `madsci-events query` prints, and `tail -f` follows")
    if file == "-" and session.stdin.isatty():
        raise InvalidInput("-", "reads events from a pipe, and nothing is piped in; give a file, or leave it out")


def _source(session: Session, file: str | None) -> "Source":
    from madsci_event_cli.tui.local_source import FileLines, LocalSource, PipeLines

    if file is None:
        from madsci_event_cli.tui.server_source import ServerSource

        return ServerSource(session.reader())
    if file == "-":
        pipe = _pipe_beside_keyboard()
        return LocalSource("standard input", lambda: PipeLines(pipe))
    path = Path(file)
    if not path.exists():
        raise InvalidInput("FILE", f"{file!r} does not exist", value=file)
    if not path.is_file():
        pipe = _opened(path)
        return LocalSource(path.name, lambda: PipeLines(pipe))
    _opened(path).close()
    return LocalSource(path.name, lambda: FileLines(path))


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidInput("FILE", f"cannot be read: {error.strerror}: {str(path)!r}", value=str(path)) from None


def _pipe_beside_keyboard() -> BinaryIO:
    """What is piped in; standard input is the terminal's again, for the keys."""
    if sys.platform == "win32":
        raise InvalidInput("-", "is not offered on Windows; write the events to a file, and give that")
    pipe = os.fdopen(os.dup(0), "rb")
    keyboard = os.open("/dev/tty", os.O_RDONLY)
    os.dup2(keyboard, 0)
    os.close(keyboard)
    return pipe


def _operator() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user need not have a name
        return "operator"


def _hint(session: Session, *, low_bandwidth: bool) -> str:
    if session.environment.get("SSH_CONNECTION") and not low_bandwidth:
        return "over ssh: if the line is slow, --low-bandwidth sends a tenth"
    return ""
