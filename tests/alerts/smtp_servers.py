"""Real mail servers, each with its own temper: one takes mail, others refuse it, hang, hang up, or want a login."""

import asyncio
import email.policy
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

CERTIFICATES = Path(__file__).parent / "certificates"
AUTHORITY = CERTIFICATES / "authority.pem"
"""Signed the servers' certificate, and is known to nobody else."""

USERNAME = "bell"
PASSWORD = "ding dong 17"


@dataclass
class Post:
    """What a mail server has taken, and what it says next."""

    port: int = 0
    taken: list[bytes] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    """Of every mail taken, in order."""
    sessions: int = 0
    rcpt_answers: dict[str, str] = field(default_factory=dict)
    """What to say to a recipient instead of taking them."""
    data_answer: str | None = None
    """What to say to a mail instead of taking it."""
    drops: int = 0
    """How many mails to hang up on before the end of them."""
    hang: asyncio.Event | None = None
    """While set to an event that has not happened: mails are not answered."""
    on_mail: Callable[[], None] = lambda: None
    """Called after each mail taken."""
    handed_over: asyncio.Event = field(default_factory=asyncio.Event)
    """Happens when a mail has come in whole."""

    @property
    def mails(self) -> list[EmailMessage]:
        parser = BytesParser(policy=email.policy.default)
        return [parser.parsebytes(raw) for raw in self.taken]

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.rcpt_answers:
            return self.rcpt_answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.handed_over.set()
        if self.hang is not None:
            await self.hang.wait()
        if self.data_answer is not None:
            return self.data_answer
        assert isinstance(envelope.content, bytes)
        self.taken.append(envelope.content)
        self.recipients += envelope.rcpt_tos
        self.on_mail()
        return "250 taken"


class _Clerk(SMTP):
    """aiosmtpd's server; it may hang up in the middle of a mail."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.event_handler.sessions += 1
        super().connection_made(transport)

    async def smtp_DATA(self, arg: str) -> None:
        post = self.event_handler
        if post.drops:
            post.drops -= 1
            await self.push("354 go on")
            assert isinstance(self.transport, asyncio.WriteTransport)
            self.transport.abort()
            return
        await super().smtp_DATA(arg)


def _login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    right = data.login == USERNAME.encode() and data.password == PASSWORD.encode()
    return AuthResult(success=right, handled=False)


def server_tls() -> ssl.SSLContext:
    """A certificate for localhost and 127.0.0.1, of an authority nobody trusts unasked."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    return context


@asynccontextmanager
async def a_mail_server(
    *, starttls: bool = False, implicit_tls: bool = False, login: bool = False, port: int = 0
) -> AsyncIterator[Post]:
    """A mail server on this event loop."""
    post = Post()
    options: dict[str, Any] = {"tls_context": server_tls() if starttls else None}
    if login:
        options |= {"authenticator": _login, "auth_required": True, "auth_require_tls": starttls}

    def clerk() -> SMTP:
        with warnings.catch_warnings():  # of a login without encryption, which is what some tests are about
            warnings.simplefilter("ignore", UserWarning)
            return _Clerk(post, hostname="mail.test", **options)

    async with _listening(clerk, ssl=server_tls() if implicit_tls else None, port=port) as post.port:
        yield post


@asynccontextmanager
async def a_silent_server() -> AsyncIterator[int]:
    """Takes connections and never says a word; its port."""
    async with _listening(asyncio.Protocol) as port:
        yield port


@asynccontextmanager
async def _listening(
    protocol: Callable[[], asyncio.BaseProtocol], *, ssl: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port, ssl=ssl)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
