"""Mail: what a group of alerts reads like in somebody's inbox. Pure: text in, one message out.

Everything an event says is made visible before it enters a header or the text: nothing in it can start a header, end
the message, or steer a terminal the mail is read in.
"""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from madsci_event_server.alerts.life import badge, severity
from madsci_event_server.definition.email_settings import EmailAlertsConfig, Importance
from madsci_event_server.event import Event, EventLogLevel
from madsci_event_server.moments import in_zone
from madsci_event_server.storage.alert_base import Alert, AlertState, Purpose
from madsci_event_server.visible import visible

DETAILED_ALERTS: Final = 3
"""How many alerts of one mail are told with guidance and context; the others have a line each."""
LISTED_ALERTS: Final = 30
_SUBJECT_MESSAGE_CHARACTERS: Final = 90
_NAME_CHARACTERS: Final = 60
_NAME_COLUMNS: Final = 24
_RULE: Final = "\n\n" + "-" * 72 + "\n\n"
_LINE_MESSAGE_CHARACTERS: Final = 200
_MAX_REFERENCES: Final = 20
_PRIORITIES: Final[Mapping[Importance, tuple[str, str]]] = {
    "High": ("1 (Highest)", "urgent"),
    "Normal": ("3 (Normal)", "normal"),
    "Low": ("5 (Lowest)", "non-urgent"),
}


@dataclass(frozen=True, slots=True)
class Context:
    """What happened around an alert's last event."""

    title: str
    """`workflow 01J...`, `node liquidhandler_1` ..."""
    command: str
    """The line that shows it."""
    events: Sequence[Event]
    """Oldest first."""
    problem: str | None = None
    """Why there are no events to show."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One mail before it is written."""

    recipients: tuple[str, ...]
    alerts: Sequence[Alert]
    """The most pressing first."""
    now: datetime
    purpose: Purpose = Purpose.ALERTS
    held_until: datetime | None = None
    """Of a storm: when these recipients are mailed again."""
    contexts: Mapping[str, Context] = field(default_factory=dict)
    """By alert id."""
    guidance: Mapping[str, str] = field(default_factory=dict)
    """By alert id."""

    @property
    def mail_id(self) -> str:
        """The same for the same news to the same people: a digest of who is told what, after what."""
        parts = [self.purpose, *self.recipients]
        for alert in self.alerts:
            before = [str(told.at) for person in self.recipients if (told := alert.told.get(person))]
            parts += [alert.alert_id, str(alert.count), alert.state, *before]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class MailWriter:
    """Writes mails in one lab's name, with times in its zone."""

    def __init__(self, config: EmailAlertsConfig, lab_name: str, zone: tzinfo | None) -> None:
        self._config = config
        self._lab_name = visible(config.lab_name or lab_name)[:_NAME_CHARACTERS]
        self._zone = zone

    def message_id(self, mail_id: str) -> str:
        """The Message-ID of a mail: the same at every attempt to send it."""
        domain = self._config.sender_address.rpartition("@")[2]
        return f"<{mail_id}@{domain if domain.isascii() else 'madsci-events.invalid'}>"

    def write(self, draft: Draft) -> EmailMessage:
        """The whole message."""
        storm = draft.purpose == Purpose.STORM
        subject = self._storm_subject(draft) if storm else self._subject(draft.alerts)
        text = self._storm_text(draft) if storm else self._text(draft)
        message = self._envelope(draft.recipients, subject, self.message_id(draft.mail_id), draft.now)
        self._set_importance(message, self._importance(draft.alerts))
        references = _references(draft)
        if references:
            message["In-Reply-To"] = references[0]
            message["References"] = " ".join(references)
        message.set_content(text, cte="quoted-printable")
        return message

    def write_test(self, recipients: Sequence[str], now: datetime, mail_id: str) -> EmailMessage:
        """The mail of `alerts test`."""
        message = self._envelope(
            recipients, f"[{self._lab_name}] TEST: alert mail works", self.message_id(mail_id), now
        )
        self._set_importance(message, "Normal")
        message.set_content(
            "This is a test. Alerts of this lab reach you at this address; there is nothing to do.\n\n"
            f"Sent {self._moment(now)} by `madsci-events alerts test`.\n",
            cte="quoted-printable",
        )
        return message

    def _envelope(self, recipients: Sequence[str], subject: str, message_id: str, now: datetime) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self._config.sender
        message["To"] = ", ".join(recipients)
        message["Subject"] = subject
        message["Date"] = format_datetime(in_zone(now, self._zone))
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        return message

    def _importance(self, alerts: Sequence[Alert]) -> Importance:
        live = [alert for alert in alerts if alert.state != AlertState.RESOLVED]
        if any(alert.forced or alert.level >= EventLogLevel.CRITICAL for alert in live):
            return "High"
        return self._config.default_importance if live else "Low"

    @staticmethod
    def _set_importance(message: EmailMessage, importance: Importance) -> None:
        message["Importance"] = importance
        message["X-Priority"], message["Priority"] = _PRIORITIES[importance]

    def _subject(self, alerts: Sequence[Alert]) -> str:
        first, others = alerts[0], len(alerts) - 1
        more = "" if not others else f" and {others} more alert{'s' if others > 1 else ''}"
        where = f"{visible(first.source)[:_NAME_CHARACTERS]}: " if first.source else ""
        what = _cut(visible(first.message), _SUBJECT_MESSAGE_CHARACTERS)
        return f"[{self._lab_name}] {badge(first)} {where}{what}{_times(first)}{more}"

    def _storm_subject(self, draft: Draft) -> str:
        events = sum(alert.count for alert in draft.alerts)
        return f"[{self._lab_name}] STORM: {_plural(len(draft.alerts), 'alert')}, {_plural(events, 'event')}"

    def _text(self, draft: Draft) -> str:
        detailed, listed = draft.alerts[:DETAILED_ALERTS], draft.alerts[DETAILED_ALERTS:]
        parts = [self._detail(alert, draft) for alert in detailed]
        if listed:
            parts.append("\n".join(["Also", *self._lines(listed)]))
        return _RULE.join(parts) + "\n"

    def _storm_text(self, draft: Draft) -> str:
        until = self._moment(draft.held_until) if draft.held_until is not None else "later"
        events = _plural(sum(alert.count for alert in draft.alerts), "event")
        return "\n".join(
            [
                f"Too much is going wrong to mail it all: {_plural(len(draft.alerts), 'alert')} with {events}.",
                f"You get no further alert mail until {until}. Everything is still recorded and counted.",
                "",
                *self._lines(draft.alerts),
                "",
                "See them all",
                "  madsci-events alerts list",
                "",
            ]
        )

    def _lines(self, alerts: Sequence[Alert]) -> list[str]:
        shown = [
            f"  {badge(alert):<8}  {alert.alert_id}  {_where(alert)}"
            f"{_cut(visible(alert.message), _LINE_MESSAGE_CHARACTERS)}{_times(alert)}"
            for alert in alerts[:LISTED_ALERTS]
        ]
        left = alerts[LISTED_ALERTS:]
        if left:
            events = sum(alert.count for alert in left)
            shown.append(f"  and {_plural(len(left), 'more alert')} with {_plural(events, 'event')}")
        return shown

    def _detail(self, alert: Alert, draft: Draft) -> str:
        title = f"{badge(alert)}  {_where(alert)}{visible(alert.message)}"
        parts = [f"{title}\n{self._counts(alert, draft)}"]
        if alert.resolved is not None:
            by = f"Resolved by {visible(alert.resolved.by)} at {self._moment(alert.resolved.at)}"
            parts.append(by + (f": {visible(alert.resolved.note)}" if alert.resolved.note else ""))
        elif guidance := draft.guidance.get(alert.alert_id):
            parts.append("What to do\n" + _indented(guidance))
        if context := draft.contexts.get(alert.alert_id):
            parts += self._context(context)
        if alert.resolved is None:
            parts.append(f"Take it on, and hear no more of it\n  madsci-events alerts ack {alert.alert_id}")
        parts.append(
            f"Alert {alert.alert_id}, rule {visible(alert.rule)}, kind {visible(alert.kind)}, "
            f"last event {visible(alert.last_event_id)}"
        )
        return "\n\n".join(parts)

    def _counts(self, alert: Alert, draft: Draft) -> str:
        first, last = self._moment(alert.first_event_at), self._moment(alert.last_event_at)
        if alert.count == 1:
            return f"1 event, {last}"
        before = [told.count for person in draft.recipients if (told := alert.told.get(person)) is not None]
        news = f", {alert.count - max(before)} since the last mail" if before else ""
        return f"{alert.count} events{news}\nfirst {first}\nlast  {last}"

    def _context(self, context: Context) -> list[str]:
        title = f"Last events of {visible(context.title)}"
        if context.problem is not None:
            return [f"{title}: {context.problem}", f"See more\n  {visible(context.command)}"]
        names = [visible(event.name or "-")[:_NAME_COLUMNS] for event in context.events]
        width = max(map(len, names), default=0)
        lines = [
            f"  {in_zone(event.event_timestamp, self._zone):%H:%M:%S.%f}"[:-3]
            + f"  {event.log_level.name:<8}  {name:<{width}}  "
            + _cut(visible(event.message), _LINE_MESSAGE_CHARACTERS)
            for event, name in zip(context.events, names, strict=True)
        ]
        return ["\n".join([title, *lines]), f"See more\n  {visible(context.command)}"]

    def _moment(self, moment: datetime) -> str:
        return f"{in_zone(moment, self._zone):%Y-%m-%d %H:%M:%S %Z}"


def pressing_first(alerts: Sequence[Alert]) -> list[Alert]:
    """The order a mail tells alerts in: the first names it."""
    return sorted(alerts, key=severity, reverse=True)


def command_line(filters: Mapping[str, str], number: int) -> str:
    """The command that shows the events of these filters, safe to paste."""
    options = " ".join(f"--{name} {shlex.quote(value)}" for name, value in filters.items())
    return " ".join(filter(None, ["madsci-events query", options, f"-n {number}"]))


def _references(draft: Draft) -> list[str]:
    """The first mails about these alerts to these people; the first alert's comes first."""
    found = [told.thread for alert in draft.alerts for person in draft.recipients if (told := alert.told.get(person))]
    return list(dict.fromkeys(found))[:_MAX_REFERENCES]


def _where(alert: Alert) -> str:
    return f"{visible(alert.source)}: " if alert.source else ""


def _times(alert: Alert) -> str:
    return f" (x{alert.count})" if alert.count > 1 else ""


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _indented(text: str) -> str:
    return "\n".join(f"  {visible(line)}" for line in text.strip().split("\n"))
