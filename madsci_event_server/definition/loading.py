"""A definition file as it is read: refused as a whole, with file, line, field and the way out of all that is wrong."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from madsci_event_server.definition.located_yaml import LocatedYaml, Place, dotted, parse_yaml, read_yaml
from madsci_event_server.definition.model import EventManagerDefinition
from madsci_event_server.definition.problems import problem_text
from madsci_event_server.errors import DefinitionProblem, InvalidDefinition, InvalidSettings


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
