"""Tally: alerts as they become by a batch of events, one at a time or many in one step. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from madsci_event_server.alerts import life
from madsci_event_server.alerts.occurrence import Occurrence
from madsci_event_server.alerts.rules import RuleBook
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.storage.alert_base import Alert, AlertState


@dataclass(slots=True)
class _Growing:
    """An alert, and the latest events of it that are still to be counted in one step."""

    alert: Alert
    waiting: int = 0
    """How many: each a distinct event, and none worse than the alert."""
    last: Occurrence | None = None
    """The last of them."""
    changed: bool = False


class Tally:
    """Counts a batch's occurrences, in received order, into unresolved alerts; opens those that are missing."""

    def __init__(
        self,
        unresolved: Mapping[str, Alert],
        *,
        counted: Collection[tuple[int, str]],
        room: int,
        store_id: str,
        rules: RuleBook,
        timing: EmailAlertsConfig,
        now: datetime,
    ) -> None:
        """`unresolved` are by key those of the batch's topics; `counted` holds which of its events, as `(first_seq,
        alert_id)`, had been counted before they were raised. `room`: how many more alerts may be told apart by message.
        """
        self._growing = {key: _Growing(alert) for key, alert in unresolved.items()}
        self._counted_before = counted
        self._room = room
        self._store_id, self._rules, self._timing, self._now = store_id, rules, timing, now
        self.counted: set[tuple[int, str]] = set()
        """Events counted now, as (first_seq, alert_id)."""

    def count(self, occurrence: Occurrence) -> None:
        """Counts one event, which stands after all counted before."""
        growing = self._growing.get(occurrence.topic.key)
        if growing is None and self._room <= 0:
            occurrence = occurrence._replace(topic=occurrence.topic.at_large)
            growing = self._growing.get(occurrence.topic.key)
        if growing is None:
            growing = self._open(occurrence)
        elif occurrence.seq <= growing.alert.last_seq:
            return  # counted before a crash that kept the alert but not the place
        else:
            self._add(growing, occurrence)
        growing.changed = True
        self.counted.add((occurrence.first_seq, growing.alert.alert_id))

    def changed(self) -> list[Alert]:
        """The alerts that counted something, as they are now."""
        found = [growing for growing in self._growing.values() if growing.changed]
        for growing in found:
            self._count_waiting(growing)
        return [growing.alert for growing in found]

    def _open(self, first: Occurrence) -> _Growing:
        alert = life.opened(first, self._now, store_id=self._store_id, group_wait=self._timing.group_wait)
        self._room -= 1
        growing = self._growing[first.topic.key] = _Growing(alert)
        return growing

    def _add(self, growing: _Growing, occurrence: Occurrence) -> None:
        this = occurrence.first_seq, growing.alert.alert_id
        again = this in self._counted_before or this in self.counted
        if again or life.is_worse(growing.alert, occurrence):
            # When people are told next depends on each of these.
            self._count_waiting(growing)
            self._grow(growing, occurrence, 0 if again else 1)
        else:
            growing.waiting += 1
            growing.last = occurrence

    def _count_waiting(self, growing: _Growing) -> None:
        if growing.last is not None:
            self._grow(growing, growing.last, growing.waiting)
            growing.waiting, growing.last = 0, None

    def _grow(self, growing: _Growing, last: Occurrence, events: int) -> None:
        before = growing.alert
        alert = life.counted(before, last, self._now, events=events)
        growing.alert = self._with_due(alert, before)

    def _with_due(self, alert: Alert, before: Alert) -> Alert:
        """The alert, due no later than it was, and sooner where the new event is news.

        For many events at once that is what it is for them one after another: with the first, the count is past what
        anybody was told, and for the others nothing is different.
        """
        if alert.state == AlertState.ACKNOWLEDGED:
            return alert.model_copy(update={"due_at": life.quiet_at(alert)})
        worse = (alert.level, alert.forced) != (before.level, before.forced)
        if alert.silenced_by is not None and not worse:
            return alert  # looked at again when the silence is over
        due = life.next_look(alert, self._rules.recipients(alert.rule), self._timing)
        earlier = [moment for moment in (due, before.due_at) if moment is not None]
        return alert.model_copy(update={"due_at": min(earlier, default=None), "silenced_by": None})
