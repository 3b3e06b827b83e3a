"""The command line's way into the spool: one event while the server is away, or a pipe's worth of them."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from madsci_event_cli.connection import base_url
from madsci_event_cli.diagnostics import Diagnostics, ExitCode
from madsci_event_cli.rendering import counted
from madsci_event_cli.sending.delivery import Pace
from madsci_event_cli.sending.outbox import DeliveryStatus, Limits, Outbox, outbox_for
from madsci_event_cli.sending.outgoing import Outgoing, as_sent, as_whole_event, encode_line
from madsci_event_cli.sending.piped import PipedLines
from madsci_event_cli.sending.spool import Spool, directory_for
from madsci_event_cli.sending.waiting import spool_root

EventOf = Callable[[dict[str, Any]], dict[str, Any]]
"""From the data of one line to the event it is."""


class SaidOnStderr(logging.Handler):
    """What the delivery logs, said as the command line says things."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        super().__init__()
        self._diagnostics = diagnostics

    def emit(self, record: logging.LogRecord) -> None:
        """Warnings are shown, the rest with `-v`."""
        say = self._diagnostics.warning if record.levelno >= logging.WARNING else self._diagnostics.detail
        say(record.getMessage())


def open_outbox(server: str, root: Path, diagnostics: Diagnostics) -> Outbox:
    """The way out to that server; what happens on it is said on stderr."""
    logger = logging.getLogger("madsci_event_cli")
    logger.handlers = [SaidOnStderr(diagnostics)]
    logger.propagate = False
    return outbox_for(base_url(server).rstrip("/"), root, Outgoing({}), Limits(), Pace())


def spool_one(server: str, environment: Mapping[str, str], event: dict[str, Any], diagnostics: Diagnostics) -> None:
    """Leaves the event for whoever delivers next. Raises OSError where the disk does not take it."""
    address = base_url(server).rstrip("/")
    refusals: list[str] = []
    spool = Spool(
        directory_for(address, spool_root(environment)), address, describe=lambda loss: b"", warn=refusals.append
    )
    kept = spool.append(encode_line(event))
    if not kept or refusals:
        raise OSError(refusals[0] if refusals else f"{spool.directory} is full")
    spool.leave()
    diagnostics.warning(f"the event waits in {spool.directory}; `madsci-events spool flush` delivers it")


def deliver_waiting(server: str, environment: Mapping[str, str], diagnostics: Diagnostics) -> None:
    """Takes the opportunity that the server answers: what earlier commands left there is delivered, too."""
    root = spool_root(environment)
    if any(directory_for(base_url(server).rstrip("/"), root).glob("*.lock")):
        outbox = open_outbox(server, root, diagnostics)
        deliver_dead(outbox)


def deliver_dead(outbox: Outbox) -> DeliveryStatus:
    """Delivers what processes that have ended left, while it flows; what became of it."""
    before = outbox.status()
    outbox.look_for_dead()
    outbox.flush_while_it_flows()
    status = since(before, outbox.status())
    outbox.finish()
    return status


def since(before: DeliveryStatus, now: DeliveryStatus) -> DeliveryStatus:
    """What has become of events between two moments."""
    return now._replace(
        delivered=now.delivered - before.delivered,
        set_aside=now.set_aside - before.set_aside,
        conflicts=now.conflicts - before.conflicts,
        lost=now.lost - before.lost,
    )


def spool_lines(
    lines: PipedLines, server: str, environment: Mapping[str, str], event_of: EventOf, diagnostics: Diagnostics
) -> ExitCode:
    """Every line an event, delivered as the server takes them; what it does not take in the end waits on disk."""
    outbox = open_outbox(server, spool_root(environment), diagnostics)
    before, count = outbox.status(), 0
    for line in lines:
        while outbox.is_nearly_full and lines.stopped_by is None:
            outbox.flush(1.0, patient=True)  # let the pipe wait: nothing is lost there
        outbox.emit(_event(line, event_of))
        count += 1
    if count:
        outbox.flush_while_it_flows()
    status = since(before, outbox.status())
    outbox.finish()
    diagnostics.note(f"{counted(count, 'event')} read, {status.delivered:,} delivered")
    if status.set_aside or status.lost:
        diagnostics.error(f"{status.set_aside:,} were refused by the server and {status.lost:,} not kept")
        return ExitCode.REFUSED
    return ExitCode.INTERRUPTED if lines.stopped_by is not None and lines.stopped_by.name == "SIGINT" else ExitCode.OK


def _event(line: bytes, event_of: EventOf) -> dict[str, Any]:
    text = line.decode("utf-8", "replace")
    found = _object_in(text)
    if found is None:
        return event_of({"message": text})
    whole = as_whole_event(found)
    return event_of(found) if whole is None else as_sent(whole)


def _object_in(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
