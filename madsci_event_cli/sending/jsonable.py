"""Anything a caller may log, as JSON: represented, never dropped, never an exception.

Values JSON has come back equal. For the others: NaN and infinities are the strings the server answers ("NaN",
"Infinity", "-Infinity"); times, paths, UUIDs and decimals are their text; bytes are their UTF-8 text, else
"base64:..."; sets, tuples and arrays are arrays; models, dataclasses and named tuples are objects; an exception is
`{"type", "message", "traceback"}`; the rest is its `repr`.
"""

import base64
import dataclasses
import json
import math
import reprlib
import traceback
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final
from uuid import UUID

try:
    import orjson
except ImportError:  # PyPy has no build of it
    orjson = None  # type: ignore[assignment]

MAX_DEPTH: Final = 60
"""The server refuses nesting beyond 64; deeper parts become text."""
MAX_VALUES: Final = 100_000
"""Values in one event, so that shared references cannot grow without bound while the caller waits."""
_MAX_TEXT: Final = 2000
_MORE: Final = "... more values than one event may have"
_MAX_INTEGER_BITS: Final = 14_000
"""Just below the 4,300 digits the server takes."""


def encode(value: object) -> bytes:
    """Compact UTF-8 JSON of a value made by `jsonable`; integers of any size are kept exactly."""
    if orjson is not None:
        try:
            return orjson.dumps(value)
        except TypeError:  # integers beyond 64 bits
            pass
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def jsonable(value: Any) -> Any:
    """`value` as plain JSON values; the caller's own objects are not kept or changed."""
    return _Walk().plain(value)


def text_of(value: object) -> str:
    """`str(value)`, or what can be said of an object that cannot even say that."""
    return _spoken(str, value)


def exception_fields(error: BaseException) -> dict[str, str]:
    """What travels of an exception: its type, its message and the whole traceback with causes, groups and notes."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return {"type": name, "message": text_of(error), "traceback": _traceback(error)}


def _traceback(error: BaseException) -> str:
    try:
        return whole_characters("".join(traceback.format_exception(error)).rstrip("\n"))
    except Exception as problem:  # noqa: BLE001 - the error's own code runs here (__str__, __notes__), and may raise anything
        return f"<traceback that cannot be shown: {type(problem).__name__}>"


def whole_characters(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 cannot hold."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Walk:
    """One value's way to JSON: where it is, so that a cycle ends, and how much it has seen."""

    def __init__(self) -> None:
        self._ancestors: set[int] = set()
        self._left = MAX_VALUES

    def plain(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return value if value.isascii() else whole_characters(value)
        if kind is bool or value is None:
            return value
        if kind is int:
            return value if value.bit_length() < _MAX_INTEGER_BITS else hex(value)
        if kind is float:
            return value if math.isfinite(value) else _non_finite(value)
        return self._inside(value)

    def _inside(self, value: Any) -> Any:
        self._left -= 1
        if id(value) in self._ancestors or len(self._ancestors) >= MAX_DEPTH or self._left < 0:
            return _spoken(_in_short, value)
        self._ancestors.add(id(value))
        try:
            return self._opened(value)
        except Exception:  # noqa: BLE001 - the value's own code runs here (properties, iterators), and may raise anything
            return _spoken(repr, value)
        finally:
            self._ancestors.discard(id(value))

    def _opened(self, value: Any) -> Any:
        kind = type(value)
        if kind is dict:
            return self._object(value.items())
        if kind is list or kind is tuple:
            return self._array(value)
        for types, represent in _REPRESENTED:
            if isinstance(value, types):
                return represent(self, value)
        return self._by_shape(value)

    def _by_shape(self, value: Any) -> Any:
        """Objects known by what they offer: models, dataclasses, arrays of numbers, named tuples."""
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, (FunctionType, MethodType, ModuleType)):
            return _spoken(repr, value)
        if callable(getattr(value, "model_dump", None)):
            return self.plain(model_fields(value))
        if dataclasses.is_dataclass(value):
            return self._object((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        if callable(getattr(value, "tolist", None)):
            return self.plain(value.tolist())
        if isinstance(value, Mapping):
            return self._object(value.items())
        if isinstance(value, AbstractSet):
            return self._array(sorted(value, key=repr))
        if isinstance(value, tuple) and callable(as_dict := getattr(value, "_asdict", None)):
            return self._object(as_dict().items())
        if isinstance(value, (list, tuple)) or type(value).__name__ == "deque":
            return self._array(value)
        return _spoken(repr, value)

    def _object(self, items: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in items:
            if self._left < 0:
                put(found, "...", _MORE)
                break
            self._left -= 1
            put(found, self._name(key), self.plain(item))
        return found

    def _array(self, items: Iterable[Any]) -> list[Any]:
        found = []
        for item in items:
            self._left -= 1
            if self._left < 0:
                found.append(_MORE)
                break
            found.append(self.plain(item))
        return found

    def _name(self, key: Any) -> str:
        if type(key) is str:
            return key if key.isascii() else whole_characters(key)
        plain = self.plain(key)
        return plain if isinstance(plain, str) else encode(plain).decode()


def put(into: dict[str, Any], name: str, value: Any) -> None:
    """Sets a name that is free: underscores are added to one that is taken, so that neither value is lost."""
    while name in into:
        name += "_"
    into[name] = value


def model_fields(model: Any) -> Any:
    """A pydantic model's fields, as it would write them; as they are, where one of them has no JSON form."""
    try:
        return model.model_dump(mode="json")
    except Exception:  # noqa: BLE001 - pydantic's errors are not imported here, and serializers may raise anything
        return model.model_dump()


_short: Final = reprlib.Repr()
_short.maxlevel, _short.maxdict, _short.maxlist, _short.maxtuple, _short.maxset = 3, 20, 20, 20, 20
_short.maxstring = _short.maxother = 200


def _in_short(value: object) -> str:
    """For cycles and depths, where `repr` could take for ever."""
    return _short.repr(value)


def _non_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _bytes_text(value: bytes | bytearray | memoryview) -> str:
    content = bytes(value)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(content).decode("ascii")


def _spoken(how: Callable[[object], str], value: object) -> str:
    try:
        text = whole_characters(how(value))
    except Exception as error:  # noqa: BLE001 - the value's own __str__ or __repr__ runs here, and may raise anything
        kind = type(value)
        return f"<{kind.__module__}.{kind.__qualname__} whose {how.__name__}() raised {type(error).__name__}>"
    return text if len(text) <= _MAX_TEXT or how is str else text[:_MAX_TEXT] + "…"


_REPRESENTED: Final[tuple[tuple[type | tuple[type, ...], Callable[[_Walk, Any], Any]], ...]] = (
    (Enum, lambda walk, value: walk.plain(value.value)),
    (str, lambda walk, value: whole_characters(str.__str__(value))),
    (int, lambda walk, value: walk.plain(int(value))),
    (float, lambda walk, value: walk.plain(float(value))),
    (BaseException, lambda walk, value: exception_fields(value)),
    ((bytes, bytearray, memoryview), lambda walk, value: _bytes_text(value)),
    ((date, time), lambda walk, value: value.isoformat()),
    ((timedelta, tzinfo, Decimal, PurePath, UUID), lambda walk, value: str(value)),
)
