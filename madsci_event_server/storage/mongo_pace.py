"""How fast a server commits itself: while it does so all the time, its own commits tell it of those of others."""

import time
from collections import deque
from typing import Final

_COMMITS: Final = 4
_SECONDS: Final = 0.08


class Pace:
    """Whether `_COMMITS` were made in the last `_SECONDS`."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_COMMITS)

    def step(self) -> None:
        """One more commit, now."""
        self._times.append(time.monotonic())

    def is_fast(self) -> bool:
        """As the class says."""
        return len(self._times) == _COMMITS and time.monotonic() - self._times[0] < _SECONDS
