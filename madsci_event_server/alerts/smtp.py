"""MailSession: one conversation with the mail server, and what its failures mean in words.

Every wait has a limit. Nothing is ever sent unencrypted unless the settings say so: a server that offers no STARTTLS,
or whose certificate cannot be verified, gets no password and no mail.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import aiosmtplib

from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.errors import MailNotTaken
from madsci_event_server.visible import visible

_PERMANENT: Final = range(500, 600)
_ANSWER_CHARACTERS: Final = 300

_log = logging.getLogger(__name__)

Failure = aiosmtplib.SMTPException | OSError | TimeoutError | UnicodeError
FAILURES: Final = (aiosmtplib.SMTPException, OSError, TimeoutError, UnicodeError)
"""What talking to a mail server raises; `ssl.SSLError` and name errors are OSErrors."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one mail that at least one recipient gets."""

    answer: str
    """The server's words for having taken it."""
    refused: dict[str, MailNotTaken]
    """Recipients it will not have, and why."""


class MailSession:
    """`async with` connects, encrypts and logs in, or raises MailNotTaken; then any number of mails.

    `transcript` is the conversation so far, secrets masked.
    """

    def __init__(self, config: EmailAlertsConfig) -> None:
        self._config = config
        self._client: aiosmtplib.SMTP | None = None
        self._doing = "connect"
        self.transcript: list[str] = []

    async def __aenter__(self) -> Self:
        try:
            await self._connect()
            if self._config.how_encrypted == "starttls":
                await self._start_tls()
            if self._config.smtp_username:
                await self._log_in()
        except FAILURES as error:
            self._close()
            raise self._failed(error) from error
        except MailNotTaken as failed:
            self._note("*", failed.problem)
            self._close()
            raise
        except BaseException:  # cancelled while connecting
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client = self._client
        if client is None:
            return
        if client.is_connected and not isinstance(error, asyncio.CancelledError):
            with suppress(*FAILURES):  # what was taken is taken, whatever comes of the good-bye
                self._note("C", "QUIT")
                answer = await client.quit()
                self._note_answer(answer.code, answer.message)
        self._close()

    @property
    def is_open(self) -> bool:
        """Whether another mail may be sent."""
        return self._client is not None and self._client.is_connected

    async def send(self, content: bytes, recipients: Sequence[str]) -> Taken:
        """Hands over one mail. Raises MailNotTaken when nobody gets it."""
        client = self._connected()
        try:
            accepted, refused = await self._offer(client, recipients)
            if not accepted:
                raise next(iter(refused.values()))
            self._doing = "data"
            self._note("C", f"DATA ({len(content)} bytes)")
            answer = await client.data(content)
        except FAILURES as error:
            failed = self._failed(error)
            await self._reset(client)
            raise failed from error
        except MailNotTaken:
            await self._reset(client)
            raise
        self._note_answer(answer.code, answer.message)
        return Taken(f"{answer.code} {_one_line(answer.message)}", refused)

    async def _offer(
        self, client: aiosmtplib.SMTP, recipients: Sequence[str]
    ) -> tuple[list[str], dict[str, MailNotTaken]]:
        self._doing = "sender"
        self._note("C", f"MAIL FROM:<{self._config.sender_address}>")
        answer = await client.mail(self._config.sender_address)
        self._note_answer(answer.code, answer.message)
        accepted: list[str] = []
        refused: dict[str, MailNotTaken] = {}
        for recipient in recipients:
            self._doing = "recipient"
            self._note("C", f"RCPT TO:<{recipient}>")
            try:
                answer = await client.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                refused[recipient] = self._failed(error)
            else:
                self._note_answer(answer.code, answer.message)
                accepted.append(recipient)
        return accepted, refused

    async def _connect(self) -> None:
        config = self._config
        self._note(
            "*", f"connecting to {config.smtp_server}, port {config.smtp_port}" + ENCRYPTED[config.how_encrypted]
        )
        self._client = aiosmtplib.SMTP(
            hostname=config.smtp_server,
            port=config.smtp_port,
            local_hostname=_own_name(),
            timeout=config.timeout_seconds,
            use_tls=config.how_encrypted == "implicit",
            start_tls=False,
            tls_context=await asyncio.to_thread(self._tls_context),
        )
        answer = await self._client.connect()
        self._note_answer(answer.code, answer.message)
        self._doing = "greeting"
        await self._say_hello()

    async def _start_tls(self) -> None:
        client = self._connected()
        self._doing = "starttls"
        if not client.supports_extension("starttls"):
            raise MailNotTaken(
                f"{self._server} offers no STARTTLS, so the connection cannot be encrypted",
                "set encryption: implicit if it speaks TLS from the first byte (often port 465), or use_tls: false "
                "if you trust the network in between",
            )
        self._note("C", "STARTTLS")
        answer = await client.starttls()
        self._note_answer(answer.code, answer.message)
        self._note("*", "encrypted, certificate verified")
        await self._say_hello()

    async def _say_hello(self) -> None:
        client = self._connected()
        self._note("C", f"EHLO {client.local_hostname}")
        answer = await client.ehlo()
        self._note_answer(answer.code, answer.message)

    async def _log_in(self) -> None:
        client = self._connected()
        self._doing = "login"
        user = self._config.smtp_username or ""
        if not client.supports_extension("auth"):
            raise MailNotTaken(
                f"{self._server} takes no login" + ("" if self._config.use_tls else " on an unencrypted connection"),
                "leave out smtp_username and smtp_password"
                + ("" if self._config.use_tls else ", or set use_tls: true"),
            )
        self._note("C", f"AUTH as {user}, password ***")
        answer = await client.login(user, self._password)
        self._note_answer(answer.code, answer.message)

    async def _reset(self, client: aiosmtplib.SMTP) -> None:
        """Ends a mail that was not taken, so that the next one starts afresh."""
        if not client.is_connected:
            return
        try:
            await client.rset()
        except FAILURES as error:
            _log.debug("the mail server did not answer RSET: %s", error)
            self._close()

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._config.ca_file is not None:
            try:
                context.load_verify_locations(cafile=self._config.ca_file)
            except OSError as error:
                raise MailNotTaken(
                    f"the certificates in {self._config.ca_file} cannot be read ({error.strerror or error})",
                    "set ca_file to a file of PEM certificates that this user may read",
                ) from None
        return context

    def _connected(self) -> aiosmtplib.SMTP:
        if self._client is None:
            raise MailNotTaken(f"the conversation with {self._server} is over", "open another")
        return self._client

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def _server(self) -> str:
        return f"the mail server {self._config.smtp_server}:{self._config.smtp_port}"

    @property
    def _password(self) -> str:
        return self._config.smtp_password.get_secret_value() if self._config.smtp_password is not None else ""

    def _note(self, who: str, text: str) -> None:
        text = visible(text.replace(self._password, "***") if self._password else text)
        self.transcript.append(f"{who}: {text}")

    def _note_answer(self, code: int, message: str) -> None:
        for line in message.splitlines() or [""]:
            self._note("S", f"{code} {line}")

    def _failed(self, error: Failure) -> MailNotTaken:
        """What a failure means, noted in the transcript."""
        if isinstance(error, aiosmtplib.SMTPResponseException):
            self._note_answer(error.code, error.message)
            failed = self._refusal(error)
        else:
            failed = self._breakdown(error)
        self._note("*", failed.problem)
        return failed

    def _refusal(self, error: aiosmtplib.SMTPResponseException) -> MailNotTaken:
        said = f"{error.code} {_one_line(error.message)}"
        for_good = error.code in _PERMANENT
        if isinstance(error, aiosmtplib.SMTPAuthenticationError):
            return MailNotTaken(
                f"{self._server} refused the login as {self._config.smtp_username} ({said})",
                "check smtp_username and smtp_password; some providers want a password made for this program",
            )
        if isinstance(error, aiosmtplib.SMTPSenderRefused):
            remedy = f"set sender to an address it sends for; now it is {self._config.sender_address}"
            if self._config.smtp_username is None:
                remedy += "; or it wants a login: set smtp_username and smtp_password"
            return MailNotTaken(f"{self._server} refused the sender ({said})", remedy, refused=for_good)
        if isinstance(error, aiosmtplib.SMTPRecipientRefused):
            return MailNotTaken(
                f"{self._server} refused the recipient {error.recipient} ({said})",
                "check the address; a server that refuses to relay wants a login" if for_good else _LATER,
                refused=for_good,
            )
        if self._doing == "data":
            return MailNotTaken(
                f"{self._server} refused the mail ({said})",
                "its words say why; ask who runs it" if for_good else _LATER,
                refused=for_good,
            )
        return MailNotTaken(f"{self._server} will not talk to this machine ({said})", _LATER)

    def _breakdown(self, error: Failure) -> MailNotTaken:
        cause = error.__cause__ or error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return MailNotTaken(
                f"the certificate of {self._server} cannot be trusted: {cause.verify_message}",
                "set smtp_server to the name the certificate is for, or ca_file to the authority that signed it",
            )
        if isinstance(cause, ssl.SSLError):
            return MailNotTaken(
                f"{self._server} does not speak TLS as expected ({cause.reason or cause})",
                "TLS from the first byte (encryption: implicit) is usual on port 465, STARTTLS on 587 and 25",
            )
        if isinstance(cause, socket.gaierror):
            return MailNotTaken(
                f"the name {self._config.smtp_server} was not found ({cause.strerror})",
                "check smtp_server, and that this machine can look up names",
            )
        if isinstance(error, TimeoutError):
            return MailNotTaken(
                f"{self._server} did not answer within {self._config.timeout_seconds:g} s, {_STEPS[self._doing]}",
                "check the port and whether a firewall is in between",
            )
        if isinstance(cause, UnicodeError):
            return MailNotTaken("an address holds letters mail cannot carry", "use ASCII addresses", refused=True)
        if isinstance(cause, ConnectionRefusedError) or "Connect call failed" in str(cause):
            return MailNotTaken(
                f"nothing listens at {self._config.smtp_server} port {self._config.smtp_port}: connection refused",
                "check smtp_server and smtp_port, and that the mail server runs",
            )
        hung_up = isinstance(cause, ConnectionError) and self._doing != "connect"
        if hung_up or isinstance(cause, aiosmtplib.SMTPServerDisconnected):
            return MailNotTaken(f"{self._server} closed the connection, {_STEPS[self._doing]}", _LATER)
        return MailNotTaken(
            f"{self._server} cannot be reached, {_STEPS[self._doing]} ({_one_line(str(cause))})",
            "check smtp_server and smtp_port, and this machine's network",
        )


_LATER: Final = "it is worth trying again later"
ENCRYPTED: Final = {"none": ", unencrypted", "starttls": ", then STARTTLS", "implicit": ", TLS from the first byte"}
_STEPS: Final = {
    "connect": "on connecting",
    "greeting": "after the greeting",
    "starttls": "on starting TLS",
    "login": "on logging in",
    "sender": "on being told the sender",
    "recipient": "on being told a recipient",
    "data": "on being sent the mail",
}


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))[:_ANSWER_CHARACTERS]


def _own_name() -> str:
    """What to say in EHLO: this machine's name where it is fit to be said, else its loopback literal."""
    name = socket.gethostname()
    fit = name.isascii() and name.replace("-", "").replace(".", "").isalnum()
    return name if fit else "[127.0.0.1]"
