"""Proving that alert mail will come: one real mail to each recipient, and the whole conversation to look at."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from madsci_event_server.alerts.mail import MailWriter
from madsci_event_server.alerts.smtp import ENCRYPTED, MailSession
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.errors import InvalidInput, MailNotTaken, shown


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the mail to one recipient."""

    recipient: str
    taken: bool
    answer: str
    """The server's words, or what is wrong."""
    remedy: str = ""
    """How to mend it."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a test of alert mail found."""

    taken: bool
    """Whether the mail server took a mail for every recipient."""
    dry_run: bool
    verdicts: Sequence[Verdict]
    transcript: Sequence[str]
    """The conversation, secrets masked: `C:` is said by us, `S:` by the mail server, `*:` is a remark."""
    mail: str = field(default="", repr=False)
    """The mail to the first recipient, as it is (or would be) sent."""


def chosen_recipients(known: Sequence[str], wanted: Sequence[str], *, only_known: bool) -> list[str]:
    """Whom a test mails: those wanted, else all that are known. Raises InvalidInput."""
    if strangers := [address for address in wanted if only_known and address not in known]:
        raise InvalidInput(
            "to",
            f"{shown(strangers[0])} is in no email_addresses and no rule; this server mails only "
            f"{', '.join(known) or 'whom its definition names, and it names nobody'}",
            value=strangers[0],
        )
    recipients = list(dict.fromkeys(wanted or known))
    if not recipients:
        raise InvalidInput("email_addresses", "names nobody, so there is nobody to mail; add addresses there")
    return recipients


async def prove(
    config: EmailAlertsConfig, writer: MailWriter, recipients: Sequence[str], now: datetime, *, dry_run: bool
) -> Proof:
    """Mails each recipient in one session; a dry run only writes the mail and touches no network."""
    mails = [writer.write_test([recipient], now, secrets.token_hex(8)).as_bytes() for recipient in recipients]
    shown_mail = mails[0].decode("ascii", "replace").replace("\r\n", "\n")
    if dry_run:
        would = f"would be mailed by {config.smtp_server}, port {config.smtp_port}{ENCRYPTED[config.how_encrypted]}"
        return Proof(False, True, [Verdict(recipient, False, would) for recipient in recipients], (), shown_mail)
    session = MailSession(config)
    verdicts: list[Verdict] = []
    try:
        async with session:
            for recipient, mail in zip(recipients, mails, strict=True):
                verdicts.append(await _mail_one(session, recipient, mail))
    except MailNotTaken as failed:  # no session, or none any more
        left = recipients[len(verdicts) :]
        verdicts += [Verdict(recipient, False, failed.problem, failed.remedy) for recipient in left]
    return Proof(all(verdict.taken for verdict in verdicts), False, verdicts, tuple(session.transcript), shown_mail)


async def _mail_one(session: MailSession, recipient: str, mail: bytes) -> Verdict:
    try:
        return Verdict(recipient, True, (await session.send(mail, [recipient])).answer)
    except MailNotTaken as failed:
        return Verdict(recipient, False, failed.problem, failed.remedy)
