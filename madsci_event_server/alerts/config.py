"""Alert rules: which events deserve an alert, who is told, and what they should do. Parsed once, then trusted."""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from madsci_event_server.definition.email_settings import checked_address, invalid_settings
from madsci_event_server.errors import InvalidQuery, InvalidSettings, shown
from madsci_event_server.query import EventQuery

DEFAULT_RULE: Final = "alert_level"
"""Name of the rule that `alert_level` makes."""
FORCED_RULE: Final = "alert_flag"
"""Name of the rule for events that ask for an alert and match no other."""

_NOT_FILTERS: Final = ("order", "limit", "after")


class AlertRule(BaseModel):
    """Which events deserve an alert, who is told, and what they should do."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str = Field(min_length=1, max_length=64)
    query: EventQuery
    recipients: tuple[str, ...] = ()
    """Empty: `email_addresses`."""
    guidance: str | None = Field(default=None, max_length=4000)
    """What to do, whom to call."""

    @field_validator("query", mode="before")
    @classmethod
    def _parse_query(cls, value: object) -> object:
        if isinstance(value, EventQuery):
            return value
        if isinstance(value, Mapping) and (wrong := [name for name in _NOT_FILTERS if name in value]):
            raise InvalidQuery(wrong[0], "has no meaning in a rule; leave it out")
        return EventQuery.parse(value)

    @field_validator("recipients")
    @classmethod
    def _check_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(checked_address(address) for address in value))


def parse_rules(documents: object, origin: str = "alert_rules") -> list[AlertRule]:
    """The further rules of a definition. Raises InvalidSettings that names rule and field."""
    if not isinstance(documents, Sequence) or isinstance(documents, str):
        raise InvalidSettings(origin, "must be a list of rules, each with a name and a query")
    rules = [_parse_rule(document, f"{origin}[{index}]") for index, document in enumerate(documents)]
    names = [DEFAULT_RULE, FORCED_RULE, *(rule.name for rule in rules)]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InvalidSettings(origin, f"two rules are named {shown(repeated[0])}; rename one", value=repeated[0])
    return rules


def _parse_rule(document: object, origin: str) -> AlertRule:
    try:
        return AlertRule.model_validate(document)
    except ValidationError as error:
        raise invalid_settings(error, origin, AlertRule.model_fields) from None
    except InvalidQuery as error:
        raise InvalidSettings(f"{origin}.query.{error.field}", error.problem, value=error.value) from None
