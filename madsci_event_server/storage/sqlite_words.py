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


def indexed_text(event: Event) -> str:
    """What the index reads of an event. Where all is ASCII, its tokenizer finds our words, repeats apart."""
    texts: list[str] = []
    marks: set[str] = set()
    _collect(event.data, "", texts, marks)
    if event.message not in texts:
        texts.append(event.message)
    texts.append(event.kind)
    if event.name is not None:
        texts.append(event.name)
    text = joined(texts)
    return " ".join([text, *marks] if text.isascii() else [*distinct_words(texts), *marks])


def _collect(value: Any, name: str, texts: list[str], marks: set[str]) -> None:
    kind = type(value)
    if kind is dict:
        for inner_name, inner in value.items():
            marks.add(name_mark(inner_name))
            if type(inner) is str:
                texts.append(inner)
            elif inner is not None:
                _collect(inner, inner_name, texts, marks)
    elif kind is list:
        for inner in value:
            _collect(inner, name, texts, marks)
    elif kind is str:
        texts.append(value)
    elif value is not None:
        marks.add(value_mark(name, value))


@lru_cache(maxsize=4096)
def name_mark(name: str) -> str:
    """The mark of an object's member of this name, whatever it holds."""
    return f"{_NAME}{crc32(name.encode('utf-8', 'surrogatepass')):x}"


@lru_cache(maxsize=4096, typed=True)
def value_mark(name: str, value: float) -> str:
    """The mark of a number or truth value under a name, itself or in an array: 1 and 1.0 are one, true is another."""
    text = f"{name}={value}" if isinstance(value, bool) else f"{name}={value + 0.0!r}"
    return f"{_VALUE}{crc32(text.encode('utf-8', 'surrogatepass')):x}"


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
