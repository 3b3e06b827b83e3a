"""Ids of events: ULIDs, made without a lock and without loading anything.

Not by python-ulid: importing that loads pydantic, which costs a log command more than everything else it does. Without
a lock, as a signal handler may log in the middle of a log call.
"""

import itertools
import os
import time
from collections.abc import Iterator
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_RANDOM_BITS: Final = 80


def new_event_id() -> str:
    """A new ULID. Those of one process never repeat, and of one millisecond sort as they were made."""
    number = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << _RANDOM_BITS | next(_numbers)
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


_SHIFTS: Final = tuple(range(120, -1, -10))


def _reseed() -> None:
    """Numbers of one's own: a forked process must not go on with its parent's."""
    global _numbers
    # The top bit stays free, so that counting up never overflows into the time.
    _numbers = itertools.count(int.from_bytes(os.urandom(_RANDOM_BITS // 8)) >> 1)


_numbers: Iterator[int]
_reseed()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed)
