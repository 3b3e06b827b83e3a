"""EmailAlertsConfig: how alert mail leaves, whom it reaches, and the breaker that keeps it from flooding.

The fields are MADSci's by name, so that its definitions and environment variables work; those after `email_addresses`
are ours and optional.
"""

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from madsci_event_server.errors import InvalidSettings, shown

Importance = Literal["High", "Normal", "Low"]
Encryption = Literal["starttls", "implicit", "none"]

REDACTED: Final = "***REDACTED***"
"""What stands where a secret would, as MADSci's managers write it."""

_SECRET_FIELDS: Final = ("smtp_username", "smtp_password")
_IMPLICIT_TLS_PORT: Final = 465
_ADDRESS: Final = re.compile(r"""[^\s<>@,;:"()\\]+@[^\s<>@,;:"()\\]+""")
_NAMED_ADDRESS: Final = re.compile(rf"""[^<>@,;:"()\\\x00-\x1f]*<(?P<address>{_ADDRESS.pattern})>""")


class EmailAlertsConfig(BaseModel):
    """How mail leaves, and the breaker that keeps it from flooding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    smtp_server: str = Field(default="smtp.example.com", min_length=1, pattern=r"^[^\s\x00-\x1f]+$")
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    use_tls: bool = True
    """STARTTLS, or TLS from the first byte on port 465; the certificate is verified either way."""
    sender: str = "no-reply@example.com"
    default_importance: Importance = "Normal"
    """Of mail about errors and less; about critical or flagged events it is High."""
    email_addresses: tuple[str, ...] = ()
    """Who is told, unless a rule names others."""

    smtp_password_file: Path | None = None
    """Holds the password, which is then in no definition; nobody else may read the file."""
    encryption: Encryption | None = None
    """Says what `use_tls` cannot: `implicit` is TLS from the first byte."""
    ca_file: Path | None = None
    """Certificates to trust besides the system's: a lab's own authority."""
    lab_name: str | None = None
    """In brackets at the front of every subject; default: the name of the event manager."""
    timeout_seconds: float = Field(default=20.0, gt=0, le=300)
    """For each answer of the mail server."""
    group_wait_seconds: float = Field(default=10.0, ge=0, le=600)
    """How long a new alert waits for others to share its mail."""
    digest_minutes: float = Field(default=5.0, ge=1, le=1440)
    repeat_hours: float = Field(default=4.0, ge=0.25, le=168)
    mails_per_hour: int = Field(default=10, ge=2, le=60)
    """To one recipient, the storm digest included."""
    mails_per_hour_in_all: int = Field(default=50, ge=2, le=1000)

    @field_validator("default_importance", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.capitalize() if isinstance(value, str) else value

    @field_validator("email_addresses")
    @classmethod
    def _check_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(checked_address(address) for address in value))

    @field_validator("sender")
    @classmethod
    def _check_sender(cls, value: str) -> str:
        return value if _NAMED_ADDRESS.fullmatch(value) else checked_address(value)

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        for secret in ("smtp_password", "smtp_password_file"):
            if getattr(self, secret) is not None and not self.smtp_username:
                raise ValueError(f"{secret} is given without smtp_username; give both or neither")
        if self.encryption is not None and (self.encryption == "none") == self.use_tls:
            raise ValueError(
                f"encryption {self.encryption!r} contradicts use_tls {str(self.use_tls).lower()}; change one"
            )
        return self

    def shown(self) -> dict[str, Any]:
        """The settings as anyone may see them: JSON, without a secret."""
        hidden = {name: REDACTED for name in _SECRET_FIELDS if getattr(self, name) is not None}
        return self.model_dump(mode="json") | hidden

    @property
    def how_encrypted(self) -> Encryption:
        """What the session will do: the explicit `encryption`, else what `use_tls` and the port mean."""
        if self.encryption is not None:
            return self.encryption
        if not self.use_tls:
            return "none"
        return "implicit" if self.smtp_port == _IMPLICIT_TLS_PORT else "starttls"

    @property
    def sender_address(self) -> str:
        """The sender without a display name: what the SMTP envelope says."""
        named = _NAMED_ADDRESS.fullmatch(self.sender)
        return named["address"] if named else self.sender

    @property
    def group_wait(self) -> timedelta:
        """How long a new alert waits for others."""
        return timedelta(seconds=self.group_wait_seconds)

    @property
    def digest(self) -> timedelta:
        """The least time between two mails to one recipient about an alert that goes on."""
        return timedelta(minutes=self.digest_minutes)

    @property
    def repeat(self) -> timedelta:
        """When an open alert that nobody acknowledged is mailed again, though nothing new happened."""
        return timedelta(hours=self.repeat_hours)


def checked_address(address: str) -> str:
    """A bare mail address. Raises ValueError in words."""
    if _ADDRESS.fullmatch(address) and address.isprintable():
        return address
    raise ValueError(f"{shown(address)} is not a mail address; write it as name@host, one address an item")


def parse_email_alerts(document: object, origin: str = "email_alerts") -> EmailAlertsConfig:
    """The mail settings a definition or variable means. Raises InvalidSettings that names the field, never a secret."""
    if not isinstance(document, Mapping):
        raise InvalidSettings(origin, 'must be an object such as {"smtp_server": "...", "email_addresses": ["..."]}')
    try:
        return EmailAlertsConfig.model_validate(dict(document))
    except ValidationError as error:
        raise invalid_settings(error, origin, EmailAlertsConfig.model_fields) from None


def invalid_settings(error: ValidationError, origin: str, known: Collection[str]) -> InvalidSettings:
    """What pydantic found wrong, in words that name the field and hold no secret."""
    first: Any = error.errors()[0]
    field = ".".join([origin, *map(str, first["loc"])])
    reason = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "value_error":
        return InvalidSettings(field, reason)
    if first["type"] == "extra_forbidden":
        return InvalidSettings(field, f"is not a setting here; there are {', '.join(known)}")
    secret = not first["loc"] or first["loc"][-1] in _SECRET_FIELDS
    said = "the value" if secret else shown(first["input"])
    return InvalidSettings(field, f"{said}: {reason[:1].lower()}{reason[1:]}")
