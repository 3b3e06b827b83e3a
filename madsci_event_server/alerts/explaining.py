"""Why somebody was mailed about an event, or why not: in sentences, from what is stored. Pure."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Final

from madsci_event_server.alerts import life
from madsci_event_server.alerts.config import DEFAULT_RULE, FORCED_RULE
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.event import Event, EventLogLevel
from madsci_event_server.moments import in_zone
from madsci_event_server.storage.alert_base import Alert, AlertState, Mail, MailState, Silence

_FATES: Final = {
    MailState.PENDING: "waits to be sent",
    MailState.SENT: "was taken by the mail server",
    MailState.DEAD: "could not be delivered",
    MailState.CANCELLED: "was cancelled",
}


class Explainer:
    """Sentences in one lab's terms."""

    def __init__(self, alert_level: EventLogLevel, timing: EmailAlertsConfig, zone: tzinfo | None) -> None:
        self._alert_level = alert_level
        self._timing = timing
        self._zone = zone

    def verdict(self, event: Event, rules: Sequence[str], *, judged: bool) -> list[str]:
        """What the rules make of the event."""
        flag = "with" if event.alert else "without"
        found = [f"The event is {event.log_level.name}, {flag} the alert flag."]
        if not rules:
            found.append(
                f"No rule matches: alert_level is {self._alert_level.name}, and no other rule's query holds. "
                "There is no alert, so no mail."
            )
        found += [_RULE_SENTENCES.get(rule, f"Rule {rule} matches.") for rule in rules]
        if rules and not judged:
            found.append("Alerting has not come to it yet; it is counted within seconds.")
        return found

    def history(
        self,
        alert: Alert,
        recipients: Sequence[str],
        mails: Sequence[Mail],
        silence: Silence | None,
        now: datetime,
    ) -> list[str]:
        """What happened to an alert that counted the event, and what each recipient was told."""
        found = [f"It was counted in alert {alert.alert_id} ({alert.state}, x{alert.count}, rule {alert.rule})."]
        if alert.acknowledged is not None:
            found.append(f"{alert.acknowledged.by} acknowledged it at {self._at(alert.acknowledged.at)}: no more mail.")
        if alert.resolved is not None:
            found.append(f"{alert.resolved.by} resolved it at {self._at(alert.resolved.at)}.")
        if silence is not None and silence.active(now):
            found.append(
                f"Silence {silence.silence_id} by {silence.author} keeps it from being mailed until "
                f"{self._at(silence.expires_at)}: {silence.reason}."
            )
        if not recipients:
            found.append("Nobody is mailed: neither email_addresses nor the rule names anybody.")
        return found + [self._told(alert, person, mails, silence, now) for person in recipients]

    def _told(self, alert: Alert, recipient: str, mails: Sequence[Mail], silence: Silence | None, now: datetime) -> str:
        mail = next((mail for mail in mails if recipient in mail.recipients), None)
        said = f"{recipient} was not mailed."
        if mail is not None:
            answer = f" ({mail.last_answer})" if mail.last_answer else ""
            said = f"{recipient}: mail {mail.mail_id} of {self._at(mail.created_at)} {_FATES[mail.state]}{answer}."
        if silence is not None and silence.active(now):
            return said
        return f"{said}{self._next(alert, recipient)}"

    def _next(self, alert: Alert, recipient: str) -> str:
        moment = life.next_telling(alert, alert.told.get(recipient), self._timing)
        if moment is None or alert.state == AlertState.RESOLVED:
            return ""
        at = max(moment, alert.due_at) if alert.due_at is not None else moment
        return f" The next mail is due at {self._at(at)} or when the breaker allows."

    def _at(self, moment: datetime) -> str:
        return f"{in_zone(moment, self._zone):%Y-%m-%d %H:%M:%S %Z}"


_RULE_SENTENCES: Final = {
    DEFAULT_RULE: "Rule alert_level matches: the level reaches alert_level.",
    FORCED_RULE: "No rule matches, but the alert flag forces an alert.",
}
