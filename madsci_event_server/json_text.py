"""JSON in and out, exactly: what is parsed comes back equal, and what JSON or we cannot hold is refused in words.

Parsing is stricter than Python's (RFC 8259 says names SHOULD be unique; here they must be) and, like MADSci's, takes
the NaN and Infinity that Python clients send. `tidy` then turns those into the strings JSON can carry.
"""

import json
import math
from collections.abc import Iterable
from operator import is_
from typing import Any, Final

import orjson

from madsci_event_server.errors import InvalidInput

MAX_NESTING = 64
MAX_INTEGER_DIGITS = 4300
"""What Python itself converts by default; longer ones are a known way to keep a server busy."""

_INT64 = 2**63
_ONLY_DIGITS: Final = bytes(ord("0") if chr(byte).isdecimal() and byte < 128 else ord(" ") for byte in range(256))
_NINETEEN_DIGITS: Final = b"0" * 19

DOUBTFUL: Final = object()
"""What `parse_tidy` answers instead of a value."""


def parse_json(body: bytes | str, field: str = "body") -> Any:
    """The value of one JSON text. Raises InvalidInput that names `field` and says where the text is wrong."""
    try:
        text = body if isinstance(body, str) else body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(field, f"is not UTF-8 text (byte {error.start}); send JSON as UTF-8") from None
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        if not text.strip():
            raise InvalidInput(field, "is empty; send JSON") from None
        raise InvalidInput(
            field, f"is not JSON: {error.msg}, at line {error.lineno} column {error.colno}", value=text
        ) from None
    except RecursionError:
        raise InvalidInput(field, _too_deep()) from None
    except ValueError as error:  # int() of too many digits
        if "digits" not in str(error):
            raise
        raise InvalidInput(
            field, f"holds an integer of more than {MAX_INTEGER_DIGITS} digits; send it as a string"
        ) from None


def parse_tidy(body: bytes) -> Any:
    """What `tidy(parse_json(body))` is, at less than half its cost; DOUBTFUL where only those two can tell.

    DOUBTFUL is whatever is no JSON, and what is not tidy, too deep, has a name twice or a number of 19 digits; the last
    not where the text is just as we would write it.
    """
    return parse_tidy_beside(body, None)[0]


def parse_tidy_beside(body: bytes, member: str | None) -> tuple[Any, bytes | None]:
    """`parse_tidy(body)`, and beside it what `encode_queryable` gives of this member of the object it may be.

    To know that no name is there twice it is written again anyway; most programs send just what that gives. None also
    where there is no such member.
    """
    try:
        value = orjson.loads(body)
        again, written = _encode_beside(value, member)
    except (ValueError, TypeError):  # NaN, lone surrogates and all that `parse_json` refuses
        return DOUBTFUL, None
    if again != body and _may_say_more(body, again):
        return DOUBTFUL, None
    if body.count(b"{") + body.count(b"[") > MAX_NESTING and not _nested_within(value, MAX_NESTING):
        return DOUBTFUL, None
    return value, written


def _may_say_more(body: bytes, again: bytes) -> bool:
    """Whether a text may hold what is lost in the one that its value was written as again."""
    if (b"\\" in body and b"\\u0022" in body) or _NINETEEN_DIGITS in body.translate(_ONLY_DIGITS):
        return True  # orjson reads integers beyond 64 bits as doubles
    # Of a name that is there twice orjson keeps the last: the quotes of the other are missing when it is written again.
    return again.count(b'"') != body.count(b'"')


def _encode_beside(value: Any, member: str | None) -> tuple[bytes, bytes | None]:
    """A value just parsed as JSON, and what `encode_queryable` gives of one member of it."""
    if type(value) is not dict or member not in value:
        return orjson.dumps(value), None
    inner = value[member]
    written = encode_queryable(inner)
    if written is None:
        return orjson.dumps(value), None
    value[member] = orjson.Fragment(written)
    try:
        return orjson.dumps(value), written
    finally:
        value[member] = inner


def _nested_within(value: Any, levels: int) -> bool:
    """Whether no array or object is deeper than that, looked at level by level."""
    here = [value] if type(value) is dict or type(value) is list else []
    while here and levels:
        levels -= 1
        here = [
            item
            for holder in here
            for item in (holder.values() if type(holder) is dict else holder)
            if type(item) is dict or type(item) is list
        ]
    return not here


def parse_stored(body: bytes) -> Any:
    """The value of bytes that `encode_json` wrote: unchecked, and several times faster than `parse_json`."""
    # orjson reads integers beyond 64 bits as doubles; those take the slow way.
    return json.loads(body) if _NINETEEN_DIGITS in body.translate(_ONLY_DIGITS) else orjson.loads(body)


def encode_json(value: object) -> bytes:
    """Compact UTF-8 JSON of a tidy value; integers of any size are kept exactly."""
    try:
        return orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits, which orjson refuses
        return _encoder.encode(value).encode()


def tidy(value: Any, field: str, depth: int = 0) -> Any:
    """`value` as every answer carries it: NaN and infinities as strings, lone surrogates as U+FFFD.

    Takes JSON values only. Returns the same object where nothing had to change. Raises InvalidInput for nesting
    beyond 64 and for two names that become one.
    """
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _whole_characters(value)
    if kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else _non_finite(value)
    if depth >= MAX_NESTING:
        raise InvalidInput(field, _too_deep())
    if kind is dict:
        return _tidy_object(value, field, depth + 1)
    if kind is list:
        return _tidy_array(value, field, depth + 1)
    raise InvalidInput(field, f"holds a {kind.__name__}, which is not JSON", value=value)


def encode_queryable(value: object) -> bytes | None:
    """`encode_json(value)` where `queryable` would change nothing in it, else None; None also in some doubtful cases.

    Costs no more than the encoding.
    """
    try:
        body = orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)
    except TypeError:  # an integer beyond 53 bits
        return None
    return None if b"\\" in body and b"\\u0000" in body else body


def queryable(value: Any) -> Any:
    """The one form of a tidy value that filters see, the same for every store.

    Integers beyond 64 bits become doubles (beyond a double's range: the strings for infinities), NUL becomes U+2400.
    Returns the same object where nothing had to change.
    """
    kind = type(value)
    if kind is str:
        return value.replace("\0", "␀") if "\0" in value else value
    if kind is int:
        return value if -_INT64 <= value < _INT64 else _as_double(value)
    if kind is dict:
        items = [queryable(item) for item in value.values()]
        if all(map(is_, items, value.values())) and "\0" not in "".join(value):
            return value
        return dict(zip(map(queryable, value), items, strict=True))
    if kind is list:
        items = [queryable(item) for item in value]
        return value if all(map(is_, items, value)) else items
    return value


def _tidy_object(value: dict[str, Any], field: str, depth: int) -> dict[str, Any]:
    items = _tidy_items(value.values(), field, depth)
    names = [name if type(name) is str and name.isascii() else _tidy_name(name, field) for name in value]
    if all(map(is_, items, value.values())) and all(map(is_, names, value)):
        return value
    clean = dict(zip(names, items, strict=True))
    if len(clean) != len(value):
        raise InvalidInput(field, "has two names that are the same once lone surrogates are replaced; rename one")
    return clean


def _tidy_name(name: object, field: str) -> str:
    if type(name) is not str:
        raise InvalidInput(field, f"holds the name {name!r}, which is not JSON", value=name)
    return name if name.isascii() else _whole_characters(name)


def _tidy_array(value: list[Any], field: str, depth: int) -> list[Any]:
    items = _tidy_items(value, field, depth)
    return value if all(map(is_, items, value)) else items


def _tidy_items(items: Iterable[Any], field: str, depth: int) -> list[Any]:
    # Most are tidy at a glance; a call for each would take most of the time.
    return [
        item
        if (kind := type(item)) is int or kind is bool or item is None or (kind is str and item.isascii())
        else tidy(item, field, depth)
        for item in items
    ]


def _whole_characters(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 cannot carry; the same object when it has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def _non_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _as_double(value: int) -> float | str:
    try:
        return float(value)
    except OverflowError:
        return "Infinity" if value > 0 else "-Infinity"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidInput(_first_repeated(pairs), "is there twice in one JSON object; send it once")
    return found


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    raise AssertionError("called for pairs without a repeated name")


def _too_deep() -> str:
    return f"is nested more than {MAX_NESTING} levels deep; flatten it, or send the inner part as a string"


_ABSENT = object()
_decoder = json.JSONDecoder(object_pairs_hook=_object)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
