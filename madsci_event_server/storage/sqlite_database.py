"""Database: one SQLite file. Who may open it, the threads that write, read and scan, what its errors mean.

Nothing here knows what the tables hold. Work comes as functions of a connection and runs in one transaction each, on
threads of our own, so that the event loop never waits for a disk.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from madsci_event_server.errors import MadsciEventsError, QueryTimedOut, StoreUnavailable, StoreUnusable
from madsci_event_server.storage.file_lock import FileLock, LockHeld

READERS: Final = 3
"""How many queries run at once; more wait their turn. Each has a connection with a cache of its own."""

_BUSY_SECONDS: Final = 5.0
"""How long to wait for another program that has the file locked: a backup, somebody's `sqlite3`."""

_STEPS_BETWEEN_LOOKS: Final = 5000
"""How many of SQLite's instructions run between two looks at the clock: well under a millisecond."""

_OPTIONS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA secure_delete = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA wal_autocheckpoint = 2000",
    "PRAGMA cache_size = -8000",
)
_READER_OPTIONS: Final = ("PRAGMA query_only = ON", "PRAGMA temp_store = MEMORY", "PRAGMA cache_size = -4000")

T = TypeVar("T")


class Migration(NamedTuple):
    """One step of the schema. Its name is what a database remembers: never change one that was released."""

    name: str
    statements: tuple[str, ...]


class TimeLimit:
    """When a query has had its time; also over once nobody waits for the answer any more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._abandoned = False

    def abandon(self) -> None:
        """Lets the query end at its next look."""
        self._abandoned = True

    def is_over(self) -> bool:
        """Whether to stop."""
        return self._abandoned or time.monotonic() >= self._end

    def check(self) -> None:
        """Raises QueryTimedOut once the time is over."""
        if self.is_over():
            raise QueryTimedOut(
                f"the query took longer than {self._seconds:g} s; narrow it: a shorter time range, a node, a level"
            )


class Database:
    """One SQLite file, opened for writing by one process at a time."""

    def __init__(self, path: Path, *, application_id: int, migrations: Sequence[Migration]) -> None:
        self.path = path
        self._application_id = application_id
        self._migrations = migrations
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._writing: ThreadPoolExecutor | None = None
        self._reading: ThreadPoolExecutor | None = None
        self._scanning: ThreadPoolExecutor | None = None
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._file_number: int | None = None
        """By which its file system knows the file, wherever it is moved."""
        self.last_write_failed = False
        """Whether the last transaction found the disk full or away."""

    async def open(self) -> None:
        """Makes or opens the file and brings its schema up to date. Raises StoreUnusable or StoreUnavailable."""
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        try:
            await asyncio.get_running_loop().run_in_executor(self._writing, self._open)
        except BaseException:
            await self.close()
            raise
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._scanning = ThreadPoolExecutor(1, thread_name_prefix="sqlite-scanner")

    async def close(self) -> None:
        """Finishes what was begun, then closes; what is asked for later raises StoreUnavailable."""
        executors = [executor for executor in (self._writing, self._reading, self._scanning) if executor is not None]
        self._writing = self._reading = self._scanning = None
        for executor in executors:
            await asyncio.to_thread(executor.shutdown)
        await asyncio.to_thread(self._close)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, once its transaction is durable; nothing of it is stored when this raises."""
        if self._writing is None:
            raise self._closed()
        return await asyncio.get_running_loop().run_in_executor(self._writing, self._write, work)

    async def read(self, work: Callable[[sqlite3.Connection, TimeLimit], T], seconds: float) -> T:
        """What `work` finds in one snapshot. Raises QueryTimedOut after so many seconds, waiting included."""
        return await self._found(self._reading, work, seconds)

    async def scan(self, work: Callable[[sqlite3.Connection, TimeLimit], T], seconds: float) -> T:
        """The same for a long stretch of the file, which queries need not wait for: one such stretch at a time.

        One thread finds about as much as the event loop can send. More of them spend more on waiting for each other,
        and for the interpreter, than they gain.
        """
        return await self._found(self._scanning, work, seconds)

    async def _found(
        self, threads: ThreadPoolExecutor | None, work: Callable[[sqlite3.Connection, TimeLimit], T], seconds: float
    ) -> T:
        if threads is None:
            raise self._closed()
        limit = TimeLimit(seconds)
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, self._read, work, limit)
        except asyncio.CancelledError:
            limit.abandon()
            raise

    def size_bytes(self) -> int:
        """What the file and its write-ahead log take on disk."""
        size = 0
        for path in (self.path, self.path.with_name(self.path.name + "-wal")):
            with suppress(FileNotFoundError):  # a log comes and goes
                size += path.stat().st_size
        return size

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"the event database {self.path} is closed")

    # --- On the writer's thread ---

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check_in_place()
        try:
            if self._writer is None:
                self._writer = self._connect()
            done = _in_transaction(self._writer, work)
        except sqlite3.Error as error:
            self.last_write_failed = True
            # After a full disk or a lost mount a connection may keep the error: the next write gets a new one.
            self._drop_writer()
            raise self._meaning(error) from error
        self.last_write_failed = False
        return done

    def _check_in_place(self) -> None:
        """SQLite goes on writing to a file that was deleted or moved; what is stored there nobody will find again."""
        if _file_number(self.path) != self._file_number:
            raise StoreUnavailable(
                f"the event database {self.path} is not in its place any more, it was moved, deleted or replaced; "
                "put it back, or start the server again"
            )

    def _drop_writer(self) -> None:
        if self._writer is not None:
            with suppress(sqlite3.Error):  # what is wrong has been said already
                self._writer.close()
            self._writer = None

    def _open(self) -> None:
        self._make_directory()
        self._acquire_lock()
        try:
            self._writer = self._connect()
            self._check_ours(self._writer)
            self._use_write_ahead_log(self._writer)
            self._migrate(self._writer)
            self._file_number = _file_number(self.path)
        except sqlite3.Error as error:
            raise self._meaning_at_opening(error) from error

    def _make_directory(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(f"its directory cannot be made ({error.strerror})", _ELSEWHERE) from None
        if self.path.is_dir():
            raise self._unusable("it is a directory", "name a file in it with --db")

    def _acquire_lock(self) -> None:
        try:
            self._lock.acquire()
        except LockHeld as holder:
            raise self._unusable(
                f"it is in use by another server ({holder})", "stop that one, or choose another file (serve: --db)"
            ) from None
        except OSError as error:
            raise self._unusable(f"its directory cannot be written ({error.strerror})", _ELSEWHERE) from None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        return _set_up(connection, _OPTIONS)

    def _check_ours(self, connection: sqlite3.Connection) -> None:
        found = _number(connection, "PRAGMA application_id")
        empty = not _number(connection, "SELECT count(*) FROM sqlite_master")
        if found != self._application_id and not (found == 0 and empty):
            raise self._unusable("it is a database of another program", "choose another file with --db")

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")  # raises where the file cannot be written, which the next line does not
        connection.execute("COMMIT")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise self._unusable(
                f"it cannot have a write-ahead log there (journal mode {mode})", "put it on a disk of this machine"
            )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        _in_transaction(connection, self._claim)
        applied = {name for (name,) in connection.execute("SELECT name FROM migrations")}
        if unknown := applied - {migration.name for migration in self._migrations}:
            raise self._unusable(
                f"it was written by a newer version (its schema has {', '.join(sorted(unknown))})",
                "upgrade madsci-events, or choose another file with --db",
            )
        for migration in self._migrations:
            if migration.name not in applied:
                _in_transaction(connection, partial(self._apply, migration))

    def _claim(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA application_id = {self._application_id:d}")
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)")

    def _apply(self, migration: Migration, connection: sqlite3.Connection) -> None:
        for statement in migration.statements:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO migrations VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))", (migration.name,)
        )

    def _close(self) -> None:
        for connection in self._readers:
            connection.close()
        self._readers.clear()
        self._drop_writer()
        self._lock.release()

    # --- On the readers' threads ---

    def _read(self, work: Callable[[sqlite3.Connection, TimeLimit], T], limit: TimeLimit) -> T:
        limit.check()
        try:
            connection = self._readers.pop() if self._readers else self._connect_reader()
            connection.set_progress_handler(limit.is_over, _STEPS_BETWEEN_LOOKS)
            try:
                found = _in_snapshot(connection, work, limit)
            except MadsciEventsError:
                self._readers.append(connection)
                raise
            except BaseException:
                connection.close()
                raise
            self._readers.append(connection)
        except sqlite3.Error as error:
            limit.check()  # an interrupted query
            raise self._meaning(error) from error
        return found

    def _connect_reader(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        return _set_up(connection, _READER_OPTIONS)

    # --- What went wrong ---

    def _meaning(self, error: sqlite3.Error) -> Exception:
        code = _code(error)
        if code in _BROKEN:
            return self._unusable(f"{_BROKEN[code]} ({error})", "restore it from a backup")
        if code in _AWAY:
            return StoreUnavailable(f"the event database {self.path} {_AWAY[code]} ({error})")
        return error

    def _meaning_at_opening(self, error: sqlite3.Error) -> Exception:
        code = _code(error)
        if code == sqlite3.SQLITE_NOTADB:
            return self._unusable("it is not an SQLite database", "choose another file with --db")
        if code in _NOT_OURS_TO_WRITE:
            return self._unusable(f"it cannot be written ({error})", _ELSEWHERE)
        if "no such module: fts5" in str(error):
            return self._unusable("this Python's SQLite has no FTS5", "use a Python built with it, as python.org's are")
        return self._meaning(error)

    def _unusable(self, problem: str, way_out: str) -> StoreUnusable:
        return StoreUnusable(f"the event database {self.path} cannot be used: {problem}; {way_out}")


_ELSEWHERE: Final = "let this user write there, or choose another place with --db"
_NOT_OURS_TO_WRITE: Final = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)
_BROKEN: Final = {
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_NOTADB: "its file has been replaced by something else",
}
_AWAY: Final = {
    sqlite3.SQLITE_FULL: "has no room left on its disk; free some, it goes on by itself",
    sqlite3.SQLITE_IOERR: "cannot be read or written at the moment; look at its disk and the room left there",
    sqlite3.SQLITE_READONLY: "cannot be written at the moment",
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_LOCKED: "is locked by another program",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened at the moment",
    sqlite3.SQLITE_PERM: "may not be opened at the moment",
    sqlite3.SQLITE_PROTOCOL: "is locked by another program",
    sqlite3.SQLITE_NOMEM: "needs more memory than there is",
}


def _set_up(connection: sqlite3.Connection, options: Iterable[str]) -> sqlite3.Connection:
    """The connection with these options; closed, where the first of them finds that it is to no database of ours."""
    try:
        for option in options:
            connection.execute(option)
    except BaseException:
        connection.close()
        raise
    return connection


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for errors of Python's module itself, which are mistakes of ours."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _file_number(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _number(connection: sqlite3.Connection, statement: str) -> int:
    return int(connection.execute(statement).fetchone()[0])


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back when the disk is full
            connection.execute("ROLLBACK")
        raise
    return found


def _in_snapshot(
    connection: sqlite3.Connection, work: Callable[[sqlite3.Connection, TimeLimit], T], limit: TimeLimit
) -> T:
    connection.execute("BEGIN")
    try:
        found = work(connection, limit)
    finally:
        connection.set_progress_handler(None, 0)
        connection.execute("ROLLBACK")
    limit.check()
    return found
