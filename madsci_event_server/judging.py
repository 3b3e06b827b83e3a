"""Judging the items of a batch: each is an event made ready for the store, or is refused for itself."""

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Final, Generic, NamedTuple

from madsci_event_server.errors import InvalidInput
from madsci_event_server.event import Event
from madsci_event_server.storage.base import P

SPACE: Final = b" \t\r\n"
"""What may stand around JSON."""


class Item(NamedTuple):
    """One item's JSON, or why it cannot be one."""

    place: int
    """In the batch, from 0."""
    body: bytes
    problem: InvalidInput | None = None


class Lines(NamedTuple):
    """Items that follow one another, one a line, not taken apart yet: whoever judges them has time for that."""

    place: int
    """Of the first of them."""
    number: int
    """How many."""
    body: bytes

    @property
    def items(self) -> list[Item]:
        """Each for itself."""
        return [Item(place, line.strip(SPACE)) for place, line in enumerate(self.body.split(b"\n"), self.place)]


Work = Sequence[Item] | Lines
"""What is judged in one go: at least one item."""


def items_of(work: Work) -> Sequence[Item]:
    """The items, each for itself."""
    return work.items if isinstance(work, Lines) else work


class Refused(NamedTuple):
    """An item that is no event."""

    place: int
    error: InvalidInput


class Judged(NamedTuple, Generic[P]):
    """What items that follow one another are: some are prepared, the others refused, both in the order sent."""

    first: int
    """The place of the first."""
    prepared: Sequence[P]
    refused: list[Refused]

    @property
    def end(self) -> int:
        """The place after the last."""
        return self.first + sum(map(len, self.prepared)) + len(self.refused)


def judge(items: Sequence[Item], take: Callable[[Event], object], zone: tzinfo | None) -> list[Refused]:
    """Reads items, and has each event taken; says what was refused. `zone` is that of times without one."""
    refused: list[Refused] = []
    for place, body, problem in items:
        try:
            if problem is not None:
                raise problem
            event = Event.read(body, zone, "event")
        except InvalidInput as error:
            refused.append(Refused(place, error))
        else:
            take(event)
    return refused
