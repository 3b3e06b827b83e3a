"""What a selector means: its nodes as one function of a document, put together once and run a million times."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from madsci_event_server.selector.mongo_values import (
    MISSING,
    Predicate,
    along,
    among,
    as_object,
    compares,
    equals,
    has_size,
    has_type,
    leaves_remainder,
)
from madsci_event_server.selector.nodes import And, Condition, Node, Nor, Operator, Or, Regex, is_of_element


def matcher(node: Node) -> Predicate:
    """Whether a document (for nodes without a path: an array's element) is what the node selects."""
    if isinstance(node, Condition):
        return _condition(node)
    parts = tuple(matcher(inner) for inner in node.nodes)
    if isinstance(node, And):
        return _every(parts)
    if isinstance(node, Or):
        return _some(parts)
    return _no(_some(parts) if isinstance(node, Nor) else _every(parts))


def _condition(condition: Condition) -> Predicate:
    path, operator, operand = condition.path, condition.operator, condition.operand
    if operator in _OPPOSITES:
        return _no(_condition(Condition(path, _OPPOSITES[operator], operand)))
    if operator == "$exists":
        return _on(path, _exists) if operand else _no(_on(path, _exists))
    if operator == "$all":
        return _every(tuple(_condition(_one_of_all(path, item)) for item in operand)) if operand else _nothing
    if operator in _OF_WHOLE_ARRAYS:
        return _on(path, _OF_WHOLE_ARRAYS[operator](operand), into_arrays=False)
    return _on(path, _OF_VALUES[operator](operand))


def _on(path: tuple[str, ...], test: Predicate, *, into_arrays: bool = True) -> Predicate:
    return along(path, test, into_arrays=into_arrays) if path else test


def _one_of_all(path: tuple[str, ...], item: object) -> Condition:
    if isinstance(item, Condition):
        return Condition(path, item.operator, item.operand)
    return Condition(path, "$eq", item)


def _every(parts: tuple[Predicate, ...]) -> Predicate:
    if len(parts) == 1:
        return parts[0]

    def passes(value: Any) -> bool:
        for part in parts:  # noqa: SIM110 -- a generator would be made for every document
            if not part(value):
                return False
        return True

    return passes


def _some(parts: tuple[Predicate, ...]) -> Predicate:
    if len(parts) == 1:
        return parts[0]

    def passes(value: Any) -> bool:
        for part in parts:  # noqa: SIM110 -- a generator would be made for every document
            if part(value):
                return True
        return False

    return passes


def _no(part: Predicate) -> Predicate:
    return lambda value: not part(value)


def _exists(value: Any) -> bool:
    return value is not MISSING


def _nothing(_: Any) -> bool:
    return False


def _finds(regex: Regex) -> Predicate:
    is_in = regex.compile("selector")
    return lambda value: value.__class__ is str and is_in(value)


def _has_element(node: Node) -> Predicate:
    test = matcher(node)
    if is_of_element(node):
        return lambda value: value.__class__ is list and any(map(test, value))
    return lambda value: value.__class__ is list and any(map(test, _with_fields(value)))


def _with_fields(array: Iterable[Any]) -> Iterable[Any]:
    return (element for element in map(as_object, array) if element is not None)


_OPPOSITES: Final[dict[str, Operator]] = {"$ne": "$eq", "$nin": "$in"}

_OF_WHOLE_ARRAYS: Final[dict[str, Callable[[Any], Predicate]]] = {"$size": has_size, "$elemMatch": _has_element}

_OF_VALUES: Final[dict[str, Callable[[Any], Predicate]]] = {
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
