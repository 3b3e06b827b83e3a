"""A bench to try alerting on: a real store, a real mail server, and a clock turned by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from madsci_event_server.alerts.alerting import Alerting, AlertingConfig
from madsci_event_server.alerts.config import parse_rules
from madsci_event_server.alerts.reader import CommittedAfter, nothing_in_memory
from madsci_event_server.definition.email_settings import parse_email_alerts
from madsci_event_server.event import Event
from madsci_event_server.storage.alert_base import Alert, AlertState, AlertStore, MailState
from madsci_event_server.storage.base import EventStore
from tests.alerts.smtp_servers import Post
from tests.factories import NOON, an_event

ADA = "ada@lab.test"
BOB = "bob@lab.test"
EVERY_MAIL = tuple(MailState)


class Bench:
    """Alerting, one step at a time."""

    def __init__(
        self, events: EventStore, config: AlertingConfig, now: datetime = NOON, alerts: AlertStore | None = None
    ) -> None:
        self.events = events
        self.store = alerts or events.alert_store()
        self.config = config
        self.now = now
        self.committed_after: CommittedAfter = nothing_in_memory
        self.alerting = self._make()

    def _make(self) -> Alerting:
        return Alerting(self.events, self.store, self.config, _never, lambda: self.now, self.committed_after)

    async def restart(self, **changes: Any) -> None:
        """As after `kill -9`: nothing is left but what the store holds."""
        if changes:
            self.config = a_config(**changes)
        self.alerting = self._make()
        await self.alerting.open()

    async def log(self, message: str = "Tip lost", *, level: str = "error", **fields: Any) -> Event:
        event = an_event(message, at=self.now, level=level, **fields)
        await self.events.append([event])
        return event

    async def step(self) -> None:
        await self.alerting.watch()
        await self.alerting.post()

    async def wait(self, **time: float) -> None:
        """Lets time pass, doing at every moment what is due at it."""
        end = self.now + timedelta(**time)
        await self.step()
        store = self.store
        while True:
            moments = [moment for moment in (await store.next_due(), await store.next_mail()) if moment is not None]
            following = min((moment for moment in moments if moment > self.now), default=end)
            if following >= end:
                break
            self.now = following
            await self.step()
        self.now = end
        await self.step()

    async def alerts(self) -> list[Alert]:
        return await self.alerting.alerts(tuple(AlertState))

    async def alert(self) -> Alert:
        [alert] = await self.alerts()
        return alert

    async def mail_states(self) -> list[MailState]:
        return [mail.state for mail in reversed(await self.alerting.outbox(EVERY_MAIL))]


async def _never(seq: int) -> int:
    raise AssertionError("steps are taken by hand")


def a_config(port: int = 9, *, rules: list[dict[str, Any]] | None = None, **email: Any) -> AlertingConfig:
    fields = {
        "smtp_server": "127.0.0.1",
        "smtp_port": port,
        "use_tls": False,
        "sender": "bell@lab.test",
        "email_addresses": [ADA],
        "timeout_seconds": 5,
    }
    return AlertingConfig(email=parse_email_alerts(fields | email), rules=parse_rules(rules or []), lab_name="lab")


@asynccontextmanager
async def a_bench(store: EventStore, post: Post | None = None, **email: Any) -> AsyncIterator[Bench]:
    """Alerting that mails Ada through `post`."""
    bench = Bench(store, a_config(post.port if post else 9, **email))
    await bench.alerting.open()
    yield bench
