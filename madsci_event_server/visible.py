"""Hostile text made visible: what a terminal, a mail header or a browser would obey is shown instead. Leaf.

Event text comes from any lab node. Control characters (ESC and line breaks among them), bidirectional marks and other
invisible format characters are replaced by something to look at; all else stays as it is.
"""

import re
from typing import Final

HOSTILE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: what terminals obey
    "\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, or reorders text
    "\u2028\u2029\ud800-\udfff\U000e0000-\U000e0fff]"  # line separators, halves of characters, invisible tags
)
"""What must reach no reader as it is. Joiners stay: scripts and emoji need them, and they move nothing."""

_PICTURES: Final = {"\n": "⏎", "\r": "␍", "\t": "⇥", "\x7f": "␡"} | {
    chr(code): chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\r\t"
}


def visible(text: str) -> str:
    """`text` on one line that a terminal shows and never obeys: `⏎` for a line break, `␛` for ESC, `\\u202e` ..."""
    return text if text.isascii() and text.isprintable() else HOSTILE.sub(_as_seen, text)


def _as_seen(found: re.Match[str]) -> str:
    character = found[0]
    picture = _PICTURES.get(character)
    if picture is not None:
        return picture
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
