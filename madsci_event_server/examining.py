"""Whether a server could run with these settings, here and now. Nothing is changed: it only looks.

Who runs already, and how it is, a client sees; this is what the machine and the settings say.
"""

import asyncio
import socket
from collections.abc import Iterator
from typing import Final

from madsci_event_server.alerts.definition import alerting_config
from madsci_event_server.alerts.rules import RuleBook
from madsci_event_server.alerts.smtp import ENCRYPTED, MailSession
from madsci_event_server.errors import InvalidSettings, MailNotTaken
from madsci_event_server.findings import Finding, failure, fine, warning
from madsci_event_server.settings import Settings
from madsci_event_server.storage.examining import examine_store

_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104  # compared, not bound


async def examine(settings: Settings, *, is_running: bool) -> list[Finding]:
    """The address, the store and the mail server. `is_running`: our own server has the address."""
    url = settings.db_url.get_secret_value()
    found = [*_address(settings, is_running=is_running), *_certificates(settings)]
    found += await asyncio.to_thread(examine_store, url, lab_directory=settings.lab_directory)
    return [*found, *await _mail(settings)]


def _address(settings: Settings, *, is_running: bool) -> Iterator[Finding]:
    where = f"{settings.host}:{settings.port}"
    if is_running:
        yield fine("address", f"{where}, where this server listens")
    else:
        yield _free(settings, where)
    if settings.host in _EVERYWHERE:
        yield warning("address", f"whoever can reach {where} can read and write events: there is no login",
                      "serve --host 127.0.0.1, or let a firewall decide")  # fmt: skip


def _free(settings: Settings, where: str) -> Finding:
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        return failure("address", f"{settings.host} is no address of this machine ({error.strerror})",
                       "madsci-events serve --host 127.0.0.1")  # fmt: skip
    except PermissionError:
        return failure("address", f"{where}: this user may not listen there", "madsci-events serve --port 8001")
    except OSError as error:
        remedy = f"madsci-events serve --port {settings.port + 1}, or stop the other program"
        return failure("address", f"{where} cannot be listened on ({error.strerror})", remedy)
    return fine("address", f"{where} is free")


def _certificates(settings: Settings) -> Iterator[Finding]:
    for path in (settings.tls_cert, settings.tls_key):
        if path is not None:
            try:
                path.open("rb").close()
            except OSError as error:
                yield failure("https", f"{path} cannot be read ({error.strerror})", "set tls_cert and tls_key")


async def _mail(settings: Settings) -> list[Finding]:
    try:
        config = alerting_config(settings)
    except InvalidSettings as error:
        return [failure("mail", str(error), "madsci-events manager validate")]
    if config.email is None:
        return [warning("mail", "nobody is mailed about alerts: email_alerts is not set",
                        "madsci-events manager add --force")]  # fmt: skip
    recipients = RuleBook(config.alert_level, config.rules, config.email.email_addresses).everybody
    if not recipients:
        return [failure("mail", "email_addresses names nobody, so nobody is mailed", "madsci-events manager show")]
    where = f"{config.email.smtp_server}, port {config.email.smtp_port}{ENCRYPTED[config.email.how_encrypted]}"
    login = f", logged in as {config.email.smtp_username}" if config.email.smtp_username else ""
    try:
        async with MailSession(config.email):
            pass
    except MailNotTaken as failed:
        return [failure("mail", failed.problem, failed.remedy)]
    return [fine("mail", f"{where}{login}; for {', '.join(recipients)}. `alerts test` sends one")]
