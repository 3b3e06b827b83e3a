"""Hostile text made visible: what a terminal, a mail header or a browser would obey is shown instead. Leaf.

Event text comes from any lab node. Control characters (ESC and line breaks among them), bidirectional marks and other
invisible format characters are replaced by something to look at; all else stays as it is.
"""

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_CONTROL_PICTURES = 0x2400
_DELETE = 0x7F


def visible(text: str, *, keep: str = "") -> str:
    """`text` on one line, safe to print; the characters in `keep` (such as a line feed) are left alone."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _picture(ord(found[0])), text)


def _picture(code: int) -> str:
    if code < ord(" "):
        return chr(_CONTROL_PICTURES + code)
    if code == _DELETE:
        return "\u2421"
    return f"<U+{code:04X}>"
