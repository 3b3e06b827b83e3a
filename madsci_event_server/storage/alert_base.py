"""AlertStore: what alerting remembers, and what every such store promises. Held to it by `tests/contract/`.

- **All or nothing.** What one `apply` holds (position, alerts, mails ...) is stored together or not at all, durably.
- **One unresolved alert a key.** `apply` replaces an alert by its id; a key belongs to at most one that is unresolved.
- **One alerts.** Of servers that share a store, `hold` lets one at a time read events and send mail. People may act
  through any; what two changed at once is stored for one, and StoreUnavailable for the other, who does it again.
- **A failure is raised.** A store that is away or full raises StoreUnavailable; an id that does not exist NotFound.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from madsci_event_server.errors import Ambiguous, MadsciEventsError, NotFound, shown
from madsci_event_server.event import EventLogLevel


class AlertState(StrEnum):
    """Where an alert is in its life. Silenced is no state of its own: it ends by itself."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class MailState(StrEnum):
    """What became of a mail."""

    PENDING = "pending"
    """Due, or to be tried again."""
    SENT = "sent"
    """The mail server took it."""
    DEAD = "dead"
    """Refused for good, or tried in vain for a day: a dead letter."""
    CANCELLED = "cancelled"


class Purpose(StrEnum):
    """What a mail is for."""

    ALERTS = "alerts"
    STORM = "storm"
    """The breaker's last word to its recipients for an hour."""


class Signed(BaseModel):
    """Who did something, when, and their words for it."""

    model_config = ConfigDict(frozen=True)

    by: str
    at: datetime
    note: str | None = None


class Told(BaseModel):
    """What one recipient was last told of an alert."""

    model_config = ConfigDict(frozen=True)

    thread: str
    """Message-ID of the first mail to them about it: what later ones answer."""
    count: int
    level: EventLogLevel
    forced: bool
    at: datetime
    resolved: bool = False


class Alert(BaseModel):
    """Events that say the same thing, and how far people have been told.

    Times are the server's, except `first_event_at` and `last_event_at`, which are event times.
    """

    model_config = ConfigDict(frozen=True)

    alert_id: str
    key: str
    """Digest of rule, kind, source and pattern: one unresolved alert a key."""
    rule: str
    kind: str
    source: str
    """Human name of what it is about, else its id, else empty."""
    pattern: str
    """The message with numbers and ids masked."""
    message: str
    """The latest event's, cut."""
    level: EventLogLevel
    """The worst yet."""
    forced: bool = False
    """Whether an event asked for an alert by its flag."""
    count: int
    """How many distinct events; exact."""
    state: AlertState = AlertState.OPEN
    opened_at: datetime
    updated_at: datetime
    """When it last counted an event."""
    first_event_id: str
    last_event_id: str
    first_event_at: datetime
    last_event_at: datetime
    last_seq: int
    """Place in received order of the last event counted: nothing at or below it is counted again."""
    due_at: datetime | None
    """When the notifier next looks at it; None: not before something happens."""
    acknowledged: Signed | None = None
    resolved: Signed | None = None
    silenced_by: str | None = None
    """The silence that last kept it from being mailed."""
    revision: int = Field(default=0, exclude=True)
    """How often it was stored, in a store that several servers share: what tells that another has changed it."""
    told: dict[str, Told] = Field(default_factory=dict)
    """By recipient."""


class Silence(BaseModel):
    """Alerts whose latest event matches are counted but not mailed, until it expires."""

    model_config = ConfigDict(frozen=True)

    silence_id: str
    matcher: dict[str, object]
    """An EventQuery as JSON; `rule` and `alert_id` beside it name rules and alerts."""
    created_at: datetime
    expires_at: datetime
    reason: str
    author: str
    ended_at: datetime | None = None
    """When somebody ended it early."""

    def active(self, now: datetime) -> bool:
        """Whether it silences at this moment."""
        return self.ended_at is None and now < self.expires_at


class Mail(BaseModel):
    """One message in the outbox, written in full when it became due: a retry sends the same bytes."""

    model_config = ConfigDict(frozen=True)

    mail_id: str
    message_id: str
    recipients: tuple[str, ...]
    subject: str
    purpose: Purpose = Purpose.ALERTS
    alert_ids: tuple[str, ...] = ()
    created_at: datetime
    state: MailState = MailState.PENDING
    attempts: int = 0
    next_at: datetime
    """When to try (again), while pending."""
    turned_down: bool = False
    """Whether the mail server talked to us, and would not have this mail for now."""
    retried_at: datetime | None = None
    """When somebody asked for another try; it is given up a day after that."""
    last_answer: str | None = None
    """The mail server's last words about it, or what went wrong."""
    finished_at: datetime | None = None
    content: bytes = Field(default=b"", repr=False, exclude=True)


@dataclass(frozen=True, slots=True)
class Change:
    """What moves together."""

    position: str | None = None
    """The cursor after the last event judged; None leaves it."""
    alerts: Sequence[Alert] = ()
    counted: Collection[tuple[int, str]] = ()
    """Events counted, as (first_seq, alert_id)."""
    mails: Sequence[Mail] = ()
    silences: Sequence[Silence] = ()


class AlertStore(Protocol):
    """Shares the life of the event store it came from."""

    async def hold(self, holder: str, seconds: float) -> bool:
        """Takes or renews the right to be the one that alerts, for so long; False while another has it."""

    async def let_go(self, holder: str) -> None:
        """Gives that right back, if this holder has it."""

    async def position(self) -> str | None:
        """The cursor after the last event judged; None before the first."""

    async def apply(self, change: Change) -> None:
        """Stores all of it in one transaction."""

    async def alert(self, alert_id: str) -> Alert:
        """The alert of this id, or of a beginning no other has. Raises NotFound, Ambiguous."""

    async def unresolved(self, keys: Collection[str]) -> dict[str, Alert]:
        """The unresolved alerts of these keys, by key."""

    async def alert_counts(self) -> dict[AlertState, int]:
        """How many alerts are in each state."""

    async def alerts(self, states: Collection[AlertState], limit: int) -> list[Alert]:
        """Alerts in any of these states, the one that counted last first."""

    async def due_alerts(self, until: datetime) -> list[Alert]:
        """Alerts the notifier has to look at by then, earliest first."""

    async def next_due(self) -> datetime | None:
        """When the notifier next has something to look at."""

    async def counted(self, first_seqs: Collection[int]) -> set[tuple[int, str]]:
        """Which of these events were counted, and in which alerts."""

    async def silences(self) -> list[Silence]:
        """All, the latest first."""

    async def silence(self, silence_id: str) -> Silence:
        """The silence of this id, or of a beginning no other has. Raises NotFound, Ambiguous."""

    async def mail(self, mail_id: str) -> Mail:
        """The mail of this id, or of a beginning no other has, with its content. Raises NotFound."""

    async def mails(self, states: Collection[MailState], limit: int) -> list[Mail]:
        """Mails in any of these states, the latest first, without content."""

    async def mails_about(self, alert_id: str) -> list[Mail]:
        """The mails that told of this alert, the latest first, without content."""

    async def mails_since(self, moment: datetime) -> list[Mail]:
        """Mails written after this moment or still pending, the oldest first, without content."""

    async def due_mails(self, now: datetime, limit: int) -> list[Mail]:
        """Pending mails whose time has come, the longest due first, with content."""

    async def next_mail(self) -> datetime | None:
        """When a pending mail is next due."""

    async def mail_counts(self) -> dict[MailState, int]:
        """How many mails are in each state."""

    async def prune(self, before: datetime) -> None:
        """Forgets alerts resolved, mails finished and silences over before this."""


def no_such(what: str, id_: str, *, several: bool) -> MadsciEventsError:
    """The error for an id that no thing has, or a beginning of one that several have."""
    if several:
        return Ambiguous(f"several {what}s have an id that begins with {shown(id_)}; give more of it")
    return NotFound(f"there is no {what} {shown(id_)}")
