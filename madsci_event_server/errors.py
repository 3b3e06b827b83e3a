"""Every exception this project raises on purpose, and what a caller can do about each.

MadsciEventsError
|-- InvalidInput             the sender can mend it: names the field, the value and the way out (422)
|   |-- InvalidEvent         an event that section "The event" of README does not allow
|   |-- InvalidQuery         a filter, parameter or cursor that has no meaning
|   |   `-- SelectorNotSupported   an operator outside the named subset, or one that would run code
|   |-- InvalidSettings      an environment variable, flag or definition that cannot be used
|   |   `-- InvalidDefinition  a definition file, with the line of everything that is wrong in it
|   `-- TooLarge             a body over the limit (413)
|-- OriginNotAllowed         a page of another site may not do this (403)
|-- NotFound                 there is no such event, alert ... (404)
|-- Ambiguous                part of an id that fits several (409)
|-- CursorExpired            a cursor from another store, or of rows that are gone (410)
|-- NotOffered               a MADSci route this server answers in words only (501)
|-- Overloaded               too much is waiting already; try again after a moment (503)
|-- QueryTimedOut            the query ran past its time limit; narrow it (503)
|-- CannotServe              the address cannot be listened on: in use, not ours, or its certificate is no good
|-- MailNotTaken             a mail server did not take a mail: the text says why and how to mend it
|-- StoreError               the database cannot do it now
|   |-- StoreUnavailable     away, locked, read-only, full: comes back by itself, retry (503)
|   `-- StoreUnusable        will not come back by itself: not a database, a newer version, in use by another server
`-- ServerError              what a client sees of a server
    |-- ServerUnreachable    no connection or no answer: retry later
    |-- ServerRefused        the server said no (4xx, 5xx); `status` and its reason
    |   `-- NotAllowed       401 or 403
    `-- UnexpectedAnswer     an answer that is not this API's: probably another service on that address

Catch in three places only: `api/problems.py`, the CLI's `main.py`, the dashboard's feed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SHOWN_VALUE_CHARACTERS = 80


class MadsciEventsError(Exception):
    """The root: everything raised on purpose is one of these, everything else is a bug."""


class InvalidInput(MadsciEventsError):
    """`field` holds something that cannot be used; the text says what and the way out.

    `field` is the dotted path a sender would write (`source.node_id`, `log_level`, `selector.$where`).
    """

    def __init__(self, field: str, problem: str, *, value: object = None) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem
        self.value = value


class InvalidEvent(InvalidInput):
    """An event that cannot be stored as it was sent."""


class InvalidQuery(InvalidInput):
    """A filter or parameter that has no meaning; nothing was searched."""


class SelectorNotSupported(InvalidQuery):
    """A selector operator outside the named subset; the text names it and what to use."""


class InvalidSettings(InvalidInput):
    """A setting, flag or definition that cannot be used; `field` says where it came from."""


@dataclass(frozen=True, slots=True)
class DefinitionProblem:
    """One thing wrong in a definition file."""

    path: Path
    line: int | None
    field: str
    """`email_alerts.smtp_port`; "" where it is the file itself."""
    problem: str
    """What is wrong, and the way out."""

    def __str__(self) -> str:
        where = f"{self.path}" if self.line is None else f"{self.path}:{self.line}"
        return f"{where}: {self.field}: {self.problem}" if self.field else f"{where}: {self.problem}"


class InvalidDefinition(InvalidSettings):
    """A definition file that cannot be used; `problems` are all that was found, the text is the first of them."""

    def __init__(self, problems: Sequence[DefinitionProblem]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more: madsci-events manager validate {first.path})" if problems[1:] else ""
        super().__init__("", f"{first}{more}")
        self.problems = tuple(problems)

    @classmethod
    def at(cls, path: Path, line: int | None, field: str, problem: str) -> Self:
        """One problem alone."""
        return cls([DefinitionProblem(path, line, field, problem)])


class TooLarge(InvalidInput):
    """More bytes than one event or request may have."""


class NotFound(MadsciEventsError):
    """The thing asked for by its id does not exist."""


class Ambiguous(MadsciEventsError):
    """Part of an id fits several events; the text names some."""


class CursorExpired(MadsciEventsError):
    """The cursor belongs to another store, or to a place that no longer exists: start afresh without it."""


class OriginNotAllowed(MadsciEventsError):
    """A page of another site asks, by an operator's browser, for what only our own and named ones may do."""


class NotOffered(MadsciEventsError):
    """A route MADSci has and this server, on purpose, does not; the text says what to use instead."""


class Overloaded(MadsciEventsError):
    """More is waiting than the server will hold in memory; nothing of this request was stored."""

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QueryTimedOut(MadsciEventsError):
    """The query ran past its time limit; no partial answer is given."""


class CannotServe(MadsciEventsError):
    """The server cannot listen where it was told to; the text names the address and the way out."""


class MailNotTaken(MadsciEventsError):
    """A mail server did not take a mail, or could not be talked to.

    `problem` says what happened, `remedy` how to mend it. `refused` holds when the server turned down this very mail
    for good: trying again will not help.
    """

    def __init__(self, problem: str, remedy: str, *, refused: bool = False) -> None:
        super().__init__(f"{problem}; {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy
        self.refused = refused


class StoreError(MadsciEventsError):
    """The store cannot do what was asked."""


class StoreUnavailable(StoreError):
    """The store is away, full or read-only at the moment; nothing of the request was stored. Retry."""

    def __init__(self, message: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class StoreUnusable(StoreError):
    """Waiting will not help: the text names the file or address, what is wrong, and the way out."""


class ServerError(MadsciEventsError):
    """Talking to an event server went wrong."""


class ServerUnreachable(ServerError):
    """No connection, or no answer in time; the same request may work later."""


class ServerRefused(ServerError):
    """The server answered with an error status; `status` is it, `reason` the server's own words."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class NotAllowed(ServerRefused):
    """The server wants credentials (401) or will not accept these (403)."""


class UnexpectedAnswer(ServerError):
    """The address answers, but not as an event server does."""


def shown(value: object) -> str:
    """`value` as an error message may show it: one line, printable, cut at 80 characters."""
    text = repr(value) if isinstance(value, str) else str(value)
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= _SHOWN_VALUE_CHARACTERS else text[: _SHOWN_VALUE_CHARACTERS - 1] + "…"
