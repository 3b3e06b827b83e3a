"""Splitting a streamed body into its items, in bounded memory, without parsing them: an array's, or one a line.

An item that is no JSON does not spoil the next: lines end at line ends, and items of an array where brackets balance.
"""

import re
from collections.abc import Iterator
from typing import Final, Protocol

from madsci_event_server.errors import InvalidInput, TooLarge
from madsci_event_server.judging import SPACE, Item, Lines

# Possessive: what matched is never tried again, so time is linear in the body and no stack grows with it.
_STRING_INSIDE = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_STRING_REST = re.compile(_STRING_INSIDE, re.DOTALL)
_WITHIN_ITEM = re.compile(rb'(?:[^"\[\]{}]++|"%s")*+' % _STRING_INSIDE, re.DOTALL)
"""All up to the next bracket, strings included: or up to a string that this chunk does not end."""
_BETWEEN_ITEMS = re.compile(rb'(?:[^"\[\]{},]++|"%s")*+' % _STRING_INSIDE, re.DOTALL)
"""The same, up to the next comma too."""
_MAX_LINES: Final = 256
"""How many lines are left together: a chunk may hold ten thousand of a few bytes."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Splitter(Protocol):
    """Takes a body chunk by chunk."""

    def feed(self, chunk: bytes) -> Iterator[Item | Lines]:
        """The items that this chunk completes."""

    def finish(self) -> Iterator[Item]:
        """What is left when the body ends: a last item, or one that says how the body is not whole."""


class BatchSplitter:
    """A JSON array where the first character is `[`, else one JSON text a line."""

    def __init__(self, max_item_bytes: int) -> None:
        self._max_item_bytes = max_item_bytes
        self._splitter: Splitter | None = None
        self._begin = b""

    def feed(self, chunk: bytes) -> Iterator[Item | Lines]:
        """The items that this chunk completes."""
        if self._splitter is None:
            chunk = (self._begin + chunk).removeprefix(_BYTE_ORDER_MARK).lstrip(SPACE)
            self._begin = chunk
            if not chunk or _BYTE_ORDER_MARK.startswith(chunk):
                return
            kind = ArraySplitter if chunk.startswith(b"[") else LineSplitter
            self._splitter = kind(self._max_item_bytes)
        yield from self._splitter.feed(chunk)

    def finish(self) -> Iterator[Item]:
        """A last item, or one that says how the body is not whole."""
        if self._splitter is None:
            yield Item(0, b"", InvalidInput("body", "is empty; send a JSON array of events, or one event a line"))
        else:
            yield from self._splitter.finish()


class LineSplitter:
    """Newline-delimited JSON; blank lines are no items."""

    def __init__(self, max_item_bytes: int) -> None:
        self._max = max_item_bytes
        self._begin = bytearray()
        """Of a line that its chunk does not end; no more of it than is taken, and one byte."""
        self._index = 0

    def feed(self, chunk: bytes) -> Iterator[Item | Lines]:
        """The lines that this chunk completes."""
        end = chunk.rfind(b"\n")
        if end >= 0:
            yield from self._whole(bytes(self._begin) + chunk[:end])
            self._begin.clear()
        rest = chunk[end + 1 :]
        self._begin += rest[: self._max + 1 - len(self._begin)]

    def _whole(self, lines: bytes) -> Iterator[Item | Lines]:
        count = lines.count(b"\n") + 1
        if count <= _MAX_LINES and lines[:1] == b"{" and lines.count(b"\n{") == count - 1 and len(lines) <= self._max:
            # None is blank or too large: that is all to be known of them here.
            yield Lines(self._index, count, lines)
            self._index += count
            return
        for line in lines.split(b"\n"):
            if item := self._item(line):
                yield item

    def finish(self) -> Iterator[Item]:
        """A last line without its line end."""
        if item := self._item(bytes(self._begin)):
            yield item

    def _item(self, line: bytes) -> Item | None:
        if len(line) > self._max:
            item = Item(self._index, b"", _too_large(self._max))
        elif body := line.strip(SPACE):
            item = Item(self._index, body)
        else:
            return None
        self._index += 1
        return item


class ArraySplitter:
    """The items of one JSON array, by its commas at depth one."""

    def __init__(self, max_item_bytes: int) -> None:
        self._max = max_item_bytes
        self._item = bytearray()
        self._size = 0
        self._index = 0
        self._depth = 0
        self._in_string = self._escaped = False
        self._ended = self._after_comma = self._closed_wrongly = False

    def feed(self, chunk: bytes) -> Iterator[Item]:
        """The items that this chunk completes."""
        if not chunk:
            return
        start = 0
        at = self._string_end(chunk, 1 if self._escaped else 0) if self._in_string else 0
        while not self._in_string and not self._ended:
            passed = (_WITHIN_ITEM if self._depth > 1 else _BETWEEN_ITEMS).match(chunk, at)
            at = len(chunk) if passed is None else passed.end()
            if at == len(chunk):
                break
            mark, at = chunk[at], at + 1
            if mark == _QUOTE:
                at = self._string_end(chunk, at)
            elif mark in _OPENING:
                self._depth += 1
                if self._depth == 1:
                    start = at
            elif mark in _CLOSING and self._depth > 1:
                self._depth -= 1
            elif self._depth == 1:
                self._add(chunk[start : at - 1])
                start = at
                self._closed_wrongly = mark == _BRACE
                yield from self._take(last=mark != _COMMA)
        self._add(chunk[start:])

    def finish(self) -> Iterator[Item]:
        """One item when the array was not closed, or was followed by something."""
        if not self._ended:
            problem = InvalidInput("body", "ends before the array's closing ]; send the rest again, from this item on")
            yield Item(self._index, b"", problem)
        elif self._closed_wrongly:
            yield Item(self._index, b"", InvalidInput("body", "has a } where the array's closing ] belongs"))
        elif self._size:
            problem = InvalidInput("body", "goes on after the array's closing ]; send one array")
            yield Item(self._index, b"", problem)

    def _add(self, part: bytes) -> None:
        if not self._size:
            part = part.lstrip(SPACE)
        self._size += len(part)
        if self._size <= self._max:
            self._item += part

    def _take(self, *, last: bool) -> Iterator[Item]:
        body, size = bytes(self._item).rstrip(SPACE), self._size
        self._item.clear()
        self._size = 0
        self._ended = last
        if size > self._max:
            yield Item(self._index, b"", _too_large(self._max))
        elif body:
            yield Item(self._index, body)
        elif not last or self._after_comma:
            yield Item(self._index, b"", InvalidInput("body", "has a comma without an event; remove it"))
        else:
            return  # an empty array
        self._after_comma = not last
        self._index += 1

    def _string_end(self, chunk: bytes, at: int) -> int:
        """Where the string that `at` is inside of has ended; the chunk's end if it goes on in the next."""
        inside = _STRING_REST.match(chunk, at)
        end = len(chunk) if inside is None else inside.end()
        # What ends it before the chunk does is its quote, or a backslash that is the chunk's last byte.
        self._in_string = end == len(chunk) or chunk[end] != _QUOTE
        self._escaped = self._in_string and end < len(chunk)
        return len(chunk) if self._in_string else end + 1


_QUOTE, _COMMA, _BRACE = b'",}'
_OPENING: Final = frozenset(b"[{")
_CLOSING: Final = frozenset(b"]}")


def _too_large(limit: int) -> TooLarge:
    return TooLarge("event", f"is larger than {limit} bytes; send less, or raise EVENT_MAX_EVENT_BYTES")
