"""A lab's events in any number: those of one recorded run again and again, each time later and with ids of its own.

The run is a file of one JSON event a line, as `GET /events` answers them. Nodes, managers and the like stay the same
through all rounds; events, workflows, steps, actions and experiments are new in each.
"""

import argparse
import gzip
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from madsci_event_server.event import Event

DEFAULT_FILE = Path(__file__).parents[1] / "tests/data/lab_events.jsonl.gz"
ROUND = timedelta(minutes=17)
_ULID = re.compile(r"\b01[0-9A-HJKMNP-TV-Z]{24}\b")
_STAYS = ("node_id", "manager_id", "workcell_id", "lab_id", "user_id", "project_id")
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def add_events_argument(parser: argparse.ArgumentParser) -> None:
    """The option that names the file of events."""
    parser.add_argument(
        "--events", type=Path, default=DEFAULT_FILE, help="a lab's events, one JSON object a line, perhaps gzipped"
    )


def lab_events(file: Path, count: int) -> Iterator[Event]:
    """So many events, oldest round first."""
    lines = _text(file).splitlines()
    stays = _staying_ids(lines)
    for number in range(count):
        round_, line = divmod(number, len(lines))
        yield received(_document(lines[line], round_, stays))


def _text(file: Path) -> str:
    content = file.read_bytes()
    return (gzip.decompress(content) if file.suffix == ".gz" else content).decode()


def received(document: dict[str, Any]) -> Event:
    """The event as the server takes it."""
    event = Event.sent(document, UTC)
    return event.changed(received_at=event.event_timestamp)


def _document(line: str, round_: int, stays: frozenset[str]) -> dict[str, Any]:
    def shifted(found: re.Match[str]) -> str:
        return found[0] if found[0] in stays else _later(found[0], round_)

    document: dict[str, Any] = json.loads(_ULID.sub(shifted, line))
    moment = datetime.fromisoformat(document["event_timestamp"]).replace(tzinfo=UTC)
    document["event_timestamp"] = moment + ROUND * round_
    return document


def _later(ulid: str, rounds: int) -> str:
    """The id it would have had so many rounds later: a ULID begins with its time, ten digits of milliseconds."""
    milliseconds = 0
    for digit in ulid[:10]:
        milliseconds = milliseconds * 32 + _DIGITS.index(digit)
    milliseconds += rounds * int(ROUND.total_seconds() * 1000)
    return "".join(_DIGITS[milliseconds >> shift & 31] for shift in range(45, -5, -5)) + ulid[10:]


def _staying_ids(lines: list[str]) -> frozenset[str]:
    found = set()
    for line in lines:
        document = json.loads(line)
        data = document["event_data"]
        for holder in (document["source"], data if isinstance(data, dict) else {}):
            found |= {value for name in _STAYS if isinstance(value := holder.get(name), str)}
    return frozenset(found)
