"""From options to a query: what `query` and its kin take, the same way everywhere.

Values are checked here, before anything is asked of a server, so that a typing error names the option it is in.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Annotated, Any, Final

import typer

from madsci_event_cli.completing import any_names, ids_of, kinds, levels, node_names
from madsci_event_cli.time_expressions import parse_moment
from madsci_event_server.errors import InvalidInput, shown
from madsci_event_server.vocabulary import ID_FIELDS, LEVELS_BY_NAME, EventLogLevel

_WHICH: Final = "Which events"
_TEXT: Final = "By what they say"
_IDS: Final = "By id"


def _one(
    name: str, metavar: str, help_: str, panel: str = _WHICH, complete: Callable[..., list[str]] | None = None
) -> Any:
    option = typer.Option(f"--{name}", metavar=metavar, help=help_, rich_help_panel=panel, autocompletion=complete)
    return Annotated[str | None, option]


def _some(
    name: str, metavar: str, help_: str = "", panel: str = _WHICH, complete: Callable[..., list[str]] | None = None
) -> Any:
    option = typer.Option(f"--{name}", metavar=metavar, help=help_, rich_help_panel=panel, autocompletion=complete)
    return Annotated[list[str] | None, option]


def _flag(names: str, help_: str) -> Any:
    return Annotated[bool | None, typer.Option(names, help=help_, rich_help_panel=_WHICH)]


def id_option(field: str) -> str:
    """`--node-id` for `node_id`."""
    return f"--{field.replace('_', '-')}"


FILTER_OPTIONS: Final[Mapping[str, Any]] = {
    "level": _one(
        "level",
        "LEVEL",
        "debug, info, warning, error, critical: this and above. error,critical: exactly these.",
        complete=levels,
    ),
    "type": _some(
        "type",
        "TYPE",
        "What it is about: workflow_start, 'workflow_*', '!log_debug' (not this).",
        complete=kinds,
    ),
    "node": _some("node", "NODE", "A node, by its name or id.", complete=node_names),
    "name": _some("name", "NAME", "The name an event goes by: a node's, a manager's.", complete=any_names),
    "since": _one("since", "TIME", "From then on: 15m, 2h30m, yesterday, 'monday 9:00', 14:05, or RFC 3339."),
    "until": _one("until", "TIME", "Before then."),
    "alert": _flag("--alert/--no-alert", "Only those that force an alert, or only the others."),
    "archived": _flag("--archived", "Archived ones, too."),
    "search": _one("search", "WORDS", "All of these words occur; plate* begins so, -retry does not occur.", _TEXT),
    "regex": _one("regex", "RE2", "This pattern is somewhere in the message.", _TEXT),
    "selector": _one("selector", "JSON", """MongoDB's filter language: '{"event_data.volume": {"$gt": 10}}'.""", _TEXT),
    **{field: _some(id_option(field)[2:], "ID", panel=_IDS, complete=ids_of(field)) for field in ID_FIELDS},
    "source": _some("source", "KEY=VALUE", "Any other key of an event's source.", _IDS),
}
"""The options that say which events, by parameter name. A leading `!` on a value of `_some` means: not this."""

_OPTIONS: Final = {"log_level": "--level", "kind": "--type", "include_archived": "--archived"}
"""The option of a query's field where it is not the field's name."""


def query_document(filters: Mapping[str, Any], *, now: datetime, zone: tzinfo | None = None) -> dict[str, Any]:
    """The query, as JSON, that these options mean. Raises InvalidInput that names the option.

    `filters` has the values of FILTER_OPTIONS by parameter name; None and empty lists count as not given.
    """
    document = {field: value for field, value in filters.items() if value is not None and value != []}
    if document.pop("archived", False):
        document["include_archived"] = True
    document |= _levels(document.pop("level", None))
    if kinds := split_values(document.pop("type", ()), "--type"):
        document["kind"] = kinds
    if pairs := document.pop("source", ()):
        document["source"] = _pairs(pairs)
    for bound in ("since", "until"):
        if bound in document:
            moment = parse_moment(document[bound], now=now, zone=zone, field=f"--{bound}")
            document[bound] = moment.isoformat()
    if "selector" in document:
        document["selector"] = _selector(document["selector"])
    check(document)
    return document


def check(document: Mapping[str, Any]) -> None:
    """Raises InvalidInput, naming the option, for a query no server would take."""
    from madsci_event_server.query import EventQuery  # pydantic, which help does without

    try:
        EventQuery.parse(document)
    except InvalidInput as error:
        raise InvalidInput(option_of(error.field), error.problem, value=error.value) from None


def option_of(field: str) -> str:
    """The option a query's field is given with: `--type` for `kind`."""
    head, dot, rest = field.partition(".")
    return f"{_OPTIONS.get(head, '--' + head.replace('_', '-'))}{' ' if dot else ''}{rest}"


def key_and_value(pair: str, option: str) -> tuple[str, str]:
    """The two sides of `k=v`. Raises InvalidInput that names the option."""
    key, equals, value = pair.partition("=")
    if not equals or not key:
        raise InvalidInput(option, f"{shown(pair)} is not of the form key=value", value=pair)
    return key, value


def _levels(text: str | None) -> dict[str, Any]:
    """One level is a minimum; several are exactly those; one with `!` is all but that."""
    if text is None:
        return {}
    names = [name.strip() for name in text.split(",")]
    if len(names) == 1 and not names[0].startswith("!"):
        return {"level": names[0]}
    if not any(name.startswith("!") for name in names):
        return {"log_level": [name for name in names if name]}
    if not all(name.startswith("!") for name in names):
        raise InvalidInput("--level", f"{shown(text)} mixes levels to show and to hide; give one or the other")
    hidden = {level_named(name[1:]) for name in names}
    return {"log_level": [level.name.lower() for level in EventLogLevel if level not in hidden]}


def level_named(name: str) -> EventLogLevel:
    """The level of this name in any case, or number. Raises InvalidInput that names `--level`."""
    try:
        return EventLogLevel(int(name)) if name.isdecimal() else LEVELS_BY_NAME[name.lower()]
    except (KeyError, ValueError):
        known = ", ".join(level.name.lower() for level in EventLogLevel)
        raise InvalidInput("--level", f"{shown(name)} is not a level; use {known}", value=name) from None


def split_values(texts: Iterable[str], option: str) -> list[str]:
    """The values of an option that takes several, between commas. Raises InvalidInput for one that holds none."""
    found: list[str] = []
    for text in texts:
        values = [part.strip() for part in text.split(",") if part.strip()]
        if not values:  # an empty variable in a script is a mistake, not a wish for everything
            raise InvalidInput(option, "is empty; give at least one value, or leave it out", value=text)
        found += values
    return found


def _pairs(pairs: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        key, value = key_and_value(pair, "--source")
        found.setdefault(key, []).append(value)
    return found


def _selector(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidInput("--selector", f"{shown(text)} is not JSON: {error}", value=text) from None
    if not isinstance(found, dict):
        example = """'{"event_data.volume": {"$gt": 10}}'"""
        raise InvalidInput("--selector", f"{shown(text)} is not a JSON object; use {example}", value=text)
    return found
