"""What happens in the dashboard, as facts: who reads this list has read the program.

Workers post them, the screen changes state, widgets draw it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from textual.message import Message

from madsci_event_cli.tui.rows import Item
from madsci_event_cli.tui.source import LinkChanged


@dataclass
class EventsArrived(Message):
    """A tick's worth of events and notes."""

    items: Sequence[Item]
    feed: object
    """Who delivers: what an earlier query's feed had on the way is no longer wanted."""


@dataclass
class EventsRaised(Message):
    """Events whose level or alert flag went up."""

    raws: Sequence[bytes]
    feed: object


@dataclass
class ConnectionChanged(Message):
    """The source is in another state."""

    change: LinkChanged


@dataclass
class ServerBeat(Message):
    """The server is there, and this is its clock."""

    server_time: datetime


@dataclass
class FollowChanged(Message):
    """The list began or stopped to follow."""

    following: bool


@dataclass
class PendingChanged(Message):
    """While paused, more has come in."""

    count: int
    errors: int


@dataclass
class RowSelected(Message):
    """The cursor is on another row, or on none."""

    number: int | None


@dataclass
class RowOpened(Message):
    """The operator wants to read this row."""

    number: int


@dataclass
class EdgeReached(Message):
    """The operator is at an end of the window and wants to go on."""

    above: bool


@dataclass
class ValueToggled(Message):
    """A value was chosen to be shown only, or to be hidden."""

    field: str
    value: str
    exclude: bool
