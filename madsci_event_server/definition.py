"""EventManagerDefinition: what `<name>.manager.yaml` says of an event manager, and which file that is.

The fields are those of MADSci's definitions of 2025, so that its files load as they are, and ours, which are optional.
A file is refused as a whole: every problem names file, line, field and the way out, and a secret is never shown.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from madsci_event_server.email_settings import EmailAlertsConfig
from madsci_event_server.errors import DefinitionProblem, InvalidDefinition, InvalidEvent, InvalidSettings, shown
from madsci_event_server.event import EventLogLevel, parse_level
from madsci_event_server.located_yaml import LocatedYaml, Place, dotted, parse_yaml, read_yaml

SUFFIX: Final = ".manager.yaml"
MANAGER_TYPE: Final = "event_manager"
STORES: Final = ("sqlite", "mongodb", "mongodb+srv", "memory")

_DEEPEST: Final = 8
"""How many directories below the lab's a definition may be: a server must not read a whole disk before it starts."""
_NOT_LOOKED_INTO: Final = ("node_modules", "__pycache__", "site-packages")


class EventManagerDefinition(BaseModel):
    """The fields of a definition; a field that is not given, or null, has its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="Event Manager", min_length=1, max_length=128)
    """In answers, on the front page, and in brackets at the front of mail subjects."""
    manager_id: str | None = Field(default=None, min_length=1, max_length=128, pattern=r"^[!-~]+$")
    """A ULID, as MADSci's managers have; events name it."""
    description: str | None = None
    manager_type: Literal["event_manager"] = "event_manager"
    url: str | None = None
    """What clients dial, where it is not `host` and `port`."""
    host: str = Field(default="127.0.0.1", min_length=1, pattern=r"^[^\s\x00-\x1f/]+$")
    port: int = Field(default=8001, ge=0, le=65535)
    db_url: SecretStr | None = None
    db_url_file: Path | None = None
    """Holds the address of the store, where that has a password in it; nobody else may read the file."""
    event_client_config: dict[str, Any] | None = None
    """MADSci's client wrote it here for itself; a server makes nothing of it."""
    alert_level: EventLogLevel = EventLogLevel.ERROR
    email_alerts: EmailAlertsConfig | None = None
    alert_rules: list[dict[str, Any]] = Field(default_factory=list)
    timezone: str | None = None
    """Of timestamps that have none: an IANA name."""
    max_event_bytes: int = Field(default=1024 * 1024, ge=1024)
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @field_validator("port", "max_event_bytes", mode="before")
    @classmethod
    def _no_bool(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be a whole number")  # noqa: TRY004  # pydantic wants it so
        return value

    @field_validator("alert_level", mode="before")
    @classmethod
    def _parse_level(cls, value: object) -> object:
        try:
            return parse_level(value)
        except InvalidEvent as error:
            raise ValueError(error.problem) from None

    @field_validator("timezone")
    @classmethod
    def _check_zone(cls, value: str | None) -> str | None:
        try:
            return value if value is None else ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{shown(value)} is not a time zone; use an IANA name") from None

    @field_validator("db_url")
    @classmethod
    def _check_store(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            checked_store(value.get_secret_value())
        return value

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        return value if value is None else checked_url(value)


def checked_store(url: str) -> str:
    """The address of a store, as `open_store` takes it. Raises ValueError in words that show no password."""
    scheme, _, rest = url.partition(":")
    if scheme not in STORES or (scheme == "sqlite" and (not rest.startswith("///") or rest == "///")):
        raise ValueError("is not an address of a store; use sqlite:///PATH, mongodb://HOST:27017/NAME or memory:")
    return url


def checked_url(url: str) -> str:
    """The address of a server. Raises ValueError in words."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is not an address of a server; use http://HOST:PORT/")
    return url


_EXAMPLES: Final[Mapping[str, str]] = {
    "name": "name: Robot Lab Events",
    "manager_id": "manager_id: 01M84W089Z03XKWAN6R5K5H9F2",
    "description": "description: Events of the robot lab",
    "manager_type": "manager_type: event_manager",
    "url": "url: http://lab-server:8001/",
    "host": "host: 127.0.0.1",
    "port": "port: 8001",
    "db_url": "db_url: sqlite:///.madsci/events/events.db",
    "db_url_file": "db_url_file: .madsci/secrets/db_url",
    "event_client_config": "event_client_config: null",
    "alert_level": "alert_level: ERROR",
    "email_alerts": "email_alerts: {smtp_server: smtp.example.org, email_addresses: [ada@example.org]}",
    "alert_rules": "alert_rules: [{name: arm, query: {node: robotarm_1}}]",
    "timezone": "timezone: America/Chicago",
    "max_event_bytes": "max_event_bytes: 1048576",
    "tls_cert": "tls_cert: /etc/lab/cert.pem",
    "tls_key": "tls_key: /etc/lab/key.pem",
    "smtp_server": "smtp_server: smtp.example.org",
    "smtp_port": "smtp_port: 587",
    "smtp_username": "smtp_username: robot-lab",
    "smtp_password": "smtp_password_file: .madsci/secrets/smtp_password",
    "smtp_password_file": "smtp_password_file: .madsci/secrets/smtp_password",
    "use_tls": "use_tls: true",
    "sender": "sender: robot-lab@example.org",
    "default_importance": "default_importance: Normal",
    "email_addresses": "email_addresses: [ada@example.org, bob@example.org]",
    "encryption": "encryption: starttls",
    "ca_file": "ca_file: /etc/lab/authority.pem",
    "lab_name": "lab_name: Robot Lab",
}
"""What to write instead, for messages."""

_WORDS: Final[Mapping[str, str]] = {
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "holds a character that cannot be there",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "dict_type": "must hold fields",
    "model_type": "must hold fields",
    "model_attributes_type": "must hold fields",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "path_type": "must be a path",
}
_SECRET: Final = ("smtp_password", "smtp_username", "db_url")


@dataclass(frozen=True)
class Definition:
    """A definition that was read, and where in its file each field stands."""

    source: LocatedYaml
    values: EventManagerDefinition
    warnings: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path

    @cached_property
    def given(self) -> dict[str, Any]:
        """The fields the file has, but for those that are null, parsed; mail settings as they are written."""
        found = {name: getattr(self.values, name) for name in self.values.model_fields_set}
        found |= {"email_alerts": self.source.document.get("email_alerts")}
        return {name: value for name, value in found.items() if value is not None}

    def origin(self, field: str) -> str:
        """Where a field stands: `managers/events.manager.yaml:12`."""
        return f"{self.path}:{self.source.line_of(place_of(field))}"

    def placed(self, error: InvalidSettings) -> InvalidDefinition:
        """The same problem with its line."""
        line = self.source.line_of(place_of(error.field))
        return InvalidDefinition.at(self.path, line, error.field, error.problem)


def place_of(field: str) -> Place:
    """The inverse of `dotted`."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"[.\[\]]+", field) if part)


def load_definition(path: Path) -> Definition:
    """Reads a definition file. Raises InvalidDefinition with all that is wrong in it."""
    return _parsed(read_yaml(path))


def parse_definition(text: str, path: Path) -> Definition:
    """Reads a definition that is not in its file yet. Raises InvalidDefinition."""
    return _parsed(parse_yaml(text, path))


def _parsed(source: LocatedYaml) -> Definition:
    given = {name: value for name, value in source.document.items() if value is not None}
    try:
        values = EventManagerDefinition.model_validate(given)
    except ValidationError as error:
        problems = [_problem(source, details) for details in error.errors()]
        raise InvalidDefinition(sorted(problems, key=lambda problem: problem.line or 0)) from None
    problems = [_at(source, place, problem) for place, problem in _contradictions(values)]
    if problems:
        raise InvalidDefinition(problems)
    return Definition(source, values, tuple(_warnings(source, values)))


def check_field(place: Place, value: object) -> None:
    """Raises InvalidSettings where a definition could not have this value there, whatever else it says."""
    document: object = value
    for part in reversed(place):
        document = {part: document}
    try:
        EventManagerDefinition.model_validate(document)
    except ValidationError as error:
        for details in error.errors():
            if tuple(details["loc"])[: len(place)] == place:
                raise InvalidSettings(dotted(place), problem_text(place, details), value=value) from None


def _at(source: LocatedYaml, place: Place, problem: str) -> DefinitionProblem:
    return DefinitionProblem(source.path, source.line_of(place), dotted(place), problem)


def _problem(source: LocatedYaml, details: Any) -> DefinitionProblem:
    place: Place = tuple(details["loc"])
    return _at(source, place, problem_text(place, details))


def problem_text(place: Place, details: Any) -> str:
    """What pydantic found wrong at a place, in words with the way out. Shows no secret."""
    field = next((str(part) for part in reversed(place) if isinstance(part, str)), "")
    if details["type"] == "extra_forbidden":
        return _unknown(place)
    if details["type"] == "value_error":
        said = str(details["msg"]).removeprefix("Value error, ")
    else:
        value = "" if field in _SECRET else f"{shown(details['input'])} "
        said = value + _in_words(details)
    example = _EXAMPLES.get(field)
    return said if example is None else f"{said}; write, for example, {example}"


def _in_words(details: Any) -> str:
    kind, context = str(details["type"]), details.get("ctx", {})
    if kind.startswith("int_"):
        return "must be a whole number"
    for limit, words in (("ge", "at least"), ("le", "at most"), ("gt", "more than"), ("lt", "less than")):
        if limit in context:
            return f"must be {words} {context[limit]:g}"
    if "expected" in context:
        return f"must be {context['expected']}"
    return _WORDS.get(kind, f"cannot be used: {details['msg']}")


def _unknown(place: Place) -> str:
    name, inside = str(place[-1]), place[0] == "email_alerts" and len(place) > 1
    here = tuple((EmailAlertsConfig if inside else EventManagerDefinition).model_fields)
    there = tuple((EventManagerDefinition if inside else EmailAlertsConfig).model_fields)
    if name in there:
        home = "to the left, beside email_alerts" if inside else "under email_alerts"
        return f"is not a setting here; it belongs {home}"
    if near := difflib.get_close_matches(name.lower(), here, n=1):
        return f"is not a setting here; did you mean {near[0]}?"
    return f"is not a setting here; there are {', '.join(here)}"


def _contradictions(values: EventManagerDefinition) -> Iterator[tuple[Place, str]]:
    if (values.tls_cert is None) != (values.tls_key is None):
        given, missing = ("tls_cert", "tls_key") if values.tls_key is None else ("tls_key", "tls_cert")
        yield (given,), f"is given without {missing}; give both or neither"
    if values.db_url is not None and values.db_url_file is not None:
        yield ("db_url_file",), "and db_url both say where events are kept; keep one of them"
    mail = values.email_alerts
    if mail is not None and mail.smtp_password is not None and mail.smtp_password_file is not None:
        yield ("email_alerts", "smtp_password_file"), "and smtp_password are both given; leave out smtp_password"


def _warnings(source: LocatedYaml, values: EventManagerDefinition) -> Iterator[str]:
    mail = values.email_alerts
    if mail is not None and mail.smtp_password is not None:
        yield str(
            _at(
                source,
                ("email_alerts", "smtp_password"),
                "a password that whoever reads this file can read; put it in a file of mode 600 and name that "
                "(smtp_password_file: .madsci/secrets/smtp_password), or set EVENT_EMAIL_ALERTS__SMTP_PASSWORD",
            )
        )
    if values.db_url is not None and _holds_password(values.db_url.get_secret_value()):
        yield str(
            _at(
                source,
                ("db_url",),
                "a password that whoever reads this file can read; put the address in a file of mode 600 and name that "
                "(db_url_file: .madsci/secrets/db_url), or set EVENT_DB_URL",
            )
        )


def _holds_password(url: str) -> bool:
    user, at, _ = url.partition("://")[2].rpartition("@")
    return bool(at) and ":" in user


# --- files that hold a secret ----------------------------------------------------------------------------------------


def read_secret(path: Path, field: str) -> SecretStr:
    """The one line of a file that nobody else may read. Raises InvalidSettings that names the field and the way out."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidSettings(
            field, f"{path} cannot be read ({reason}); put the secret there, for this user alone (chmod 600)"
        ) from None
    if os.name == "posix" and mode & 0o077:
        raise InvalidSettings(field, f"{path} can be read by others; run chmod 600 {path}")
    secret = text.rstrip("\r\n")
    if not secret or "\n" in secret:
        raise InvalidSettings(field, f"{path} must hold the secret as its only line")
    return SecretStr(secret)


# --- which file ------------------------------------------------------------------------------------------------------


def find_definition(directory: Path) -> Path | None:
    """The one definition of an event manager in or below a directory; None where there is none.

    Other managers' definitions are skipped. Raises InvalidSettings that names them where there are several.
    """
    found = find_definitions(directory)
    if len(found) > 1:
        names = ", ".join(str(path) for path in found)
        raise InvalidSettings(
            "--definition", f"must say which event manager to run; there are {names}; add --definition {found[0]}"
        )
    return found[0] if found else None


def find_definitions(directory: Path) -> list[Path]:
    """All definitions of event managers in or below a directory, also those that are wrong; in order of their names."""
    return [path for path in manager_files(directory) if may_be_event_manager(path)]


def manager_files(directory: Path) -> list[Path]:
    """All definitions of managers in or below a directory. Hidden directories and Python environments are left out."""
    return sorted(_seen_from_here(path) for path in _manager_files(directory))


def _seen_from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _manager_files(directory: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(directory):
        folder = Path(root)
        deep = len(folder.relative_to(directory).parts) >= _DEEPEST
        folders[:] = [] if deep else [name for name in folders if _looked_into(folder / name)]
        for name in files:
            if name.endswith(SUFFIX):
                yield folder / name


def _looked_into(folder: Path) -> bool:
    name = folder.name
    return not name.startswith(".") and name not in _NOT_LOOKED_INTO and not (folder / "pyvenv.cfg").exists()


_TYPE_LINE: Final = re.compile(r"""^["']?manager_type["']?\s*:\s*["']?([\w.-]+)""", re.MULTILINE)


def may_be_event_manager(path: Path) -> bool:
    """Whether a file is an event manager's, or is so wrong that it cannot be told: then it must not be passed over."""
    try:
        found = _TYPE_LINE.search(path.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError:
        return True
    kind = MANAGER_TYPE if found is None else found[1].lower()
    return bool(difflib.get_close_matches(kind, [MANAGER_TYPE], cutoff=0.85))
