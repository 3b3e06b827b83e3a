"""`alerts`: what is wrong, who has taken it on, and whether mail would come."""

import getpass
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from madsci_event_cli.alert_rendering import (
    Line,
    alert_block,
    alert_line,
    explanation_lines,
    mail_line,
    named,
    proof_lines,
    silence_line,
)
from madsci_event_cli.completing import alert_ids
from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.filters import FILTER_OPTIONS, query_document
from madsci_event_cli.registration import COMMANDS_PANEL, NONE_MORE, command_group, register
from madsci_event_cli.session import Session
from madsci_event_cli.time_expressions import parse_moment_ahead, parse_span
from madsci_event_server.errors import InvalidInput, ServerRefused

if TYPE_CHECKING:
    from madsci_event_cli.reader import EventReader

_TEST_SECONDS: Final = 600.0
"""A mail server may take its time with each recipient."""

_MATCHERS: Final[Mapping[str, Any]] = {
    name: option for name, option in FILTER_OPTIONS.items() if name not in ("since", "until", "archived")
}
_ALERT_FIELDS: Final = (
    "alert_id",
    "state",
    "log_level",
    "count",
    "source",
    "message",
    "kind",
    "rule",
    "opened_at",
    "updated_at",
    "first_event_id",
    "last_event_id",
    "silenced_by",
)
_MAIL_FIELDS: Final = ("mail_id", "state", "created_at", "recipients", "subject", "attempts", "next_at", "last_answer")
_PROOF: Final = {"taken": bool, "dry_run": bool, "verdicts": list, "transcript": list}
_ALERT: Final = {"alert_id": str, "state": str, "log_level": int, "source": str, "message": str, "updated_at": str}
_MAIL: Final = {"mail_id": str, "state": str, "created_at": str, "recipients": list, "subject": str}
_SILENCE: Final = {"silence_id": str, "active": bool, "expires_at": str, "matcher": dict, "reason": str}
"""What an answer must hold to be one of ours."""
_END: Final = "expires_at"
"""How the server calls the end of a silence, which is `--for` or `--until` to whoever types it."""
_SILENCE_FIELDS: Final = ("silence_id", "active", "expires_at", "matcher", "reason", "author")

_Id = Annotated[
    str, typer.Argument(metavar="ID", help="The alert, by its id or the beginning of it.", autocompletion=alert_ids)
]
_MailId = Annotated[str, typer.Argument(metavar="ID", help="The mail, by its id or the beginning of it.")]
_By = Annotated[str | None, typer.Option(metavar="WHO", help="Who does it. [you, by your login]")]
_Note = Annotated[str | None, typer.Option(metavar="TEXT", help="What to tell the others.")]
_Number = Annotated[int, typer.Option("-n", "--number", min=1, max=1000, metavar="N", help="How many.")]


class Stage(StrEnum):
    """What `--state` of an alert takes."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    ALL = "all"


class Fate(StrEnum):
    """What `--state` of a mail takes."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"
    CANCELLED = "cancelled"
    ALL = "all"


def register_in(app: typer.Typer) -> None:
    """Adds the family of commands."""
    alerts = command_group(_HELP, _EXAMPLES)
    outbox = command_group(_OUTBOX_HELP, _OUTBOX_EXAMPLES)
    for function, examples in _COMMANDS.items():
        more = _MATCHERS if function is silence else NONE_MORE
        register(alerts, function, panel=COMMANDS_PANEL, examples=examples, name=_name_of(function), more=more)
    for function, examples in _OUTBOX_COMMANDS.items():
        register(outbox, function, panel=COMMANDS_PANEL, examples=examples, name=_name_of(function))
    alerts.add_typer(outbox, name="outbox", rich_help_panel=COMMANDS_PANEL)
    app.add_typer(alerts, name="alerts", rich_help_panel="Look")


def _name_of(function: Callable[..., Any]) -> str:
    return "test" if function is prove_mail else function.__name__.partition("_")[0]


async def prove_mail(
    session: Session,
    *,
    to: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Only this recipient. May be given again.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the mail, and contact no mail server.")] = False,
    definition: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Mail from here, as this definition says, instead of asking the server."),
    ] = None,
) -> ExitCode:
    """Prove that alert mail comes: send one, and show the whole conversation.

    The running server sends it, to all recipients of its definition: its network and its password are what must work.
    Exits with 0 only if the mail server took a mail for everybody; otherwise says what is wrong and how to mend it.
    """
    if definition is not None:
        proof = await _prove_here(session, definition, to or [], dry_run=dry_run)
    else:
        async with session.reader() as reader:
            asked = {"to": to or [], "dry_run": dry_run}
            proof = await reader.document("POST", "alerts/test", _PROOF, json=asked, timeout=_TEST_SECONDS)
    session.output.document(proof, proof_lines(proof))
    if dry_run:
        session.diagnostics.note("a dry run: no mail was sent and no mail server contacted")
        return ExitCode.OK
    return ExitCode.OK if proof["taken"] else ExitCode.REFUSED


async def _prove_here(session: Session, definition: Path, to: Sequence[str], *, dry_run: bool) -> dict[str, Any]:
    # The server's modules take a second to load, and no other command needs them.
    from madsci_event_server.alerts.definition import prove_settings
    from madsci_event_server.settings import Settings

    settings, warnings = Settings.read(session.environment, definition=definition)
    for warning in warnings:
        session.diagnostics.warning(warning)
    return asdict(await prove_settings(settings, to, session.clock(), dry_run=dry_run))


async def list_alerts(
    session: Session,
    *,
    state: Annotated[
        list[Stage] | None,
        typer.Option(metavar="STATE", help="open, acknowledged, resolved or all. [open and acknowledged]"),
    ] = None,
    number: _Number = 100,
) -> ExitCode:
    """List alerts, the one that counted last first."""
    async with session.reader() as reader:
        answer = await reader.document("GET", "alerts", {"alerts": list}, params=_listing(state, number))
        names = await _names(session, reader)
    now, width = session.clock(), session.output.width
    _write(session, answer["alerts"], _ALERT_FIELDS, lambda alert: [alert_line(named(alert, names), now, width)])
    if not answer["alerts"]:
        session.diagnostics.note("no alerts")
    return ExitCode.OK


async def show_alert(session: Session, alert_id: _Id) -> ExitCode:
    """Show one alert: what happened, who is told, and the mails that did."""
    async with session.reader() as reader:
        alert = await reader.document("GET", f"alerts/{quote(alert_id, safe='')}", _ALERT)
        names = await _names(session, reader)
    session.output.document(alert, alert_block(named(alert, names), session.output.zone))
    return ExitCode.OK


async def ack_alert(session: Session, alert_id: _Id, *, note: _Note = None, by: _By = None) -> ExitCode:
    """Take an alert on: it is counted still, and mailed no more unless it becomes worse."""
    return await _act(session, alert_id, "ack", by, note)


async def resolve_alert(session: Session, alert_id: _Id, *, note: _Note = None, by: _By = None) -> ExitCode:
    """Say that an alert is over: who was mailed is told, and the next such event is news."""
    return await _act(session, alert_id, "resolve", by, note)


async def _act(session: Session, alert_id: str, verb: str, by: str | None, note: str | None) -> ExitCode:
    async with session.reader() as reader:
        said = {"by": by or _myself(session), "note": note}
        alert = await reader.document("POST", f"alerts/{quote(alert_id, safe='')}/{verb}", _ALERT, json=said)
        names = await _names(session, reader)
    session.output.document(alert, [alert_line(named(alert, names), session.clock(), session.output.width)])
    return ExitCode.OK


async def silence(
    session: Session,
    filters: Mapping[str, Any],
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why. Everybody sees it.")],
    duration: Annotated[str | None, typer.Option("--for", metavar="SPAN", help="How long: 30m, 2h, 1d.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Until when, instead: 18:00, tomorrow 9:00, RFC 3339.")
    ] = None,
    rule: Annotated[str | None, typer.Option(metavar="RULE", help="Alerts of this rule.")] = None,
    alert_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="This alert alone.")] = None,
    by: _By = None,
) -> ExitCode:
    """Keep alerts from being mailed for a while; they are counted still.

    What the options match in an alert's latest event is silenced. It ends by itself, and what is still open is mailed.
    """
    if (duration is None) == (until is None):
        raise InvalidInput("--for", "or --until must say when it ends; give one of them")
    now = session.clock()
    ends = _after(duration, now) if duration is not None else _until(until or "", now)
    matcher = query_document(filters, now=now)
    async with session.reader() as reader:
        if alert_id is not None:
            alert_id = str((await reader.document("GET", f"alerts/{quote(alert_id, safe='')}", _ALERT))["alert_id"])
        named = {"rule": rule, "alert_id": alert_id}
        asked = {
            "matcher": matcher | {name: value for name, value in named.items() if value is not None},
            _END: ends.isoformat(),
            "reason": reason,
            "author": by or _myself(session),
        }
        try:
            answer = await reader.document("POST", "alerts/silences", _SILENCE, json=asked)
        except ServerRefused as refusal:
            field, _, problem = refusal.reason.partition(": ")
            if field != _END:
                raise
            option = "--until" if duration is None else "--for"
            raise ServerRefused(refusal.status, f"{option}: {problem}") from None
    session.output.document(answer, [silence_line(answer, session.output.zone)])
    return ExitCode.OK


async def silences(
    session: Session,
    *,
    all: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,  # noqa: A002
) -> ExitCode:
    """List the silences that hold now."""
    async with session.reader() as reader:
        answer = await reader.document("GET", "alerts/silences", {"silences": list}, params={"all": str(all).lower()})
    zone = session.output.zone
    _write(session, answer["silences"], _SILENCE_FIELDS, lambda silence: [silence_line(silence, zone)])
    if not answer["silences"]:
        session.diagnostics.note("no silences")
    return ExitCode.OK


async def unsilence(
    session: Session,
    silence_id: Annotated[str, typer.Argument(metavar="ID", help="The silence, by its id or the beginning of it.")],
) -> ExitCode:
    """End a silence early: what is still open is mailed."""
    async with session.reader() as reader:
        answer = await reader.document("DELETE", f"alerts/silences/{quote(silence_id, safe='')}", _SILENCE)
    session.output.document(answer, [silence_line(answer, session.output.zone)])
    return ExitCode.OK


async def explain(
    session: Session,
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event.")],
) -> ExitCode:
    """Say which rule matched an event, and why a mail was sent about it or not."""
    async with session.reader() as reader:
        found = await reader.document("GET", f"alerts/explain/{quote(event_id, safe='')}", {"explanation": list})
    session.output.document(found, explanation_lines(found))
    return ExitCode.OK


async def list_mails(
    session: Session,
    *,
    state: Annotated[
        list[Fate] | None,
        typer.Option(metavar="STATE", help="pending, sent, dead, cancelled or all. [pending and dead]"),
    ] = None,
    number: _Number = 100,
) -> ExitCode:
    """List mails that wait or could not be delivered, the latest first."""
    async with session.reader() as reader:
        answer = await reader.document("GET", "alerts/outbox", {"mails": list}, params=_listing(state, number))
    zone, width = session.output.zone, session.output.width
    _write(session, answer["mails"], _MAIL_FIELDS, lambda mail: [mail_line(mail, zone, width)])
    if not answer["mails"]:
        session.diagnostics.note("no such mails")
    return ExitCode.OK


async def show_mail(session: Session, mail_id: _MailId) -> ExitCode:
    """Show one mail: what became of it, and what it says."""
    async with session.reader() as reader:
        mail = await reader.document("GET", f"alerts/outbox/{quote(mail_id, safe='')}", _MAIL | {"content": str})
    text: list[Line] = [[(line, "")] for line in str(mail["content"]).splitlines()]
    session.output.document(mail, [mail_line(mail, session.output.zone, None), [("", "")], *text])
    return ExitCode.OK


async def cancel_mail(session: Session, mail_id: _MailId) -> ExitCode:
    """Take a mail out of the outbox that has not been sent yet."""
    return await _handle(session, mail_id, "cancel")


async def retry_mail(session: Session, mail_id: _MailId) -> ExitCode:
    """Try a mail now that waits, could not be delivered or was cancelled."""
    return await _handle(session, mail_id, "retry")


async def _handle(session: Session, mail_id: str, verb: str) -> ExitCode:
    async with session.reader() as reader:
        mail = await reader.document("POST", f"alerts/outbox/{quote(mail_id, safe='')}/{verb}", _MAIL)
    session.output.document(mail, [mail_line(mail, session.output.zone, session.output.width)])
    return ExitCode.OK


async def _names(session: Session, reader: "EventReader") -> Mapping[str, str]:
    """What ids are called, where people read."""
    latest_first = await reader.names() if session.output.shows_names else []
    return {pair["id"]: pair["name"] for pair in reversed(latest_first)}


def _listing(states: Sequence[StrEnum] | None, number: int) -> list[tuple[str, str]]:
    return [("limit", str(number)), *(("state", state.value) for state in states or ())]


def _write(
    session: Session,
    items: Sequence[Mapping[str, Any]],
    fields: Sequence[str],
    lines: Callable[[Mapping[str, Any]], list[Line]],
) -> None:
    session.output.documents(items, fields, (line for item in items for line in lines(item)))


def _until(text: str, now: datetime) -> datetime:
    return parse_moment_ahead(text, now=now, field="--until")


def _after(text: str, now: datetime) -> datetime:
    try:
        return now + parse_span(text, field="--for")
    except OverflowError:
        raise InvalidInput("--for", "is beyond the calendar's end; give at most 30d", value=text) from None


def _myself(session: Session) -> str:
    for variable in ("LOGNAME", "USER", "USERNAME"):
        if name := session.environment.get(variable):
            return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise InvalidInput("--by", "must say who does it: this machine does not know your name") from None


_HELP: Final = """
    What is wrong in the lab, who has taken it on, and whether mail would come.

    Events that say the same thing are one alert. It is open until somebody acknowledges or resolves it.
"""
_EXAMPLES: Final = """
    madsci-events alerts test  # before the night run: does mail come?
    madsci-events alerts list
    madsci-events alerts show 7f3k
    madsci-events alerts ack 7f3k --note "on my way"
    madsci-events alerts silence --node robotarm_1 --for 2h --reason calibration
    madsci-events alerts explain 01M84WD6G2JVT8G8AN9HF96629  # why was there no mail?
"""
_OUTBOX_HELP: Final = "Alert mails on their way: those that wait, and those that could not be delivered."
_OUTBOX_EXAMPLES: Final = """
    madsci-events alerts outbox list
    madsci-events alerts outbox retry c0e6
"""
_COMMANDS: Final[Mapping[Callable[..., Any], str]] = {
    list_alerts: """
        madsci-events alerts list
        madsci-events alerts list --state all -n 20
        madsci-events alerts list -o jsonl | jq -r .message
    """,
    show_alert: """
        madsci-events alerts show 7f3k  # the beginning of an id will do
    """,
    ack_alert: """
        madsci-events alerts ack 7f3k
        madsci-events alerts ack 7f3k --note "on my way" --by ada
    """,
    resolve_alert: """
        madsci-events alerts resolve 7f3k --note "changed the tip rack"
    """,
    silence: """
        madsci-events alerts silence --node robotarm_1 --for 2h --reason calibration
        madsci-events alerts silence --type action_failed --level error --for 30m --reason "known, fixed tomorrow"
        madsci-events alerts silence --id 7f3k --for 1d --reason "part is ordered"
    """,
    silences: """
        madsci-events alerts silences
    """,
    unsilence: """
        madsci-events alerts unsilence 4b1c
    """,
    prove_mail: """
        madsci-events alerts test
        madsci-events alerts test --to ada@example.org
        madsci-events alerts test --definition managers/events.manager.yaml  # before the server is started
        madsci-events alerts test --dry-run
    """,
    explain: """
        madsci-events alerts explain 01M84WD6G2JVT8G8AN9HF96629
    """,
}
_OUTBOX_COMMANDS: Final[Mapping[Callable[..., Any], str]] = {
    list_mails: """
        madsci-events alerts outbox list
        madsci-events alerts outbox list --state all -n 20
    """,
    show_mail: """
        madsci-events alerts outbox show c0e6
    """,
    cancel_mail: """
        madsci-events alerts outbox cancel c0e6
    """,
    retry_mail: """
        madsci-events alerts outbox retry c0e6
    """,
}
