"""A lock that lasts as long as the process that holds it, on every system: how the living are told from the dead."""

import contextlib
import os
import sys
from pathlib import Path

_BINARY = getattr(os, "O_BINARY", 0)

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def take_lock(path: Path, *, create: bool) -> int | None:
    """An open descriptor that holds the lock, or None where another holds it or the file is gone.

    Closing the descriptor gives it back, as does the end of the process, however it ends. Raises OSError where the
    file system refuses.
    """
    flags = os.O_RDWR | _BINARY | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        if create:
            raise
        return None
    held = False
    try:
        held = _try_lock(descriptor) and _is_still(path, descriptor)
    finally:
        if not held:
            os.close(descriptor)
    return descriptor if held else None


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file that was locked is the one of that name: its last holder may just have removed it."""
    with contextlib.suppress(FileNotFoundError):
        return sys.platform == "win32" or os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
