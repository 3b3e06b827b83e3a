"""Judging the items of a batch: each is an event made ready for the store, or is refused for itself."""

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Generic, NamedTuple

from madsci_event_server.errors import InvalidInput
from madsci_event_server.event import Event
from madsci_event_server.storage.base import P


class Item(NamedTuple):
    """One item's JSON, or why it cannot be one."""

    place: int
    """In the batch, from 0."""
    body: bytes
    problem: InvalidInput | None = None


class Refused(NamedTuple):
    """An item that is no event."""

    place: int
    error: InvalidInput


class Judged(NamedTuple, Generic[P]):
    """What items that follow one another are: some are prepared, the others refused, both in the order sent."""

    first: int
    """The place of the first."""
    prepared: list[P]
    refused: list[Refused]

    @property
    def end(self) -> int:
        """The place after the last."""
        return self.first + len(self.prepared) + len(self.refused)

    def until(self, place: int) -> "Judged[P]":
        """Only those before this place."""
        refused = [item for item in self.refused if item.place < place]
        return Judged(self.first, self.prepared[: place - self.first - len(refused)], refused)


def judge(items: Sequence[Item], prepare: Callable[[Event], P], zone: tzinfo | None) -> Judged[P]:
    """Reads at least one item; `zone` is that of times without one."""
    prepared: list[P] = []
    refused: list[Refused] = []
    for place, body, problem in items:
        try:
            if problem is not None:
                raise problem
            event = Event.read(body, zone, "event")
        except InvalidInput as error:
            refused.append(Refused(place, error))
        else:
            prepared.append(prepare(event))
    return Judged(items[0].place, prepared, refused)
