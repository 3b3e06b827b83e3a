"""The Mongo-shaped filter expression: a named subset of MongoDB's query language, with one meaning everywhere.

`Selector.parse` reads it, refuses what is outside the subset, and says what to use instead. The meaning is MongoDB's
(see `mongo_values`), after this much is normalised in what is compared:

- `_id` is `event_id`; levels may be names; times may be written in any way an event's may;
- event types match in any letter case, MADSci's old names as the new ones;
- `{"source": {"node_id": X}}` is `{"source.node_id": X}`, as MADSci's documentation has it.

`$regex` alone is not MongoDB's: patterns are RE2, which takes time linear in the text whatever the pattern.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final, Literal, NoReturn, Self, TypeAlias

from madsci_event_server.errors import InvalidEvent, InvalidInput, InvalidQuery, SelectorNotSupported, shown
from madsci_event_server.event import format_time, parse_event_type, parse_level, parse_time
from madsci_event_server.json_text import queryable, tidy
from madsci_event_server.mongo_values import (
    MISSING,
    TYPE_CODES,
    Test,
    along,
    among,
    as_object,
    compares,
    equals,
    has_size,
    has_type,
    leaves_remainder,
)

MAX_CONDITIONS = 1000
MAX_NESTING = 32
MAX_CHOICES = 10_000
"""How many values one `$in`, `$nin` or `$all` may hold."""
MAX_PATH_PARTS = 100
MAX_PATTERN_CHARACTERS = 1000

Operator: TypeAlias = Literal[
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$all",
    "$exists", "$type", "$size", "$mod", "$regex", "$elemMatch",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Regex:
    """An RE2 pattern and its options, of `i`, `m` and `s`."""

    pattern: str
    options: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one path; `path` is empty for an array's element itself, inside `$elemMatch`.

    `operand` is a JSON value; of `$in`, `$nin` and `$all` a tuple of them (or `$elemMatch` conditions, in `$all`); of
    `$exists` a bool; of `$type` a tuple of type names; of `$mod` a pair of ints; of `$regex` a Regex; of `$elemMatch`
    a node.
    """

    path: tuple[str, ...]
    operator: Operator
    operand: Any

    @property
    def dotted(self) -> str:
        """The path as it is written: `event_data.steps.0`."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class And:
    """All of them; with none, everything."""

    nodes: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them."""

    nodes: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Nor:
    """None of them."""

    nodes: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """Not all the conditions, which are of one path: `{path: {"$not": {...}}}`. Missing values pass."""

    path: tuple[str, ...]
    nodes: "tuple[Condition | Not, ...]"


Node: TypeAlias = Condition | And | Or | Nor | Not


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed selector; equal when it means the same in the same words."""

    root: Node
    """And, Or, Nor, Not and Condition: what a store makes its own query of."""
    matches: Callable[[Mapping[str, Any]], bool] = field(compare=False, repr=False)
    """Whether an event with this queryable document (`Event.document`) is selected."""

    @classmethod
    def parse(cls, document: object, *, zone: tzinfo | None = None) -> Self:
        """The selector in this parsed JSON. Times without a zone are in `zone`, by default this machine's.

        Raises InvalidQuery for what has no meaning, SelectorNotSupported for operators outside the subset.
        """
        root = _Parser(zone).selector(document)
        return cls(root, _compile(root))

    @property
    def document(self) -> dict[str, Any]:
        """The normalised selector, in MongoDB's language: MongoDB selects the same with it, but for `$regex`."""
        return _document(self.root)


# --- What is refused, and what to use instead ---

_LOGICAL: Final = ("$and", "$or", "$nor")
_OPERATORS: Final = (
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$all", "$exists", "$type", "$size", "$mod",
    "$regex", "$options", "$elemMatch", "$not",
)  # fmt: skip
_RUNS_CODE: Final = frozenset({"$where", "$function", "$accumulator", "$expr"})
_INSTEAD: Final = {
    "$jsonSchema": "use $exists and $type",
    "$text": "use $regex here, or the `search` filter of POST /events/search",
    "$search": "use $regex here, or the `search` filter of POST /events/search",
    "$like": "use $regex",
    "$contains": "use $regex for a text, equality for an element of an array",
    "$match": "write the conditions themselves",
    "$between": "use $gte and $lt together",
    "$comment": "leave it out",
    "$date": "it stands for a time in event_timestamp, received_at and archived_at only; other times are strings",
    "$oid": "ids of events are strings: write the id itself",
    "$numberInt": "write the number itself",
    "$numberLong": "write the number itself",
    "$numberDouble": "write the number itself",
    "$numberDecimal": "write the number itself",
    "$regularExpression": 'write {"$regex": "...", "$options": "i"}',
}


def _refuse_operator(operator: str, where: str) -> NoReturn:
    raise SelectorNotSupported(where, f"the operator {shown(operator)} is not supported; {_instead_of(operator)}")


def _instead_of(operator: str) -> str:
    if operator in _RUNS_CODE:
        return "nothing here runs code in the database; use $eq, $gt, $in, $regex ... on a field"
    if operator in _INSTEAD:
        return _INSTEAD[operator]
    close = difflib.get_close_matches(operator.lower(), [name.lower() for name in (*_OPERATORS, *_LOGICAL)], n=1)
    if close:
        return f"did you mean {next(name for name in (*_OPERATORS, *_LOGICAL) if name.lower() == close[0])}?"
    return f"use one of {', '.join((*_OPERATORS, *_LOGICAL))}"


# --- Parsing ---


class _Parser:
    """One selector being read: counts what it has read, knows the zone of the lab."""

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self._conditions = 0

    def selector(self, document: object) -> Node:
        if not isinstance(document, Mapping):
            raise InvalidQuery(
                "selector", f"must be a JSON object such as {{\"log_level\": 40}}, not {shown(document)}", value=document
            )
        if list(document) == ["selector"] and isinstance(document["selector"], Mapping | str):
            raise InvalidQuery("selector", 'needs no {"selector": ...} around it; send what is inside', value=document)
        return self._query(document, "selector", depth=0, of_event=True)

    def _query(self, document: Mapping[Any, object], where: str, *, depth: int, of_event: bool) -> Node:
        if depth > MAX_NESTING:
            raise InvalidQuery(where, f"is nested more than {MAX_NESTING} levels deep; write it flatter")
        nodes: list[Node] = []
        for name, value in document.items():
            if not isinstance(name, str):
                raise InvalidQuery(where, f"names must be strings, not {shown(name)}")
            inside = f"{where}.{name}"
            if name in _LOGICAL:
                nodes.append(self._logical(name, value, inside, depth, of_event=of_event))
            elif name.startswith("$"):
                _refuse_at_top(name, inside)
            else:
                nodes += self._on_path(_parse_path(name, inside, of_event=of_event), value, inside, depth, of_event)
        return _all(nodes)

    def _logical(self, name: str, value: object, where: str, depth: int, *, of_event: bool) -> Node:
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise InvalidQuery(where, f"must be a list of at least one selector, not {shown(value)}", value=value)
        nodes = []
        for position, member in enumerate(value):
            inside = f"{where}.{position}"
            self._count(inside)
            if not isinstance(member, Mapping):
                raise InvalidQuery(inside, f"must be a JSON object, not {shown(member)}", value=member)
            nodes.append(self._query(member, inside, depth=depth + 1, of_event=of_event))
        return _LOGICAL_NODES[name](tuple(nodes))

    def _on_path(
        self, path: tuple[str, ...], value: object, where: str, depth: int, of_event: bool
    ) -> list["Condition | Not"]:
        if _is_operators(value, where):
            return self._operators(path, value, where, depth, of_event)
        if of_event and path == ("source",) and isinstance(value, Mapping) and value:
            nodes = []
            for name, inner in value.items():
                inside = f"{where}.{name}"
                inner_path = _parse_path(f"source.{name}", inside, of_event=True)
                nodes += self._on_path(inner_path, inner, inside, depth + 1, of_event)
            return nodes
        return [self._condition(path, "$eq", value, where, depth, of_event)]

    def _operators(
        self, path: tuple[str, ...], operators: Mapping[str, object], where: str, depth: int, of_event: bool
    ) -> list["Condition | Not"]:
        if depth > MAX_NESTING:
            raise InvalidQuery(where, f"is nested more than {MAX_NESTING} levels deep; write it flatter")
        if of_event and path in _TIMES and set(operators) == {"$date"}:
            return [self._condition(path, "$eq", operators, where, depth, of_event)]
        if "$options" in operators and "$regex" not in operators:
            raise InvalidQuery(f"{where}.$options", "belongs to a $regex; add one")
        nodes: list[Condition | Not] = []
        for name, operand in operators.items():
            inside = f"{where}.{name}"
            if name == "$not":
                nodes.append(self._not(path, operand, inside, depth, of_event))
            elif name == "$regex":
                nodes.append(self._regex(path, operand, operators.get("$options", ""), inside))
            elif name != "$options":
                nodes.append(self._condition(path, name, operand, inside, depth, of_event))
        return nodes

    def _not(self, path: tuple[str, ...], operand: object, where: str, depth: int, of_event: bool) -> Not:
        if not _is_operators(operand, where):
            raise InvalidQuery(
                where, f'must hold operators, such as {{"$not": {{"$gt": 5}}}}, not {shown(operand)}; or use $ne'
            )
        return Not(path, tuple(self._operators(path, operand, where, depth + 1, of_event)))

    def _regex(self, path: tuple[str, ...], pattern: object, options: object, where: str) -> Condition:
        self._count(where)
        if not isinstance(pattern, str):
            raise InvalidQuery(where, f"must be a pattern in a string, not {shown(pattern)}", value=pattern)
        if len(pattern) > MAX_PATTERN_CHARACTERS:
            raise InvalidQuery(where, f"may have {MAX_PATTERN_CHARACTERS} characters, not {len(pattern)}")
        if not isinstance(options, str) or not set(options) <= set("ims"):
            raise InvalidQuery(
                where.removesuffix("$regex") + "$options",
                f"{shown(options)} must be any of i (any case), m (^ and $ at lines), s (. matches newlines)",
                value=options,
            )
        if path == _EVENT_TYPE:
            options += "i"
        regex = Regex(queryable(tidy(pattern, where)), "".join(sorted(set(options))))
        compile_regex(regex, where)
        return Condition(path, "$regex", regex)

    def _condition(
        self, path: tuple[str, ...], operator: str, operand: object, where: str, depth: int, of_event: bool
    ) -> Condition:
        self._count(where)
        if operator in _COMPARISONS:
            return Condition(path, _COMPARISONS[operator], self._value(path, operator, operand, where, of_event))
        if operator in _CHOICES:
            return self._choices(path, _CHOICES[operator], operand, where, depth, of_event)
        if operator == "$elemMatch":
            return self._element(path, operand, where, depth)
        if operator == "$exists":
            return Condition(path, "$exists", _flag(operand, where))
        if operator == "$size":
            return Condition(path, "$size", _size(operand, where))
        if operator == "$type":
            return Condition(path, "$type", _types(operand, where))
        if operator == "$mod":
            return Condition(path, "$mod", _divisor_and_remainder(operand, where))
        if operator in _LOGICAL:
            raise InvalidQuery(where, f'{operator} stands outside the field: {{"{operator}": [{{"a": 1}}, {{"b": 2}}]}}')
        _refuse_operator(operator, where)

    def _choices(
        self, path: tuple[str, ...], operator: Operator, operands: object, where: str, depth: int, of_event: bool
    ) -> Condition:
        if not isinstance(operands, Sequence) or isinstance(operands, str):
            raise InvalidQuery(where, f"must be a list of values, not {shown(operands)}", value=operands)
        if len(operands) > MAX_CHOICES:
            raise InvalidQuery(where, f"may hold {MAX_CHOICES:,} values, not {len(operands):,}; ask in parts")
        if operator == "$all" and operands and all(_is_element_match(operand) for operand in operands):
            found: list[Any] = [
                self._element((), operand["$elemMatch"], f"{where}.{position}", depth + 1)
                for position, operand in enumerate(operands)
            ]
        else:
            found = [
                self._value(path, operator, operand, f"{where}.{position}", of_event)
                for position, operand in enumerate(operands)
            ]
        return Condition(path, operator, tuple(found))

    def _element(self, path: tuple[str, ...], operand: object, where: str, depth: int) -> Condition:
        self._count(where)
        if not isinstance(operand, Mapping):
            raise InvalidQuery(where, f"must be a JSON object, not {shown(operand)}", value=operand)
        if operand and not next(iter(operand)) in _LOGICAL and _is_operators(operand, where):
            return Condition(path, "$elemMatch", _all(self._operators((), operand, where, depth + 1, of_event=False)))
        return Condition(path, "$elemMatch", self._query(operand, where, depth=depth + 1, of_event=False))

    def _value(self, path: tuple[str, ...], operator: str, operand: object, where: str, of_event: bool) -> Any:
        """The operand as documents hold it. Raises InvalidQuery for what no event could be compared with."""
        if of_event and len(path) == 1:
            operand = self._meant(path, operator, operand, where)
        _refuse_operators_inside(operand, where)
        try:
            value = queryable(tidy(operand, where))
        except InvalidInput as error:
            raise InvalidQuery(where, error.problem, value=operand) from None
        if operator in _RANGES and isinstance(value, str) and not isinstance(operand, str):
            raise InvalidQuery(where, f"{shown(operand)} is no number to compare with", value=operand)
        return value

    def _meant(self, path: tuple[str, ...], operator: str, operand: object, where: str) -> object:
        try:
            if path in _TIMES:
                return self._time(operand, where)
            if path == _LOG_LEVEL and isinstance(operand, str):
                return int(parse_level(operand, where))
            if path == _EVENT_TYPE and isinstance(operand, str):
                return operand.lower() if operator in _RANGES else parse_event_type(operand, where)
        except InvalidEvent as error:
            raise InvalidQuery(where, error.problem, value=operand) from None
        return operand

    def _time(self, operand: object, where: str) -> object:
        if isinstance(operand, Mapping) and set(operand) == {"$date"}:
            operand = operand["$date"]
            if isinstance(operand, Mapping) and set(operand) == {"$numberLong"}:
                operand = _whole_number(operand["$numberLong"], where) / 1000
            elif isinstance(operand, int | float) and not isinstance(operand, bool):
                operand = operand / 1000
        if isinstance(operand, str) or (isinstance(operand, int | float) and not isinstance(operand, bool)):
            return format_time(parse_time(operand, self._zone, where))
        return operand

    def _count(self, where: str) -> None:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise InvalidQuery(where, f"has more than {MAX_CONDITIONS:,} conditions; use $in, or ask in parts")


_COMPARISONS: Final[dict[str, Operator]] = {
    "$eq": "$eq", "$ne": "$ne", "$gt": "$gt", "$gte": "$gte", "$lt": "$lt", "$lte": "$lte",
}  # fmt: skip
_CHOICES: Final[dict[str, Operator]] = {"$in": "$in", "$nin": "$nin", "$all": "$all"}
_RANGES: Final = frozenset({"$gt", "$gte", "$lt", "$lte"})
_LOGICAL_NODES: Final[dict[str, type[And] | type[Or] | type[Nor]]] = {"$and": And, "$or": Or, "$nor": Nor}
_EVENT_TYPE: Final = ("event_type",)
_LOG_LEVEL: Final = ("log_level",)
_TIMES: Final = (("event_timestamp",), ("received_at",), ("archived_at",))


def _all(nodes: Sequence[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else And(tuple(nodes))


def _parse_path(text: str, where: str, *, of_event: bool) -> tuple[str, ...]:
    path = tuple(queryable(tidy(text, where)).split("."))
    if "" in path:
        raise InvalidQuery(where, f"{shown(text)} is no path: a name between two dots is empty")
    if len(path) > MAX_PATH_PARTS:
        raise InvalidQuery(where, f"a path may have {MAX_PATH_PARTS} names, not {len(path)}")
    return ("event_id", *path[1:]) if of_event and path[0] == "_id" else path


def _is_operators(value: object, where: str) -> bool:
    """Whether it is an object of operators. Raises InvalidQuery for one that mixes them with fields."""
    if not isinstance(value, Mapping) or not value:
        return False
    count = sum(isinstance(name, str) and name.startswith("$") for name in value)
    if count not in (0, len(value)):
        raise InvalidQuery(where, f"mixes operators and fields: {shown(', '.join(map(str, value)))}", value=value)
    return count > 0


def _is_element_match(operand: object) -> bool:
    return isinstance(operand, Mapping) and list(operand) == ["$elemMatch"]


def _refuse_at_top(name: str, where: str) -> NoReturn:
    if name == "$not":
        raise InvalidQuery(where, '$not belongs inside a field, {"a": {"$not": {"$gt": 5}}}; out here use $nor')
    if name in _OPERATORS:
        raise InvalidQuery(where, f'{name} belongs inside a field: {{"log_level": {{"{name}": ...}}}}')
    _refuse_operator(name, where)


def _refuse_operators_inside(operand: object, where: str) -> None:
    """Values hold no operators. Stops where `tidy` would: what is nested deeper is refused there."""
    stack = [(operand, 0)]
    while stack:
        value, depth = stack.pop()
        if isinstance(value, Mapping):
            for name in value:
                if isinstance(name, str) and name.startswith("$"):
                    _refuse_inside(name, where)
        if isinstance(value, Mapping | list) and depth <= MAX_NESTING * 2:
            inner = value.values() if isinstance(value, Mapping) else value
            stack += [(item, depth + 1) for item in inner]


def _refuse_inside(name: str, where: str) -> NoReturn:
    if name in _OPERATORS or name in _LOGICAL:
        raise SelectorNotSupported(where, f"the operator {name} cannot stand inside a value; use $or, $not or $elemMatch")
    _refuse_operator(name, where)


def _flag(operand: object, where: str) -> bool:
    if isinstance(operand, bool) or (isinstance(operand, int) and operand in (0, 1)):
        return bool(operand)
    raise InvalidQuery(where, f"must be true or false, not {shown(operand)}", value=operand)


def _size(operand: object, where: str) -> int:
    size = _whole_number(operand, where)
    if size < 0:
        raise InvalidQuery(where, f"must not be negative, {shown(operand)} is", value=operand)
    return size


def _whole_number(operand: object, where: str) -> int:
    if isinstance(operand, int) and not isinstance(operand, bool) and -(2**63) <= operand < 2**63:
        return operand
    if isinstance(operand, float) and operand.is_integer() and -(2.0**63) <= operand < 2.0**63:
        return int(operand)
    raise InvalidQuery(where, f"must be a whole number, not {shown(operand)}", value=operand)


def _divisor_and_remainder(operand: object, where: str) -> tuple[int, int]:
    if not isinstance(operand, Sequence) or isinstance(operand, str) or len(operand) != 2:
        raise InvalidQuery(where, f"must be a list of divisor and remainder, not {shown(operand)}", value=operand)
    divisor, remainder = (_whole_number(number, where) for number in operand)
    if divisor == 0:
        raise InvalidQuery(where, "the divisor must not be 0", value=operand)
    return divisor, remainder


def _types(operand: object, where: str) -> tuple[str, ...]:
    named = operand if isinstance(operand, list) else [operand]
    if not named:
        raise InvalidQuery(where, "must name at least one type", value=operand)
    return tuple(_type(name, where) for name in named)


def _type(name: object, where: str) -> str:
    if name == "number" or (isinstance(name, str) and name in TYPE_CODES):
        return str(name)
    for alias, code in TYPE_CODES.items():
        if name == code and not isinstance(name, bool):
            return alias
    raise InvalidQuery(
        where, f"{shown(name)} is no type a JSON value has; use number, {', '.join(TYPE_CODES)}", value=name
    )


# --- The meaning, as functions ---


def compile_regex(regex: Regex, where: str) -> Callable[[str], object]:
    """A function that finds the pattern anywhere in a text. Raises InvalidQuery for what RE2 does not take."""
    import re2

    options = re2.Options()
    options.log_errors = False
    flags = f"(?{regex.options})" if regex.options else ""
    try:
        search: Callable[[str], object] = re2.compile(flags + regex.pattern, options).search
    except re2.error as error:
        raise InvalidQuery(
            where, f"{shown(regex.pattern)} is not an RE2 pattern: {_reason(error)}", value=regex.pattern
        ) from None
    return search


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return f"{text}; RE2 has no look-around and no backreferences" if "perl" in text or "escape" in text else text


def _compile(node: Node) -> Test:
    if isinstance(node, Condition):
        return _compile_condition(node)
    tests = tuple(_compile(inner) for inner in node.nodes)
    if isinstance(node, And):
        return _every(tests)
    if isinstance(node, Or):
        return _any(tests)
    return _none(tests) if isinstance(node, Nor) else _none((_every(tests),))


def _every(tests: tuple[Test, ...]) -> Test:
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, other = tests
        return lambda value: one(value) and other(value)

    def passes(value: Any) -> bool:
        for test in tests:
            if not test(value):
                return False
        return True

    return passes


def _any(tests: tuple[Test, ...]) -> Test:
    def passes(value: Any) -> bool:
        for test in tests:
            if test(value):
                return True
        return False

    return tests[0] if len(tests) == 1 else passes


def _none(tests: tuple[Test, ...]) -> Test:
    test = _any(tests)
    return lambda value: not test(value)


def _compile_condition(condition: Condition) -> Test:
    path, operator, operand = condition.path, condition.operator, condition.operand
    if operator == "$all":
        each = (
            _compile_condition(Condition(path, "$elemMatch", item.operand))
            if isinstance(item, Condition)
            else _on(path, equals(item))
            for item in operand
        )
        return _every(tuple(each)) if operand else _nothing
    if operator in ("$size", "$elemMatch"):
        test = has_size(operand) if operator == "$size" else _has_element(operand)
        return _on(path, test, into_arrays=False)
    if operator in _NEGATIVES:
        return _none((_compile_condition(Condition(path, _NEGATIVES[operator], operand)),))
    if operator == "$exists":
        exists = _on(path, _exists)
        return exists if operand else _none((exists,))
    return _on(path, _TESTS[operator](operand))


_NEGATIVES: Final[dict[str, Operator]] = {"$ne": "$eq", "$nin": "$in"}


def _on(path: tuple[str, ...], test: Test, *, into_arrays: bool = True) -> Test:
    return along(path, test, into_arrays=into_arrays) if path else test


def _exists(value: Any) -> bool:
    return value is not MISSING


def _nothing(value: Any) -> bool:
    return False


def _finds(regex: Regex) -> Test:
    search = compile_regex(regex, "selector")
    return lambda value: value.__class__ is str and search(value) is not None


def _has_element(node: Node) -> Test:
    test = _compile(node)
    if _is_of_element(node):
        return lambda value: value.__class__ is list and any(map(test, value))

    def passes(value: Any) -> bool:
        if value.__class__ is not list:
            return False
        return any(inner is not None and test(inner) for inner in map(as_object, value))

    return passes


def _is_of_element(node: Node) -> bool:
    """Whether a `$elemMatch` looks at elements themselves, not at the fields of elements that are objects."""
    if isinstance(node, Condition | Not):
        return not node.path
    return isinstance(node, And) and bool(node.nodes) and _is_of_element(node.nodes[0])


_TESTS: Final[dict[str, Callable[[Any], Test]]] = {
    "$eq": equals,
    "$in": among,
    "$gt": lambda operand: compares("$gt", operand),
    "$gte": lambda operand: compares("$gte", operand),
    "$lt": lambda operand: compares("$lt", operand),
    "$lte": lambda operand: compares("$lte", operand),
    "$type": has_type,
    "$mod": lambda pair: leaves_remainder(*pair),
    "$regex": _finds,
}


# --- Back to MongoDB's language ---


def _document(node: Node) -> dict[str, Any]:
    if isinstance(node, Condition | Not):
        return {".".join(node.path): _operators_of(node)}
    if not node.nodes:
        return {}
    return {f"${type(node).__name__.lower()}": [_document(inner) for inner in node.nodes]}


def _operators_of(node: Condition | Not) -> dict[str, Any]:
    if isinstance(node, Not):
        inner: dict[str, Any] = {}
        for each in node.nodes:
            inner.update(_operators_of(each))
        return {"$not": inner}
    if node.operator == "$regex":
        regex: Regex = node.operand
        return {"$regex": regex.pattern} | ({"$options": regex.options} if regex.options else {})
    if node.operator == "$elemMatch":
        return {"$elemMatch": _element_document(node.operand)}
    if node.operator == "$all":
        return {"$all": [_operators_of(item) if isinstance(item, Condition) else item for item in node.operand]}
    return {node.operator: list(node.operand) if isinstance(node.operand, tuple) else node.operand}


def _element_document(node: Node) -> dict[str, Any]:
    if not _is_of_element(node):
        return _document(node)
    found: dict[str, Any] = {}
    for each in node.nodes if isinstance(node, And) else (node,):
        found.update(_operators_of(each))
    return found
