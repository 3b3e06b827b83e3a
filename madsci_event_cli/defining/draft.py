"""A new definition: what the flags say, what a person answers, and the rest by default."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from madsci_event_cli.defining.questions import Asker
from madsci_event_server.definition import check_field, checked_store
from madsci_event_server.definition.located_yaml import Place
from madsci_event_server.errors import InvalidInput, InvalidSettings, shown

DEFAULT_NAME: Final = "Event Manager"
DEFAULT_STORE: Final = "sqlite:///.madsci/events/events.db"
SECRET_FILE: Final = ".madsci/secrets/smtp_password"  # noqa: S105  # where it is, not what
STORE_FILE: Final = ".madsci/secrets/db_url"
_SMTP_PORTS: Final = {"starttls": 587, "implicit": 465, "none": 25}

OPTIONS: Final[Mapping[str, Place]] = {
    "--name": ("name",),
    "--description": ("description",),
    "--db": ("db_url",),
    "--host": ("host",),
    "--port": ("port",),
    "--timezone": ("timezone",),
    "--alert-level": ("alert_level",),
    "--email": ("email_alerts", "email_addresses"),
    "--smtp-server": ("email_alerts", "smtp_server"),
    "--smtp-port": ("email_alerts", "smtp_port"),
    "--smtp-encryption": ("email_alerts", "encryption"),
    "--smtp-username": ("email_alerts", "smtp_username"),
    "--smtp-password-file": ("email_alerts", "smtp_password_file"),
    "--sender": ("email_alerts", "sender"),
}
"""Where in a definition each option stands."""


@dataclass
class Draft:
    """A definition to be."""

    fields: dict[str, Any]
    secrets: dict[str, str] = field(default_factory=dict)
    """What goes into files of its own, by path: read by this user alone."""

    def value(self, place: Place) -> Any:
        """What stands there; None where nothing does."""
        found: Any = self.fields
        for part in place:
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def put(self, place: Place, value: Any) -> None:
        """Sets a field, and makes what holds it."""
        into: dict[str, Any] = self.fields
        for part in place[:-1]:
            into[str(part)] = dict(into.get(str(part)) or {})
            into = into[str(part)]
        into[str(place[-1])] = value


def draft_of(given: Mapping[str, Any], before: Mapping[str, Any]) -> Draft:
    """What was there before, and the options given in its place. Raises InvalidInput that names the option."""
    draft = Draft(dict(before))
    for option, place in OPTIONS.items():
        value = given.get(option)
        if value is None or value == []:
            continue
        try:
            check_field(place, value)
        except InvalidSettings as error:
            raise InvalidInput(option, error.problem, value=value) from None
        draft.put(place, _encryption(draft, value) if option == "--smtp-encryption" else value)
    if draft.value(("email_alerts",)):
        _complete_mail(draft)
    _keep_apart(draft)
    return draft


def ask(draft: Draft, given: Mapping[str, Any], asker: Asker) -> None:
    """Asks for whatever no option said, with what is there already as the default."""

    def question(option: str, text: str, default: str, read: Callable[[str], Any] = _or_nothing) -> None:
        place = OPTIONS[option]
        if given.get(option) in (None, []):
            default = _shown_default(draft.value(place), default)
            draft.put(place, asker.ask(text, default, lambda answer: _checked(place, read(answer))))

    say = asker.diagnostics.note
    question("--name", "Name", DEFAULT_NAME)
    question("--description", "What is it for", "")
    say("Where events are kept: a file, or mongodb://HOST:27017/NAME")
    question("--db", "Store", DEFAULT_STORE)
    say("Where to listen: 127.0.0.1 is this machine alone, 0.0.0.0 everybody who can reach it")
    question("--host", "Host", "127.0.0.1")
    question("--port", "Port", "8001", _whole_number)
    say("The zone of timestamps that have none")
    question("--timezone", "Time zone", own_zone() or "UTC")
    say("Events of this level and above raise an alert: debug, info, warning, error, critical")
    question("--alert-level", "Alert level", "error")
    say("Whom to mail about alerts, separated by commas; nobody if left empty")
    question("--email", "Mail to", "", _addresses)
    if draft.value(OPTIONS["--email"]):
        _ask_mail(draft, given, asker, question)
    else:
        draft.fields["email_alerts"] = None
    _keep_apart(draft)


def _ask_mail(draft: Draft, given: Mapping[str, Any], asker: Asker, question: Callable[..., None]) -> None:
    question("--smtp-server", "Mail server", "", _needed)
    if given.get("--smtp-encryption") is None:
        asker.diagnostics.note("How the connection is encrypted: starttls, implicit (TLS from the first byte), or none")
        answer = asker.ask("Encryption", _encryption_of(draft), _encryption_named)
        draft.put(OPTIONS["--smtp-encryption"], _encryption(draft, answer))
    question("--smtp-port", "Mail server's port", str(_SMTP_PORTS[_encryption_of(draft)]), _whole_number)
    question("--sender", "Sender", _a_sender(draft))
    question("--smtp-username", "User name at the mail server (none if left empty)", "")
    if draft.value(OPTIONS["--smtp-username"]) and given.get("--smtp-password-file") is None:
        password = asker.secret("Its password (left empty: from EVENT_EMAIL_ALERTS__SMTP_PASSWORD)")
        if password:
            draft.put(OPTIONS["--smtp-password-file"], SECRET_FILE)
            draft.secrets[SECRET_FILE] = password
            draft.fields["email_alerts"].pop("smtp_password", None)
    _complete_mail(draft)


def _keep_apart(draft: Draft) -> None:
    """An address of a store with a password in it goes into a file of its own."""
    url = draft.fields.get("db_url")
    user, at, _ = str(url).partition("://")[2].rpartition("@")
    if url is not None and at and ":" in user:
        draft.secrets[STORE_FILE] = str(url)
        del draft.fields["db_url"]
        draft.fields["db_url_file"] = STORE_FILE
    elif url is not None:
        draft.fields.pop("db_url_file", None)


def _complete_mail(draft: Draft) -> None:
    mail = draft.fields["email_alerts"]
    if not mail.get("email_addresses"):
        raise InvalidInput("--email", "must say who is mailed; add --email name@host")
    if not mail.get("smtp_server"):
        raise InvalidInput("--smtp-server", "must say who takes the mail; add --smtp-server smtp.example.org")
    mail.setdefault("smtp_port", _SMTP_PORTS[_encryption_of(draft)])
    mail.setdefault("use_tls", True)
    mail.setdefault("sender", _a_sender(draft))


def _encryption_of(draft: Draft) -> str:
    mail = draft.value(("email_alerts",)) or {}
    if mail.get("encryption") is not None:
        return str(mail["encryption"])
    if mail.get("use_tls") is False:
        return "none"
    return "implicit" if mail.get("smtp_port") == _SMTP_PORTS["implicit"] else "starttls"


def _encryption(draft: Draft, chosen: str) -> str | None:
    """Says it with `use_tls`, as MADSci does, where that can say it."""
    draft.put(("email_alerts", "use_tls"), chosen != "none")
    return "implicit" if chosen == "implicit" else None


def _encryption_named(answer: str) -> str:
    if answer.lower() not in _SMTP_PORTS:
        raise InvalidInput("encryption", f"{shown(answer)} is none of {', '.join(_SMTP_PORTS)}")
    return answer.lower()


def _a_sender(draft: Draft) -> str:
    addresses: Sequence[str] = draft.value(OPTIONS["--email"]) or ["events@example.org"]
    return f"events@{addresses[0].rpartition('@')[2]}"


def _checked(place: Place, value: Any) -> Any:
    if value is not None:
        check_field(place, value)
        if place == ("db_url",):
            checked_store(value)
    return value


def _or_nothing(answer: str) -> str | None:
    return answer or None


def _needed(answer: str) -> str:
    if not answer:
        raise InvalidInput("answer", "cannot be left empty; write, for example, smtp.example.org")
    return answer


def _whole_number(answer: str) -> int:
    if not answer.isdecimal():
        raise InvalidInput("answer", f"{shown(answer)} must be a whole number")
    return int(answer)


def _addresses(answer: str) -> list[str] | None:
    return [address.strip() for address in answer.split(",") if address.strip()] or None


def _shown_default(value: Any, default: str) -> str:
    if value is None:
        return default
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value)


def own_zone() -> str | None:
    """This machine's zone by its IANA name; None where it does not say."""
    try:
        target = os.path.realpath("/etc/localtime")
    except OSError:
        return None
    _, marker, name = target.partition("/zoneinfo/")
    return name if marker else None


def file_name(name: str) -> str:
    """`my_events.manager.yaml` for "My Events", as MADSci names it."""
    snake = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"{snake or 'event_manager'}.manager.yaml"


def changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What would change, a line a field; no secret is shown."""
    lines: list[str] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += changes(old, new, f"{prefix}{name}.")
        elif old != new:
            lines.append(f"{prefix}{name}: {_masked(name, old)} -> {_masked(name, new)}")
    return lines


def _masked(name: str, value: Any) -> str:
    if value is not None and name in ("smtp_password", "db_url") and ("@" in str(value) or name != "db_url"):
        return "***"
    return "nothing" if value is None else shown(value)


def short(path: Path) -> Path:
    """The path as it would be typed here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
