"""Settings: what a server runs with, read once, here, and passed on as values.

Order: flag > environment > definition > default. Nothing else in this package reads the environment.
"""

import difflib
from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from madsci_event_server.email_settings import REDACTED, EmailAlertsConfig, parse_email_alerts
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
)
_EMAIL_ALERTS: Final = "EVENT_EMAIL_ALERTS"
_PREFIXES_OF_OTHERS: Final = ("EVENT_CLIENT_", _EMAIL_ALERTS)
_OF_A_DEFINITION: Final = ("name", "alert_level", "email_alerts", "alert_rules")
_S = TypeVar("_S", bound="Settings")


class Settings(BaseModel):
    """One server's settings. `origins` says of each that is not a default where it came from."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str = "Event Manager"
    description: str | None = None
    manager_id: str = Field(default_factory=new_event_id)
    """A ULID, as MADSci's managers have; made at each start where no definition says it."""
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
    tls_cert: Path | None = None
    tls_key: Path | None = None
    lab_directory: Path = Field(default_factory=Path.cwd)
    origins: dict[str, str] = Field(default_factory=dict)

    @property
    def zone(self) -> tzinfo | None:
        """The zone of timestamps without one; None stands for this machine's, with its daylight saving."""
        return None if self.timezone is None else ZoneInfo(self.timezone)

    def shown(self) -> dict[str, Any]:
        """The settings as anyone may see them: JSON, without a secret."""
        found = self.model_dump(mode="json", exclude={"origins", "db_url"})
        return found | {
            "email_alerts": None if self.email_alerts is None else self.email_alerts.shown(),
            "alert_level": self.alert_level.name,
            "db_url": without_credentials(self.db_url.get_secret_value()),
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
        definition file, of which the name and all about alerts is read.
        """
        found, origins = _from_definition(definition) if definition is not None else ({}, {})
        for field, (value, variable) in _from_environment(environment).items():
            found[field], origins[field] = value, variable
        _take_email_alerts(found, origins, environment)
        for field, value in (flags or {}).items():
            if value is not None:
                found[field], origins[field] = value, f"--{_FLAGS.get(field, field.replace('_', '-'))}"
        found.setdefault("lab_directory", lab_directory(directory or Path.cwd()))
        return _validated(cls, found, origins), _warnings(environment)


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


def without_credentials(url: str) -> str:
    """`url` as it may be shown: user and password replaced by ***."""
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme = head.partition("://")[0]
    return f"{scheme}://***@{tail}"


def _from_definition(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What a definition file says of a server's name and alerts. Raises InvalidSettings."""
    document = _yaml_object(path)
    found = {name: document[name] for name in _OF_A_DEFINITION if document.get(name) is not None}
    if "alert_level" in found:
        found["alert_level"] = _level(found["alert_level"], f"alert_level in {path}")
    return found, dict.fromkeys(found, str(path))


def _yaml_object(path: Path) -> dict[str, Any]:
    import yaml  # only who has a definition needs it

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettings("--definition", f"{path} cannot be read ({error.strerror}); name a file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1} column {mark.column + 1}" if mark is not None else ""
        raise InvalidSettings("--definition", f"{path} is not YAML{where}") from None
    if not isinstance(document, dict):
        raise InvalidSettings("--definition", f"{path} must hold fields such as `alert_level: 40`")
    return document


def _level(value: object, origin: str) -> EventLogLevel:
    try:
        return parse_level(value)
    except InvalidEvent as error:
        raise InvalidSettings(origin, error.problem, value=value) from None


def _take_email_alerts(found: dict[str, Any], origins: dict[str, str], environment: Mapping[str, str]) -> None:
    """Makes one EmailAlertsConfig of the definition's and the environment's fields; the latter go first."""
    document = found.pop("email_alerts", None)
    sources = {"email_alerts": origins.pop("email_alerts", "email_alerts")}
    if isinstance(document, dict):
        document = dict(document)
    if text := environment.get(_EMAIL_ALERTS):
        document = _json_setting(text, _EMAIL_ALERTS)
        sources["email_alerts"] = _EMAIL_ALERTS
    for variable, text in environment.items():
        if variable.startswith(f"{_EMAIL_ALERTS}__") and text:
            field = variable.removeprefix(f"{_EMAIL_ALERTS}__").lower()
            document = {} if document is None else document
            if isinstance(document, dict):
                document[field] = _text_setting(field, text, variable)
                sources[f"email_alerts.{field}"] = variable
    if document is None:
        return
    try:
        found["email_alerts"] = parse_email_alerts(document)
    except InvalidSettings as error:
        raise InvalidSettings(sources.get(error.field, error.field), error.problem, value=error.value) from None
    origins["email_alerts"] = sources["email_alerts"]


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
    if value := environment.get("EVENT_MAX_EVENT_BYTES"):
        if not value.isdecimal():
            raise InvalidSettings("EVENT_MAX_EVENT_BYTES", f"{shown(value)} is not a number of bytes", value=value)
        found["max_event_bytes"] = (int(value), "EVENT_MAX_EVENT_BYTES")
    return found


def _bind_address(address: str) -> tuple[str, int]:
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts = urlsplit("")
        port = 0
    if not parts.hostname:
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


def _validated(cls: type[_S], found: dict[str, Any], origins: dict[str, str]) -> _S:
    if found.get("timezone") is not None:
        _check_zone(str(found["timezone"]), origins["timezone"])
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
