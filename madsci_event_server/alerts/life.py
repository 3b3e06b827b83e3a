"""An alert's life: opened, counted, acknowledged, resolved; and when people are next told. Pure."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from madsci_event_server.alerts.occurrence import Occurrence
from madsci_event_server.alerts.rules import Topic
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.errors import InvalidInput
from madsci_event_server.event import EventLogLevel
from madsci_event_server.storage.alert_base import Alert, AlertState, Signed, Told

QUIET_AFTER_ACKNOWLEDGED: Final = timedelta(hours=24)
"""An acknowledged alert that counts nothing for so long is resolved: the next such event is news again."""
RESOLVED_BY_QUIET: Final = "madsci-events"

MESSAGE_CHARACTERS: Final = 500
_ID_CHARACTERS: Final = 10
_ID_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def opened(first: Occurrence, now: datetime, *, store_id: str, group_wait: timedelta) -> Alert:
    """The alert of the first event of a topic. The same place in the same store always makes the same id."""
    topic = first.topic
    return Alert(
        alert_id=_alert_id(store_id, topic, first.seq),
        key=topic.key,
        rule=topic.rule,
        kind=topic.kind,
        source=topic.source,
        pattern=topic.pattern,
        message=first.message[:MESSAGE_CHARACTERS],
        level=first.level,
        forced=first.forced,
        count=1,
        opened_at=now,
        updated_at=now,
        first_event_id=first.event_id,
        last_event_id=first.event_id,
        first_event_at=first.at,
        last_event_at=first.at,
        last_seq=first.seq,
        due_at=now + group_wait,
    )


def is_worse(alert: Alert, occurrence: Occurrence) -> bool:
    """Whether this event is news to those who know of the alert as it is."""
    return occurrence.level > alert.level or (occurrence.forced and not alert.forced)


def counted(alert: Alert, last: Occurrence, now: datetime, *, events: int) -> Alert:
    """The alert with so many more events, of which none before the last was worse than it; 0: with one raised again.

    What is worse than what was acknowledged takes the acknowledgement away.
    """
    reopened = alert.state == AlertState.ACKNOWLEDGED and is_worse(alert, last)
    return alert.model_copy(
        update={
            "message": last.message[:MESSAGE_CHARACTERS],
            "level": max(alert.level, last.level),
            "forced": alert.forced or last.forced,
            "count": alert.count + events,
            "updated_at": now,
            "last_event_id": last.event_id,
            "last_event_at": last.at,
            "last_seq": last.seq,
            "state": AlertState.OPEN if reopened else alert.state,
            "acknowledged": None if reopened else alert.acknowledged,
        }
    )


def acknowledged(alert: Alert, by: Signed) -> Alert:
    """The alert as somebody has taken it on. Raises InvalidInput when it is resolved."""
    if alert.state == AlertState.RESOLVED:
        raise InvalidInput("alert", f"{alert.alert_id} is resolved already; nothing is left to acknowledge")
    return alert.model_copy(update={"state": AlertState.ACKNOWLEDGED, "acknowledged": by})


def resolved(alert: Alert, by: Signed) -> Alert:
    """The alert as it is over; resolved twice, the first stands."""
    if alert.state == AlertState.RESOLVED:
        return alert
    return alert.model_copy(update={"state": AlertState.RESOLVED, "resolved": by})


def next_telling(alert: Alert, told: Told | None, timing: EmailAlertsConfig) -> datetime | None:
    """When a recipient who was `told` so much is to be mailed about this alert; None: nothing is owed to them."""
    if alert.state == AlertState.ACKNOWLEDGED:
        return None
    if alert.state == AlertState.RESOLVED:
        over = alert.resolved.at if alert.resolved is not None else alert.updated_at
        return None if told is None or told.resolved else over
    if told is None:
        return alert.opened_at + timing.group_wait
    if alert.level > told.level or (alert.forced and not told.forced):
        return told.at + timing.group_wait
    return told.at + (timing.digest if told.count < alert.count else timing.repeat)


def next_look(alert: Alert, recipients: Sequence[str], timing: EmailAlertsConfig) -> datetime | None:
    """When the notifier has to look at this alert again, silences and the breaker aside."""
    if alert.state == AlertState.ACKNOWLEDGED:
        return quiet_at(alert)
    times = [next_telling(alert, alert.told.get(recipient), timing) for recipient in recipients]
    return min((moment for moment in times if moment is not None), default=None)


def quiet_at(alert: Alert) -> datetime:
    """When an acknowledged alert is over, if it counts nothing until then."""
    taken_on = alert.acknowledged.at if alert.acknowledged is not None else alert.updated_at
    return max(alert.updated_at, taken_on) + QUIET_AFTER_ACKNOWLEDGED


def badge(alert: Alert) -> str:
    """The word a subject or list begins with: RESOLVED, or the worst level."""
    return "RESOLVED" if alert.state == AlertState.RESOLVED else alert.level.name


def severity(alert: Alert) -> tuple[bool, EventLogLevel, bool, int]:
    """Sorts alerts, the most pressing last."""
    return (alert.state != AlertState.RESOLVED, alert.level, alert.forced, alert.count)


def _alert_id(store_id: str, topic: Topic, seq: int) -> str:
    digest = hashlib.sha256(f"{store_id}/{topic.key}/{seq}".encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    return "".join(_ID_ALPHABET[(number >> 5 * place) & 31] for place in range(_ID_CHARACTERS))
