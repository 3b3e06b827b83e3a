"""When to stop following: an event that was waited for, or one that must not come."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.filters import level_named, split_values
from madsci_event_cli.rendering import parse_event
from madsci_event_server.errors import InvalidInput, shown
from madsci_event_server.vocabulary import EventLogLevel

if TYPE_CHECKING:
    from madsci_event_server.event import Event

Condition = Callable[["Event"], bool]

_LEVEL = re.compile(r"\s*level\s*(>=|<=|==|=|>|<)\s*(\w+)\s*")
_TYPE = re.compile(r"\s*(?:type|kind)\s*==?\s*([A-Za-z0-9_.*-]+)\s*")
_COMPARE: Final[dict[str, Callable[[EventLogLevel, EventLogLevel], bool]]] = {
    ">=": lambda level, named: level >= named,
    "<=": lambda level, named: level <= named,
    ">": lambda level, named: level > named,
    "<": lambda level, named: level < named,
    "=": lambda level, named: level == named,
    "==": lambda level, named: level == named,
}


@dataclass(frozen=True)
class Endings:
    """What ends a following, well or badly. True where there is anything."""

    awaited: tuple[Condition, ...]
    """The first to hold ends it with success ..."""
    feared: tuple[Condition, ...]
    """... or with failure."""

    @classmethod
    def parse(cls, until_types: Iterable[str], exit_on: Iterable[str]) -> Self:
        """What `--until-type` and `--exit-on` say. Raises InvalidInput that names the option."""
        types = split_values(until_types, "--until-type")
        return cls(tuple(map(_is_of_type, types)), tuple(map(_condition, exit_on)))

    def __bool__(self) -> bool:
        return bool(self.awaited or self.feared)

    def met_by(self, body: bytes) -> ExitCode | None:
        """The exit code this event ends with; None where it goes on."""
        if not self:
            return None
        event = parse_event(body)
        if any(holds(event) for holds in self.feared):
            return ExitCode.REFUSED
        return ExitCode.OK if any(holds(event) for holds in self.awaited) else None


def _condition(text: str) -> Condition:
    if text.strip() == "alert":
        return lambda event: event.alert
    if found := _LEVEL.fullmatch(text):
        return _has_level(found[1], found[2])
    if found := _TYPE.fullmatch(text):
        return _is_of_type(found[1])
    raise InvalidInput(
        "--exit-on", f"{shown(text)} is no condition; use 'level>=error', type=node_error or alert", value=text
    )


def _has_level(operator: str, name: str) -> Condition:
    try:
        named = level_named(name)
    except InvalidInput as error:
        raise InvalidInput("--exit-on", error.problem, value=name) from None
    return lambda event: _COMPARE[operator](event.log_level, named)


def _is_of_type(text: str) -> Condition:
    """By kind or by the type as sent, in any case; `*` stands for anything."""
    pattern = re.compile(".*".join(map(re.escape, text.lower().split("*"))))
    return lambda event: bool(pattern.fullmatch(event.kind) or pattern.fullmatch(event.event_type))
