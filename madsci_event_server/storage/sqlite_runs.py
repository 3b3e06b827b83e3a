"""Long runs of events as bytes: SQLite itself puts them together, so that Python touches a page and not its events.

What SQLite does for each event is what a reader far behind waits for. So the events of a run, mostly all still where
they were first stored, are scanned in that order, and their bodies put together with as little as possible between.
"""

import sqlite3
from typing import Final

from madsci_event_server.storage.base import Frame, Run
from madsci_event_server.storage.sqlite_schema import ARCHIVED

MAX_RUN_BYTES: Final = 4 * 1024 * 1024
"""Unless one event alone is longer."""

# Scans along one key, with nothing between them and the aggregate: the order is the key's. Asking for it with ORDER BY
# would copy each body once more.
RAISED_INTO: Final = (
    "SELECT EXISTS (SELECT 1 FROM events INDEXED BY events_raised"
    " WHERE seq <> first_seq AND seq > :seq AND seq <= :through)"
)
UNRAISED_RUN: Final = (
    "SELECT CAST(group_concat(body, :between || first_seq || :new)"
    f" FILTER (WHERE state < {ARCHIVED} AND seq = first_seq) AS BLOB)"
    " FROM events NOT INDEXED WHERE first_seq > :seq AND first_seq <= :through"
)
"""All but what goes before the first body and after the last."""
_FIRST: Final = (
    "SELECT first_seq FROM events NOT INDEXED"
    f" WHERE first_seq > :seq AND state < {ARCHIVED} AND seq = first_seq ORDER BY first_seq LIMIT 1"
)
_WRITTEN: Final = ":begin || seq || CASE WHEN first_seq <= :seq THEN :again ELSE :new END || body || :end"
RAISED_RUN: Final = (
    f"SELECT CAST(group_concat({_WRITTEN}, '') AS BLOB) FROM events INDEXED BY sqlite_autoindex_events_1"
    f" WHERE seq > :seq AND seq <= :through AND state < {ARCHIVED}"
)
_PURGED: Final = "SELECT value FROM meta WHERE name = 'purged_through'"


def run_between(connection: sqlite3.Connection, seq: int, through: int, frame: Frame) -> Run:
    """The events between two places that are not archived, in received order; where those are long, of fewer places."""
    # A run is short, and each look at the clock would wait for the interpreter, which sends the run before.
    connection.set_progress_handler(None, 0)
    most = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_RUN_BYTES)
    try:
        while through > seq + 1:
            try:
                return _run(connection, seq, through, frame)
            except sqlite3.DataError:  # longer than the limit
                through = seq + (through - seq) // 2
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most)
    return _run(connection, seq, through, frame)


def _run(connection: sqlite3.Connection, seq: int, through: int, frame: Frame) -> Run:
    written = _written(connection, frame, {**frame._asdict(), "seq": seq, "through": through})
    row = connection.execute(_PURGED).fetchone()
    return Run(written, through, 0 if row is None else int(row[0]))


def _written(connection: sqlite3.Connection, frame: Frame, values: dict[str, object]) -> tuple[bytes, ...]:
    (raised,) = connection.execute(RAISED_INTO, values).fetchone()
    if raised:
        (whole,) = connection.execute(RAISED_RUN, values).fetchone()
        return () if whole is None else (whole,)
    (bodies,) = connection.execute(UNRAISED_RUN, {**values, "between": frame.end + frame.begin}).fetchone()
    return () if bodies is None else (_before_first(connection, frame, values), bodies, frame.end.encode())


def _before_first(connection: sqlite3.Connection, frame: Frame, values: dict[str, object]) -> bytes:
    (first,) = connection.execute(_FIRST, values).fetchone()
    return f"{frame.begin}{first}{frame.new}".encode()
