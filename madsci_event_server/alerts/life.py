"""An alert's life: opened, counted, acknowledged, resolved; and when people are next told. Pure."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from madsci_event_server.alerts.rules import Topic
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.errors import InvalidInput
from madsci_event_server.event import Event, EventLogLevel
from madsci_event_server.storage.alert_base import Alert, AlertState, Signed, Told
from madsci_event_server.storage.base import StoredEvent

QUIET_AFTER_ACKNOWLEDGED: Final = timedelta(hours=24)
"""An acknowledged alert that counts nothing for so long is resolved: the next such event is news again."""
RESOLVED_BY_QUIET: Final = "madsci-events"

MESSAGE_CHARACTERS: Final = 500
_ID_CHARACTERS: Final = 10
_ID_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def opened(
    topic: Topic, stored: StoredEvent, event: Event, now: datetime, *, store_id: str, group_wait: timedelta
) -> Alert:
    """The alert of the first event of a topic. The same place in the same store always makes the same id."""
    return Alert(
        alert_id=_alert_id(store_id, topic, stored.seq),
        key=topic.key,
        rule=topic.rule,
        kind=topic.kind,
        source=topic.source,
        pattern=topic.pattern,
        message=event.message[:MESSAGE_CHARACTERS],
        level=event.log_level,
        forced=event.alert,
        count=1,
        opened_at=now,
        updated_at=now,
        first_event_id=event.event_id,
        last_event_id=event.event_id,
        first_event_at=event.event_timestamp,
        last_event_at=event.event_timestamp,
        last_seq=stored.seq,
        due_at=now + group_wait,
    )


def counted(alert: Alert, stored: StoredEvent, event: Event, now: datetime, *, again: bool) -> Alert:
    """The alert with one more event; `again`: one it has counted already, which has been raised since.

    What is worse than what was acknowledged takes the acknowledgement away.
    """
    worse = event.log_level > alert.level or (event.alert and not alert.forced)
    reopened = worse and alert.state == AlertState.ACKNOWLEDGED
    return alert.model_copy(
        update={
            "message": event.message[:MESSAGE_CHARACTERS],
            "level": max(alert.level, event.log_level),
            "forced": alert.forced or event.alert,
            "count": alert.count + (0 if again else 1),
            "updated_at": now,
            "last_event_id": event.event_id,
            "last_event_at": event.event_timestamp,
            "last_seq": stored.seq,
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
