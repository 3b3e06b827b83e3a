"""What a selector selects is what MongoDB selects, on documents and selectors of every shape."""

import random
from collections.abc import Iterator
from typing import Any

import pymongo
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection

from madsci_event_server.selector import Selector

Json = dict[str, Any]

DOCUMENTS = 200
SELECTORS = 50

# Few names and values, so that paths lead somewhere and comparisons come out both ways; beside them numbers that are
# equal or nearly so in some type, and texts that another encoding would sort otherwise.
NAMES = ["a", "b", "0", "1", ""]
COMMON = [None, True, 0, 1, 2, 1.5, "a", "b"]
RARE = [
    *(False, -1, 1.0, -0.0, -1.5, -5, 2**31, 2**53, 2.0**53, 2**53 + 1, 2**63 - 1, -(2**63), 2.0**63, 1e300),
    *("", "A", "aa", "a\nb", "\u00e9", "\uffff", "\U0001f600"),
]
TYPES = ["double", "string", "object", "array", "bool", "null", "int", "long", "number", 1, 2, 3, 4, 8, 10, 16, 18]
PATTERNS = ["", "a", "^a", "b$", "^b$", "a.b", "[ab]+", "\u00e9"]


class Shapes:
    """Documents and selectors made at random: the same seed, the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _one_of(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _few(self, *counts: int) -> range:
        return range(self._one_of(*counts))

    def value(self, depth: int = 0) -> Any:
        kind = self._random.random()
        if depth > 4 or kind < 0.45:
            return self._one_of(*(COMMON if self._random.random() < 0.8 else RARE))
        if kind < 0.75:
            return [self.value(depth + 1) for _ in self._few(0, 1, 1, 2, 2, 3)]
        return self.document(depth + 1)

    def document(self, depth: int = 0) -> Json:
        names = self._random.sample(NAMES, self._one_of(0, 1, 1, 2, 2, 3))
        return {name: self.value(depth) for name in names}

    def selector(self, depth: int = 0) -> Json:
        kind = self._random.random()
        if depth < 3 and kind < 0.25:
            return {self._one_of("$and", "$or", "$nor"): [self.selector(depth + 1) for _ in self._few(1, 2, 3)]}
        if kind < 0.4:
            return {self._path(): self.value(1)}
        return {self._path(): self._operators(depth) for _ in self._few(0 if depth else 1, 1, 1, 2)}

    def _path(self) -> str:
        names = [self._one_of("a", "b", *NAMES) for _ in self._few(1, 1, 2, 2, 3, 4)]
        return ".".join(names if len(names) == 1 else [*names[:-1], names[-1] or "a"])

    def _operators(self, depth: int) -> Json:
        found: Json = {}
        for _ in self._few(1, 1, 2):
            found.update(self._operator(depth + 1))
        return found

    def _operator(self, depth: int) -> Json:
        name = self._one_of(*COMPARISONS, *LISTS, "$exists", "$type", "$size", "$mod", "$regex", *NESTING)
        if name in COMPARISONS:
            return {name: self.value(1)}
        if name in LISTS:
            return {name: [self.value(1) for _ in self._few(0, 1, 2, 3)]}
        if name in NESTING and depth < 4:
            return self._nested(name, depth)
        return self._plain(name)

    def _nested(self, name: str, depth: int) -> Json:
        if name == "$not":
            return {"$not": self._operators(depth)}
        if name == "$all of elements":
            return {"$all": [self._nested("$elemMatch", depth) for _ in self._few(1, 2)]}
        return {"$elemMatch": self._one_of(self._operators, self.selector)(depth)}

    def _plain(self, name: str) -> Json:
        if name == "$type":
            return {"$type": self._one_of(self._one_of(*TYPES), [self._one_of(*TYPES) for _ in self._few(1, 2)])}
        if name == "$size":
            return {"$size": self._one_of(0, 1, 2, 2.0, 3)}
        if name == "$mod":
            return {"$mod": [self._one_of(1, 2, -2, 3, 2.0, -1), self._one_of(0, 1, -1, 1.0)]}
        if name == "$regex":
            return {"$regex": self._one_of(*PATTERNS), "$options": self._one_of("", "i", "m", "ims")}
        return {"$exists": self._one_of(True, False)}


COMPARISONS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
LISTS = ("$in", "$nin", "$all")
NESTING = ("$not", "$elemMatch", "$all of elements")


class Comparison:
    """MongoDB and our matcher, side by side; counts what it has compared."""

    def __init__(self, collection: Collection[Json]) -> None:
        self._collection = collection
        self.pairs = 0
        self.selected = 0

    def compare(self, seed: int) -> None:
        """Raises AssertionError with the smallest disagreement among the shapes of this seed."""
        shapes = Shapes(seed)
        documents = [shapes.document() for _ in range(DOCUMENTS)]
        self._collection.delete_many({})
        self._collection.insert_many({"_id": place, **document} for place, document in enumerate(documents))
        disagreements = [
            disagreement for _ in range(SELECTORS) for disagreement in self._compare_one(documents, shapes.selector())
        ]
        assert min(disagreements, key=len, default=None) is None, f"{len(disagreements)} disagreements"

    def _compare_one(self, documents: list[Json], written: Json) -> Iterator[str]:
        selector = Selector.parse(written)
        ours = {place for place, document in enumerate(documents) if selector.matches(document)}
        self.pairs += len(documents)
        self.selected += len(ours)
        for query in (written, selector.document):
            theirs = {found["_id"] for found in self._collection.find(query, {"_id": 1})}
            for place in ours ^ theirs:
                says = "selects" if place in theirs else "does not select"
                yield f"MongoDB {says} {documents[place]} with {query}"


@pytest.fixture
def collection(mongodb_url: str) -> Iterator[Collection[Json]]:
    with pymongo.MongoClient[Json](mongodb_url) as client:
        yield client.get_default_database()["documents"]


def compare_batches(collection: Collection[Json], batches: int) -> None:
    comparison = Comparison(collection)

    # Another seed means other shapes altogether: there is nothing to shrink, `compare` looks for the smallest itself.
    @settings(max_examples=batches, phases=[Phase.reuse, Phase.generate])
    @given(st.integers(0, 2**64))
    def compare(seed: int) -> None:
        comparison.compare(seed)

    compare()

    assert comparison.pairs >= batches * DOCUMENTS * SELECTORS
    assert 0.1 < comparison.selected / comparison.pairs < 0.9, "both outcomes were compared"


def test_mongodb_selects_the_same(collection: Collection[Json]) -> None:
    compare_batches(collection, 40)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_mongodb_selects_the_same_for_a_long_time(collection: Collection[Json]) -> None:
    compare_batches(collection, 300)


@given(st.integers(0, 2**64))
def test_the_normalised_selector_is_read_as_itself(seed: int) -> None:
    selector = Selector.parse(Shapes(seed).selector())

    assert Selector.parse(selector.document).document == selector.document
