"""`/`: a text looked for in messages, as it is typed; capitals count only where the text has any."""

import re
from typing import Any, Final

from madsci_event_cli.rendering import parse_event, visible
from madsci_event_cli.tui.narrowing import changed
from madsci_event_server.query import EventQuery

_PLAIN = re.compile(rb"[A-Za-z0-9 _-]+")
_LONGEST: Final = 200


class Found:
    """A text to be found."""

    def __init__(self, text: str) -> None:
        self.text = text[:_LONGEST]
        self._ignore_case = self.text == self.text.lower()
        flags = re.IGNORECASE if self._ignore_case else 0
        self.pattern = re.compile(re.escape(visible(self.text)), flags)
        """Finds it in what the screen shows."""
        self._in_message = re.compile(re.escape(self.text), flags)
        # Parsing an event costs fifty times as much as looking whether it could match at all.
        self._probe = max(_PLAIN.findall(self.text.encode()), key=len, default=b"").lower()

    def matches(self, raw: bytes) -> bool:
        """Whether an event's message holds it."""
        return self._probe in raw.lower() and self._in_message.search(parse_event(raw).message) is not None

    @property
    def regex(self) -> str:
        """The same as an RE2 pattern."""
        return f"{'(?i)' if self._ignore_case else ''}{re.escape(self.text)}"


def search_query(query: EventQuery, found: Found) -> EventQuery | None:
    """The query for what holds the text; None where it has a pattern already, and can have no second."""
    narrowed: dict[str, Any] = {"regex": found.regex}
    return None if query.regex is not None else changed(query, **narrowed)
