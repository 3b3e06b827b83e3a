"""SQLiteStore: an EventStore in one file, with nothing else to install.

Acknowledged means committed with a write-ahead log and synced. The file has one server at a time; readers never wait
for the writer. How it looks inside is in `sqlite_schema`.
"""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from madsci_event_server.errors import NotFound
from madsci_event_server.event import Event, NamedId, time_to_us, us_to_time
from madsci_event_server.query import Cursor, EventQuery, NameDirectory
from madsci_event_server.storage import sqlite_counting, sqlite_finding, sqlite_runs, sqlite_writing
from madsci_event_server.storage.alert_base import AlertStore
from madsci_event_server.storage.alert_sqlite import SQLiteAlertStore
from madsci_event_server.storage.base import (
    DEFAULT_QUERY_SECONDS,
    MAX_NAMES,
    Appended,
    Bucket,
    Facets,
    Frame,
    Outcome,
    Page,
    Run,
    SeenName,
    StoredEvent,
    StoreStatus,
)
from madsci_event_server.storage.node_names import NodeNames
from madsci_event_server.storage.sqlite_columns import SQLitePacking, rows_of
from madsci_event_server.storage.sqlite_database import Database
from madsci_event_server.storage.sqlite_rows import NewEvent
from madsci_event_server.storage.sqlite_schema import APPLICATION_ID, ARCHIVED, BODY, EVERY_EVENT, MIGRATIONS

_LOOKUP_SECONDS: Final = 60.0
"""For what takes no query: it is served by an index, so only a disk in trouble makes it slow."""
_IDS_AT_ONCE: Final = 500
_ROOM_BYTES: Final = 262_144
"""What must fit on a disk that was full before it counts as writable again: an event with its index entries."""


class SQLiteStore:
    """An EventStore in the file at `path`, which is made where there is none."""

    def __init__(self, path: Path, *, query_seconds: float = DEFAULT_QUERY_SECONDS) -> None:
        self._database = Database(path, application_id=APPLICATION_ID, migrations=MIGRATIONS)
        self.packing = SQLitePacking()
        self._query_seconds = query_seconds
        self._labels = sqlite_writing.Labels()
        self._names = NodeNames()
        self._store_id = ""
        self._alerts = SQLiteAlertStore(self._database)

    async def __aenter__(self) -> Self:
        await self._database.open()
        try:
            self._store_id = await self._database.write(_read_store_id)
            self._names.add(await self._database.read(_node_names, _LOOKUP_SECONDS))
        except BaseException:
            await self._database.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._database.close()

    @property
    def store_id(self) -> str:
        """Which store this is."""
        return self._store_id

    @property
    def names_directory(self) -> NameDirectory:
        """Names to ids, of nodes only."""
        return self._names

    def alert_store(self) -> AlertStore:
        """What alerting remembers, in the same file, written by the same writer."""
        return self._alerts

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        """Stores all or none, durably, in this order."""
        return await self.append_prepared([self.prepare(event) for event in events])

    def prepare(self, event: Event) -> NewEvent:
        """The event as rows of the tables."""
        return NewEvent(event)

    async def append_prepared(self, prepared: sqlite_writing.NewOnes) -> list[Appended]:
        """The same as `append`."""
        try:
            appended = await self._append(sqlite_writing.append_new, prepared)
        except sqlite_writing.SomeAreKnown:
            rows = rows_of(prepared)
            appended = await self._append(sqlite_writing.append_any, rows)
            pairs = zip(rows, appended, strict=True)
            self._know_names([row for row, one in pairs if one.outcome is Outcome.STORED])
        else:
            self._know_names(prepared)
        return appended

    def _know_names(self, stored: sqlite_writing.NewOnes) -> None:
        for one in stored:
            self._names.add(one.named_ids if isinstance(one, NewEvent) else one.named)

    async def _append(self, work: sqlite_writing.Append, prepared: sqlite_writing.NewOnes) -> list[Appended]:
        try:
            return await self._database.write(lambda connection: work(connection, prepared, self._labels))
        except BaseException:
            self._labels.forget()
            raise

    async def restore(self, events: Sequence[StoredEvent]) -> int:
        """Stores events in the places they had elsewhere."""
        try:
            restored = await self._database.write(
                lambda connection: sqlite_writing.restore(connection, events, self._labels)
            )
        except BaseException:
            self._labels.forget()
            raise
        self._know_names(restored)
        return len(restored)

    async def get(self, event_id: str) -> StoredEvent:
        """The event of this id. Raises NotFound."""
        found = await self._database.read(lambda connection, _: _get(connection, event_id), _LOOKUP_SECONDS)
        if found is None:
            raise NotFound(f"Event with ID {event_id} not found")
        return found

    async def ids_like(self, text: str, limit: int) -> list[str]:
        """Up to `limit` ids that begin or end with `text`, any letter case. Looks at every id."""
        return await self._database.read(lambda connection, _: _ids_like(connection, text, limit), self._query_seconds)

    async def find(self, query: EventQuery) -> Page:
        """The page of matching events after the query's cursor."""
        return await self._database.read(
            lambda connection, limit: sqlite_finding.find(connection, limit, query, self._store_id),
            self._query_seconds,
        )

    async def run_between(self, seq: int, through: int, frame: Frame) -> Run:
        """What `find` finds without any filter after this place in received order, written."""
        return await self._database.scan(
            lambda connection, _: sqlite_runs.run_between(connection, seq, through, frame), self._query_seconds
        )

    async def facets(self, query: EventQuery, fields: Collection[str], limit: int) -> Facets:
        """Counts by value."""
        return await self._database.read(
            lambda connection, time_limit: sqlite_counting.facets(connection, time_limit, query, tuple(fields), limit),
            self._query_seconds,
        )

    async def histogram(self, query: EventQuery, interval_seconds: int) -> list[Bucket]:
        """Counts over time, by level."""
        return await self._database.read(
            lambda connection, limit: sqlite_counting.histogram(connection, limit, query, interval_seconds),
            self._query_seconds,
        )

    async def names(self) -> list[SeenName]:
        """The names seen beside ids, latest first."""
        return await self._database.read(lambda connection, _: _names_lately(connection), _LOOKUP_SECONDS)

    async def archive(self, *, ids: Collection[str] | None = None, before: datetime | None = None, at: datetime) -> int:
        """Marks events as archived, some in each transaction, so that appends go on meanwhile."""
        total = 0
        if ids is not None:
            for some in _chunks(ids):
                total += await self._database.write(
                    lambda connection, some=some: sqlite_writing.archive_ids(connection, some, before, at)  # type: ignore[misc]
                )
            return total
        while changed := await self._database.write(
            lambda connection: sqlite_writing.archive_some(connection, before, at)
        ):
            total += changed
        return total

    async def purge(self, archived_before: datetime, *, dry_run: bool = False) -> int:
        """Deletes the events archived before this, some in each transaction."""
        if dry_run:
            return await self._database.read(
                lambda connection, _: _purgeable(connection, archived_before), _LOOKUP_SECONDS
            )
        total = 0
        while deleted := await self._database.write(
            lambda connection: sqlite_writing.purge_some(connection, archived_before, self._labels)
        ):
            total += deleted
        return total

    async def purged_through(self) -> int:
        """The highest seq that a purged event had."""
        return await self._database.read(lambda connection, _: _purged_through(connection), _LOOKUP_SECONDS)

    async def head(self) -> str:
        """The received-order cursor after the last event."""
        last_seq = await self._database.read(lambda connection, _: _last_seq(connection), _LOOKUP_SECONDS)
        return Cursor(self._store_id, "r", last_seq).encode()

    async def status(self) -> StoreStatus:
        """Counts and condition; writes a little to see whether it can."""
        if self._database.last_write_failed:
            # A full disk often has room for a page in a file that is there already.
            await self._database.write(_check_room)
        await self._database.write(_check_writable)
        events, archived, last_seq = await self._database.read(
            lambda connection, _: _counts(connection), _LOOKUP_SECONDS
        )
        details: dict[str, Any] = {"sqlite_version": sqlite3.sqlite_version, "journal_mode": "wal"}
        path = self._database.path
        size = await self._database.read(lambda *_: self._database.size_bytes(), _LOOKUP_SECONDS)
        return StoreStatus("sqlite", str(path), events, archived, last_seq, size, details)


def _read_store_id(connection: sqlite3.Connection) -> str:
    (store_id,) = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone()
    return str(store_id)


def _node_names(connection: sqlite3.Connection, _: object) -> list[NamedId]:
    rows = connection.execute("SELECT field, id, name FROM name_pairs WHERE field = 'node_id'")
    return [NamedId(*row) for row in rows]


def _names_lately(connection: sqlite3.Connection) -> list[SeenName]:
    rows = connection.execute(
        "SELECT field, id, name, last_seen_us FROM name_pairs ORDER BY last_seen_us DESC, field, id, name LIMIT ?",
        (MAX_NAMES,),
    )
    return [SeenName(field, id_, name, us_to_time(last_seen_us)) for field, id_, name, last_seen_us in rows]


def _get(connection: sqlite3.Connection, event_id: str) -> StoredEvent | None:
    if not event_id.isprintable():  # no stored id is unprintable, and SQLite takes no lone surrogate
        return None
    row = connection.execute(
        f"SELECT seq, first_seq, time_us, event_type, {BODY} FROM events WHERE event_id = ?", (event_id,)
    ).fetchone()
    return None if row is None else StoredEvent(*row)


def _ids_like(connection: sqlite3.Connection, text: str, limit: int) -> list[str]:
    part = text.casefold()
    # LIKE folds the case of ASCII letters only, so of other ids Python decides; it decides of all again.
    pattern = "".join(f"\\{character}" if character in "%_\\" else character for character in part)
    likely = pattern if part.isascii() else ""
    rows = connection.execute(
        "SELECT event_id FROM events WHERE (event_id LIKE ? ESCAPE '\\' OR event_id LIKE ? ESCAPE '\\')"
        " OR length(event_id) != length(CAST(event_id AS BLOB)) ORDER BY event_id",
        (f"{likely}%", f"%{likely}"),
    )
    found: list[str] = []
    for (event_id,) in rows:
        folded = event_id.casefold()
        if folded.startswith(part) or folded.endswith(part):
            found.append(event_id)
            if len(found) >= limit:
                break
    return found


def _purgeable(connection: sqlite3.Connection, archived_before: datetime) -> int:
    (count,) = connection.execute(
        "SELECT count(*) FROM events WHERE archived_us IS NOT NULL AND archived_us < ?", (time_to_us(archived_before),)
    ).fetchone()
    return int(count)


def _last_seq(connection: sqlite3.Connection) -> int:
    (last_seq,) = connection.execute("SELECT value FROM meta WHERE name = 'last_seq'").fetchone()
    return int(last_seq)


def _purged_through(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM meta WHERE name = 'purged_through'").fetchone()
    return 0 if row is None else int(row[0])


def _counts(connection: sqlite3.Connection) -> tuple[int, int, int]:
    rows = connection.execute("SELECT state, events FROM label_counts WHERE label = ?", (EVERY_EVENT,)).fetchall()
    archived = sum(events for state, events in rows if state >= ARCHIVED)
    return sum(events for _, events in rows), archived, _last_seq(connection)


def _check_writable(connection: sqlite3.Connection) -> None:
    connection.execute(
        "UPDATE meta SET value = CASE typeof(value) WHEN 'integer' THEN value + 1 ELSE 0 END WHERE name = 'checks'"
    )


def _check_room(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE meta SET value = zeroblob(?) WHERE name = 'checks'", (_ROOM_BYTES,))


def _chunks(ids: Collection[str]) -> Iterator[list[str]]:
    ordered = [id_ for id_ in dict.fromkeys(ids) if id_.isprintable()]
    for start in range(0, len(ordered), _IDS_AT_ONCE):
        yield ordered[start : start + _IDS_AT_ONCE]
