"""Alerting: the whole of it behind one door. Opened with the server; everything it does is off the request path.

One task reads events and writes the mails due, another sends them; a mail server that hangs delays only mail. What
people do (acknowledge, silence, resolve ...) comes in here too. All changes of alerts are made one after another.
"""

import asyncio
import logging
import math
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, Self

from madsci_event_server.alerts import life
from madsci_event_server.alerts.config import AlertRule
from madsci_event_server.alerts.delivery import Delivery
from madsci_event_server.alerts.explaining import Explainer
from madsci_event_server.alerts.mail import MailWriter
from madsci_event_server.alerts.notifier import Notifier
from madsci_event_server.alerts.proving import Proof, chosen_recipients, prove
from madsci_event_server.alerts.reader import EVENTS_A_TIME, AlertReader, CommittedAfter, nothing_in_memory, place_in
from madsci_event_server.alerts.rules import RuleBook
from madsci_event_server.alerts.silences import checked_matcher
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.ending import ended
from madsci_event_server.errors import InvalidInput, NotFound, QueryTimedOut, StoreError
from madsci_event_server.event import EventLogLevel
from madsci_event_server.storage.alert_base import (
    Alert,
    AlertState,
    AlertStore,
    Change,
    Mail,
    MailState,
    Signed,
    Silence,
)
from madsci_event_server.storage.base import EventStore

READ_PAUSE_SECONDS: Final = 0.25
"""The least time between two looks at new events: a burst is read in few, large gulps ..."""
READ_EVENTS: Final = 5000
"""... and so many end it: what is left to gather for longer may not be in memory any more, and the store be asked."""
HOLD_SECONDS: Final = 30.0
"""For how long one of several servers has the right to alert; after a crash another goes on so much later."""
RENEW_SECONDS: Final = 5.0
"""How often it is renewed, what other servers changed is seen, and those who wait ask for the right."""
STOP_SECONDS: Final = 3.0
"""How long the end waits for a mail that is being handed over."""
RETRY_SECONDS: Final = 5.0
"""How long to let the store recover."""
KEPT_FOR: Final = timedelta(days=90)
"""How long resolved alerts, finished mails and silences that are over can be looked up."""
LONGEST_SILENCE: Final = timedelta(days=30)
_PRUNE_EVERY: Final = timedelta(days=1)
_UNRESOLVED: Final = (AlertState.OPEN, AlertState.ACKNOWLEDGED)
_EVERY_ALERT: Final = 100_000
_NOTE_CHARACTERS: Final = 1000

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The server's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class AlertingConfig:
    """What alerting runs with."""

    alert_level: EventLogLevel = EventLogLevel.ERROR
    email: EmailAlertsConfig | None = None
    """None: alerts are kept and shown, and nobody is mailed."""
    rules: Sequence[AlertRule] = ()
    lab_name: str = "lab"
    zone: tzinfo | None = None
    """Of the times in mails; None: this machine's."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why somebody was mailed about an event, or why not."""

    event_id: str
    rules: Sequence[str]
    """The rules that match it."""
    alerts: Sequence[Alert]
    """The alerts that counted it."""
    mails: Sequence[Mail]
    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Condition:
    """What `/health` and status lines say of alerting."""

    configured: bool
    """Whether anybody is mailed at all."""
    open: int
    acknowledged: int
    silences: int
    mails_waiting: int
    dead_letters: int
    failures: int
    """Events, mails and rounds that broke alerting: each is a bug, and in the server's log."""
    last_failure: str | None
    """Why mail does not leave; None while it does."""


class Alerting:
    """`async with` starts it. `wait_past(seq)` returns the highest committed seq once that is greater than `seq`."""

    def __init__(
        self,
        events: EventStore,
        alerts: AlertStore,
        config: AlertingConfig,
        wait_past: Callable[[int], Awaitable[int]],
        clock: Callable[[], datetime] = utc_now,
        committed_after: CommittedAfter = nothing_in_memory,
    ) -> None:
        self.config = config
        self._email = config.email or EmailAlertsConfig()
        self._events = events
        self._alerts = alerts
        self._wait_past = wait_past
        self._clock = clock
        self._changing = asyncio.Lock()
        self.rules = RuleBook(config.alert_level, config.rules, self._email.email_addresses if config.email else ())
        self.writer = MailWriter(self._email, config.lab_name, config.zone)
        self._reader = AlertReader(events, alerts, self.rules, self._email, committed_after)
        self._notifier = Notifier(events, alerts, self.rules, self._email, self.writer)
        chance = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._delivery = Delivery(alerts, self._email, self._changing, chance, self._may_post)
        self._explainer = Explainer(config.alert_level, self._email, config.zone)
        self._something_changed = asyncio.Event()
        self._mail_written = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._prune_at: datetime | None = None
        self._failures = 0
        self._stopping = False
        self._holder = secrets.token_hex(8)
        self._held_until = 0.0
        self._renew_at = 0.0

    async def __aenter__(self) -> Self:
        await self.open()
        self._tasks = [asyncio.create_task(self._forever(self._watch), name="alerts: watch")]
        if self.config.email is not None:
            self._tasks.append(asyncio.create_task(self._forever(self._post), name="alerts: post"))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stopping = True
        if self._delivery.under_way:  # a mail cut off after the server took it would be sent again
            await asyncio.wait(self._tasks[1:], timeout=STOP_SECONDS)
        await ended(*self._tasks)
        try:
            if self.holding:
                await self._reader.save()
            await self._alerts.let_go(self._holder)
        except StoreError as error:  # some events will be read again
            _log.warning("the place of alerting could not be saved: %s", error)

    # --- Steps; the tasks below repeat them ---

    async def open(self) -> None:
        """Finds the place to go on from, and what was left undone."""
        now = self._clock()
        await self._reader.open()
        await self._notifier.open(now)
        await self._prune(now)

    @property
    def holding(self) -> bool:
        """Whether this is the one server that alerts."""
        return time.monotonic() < self._held_until

    def _may_post(self) -> bool:
        return self.holding and not self._stopping

    async def _hold(self) -> bool:
        """Takes or renews the lease in good time; who takes it goes on where the one before was."""
        asked = time.monotonic()
        if asked < self._renew_at:
            return True
        held = self.holding
        if not await self._alerts.hold(self._holder, HOLD_SECONDS):
            self._held_until = self._renew_at = 0.0
            return False
        if not held:
            await self._reader.open()
        self._held_until, self._renew_at = asked + HOLD_SECONDS, asked + RENEW_SECONDS
        return True

    async def watch(self) -> None:
        """Counts all new events, then writes the mails that are due; nothing, while another server does."""
        if not await self._hold():
            return
        while await self._read_some() >= EVENTS_A_TIME:  # noqa: ASYNC110 - this reads, it does not poll
            await asyncio.sleep(0)  # whoever else is ready goes first
        async with self._changing:
            if await self._notifier.plan(self._clock()):
                self._mail_written.set()

    async def post(self) -> None:
        """Tries every mail that is due; none, while another server does."""
        while self.holding and await self._delivery.deliver(self._clock()):
            pass

    async def _read_some(self) -> int:
        async with self._changing:
            return await self._reader.take(self._clock())

    # --- Tasks ---

    async def _forever(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._stopping:
            try:
                await loop()
            except (StoreError, QueryTimedOut) as error:
                _log.warning("alerting waits for the store: %s", error)
            except Exception:  # noqa: BLE001 - one bad event or mail must not end all alerting
                self._failures += 1
                _log.exception("alerting failed and goes on")
            if not self._stopping:
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self) -> None:
        committed = 0
        while True:
            await self.watch()
            await self._pause(max(committed, self._reader.seq))
            if self._prune_at is not None and self._clock() >= self._prune_at:
                await self._prune(self._clock())
            if self.holding:
                committed = await self._until_committed(max(committed, self._reader.seq))
            else:
                await asyncio.sleep(RENEW_SECONDS)

    async def _pause(self, seq: int) -> None:
        try:
            async with asyncio.timeout(READ_PAUSE_SECONDS):
                await self._wait_past(seq + READ_EVENTS)
        except TimeoutError:
            pass  # no burst

    async def _until_committed(self, seq: int) -> int:
        """Waits for an event past `seq`, a due alert, or somebody's change; returns the highest committed seq known."""
        commit = asyncio.ensure_future(self._wait_past(seq))
        change = asyncio.ensure_future(self._something_changed.wait())
        try:
            until = min(RENEW_SECONDS, self._seconds_to(await self._alerts.next_due()))
            await asyncio.wait({commit, change}, timeout=until, return_when=asyncio.FIRST_COMPLETED)
            self._something_changed.clear()
            return commit.result() if commit.done() else seq
        finally:
            commit.cancel()
            change.cancel()
            await asyncio.gather(commit, change, return_exceptions=True)

    async def _post(self) -> None:
        while not self._stopping:
            self._mail_written.clear()
            await self.post()
            try:
                async with asyncio.timeout(min(RENEW_SECONDS, self._seconds_to(await self._alerts.next_mail()))):
                    await self._mail_written.wait()
            except TimeoutError:
                pass  # a mail is due again

    def _seconds_to(self, moment: datetime | None) -> float:
        return math.inf if moment is None else max(0.0, (moment - self._clock()).total_seconds())

    async def _prune(self, now: datetime) -> None:
        await self._alerts.prune(now - KEPT_FOR)
        self._prune_at = now + _PRUNE_EVERY

    # --- What people ask and do ---

    async def alerts(self, states: Collection[AlertState] = _UNRESOLVED, limit: int = 100) -> list[Alert]:
        """Alerts in these states, the one that counted last first."""
        return await self._alerts.alerts(states, limit)

    async def alert(self, alert_id: str) -> Alert:
        """The alert of this id or beginning of one. Raises NotFound."""
        return await self._alerts.alert(alert_id)

    async def mails_about(self, alert: Alert) -> list[Mail]:
        """The mails that told of it, the latest first."""
        return await self._alerts.mails_about(alert.alert_id)

    async def acknowledge(self, alert_id: str, by: str, note: str | None = None) -> Alert:
        """Somebody takes it on: counted still, not mailed any more unless it becomes worse."""
        return await self._change(alert_id, lambda alert, now: life.acknowledged(alert, _signed(by, now, note)))

    async def resolve(self, alert_id: str, by: str, note: str | None = None) -> Alert:
        """It is over; who was mailed about it is told. The next such event opens another alert."""
        return await self._change(alert_id, lambda alert, now: life.resolved(alert, _signed(by, now, note)))

    async def _change(self, alert_id: str, change: Callable[[Alert, datetime], Alert]) -> Alert:
        async with self._changing:
            alert = change(await self._alerts.alert(alert_id), self._clock())
            due_at = life.next_look(alert, self.rules.recipients(alert.rule), self._email)
            alert = alert.model_copy(update={"due_at": due_at})
            await self._alerts.apply(Change(alerts=[alert]))
        self._something_changed.set()
        return alert

    async def silences(self) -> list[Silence]:
        """All, the latest first; those over are kept for a while."""
        return await self._alerts.silences()

    async def silence(self, matcher: object, *, expires_at: datetime, reason: str, author: str) -> Silence:
        """Keeps alerts whose latest event matches from being mailed until then. Raises InvalidInput."""
        now = self._clock()
        if not now < expires_at <= now + LONGEST_SILENCE:
            raise InvalidInput("expires_at", f"must be in the future, at most {LONGEST_SILENCE.days} days ahead")
        silence = Silence(
            silence_id=secrets.token_hex(4),
            matcher=checked_matcher(matcher),
            created_at=now,
            expires_at=expires_at,
            reason=_said("reason", reason),
            author=_said("author", author),
        )
        async with self._changing:
            looked_at = [alert for alert in await self._alerts.alerts([AlertState.OPEN], _EVERY_ALERT) if alert.due_at]
            again = [alert.model_copy(update={"due_at": now}) for alert in looked_at]
            await self._alerts.apply(Change(silences=[silence], alerts=again))
        self._something_changed.set()
        return silence

    async def end_silence(self, silence_id: str) -> Silence:
        """Ends a silence early: what is still open is told again."""
        now = self._clock()
        async with self._changing:
            silence = await self._alerts.silence(silence_id)
            if silence.active(now):
                silence = silence.model_copy(update={"ended_at": now})
            kept_quiet = await self._alerts.alerts([AlertState.OPEN], _EVERY_ALERT)
            heard = [
                alert.model_copy(update={"due_at": now})
                for alert in kept_quiet
                if alert.silenced_by == silence.silence_id
            ]
            await self._alerts.apply(Change(silences=[silence], alerts=heard))
        self._something_changed.set()
        return silence

    async def outbox(self, states: Collection[MailState], limit: int = 100) -> list[Mail]:
        """Mails in these states, the latest first."""
        return await self._alerts.mails(states, limit)

    async def mail(self, mail_id: str) -> Mail:
        """The mail of this id or beginning of one, with its content. Raises NotFound."""
        return await self._alerts.mail(mail_id)

    async def cancel_mail(self, mail_id: str) -> Mail:
        """Takes a pending mail out of the outbox. Raises InvalidInput for one that is not pending."""
        async with self._changing:
            mail = await self._alerts.mail(mail_id)
            if mail.state != MailState.PENDING:
                raise InvalidInput("mail", f"{mail.mail_id} is {mail.state}; only a pending one can be cancelled")
            mail = mail.model_copy(update={"state": MailState.CANCELLED, "finished_at": self._clock()})
            await self._alerts.apply(Change(mails=[mail]))
        return mail

    async def retry_mail(self, mail_id: str) -> Mail:
        """Tries a mail now that is pending, dead or cancelled; it has another day. Raises InvalidInput for one sent."""
        async with self._changing:
            mail = await self._alerts.mail(mail_id)
            if mail.state == MailState.SENT:
                raise InvalidInput("mail", f"{mail.mail_id} was taken by the mail server already")
            now = self._clock()
            mail = mail.model_copy(
                update={"state": MailState.PENDING, "next_at": now, "retried_at": now, "finished_at": None}
            )
            await self._alerts.apply(Change(mails=[mail]))
        self._mail_written.set()
        return mail

    async def explain(self, event_id: str) -> Explanation:
        """Which rules match an event, and why somebody was or was not mailed. Raises NotFound."""
        stored = await self._events.get(event_id)
        event = stored.event
        rules = self.rules.judge(event, self._events.names_directory)
        alert_ids = sorted(alert_id for _, alert_id in await self._alerts.counted([stored.first_seq]))
        sentences = self._explainer.verdict(event, rules, judged=await self._is_judged(stored.seq))
        alerts, mails = [], []
        for alert_id in alert_ids:
            alert = await self._alerts.alert(alert_id)
            about = await self._alerts.mails_about(alert_id)
            silence = await self._silence_of(alert)
            recipients = self.rules.recipients(alert.rule)
            sentences += self._explainer.history(alert, recipients, about, silence, self._clock())
            alerts.append(alert)
            mails += about
        return Explanation(event_id, rules, alerts, mails, sentences)

    async def _is_judged(self, seq: int) -> bool:
        saved = await self._alerts.position()  # another server's, perhaps
        return seq <= self._reader.seq or (saved is not None and seq <= place_in(saved))

    async def _silence_of(self, alert: Alert) -> Silence | None:
        try:
            return await self._alerts.silence(alert.silenced_by) if alert.silenced_by is not None else None
        except NotFound:  # over so long that it was forgotten
            return None

    async def prove(self, wanted: Sequence[str] = (), *, dry_run: bool = False) -> Proof:
        """Mails the recipients, or those of them wanted, to show that mail comes. Raises InvalidInput."""
        if self.config.email is None:
            raise InvalidInput("email_alerts", "is not set, so nobody is ever mailed; set it in the definition")
        recipients = chosen_recipients(self.rules.everybody, wanted, only_known=True)
        return await prove(self._email, self.writer, recipients, self._clock(), dry_run=dry_run)

    async def condition(self) -> Condition:
        """What `/health` says."""
        now = self._clock()
        alerts = await self._alerts.alert_counts()
        mails = await self._alerts.mail_counts()
        return Condition(
            configured=bool(self.rules.everybody),
            open=alerts[AlertState.OPEN],
            acknowledged=alerts[AlertState.ACKNOWLEDGED],
            silences=sum(silence.active(now) for silence in await self._alerts.silences()),
            mails_waiting=mails[MailState.PENDING],
            dead_letters=mails[MailState.DEAD],
            failures=self._failures + self._reader.failures + self._notifier.failures,
            last_failure=self._delivery.last_failure,
        )


def _signed(by: str, at: datetime, note: str | None) -> Signed:
    return Signed(by=_said("by", by), at=at, note=None if note is None else note[:_NOTE_CHARACTERS])


def _said(field_name: str, text: str) -> str:
    text = text.strip()[:_NOTE_CHARACTERS]
    if not text:
        raise InvalidInput(field_name, "is empty; say who or why, in a few words")
    return text
