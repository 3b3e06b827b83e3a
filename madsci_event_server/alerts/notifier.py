"""Notifier: decides who is mailed what and when, and puts the mails into the outbox.

New alerts wait a moment for others and share one mail; what goes on is told in digests; what stays open is repeated.
The breaker counts mails written, so nothing that fails or restarts can widen it. While a mail to somebody is still
under way, no other is written to them: what happens meanwhile is in the next one, counted.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from madsci_event_server.alerts import life
from madsci_event_server.alerts.mail import DETAILED_ALERTS, Context, Draft, MailWriter, command_line, pressing_first
from madsci_event_server.alerts.rules import RuleBook
from madsci_event_server.alerts.silences import Silences
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.errors import NotFound, QueryTimedOut, StoreError
from madsci_event_server.event import Event
from madsci_event_server.query import EventQuery
from madsci_event_server.storage.alert_base import (
    Alert,
    AlertState,
    AlertStore,
    Change,
    Mail,
    MailState,
    Purpose,
    Signed,
    Told,
)
from madsci_event_server.storage.base import EventStore

BREAKER_WINDOW: Final = timedelta(hours=1)
UNDER_WAY_RECHECK: Final = timedelta(seconds=5)
"""How soon to look again at somebody whose last mail is still being sent."""
CONTEXT_EVENTS: Final = 10
TURNED_DOWN_HOLDS: Final = timedelta(minutes=30)
"""How long a mail the server turns down for now keeps others to the same people back: it may be that mail alone."""

_log = logging.getLogger(__name__)


@dataclass
class _Budget:
    """What the breaker leaves."""

    limit: int
    in_all: int
    """How many more mails may be written now, to anybody."""
    written: dict[str, int] = field(default_factory=dict)
    """Mails of the last hour, by recipient."""
    held_until: dict[str, datetime] = field(default_factory=dict)
    """Recipients who are written nothing before then."""
    all_held_until: datetime | None = None

    def hold(self, recipient: str) -> datetime | None:
        """Until when this recipient is written nothing; None: they may be."""
        times = [moment for moment in (self.held_until.get(recipient), self.all_held_until) if moment is not None]
        return max(times, default=None)

    def spend(self, recipients: Sequence[str]) -> None:
        """Counts one mail."""
        self.in_all -= 1
        for recipient in recipients:
            self.written[recipient] = self.written.get(recipient, 0) + 1

    def may_reach(self, recipient: str) -> bool:
        """Whether they may be written one more."""
        return self.hold(recipient) is None and self.written.get(recipient, 0) < self.limit

    def is_last_for(self, recipient: str) -> bool:
        """Whether the next mail to them is the last for an hour."""
        return self.written.get(recipient, 0) >= self.limit - 1


class Notifier:
    """Turns alerts that are due into mails in the outbox."""

    def __init__(
        self, events: EventStore, alerts: AlertStore, rules: RuleBook, timing: EmailAlertsConfig, writer: MailWriter
    ) -> None:
        self._events = events
        self._alerts = alerts
        self._rules = rules
        self._timing = timing
        self._writer = writer
        self.failures = 0
        """How many mails could not be written."""

    async def open(self, now: datetime) -> None:
        """Takes up open alerts that nobody was to be told of when they were counted, if now somebody is."""
        unresolved = await self._alerts.alerts([AlertState.OPEN], limit=100_000)
        forgotten = [
            alert.model_copy(update={"due_at": now})
            for alert in unresolved
            if alert.due_at is None and self._rules.recipients(alert.rule)
        ]
        if forgotten:
            await self._alerts.apply(Change(alerts=forgotten))

    async def plan(self, now: datetime) -> list[Mail]:
        """Writes the mails due by now and says which; alerts and mails are stored together."""
        looked_at = await self._alerts.due_alerts(now + self._timing.digest)
        due = {alert.alert_id for alert in looked_at if alert.due_at is not None and alert.due_at <= now}
        if not due:
            return []
        alerts = {alert.alert_id: alert for alert in await self._settle(looked_at, now)}
        budget = await self._budget(now)
        mails = []
        for draft in self._drafts(alerts, due, budget, now):
            try:
                mail = await self._write(draft)
            except (StoreError, QueryTimedOut):
                raise
            except Exception:  # noqa: BLE001 - a mail that cannot be written must not keep back all others
                self.failures += 1
                _log.exception("a mail to %s could not be written; it is tried again", ", ".join(draft.recipients))
                budget.held_until.update(dict.fromkeys(draft.recipients, now + self._timing.digest))
                continue
            mails.append(mail)
            alerts.update(_told(alerts, draft, mail.message_id))
        touched = due | {alert_id for mail in mails for alert_id in mail.alert_ids}
        changed = [self._with_due(alerts[alert_id], budget) for alert_id in touched]
        await self._alerts.apply(Change(alerts=changed, mails=mails))
        return mails

    async def _settle(self, looked_at: Sequence[Alert], now: datetime) -> list[Alert]:
        """The alerts as they are by now: those long quiet resolved, silences begun or over."""
        silences = Silences(await self._alerts.silences(), now, self._events.names_directory)
        settled = []
        for alert in looked_at:
            if alert.state == AlertState.OPEN:
                settled.append(await self._silenced_or_not(alert, silences))
            elif alert.state == AlertState.ACKNOWLEDGED and now >= life.quiet_at(alert):
                note = Signed(by=life.RESOLVED_BY_QUIET, at=now, note="acknowledged, and quiet for 24 hours")
                settled.append(life.resolved(alert, note))
            else:
                settled.append(alert)
        return settled

    async def _silenced_or_not(self, alert: Alert, silences: Silences) -> Alert:
        last_event = await self._last_event(alert) if silences else None
        silence = silences.matching(alert, last_event)
        if silence is None:
            return alert.model_copy(update={"silenced_by": None})
        return alert.model_copy(update={"silenced_by": silence.silence_id, "due_at": silence.expires_at})

    async def _budget(self, now: datetime) -> _Budget:
        recent = await self._alerts.mails_since(now - BREAKER_WINDOW)
        counted = [mail for mail in recent if mail.created_at > now - BREAKER_WINDOW]
        budget = _Budget(self._timing.mails_per_hour, self._timing.mails_per_hour_in_all)
        for mail in counted:
            budget.spend(mail.recipients)
        for mail in recent:
            if (until := _held_by(mail, now)) is not None:
                for recipient in mail.recipients:
                    budget.held_until[recipient] = max(until, budget.held_until.get(recipient, until))
        if budget.in_all <= 0:
            budget.all_held_until = counted[0].created_at + BREAKER_WINDOW
        return budget

    def _drafts(self, alerts: dict[str, Alert], due: set[str], budget: _Budget, now: datetime) -> list[Draft]:
        drafts = []
        left_over: dict[str, list[Alert]] = {}
        for recipient in self._rules.everybody:
            if budget.hold(recipient) is not None:
                continue
            mine = [alert for alert in alerts.values() if self._concerns(alert, recipient)]
            owed = {alert.alert_id for alert in mine if self._owes(alert, recipient, now)}
            if not owed & due:
                continue
            news = [alert for alert in mine if alert.alert_id in owed or _is_news(alert, recipient)]
            if budget.in_all <= 1:
                left_over[recipient] = news
                continue
            storm = budget.is_last_for(recipient)
            drafts.append(self._draft((recipient,), news, now, storm=storm))
            budget.spend([recipient])
            if storm:
                budget.held_until[recipient] = now + BREAKER_WINDOW
        if left_over and budget.in_all == 1:
            news = list({alert.alert_id: alert for owed in left_over.values() for alert in owed}.values())
            everybody = self._rules.everybody
            open_to = tuple(person for person in everybody if person in left_over or budget.may_reach(person))
            drafts.append(self._draft(open_to, news, now, storm=True))
            budget.spend(open_to)
        if left_over:
            budget.all_held_until = budget.all_held_until or now + BREAKER_WINDOW
        return drafts

    def _concerns(self, alert: Alert, recipient: str) -> bool:
        silenced = alert.state == AlertState.OPEN and alert.silenced_by is not None
        return not silenced and recipient in self._rules.recipients(alert.rule)

    def _owes(self, alert: Alert, recipient: str, now: datetime) -> bool:
        moment = life.next_telling(alert, alert.told.get(recipient), self._timing)
        return moment is not None and moment <= now

    @staticmethod
    def _draft(recipients: tuple[str, ...], alerts: Sequence[Alert], now: datetime, *, storm: bool) -> Draft:
        purpose = Purpose.STORM if storm else Purpose.ALERTS
        return Draft(recipients, pressing_first(alerts), now, purpose, now + BREAKER_WINDOW if storm else None)

    async def _write(self, draft: Draft) -> Mail:
        draft = await self._with_context(draft)
        message = self._writer.write(draft)
        return Mail(
            mail_id=draft.mail_id,
            message_id=str(message["Message-ID"]),
            recipients=draft.recipients,
            subject=str(message["Subject"]),
            purpose=draft.purpose,
            alert_ids=tuple(alert.alert_id for alert in draft.alerts),
            created_at=draft.now,
            next_at=draft.now,
            content=message.as_bytes(),
        )

    async def _with_context(self, draft: Draft) -> Draft:
        if draft.purpose == Purpose.STORM:
            return draft
        contexts, guidance = {}, {}
        for alert in draft.alerts[:DETAILED_ALERTS]:
            if text := self._rules.guidance(alert.rule):
                guidance[alert.alert_id] = text
            if (event := await self._last_event(alert)) is not None and alert.state != AlertState.RESOLVED:
                contexts[alert.alert_id] = await self._context(event)
        return Draft(draft.recipients, draft.alerts, draft.now, draft.purpose, draft.held_until, contexts, guidance)

    async def _context(self, event: Event) -> Context:
        title, filters = _surroundings(event)
        command = command_line({name.replace("_", "-"): value for name, value in filters.items()}, 50)
        page_of = {
            "end_time": event.event_timestamp,
            "limit": CONTEXT_EVENTS,
            "order": "-time",
            "include_archived": True,
        }
        query = EventQuery.parse({**filters, **page_of})
        try:
            page = await self._events.find(query.resolved(self._events.names_directory))
        except QueryTimedOut:
            return Context(title, command, (), "could not be read in time")
        return Context(title, command, [stored.event for stored in reversed(page.events)])

    async def _last_event(self, alert: Alert) -> Event | None:
        try:
            return (await self._events.get(alert.last_event_id)).event
        except NotFound:  # purged since
            return None

    def _with_due(self, alert: Alert, budget: _Budget) -> Alert:
        if alert.state == AlertState.OPEN and alert.silenced_by is not None:
            return alert
        if alert.state == AlertState.ACKNOWLEDGED:
            return alert.model_copy(update={"due_at": life.next_look(alert, (), self._timing)})
        times = []
        for recipient in self._rules.recipients(alert.rule):
            moment = life.next_telling(alert, alert.told.get(recipient), self._timing)
            if moment is not None:
                times.append(max(moment, budget.hold(recipient) or moment))
        return alert.model_copy(update={"due_at": min(times, default=None)})


def _held_by(mail: Mail, now: datetime) -> datetime | None:
    """Until when this mail keeps others to its recipients back."""
    times = []
    if mail.purpose == Purpose.STORM and mail.created_at + BREAKER_WINDOW > now:
        times.append(mail.created_at + BREAKER_WINDOW)
    if mail.state == MailState.PENDING and not (mail.turned_down and now >= mail.created_at + TURNED_DOWN_HOLDS):
        until = max(mail.next_at, now + UNDER_WAY_RECHECK)
        times.append(min(until, mail.created_at + TURNED_DOWN_HOLDS) if mail.turned_down else until)
    return max(times, default=None)


def _told(alerts: Mapping[str, Alert], draft: Draft, message_id: str) -> dict[str, Alert]:
    """The alerts of a mail, as its recipients now know of them."""
    found = {}
    for alert in (alerts[told_of.alert_id] for told_of in draft.alerts):
        news = {
            recipient: Told(
                thread=alert.told[recipient].thread if recipient in alert.told else message_id,
                count=alert.count,
                level=alert.level,
                forced=alert.forced,
                at=draft.now,
                resolved=alert.state == AlertState.RESOLVED,
            )
            for recipient in draft.recipients
        }
        found[alert.alert_id] = alert.model_copy(update={"told": {**alert.told, **news}})
    return found


def _is_news(alert: Alert, recipient: str) -> bool:
    """Whether there is something they don't know, which may travel with a mail that goes to them anyhow."""
    told = alert.told.get(recipient)
    return alert.state == AlertState.OPEN and (told is None or told.count < alert.count)


def _surroundings(event: Event) -> tuple[str, dict[str, str]]:
    """What an event is part of, in words and as filters: its workflow, else its node, else who says it."""
    ids = event.ids
    if "workflow_id" in ids:
        return f"workflow {ids['workflow_id']}", {"workflow_id": ids["workflow_id"]}
    if "node_id" in ids:
        name = next((named.name for named in event.named_ids if named.field == "node_id"), None)
        filters = {"node_id": ids["node_id"]} if name is None or name.startswith("!") else {"node": name}
        return f"node {name or ids['node_id']}", filters
    if event.name is not None and not event.name.startswith("!"):
        is_node = isinstance(event.event_data, dict) and event.event_data.get("node_name") == event.name
        return (f"node {event.name}", {"node": event.name}) if is_node else (event.name, {"name": event.name})
    for name, value in ids.items():
        return f"{name.removesuffix('_id')} {value}", {name: value}
    return "the whole lab", {}
