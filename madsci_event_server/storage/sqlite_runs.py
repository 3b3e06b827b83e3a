"""Long runs of events as bytes: SQLite itself puts them together, so that Python touches a page and not its events."""

import sqlite3

from madsci_event_server.storage.base import Frame, Run
from madsci_event_server.storage.sqlite_schema import ARCHIVED

_WRITTEN = ":begin || seq || CASE WHEN first_seq <= :seq THEN :again ELSE :new END || body || :end"
_RUN = (
    f"SELECT CAST(group_concat({_WRITTEN}, '') AS BLOB), count(*), max(seq),"
    " (SELECT value FROM meta WHERE name = 'purged_through')"
    f" FROM (SELECT seq, first_seq, body FROM events WHERE seq > :seq AND state < {ARCHIVED} ORDER BY seq LIMIT :limit)"
)


def run_after(connection: sqlite3.Connection, seq: int, limit: int, frame: Frame) -> Run:
    """At most so many events after a place that are not archived, in received order."""
    written, count, last_seq, purged = connection.execute(
        _RUN, {**frame._asdict(), "seq": seq, "limit": limit}
    ).fetchone()
    return Run(written or b"", count, last_seq or 0, purged or 0)
