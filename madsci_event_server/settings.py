"""Settings: what a server runs with, read once, here, and passed on as values.

Order: flag > environment > definition > default. Nothing else in this package reads the environment.
"""

import difflib
import re
from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError

from madsci_event_server.definition import Definition, find_definition, load_definition, read_secret
from madsci_event_server.definition.email_settings import REDACTED, EmailAlertsConfig, parse_email_alerts
from madsci_event_server.definition.model import ANY_ORIGIN as ANY_ORIGIN
from madsci_event_server.definition.model import checked_origin, checked_store
from madsci_event_server.errors import InvalidEvent, InvalidInput, InvalidSettings, shown
from madsci_event_server.event import EventLogLevel, new_event_id, parse_level
from madsci_event_server.json_text import parse_json

__all__ = ["REDACTED", "EmailAlertsConfig", "Settings", "lab_directory", "without_credentials"]

DEFAULT_DATABASE: Final = "sqlite:///.madsci/events/events.db"
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8001
DEFAULT_MAX_EVENT_BYTES: Final = 1024 * 1024

_LAB_MARKS: Final = (".madsci", "managers")
_READ: Final = (
    "EVENT_SERVER_URL",
    "EVENT_DB_URL",
    "EVENT_DOCUMENT_DB_URL",
    "EVENT_ALERT_LEVEL",
    "EVENT_TIMEZONE",
    "EVENT_MAX_EVENT_BYTES",
    "EVENT_ALLOWED_ORIGINS",
    "EVENT_BATCH_WORKERS",
)
_MAX_DIGITS: Final = 18
_EMAIL_ALERTS: Final = "EVENT_EMAIL_ALERTS"
_PREFIXES_OF_OTHERS: Final = ("EVENT_CLIENT_", _EMAIL_ALERTS)
_NO_SETTINGS: Final = ("manager_type", "event_client_config", "db_url_file")
"""Fields of a definition that say nothing of how to run, or only where another one is kept."""
_PATHS: Final = ("tls_cert", "tls_key")
_S = TypeVar("_S", bound="Settings")


class Settings(BaseModel):
    """One server's settings. `origins` says of each that is not a default where it came from."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str = "Event Manager"
    description: str | None = None
    manager_id: str = Field(default_factory=new_event_id)
    """A ULID, as MADSci's managers have; made at each start where no definition says it."""
    url: str | None = None
    """What clients dial, where a definition says it."""
    host: str = DEFAULT_HOST
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535)
    """0 picks a free one."""
    db_url: SecretStr = SecretStr(DEFAULT_DATABASE)
    """`sqlite:///path` (relative to the lab directory), `mongodb://...` or `memory:`; may hold a password."""
    alert_level: EventLogLevel = EventLogLevel.ERROR
    email_alerts: EmailAlertsConfig | None = None
    """None: alerts are kept and shown, and nobody is mailed."""
    alert_rules: tuple[dict[str, Any], ...] = ()
    """Further rules as the definition says them; `alerts.config.parse_rules` reads them."""
    timezone: str | None = None
    """IANA name of the zone of timestamps without one; None: this machine's."""
    max_event_bytes: int = Field(default=DEFAULT_MAX_EVENT_BYTES, ge=1024)
    batch_workers: int | None = Field(default=None, ge=0, le=64)
    """How many programs beside the server read large batches; None: one a core that it can spare, at most 4."""
    allowed_origins: tuple[str, ...] = ()
    """Sites whose pages may archive, delete and change alerts, beside our own."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    lab_directory: Path = Field(default_factory=Path.cwd)
    origins: dict[str, str] = Field(default_factory=dict)
    definition: Path | None = None
    """The file the definition was read from."""
    _definition: Definition | None = PrivateAttr(default=None)

    @property
    def zone(self) -> tzinfo | None:
        """The zone of timestamps without one; None stands for this machine's, with its daylight saving."""
        return None if self.timezone is None else ZoneInfo(self.timezone)

    def shown(self) -> dict[str, Any]:
        """The settings as anyone may see them: JSON, without a secret."""
        found = self.model_dump(mode="json", exclude={"origins", "email_alerts"})
        return found | {
            "alert_level": self.alert_level.name,
            "db_url": without_credentials(self.db_url.get_secret_value()),
            "email_alerts": None if self.email_alerts is None else self.email_alerts.shown(),
        }

    @classmethod
    def read(
        cls,
        environment: Mapping[str, str],
        *,
        flags: Mapping[str, object] | None = None,
        definition: Path | None = None,
        directory: Path | None = None,
    ) -> tuple[Self, list[str]]:
        """The settings, and warnings to show (an EVENT_ variable nobody reads). Raises InvalidSettings.

        `flags` are options given on the command line by field name; None values count as not given. `definition` is a
        definition file; paths in it are relative to the lab directory.
        """
        lab = lab_directory(directory or Path.cwd())
        loaded = None if definition is None else load_definition(definition)
        found, origins = ({}, {}) if loaded is None else _from_definition(loaded, lab)
        for field, (value, variable) in _from_environment(environment).items():
            found[field], origins[field] = value, variable
        _take_email_alerts(found, origins, environment, lab)
        for field, value in (flags or {}).items():
            if value is not None:
                found[field], origins[field] = value, f"--{_FLAGS.get(field, field.replace('_', '-'))}"
        found.setdefault("lab_directory", lab)
        found["definition"] = definition
        settings = _validated(cls, found, origins)
        settings._definition = loaded
        return settings, [*(loaded.warnings if loaded else ()), *_warnings(environment)]

    def placed(self, error: InvalidSettings) -> InvalidSettings:
        """The same problem, with its line where it is the definition's."""
        head = error.field.partition(".")[0].partition("[")[0]
        if self._definition is None or head not in self._definition.given:
            return error
        return self._definition.placed(error)


_SECRET_OPTION: Final = re.compile(
    r"([?&](?:tlsCertificateKeyFilePassword|authMechanismProperties|proxyUsername|proxyPassword)=)[^&]*", re.IGNORECASE
)
_FLAGS: Final = {"db_url": "db"}


def lab_directory(here: Path, home: Path | None = None) -> Path:
    """The nearest of `here` and its parents, below home, with `.madsci/`, `managers/` or `*.lab.yaml`; else `here`."""
    home = home or Path.home()
    for candidate in (here, *here.parents):
        if candidate == home:
            break
        if any((candidate / mark).is_dir() for mark in _LAB_MARKS) or any(candidate.glob("*.lab.yaml")):
            return candidate
    return here


def chosen_definition(given: Path | None, directory: Path | None = None) -> Path | None:
    """The definition to run with: the one given, else the only one in or below the lab directory, else none.

    Raises InvalidSettings where there are several.
    """
    return given or find_definition(lab_directory(directory or Path.cwd()))


def without_credentials(url: str) -> str:
    """`url` as it may be shown: user and password replaced by ***, and what options of MongoDB keep secret."""
    if url.startswith("sqlite:"):
        return url
    head, at, tail = _SECRET_OPTION.sub(r"\1***", url).rpartition("@")
    if not at:
        return tail
    scheme = head.partition("://")[0]
    return f"{scheme}://***@{tail}"


def _from_definition(definition: Definition, lab: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What a definition says, by field, and where it says it. Raises InvalidSettings for a secret that is not there."""
    found = {name: value for name, value in definition.given.items() if name not in _NO_SETTINGS}
    found |= {name: lab / found[name] for name in _PATHS if name in found}
    origins = {name: definition.origin(name) for name in found}
    mail = found.get("email_alerts")
    origins |= {f"email_alerts.{name}": definition.origin(f"email_alerts.{name}") for name in mail or ()}
    if (secret := definition.given.get("db_url_file")) is not None:
        try:
            found["db_url"] = read_secret(lab / secret, "db_url_file")
        except InvalidSettings as error:
            raise definition.placed(error) from None
        origins["db_url"] = str(lab / secret)
    return found, origins


def _level(value: object, origin: str) -> EventLogLevel:
    try:
        return parse_level(value)
    except InvalidEvent as error:
        raise InvalidSettings(origin, error.problem, value=value) from None


def _take_email_alerts(
    found: dict[str, Any], origins: dict[str, str], environment: Mapping[str, str], lab: Path
) -> None:
    """Makes one EmailAlertsConfig of the definition's and the environment's fields; the latter go first."""
    document = found.pop("email_alerts", None)
    sources = {name: origins.pop(name) for name in list(origins) if name.partition(".")[0] == "email_alerts"}
    sources.setdefault("email_alerts", "email_alerts")
    if isinstance(document, dict):
        document = dict(document)
    if text := environment.get(_EMAIL_ALERTS):
        document = _json_setting(text, _EMAIL_ALERTS)
        sources = {"email_alerts": _EMAIL_ALERTS}
        if isinstance(document, dict):
            sources |= {f"email_alerts.{field}": _EMAIL_ALERTS for field in document}
    for variable, text in environment.items():
        if variable.startswith(f"{_EMAIL_ALERTS}__") and text:
            field = variable.removeprefix(f"{_EMAIL_ALERTS}__").lower()
            document = {} if document is None else document
            if isinstance(document, dict):
                for other in _SAME_SECRET.get(field, ()):
                    document.pop(other, None)
                document[field] = _text_setting(field, text, variable)
                sources[f"email_alerts.{field}"] = variable
    if document is None:
        return
    try:
        found["email_alerts"] = parse_email_alerts(document)
    except InvalidSettings as error:
        raise InvalidSettings(_said_by(error.field, sources), error.problem, value=error.value) from None
    origins |= sources
    found["email_alerts"] = _with_files(found["email_alerts"], sources, lab)


def _with_files(mail: EmailAlertsConfig, sources: Mapping[str, str], lab: Path) -> EmailAlertsConfig:
    """The mail settings with what the files they name hold."""
    changed: dict[str, Any] = {}
    if mail.ca_file is not None:
        changed["ca_file"] = lab / mail.ca_file
    if mail.smtp_password_file is not None:
        field = "email_alerts.smtp_password_file"
        changed["smtp_password"] = read_secret(
            lab / mail.smtp_password_file, f"{sources.get(field, sources['email_alerts'])}: {field}"
        )
    return mail.model_copy(update=changed)


_SAME_SECRET: Final = {"smtp_password": ("smtp_password_file",), "smtp_password_file": ("smtp_password",)}
"""A secret of the environment goes before one of the definition, however each is given."""


def _said_by(field: str, sources: Mapping[str, str]) -> str:
    """The variable that holds a field or what it is part of; the field itself where the definition does."""
    if sources.get(field) is not None:
        return sources[field]
    return next((variable for name, variable in sources.items() if "." in name and field.startswith(f"{name}.")), field)


def _json_setting(text: str, variable: str) -> Any:
    try:
        return parse_json(text)
    except InvalidInput:  # its words would show the text, which may hold a password
        raise InvalidSettings(variable, 'is not JSON; write an object such as {"smtp_server": "..."}') from None


def _text_setting(field: str, text: str, variable: str) -> Any:
    """The value of one field's variable: a list of addresses may be JSON or separated by commas."""
    if field != "email_addresses":
        return text
    if text.lstrip().startswith("["):
        return _json_setting(text, variable)
    return [address.strip() for address in text.split(",") if address.strip()]


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """Values by field, each with its variable."""
    found: dict[str, tuple[Any, str]] = {}
    if address := environment.get("EVENT_SERVER_URL"):
        host, port = _bind_address(address)
        found["host"], found["port"] = (host, "EVENT_SERVER_URL"), (port, "EVENT_SERVER_URL")
    for variable in ("EVENT_DB_URL", "EVENT_DOCUMENT_DB_URL"):  # the later wins
        if value := environment.get(variable):
            found["db_url"] = (value, variable)
    if value := environment.get("EVENT_ALERT_LEVEL"):
        found["alert_level"] = (_level(value, "EVENT_ALERT_LEVEL"), "EVENT_ALERT_LEVEL")
    if value := environment.get("EVENT_TIMEZONE"):
        found["timezone"] = (value, "EVENT_TIMEZONE")
    if value := environment.get("EVENT_ALLOWED_ORIGINS"):
        found["allowed_origins"] = (_origins(value, "EVENT_ALLOWED_ORIGINS"), "EVENT_ALLOWED_ORIGINS")
    for variable, what in (("EVENT_MAX_EVENT_BYTES", "bytes"), ("EVENT_BATCH_WORKERS", "workers")):
        if value := environment.get(variable):
            if not (value.isdecimal() and len(value) <= _MAX_DIGITS):
                raise InvalidSettings(variable, f"{shown(value)} is not a number of {what}", value=value)
            found[variable.removeprefix("EVENT_").lower()] = (int(value), variable)
    return found


def _origins(text: str, variable: str) -> list[str]:
    try:
        return [checked_origin(origin.strip()) for origin in text.split(",") if origin.strip()]
    except ValueError as error:
        raise InvalidSettings(variable, str(error), value=text) from None


def _bind_address(address: str) -> tuple[str, int]:
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts = urlsplit("")
        port = 0
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise InvalidSettings(
            "EVENT_SERVER_URL", f"{shown(address)} is not an address; use http://HOST:PORT", value=address
        )
    return parts.hostname, port


def _check_zone(name: str, origin: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidSettings(
            origin, f"{shown(name)} is not a time zone; use an IANA name such as America/Chicago or UTC", value=name
        ) from None


def _check_store(url: SecretStr | str, origin: str) -> None:
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    try:
        checked_store(text)
    except ValueError as error:
        raise InvalidSettings(origin, f"{shown(without_credentials(text))} {error}", value=text) from None


def _validated(cls: type[_S], found: dict[str, Any], origins: dict[str, str]) -> _S:
    if found.get("timezone") is not None:
        _check_zone(str(found["timezone"]), origins["timezone"])
    if found.get("db_url") is not None:
        _check_store(found["db_url"], origins["db_url"])
    try:
        return cls(**found, origins=origins)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        raise InvalidSettings(
            origins.get(field, field), f"{shown(first['input'])}: {first['msg']}", value=first["input"]
        ) from None


def _warnings(environment: Mapping[str, str]) -> list[str]:
    """Others use the EVENT_ prefix too (MADSci's client does), so an unknown variable is no error."""
    found = []
    for variable in sorted(environment):
        if variable.startswith("EVENT_") and not variable.startswith(_PREFIXES_OF_OTHERS) and variable not in _READ:
            near = difflib.get_close_matches(variable, _READ, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            found.append(f"{variable} is not a setting of this server and is ignored{hint}")
    return found
