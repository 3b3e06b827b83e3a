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

from madsci_event_server.errors import InvalidEvent, InvalidSettings, shown
from madsci_event_server.event import EventLogLevel, new_event_id, parse_level

DEFAULT_DATABASE: Final = "sqlite:///.madsci/events/events.db"
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8001
DEFAULT_MAX_EVENT_BYTES: Final = 1024 * 1024

REDACTED: Final = "***REDACTED***"
"""What stands where a secret would, as MADSci's managers write it."""

_LAB_MARKS: Final = (".madsci", "managers")
_READ: Final = (
    "EVENT_SERVER_URL",
    "EVENT_DB_URL",
    "EVENT_DOCUMENT_DB_URL",
    "EVENT_ALERT_LEVEL",
    "EVENT_TIMEZONE",
    "EVENT_MAX_EVENT_BYTES",
)
_PREFIXES_OF_OTHERS: Final = ("EVENT_CLIENT_", "EVENT_EMAIL_ALERTS")
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
            "alert_level": self.alert_level.name,
            "db_url": without_credentials(self.db_url.get_secret_value()),
        }

    @classmethod
    def read(
        cls, environment: Mapping[str, str], *, flags: Mapping[str, object] | None = None, directory: Path | None = None
    ) -> tuple[Self, list[str]]:
        """The settings, and warnings to show (an EVENT_ variable nobody reads). Raises InvalidSettings.

        `flags` are options given on the command line by field name; None values count as not given.
        """
        found, origins = _from_environment(environment)
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


def _from_environment(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}

    def take(field: str, variable: str, value: object) -> None:
        found[field], origins[field] = value, variable

    if address := environment.get("EVENT_SERVER_URL"):
        host, port = _bind_address(address)
        take("host", "EVENT_SERVER_URL", host)
        take("port", "EVENT_SERVER_URL", port)
    for variable in ("EVENT_DB_URL", "EVENT_DOCUMENT_DB_URL"):  # the later wins
        if value := environment.get(variable):
            take("db_url", variable, value)
    if value := environment.get("EVENT_ALERT_LEVEL"):
        try:
            take("alert_level", "EVENT_ALERT_LEVEL", parse_level(value))
        except InvalidEvent as error:
            raise InvalidSettings("EVENT_ALERT_LEVEL", error.problem, value=value) from None
    if value := environment.get("EVENT_TIMEZONE"):
        take("timezone", "EVENT_TIMEZONE", value)
    if value := environment.get("EVENT_MAX_EVENT_BYTES"):
        if not value.isdecimal():
            raise InvalidSettings("EVENT_MAX_EVENT_BYTES", f"{shown(value)} is not a number of bytes", value=value)
        take("max_event_bytes", "EVENT_MAX_EVENT_BYTES", int(value))
    return found, origins


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
