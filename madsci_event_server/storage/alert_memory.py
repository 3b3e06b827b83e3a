"""MemoryAlertStore: what alerting remembers, for as long as the process lives."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TypeVar

from madsci_event_server.storage.alert_base import (
    Alert,
    AlertState,
    Change,
    Mail,
    MailState,
    Silence,
    no_such,
)

_T = TypeVar("_T")


class MemoryAlertStore:
    """An AlertStore in dictionaries."""

    def __init__(self) -> None:
        self._position: str | None = None
        self._alerts: dict[str, Alert] = {}
        self._counted: set[tuple[int, str]] = set()
        self._silences: dict[str, Silence] = {}
        self._mails: dict[str, Mail] = {}

    async def hold(self, holder: str, seconds: float) -> bool:
        return True  # nobody else has this memory

    async def let_go(self, holder: str) -> None:
        pass

    async def position(self) -> str | None:
        return self._position

    async def apply(self, change: Change) -> None:
        self._position = change.position or self._position
        self._alerts.update({alert.alert_id: alert for alert in change.alerts})
        self._counted.update(change.counted)
        self._silences.update({silence.silence_id: silence for silence in change.silences})
        for mail in change.mails:
            known = self._mails.get(mail.mail_id)
            content = mail.content or (known.content if known else b"")
            self._mails[mail.mail_id] = mail.model_copy(update={"content": content})

    async def alert(self, alert_id: str) -> Alert:
        return _only(self._alerts, alert_id, "alert")

    async def unresolved(self, keys: Collection[str]) -> dict[str, Alert]:
        return {alert.key: alert for alert in self._unresolved() if alert.key in keys}

    async def alert_counts(self) -> dict[AlertState, int]:
        states = [alert.state for alert in self._alerts.values()]
        return {state: states.count(state) for state in AlertState}

    async def alerts(self, states: Collection[AlertState], limit: int) -> list[Alert]:
        found = [alert for alert in self._alerts.values() if alert.state in states]
        return sorted(found, key=lambda alert: (alert.updated_at, alert.last_seq), reverse=True)[:limit]

    async def due_alerts(self, until: datetime) -> list[Alert]:
        found = [(alert.due_at, alert.last_seq, alert) for alert in self._alerts.values() if alert.due_at is not None]
        return [alert for due_at, _, alert in sorted(found, key=lambda item: item[:2]) if due_at <= until]

    async def next_due(self) -> datetime | None:
        return min((alert.due_at for alert in self._alerts.values() if alert.due_at is not None), default=None)

    async def counted(self, first_seqs: Collection[int]) -> set[tuple[int, str]]:
        return {pair for pair in self._counted if pair[0] in first_seqs}

    async def silences(self) -> list[Silence]:
        return sorted(self._silences.values(), key=lambda silence: silence.created_at, reverse=True)

    async def silence(self, silence_id: str) -> Silence:
        return _only(self._silences, silence_id, "silence")

    async def mail(self, mail_id: str) -> Mail:
        return _only(self._mails, mail_id, "mail")

    async def mails(self, states: Collection[MailState], limit: int) -> list[Mail]:
        return self._latest(mail for mail in self._mails.values() if mail.state in states)[:limit]

    async def mails_about(self, alert_id: str) -> list[Mail]:
        return self._latest(mail for mail in self._mails.values() if alert_id in mail.alert_ids)

    async def mails_since(self, moment: datetime) -> list[Mail]:
        found = self._latest(
            mail for mail in self._mails.values() if mail.created_at > moment or mail.state == MailState.PENDING
        )
        return found[::-1]

    async def due_mails(self, now: datetime, limit: int) -> list[Mail]:
        found = [mail for mail in self._mails.values() if mail.state == MailState.PENDING and mail.next_at <= now]
        return sorted(found, key=lambda mail: (mail.next_at, mail.created_at))[:limit]

    async def next_mail(self) -> datetime | None:
        pending = (mail.next_at for mail in self._mails.values() if mail.state == MailState.PENDING)
        return min(pending, default=None)

    async def mail_counts(self) -> dict[MailState, int]:
        states = [mail.state for mail in self._mails.values()]
        return {state: states.count(state) for state in MailState}

    async def prune(self, before: datetime) -> None:
        gone = {a.alert_id for a in self._alerts.values() if a.resolved is not None and a.resolved.at < before}
        self._alerts = {key: alert for key, alert in self._alerts.items() if key not in gone}
        self._counted = {pair for pair in self._counted if pair[1] not in gone}
        self._mails = {
            key: mail for key, mail in self._mails.items() if mail.finished_at is None or mail.finished_at >= before
        }
        self._silences = {
            key: silence
            for key, silence in self._silences.items()
            if (silence.ended_at or silence.expires_at) >= before
        }

    def _unresolved(self) -> Iterable[Alert]:
        return (alert for alert in self._alerts.values() if alert.state != AlertState.RESOLVED)

    def _latest(self, mails: Iterable[Mail]) -> list[Mail]:
        found = [mail.model_copy(update={"content": b""}) for mail in mails]
        return sorted(found, key=lambda mail: (mail.created_at, mail.mail_id), reverse=True)


def _only(known: dict[str, _T], id_: str, what: str) -> _T:
    if id_ in known:
        return known[id_]
    found = [key for key in known if id_ and key.startswith(id_.lower())]
    if len(found) == 1:
        return known[found[0]]
    raise no_such(what, id_, several=bool(found))
