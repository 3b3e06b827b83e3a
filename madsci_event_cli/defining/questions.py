"""Asking a person at a terminal: one question at a time, each answer checked as it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

import typer

from madsci_event_cli.diagnostics import Diagnostics
from madsci_event_server.errors import InvalidInput

_T = TypeVar("_T")


@dataclass(frozen=True)
class Asker:
    """Asks on stderr and reads answers from stdin. Ctrl-C and the end of input raise `typer.Abort`."""

    diagnostics: Diagnostics
    answers: TextIO

    def ask(self, question: str, default: str, parse: Callable[[str], _T]) -> _T:
        """What `parse` makes of the answer; an empty one is the default. Where it raises InvalidInput, asks again."""
        shown = f"{question} [{default}]: " if default else f"{question}: "
        while True:
            try:
                return parse(self._line(shown).strip() or default)
            except InvalidInput as error:
                self.diagnostics.note(f"  {error.problem}")

    def secret(self, question: str) -> str:
        """An answer that is not shown."""
        with _Unseen(self.answers):
            answer = self._line(f"{question}: ")
        self.diagnostics.note("")
        return answer

    def _line(self, question: str) -> str:
        self.diagnostics.question(question)
        line = self.answers.readline()
        if not line:
            raise typer.Abort
        return line.rstrip("\r\n")


class _Unseen:
    """Keeps a terminal from showing what is typed; does nothing where the answers come from elsewhere."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._before: list[Any] | None = None

    def __enter__(self) -> None:
        try:
            import termios
        except ImportError:
            return  # Windows
        try:
            self._before = termios.tcgetattr(self._answers.fileno())
            hidden = list(self._before)
            hidden[3] &= ~termios.ECHO
            termios.tcsetattr(self._answers.fileno(), termios.TCSADRAIN, hidden)
        except (termios.error, OSError, ValueError):
            self._before = None  # no terminal, or none that can be told

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(self._answers.fileno(), termios.TCSADRAIN, self._before)
