"""`status`: is the server up, and how do things stand."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import typer

from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.registration import register
from madsci_event_cli.rendering import (
    Names,
    Span,
    counted,
    event_line,
    fitted,
    layout_for,
    names_by_id,
    parse_event,
    snug,
    visible,
)
from madsci_event_cli.session import Session

EXAMPLES: Final = """
    madsci-events status
    madsci-events status --server http://lab-server:8001
    until madsci-events status -q > /dev/null; do sleep 1; done  # wait for it
"""
_LABEL_CELLS: Final = 10
_WITHOUT_A_TERMINAL: Final = 120
_LEAST_CELLS: Final = 20


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, status, panel="Look", examples=EXAMPLES)


async def status(session: Session) -> ExitCode:
    """Say whether the server is up, what it keeps, and how far behind it is.

    Exits with 0 when events can be stored, 1 when not, 3 when there is no server.
    """
    async with session.reader() as reader:
        health = await reader.status()
        healthy = health.get("healthy") is True
        newest = (await reader.find({"limit": 1})).events if healthy else []
        names = names_by_id(await reader.names()) if newest and session.output.shows_names else {}
    document = {"server": reader.address, **health}
    session.output.document(document, _lines(document, newest, names, session))
    return ExitCode.OK if healthy else ExitCode.REFUSED


def _lines(health: Mapping[str, Any], newest: Sequence[bytes], names: Names, session: Session) -> list[list[Span]]:
    healthy = health.get("healthy") is True
    state: Span = ("UP", "level.info") if healthy else ("NOT WELL", "level.error")
    uptime = span_text(timedelta(seconds=float(health.get("uptime_seconds") or 0)))
    lines = [
        _line("server", state, (f"  {health['server']}  version {health.get('version')}, up for {uptime}", "")),
        *(_line("problem", (visible(str(problem)), "level.error")) for problem in health.get("problems") or []),
    ]
    store = health.get("store")
    if isinstance(store, dict):
        lines += _store_lines(store)
    if health.get("lag_seconds") is not None:
        waiting = f"  {counted(health.get('waiting_events') or 0, 'event')} waiting to be stored"
        lines.append(_line("lag", (f"{health['lag_seconds']:.3f} s", ""), (waiting, "dim")))
    if health.get("conflicts"):
        lines.append(
            _line(
                "conflicts", (f"{counted(health['conflicts'], 'event')} came with the id of another", "level.warning")
            )
        )
    alerts = health.get("alerts")
    if isinstance(alerts, dict):
        lines += _alert_lines(alerts)
    return [*lines, *(_newest_line(body, names, session) for body in newest)]


def _store_lines(store: Mapping[str, Any]) -> list[list[Span]]:
    size = "" if store.get("size_bytes") is None else f"  {size_text(store['size_bytes'])}"
    archived = f"  and {store['archived']:,} archived" if store.get("archived") else ""
    return [
        _line("store", (f"{store.get('kind')}", ""), (f"  {visible(str(store.get('location')))}{size}", "dim")),
        _line("events", (f"{store.get('events', 0):,}", ""), (archived, "dim")),
    ]


def _alert_lines(alerts: Mapping[str, Any]) -> list[list[Span]]:
    """What is wrong in the lab, and whether people are told of it."""
    silences = f", {alerts['silences']} silenced" if alerts.get("silences") else ""
    counts = f"{alerts.get('open', 0)} open, {alerts.get('acknowledged', 0)} acknowledged{silences}"
    lines = [_line("alerts", (counts, "level.error" if alerts.get("open") else ""))]
    if not alerts.get("configured"):
        lines.append(_line("mail", ("nobody is mailed: email_alerts names no one", "dim")))
    if alerts.get("last_failure"):
        waiting = f"{alerts.get('mails_waiting', 0)} waiting, {alerts.get('dead_letters', 0)} undeliverable: "
        lines.append(_line("mail", (waiting, "level.error"), (visible(str(alerts["last_failure"])), "")))
    elif alerts.get("dead_letters"):
        dead = f"{alerts['dead_letters']} could not be delivered: madsci-events alerts outbox list"
        lines.append(_line("mail", (dead, "level.warning")))
    return lines


def _newest_line(body: bytes, names: Names, session: Session) -> list[Span]:
    event = parse_event(body)
    ago = f"{span_text(session.clock() - event.event_timestamp)} ago  "
    width = session.output.width or _WITHOUT_A_TERMINAL
    layout = snug(layout_for(max(_LEAST_CELLS, width - _LABEL_CELLS - len(ago))), [event], names)
    return _line("newest", (ago, ""), *event_line(event, layout, names))


def _line(label: str, *spans: Span) -> list[Span]:
    return [(fitted(label, _LABEL_CELLS), "label"), *spans]


def span_text(span: timedelta) -> str:
    """A length of time in its two largest units: `3 d 2 h`, `14 min 5 s`, `0.4 s`."""
    seconds = span.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 0 else f"-{span_text(-span)}"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size_text(size: int) -> str:
    """Bytes as people read them: `12.3 MB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
