"""The only writer of stderr: what is said about the work, never the work's result. And ExitCode, its shortest form."""

import contextlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TextIO

from madsci_event_cli.rendering import PALETTE, painted, visible


class ExitCode(IntEnum):
    """What a script can rely on. Documented in README; numbers never change their meaning."""

    OK = 0
    """Done; also when no event matched."""
    REFUSED = 1
    """The server said no, or there is no such event."""
    USAGE = 2
    """The command line is wrong; nothing was asked of the server."""
    UNREACHABLE = 3
    """No connection or no answer: the same command may work later."""
    NOT_ALLOWED = 4
    """The server wants credentials, or will not accept these."""
    INCOMPLETE = 5
    """With `--strict`: the answer is not all there is."""
    INTERRUPTED = 130
    """Ctrl-C."""


@dataclass(frozen=True)
class Diagnostics:
    """Says things on `stream`, each on one line that no event text can turn into terminal commands.

    `quiet` leaves only errors; `verbose` adds what was asked of which server.
    """

    stream: TextIO
    quiet: bool = False
    verbose: bool = False
    color: bool = False

    def error(self, text: str) -> None:
        """Why the command failed, with the way out."""
        self._write("error", text, "level.error")

    def warning(self, text: str) -> None:
        """What the user should know although the command goes on; not with `-q`."""
        if not self.quiet:
            self._write("warning", text, "level.warning")

    def note(self, text: str) -> None:
        """What is good to know: an answer that was cut, a server that listens; not with `-q`."""
        if not self.quiet:
            self._write(None, text, "dim")

    def detail(self, text: str) -> None:
        """What only `-v` shows."""
        if self.verbose and not self.quiet:
            self._write(None, text, "dim")

    def help(self, page: str) -> None:
        """A whole page, for who has asked for nothing that there is; with `-q`, too."""
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(f"{page.rstrip()}\n")
            self.stream.flush()

    def question(self, text: str) -> None:
        """A question, whose answer comes on the same line; with `-q`, too."""
        self.stream.write(self._paint(visible(text), "heading"))
        self.stream.flush()

    def asked(self, question: str, answers: TextIO) -> bool:
        """Whether the person at the terminal says yes; no answer is no."""
        self.stream.write(f"{visible(question)} [y/N] ")
        self.stream.flush()
        return answers.readline().strip().lower() in ("y", "yes")

    def _write(self, label: str | None, text: str, style: str) -> None:
        line = visible(text)
        prefix = "" if label is None else f"{self._paint(f'{label}:', style)} "
        with contextlib.suppress(OSError, ValueError):  # stderr is gone: there is nobody left to tell
            self.stream.write(f"{prefix}{line if label else self._paint(line, style)}\n")
            self.stream.flush()

    def _paint(self, text: str, style: str) -> str:
        return painted([(text, style)], PALETTE) if self.color else text
