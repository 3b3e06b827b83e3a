"""A body cut anywhere gives the same items: what the network does to it means nothing."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from madsci_event_server.api.batches import BatchSplitter
from madsci_event_server.judging import Item, Lines

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\[]{},:\n é😀'),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)
items = st.lists(st.dictionaries(st.text(max_size=4), values, max_size=4), min_size=1, max_size=6)


def split(body: bytes, cuts: list[int], limit: int = 10_000) -> list[bytes | str]:
    """Each item's bytes, or what is wrong with it."""
    splitter = BatchSplitter(limit)
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    parts = [one for start, end in pairwise(edges) for one in splitter.feed(body[start:end])]
    parts += splitter.finish()
    found = [item for one in parts for item in (one.items if isinstance(one, Lines) else [one])]
    assert all(one.number == len(one.items) for one in parts if isinstance(one, Lines))
    assert [item.place for item in found] == list(range(len(found)))
    return [item.problem.problem if item.problem else item.body for item in found]


@given(items, st.lists(st.integers(min_value=0), max_size=8), st.booleans())
def test_an_array_cut_anywhere(sent: list[object], cuts: list[int], ascii_only: bool) -> None:
    body = json.dumps(sent, ensure_ascii=ascii_only, indent=1).encode()

    assert [json.loads(item) for item in split(body, cuts)] == sent


@given(items, st.lists(st.integers(min_value=0), max_size=8))
def test_lines_cut_anywhere(sent: list[object], cuts: list[int]) -> None:
    body = "\n".join(json.dumps(item) for item in sent).encode()

    assert [json.loads(item) for item in split(body, cuts)] == sent


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0), max_size=8))
def test_any_bytes_are_split_the_same_wherever_they_are_cut(junk: bytes, cuts: list[int]) -> None:
    for body in (b"[" + junk, junk):
        assert split(body, cuts) == split(body, [])


def test_a_chunk_of_nothing_changes_nothing() -> None:
    body = json.dumps([{"text": '"]}, \\'}]).encode()

    for cut in range(len(body) + 1):
        assert split(body, [cut, cut]) == [body[1:-1]]


@given(st.lists(st.integers(min_value=0), max_size=8))
def test_an_array_is_closed_by_its_own_bracket(cuts: list[int]) -> None:
    assert split(b'[{"a": 1}}', cuts) == [b'{"a": 1}', "has a } where the array's closing ] belongs"]


@given(items, st.integers(min_value=1, max_value=40), st.lists(st.integers(min_value=0), max_size=8))
def test_the_limit_is_each_items_own(sent: list[object], limit: int, cuts: list[int]) -> None:
    texts = [json.dumps(item).encode() for item in sent]

    for body in (b"[" + b",".join(texts) + b"]", b"\n".join(texts)):
        found = split(body, cuts, limit)
        assert len(found) == len(texts)
        for item, text in zip(found, texts, strict=True):
            assert item == text if len(text) <= limit else isinstance(item, str)


def test_lines_that_each_hold_an_object_are_taken_apart_by_who_judges_them() -> None:
    body = b'{"event_id": "a"}\r\n{"event_id": "b"} \n{"event_id": "c"}\n\n{"event_id": "d"}\n{"event_id'
    splitter = BatchSplitter(100)

    assert list(splitter.feed(body[:40])) == [Lines(0, 2, b'{"event_id": "a"}\r\n{"event_id": "b"} ')]
    assert list(splitter.feed(body[40:])) == [Item(2, b'{"event_id": "c"}'), Item(3, b'{"event_id": "d"}')]
    assert list(splitter.feed(b'": "e"}\n')) == [Lines(4, 1, b'{"event_id": "e"}')]


def test_very_many_lines_are_not_left_together() -> None:
    found = list(BatchSplitter(100_000).feed(b"{}\n" * 1000))

    assert found == [Item(place, b"{}") for place in range(1000)]
