"""Text to words: the one tokenizer, for the stores' indexes and for `EventQuery.matches` alike.

A word is a run of letters and digits after Unicode NFKC and case folding; `workflow_start` is two words.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from madsci_event_server.errors import InvalidQuery, shown

TEXT_CHARACTERS = 4096
"""How much of each text is searched; the rest of a longer one is kept but has no words."""

_ASCII_WORDS_APART = bytes(
    ord(character.lower()) if character.isalnum() else ord(" ") for character in map(chr, range(128))
) + bytes(128)
"""What each ASCII character becomes before a text is split at spaces: some times faster than a pattern."""
_WORD = re.compile(r"[^\W_]+")
_MAX_SEARCH_CHARACTERS = 1000


def words(text: str) -> list[str]:
    """The words of the first 4,096 characters of `text`, in order, repeats included."""
    text = text[:TEXT_CHARACTERS]
    if text.isascii():
        return _ascii_words(text)
    # Case folding can undo composition (U+0130 does), hence the second NFKC.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _WORD.findall(folded)


def distinct_words(texts: Sequence[str]) -> frozenset[str]:
    """The words that occur in any of `texts`, each text cut at 4,096 characters."""
    text = joined(texts)
    if text.isascii():
        return frozenset(_ascii_words(text))
    return frozenset(word for text in texts for word in words(text))


def joined(texts: Sequence[str]) -> str:
    """One text of those, each cut at 4,096 characters; no word goes from one into the next."""
    text = "\n".join(texts)
    if len(text) <= TEXT_CHARACTERS:
        return text
    return "\n".join([text if len(text) <= TEXT_CHARACTERS else text[:TEXT_CHARACTERS] for text in texts])


def _ascii_words(text: str) -> list[str]:
    return text.encode("ascii").translate(_ASCII_WORDS_APART).decode("ascii").split()


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that must all occur, the last one possibly only as a beginning: `liquid-hand*`."""

    whole: tuple[str, ...]
    prefix: str | None = None

    def matches(self, found: frozenset[str]) -> bool:
        """Whether every whole word is in `found`, and some word there begins with the prefix."""
        if not all(word in found for word in self.whole):
            return False
        return self.prefix is None or any(word.startswith(self.prefix) for word in found)


@dataclass(frozen=True, slots=True)
class Search:
    """A parsed `search` filter: all of `wanted`, none of `excluded`."""

    wanted: tuple[Phrase, ...]
    excluded: tuple[Phrase, ...]

    def matches(self, found: frozenset[str]) -> bool:
        """Whether an event with these distinct words is meant."""
        return all(phrase.matches(found) for phrase in self.wanted) and not any(
            phrase.matches(found) for phrase in self.excluded
        )


@lru_cache(maxsize=256)
def parse_search(text: str) -> Search:
    """`tip pickup -retry liq*` as a Search. Raises InvalidQuery for a term without letters or digits."""
    if len(text) > _MAX_SEARCH_CHARACTERS:
        raise InvalidQuery("search", f"at most {_MAX_SEARCH_CHARACTERS} characters, got {len(text)}", value=text)
    wanted: list[Phrase] = []
    excluded: list[Phrase] = []
    for term in text.split():
        phrase = _phrase(term.removeprefix("-"))
        (excluded if term.startswith("-") else wanted).append(phrase)
    if not wanted and not excluded:
        raise InvalidQuery("search", "is empty; give at least one word, or leave it out", value=text)
    return Search(tuple(wanted), tuple(excluded))


def _phrase(term: str) -> Phrase:
    found = words(term)
    if not found:
        raise InvalidQuery("search", f"{shown(term)} holds no letter or digit, so no word; quote nothing, use words")
    if term.endswith("*") and len(term) > 1 and _ends_in_word(term[:-1]):
        return Phrase(tuple(found[:-1]), found[-1])
    return Phrase(tuple(found))


def _ends_in_word(text: str) -> bool:
    return bool(text) and text[-1].isalnum()
