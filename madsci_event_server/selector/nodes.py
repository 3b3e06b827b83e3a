"""What a selector is once it is read: five kinds of nodes, and how MongoDB writes them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from madsci_event_server.patterns import compile_regex, regex_size

Operator: TypeAlias = Literal[
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$all",
    "$exists", "$type", "$size", "$mod", "$regex", "$elemMatch",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Regex:
    """An RE2 pattern and its options: `i` any case, `m` ^ and $ at lines, `s` a dot matches newlines."""

    pattern: str
    options: str = ""

    def compile(self, field: str) -> Callable[[str], bool]:
        """Whether the pattern is anywhere in a text. Raises InvalidQuery, naming `field`, for what is not RE2."""
        return compile_regex(self.pattern, field, **self._flags)

    def size(self, field: str) -> int:
        """How many instructions RE2 makes of it: what it costs to compile and to keep. Raises as `compile`."""
        return regex_size(self.pattern, field, **self._flags)

    @property
    def _flags(self) -> dict[str, bool]:
        return {"ignore_case": "i" in self.options, "dot_all": "s" in self.options, "lines": "m" in self.options}


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one path. Inside `$elemMatch` an empty path is the element itself."""

    path: tuple[str, ...]
    operator: Operator
    operand: Any
    """A JSON value as documents hold it. But of `$in`, `$nin` and `$all` a tuple of values (or, in `$all`, of
    `$elemMatch` conditions); of `$exists` a bool; of `$type` a tuple of type names; of `$mod` the divisor and the
    remainder; of `$regex` a Regex; of `$elemMatch` a node."""

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
    """At least one of them; there is at least one."""

    nodes: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Nor:
    """None of them; there is at least one."""

    nodes: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """Not all of these, which are of this path: `{path: {"$not": {...}}}`. A document without the path passes."""

    path: tuple[str, ...]
    nodes: "tuple[Condition | Not, ...]"


Node: TypeAlias = Condition | And | Or | Nor | Not

_NAMES: Final = {And: "$and", Or: "$or", Nor: "$nor"}


def is_of_element(node: Node) -> bool:
    """Whether this operand of `$elemMatch` looks at elements themselves, not at the fields of those with fields."""
    if isinstance(node, Condition | Not):
        return not node.path
    return isinstance(node, And) and bool(node.nodes) and is_of_element(node.nodes[0])


def mongo_document(node: Node) -> dict[str, Any]:
    """The node in MongoDB's language."""
    if isinstance(node, Condition | Not):
        return {".".join(node.path): _operators(node)}
    if not node.nodes:
        return {}
    return {_NAMES[type(node)]: [mongo_document(inner) for inner in node.nodes]}


def _operators(node: Node) -> dict[str, Any]:
    """Of a condition what stands after its path; of an And of one path's conditions all of it."""
    if isinstance(node, Not):
        return {"$not": _merged(node.nodes)}
    if not isinstance(node, Condition):
        return _merged(node.nodes)
    operand = node.operand
    if node.operator == "$regex":
        return {"$regex": operand.pattern} | ({"$options": operand.options} if operand.options else {})
    if node.operator == "$elemMatch":
        return {"$elemMatch": _operators(operand) if is_of_element(operand) else mongo_document(operand)}
    if node.operator == "$all":
        return {"$all": [_operators(item) if isinstance(item, Condition) else item for item in operand]}
    return {node.operator: list(operand) if isinstance(operand, tuple) else operand}


def _merged(nodes: tuple[Node, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in nodes:
        found.update(_operators(node))
    return found
