"""The names seen beside ids: which are known here, and when each was last seen.

A name that is new is stored in the transaction that stores its first event. That it was seen again is written
seconds later, for all names in one go: in every transaction it would cost as much as a fifth of the events. After a
crash a name may so have been last seen a few seconds too early, until it is seen again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pymongo import UpdateOne

from madsci_event_server.event import NamedId, us_to_time
from madsci_event_server.storage.base import MAX_NAMES, SeenName
from madsci_event_server.storage.mongo_documents import NAMES, NewEvent
from madsci_event_server.storage.mongo_writer import Document, Writing
from madsci_event_server.storage.node_names import NodeNames

MAX_KNOWN: Final = 2 * MAX_NAMES
"""How many names are remembered to be stored. Any other one is simply stored again."""

Sightings = Mapping[NamedId, int]
"""When each name was last seen: event time, in microseconds since 1970."""


class Names(NodeNames):
    """What this server knows of names; the node ids of each for queries."""

    def __init__(self) -> None:
        super().__init__()
        self._stored: dict[NamedId, int] = {}
        self._unwritten: dict[NamedId, int] = {}

    def unknown(self, sightings: Sightings) -> Sightings:
        """Those that have to be stored together with the events they were seen in."""
        return {named: seen for named, seen in sightings.items() if named not in self._stored}

    def saw(self, sightings: Sightings) -> None:
        """Takes what was seen in events that are stored, the unknown names with them."""
        for named, seen in sightings.items():
            before = self._stored.get(named)
            if before is None:
                self.add((named,))
            elif seen > before:
                self._unwritten[named] = seen
            else:
                continue
            self._stored[named] = seen

    @property
    def unwritten(self) -> Sightings:
        """What was seen again and is not `written`."""
        return dict(self._unwritten)

    def written(self, sightings: Sightings) -> None:
        """Takes that these are stored now."""
        for named, seen in sightings.items():
            if self._unwritten[named] == seen:
                del self._unwritten[named]
        if len(self._stored) > MAX_KNOWN:
            self._stored = dict(self._unwritten)

    def merged(self, stored: Sequence[SeenName]) -> list[SeenName]:
        """The names stored, latest first, with what is not written yet."""
        if not self._unwritten:
            return list(stored)
        found = {NamedId(seen.field, seen.id, seen.name): seen for seen in stored}
        for named, seen_us in self._unwritten.items():
            seen = SeenName(*named, last_seen=us_to_time(seen_us))
            before = found.get(named)
            found[named] = seen if before is None else max(before, seen, key=lambda one: one.last_seen)
        ordered = sorted(sorted(found), key=lambda named: found[named].last_seen, reverse=True)
        return [found[named] for named in ordered[:MAX_NAMES]]


def sightings_in(events: Iterable[NewEvent]) -> Sightings:
    """When each name was last seen in these events."""
    found: dict[NamedId, int] = {}
    for event in events:
        for named in event.sightings:
            if event.time_us > found.get(named, -(2**63)):
                found[named] = event.time_us
    return found


def write_sightings(writing: Writing, sightings: Sightings) -> None:
    """Stores names, and moves forward when those that are stored were last seen."""
    if sightings:
        writes = [
            UpdateOne({"_id": _key(named)}, {"$max": {"last_seen_us": seen}}, upsert=True)
            for named, seen in sightings.items()
        ]
        writing.collection(NAMES).bulk_write(writes, ordered=False, session=writing.session)


def _key(named: NamedId) -> Document:
    return {"field": named.field, "id": named.id, "name": named.name}
