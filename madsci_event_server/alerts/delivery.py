"""Delivery: takes due mails from the outbox to the mail server, many in one session.

What the server takes is marked at once: a crash can repeat only the mail that was being handed over, with the same
Message-ID. What it refuses for good is a dead letter; anything else is tried again, ever more seldom, for a day.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from madsci_event_server.alerts.smtp import MailSession, Taken
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.errors import MailNotTaken, NotFound
from madsci_event_server.storage.alert_base import AlertStore, Change, Mail, MailState

GIVE_UP_AFTER: Final = timedelta(days=1)
FIRST_RETRY: Final = timedelta(seconds=30)
LONGEST_RETRY: Final = timedelta(minutes=30)
MAILS_A_SESSION: Final = 50
_JITTER: Final = 0.25


class Delivery:
    """Sends what is due.

    `chance` gives numbers in [0, 1) that keep retries from marching in step; `may_go_on` is asked after each mail, and
    False ends the round.
    """

    def __init__(
        self,
        alerts: AlertStore,
        config: EmailAlertsConfig,
        changing: asyncio.Lock,
        chance: random.Random,
        may_go_on: Callable[[], bool],
    ) -> None:
        self._alerts = alerts
        self._config = config
        self._changing = changing
        self._chance = chance
        self._may_go_on = may_go_on
        self._unrecorded: list[Mail] = []
        self.last_failure: str | None = None
        """Why the latest mail was not taken; None once one was."""
        self.under_way = False
        """Whether a mail may be being handed over now."""

    async def deliver(self, now: datetime) -> int:
        """Tries the mails due by now, at most MAILS_A_SESSION, and returns how many it tried.

        A mail that breaks the session ends the round: the others are still due, in the next one.
        """
        await self._record()
        mails = await self._alerts.due_mails(now, MAILS_A_SESSION)
        if not mails:
            return 0
        session = MailSession(self._config)
        self.under_way = True
        try:
            async with session:
                for tried, mail in enumerate(mails, start=1):
                    await self._send(session, mail, now)
                    if not self._may_go_on():
                        return 0
                    if not session.is_open:
                        return tried
        except MailNotTaken as failed:  # no session: nothing was said against any of the mails
            self.last_failure = str(failed)
            for mail in mails:
                await self._record(self._later(mail, failed, now))
        finally:
            self.under_way = False
        return len(mails)

    async def _send(self, session: MailSession, mail: Mail, now: datetime) -> None:
        try:
            taken = await session.send(mail.content, mail.recipients)
        except MailNotTaken as failed:
            self.last_failure = str(failed)
            turned_down = mail.model_copy(update={"turned_down": True})
            await self._record(_dead(mail, failed, now) if failed.refused else self._later(turned_down, failed, now))
            return
        self.last_failure = next((str(failed) for failed in taken.refused.values()), None)
        await self._record(*self._after(mail, taken, now))

    def _after(self, mail: Mail, taken: Taken, now: datetime) -> list[Mail]:
        """The mail as taken, and one for each recipient who did not get it."""
        sent = mail.model_copy(
            update={
                "state": MailState.SENT,
                "attempts": mail.attempts + 1,
                "last_answer": taken.answer,
                "finished_at": now,
                "recipients": tuple(person for person in mail.recipients if person not in taken.refused),
            }
        )
        rest = []
        for recipient, failed in taken.refused.items():
            alone = mail.model_copy(update={"mail_id": _part_id(mail, recipient), "recipients": (recipient,)})
            rest.append(_dead(alone, failed, now) if failed.refused else self._later(alone, failed, now))
        return [sent, *rest]

    def _later(self, mail: Mail, failed: MailNotTaken, now: datetime) -> Mail:
        if now - (mail.retried_at or mail.created_at) >= GIVE_UP_AFTER:
            return _dead(mail, failed, now)
        pause = min(FIRST_RETRY * 2 ** min(mail.attempts, 10), LONGEST_RETRY)
        jittered = pause * (1 + _JITTER * (2 * self._chance.random() - 1))
        return mail.model_copy(
            update={"attempts": mail.attempts + 1, "next_at": now + jittered, "last_answer": str(failed)}
        )

    async def _record(self, *mails: Mail) -> None:
        """Stores what became of mails, and of those a store that was away could not be told of.

        Until that is done no mail leaves: one that was taken, and is not known to be, would leave again and again.
        One cancelled while under way stays so, unless the server took it.
        """
        self._unrecorded += mails
        if self._unrecorded:
            async with self._changing:
                kept = [
                    mail
                    for mail in self._unrecorded
                    if mail.state == MailState.SENT or not await self._is_cancelled(mail.mail_id)
                ]
                await self._alerts.apply(Change(mails=kept))
            self._unrecorded = []

    async def _is_cancelled(self, mail_id: str) -> bool:
        try:
            return (await self._alerts.mail(mail_id)).state == MailState.CANCELLED
        except NotFound:  # one recipient's part of a mail, new here
            return False


def _dead(mail: Mail, failed: MailNotTaken, now: datetime) -> Mail:
    return mail.model_copy(
        update={
            "state": MailState.DEAD,
            "attempts": mail.attempts + 1,
            "last_answer": str(failed),
            "finished_at": now,
        }
    )


def _part_id(mail: Mail, recipient: str) -> str:
    return hashlib.sha256(f"{mail.mail_id}\0{recipient}".encode()).hexdigest()[:16]
