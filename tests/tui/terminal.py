"""The dashboard on a pseudo-terminal of its own, as an operator starts it; what it writes, byte for byte."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from types import TracebackType
from typing import Self

from tests.processes import WAIT_SECONDS

QUIET_SECONDS = 1.5
"""A screen that has said nothing for so long has drawn all it had to draw."""


class Terminal:
    """`sh -c COMMAND` on a terminal; `{tui}` in it is the command that starts the dashboard."""

    def __init__(self, command: str, *, columns: int = 120, lines: int = 40) -> None:
        self._main, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command.format(tui=f"{sys.executable} -m madsci_event_cli tui")],
            stdin=child,
            stdout=child,
            stderr=child,
            env=os.environ | {"TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        if self._main >= 0:
            os.close(self._main)

    def read_until(self, *texts: str) -> bytes:
        """What it writes until all these texts were written, in whatever order. Raises TimeoutError.

        One call for what one screen shows: what was read with one text is not read again for the next.
        """
        found = b""
        while missing := [text for text in texts if text.encode() not in found]:
            if not select.select([self._main], [], [], WAIT_SECONDS)[0]:
                raise TimeoutError(f"no {missing} in {found[-2000:]!r}")
            found += os.read(self._main, 65_536)
        return found

    def read_until_quiet(self) -> bytes:
        """What it writes until it has nothing more to draw."""
        found, deadline = b"", time.monotonic() + WAIT_SECONDS
        while select.select([self._main], [], [], QUIET_SECONDS)[0] and time.monotonic() < deadline:
            found += os.read(self._main, 65_536)
        return found

    def hang_up(self) -> None:
        """Goes away, as a window that is closed; returns once the program has ended. Raises TimeoutExpired."""
        os.close(self._main)
        self._main = -1
        self._process.wait(WAIT_SECONDS)

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self._main, keys.encode())


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
