"""`log`: send one event from a shell."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from madsci_event_cli.completing import ids_of, levels, types
from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.filters import id_option, key_and_value, level_named
from madsci_event_cli.output import Format
from madsci_event_cli.registration import register
from madsci_event_cli.sending.event_ids import new_event_id
from madsci_event_cli.session import Session
from madsci_event_server.errors import (
    InvalidInput,
    ServerError,
    ServerRefused,
    ServerUnreachable,
    UnexpectedAnswer,
    shown,
)
from madsci_event_server.vocabulary import SOURCE_ID_FIELDS

EXAMPLES: Final = """
    madsci-events log "plate 7 loaded"
    madsci-events log "no tip" --level error --data well=A3 --data tries=3
    madsci-events log "door open" --level warning --source name=hood_2 --alert
    madsci-events log "run done" --type experiment_complete --data yield=0.83
    madsci-events log "shaker stalled" --level error --spool  # the server may be away
    instrument | madsci-events log - --node-id 01JYKZDPANTNRYXF5TQKRJS0F2
"""
_REFUSED_FOR_GOOD: Final = frozenset({400, 413, 422})
_IDS: Final = "What it concerns"
ID_OPTIONS: Final[Mapping[str, Any]] = {
    field: Annotated[
        str | None, typer.Option(id_option(field), metavar="ID", rich_help_panel=_IDS, autocompletion=ids_of(field))
    ]
    for field in (*SOURCE_ID_FIELDS, "action_id")
}


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, log, panel="Log", examples=EXAMPLES, more=ID_OPTIONS)


def log(
    session: Session,
    ids: Mapping[str, str | None],
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="What happened. -: each line of stdin, a message or JSON.")
    ],
    *,
    level: Annotated[
        str,
        typer.Option(
            "--level", metavar="LEVEL", help="debug, info, warning, error or critical.", autocompletion=levels
        ),
    ] = "info",
    type: Annotated[  # noqa: A002  # the option's name
        str | None,
        typer.Option("--type", metavar="TYPE", help="workflow_start ...; otherwise log_LEVEL.", autocompletion=types),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="KEY=VALUE", help="More to keep with it; a VALUE that is JSON is kept as JSON."),
    ] = None,
    alert: Annotated[bool, typer.Option("--alert", help="Force an alert, whatever the level.")] = False,
    spool: Annotated[
        bool, typer.Option("--spool", help="Where the server is away, keep it on disk and deliver it later.")
    ] = False,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="KEY=VALUE", help="Who sends it: name=hood_2.", rich_help_panel=_IDS),
    ] = None,
) -> ExitCode:
    """Log one event, and print its id once the server has it. With - as MESSAGE, an event for every line of stdin.

    A line of JSON is an event, or the data of one; any other is a message. What the server does not take at the moment
    waits on disk, with - always and else with --spool, and that is no failure.
    """

    def event_of(content: Mapping[str, Any]) -> dict[str, Any]:
        event = event_document(new_event_id(), session.clock(), content, level, type, data or (), alert=alert)
        event["source"] = _source(ids, source or ())
        if ids.get("action_id") is not None:
            event["event_data"].setdefault("action_id", ids["action_id"])
        return event

    event = event_of({"message": message})
    session.say_server()
    if message == "-":
        from madsci_event_cli.sending.piped import PipedLines
        from madsci_event_cli.spooling import spool_lines  # 400 ms of httpx: a wrong option is told before

        lines = PipedLines(session.stdin)
        return spool_lines(lines, session.server, session.environment, event_of, session.diagnostics)
    return _log_one(session, event, spool=spool)


def _log_one(session: Session, event: dict[str, Any], *, spool: bool) -> ExitCode:
    from madsci_event_cli.sending.sender import send  # 400 ms of httpx: a wrong option is told before

    try:
        _write(session, event, send(session.server, event))
    except (ServerUnreachable, ServerRefused, UnexpectedAnswer) as error:
        if not spool or not _may_pass(error):
            raise
        session.diagnostics.warning(str(error))
        _spool_one(session, event)
        return ExitCode.OK
    if spool:
        from madsci_event_cli.spooling import deliver_waiting

        deliver_waiting(session.server, session.environment, session.diagnostics)
    return ExitCode.OK


def _may_pass(error: ServerError) -> bool:
    """Whether the server may take the event later: not where it says what is wrong with it."""
    return not isinstance(error, ServerRefused) or error.status not in _REFUSED_FOR_GOOD


def _spool_one(session: Session, event: dict[str, Any]) -> None:
    from madsci_event_cli.spooling import spool_one

    spool_one(session.server, session.environment, event, session.diagnostics)
    session.output.text(event["event_id"])


def _write(session: Session, event: Mapping[str, Any], stored: bytes) -> None:
    if session.output.format in (Format.JSON, Format.JSONL, Format.CSV):
        session.output.event(stored)
    else:
        session.output.text(event["event_id"])


def event_document(
    event_id: str,
    moment: datetime,
    content: Mapping[str, Any],
    level: str,
    event_type: str | None,
    data: Sequence[str],
    *,
    alert: bool,
) -> dict[str, Any]:
    """The event as it is sent. Raises InvalidInput that names the option."""
    log_level = level_named(level)
    return {
        "event_id": event_id,
        "event_type": event_type or f"log_{log_level.name.lower()}",
        "log_level": int(log_level),
        "alert": alert,
        "event_timestamp": moment.isoformat(),
        "event_data": {**content, **{key: _value(text) for key, text in _pairs(data, "--data")}},
    }


def _source(ids: Mapping[str, str | None], pairs: Sequence[str]) -> dict[str, str]:
    given = {field: id_ for field in SOURCE_ID_FIELDS if (id_ := ids.get(field)) is not None}
    return dict(_pairs(pairs, "--source")) | given


def _pairs(texts: Sequence[str], option: str) -> list[tuple[str, str]]:
    pairs = [key_and_value(text, option) for text in texts]
    keys = [key for key, _ in pairs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise InvalidInput(option, f"{shown(twice)} is given twice, and an event has each key once", value=twice)
    return pairs


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_json, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _finite(text: str) -> float:
    """1e400 is a word, too: it is beyond the numbers there are."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _no_json(name: str) -> None:
    """NaN and Infinity are words: JSON has no such numbers."""
    raise ValueError(name)
