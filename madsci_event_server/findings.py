"""What a look at something found, and the command that mends it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and something about it may surprise."""
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report."""

    check: str
    """What was looked at, in a word."""
    verdict: Verdict
    message: str
    remedy: str = ""
    """What to do, a command where there is one."""


def fine(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, message)


def warning(check: str, message: str, remedy: str = "") -> Finding:
    """It works, but."""
    return Finding(check, Verdict.WARNING, message, remedy)


def failure(check: str, message: str, remedy: str = "") -> Finding:
    """It does not work."""
    return Finding(check, Verdict.FAILURE, message, remedy)
