"""How far behind the screen is, and how late events reach the server: two things easily taken for each other."""

import re
from collections import deque
from datetime import datetime, timedelta
from typing import Final

from madsci_event_cli.tui.rows import time_of

_RECEIVED = re.compile(rb'"received_at":"([^"]{27})","archived":')
_REMEMBERED: Final = 10


class Delays:
    """Measured on the newest event of each batch, against the server's clock as its beats tell it."""

    def __init__(self) -> None:
        self._server_ahead = timedelta()
        self._late: deque[float] = deque(maxlen=_REMEMBERED)

    def server_is_at(self, server_time: datetime, now: datetime) -> None:
        """Sets our clock by the server's."""
        self._server_ahead = server_time - now

    def of(self, raw: bytes, now: datetime) -> tuple[float, float] | tuple[None, None]:
        """Seconds since the server took this event, and the least by which events lately came late (or early)."""
        found = _RECEIVED.search(raw, max(len(raw) - 200, 0))
        if found is None:
            return None, None
        received = datetime.fromisoformat(found[1].decode())
        self._late.append((received - time_of(raw)).total_seconds())
        # One node that delivers what it had kept says nothing about the others.
        return max((now + self._server_ahead - received).total_seconds(), 0.0), min(self._late, key=abs)
