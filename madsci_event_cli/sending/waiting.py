"""What waits in the spools of this machine's user, for who asks: how much, for whom, and away with it."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from madsci_event_cli.addresses import shown_address
from madsci_event_cli.sending.lanes import Lane, is_alive, lanes_in, look_into
from madsci_event_cli.sending.spool import SERVER_URL, SET_ASIDE, default_root

ROOT_VARIABLE = "EVENT_CLIENT_SPOOL_DIR"


@dataclass(frozen=True)
class Waiting:
    """What waits for one server."""

    server: str
    directory: str
    events: int
    """Not yet delivered, of processes that live and that have ended ..."""
    size_bytes: int
    """... and how much that is."""
    oldest: str | None
    """When the first of them was logged."""
    living_processes: int
    """Who still write and deliver their own."""
    set_aside: int
    """Events the server refused for good."""

    @property
    def path(self) -> Path:
        """The directory."""
        return Path(self.directory)

    @property
    def set_aside_file(self) -> str:
        """Where the refused events are, each with its reason."""
        return str(self.path / SET_ASIDE)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self) | {"server": shown_address(self.server)}


def spool_root(environment: Mapping[str, str]) -> Path:
    """Where the spools are: EVENT_CLIENT_SPOOL_DIR, else in the user's state directory."""
    told = environment.get(ROOT_VARIABLE)
    return Path(told).absolute() if told else default_root()


def spools_in(root: Path) -> Iterator[tuple[str, Path]]:
    """Each server's address and spool directory."""
    for path in sorted(root.glob(f"*/{SERVER_URL}")):
        yield path.read_text().strip(), path.parent


def waiting_for(server: str, directory: Path) -> Waiting:
    """What waits there; counts every event."""
    lanes = lanes_in(directory)
    glances = [look_into(directory, name) for name in lanes]
    aside = directory / SET_ASIDE
    return Waiting(
        server,
        str(directory),
        events=sum(glance.events for glance in glances),
        size_bytes=sum(glance.size for glance in glances),
        oldest=min((moment for glance in glances if (moment := _time_of(glance.first))), default=None),
        living_processes=sum(is_alive(directory, name) for name in lanes),
        set_aside=aside.read_bytes().count(b"\n") if aside.exists() else 0,
    )


def drop_waiting(directory: Path) -> int:
    """Deletes what processes that have ended left there; how many events that were."""
    dropped = 0
    for name in lanes_in(directory):
        lane = Lane.adopt(directory, name)
        if lane is not None:
            dropped += look_into(directory, name).events
            lane.remove()
    return dropped


def drop_set_aside(directory: Path) -> int:
    """Deletes the events the server refused; how many those were."""
    aside = directory / SET_ASIDE
    count = aside.read_bytes().count(b"\n")
    aside.unlink()
    return count


def set_aside_events(directory: Path) -> tuple[Path, list[bytes]]:
    """The lines of the events that were set aside, and the file they are in, renamed so that none joins them meanwhile.

    Whoever has spooled them again removes the file.
    """
    aside = directory / SET_ASIDE
    taken = aside.with_suffix(f".{os.getpid()}")
    try:
        aside.rename(taken)
    except FileNotFoundError:
        return taken, []
    events = [json.loads(line)["event"] for line in taken.read_text().splitlines()]
    return taken, [event.encode() + b"\n" for event in events]


def _time_of(line: bytes) -> str | None:
    try:
        return str(json.loads(line)["event_timestamp"])
    except (ValueError, KeyError, TypeError):
        return None
