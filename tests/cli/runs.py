"""The command line, run: in this process with streams to look at, or as a process of its own."""

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from madsci_event_cli.main import run

COMMAND = (sys.executable, "-m", "madsci_event_cli")


@dataclass(frozen=True)
class Ran:
    """What came of a run."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.out.splitlines()


class Terminal(io.StringIO):
    """A stdin or stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run_here(
    *arguments: str, server: str = "", environment: Mapping[str, str] | None = None, stdin: io.StringIO | None = None
) -> Ran:
    """Runs a command line in this process. Whatever is no expected failure is raised here."""
    return run_with(arguments, {"EVENT_SERVER_URL": server, "TZ": "UTC", **(environment or {})}, stdin or io.StringIO())


def run_with(
    arguments: Sequence[str], environment: Mapping[str, str], stdin: io.StringIO, stderr: io.StringIO | None = None
) -> Ran:
    """The same with every stream given."""
    out, err = io.BytesIO(), stderr or io.StringIO()
    code = run(arguments, environment, stdin, out, err)
    return Ran(code, out.getvalue().decode(), err.getvalue())
