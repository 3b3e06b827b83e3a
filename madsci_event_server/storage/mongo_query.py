"""EventQuery -> Plan: what of a query MongoDB decides, and what is left to `matches`.

States, times, terms and words decide exactly what `EventQuery.matches` does, and so does a selector without `$regex`,
which is MongoDB's own language. Patterns are RE2's, not MongoDB's: what has one is narrowed here and decided there.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from madsci_event_server.event import canonical_id
from madsci_event_server.patterns import glob_matches
from madsci_event_server.query import EventQuery
from madsci_event_server.selector import And, Condition, Node, Not
from madsci_event_server.selector.matching import matcher
from madsci_event_server.selector.nodes import mongo_document
from madsci_event_server.storage.mongo_documents import ARCHIVED, can_be_stored, storable, term_texts
from madsci_event_server.storage.terms import ALERT, Term, is_id_of_source
from madsci_event_server.vocabulary import SOURCE_ID_FIELDS
from madsci_event_server.words import Phrase, Search, words

Filter = dict[str, Any]

LAST_CHARACTER: Final = "\U0010ffff"
"""No letter or digit, and after all of them: where words with a prefix end."""
_NOTHING: Final[Filter] = {"_id": {"$in": []}}
_MAX_ALTERNATIVES: Final = 100
"""Of a longer `$in` the words are not looked up."""

Vocabulary = Mapping[str, Collection[str]]
"""By field (`kind`, `event_type`) every value ever stored."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What MongoDB decides of a query."""

    states: tuple[int, ...]
    conditions: tuple[Filter, ...]
    is_exact: bool
    """Whether that is all of the query; else `matches` decides on what is found."""
    has_terms: bool = False
    """Whether some term or word must be there, so that its index leads to the events."""
    finds_nothing: bool = False

    @property
    def filter(self) -> Filter:
        """As MongoDB has it."""
        if self.finds_nothing:
            return _NOTHING
        found: Filter = {"state": {"$in": list(self.states)}}
        return found | ({"$and": list(self.conditions)} if self.conditions else {})

    def narrowed(self, condition: Filter) -> "Plan":
        """The plan of what meets this condition besides."""
        return replace(self, conditions=(*self.conditions, condition))


def needs_vocabulary(query: EventQuery) -> bool:
    """Whether the query has a glob, whose values `plan_of` must be given."""
    return any(
        "*" in text
        for name in ("kind", "event_type")
        for terms in (query.terms.get(name, ((), ())),)
        for text in (*terms[0], *terms[1])
    )


def plan_of(query: EventQuery, vocabulary: Vocabulary) -> Plan:
    """The plan of a query."""
    planning = _Planning(query, vocabulary)
    planning.times()
    planning.terms()
    if query.parsed_search is not None:
        planning.search(query.parsed_search)
    if query.parsed_selector is not None:
        planning.selector(query.parsed_selector.root)
    return planning.plan()


class _Planning:
    def __init__(self, query: EventQuery, vocabulary: Vocabulary) -> None:
        self._query = query
        self._vocabulary = vocabulary
        self._states = tuple(_states(query))
        self._conditions: list[Filter] = []
        self._is_exact = query.regex is None
        self._has_terms = False
        self._finds_nothing = False

    def plan(self) -> Plan:
        return Plan(
            self._states,
            tuple(self._conditions),
            self._is_exact,
            self._has_terms,
            self._finds_nothing or not self._states,
        )

    def times(self) -> None:
        since, until = self._query.time_range_us
        bounds = {name: bound for name, bound in (("$gte", since), ("$lt", until)) if bound is not None}
        if bounds:
            self._conditions.append({"time_us": bounds})

    # --- Terms ---

    def terms(self) -> None:
        for name, (wanted, excluded) in self._query.terms.items():
            if wanted:
                self._want("terms", term_texts(self._meant(name, wanted)))
            if is_id_of_source(name):
                self._is_exact = False
            elif excluded:
                self._exclude(term_texts(self._meant(name, excluded)))
        if self._query.alert is True:
            self._want("terms", term_texts([ALERT]))
        elif self._query.alert is False:
            self._exclude(term_texts([ALERT]))

    def _meant(self, name: str, texts: Sequence[str]) -> Iterator[Term]:
        """The terms a field's values stand for."""
        if name == "node":
            for text in texts:
                yield "name", text
                yield from (("node_id", node_id) for node_id in self._query.node_ids(text))
        elif name in ("kind", "event_type"):
            for text in texts:
                known = self._vocabulary.get(name, ()) if "*" in text else (text,)
                yield from ((name, value) for value in known if glob_matches(text, value))
        else:
            field = name.removeprefix("source.") if is_id_of_source(name) else name
            yield from ((field, text) for text in texts)

    def _want(self, field: str, values: Sequence[str]) -> None:
        """Of these values one must be there."""
        if not values:
            self._finds_nothing = True
        self._conditions.append({field: values[0] if len(values) == 1 else {"$in": list(values)}})
        self._has_terms = True

    def _exclude(self, values: Sequence[str]) -> None:
        if values:
            self._conditions.append({"terms": {"$nin": list(values)}})

    # --- Search ---

    def search(self, search: Search) -> None:
        for phrase in search.wanted:
            self._conditions += _of_phrase(phrase)
            self._has_terms = True
        excluded = [{"$and": _of_phrase(phrase)} for phrase in search.excluded]
        if excluded:
            self._conditions.append({"$nor": excluded})

    # --- Selector ---

    def selector(self, root: Node) -> None:
        decided = _without_patterns(root)
        if decided is not root:
            self._is_exact = False
        if decided is not None and (asked := mongo_document(_in_document(decided))):
            self._conditions.append(asked)
        for condition in _necessary(root):
            self._narrow(condition)

    def _narrow(self, condition: Condition) -> None:
        """Uses an index for what the selector has decided anyway."""
        path = condition.path
        if path == ("log_level",):
            holds = matcher(condition)
            self._states = tuple(state for state in self._states if holds({"log_level": state % ARCHIVED}))
        elif (texts := _texts(condition)) is None:
            return
        elif path == ("event_id",):
            self._conditions.append({"_id": {"$in": storable(texts)}})
        elif path == ("event_type",):
            self._want("terms", term_texts(("event_type", text) for text in texts))
        elif len(path) == 2 and path[0] == "source" and path[1] in SOURCE_ID_FIELDS:
            self._want("terms", term_texts((path[1], canonical_id(text)) for text in texts))
        elif path[0] == "event_data" and len(texts) <= _MAX_ALTERNATIVES:
            self._narrow_by_words(texts)

    def _narrow_by_words(self, texts: Sequence[str]) -> None:
        """An event whose data holds a text has its words, and so also the longest of them."""
        longest = [max(found, key=len) for text in texts if (found := words(text))]
        if longest and len(longest) == len(texts):
            self._want("words", sorted(set(longest)))


def _states(query: EventQuery) -> Iterator[int]:
    for level in query.levels:
        if not query.only_archived:
            yield int(level)
        if query.only_archived or query.include_archived:
            yield int(level) + ARCHIVED


def _of_phrase(phrase: Phrase) -> list[Filter]:
    found: list[Filter] = [{"words": word} for word in phrase.whole]
    if phrase.prefix is not None:
        found.append({"words": {"$elemMatch": {"$gte": phrase.prefix, "$lt": phrase.prefix + LAST_CHARACTER}}})
    return found


# --- Selector ---


def _without_patterns(node: Node) -> Node | None:
    """The node, or what it requires without its patterns; None where that is nothing."""
    if isinstance(node, And):
        kept = [(inner, _without_patterns(inner)) for inner in node.nodes]
        if all(inner is decided for inner, decided in kept):
            return node
        return And(tuple(decided for _, decided in kept if decided is not None))
    return None if _has_pattern(node) else node


def _has_pattern(node: Node) -> bool:
    if not isinstance(node, Condition):
        return any(_has_pattern(inner) for inner in node.nodes)
    if node.operator == "$elemMatch":
        return _has_pattern(node.operand)
    if node.operator == "$all":
        return any(isinstance(item, Condition) and _has_pattern(item) for item in node.operand)
    return node.operator == "$regex" or not _is_storable(node.operand) or not all(map(can_be_stored, node.path))


def _is_storable(value: object) -> bool:
    """Whether BSON takes it."""
    if isinstance(value, str):
        return can_be_stored(value)
    if isinstance(value, Mapping):
        return all(_is_storable(name) and _is_storable(item) for name, item in value.items())
    return all(map(_is_storable, value)) if isinstance(value, list | tuple) else True


def _in_document(node: Node) -> Node:
    """The node with its paths where the stored document has them."""
    if isinstance(node, Condition):
        return replace(node, path=("document", *node.path))
    if isinstance(node, Not):
        inside = tuple(_in_document(inner) for inner in node.nodes)
        return Not(("document", *node.path), inside)  # type: ignore[arg-type]  # Conditions and Nots stay what they are
    return type(node)(tuple(_in_document(inner) for inner in node.nodes))


def _necessary(node: Node) -> Iterator[Condition]:
    if isinstance(node, Condition):
        yield node
    elif isinstance(node, And):
        for inner in node.nodes:
            yield from _necessary(inner)


def _texts(condition: Condition) -> tuple[str, ...] | None:
    """The texts of which the value, or an element of it, must be one; None where it can be something else."""
    operand = condition.operand
    if condition.operator == "$eq":
        operand = (operand,)
    elif condition.operator != "$in":
        return None
    return operand if all(isinstance(text, str) for text in operand) else None
