"""`store copy`: move a lab's events to another kind of store, or take over those MADSci kept."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.registration import COMMANDS_PANEL, command_group, register
from madsci_event_cli.session import Session
from madsci_event_server.errors import InvalidInput, shown

if TYPE_CHECKING:
    from rich.progress import Progress

    from madsci_event_server.copying import Copied

EXAMPLES: Final = """
    madsci-events store copy sqlite:///.madsci/events/events.db mongodb://localhost:27017/event_log
    madsci-events store copy mongodb://localhost:27017/event_log sqlite:///backup.db
    madsci-events store copy mongodb://localhost:27017/madsci_events sqlite:///.madsci/events/events.db \
--timezone America/Chicago  # MADSci's own database
"""


def register_in(app: typer.Typer) -> None:
    """Adds the commands."""
    store = command_group("Copy events between stores, or from MADSci's.", EXAMPLES)
    register(store, copy, panel=COMMANDS_PANEL, examples=EXAMPLES)
    app.add_typer(store, name="store", rich_help_panel="Keep")


async def copy(
    session: Session,
    *,
    source: Annotated[str, typer.Argument(metavar="FROM", help="sqlite:///PATH or mongodb://HOST/NAME.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Likewise; made where there is none.")],
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone", metavar="ZONE", help="The zone of MADSci's timestamps, which have none. [this machine's]"
        ),
    ] = None,
) -> ExitCode:
    """Copy every event, with its id and its place in received order, and the state of alerts.

    Stop the servers of both first. Started again it goes on; what is there already is left as it is. FROM may be the
    database of a MADSci Event Manager: it is only read.
    """
    from madsci_event_server.copying import copy_store
    from madsci_event_server.settings import lab_directory

    zone = _zone(timezone)
    with _Bar(session) as bar:
        copied = await copy_store(source, target, lab_directory=lab_directory(Path.cwd()), zone=zone, progress=bar.show)
    return _report(session, source, target, copied)


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidInput(
            "--timezone", f"{shown(name)} is not a time zone; use an IANA name such as America/Chicago or UTC"
        ) from None


def _report(session: Session, source: str, target: str, copied: "Copied") -> ExitCode:
    from madsci_event_server.settings import without_credentials

    for event_id, problem in copied.problems:
        session.diagnostics.warning(f"{event_id} is no event and was kept whole under type unknown: {problem}")
    if copied.unknown > len(copied.problems):
        session.diagnostics.warning(f"and {copied.unknown - len(copied.problems)} more of them; query --type unknown")
    if copied.conflicts:
        session.diagnostics.warning(f"{copied.conflicts} events were left out: other events have their ids there")
    document = {
        "from": without_credentials(source),
        "to": without_credentials(target),
        "events": copied.events,
        "copied": copied.copied,
        "already_there": copied.already,
        "kept_as_unknown": copied.unknown,
        "conflicts": copied.conflicts,
        "alerts": copied.alerts,
    }
    text = f"{copied.copied:,} of {copied.events:,} events copied, {copied.already:,} were there already"
    session.output.document(document, [[(text, "")]])
    return ExitCode.REFUSED if copied.conflicts else ExitCode.OK


class _Bar:
    """How far it is: a bar on a terminal, and when it is cut off a line that says what to do. Nothing with `-q`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._progress: Progress | None = None
        self._done = self._total = 0

    def __enter__(self) -> Self:
        if self._session.stderr.isatty() and not self._session.options.quiet:
            self._progress = _progress(self._session)
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if self._progress is not None:
            self._progress.stop()
        if kind is not None and self._done:
            self._session.diagnostics.note(
                f"{self._done:,} of {self._total:,} events are there; the same command goes on with the rest"
            )

    def show(self, done: int, total: int) -> None:
        """So many of so many."""
        self._done, self._total = done, total
        if self._progress is not None:
            (task,) = self._progress.tasks
            pace = f"{task.speed:,.0f}/s" if task.speed else ""
            self._progress.update(task.id, completed=done, total=total, done=f"{done:,} of {total:,}", pace=pace)


def _progress(session: Session) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    color = session.diagnostics.color
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(None, complete_style="cyan" if color else "none", finished_style="cyan" if color else "none"),
        TaskProgressColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[done]}"),
        TextColumn("{task.fields[pace]}", style="dim"),
        TimeRemainingColumn(compact=True),
        TextColumn("left", style="dim"),
        console=Console(file=session.stderr, no_color=not color, highlight=False),
        expand=True,
        transient=True,
    )
    progress.add_task("copying", total=None, done="", pace="")
    return progress
