"""What the full-text index holds of an event: its words, and marks of what `event_data` has under which name.

The words are those `search` looks for, and decide it. The marks are for selectors: one for each name at any depth,
one for each number or truth value with the name it stands under. They are hashes, so they only narrow a search down.
A mark begins with a sign that no word has; the index's tokenizer leaves both as they are.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

from madsci_event_server.event import Event
from madsci_event_server.words import Phrase, Search, distinct_words, joined, words

_NAME: Final = "§"
_VALUE: Final = "¶"
_MAX_KNOWN_CHARACTERS: Final = 1_000_000
"""How much of names and their marks is kept in memory."""
_SHORT_NAME: Final = 64
"""Marks are remembered by names of at most so many characters: a name may have a million."""


def indexed_text(event: Event) -> bytes:
    """What the index reads of an event, UTF-8. Where all is ASCII, its tokenizer finds our words, repeats apart."""
    texts: list[str] = []
    marks: set[str] = set()
    _collect(event.data, "", texts, marks)
    message, name = event.message, event.name
    if message not in texts:
        texts.append(message)
    texts.append(event.kind)
    if name is not None:
        texts.append(name)
    text = joined(texts)
    return " ".join([text, *marks] if text.isascii() else [*distinct_words(texts), *marks]).encode()


def _collect(value: Any, name: str, texts: list[str], marks: set[str]) -> None:
    kind = type(value)
    if kind is dict:
        marks.add(_known_names.marks(tuple(value)))
        for inner_name, inner in value.items():
            inner_kind = type(inner)
            if inner_kind is str:
                texts.append(inner)
            elif inner_kind is dict or inner_kind is list:
                _collect(inner, inner_name, texts, marks)
            elif inner is not None:
                marks.add(value_mark(inner_name, inner))
    elif kind is list:
        for inner in value:
            _collect(inner, name, texts, marks)
    elif kind is str:
        texts.append(value)
    elif value is not None:
        marks.add(value_mark(name, value))


class _KnownNames:
    """The marks of the names of an object. Programs send objects of few shapes, again and again."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, ...], str] = {}
        self._characters = 0

    def marks(self, names: tuple[str, ...]) -> str:
        """The marks of these names, in one text."""
        found = self._marks.get(names)
        if found is None:
            found = " ".join(map(name_mark, names))
            self._characters += sum(map(len, names)) + len(found)
            if self._characters > _MAX_KNOWN_CHARACTERS:
                self._marks.clear()
                self._characters = 0
            else:
                self._marks[names] = found
        return found


_known_names: Final = _KnownNames()


def name_mark(name: str) -> str:
    """The mark of an object's member of this name, whatever it holds."""
    return f"{_NAME}{crc32(name.encode('utf-8', 'surrogatepass')):x}"


def value_mark(name: str, value: float) -> str:
    """The mark of a number or truth value under a name, itself or in an array: 1 and 1.0 are one, true is another."""
    return _short_value_mark(name, value) if len(name) <= _SHORT_NAME else _value_mark(name, value)


def _value_mark(name: str, value: float) -> str:
    text = f"{name}={value}" if isinstance(value, bool) else f"{name}={value + 0.0!r}"
    return f"{_VALUE}{crc32(text.encode('utf-8', 'surrogatepass')):x}"


_short_value_mark: Final = lru_cache(maxsize=4096, typed=True)(_value_mark)


# --- What the index is asked, in its language ---


def search_expression(search: Search) -> str:
    """What finds exactly the events that a search with wanted words means."""
    wanted = all_of(_phrase(phrase) for phrase in search.wanted)
    if not search.excluded:
        return wanted
    return f"({wanted} NOT {any_of([_phrase(phrase) for phrase in search.excluded])})"


def text_expression(text: str) -> str | None:
    """What finds the events that hold this text; None where it has no words."""
    found = sorted(set(words(text)))
    return all_of(quoted(word) for word in found) if found else None


def quoted(token: str) -> str:
    """One word or mark."""
    return f'"{token}"'


def all_of(expressions: Iterable[str]) -> str:
    """Events that each of at least one expression finds."""
    return f"({' AND '.join(expressions)})"


def any_of(expressions: Sequence[str]) -> str:
    """Events that any of at least one expression finds."""
    return f"({' OR '.join(expressions)})"


def _phrase(phrase: Phrase) -> str:
    parts = [quoted(word) for word in phrase.whole]
    if phrase.prefix is not None:
        parts.append(f"{quoted(phrase.prefix)}*")
    return all_of(parts)
