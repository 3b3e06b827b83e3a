"""The filter line: the command line's own options, typed into the dashboard; and back, the line that gives a query.

`--level warning --node liquidhandler_1 pickup` means what `madsci-events query` with these options means; words
without an option are `--search`.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from madsci_event_cli.filters import FILTER_OPTIONS, query_document
from madsci_event_cli.rendering import visible
from madsci_event_cli.tui.narrowing import filters_of, level_name
from madsci_event_server.errors import InvalidQuery, shown
from madsci_event_server.event import EventLogLevel, EventType, format_time
from madsci_event_server.query import EventQuery

_FLAGS: Final = {"alert": True, "no-alert": False, "archived": True}
_REPEATABLE: Final = frozenset(
    name
    for name in FILTER_OPTIONS
    if name not in ("level", "since", "until", "alert", "archived", "search", "regex", "selector")
)


def parse_filter_line(text: str, *, now: datetime, zone: tzinfo | None, base: EventQuery) -> EventQuery:
    """The query a filter line means, with the archived events and paging of `base`. Raises InvalidInput."""
    document = query_document(_options(_tokens(text)), now=now, zone=zone)
    kept = {"include_archived": True} if base.include_archived else {}
    return EventQuery.parse({**document, **kept})


def _tokens(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidQuery("", f"{str(error).lower()}; close the quotes") from None


def _options(tokens: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    words: list[str] = []
    waiting = list(tokens)
    while waiting:
        token = waiting.pop(0)
        if not token.startswith("--"):
            words.append(token)
            continue
        option, equals, value = token[2:].partition("=")
        name = option.replace("-", "_")
        if option in _FLAGS:
            found["alert" if option == "no-alert" else name] = _FLAGS[option]
            continue
        if name not in FILTER_OPTIONS:
            raise InvalidQuery(f"--{option}", f"is not a filter; there are {_known()}")
        if not equals:
            if not waiting:
                raise InvalidQuery(f"--{option}", "needs a value")
            value = waiting.pop(0)
        _put(found, name, value)
    if words:
        found["search"] = " ".join([*([found["search"]] if "search" in found else []), *words])
    return found


def _put(found: dict[str, Any], name: str, value: str) -> None:
    if name in _REPEATABLE:
        found.setdefault(name, []).append(value)
    elif name in found:
        raise InvalidQuery(f"--{name}", f"is given twice, {shown(found[name])} and {shown(value)}; give it once")
    else:
        found[name] = value


def _known() -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in FILTER_OPTIONS)


def filter_line(query: EventQuery) -> str:
    """The filter line that gives this query; parsed again, it gives an equal one."""
    return " ".join(_words(query))


def _quoted(text: str) -> str:
    """As a shell takes it; control characters as bash and zsh escape them, so that it can be shown and pasted."""
    if visible(text) == text:
        return shlex.quote(text)
    escaped = text.replace("\\", r"\\").replace("'", r"\'")
    return (
        "$'"
        + "".join(
            c if visible(c) == c else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}" for c in escaped
        )
        + "'"
    )


def _words(query: EventQuery) -> Iterator[str]:
    for name, value in filters_of(query).items():
        yield from _words_of(name, value)


def _words_of(name: str, value: Any) -> Iterator[str]:
    option = f"--{ {'kind': 'type'}.get(name, name).replace('_', '-') }"
    if name == "level":
        yield from ("--level", level_name(value))
    elif name == "log_level":
        yield from ("--level", _levels(value))
    elif name == "alert":
        yield "--alert" if value else "--no-alert"
    elif name in ("since", "start_time"):
        yield from ("--since", format_time(value))
    elif name in ("until", "end_time"):
        yield from ("--until", format_time(value))
    elif name == "selector":
        yield from (option, _quoted(json.dumps(value, ensure_ascii=False)))
    elif name == "source":
        for key, items in value.items():
            for item in items:
                yield from (option, _quoted(f"{key}={item}"))
    elif isinstance(value, tuple):
        for item in value:
            yield from (option, _quoted(item))
    else:
        yield from (option, _quoted(str(value)))


def _levels(levels: Sequence[EventLogLevel]) -> str:
    """`error,critical`; one level alone would be a minimum, so it is what all others are not."""
    if len(levels) > 1:
        return ",".join(level.name.lower() for level in levels)
    others = [f"!{level.name.lower()}" for level in EventLogLevel if level not in levels]
    return shlex.quote(",".join(others))


def command_line(query: EventQuery, source: Sequence[str] = ()) -> str:
    """The command that prints what the dashboard shows."""
    archived = ["--archived"] if query.include_archived else []
    return " ".join(["madsci-events query", *source, *archived, *_words(query), "--all"])


def completions(text: str, values: Mapping[str, Sequence[str]]) -> list[str]:
    """What the last word of an unfinished line could become, the likeliest first, each as the whole line.

    `values` are those known for a field, by the query's name of it (`kind`, `name`, `node_id` ...).
    """
    head, space, last = text.rpartition(" ")
    before = head.split(" ")[-1] if head else ""
    if before.startswith("--") and before[2:].replace("-", "_") in FILTER_OPTIONS:
        known = _values_for(before[2:].replace("-", "_"), values)
        negation = "!" if last.startswith("!") else ""
        wanted = [f"{negation}{value}" for value in known]
    else:
        wanted = [f"--{name.replace('_', '-')}" for name in FILTER_OPTIONS]
        if not last:
            return []
    quoted = [shlex.quote(value) if " " in value else value for value in wanted]
    return [f"{head}{space}{value}" for value in quoted if value.lower().startswith(last.lower()) and value != last]


def _values_for(option: str, values: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if option == "level":
        return ["error", "warning", "critical", "info", "debug", *(level.name.lower() for level in EventLogLevel)]
    if option == "type":
        return [*values.get("kind", ()), *(member.value for member in EventType)]
    if option in ("node", "name"):
        return values.get("name", ())
    if option == "since":
        return ["15m", "1h", "today", "yesterday", "24h"]
    return values.get(option, ())
