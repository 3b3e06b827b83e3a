"""`serve`: run the event server here."""

from pathlib import Path
from typing import Annotated, Final

import typer

from madsci_event_cli.registration import register
from madsci_event_cli.session import Session

EXAMPLES: Final = """
    madsci-events serve  # on this machine only, events in .madsci/events/events.db
    madsci-events serve --host 0.0.0.0 --port 8001  # for the whole lab
    madsci-events serve --print-settings  # what would run, and where each value comes from
    madsci-events serve --db sqlite:////var/lib/lab/events.db
    madsci-events serve --db mongodb://localhost:27017/event_log --wait-for-db 60
"""


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, serve, panel="Run", examples=EXAMPLES)


def serve(
    session: Session,
    *,
    definition: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The event manager's definition. [the one in or below the lab]")
    ] = None,
    db: Annotated[
        str | None,
        typer.Option("--db", metavar="URL", help="Where events are kept: sqlite:///PATH, mongodb://HOST or memory:."),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="The address to listen on. [127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", help="The port; 0 picks a free one. [8001]")
    ] = None,
    wait_for_db: Annotated[
        float,
        typer.Option(
            "--wait-for-db", metavar="SECONDS", min=0, help="Wait so long for a database that is away; 0 gives up."
        ),
    ] = 0.0,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Its certificate, for https.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's key.")] = None,
    print_settings: Annotated[
        bool, typer.Option("--print-settings", help="Show what it would run with, and where that comes from.")
    ] = False,
) -> None:
    """Start the event server here, until Ctrl-C.

    It runs with the definition in or below the lab's directory, *.manager.yaml, if there is one. Options go before the
    environment, and that before the definition: EVENT_SERVER_URL (where to listen), EVENT_DB_URL, EVENT_ALERT_LEVEL,
    EVENT_EMAIL_ALERTS, EVENT_TIMEZONE, EVENT_MAX_EVENT_BYTES, EVENT_ALLOWED_ORIGINS, EVENT_BATCH_WORKERS.
    """
    # The server's modules take a second to load, and no other command needs them.
    from madsci_event_server.settings import Settings, chosen_definition

    flags = {"db_url": db, "host": host, "port": port, "tls_cert": tls_cert, "tls_key": tls_key}
    path = chosen_definition(definition)
    settings, warnings = Settings.read(session.environment, flags=flags, definition=path)
    for warning in warnings:
        session.diagnostics.warning(warning)
    if print_settings:
        from madsci_event_cli.setting_lines import setting_lines

        document = {"settings": settings.shown(), "origins": settings.origins}
        session.output.document(document, setting_lines(settings.shown(), settings.origins))
        return
    if path is not None:
        session.diagnostics.detail(f"definition: {path}")
    from madsci_event_server.serving import run

    run(settings, session.diagnostics.note, wait_for_store_seconds=wait_for_db)
