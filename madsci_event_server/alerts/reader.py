"""AlertReader: reads every stored event once, in received order, and counts those that deserve an alert.

Its place is saved in the same transaction as what it counted, so after any crash it goes on where it was: no event is
left out and none is counted twice.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from madsci_event_server.alerts import life
from madsci_event_server.alerts.rules import RuleBook, Topic, topic
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.errors import CursorExpired
from madsci_event_server.event import Event
from madsci_event_server.query import Cursor, EventQuery
from madsci_event_server.storage.alert_base import Alert, AlertState, AlertStore, Change
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


@dataclass
class _Tally:
    """One batch's alerts as they become."""

    alerts: dict[str, Alert]
    """Unresolved ones of the batch's topics, by key."""
    changed: set[str] = field(default_factory=set)
    counted: set[tuple[int, str]] = field(default_factory=set)
    room: int = 0
    """How many more alerts may be told apart by message."""


_Deserving = tuple[StoredEvent, Event, Topic]

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

    async def _judge(self, batch: Sequence[StoredEvent]) -> tuple[int, list[_Deserving]]:
        """How many of the first were judged, all unless EVENTS_A_TIME deserve an alert; and those that do."""
        judged = 0
        found: list[_Deserving] = []
        while judged < len(batch) and min(judged, len(found)) < EVENTS_A_TIME:
            some = batch[judged : judged + SIFTED_AT_ONCE]
            possible = [stored for stored in some if not self._rules.can_skip(stored.body)]
            for start in range(0, max(len(possible), 1), JUDGED_AT_ONCE):
                found += self._deserving(possible[start : start + JUDGED_AT_ONCE])
                await asyncio.sleep(0)  # whoever else is ready goes first
            judged += len(some)
        return judged, found

    async def _counted(self, found: Sequence[_Deserving], place: str, now: datetime) -> Change:
        if not found:
            return Change(position=place)
        tally = await self._tally_of([what for _, _, what in found])
        known = await self._alerts.counted(
            {stored.first_seq for stored, _, _ in found if stored.seq != stored.first_seq}
        )
        for stored, event, what in found:
            self._count(tally, stored, event, what, known, now)
        alerts = [alert for key, alert in tally.alerts.items() if key in tally.changed]
        return Change(position=place, alerts=alerts, counted=tally.counted)

    def _deserving(self, batch: Sequence[StoredEvent]) -> Iterator[_Deserving]:
        for stored in batch:
            try:
                yield from self._topics(stored)
            except Exception:  # noqa: BLE001 - one event that breaks a rule must not end all alerting
                self.failures += 1
                _log.exception("the event at place %d could not be judged and is left out", stored.seq)

    def _topics(self, stored: StoredEvent) -> list[_Deserving]:
        event = stored.event
        rules = self._rules.judge(event, self._events.names_directory)
        return [(stored, event, topic(rule, event)) for rule in rules]

    async def _tally_of(self, topics: Sequence[Topic]) -> _Tally:
        counts = await self._alerts.alert_counts()
        room = MAX_UNRESOLVED - counts[AlertState.OPEN] - counts[AlertState.ACKNOWLEDGED]
        keys = {what.key for what in topics}
        if room < len(keys):
            keys |= {what.at_large.key for what in topics}
        return _Tally(await self._alerts.unresolved(keys), room=room)

    def _count(
        self, tally: _Tally, stored: StoredEvent, event: Event, what: Topic, known: set[tuple[int, str]], now: datetime
    ) -> None:
        alert = tally.alerts.get(what.key)
        if alert is None and tally.room <= 0:
            what = what.at_large
            alert = tally.alerts.get(what.key)
        if alert is None:
            alert = life.opened(
                what, stored, event, now, store_id=self._events.store_id, group_wait=self._timing.group_wait
            )
            tally.room -= 1
        elif stored.seq <= alert.last_seq:
            return  # counted before a crash that kept the alert but not the place
        else:
            counted = (stored.first_seq, alert.alert_id)
            again = counted in known or counted in tally.counted
            alert = self._with_due(life.counted(alert, stored, event, now, again=again), alert, now)
        tally.alerts[what.key] = alert
        tally.changed.add(what.key)
        tally.counted.add((stored.first_seq, alert.alert_id))

    def _with_due(self, alert: Alert, before: Alert, now: datetime) -> Alert:
        """The alert, due no later than it was, and sooner where the new event is news."""
        if alert.state == AlertState.ACKNOWLEDGED:
            return alert.model_copy(update={"due_at": life.quiet_at(alert)})
        worse = (alert.level, alert.forced) != (before.level, before.forced)
        if alert.silenced_by is not None and not worse:
            return alert  # looked at again when the silence is over
        due = life.next_look(alert, self._rules.recipients(alert.rule), self._timing)
        earlier = [moment for moment in (due, before.due_at) if moment is not None]
        return alert.model_copy(update={"due_at": min(earlier, default=None), "silenced_by": None})


def place_in(cursor: str) -> int:
    """The place in received order that a cursor of ours stands for."""
    return int(cursor.split(".")[2])
