"""What a selector selects is what MongoDB selects, on documents and selectors of every shape."""

from collections.abc import Callable, Iterator
from typing import Any

import pymongo
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection

from madsci_event_server.selector import Selector

Json = dict[str, Any]

# Few names and values, so that paths lead somewhere and comparisons come out both ways. Numbers that are equal or
# nearly so in some type, and texts that other encodings would sort otherwise.
NAMES = st.sampled_from(["a", "a", "b", "b", "0", "1", ""])
COMMON = st.sampled_from([None, True, 0, 1, 2, 1.5, "a", "b"])
RARE = st.sampled_from(
    [
        *(False, -1, 1.0, -0.0, -1.5, 2**31, 2**53, 2.0**53, 2**53 + 1, 2**63 - 1, -(2**63), 2.0**63, 1e300),
        *("", "A", "aa", "a\nb", "\u00e9", "\uffff", "\U0001f600"),
    ]
)
SCALARS = st.one_of(COMMON, COMMON, COMMON, RARE)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=3)

PATHS = st.lists(NAMES, min_size=1, max_size=3).filter(lambda names: len(names) == 1 or names[-1] != "").map(".".join)
TYPES = st.sampled_from([*("double", "string", "object", "array", "bool", "null", "int", "long", "number"), 1, 2, 16])
PATTERNS = st.sampled_from(["", "a", "^a", "b$", "^b$", "a.b", "[ab]+", "\u00e9"])

Strategy = st.SearchStrategy[Any]


def one_operator(name: str, operand: Strategy) -> Strategy:
    return operand.map(lambda value: {name: value})


def merged(parts: list[Json]) -> Json:
    return {name: operand for part in parts for name, operand in part.items()}


def operators(inner: Strategy) -> Strategy:
    """What stands after a path; `inner` is what stands inside an `$elemMatch` or a `$not`."""
    element = one_operator("$elemMatch", inner | queries(inner))
    kinds = [
        *(one_operator(name, VALUES) for name in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")),
        *(one_operator(name, st.lists(VALUES, max_size=3)) for name in ("$in", "$nin", "$all")),
        one_operator("$exists", st.booleans()),
        one_operator("$type", TYPES | st.lists(TYPES, min_size=1, max_size=2)),
        one_operator("$size", st.sampled_from([0, 1, 2, 2.0, 3])),
        one_operator("$mod", st.tuples(st.sampled_from([1, 2, -2, 3, 2.0]), st.sampled_from([0, 1, -1])).map(list)),
        one_operator("$not", inner),
        st.fixed_dictionaries({"$regex": PATTERNS}, optional={"$options": st.sampled_from(["", "i", "m", "ims"])}),
        element,
        one_operator("$all", st.lists(element, min_size=1, max_size=2)),
    ]
    return st.lists(st.one_of(kinds), min_size=1, max_size=2).map(merged)


def queries(after_path: Strategy) -> Strategy:
    flat = st.dictionaries(PATHS, after_path | VALUES, max_size=2)
    return flat | st.dictionaries(
        st.sampled_from(["$and", "$or", "$nor"]), st.lists(flat, min_size=1, max_size=3), min_size=1, max_size=2
    )


OPERATORS = operators(operators(operators(st.just({"$exists": True}))))
SELECTORS = queries(OPERATORS)


@pytest.fixture
def collection(mongodb_url: str) -> Iterator[Collection[Json]]:
    with pymongo.MongoClient[Json](mongodb_url) as client:
        yield client.get_default_database()["documents"]


class Comparison:
    """MongoDB and our matcher, side by side; counts what it has compared."""

    def __init__(self, collection: Collection[Json]) -> None:
        self._collection = collection
        self.pairs = 0
        self.selected = 0

    def compare(self, documents: list[Json], selectors: list[Json]) -> None:
        self._collection.delete_many({})
        self._collection.insert_many({"_id": place, **document} for place, document in enumerate(documents))
        for written in selectors:
            self._compare_one(documents, written)

    def _compare_one(self, documents: list[Json], written: Json) -> None:
        selector = Selector.parse(written)
        ours = {place for place, document in enumerate(documents) if selector.matches(document)}
        for query in (written, selector.document):
            theirs = {found["_id"] for found in self._collection.find(query, {"_id": 1})}
            disagreed = [(documents[place], place in theirs) for place in sorted(ours ^ theirs)]
            assert disagreed == [], f"MongoDB says otherwise about {query}"
        self.pairs += len(documents)
        self.selected += len(ours)


def compare_examples(collection: Collection[Json], count: int) -> Comparison:
    comparison = Comparison(collection)

    @settings(max_examples=count, suppress_health_check=list(HealthCheck))
    @given(st.lists(DOCUMENTS, min_size=40, max_size=60), st.lists(SELECTORS, min_size=15, max_size=25))
    def compare(documents: list[Json], selectors: list[Json]) -> None:
        comparison.compare(documents, selectors)

    run: Callable[[], None] = compare
    run()
    return comparison


def test_mongodb_selects_the_same(collection: Collection[Json]) -> None:
    compared = compare_examples(collection, 40)

    assert compared.pairs > 20_000
    assert 0.02 < compared.selected / compared.pairs < 0.98, "both outcomes were compared"


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_mongodb_selects_the_same_for_a_long_time(collection: Collection[Json]) -> None:
    compared = compare_examples(collection, 1_000)

    assert compared.pairs > 500_000
    assert 0.02 < compared.selected / compared.pairs < 0.98, "both outcomes were compared"


@given(SELECTORS)
def test_the_normalised_selector_is_read_as_itself(written: Json) -> None:
    selector = Selector.parse(written)

    assert Selector.parse(selector.document).document == selector.document
