"""EventQuery -> Plan: what of a query the tables decide, and what is left to `matches`.

States, times and labels decide exactly what `EventQuery.matches` does; the full-text index decides `search` exactly,
too. Of a selector, what stands on indexed fields narrows the search; whether it holds is always left to `matches`.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from madsci_event_server.event import canonical_id
from madsci_event_server.patterns import glob_matches
from madsci_event_server.query import EventQuery
from madsci_event_server.selector import And, Condition, Node
from madsci_event_server.selector.matching import matcher
from madsci_event_server.storage.sqlite_schema import ARCHIVED
from madsci_event_server.storage.sqlite_words import (
    all_of,
    any_of,
    name_mark,
    quoted,
    search_expression,
    text_expression,
    value_mark,
)
from madsci_event_server.storage.terms import ALERT, Term
from madsci_event_server.vocabulary import SOURCE_ID_FIELDS
from madsci_event_server.words import Search

FOREVER: Final = (-(2**63), 2**63 - 1)

_MAX_WORD_CHARACTERS: Final = 3000
"""FTS5 cuts words at 32,768 bytes: of a longer one it does not decide exactly."""

_MAX_ALTERNATIVES: Final = 100
"""Of a longer `$in` the words are not looked up."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Labels of which an event must have one."""

    labels: frozenset[int]
    disjoint: bool
    """Whether no event has two of them: they are values of one field."""


@dataclass(slots=True)
class Plan:
    """What the tables decide of a query."""

    states: tuple[int, ...]
    since_us: int
    until_us: int
    """Event time is in [since, until)."""
    wanted: list[AnyOf] = field(default_factory=list)
    excluded: frozenset[int] = frozenset()
    match: str | None = None
    """What the full-text index must find, in its language."""
    match_is_exact: bool = True
    """Whether that is the whole of `search`, and nothing but it."""
    has_content: bool = False
    """Whether the query has a regex or selector, which only `matches` decides."""

    @property
    def finds_nothing(self) -> bool:
        """Whether no event can match."""
        return not self.states or self.since_us >= self.until_us or any(not any_of.labels for any_of in self.wanted)

    @property
    def is_plain(self) -> bool:
        """Whether only states and times matter."""
        return not (self.wanted or self.excluded or self.match or self.has_content or not self.match_is_exact)

    @property
    def is_timeless(self) -> bool:
        """Whether times don't matter."""
        return (self.since_us, self.until_us) == FOREVER

    def labels_hold(self, labels: Collection[int]) -> bool:
        """Whether an event with these labels has those wanted and none of the excluded."""
        return self.excluded.isdisjoint(labels) and not any(any_of.labels.isdisjoint(labels) for any_of in self.wanted)


def plan_of(query: EventQuery, connection: sqlite3.Connection) -> Plan:
    """The plan of a query, its values looked up in the dictionary of labels."""
    since, until = query.time_range_us
    plan = Plan(
        states=tuple(_states(query)),
        since_us=FOREVER[0] if since is None else since,
        until_us=FOREVER[1] if until is None else until,
        has_content=query.regex is not None or query.selector is not None,
    )
    dictionary = _Dictionary(connection)
    for name, terms in query.terms.items():
        if terms.wanted:
            plan.wanted.append(dictionary.any_of(query, name, terms.wanted))
        if _is_id_of_source(name):
            plan.has_content = True
        elif terms.excluded:
            plan.excluded |= dictionary.any_of(query, name, terms.excluded).labels
    if query.alert is not None:
        alert = dictionary.numbers([ALERT])
        if query.alert:
            plan.wanted.append(AnyOf(alert, disjoint=True))
        else:
            plan.excluded |= alert
    _plan_search(plan, query.parsed_search)
    if query.parsed_selector is not None:
        _narrow_by_selector(plan, query.parsed_selector.root, dictionary)
    return plan


def _states(query: EventQuery) -> Iterator[int]:
    for level in query.levels:
        if not query.only_archived:
            yield int(level)
    for level in query.levels:
        if query.only_archived or query.include_archived:
            yield int(level) + ARCHIVED


def _is_id_of_source(name: str) -> bool:
    """`source.node_id` and the like, whose labels are of `source` or, there being none, of `event_data`."""
    return name.removeprefix("source.") in SOURCE_ID_FIELDS and name.startswith("source.")


class _Dictionary:
    """The labels that stand for a query's values."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def any_of(self, query: EventQuery, name: str, texts: Sequence[str]) -> AnyOf:
        """The labels of which a field's values are any."""
        if name == "node":
            terms = [("name", text) for text in texts]
            terms += [("node_id", node_id) for text in texts for node_id in query.node_ids(text)]
            return AnyOf(self.numbers(terms), disjoint=False)
        if name in ("kind", "event_type"):
            exact = [(name, text) for text in texts if "*" not in text]
            globs = [text for text in texts if "*" in text]
            return AnyOf(self.numbers(exact) | self._numbers_of_globs(name, globs), disjoint=True)
        field_name = name.removeprefix("source.") if _is_id_of_source(name) else name
        return AnyOf(self.numbers((field_name, text) for text in texts), disjoint=True)

    def numbers(self, terms: Iterable[Term]) -> frozenset[int]:
        """Those of the labels that exist."""
        found = set()
        for name, value in terms:
            if _can_be_stored(name) and _can_be_stored(value):
                found |= {
                    number
                    for (number,) in self._connection.execute(
                        "SELECT id FROM labels WHERE field = ? AND value = ?", (name, value)
                    )
                }
        return frozenset(found)

    def _numbers_of_globs(self, name: str, globs: Sequence[str]) -> frozenset[int]:
        if not globs:
            return frozenset()
        rows = self._connection.execute("SELECT id, value FROM labels WHERE field = ?", (name,))
        return frozenset(number for number, value in rows if any(glob_matches(glob, value) for glob in globs))

    def numbers_where(self, name: str, holds: Callable[[dict[str, str]], bool]) -> frozenset[int]:
        """The labels of a field for whose value, in a document, this holds."""
        rows = self._connection.execute("SELECT id, value FROM labels WHERE field = ?", (name,))
        return frozenset(number for number, value in rows if holds({name: value}))


def _can_be_stored(text: str) -> bool:
    """Whether it is whole Unicode text; no label has a lone surrogate, and SQLite takes none."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


# --- Search ---


def _plan_search(plan: Plan, search: Search | None) -> None:
    if search is None:
        return
    texts = [word for phrase in (*search.wanted, *search.excluded) for word in (*phrase.whole, phrase.prefix or "")]
    plan.match_is_exact = bool(search.wanted) and all(len(word) < _MAX_WORD_CHARACTERS for word in texts)
    if search.wanted and plan.match_is_exact:
        plan.match = search_expression(search)


# --- Selector ---


def _narrow_by_selector(plan: Plan, root: Node, dictionary: _Dictionary) -> None:
    """Uses the conditions that must all hold; the others are left alone."""
    for condition in _necessary(root):
        if condition.path == ("log_level",):
            holds = matcher(condition)
            plan.states = tuple(state for state in plan.states if holds({"log_level": state % ARCHIVED}))
        elif condition.path == ("event_type",):
            found = dictionary.numbers_where("event_type", matcher(condition))
            plan.wanted.append(AnyOf(found, disjoint=True))
        elif condition.path[0] == "source":
            _narrow_by_source(plan, condition, dictionary)
        elif condition.path[0] == "event_data":
            _narrow_by_data(plan, condition)


def _necessary(node: Node) -> Iterator[Condition]:
    if isinstance(node, Condition):
        yield node
    elif isinstance(node, And):
        for inner in node.nodes:
            yield from _necessary(inner)


def _narrow_by_source(plan: Plan, condition: Condition, dictionary: _Dictionary) -> None:
    values = _values(condition)
    if len(condition.path) == 2 and condition.path[1] in SOURCE_ID_FIELDS and values is not None:
        texts = [value for value in values if isinstance(value, str)]
        if len(texts) == len(values):  # null would be no id at all
            found = dictionary.numbers((condition.path[1], canonical_id(text)) for text in texts)
            plan.wanted.append(AnyOf(found, disjoint=True))


def _narrow_by_data(plan: Plan, condition: Condition) -> None:
    expression = _data_expression(condition)
    if expression is not None and plan.match_is_exact:
        plan.match = expression if plan.match is None else all_of([expression, plan.match])


def _values(condition: Condition) -> tuple[Any, ...] | None:
    """Of which the value at the path, or an element of it, must be one."""
    if condition.operator == "$eq":
        return (condition.operand,)
    return condition.operand if condition.operator == "$in" else None


def _data_expression(condition: Condition) -> str | None:
    """What the full-text index finds, at the least, of the events for which a condition on `event_data` holds."""
    name = condition.path[-1]
    is_named = len(condition.path) > 1 and not name.isdecimal()  # a number may be a place in an array
    values = _values(condition)
    if values is not None and 0 < len(values) <= _MAX_ALTERNATIVES:
        expressions = [_value_expression(name if is_named else None, value) for value in values]
        if all(expressions):
            return any_of([expression for expression in expressions if expression])
    return quoted(name_mark(name)) if is_named and _needs_presence(condition) else None


def _value_expression(name: str | None, value: Any) -> str | None:
    if isinstance(value, str):
        return text_expression(value) or (None if name is None else quoted(name_mark(name)))
    if isinstance(value, int | float) and name is not None:
        return quoted(value_mark(name, value))
    return None


def _needs_presence(condition: Condition) -> bool:
    """Whether it never holds for a path that leads nowhere; null is equal to nothing at all."""
    operator, operand = condition.operator, condition.operand
    if operator == "$exists":
        return bool(operand)
    if operator in ("$in", "$all"):
        return None not in operand
    return operator in _OF_PRESENT and operand is not None


_OF_PRESENT: Final = frozenset({"$eq", "$gt", "$gte", "$lt", "$lte", "$type", "$mod", "$regex", "$size", "$elemMatch"})
