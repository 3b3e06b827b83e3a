"""Whatever a caller logs becomes JSON: represented, never dropped, never an exception."""

import collections
import dataclasses
import enum
import json
import math
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from madsci_event_cli.sending.jsonable import encode, exception_fields, jsonable, put

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Well:
    row: str
    volume: float


class Plate(BaseModel):
    name: str
    filled: datetime


Point = collections.namedtuple("Point", ["x", "y"])


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Array:
    """What numpy's arrays and scalars have in common."""

    def tolist(self) -> list[float]:
        return [1.5, math.nan]


@given(JSON_VALUES)
def test_json_comes_back_equal(value: Any) -> None:
    whole = json.loads(json.dumps(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace"))

    assert json.loads(encode(jsonable(value))) == whole


@pytest.mark.parametrize(
    ("value", "represented"),
    [
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        ("half a \ud800", "half a \ufffd"),
        (2**70, 2**70),
        (10**5000, hex(10**5000)),
        (b"text", "text"),
        (b"\xff\x00", "base64:/wA="),
        ({3, 1, 2}, [1, 2, 3]),
        ((1, "two"), [1, "two"]),
        (collections.deque([1, 2]), [1, 2]),
        (Colour.RED, "red"),
        (Well("A", 2.5), {"row": "A", "volume": 2.5}),
        (Plate(name="p", filled=datetime(2026, 1, 2, tzinfo=UTC)), {"name": "p", "filled": "2026-01-02T00:00:00Z"}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(seconds=90), "0:01:30"),
        (Decimal("1.10"), "1.10"),
        (PurePosixPath("a/b"), "a/b"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Array(), [1.5, "NaN"]),
        (Well, f"{__name__}.Well"),
        ({1: "a", "1": "b", None: "c"}, {"1": "a", "1_": "b", "null": "c"}),
        (Rude(), f"<{__name__}.Rude whose repr() raised RuntimeError>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_has_not_is_represented(value: Any, represented: Any) -> None:
    assert jsonable({"value": value}) == {"value": represented}


def test_an_object_is_its_repr() -> None:
    assert jsonable([object()])[0].startswith("<object object at")


def test_a_cycle_ends() -> None:
    loop: dict[str, Any] = {"name": "loop"}
    loop["self"] = loop

    found = jsonable(loop)
    assert found["name"] == "loop"
    assert found["self"].startswith("{'name': 'loop', 'self': {")


def test_nesting_deeper_than_the_server_takes_becomes_text() -> None:
    deep: Any = "bottom"
    for _ in range(500):
        deep = [deep]

    found, depth = jsonable(deep), 0
    while isinstance(found, list):
        found, depth = found[0], depth + 1

    assert depth < 64
    assert isinstance(found, str)


@pytest.mark.parametrize("double", [lambda inner: [inner, inner], lambda inner: {"a": inner, "b": inner}])
def test_shared_references_do_not_explode(double: Callable[[Any], Any]) -> None:
    laughs: Any = "ha"
    for _ in range(100):
        laughs = double(laughs)

    assert len(encode(jsonable(laughs))) < 4_000_000


def test_a_value_that_fails_while_it_is_read_is_its_repr() -> None:
    class Torn(dict[str, int]):
        def items(self) -> Any:
            raise OSError("gone")

    assert jsonable({"torn": Torn(a=1)}) == {"torn": "{'a': 1}"}


def test_an_exception_travels_with_its_traceback_and_causes() -> None:
    def pump() -> None:
        raise OSError("pump")

    def aspirate() -> None:
        try:
            pump()
        except OSError as error:
            raise ValueError("cannot aspirate") from error

    with pytest.raises(ValueError, match="cannot aspirate") as raised:
        aspirate()
    fields = exception_fields(raised.value)

    assert (fields["type"], fields["message"]) == ("ValueError", "cannot aspirate")
    assert "OSError: pump" in fields["traceback"]
    assert "The above exception was the direct cause" in fields["traceback"]


def test_put_loses_neither_value() -> None:
    found = {"message": "first"}

    put(found, "message", "second")

    assert found == {"message": "first", "message_": "second"}
