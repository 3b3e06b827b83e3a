"""`doctor`: is everything in place, and how to mend what is not."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.registration import register
from madsci_event_cli.rendering import Span, counted, parse_event, visible
from madsci_event_cli.session import Session
from madsci_event_server.errors import InvalidSettings, MadsciEventsError, ServerError

if TYPE_CHECKING:
    from madsci_event_cli.reader import EventReader
    from madsci_event_server.findings import Finding
    from madsci_event_server.settings import Settings

EXAMPLES: Final = """
    madsci-events doctor
    madsci-events doctor --definition managers/robot_lab.manager.yaml
    madsci-events doctor -o json | jq '.checks[] | select(.verdict != "ok")'
"""
_SKEW: Final = timedelta(seconds=5)
_LATE: Final = timedelta(minutes=5)
_NODES: Final = 20
_INDENT: Final = 21
_LEAST_CELLS: Final = 30
_STYLES: Final = {"ok": "level.info", "warning": "level.warning", "failure": "level.error"}


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, doctor, panel="Run", examples=EXAMPLES)


async def doctor(
    session: Session,
    *,
    definition: Annotated[
        Path | None,
        typer.Option("--definition", metavar="FILE", help="The definition to look at. [the one in or below the lab]"),
    ] = None,
) -> ExitCode:
    """Check everything, and say how to mend what is wrong: definition, address, store, mail, server and clocks.

    Changes nothing, and mails nobody. Exits with 0 unless something has failed.
    """
    findings = [finding async for finding in _findings(session, definition)]
    healthy = all(finding.verdict != "failure" for finding in findings)
    document = {"healthy": healthy, "checks": [asdict(finding) for finding in findings]}
    session.output.document(document, _lines(findings, session.output.width))
    return ExitCode.OK if healthy else ExitCode.REFUSED


async def _findings(session: Session, definition: Path | None) -> "AsyncIterator[Finding]":
    settings, found = _settings(session, definition)
    for finding in found:
        yield finding
    async with session.reader() as reader:
        served = await _server(reader)
        if settings is not None:
            # The server's modules take a second to load, and no other command needs them.
            from madsci_event_server.examining import examine

            for finding in await examine(settings, is_running=bool(served[1]) and _is_its(settings, reader.server)):
                yield finding
        for finding in served[0]:
            yield finding
        if served[1]:
            async for finding in _clocks(session, reader):
                yield finding


def _settings(session: Session, given: Path | None) -> "tuple[Settings | None, list[Finding]]":
    from madsci_event_server.findings import failure, fine, warning
    from madsci_event_server.settings import Settings, chosen_definition

    try:
        path = chosen_definition(given)
        settings, warnings = Settings.read(session.environment, definition=path)
    except InvalidSettings as error:
        return None, [failure("definition", str(error), "madsci-events manager validate")]
    if path is None:
        first = warning("definition", "there is none, so all settings are defaults", "madsci-events manager add")
    else:
        first = fine("definition", f"{path} of {settings.name}")
    return settings, [first, *(warning("definition", text) for text in warnings)]


def _is_its(settings: "Settings", server: str) -> bool:
    from urllib.parse import urlsplit

    return urlsplit(server).port == settings.port


async def _server(reader: "EventReader") -> "tuple[list[Finding], dict[str, Any] | None]":
    from importlib.metadata import version

    from madsci_event_server.findings import failure, fine, warning

    try:
        health = await reader.status()
    except ServerError as error:
        return [failure("server", str(error), "madsci-events serve, or name it with --server")], None
    if health.get("healthy") is not True:
        problems = "; ".join(map(str, health.get("problems") or ())) or "it says that it is not well"
        return [failure("server", f"{reader.address}: {problems}", "madsci-events status")], health
    here, there = version("madsci-events"), health.get("version")
    said = f"{reader.address}, version {there}, {counted(health.get('total_events') or 0, 'event')}"
    if here != there:
        return [warning("server", f"{said}; this is {here}", "install the same version on both")], health
    return [fine("server", said)], health


async def _clocks(session: Session, reader: "EventReader") -> "AsyncIterator[Finding]":
    """Of the server, and of each node as its newest event shows it."""
    from madsci_event_server.findings import failure, fine, warning

    try:
        before = session.clock()
        there = await reader.server_time()
        here = before + (session.clock() - before) / 2
    except MadsciEventsError as error:
        yield failure("clocks", str(error))
        return
    ahead = there - here
    # The server's answer has whole seconds.
    if abs(ahead) > _SKEW:
        yield warning("clocks", f"the server's is {_ahead(ahead)} this machine's", "timedatectl set-ntp true on both")
    else:
        yield fine("clocks", "the server's agrees with this machine's")
    late: list[tuple[timedelta, str]] = []
    found = await reader.facets(["name"], limit=_NODES)
    for value in found["facets"]["name"]:
        name = value["value"]
        page = await reader.find({"name": [name], "limit": 1})
        for body in page.events:
            event = parse_event(body)
            if event.received_at is None:
                continue
            ahead = event.event_timestamp - event.received_at
            if ahead > _SKEW:
                yield warning("clocks", f"{name} stamps its events {_ahead(ahead)} the server's clock",
                              f"timedatectl set-ntp true on the machine of {name}")  # fmt: skip
            elif -ahead > _LATE:
                late.append((-ahead, name))
    if late:
        yield _came_late(late)


def _came_late(late: list[tuple[timedelta, str]]) -> "Finding":
    """One finding for all of them: after an outage it is everybody, and it has one cause."""
    from madsci_event_server.findings import warning

    if len(late) == 1:
        [(span, name)] = late
        return warning("clocks", f"the newest event of {name} came {_span(span)} after its time",
                       f"madsci-events spool list on the machine of {name}, and its clock")  # fmt: skip
    names = ", ".join(name for _, name in late)
    return warning(
        "clocks",
        f"the newest events of {len(late)} names came {_span(min(late)[0])} or more after their time: {names}",
        "madsci-events spool list on their machines, and their clocks",
    )


def _ahead(skew: timedelta) -> str:
    return f"{_span(abs(skew))} {'ahead of' if skew > timedelta() else 'behind'}"


def _span(span: timedelta) -> str:
    from madsci_event_cli.commands.status import span_text

    return span_text(span)


def _lines(findings: "Iterable[Finding]", width: int | None) -> Iterable[list[Span]]:
    for finding in findings:
        first, *more = _wrapped(visible(finding.message), width)
        label = finding.verdict.value.upper()
        yield [(label.ljust(9), _STYLES[finding.verdict.value]), (finding.check.ljust(12), "label"), (first, "")]
        for line in more:
            yield [(" " * _INDENT + line, "")]
        if finding.remedy:
            yield [(" " * _INDENT + "→ ", "dim"), (visible(finding.remedy), "heading")]


def _wrapped(text: str, width: int | None) -> list[str]:
    """At words, where a terminal would break them; what is to be copied, such as a path, stays whole."""
    if width is None:
        return [text]
    import textwrap

    return textwrap.wrap(text, max(width - _INDENT, _LEAST_CELLS), break_long_words=False, break_on_hyphens=False)
