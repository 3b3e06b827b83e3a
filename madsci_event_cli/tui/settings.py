"""How the dashboard is to run: everything it would otherwise have to ask its environment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

TICK_SECONDS = 1 / 15
"""How often the list takes in what has arrived: faster than that, nobody reads."""

SLOW_TICK_SECONDS = 0.5
"""For slow lines: a repaint of the list is 20 kB."""


def now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """What the command line decides for a run."""

    copy_path: Path
    """Where what was copied is written as well: many terminals do not let a program set the clipboard."""
    zone: tzinfo | None = None
    """Of the times shown; None: this machine's."""
    clock: Callable[[], datetime] = now
    tick_seconds: float = TICK_SECONDS
    counts_seconds: float = 5.0
    """How often counts are asked for while following; never more than a tenth of the time is spent on them."""
    low_bandwidth: bool = False
    theme: str = ""
    operator: str = "operator"
    """In whose name alerts are taken on."""
    hint: str = ""
    """Said once, at the start."""
    source_options: Sequence[str] = ()
    """What a command needs to read the same source: `--server URL`."""
