"""Patterns over text: globs for types, RE2 for messages. RE2 takes time linear in the text, whatever the pattern."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from madsci_event_server.errors import InvalidQuery, shown

MAX_REGEX_CHARACTERS: Final = 1000
_MAX_PATTERN_BYTES: Final = 2 * 1024 * 1024
"""What a compiled pattern may take. With RE2's own 8 MB some take over half a second to compile, and whoever else asks
the server waits for that."""


def compile_regex(
    pattern: str, field: str, *, ignore_case: bool = False, dot_all: bool = False, lines: bool = False
) -> Callable[[str], bool]:
    """Whether an RE2 pattern is anywhere in a text. Raises InvalidQuery with RE2's own reason."""
    search = _compiled(pattern, field, _flags(ignore_case=ignore_case, dot_all=dot_all, lines=lines)).search
    return lambda text: search(text.encode()) is not None


def regex_size(
    pattern: str, field: str, *, ignore_case: bool = False, dot_all: bool = False, lines: bool = False
) -> int:
    """How many instructions the pattern is made into. Raises as `compile_regex`."""
    flags = _flags(ignore_case=ignore_case, dot_all=dot_all, lines=lines)
    return int(_compiled(pattern, field, flags).programsize)


def _flags(*, ignore_case: bool, dot_all: bool, lines: bool) -> str:
    return "".join(letter for letter, on in (("i", ignore_case), ("s", dot_all), ("m", lines)) if on)


def _compiled(pattern: str, field: str, flags: str) -> Any:
    import re2  # heavy, and few queries have one

    if len(pattern) > MAX_REGEX_CHARACTERS:
        raise InvalidQuery(field, f"at most {MAX_REGEX_CHARACTERS} characters, got {len(pattern)}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_PATTERN_BYTES
    try:
        # Of bytes, as of a string re2 also computes where in it the match is: that takes as long again.
        return re2.compile((f"(?{flags}){pattern}" if flags else pattern).encode(), options)
    except UnicodeEncodeError:
        raise InvalidQuery(field, f"{shown(pattern)} holds half a surrogate pair, which is in no text") from None
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise InvalidQuery(
            field, f"{shown(pattern)} is not an RE2 pattern: {reason} (no look-around or back references)"
        ) from None


@lru_cache(maxsize=1024)
def _glob_pattern(glob: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in re.split(r"\*+", glob)))


def glob_matches(glob: str, value: str) -> bool:
    """Whether `value` is `glob`, in which `*` stands for anything."""
    return value == glob if "*" not in glob else _glob_pattern(glob).fullmatch(value) is not None
