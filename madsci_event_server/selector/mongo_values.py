"""How MongoDB compares JSON values and finds them along dotted paths, in Python.

Everything here works on plain JSON values (None, bool, int, float, str, list, dict). A *test* is a function of one
value; `along` makes of a test and a path a function of a whole document. Where MongoDB surprises, a comment says so;
`tests/server/test_selector_differential.py` compares it all with a real mongod.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

Predicate: TypeAlias = Callable[[Any], bool]


class _Missing:
    """What a path leads to when there is nothing: not null, but equal to it in MongoDB's comparisons."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()

TYPE_CODES: Final = {"double": 1, "string": 2, "object": 3, "array": 4, "bool": 8, "null": 10, "int": 16, "long": 18}
"""The BSON types a JSON value can have."""

_INT32: Final = 2**31
_INT64: Final = 2**63


def along(path: Sequence[str], test: Predicate, *, into_arrays: bool) -> Predicate:
    """A test of the document at whose `path` any value passes `test`.

    Arrays on the way are searched element by element, and by position where the path has a number. An array at the
    end is tested element by element and as a whole (`into_arrays`), or as a whole only.
    """
    reach = _any_element_or_whole(test) if into_arrays else test
    at_position = test
    for name in reversed(path):
        reach, at_position = _step(name, reach, at_position)
    return reach


def _any_element_or_whole(test: Predicate) -> Predicate:
    def passes(value: Any) -> bool:
        if value.__class__ is list:
            return any(map(test, value)) or test(value)
        return test(value)

    return passes


def _step(name: str, onward: Predicate, onward_at_position: Predicate) -> tuple[Predicate, Predicate]:
    """Two tests of what lies before `name`: of any value, and of an array's element addressed by its position."""
    index = int(name) if _POSITION.fullmatch(name) else None

    def in_array(array: list[Any]) -> bool:
        for element in array:
            if element.__class__ is dict and onward(element.get(name, MISSING)):
                return True
        if index is None or index >= len(array):
            return False
        return onward_at_position(array[index])

    def from_any(value: Any) -> bool:
        if value.__class__ is dict:
            return onward(value.get(name, MISSING))
        if value.__class__ is list:
            return in_array(value)
        return onward(MISSING)

    def from_position(value: Any) -> bool:
        # Unlike a scalar in a field, a scalar at a position ends the search: there is not even a missing value.
        if value.__class__ is dict:
            return onward(value.get(name, MISSING))
        return value.__class__ is list and in_array(value)

    return from_any, from_position


_POSITION: Final = re.compile(r"0|[1-9][0-9]{0,8}")


def is_number(value: Any) -> bool:
    """Whether it is an int or a float: in MongoDB, unlike in Python, a bool is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def equals(operand: Any) -> Predicate:
    """`$eq`: 1 is 1.0 but not true, objects have the same names in the same order, null is also a missing value."""
    if operand is None:
        return lambda value: value is None or value is MISSING
    if operand.__class__ is bool:
        return lambda value: value is operand
    if operand.__class__ is str:
        return lambda value: bool(value == operand)
    if is_number(operand):
        return lambda value: value == operand and value.__class__ is not bool
    return lambda value: value.__class__ is operand.__class__ and _compare(value, operand) == 0


def among(operands: Iterable[Any]) -> Predicate:
    """`$in`: equal to any of the operands; hashing makes ten thousand ids as quick as one."""
    operands = tuple(operands)
    numbers = frozenset(operand for operand in operands if is_number(operand))
    texts = frozenset(operand for operand in operands if operand.__class__ is str)
    others = tuple(equals(operand) for operand in operands if not is_number(operand) and operand.__class__ is not str)

    def passes(value: Any) -> bool:
        if value.__class__ is str:
            return value in texts
        if is_number(value):
            return value in numbers
        return any(test(value) for test in others)

    return passes


def compares(operator: str, operand: Any) -> Predicate:
    """`$gt`, `$gte`, `$lt`, `$lte`: only values of the operand's own type compare at all."""
    accepts = _ORDERINGS[operator]
    if operand is None:
        # Null is neither above nor below null, but it equals it, and so does a missing value.
        return equals(None) if operator in ("$gte", "$lte") else lambda value: False
    if operand.__class__ is str:
        return _compares_text(operator, operand)
    if is_number(operand):
        return _compares_number(operator, operand)
    return lambda value: value.__class__ is operand.__class__ and accepts(_compare(value, operand))


def _compares_text(operator: str, operand: str) -> Predicate:
    if operator == "$gt":
        return lambda value: value.__class__ is str and value > operand
    if operator == "$gte":
        return lambda value: value.__class__ is str and value >= operand
    if operator == "$lt":
        return lambda value: value.__class__ is str and value < operand
    return lambda value: value.__class__ is str and value <= operand


def _compares_number(operator: str, operand: float) -> Predicate:
    if operator == "$gt":
        return lambda value: is_number(value) and value > operand
    if operator == "$gte":
        return lambda value: is_number(value) and value >= operand
    if operator == "$lt":
        return lambda value: is_number(value) and value < operand
    return lambda value: is_number(value) and value <= operand


_ORDERINGS: Final[dict[str, Callable[[int], bool]]] = {
    "$gt": lambda sign: sign > 0,
    "$gte": lambda sign: sign >= 0,
    "$lt": lambda sign: sign < 0,
    "$lte": lambda sign: sign <= 0,
}


def has_type(names: Iterable[str]) -> Predicate:
    """`$type`, by name: `number` is any of `int` (32 bits), `long` (64) and `double`."""
    wanted = frozenset(names)
    if "number" in wanted:
        wanted |= {"int", "long", "double"}
    return lambda value: value is not MISSING and type_name(value) in wanted


def type_name(value: Any) -> str:
    """The name of the BSON type that a JSON value is stored as."""
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if -_INT32 <= value < _INT32 else "long"
    return _TYPE_NAMES[value.__class__]


_TYPE_NAMES: Final = {
    type(None): "null",
    bool: "bool",
    float: "double",
    str: "string",
    list: "array",
    dict: "object",
}


def leaves_remainder(divisor: int, remainder: int) -> Predicate:
    """`$mod`: a double is cut toward zero first, and the remainder has the sign of the value, as in C."""

    def passes(value: Any) -> bool:
        if not is_number(value):
            return False
        whole = int(value)
        if not -_INT64 <= whole < _INT64:
            return False
        left = abs(whole) % abs(divisor)
        return (left if whole >= 0 else -left) == remainder

    return passes


def has_size(size: int) -> Predicate:
    """`$size`: an array of exactly so many elements."""
    return lambda value: value.__class__ is list and len(value) == size


def as_object(value: Any) -> Mapping[str, Any] | None:
    """What a query inside `$elemMatch` sees of an element: an object, or an array as one with the names 0, 1, 2 ..."""
    if value.__class__ is dict:
        found: Mapping[str, Any] = value
        return found
    if value.__class__ is list:
        return {str(position): element for position, element in enumerate(value)}
    return None


def _compare(one: Any, other: Any) -> int:
    """-1, 0 or 1 in MongoDB's order of all values, as it holds inside objects and arrays."""
    rank = _rank(one)
    by_rank = _sign(rank, _rank(other))
    if by_rank or rank == _NULL:
        return by_rank
    if one.__class__ is dict:
        return _compare_objects(one, other)
    if one.__class__ is list:
        return _compare_arrays(one, other)
    return _sign(one, other)


def _compare_arrays(one: list[Any], other: list[Any]) -> int:
    for left, right in zip(one, other, strict=False):
        if sign := _compare(left, right):
            return sign
    return _sign(len(one), len(other))


def _compare_objects(one: dict[str, Any], other: dict[str, Any]) -> int:
    for (left_name, left), (right_name, right) in zip(one.items(), other.items(), strict=False):
        # The type of a value counts before its name, and the name before the value itself.
        sign = _sign(_rank(left), _rank(right)) or _sign(left_name, right_name) or _compare(left, right)
        if sign:
            return sign
    return _sign(len(one), len(other))


def _sign(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)


_NULL: Final = 0
_RANKS: Final = {type(None): _NULL, int: 1, float: 1, str: 2, dict: 3, list: 4, bool: 5}


def _rank(value: Any) -> int:
    return _RANKS[value.__class__]
