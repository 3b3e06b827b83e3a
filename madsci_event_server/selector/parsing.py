"""Reading a selector: what MongoDB would take it for, normalised, or refused with the way out."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final, Self, TypeGuard

from madsci_event_server.errors import InvalidEvent, InvalidInput, InvalidQuery, SelectorNotSupported, shown
from madsci_event_server.event import format_time, parse_event_type, parse_level, parse_time
from madsci_event_server.json_text import MAX_NESTING as MAX_NESTING_OF_VALUES
from madsci_event_server.json_text import queryable, tidy
from madsci_event_server.patterns import MAX_REGEX_CHARACTERS
from madsci_event_server.selector.matching import matcher
from madsci_event_server.selector.mongo_values import TYPE_CODES, is_number
from madsci_event_server.selector.nodes import And, Condition, Node, Nor, Not, Operator, Or, Regex, mongo_document

MAX_CONDITIONS = 1000
MAX_PATTERN_CHARACTERS = 5 * MAX_REGEX_CHARACTERS
MAX_PATTERN_SIZE = 120_000
"""Instructions of all patterns, about what one alone may have. They are compiled where requests are taken: whoever else
asks waits, so a thousand of them must not take longer than a few."""
MAX_NESTING = 32
MAX_CHOICES = 10_000
"""How many values one `$in`, `$nin` or `$all` may hold."""
MAX_PATH_NAMES = 100


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed selector; two are equal when they say the same in the same order."""

    root: Node
    """And, Or, Nor, Not and Condition: what a store makes its own query of."""
    matches: Callable[[Mapping[str, Any]], bool] = field(compare=False, repr=False)
    """Whether an event with this queryable document (`Event.document`) is selected."""

    @classmethod
    def parse(cls, document: object, *, zone: tzinfo | None = None) -> Self:
        """The selector in this parsed JSON. Times without a zone are in `zone`, by default this machine's.

        Raises InvalidQuery for what has no meaning, SelectorNotSupported for operators outside the subset.
        """
        try:
            root = _Reader(zone).selector(document)
        except RecursionError:  # an error message that would show what is nested a thousand levels deep
            raise InvalidQuery("selector", f"is nested more than {MAX_NESTING} levels deep; write it flatter") from None
        return cls(root, matcher(root))

    @property
    def document(self) -> dict[str, Any]:
        """The normalised selector in MongoDB's language: MongoDB selects the same with it, but for `$regex`."""
        return mongo_document(self.root)


# --- Reading ---


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the selector something stands."""

    name: str = "selector"
    depth: int = 0
    of_event: bool = True
    """Whether paths start at the event; those in `$elemMatch` start at an element, where `_id` is nothing special."""

    def inside(self, name: object) -> "_Place":
        return _Place(f"{self.name}.{name}", self.depth, self.of_event)

    def deeper(self, *, of_event: bool = True) -> "_Place":
        if self.depth >= MAX_NESTING:
            raise self.wrong(f"is nested more than {MAX_NESTING} levels deep; write it flatter")
        return _Place(self.name, self.depth + 1, self.of_event and of_event)

    def wrong(self, problem: str, value: object = None) -> InvalidQuery:
        return InvalidQuery(self.name, problem, value=value)


class _Reader:
    """Reads one selector: counts what it has read, knows the zone of the lab."""

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self._conditions = 0
        self._pattern_characters = 0
        self._pattern_size = 0

    def selector(self, document: object) -> Node:
        place = _Place()
        if not isinstance(document, Mapping):
            raise place.wrong(f'must be a JSON object such as {{"log_level": 40}}, not {shown(document)}', document)
        if list(document) == ["selector"] and isinstance(document["selector"], Mapping | str):
            raise place.wrong('needs no {"selector": ...} around it; send what is inside', document)
        return self._query(document, place)

    def _query(self, document: Mapping[Any, object], place: _Place) -> Node:
        nodes: list[Node] = []
        for name, value in document.items():
            inside = place.inside(name)
            if not isinstance(name, str):
                raise place.wrong(f"names must be strings, not {shown(name)}")
            if name in _LOGICAL:
                nodes.append(self._logical(name, value, inside))
            elif name.startswith("$"):
                raise _out_of_field(name, inside)
            else:
                nodes += self._on_path(_parse_path(name, inside), value, inside)
        return _all_of(nodes)

    def _logical(self, name: str, members: object, place: _Place) -> Node:
        if not isinstance(members, list) or not members:
            raise place.wrong(f"must be a list of at least one selector, not {shown(members)}", members)
        nodes = []
        for position, member in enumerate(members):
            inside = place.inside(position)
            self._count(inside)
            if not isinstance(member, Mapping):
                raise inside.wrong(f"must be a JSON object, not {shown(member)}", member)
            nodes.append(self._query(member, inside.deeper()))
        return _LOGICAL[name](tuple(nodes))

    def _on_path(self, path: tuple[str, ...], value: object, place: _Place) -> list[Condition | Not]:
        if _is_time(path, place) and isinstance(value, Mapping) and set(value) == {"$date"}:
            return [self._condition(path, "$eq", value, place)]
        if _are_operators(value, place):
            return self._operators(path, value, place)
        if place.of_event and path == ("source",) and isinstance(value, Mapping) and value:
            nodes: list[Condition | Not] = []
            for name, inner in value.items():
                inside = place.inside(name)
                nodes += self._on_path(_parse_path(f"source.{name}", inside), inner, inside)
            return nodes
        return [self._condition(path, "$eq", value, place)]

    def _operators(
        self, path: tuple[str, ...], operators: Mapping[str, object], place: _Place
    ) -> list[Condition | Not]:
        if "$options" in operators and "$regex" not in operators:
            raise place.inside("$options").wrong("belongs to a $regex; add one")
        nodes: list[Condition | Not] = []
        for name, operand in operators.items():
            inside = place.inside(name)
            if name == "$not":
                nodes.append(self._not(path, operand, inside))
            elif name == "$regex":
                nodes.append(self._regex(path, operand, operators.get("$options", ""), inside))
            elif name != "$options":
                nodes.append(self._condition(path, name, operand, inside))
        return nodes

    def _not(self, path: tuple[str, ...], operand: object, place: _Place) -> Not:
        if not _are_operators(operand, place):
            raise place.wrong(
                f'must hold operators, such as {{"$not": {{"$gt": 5}}}}, not {shown(operand)}; or use $ne', operand
            )
        return Not(path, tuple(self._operators(path, operand, place.deeper())))

    def _regex(self, path: tuple[str, ...], pattern: object, options: object, place: _Place) -> Condition:
        self._count(place)
        if not isinstance(pattern, str):
            raise place.wrong(f"must be a pattern in a string, not {shown(pattern)}", pattern)
        if not isinstance(options, str) or not set(options) <= set("ims"):
            raise InvalidQuery(
                place.name.removesuffix("$regex") + "$options",
                f"must be some of i (any case), m (^ and $ at lines), s (. matches newlines), not {shown(options)}",
                value=options,
            )
        if place.of_event and path == _EVENT_TYPE:
            options += "i"
        regex = Regex(queryable(tidy(pattern, place.name)), "".join(sorted(set(options))))
        self._count_pattern(regex, place)
        return Condition(path, "$regex", regex)

    def _count_pattern(self, regex: Regex, place: _Place) -> None:
        """Raises InvalidQuery for a bad pattern, here where its place is known, and for what is too much in all."""
        self._pattern_characters += len(regex.pattern)
        if self._pattern_characters > MAX_PATTERN_CHARACTERS:
            raise place.wrong(f"and those before it have over {MAX_PATTERN_CHARACTERS:,} characters; ask in parts")
        self._pattern_size += regex.size(place.name)
        if self._pattern_size > MAX_PATTERN_SIZE:
            raise place.wrong("and those before it are too large together; repeat less in them, or ask in parts")

    def _condition(self, path: tuple[str, ...], operator: str, operand: object, place: _Place) -> Condition:
        self._count(place)
        if operator in _COMPARISONS:
            return Condition(path, _COMPARISONS[operator], self._value(path, operator, operand, place))
        if operator in _CHOICES:
            return Condition(path, _CHOICES[operator], self._choices(path, operator, operand, place))
        if operator == "$elemMatch":
            return Condition(path, "$elemMatch", self._element(operand, place))
        if operator in _PLAIN:
            exact, read = _PLAIN[operator]
            return Condition(path, exact, read(operand, place))
        if operator in _LOGICAL:
            raise place.wrong(f'{operator} stands outside the field: {{"{operator}": [{{"a": 1}}, {{"b": 2}}]}}')
        raise _not_supported(operator, place)

    def _choices(self, path: tuple[str, ...], operator: str, operands: object, place: _Place) -> tuple[Any, ...]:
        if not isinstance(operands, list):
            raise place.wrong(f"must be a list of values, not {shown(operands)}", operands)
        if len(operands) > MAX_CHOICES:
            raise place.wrong(f"may hold {MAX_CHOICES:,} values, not {len(operands):,}; ask in parts")
        if operator == "$all" and all(
            isinstance(operand, Mapping) and list(operand) == ["$elemMatch"] for operand in operands
        ):
            return tuple(
                self._condition((), "$elemMatch", operand["$elemMatch"], place.inside(position))
                for position, operand in enumerate(operands)
            )
        return tuple(
            self._value(path, operator, operand, place.inside(position)) for position, operand in enumerate(operands)
        )

    def _element(self, operand: object, place: _Place) -> Node:
        if not isinstance(operand, Mapping):
            raise place.wrong(f"must be a JSON object, not {shown(operand)}", operand)
        inside = place.deeper(of_event=False)
        if operand and next(iter(operand)) not in _LOGICAL and _are_operators(operand, place):
            return _all_of(self._operators((), operand, inside))
        return self._query(operand, inside)

    def _value(self, path: tuple[str, ...], operator: str, operand: object, place: _Place) -> Any:
        """The operand as documents hold it. Raises InvalidQuery for what no event could be compared with."""
        operand = self._meant(path, operator, operand, place)
        _refuse_operators_inside(operand, place)
        try:
            value = queryable(tidy(operand, place.name))
        except InvalidInput as error:
            raise place.wrong(error.problem, operand) from None
        if operator in _RANGES and isinstance(value, str) and not isinstance(operand, str):
            raise place.wrong(f"{shown(operand)} is no number to compare with", operand)
        return value

    def _meant(self, path: tuple[str, ...], operator: str, operand: object, place: _Place) -> object:
        try:
            if _is_time(path, place):
                return self._time(operand, place)
            if place.of_event and path == _LOG_LEVEL and isinstance(operand, str):
                return int(parse_level(operand, place.name))
            if place.of_event and path == _EVENT_TYPE and isinstance(operand, str):
                return operand.lower() if operator in _RANGES else parse_event_type(operand, place.name)
        except InvalidEvent as error:
            raise place.wrong(error.problem, operand) from None
        return operand

    def _time(self, operand: object, place: _Place) -> object:
        if isinstance(operand, Mapping) and set(operand) == {"$date"}:
            operand = _date(operand["$date"], place)
        if isinstance(operand, str) or is_number(operand):
            return format_time(parse_time(operand, self._zone, place.name))
        return operand

    def _count(self, place: _Place) -> None:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise place.wrong(f"is one condition more than the {MAX_CONDITIONS:,} a selector may have; use $in")


# --- The parts of a condition ---


def _all_of(nodes: Sequence[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else And(tuple(nodes))


def _parse_path(text: str, place: _Place) -> tuple[str, ...]:
    path = tuple(queryable(tidy(text, place.name)).split("."))
    if len(path) > 1 and not path[-1]:  # MongoDB finds surprising things there
        raise place.wrong(f"the path {shown(text)} must not end in a dot", text)
    if len(path) > MAX_PATH_NAMES:
        raise place.wrong(f"a path may have {MAX_PATH_NAMES} names, not {len(path)}")
    return ("event_id", *path[1:]) if place.of_event and path[0] == "_id" else path


def _is_time(path: tuple[str, ...], place: _Place) -> bool:
    return place.of_event and path in _TIMES


def _are_operators(value: object, place: _Place) -> TypeGuard[Mapping[str, object]]:
    """Whether it is an object of operators. Raises InvalidQuery for one that mixes them with fields."""
    if not isinstance(value, Mapping) or not value:
        return False
    operators = [name for name in value if isinstance(name, str) and name.startswith("$")]
    if operators and len(operators) < len(value):
        raise place.wrong(
            f"mixes operators ({', '.join(map(shown, operators))}) and fields in one object; write them apart",
            value,
        )
    return bool(operators)


def _refuse_operators_inside(operand: object, place: _Place) -> None:
    """Values hold no operators: where MongoDB would compare with such an object as it is, it was hardly meant."""
    level = [operand]
    for _ in range(MAX_NESTING_OF_VALUES):  # what is nested deeper is refused for that
        level = [value for value in level if isinstance(value, Mapping | list)]
        if not level:
            return
        for name in (name for value in level if isinstance(value, Mapping) for name in value):
            if isinstance(name, str) and name.startswith("$"):
                raise _inside_value(name, place)
        level = [inner for value in level for inner in _inner_values(value)]


def _inner_values(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _flag(operand: object, place: _Place) -> bool:
    if isinstance(operand, bool) or (isinstance(operand, int) and operand in (0, 1)):
        return bool(operand)
    raise place.wrong(f"must be true or false, not {shown(operand)}", operand)


def _whole_number(operand: object, place: _Place) -> int:
    if isinstance(operand, int) and not isinstance(operand, bool) and -(2**63) <= operand < 2**63:
        return operand
    if isinstance(operand, float) and operand.is_integer() and -(2.0**63) <= operand < 2.0**63:
        return int(operand)
    raise place.wrong(f"must be a whole number, not {shown(operand)}", operand)


def _size(operand: object, place: _Place) -> int:
    size = _whole_number(operand, place)
    if size < 0:
        raise place.wrong(f"must be 0 or more, not {shown(operand)}", operand)
    return size


def _divisor_and_remainder(operand: object, place: _Place) -> tuple[int, int]:
    if not isinstance(operand, list) or len(operand) != 2:
        raise place.wrong(f"must be a list of divisor and remainder, not {shown(operand)}", operand)
    divisor, remainder = (_whole_number(number, place) for number in operand)
    if divisor == 0:
        raise place.wrong("the divisor must not be 0", operand)
    return divisor, remainder


def _types(operand: object, place: _Place) -> tuple[str, ...]:
    names = operand if isinstance(operand, list) else [operand]
    if not names:
        raise place.wrong("must name at least one type", operand)
    return tuple(_type(name, place) for name in names)


def _type(name: object, place: _Place) -> str:
    if isinstance(name, str) and (name == "number" or name in TYPE_CODES):
        return name
    for known, code in TYPE_CODES.items():
        if is_number(name) and name == code:
            return known
    raise place.wrong(
        f"{shown(name)} is not a type that JSON has; use {', '.join(TYPE_CODES)} or number (times are strings)", name
    )


def _date(operand: object, place: _Place) -> object:
    """What `$date` holds, as `parse_time` takes it: MongoDB's numbers there are milliseconds."""
    if isinstance(operand, Mapping) and list(operand) == ["$numberLong"]:
        operand = operand["$numberLong"]
        if isinstance(operand, str) and operand.removeprefix("-").isdecimal() and len(operand) < 20:
            return int(operand) / 1000
        raise place.wrong(f"must hold milliseconds as a string, not {shown(operand)}", operand)
    return operand / 1000 if isinstance(operand, int | float) and not isinstance(operand, bool) else operand


_COMPARISONS: Final[dict[str, Operator]] = {
    "$eq": "$eq", "$ne": "$ne", "$gt": "$gt", "$gte": "$gte", "$lt": "$lt", "$lte": "$lte",
}  # fmt: skip
_CHOICES: Final[dict[str, Operator]] = {"$in": "$in", "$nin": "$nin", "$all": "$all"}
_PLAIN: Final[dict[str, tuple[Operator, Callable[[object, _Place], object]]]] = {
    "$exists": ("$exists", _flag),
    "$size": ("$size", _size),
    "$type": ("$type", _types),
    "$mod": ("$mod", _divisor_and_remainder),
}
_LOGICAL: Final[dict[str, type[And] | type[Or] | type[Nor]]] = {"$and": And, "$or": Or, "$nor": Nor}
_RANGES: Final = frozenset({"$gt", "$gte", "$lt", "$lte"})
_EVENT_TYPE: Final = ("event_type",)
_LOG_LEVEL: Final = ("log_level",)
_TIMES: Final = frozenset({("event_timestamp",), ("received_at",), ("archived_at",)})


# --- What is refused, and what to use instead ---

_IN_FIELDS: Final = (*_COMPARISONS, *_CHOICES, *_PLAIN, "$regex", "$options", "$elemMatch", "$not")
_SUPPORTED: Final = (*_IN_FIELDS, *_LOGICAL)
_RUNS_CODE: Final = frozenset({"$where", "$function", "$accumulator", "$expr"})
_INSTEAD: Final = {
    "$jsonSchema": "use $exists and $type",
    "$text": "use $regex here, or the `search` filter of POST /events/search",
    "$search": "use $regex here, or the `search` filter of POST /events/search",
    "$like": "use $regex",
    "$contains": "use $regex for part of a text, equality for an element of an array",
    "$match": "write the conditions themselves",
    "$between": "use $gte and $lt together",
    "$comment": "leave it out",
    "$date": "it stands for a time in event_timestamp, received_at or archived_at only; other times are strings",
    "$oid": "ids of events are strings: write the id itself",
    "$numberInt": "write the number itself",
    "$numberLong": "write the number itself",
    "$numberDouble": "write the number itself",
    "$numberDecimal": "write the number itself",
    "$regularExpression": 'write {"$regex": "...", "$options": "i"}',
}


def _not_supported(operator: str, place: _Place) -> SelectorNotSupported:
    return SelectorNotSupported(
        place.name, f"the operator {shown(operator)} is not supported; {_instead_of(operator)}", value=operator
    )


def _instead_of(operator: str) -> str:
    if operator in _RUNS_CODE:
        return "nothing here runs code in the database; use $eq, $gt, $in, $regex ... on a field"
    if operator in _INSTEAD:
        return _INSTEAD[operator]
    lower = {name.lower(): name for name in _SUPPORTED}
    close = difflib.get_close_matches(operator.lower(), lower, n=1)
    return f"did you mean {lower[close[0]]}?" if close else f"use one of {', '.join(_SUPPORTED)}"


def _out_of_field(name: str, place: _Place) -> InvalidQuery:
    if name == "$not":
        return place.wrong('$not belongs inside a field, {"a": {"$not": {"$gt": 5}}}; out here use $nor')
    if name in _IN_FIELDS:
        return place.wrong(f'{name} belongs inside a field: {{"log_level": {{"{name}": ...}}}}')
    return _not_supported(name, place)


def _inside_value(name: str, place: _Place) -> SelectorNotSupported:
    if name not in _SUPPORTED:
        return _not_supported(name, place)
    return SelectorNotSupported(
        place.name, f"the operator {name} cannot stand inside a value; use $or, $not or $elemMatch", value=name
    )
