"""Long runs of events as bytes: SQLite itself puts them together, so that Python touches a page and not its events."""

import sqlite3
from typing import Final

from madsci_event_server.storage.base import Frame, Run
from madsci_event_server.storage.sqlite_schema import ARCHIVED

MAX_RUN_BYTES: Final = 4 * 1024 * 1024
"""Unless one event alone is longer."""

_WRITTEN: Final = ":begin || seq || CASE WHEN first_seq <= :seq THEN :again ELSE :new END || body || :end"
# A scan of one index, and nothing between it and the aggregate: the order is the index's. With an ORDER BY it would be
# the same, but each body copied once more.
RUN: Final = (
    f"SELECT CAST(group_concat({_WRITTEN}, '') AS BLOB), (SELECT value FROM meta WHERE name = 'purged_through')"
    f" FROM events INDEXED BY sqlite_autoindex_events_1 WHERE seq > :seq AND seq <= :through AND state < {ARCHIVED}"
)


def run_between(connection: sqlite3.Connection, seq: int, through: int, frame: Frame) -> Run:
    """The events between two places that are not archived, in received order; fewer places where those are very long."""
    # It is short, and each look at the clock would wait for the interpreter, which is busy sending the run before.
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
    written, purged = connection.execute(RUN, {**frame._asdict(), "seq": seq, "through": through}).fetchone()
    return Run(written or b"", through, purged or 0)
