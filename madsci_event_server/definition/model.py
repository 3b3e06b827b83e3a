"""EventManagerDefinition: what a definition may say, field by field."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator

from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.errors import InvalidEvent, shown
from madsci_event_server.event import EventLogLevel, parse_level

ANY_ORIGIN: Final = "*"
STORES: Final = ("sqlite", "mongodb", "mongodb+srv", "memory")


def checked_origin(origin: str) -> str:
    """A site as browsers write it, or `*` for any. Raises ValueError in words."""
    if origin == ANY_ORIGIN:
        return origin
    try:
        parts = urlsplit(origin)
        usable = bool(parts.hostname) and origin == f"{parts.scheme}://{parts.netloc}".lower() and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{shown(origin)} is not a site as browsers name it; use http://HOST:PORT, or * for any")
    return origin


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
    allowed_origins: list[Annotated[str, AfterValidator(checked_origin)]] = Field(default_factory=list)
    """Sites whose pages may archive, delete and change alerts, too: `http://dashboard.lab:3000`, or `*` for all."""
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
    scheme = url.partition(":")[0]
    if scheme not in STORES or (scheme == "sqlite" and sqlite_file(url) is None):
        raise ValueError("is not an address of a store; use sqlite:///PATH, mongodb://HOST:27017/NAME or memory:")
    return url


def sqlite_file(url: str) -> str | None:
    """The path that `sqlite:///PATH` names; None for another address. Raises ValueError for one with options."""
    path = url.removeprefix("sqlite:///")
    if path in (url, ""):
        return None
    file, options_begin, options = path.partition("?")
    if options_begin:
        raise ValueError(
            f"has options, which a file takes none of: leave out {shown('?' + options)}, "
            "or write %3F for a question mark in the file's name"
        )
    if file == ":memory:":
        raise ValueError("is no file; write memory: for a store in memory")
    return unquote(path)


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
