"""AlertReader: reads every stored event once, in received order, and counts those that deserve an alert.

Its place is saved in the same transaction as what it counted, so after any crash it goes on where it was: no event is
left out and none is counted twice.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

from madsci_event_server.alerts.occurrence import Occurrence, occurrences
from madsci_event_server.alerts.rules import RuleBook
from madsci_event_server.alerts.tally import Tally
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.errors import CursorExpired
from madsci_event_server.query import Cursor, EventQuery
from madsci_event_server.storage.alert_base import AlertState, AlertStore, Change
from madsci_event_server.storage.base import EventStore, StoredEvent

EVENTS_A_TIME: Final = 1000
"""Read from the store together; counted and saved together are little more than so many that deserve an alert."""
SIFTED_AT_ONCE: Final = 200
"""Looked at in one go, as bytes. A divisor of EVENTS_A_TIME, so that a flood of errors is read by just so many."""
JUDGED_AT_ONCE: Final = 40
"""Parsed in one go: a few milliseconds, at worst, in which nothing else runs."""
UNSAVED_EVENTS: Final = 20_000
"""How many events that deserve nothing may pass before the place is saved: only they are read again after a crash."""
MAX_UNRESOLVED: Final = 2000
"""Alerts told apart by their message. Beyond it those of one kind and source share one: messages that are never the
same twice must not fill the store."""

_log = logging.getLogger(__name__)


CommittedAfter = Callable[[int], Sequence[StoredEvent] | None]
"""The events after a place in received order; None where only the store can tell."""


def nothing_in_memory(_seq: int) -> None:
    """Only the store can tell."""


class AlertReader:
    """Reads `events` into `alerts`. One a store; `open` first."""

    def __init__(
        self,
        events: EventStore,
        alerts: AlertStore,
        rules: RuleBook,
        timing: EmailAlertsConfig,
        committed_after: CommittedAfter = nothing_in_memory,
    ) -> None:
        """What `committed_after` holds is not read from the store again."""
        self._events = events
        self._committed_after = committed_after
        self._alerts = alerts
        self._rules = rules
        self._timing = timing
        self._place: str = ""
        self._unsaved = 0
        self.failures = 0
        """How many events could not be judged."""

    @property
    def seq(self) -> int:
        """The place in received order of the last event judged."""
        return place_in(self._place)

    async def open(self) -> None:
        """Finds the saved place. The first time ever it is the end: nobody is mailed about what is history."""
        saved = await self._alerts.position()
        if saved is not None:
            try:
                Cursor.decode(saved, store_id=self._events.store_id, order="received")
            except CursorExpired:
                _log.error("the saved place of alerting is of another store; it goes on from the end of this one")
                saved = None
        if saved is None:
            saved = await self._events.head()
            await self._alerts.apply(Change(position=saved))
        self._place = saved

    async def take(self, now: datetime) -> int:
        """Judges the next events, saves what came of it, and returns how many they were.

        Fewer than EVENTS_A_TIME are all there were.
        """
        batch = self._committed_after(self.seq)
        if batch is None:
            query = EventQuery(order="received", after=self._place, include_archived=True, limit=EVENTS_A_TIME)
            batch = (await self._events.find(query)).events
        judged, found = await self._judge(batch)
        if not judged:
            return 0
        place = Cursor(self._events.store_id, "r", batch[judged - 1].seq).encode()
        change = await self._counted(found, place, now)
        unsaved = self._unsaved + judged
        if change.alerts or unsaved >= UNSAVED_EVENTS:
            await self._alerts.apply(change)
            unsaved = 0
        # Not before it is stored: a store that is away must not make us pass these events by.
        self._place, self._unsaved = place, unsaved
        return judged

    async def save(self) -> None:
        """Saves the place, so that nothing is read again."""
        if self._unsaved:
            await self._alerts.apply(Change(position=self._place))
            self._unsaved = 0

    async def _judge(self, batch: Sequence[StoredEvent]) -> tuple[int, list[Occurrence]]:
        """How many of the first were judged, all unless EVENTS_A_TIME deserve an alert; and those that do."""
        judged = 0
        found: list[Occurrence] = []
        while judged < len(batch) and min(judged, len(found)) < EVENTS_A_TIME:
            some = batch[judged : judged + SIFTED_AT_ONCE]
            possible = [stored for stored in some if not self._rules.can_skip(stored.body)]
            for start in range(0, max(len(possible), 1), JUDGED_AT_ONCE):
                found += self._occurrences(possible[start : start + JUDGED_AT_ONCE])
                await asyncio.sleep(0)  # whoever else is ready goes first
            judged += len(some)
        return judged, found

    def _occurrences(self, batch: Sequence[StoredEvent]) -> Iterator[Occurrence]:
        for stored in batch:
            try:
                yield from occurrences(stored, self._rules, self._events.names_directory)
            except Exception:  # noqa: BLE001 - one event that breaks a rule must not end all alerting
                self.failures += 1
                _log.exception("the event at place %d could not be judged and is left out", stored.seq)

    async def _counted(self, found: Sequence[Occurrence], place: str, now: datetime) -> Change:
        if not found:
            return Change(position=place)
        tally = await self._tally_for(found, now)
        for occurrence in found:
            tally.count(occurrence)
        return Change(position=place, alerts=tally.changed(), counted=tally.counted)

    async def _tally_for(self, found: Sequence[Occurrence], now: datetime) -> Tally:
        topics = {occurrence.topic.key: occurrence.topic for occurrence in found}
        unresolved = await self._alerts.unresolved(topics.keys())
        room = 0
        if missing := [topic for key, topic in topics.items() if key not in unresolved]:
            counts = await self._alerts.alert_counts()
            room = MAX_UNRESOLVED - counts[AlertState.OPEN] - counts[AlertState.ACKNOWLEDGED]
            if room < len(missing):
                unresolved |= await self._alerts.unresolved({topic.at_large.key for topic in missing})
        raised = {occurrence.first_seq for occurrence in found if occurrence.seq != occurrence.first_seq}
        return Tally(
            unresolved,
            counted=await self._alerts.counted(raised),
            room=room,
            store_id=self._events.store_id,
            rules=self._rules,
            timing=self._timing,
            now=now,
        )


def place_in(cursor: str) -> int:
    """The place in received order that a cursor of ours stands for."""
    return int(cursor.split(".")[2])
