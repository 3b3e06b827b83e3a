"""Changing a filter a field at a time: what chips, facets, `i` and `x` do. A filter is an EventQuery, never more.

Archived events and paging belong to the query, but are no filters here: nobody would miss them if they were not named.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from madsci_event_cli.rendering import visible
from madsci_event_server.event import EventLogLevel, format_time
from madsci_event_server.query import EventQuery

_NO_FILTERS: Final = frozenset({"include_archived", "only_archived", "order", "limit", "after"})

_FILTERS_OF: Final = {
    "log_level": ("log_level", "level"),
    "name": ("name", "node"),
    "time": ("since", "until", "start_time", "end_time"),
}
"""The filters that narrow a field, where it is not just the one of its own name."""


def filters_of(query: EventQuery) -> dict[str, Any]:
    """The filters that are set, by name."""
    set_ = query.model_dump(exclude_defaults=True)
    return {name: value for name, value in set_.items() if name not in _NO_FILTERS and value not in (None, (), {})}


def changed(query: EventQuery, **filters: object) -> EventQuery:
    """The query with some of its filters replaced; None and () take one away. Raises InvalidQuery."""
    document = {name: value for name, value in query.model_dump(exclude_defaults=True).items() if name != "after"}
    document.update(filters)
    kept = {name: value for name, value in document.items() if value not in (None, (), {})}
    return EventQuery.parse(kept)


def without(query: EventQuery, field: str) -> EventQuery:
    """The query with nothing said about a field."""
    return changed(query, **dict.fromkeys(_FILTERS_OF.get(field, (field,))))


def cleared(query: EventQuery) -> EventQuery:
    """The query with no filter at all."""
    return changed(query, **dict.fromkeys(filters_of(query)))


def filtered_fields(query: EventQuery, fields: Collection[str]) -> list[str]:
    """Those of `fields` that the query narrows."""
    set_ = filters_of(query)
    return [field for field in fields if any(name in set_ for name in _FILTERS_OF.get(field, (field,)))]


def toggled(query: EventQuery, field: str, value: str, *, exclude: bool) -> EventQuery:
    """The query with this value of a field shown only, or hidden; as it was before when that is so already.

    Values to show add up: a second node shows both.
    """
    if field == "log_level":
        return _level_toggled(query, value, exclude=exclude)
    if field == "alert":
        wanted = (value == "true") != exclude
        return changed(query, alert=None if query.alert == wanted else wanted)
    if field.startswith("source."):
        key = field.removeprefix("source.")
        values = _toggled_values(query.source.get(key, ()), value, exclude=exclude)
        rest = {name: items for name, items in query.source.items() if name != key}
        return changed(query, source={**rest, **({key: values} if values else {})})
    return changed(query, **{field: _toggled_values(getattr(query, field), value, exclude=exclude)})


def _toggled_values(values: tuple[str, ...], value: str, *, exclude: bool) -> tuple[str, ...]:
    term = f"!{value}" if exclude else value
    others = tuple(item for item in values if item.removeprefix("!") != value)
    return others if term in values else (*others, term)


def _level_toggled(query: EventQuery, value: str, *, exclude: bool) -> EventQuery:
    """Levels have no `!`: hiding one shows the others."""
    level = EventLogLevel[value.upper()]
    narrowed = query.log_level or query.level is not None
    shown = set(query.levels)
    if exclude:
        shown ^= {level}
    elif not narrowed:
        shown = {level}
    else:
        shown ^= {level}
    every = not shown or shown == set(EventLogLevel)
    return changed(query, level=None, log_level=() if every else tuple(level.name.lower() for level in sorted(shown)))


def selector_toggled(query: EventQuery, path: str, value: Any, *, exclude: bool) -> EventQuery:
    """The query with this value at a path of `event_data` shown only, or hidden; as before when that is so already."""
    selector = dict(query.selector or {})
    condition = {"$ne": value} if exclude else value
    if path in selector and selector[path] == condition:
        del selector[path]
    else:
        selector[path] = condition
    return changed(query, selector=selector)


class Chip(NamedTuple):
    """A filter as the screen shows it: `node ≠ robotarm_1`. `field` is what `without` takes to remove it."""

    text: str
    field: str


def chips(query: EventQuery, names: dict[tuple[str, str], str] | None = None) -> list[Chip]:
    """What is on, in words; ids by their names where these are known."""
    return [chip for name, value in filters_of(query).items() for chip in _chips_of(name, value, names or {})]


def _chips_of(name: str, value: Any, names: dict[tuple[str, str], str]) -> Iterator[Chip]:
    if name == "level":
        yield Chip(f"level ≥ {level_name(value)}", "log_level")
    elif name == "log_level":
        yield Chip(f"level {' '.join(level.name.lower() for level in value)}", "log_level")
    elif name in ("since", "until", "start_time", "end_time"):
        sign = "≥" if name in ("since", "start_time") else "<" if name == "until" else "≤"
        yield Chip(f"time {sign} {format_time(value)[:19]}Z", name)
    elif name == "source":
        for key, items in value.items():
            yield from _term_chips(f"source.{key}", items, "source", names)
    elif name == "selector":
        yield Chip(visible(_selector_text(value)), name)
    elif isinstance(value, tuple):
        yield from _term_chips(name, value, name, names)
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield Chip(visible(f"{name} {text}"), name)


def _selector_text(selector: dict[str, Any]) -> str:
    found = []
    for path, condition in selector.items():
        differs = isinstance(condition, dict) and set(condition) == {"$ne"}
        value = condition["$ne"] if differs else condition
        found.append(f"{path} {'≠' if differs else '='} {json.dumps(value, ensure_ascii=False)}")
    return ", ".join(found)


def _term_chips(label: str, values: tuple[str, ...], field: str, names: dict[tuple[str, str], str]) -> Iterator[Chip]:
    def shown(term: str) -> str:
        text = term.removeprefix("!")
        return names.get((label, text)) or (f"…{text[-8:]}" if label.endswith("_id") else text)

    wanted = [shown(term) for term in values if not term.startswith("!")]
    excluded = [shown(term) for term in values if term.startswith("!")]
    if wanted:
        yield Chip(visible(f"{label} = {' | '.join(wanted)}"), field)
    if excluded:
        yield Chip(visible(f"{label} ≠ {' | '.join(excluded)}"), field)


def level_name(value: int) -> str:
    """A level's name, or the number where it has none."""
    return EventLogLevel(value).name.lower() if value in set(EventLogLevel) else str(value)
