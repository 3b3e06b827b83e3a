"""A YAML file whose every field knows its line, so that whoever wrote it is told where to look.

What the file says never appears in an error about its form: it may be a password with a character YAML reads otherwise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from madsci_event_server.errors import InvalidDefinition

Place = tuple[str | int, ...]
"""The way to a field: `("email_alerts", "smtp_port")`, `("alert_rules", 0, "name")`."""

_QUOTED_IN_ERRORS: Final = ("alias", "tag", "anchor", "directive")


@dataclass(frozen=True, slots=True)
class LocatedYaml:
    """The fields of one file."""

    path: Path
    document: dict[str, Any]
    lines: Mapping[Place, int]
    """Of each field, counted from 1."""

    def line_of(self, place: Place) -> int:
        """Where the field is, or where it would be: what holds it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_yaml(path: Path) -> LocatedYaml:
    """Reads a file of fields. Raises InvalidDefinition: not readable, not YAML, no fields, a field twice."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidDefinition.at(path, None, "", f"cannot be read ({error.strerror}); name a file") from None
    except UnicodeDecodeError:
        raise InvalidDefinition.at(path, None, "", "is not text in UTF-8; save it as UTF-8") from None
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> LocatedYaml:
    """The fields of a text; `path` is what errors call it. Raises InvalidDefinition."""
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        document = {} if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidDefinition.at(
            path, None if mark is None else mark.line + 1, "", _not_yaml(error.problem or "")
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        # A character no YAML file may hold, or a date there never was.
        what = "a character that no YAML file may hold" if isinstance(error, yaml.YAMLError) else str(error)
        raise InvalidDefinition.at(path, None, "", f"is not YAML: {what}") from None
    if not isinstance(document, dict):
        raise InvalidDefinition.at(path, 1, "", "must hold fields, one a line, such as `name: Events`")
    lines: dict[Place, int] = {}
    for place, node in _fields(root, (), set()):
        line = node.start_mark.line + 1
        if place in lines:
            raise InvalidDefinition.at(
                path, line, dotted(place), f"stands here and in line {lines[place]}; keep one of them"
            )
        lines[place] = line
    return LocatedYaml(path, document, lines)


def dotted(place: Place) -> str:
    """How a field is called: `email_alerts.smtp_port`, `alert_rules[0].name`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _fields(node: yaml.Node | None, place: Place, seen: set[int]) -> Iterator[tuple[Place, yaml.Node]]:
    """Every field with the node its line is taken from; what an alias repeats is told once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, key.value), key
            yield from _fields(value, (*place, key.value), seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*place, index), item
            yield from _fields(item, (*place, index), seen)


def _not_yaml(problem: str) -> str:
    if "\\t" in problem:
        return "is not YAML: a tab where it wants spaces; indent with spaces"
    if any(word in problem for word in _QUOTED_IN_ERRORS):
        return "is not YAML: * & ! and % at the beginning of a value mean something there; put the value in quotes"
    return f"is not YAML: {problem}; look at colons, quotes and indentation in this line and the one before"
