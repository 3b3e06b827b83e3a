"""The connections to MongoDB: opening, sessions, time limits, and MongoDB's errors as ours.

Everything goes to the primary. What is read is committed by a majority, so that no failover takes it back: otherwise a
reader in received order could be past a place that is then given again.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import pymongo
from pymongo import AsyncMongoClient, MongoClient, ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from madsci_event_server.errors import (
    InvalidSettings,
    QueryTimedOut,
    StoreError,
    StoreUnavailable,
    StoreUnusable,
    shown,
)
from madsci_event_server.storage.mongo_writer import APP_NAME, DURABLE, Document, Writer, Writing

Session = AsyncClientSession
_T = TypeVar("_T")


class Transaction(Protocol):
    """Does work in a transaction, telling when it is committed."""

    def __call__(self, work: Callable[[Writing], _T], committing: Callable[[], None]) -> _T: ...


DEFAULT_NAME: Final = "madsci_event_log"
"""The database where an address names none: not MADSci's own, which is `madsci_events`."""
LOOKUP_SECONDS: Final = 10.0
"""For what takes no query: it is served by an index."""
_NAME: Final = re.compile(r"[^/\\. \"$\0]+")
_MAX_NAME_BYTES: Final = 63
_MONGODBS_OWN: Final = {"admin", "local", "config"}
_SELECTION_MS: Final = 3000
"""How long one operation waits for a primary before the database counts as away."""
_NOT_ALLOWED: Final = {13, 18, 8000}
"""Unauthorized, AuthenticationFailed, and what Atlas says."""


class TimeLimit:
    """How long one query may take."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> float:
        """The seconds that are left. Raises QueryTimedOut when none are."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.error()
        return left

    def error(self) -> QueryTimedOut:
        """What to raise when the time is over."""
        return QueryTimedOut(
            f"the query took longer than {self._seconds:g} s; narrow it by time, by an id or by a word to search for"
        )


class Database:
    """One database of a deployment, on one event loop, from `open` to `close`."""

    def __init__(self, url: str) -> None:
        self.location, self.name = _read_address(url)
        self.is_replica_set = True
        """Whether there are transactions; known once it is open."""
        self.server_version = ""
        self._url = url
        self._client: AsyncMongoClient[Document] | None = None
        self._writer: Writer | None = None

    async def open(self) -> None:
        """Connects. Raises StoreUnavailable when nobody answers, StoreUnusable when we are not let in."""
        self._client = self._connected(AsyncMongoClient[Document])
        try:
            self._writer = await asyncio.to_thread(self.new_writer)
            with self.translated(), pymongo.timeout(LOOKUP_SECONDS):
                hello = await self._client.admin.command("hello")
                # Needs the right to read: `hello` does not.
                await self._client[self.name].list_collection_names()
                self.server_version = str((await self._client.server_info())["version"])
        except BaseException:
            await self.close()
            raise
        self.is_replica_set = "setName" in hello or hello.get("msg") == "isdbgrid"

    def new_writer(self) -> Writer:
        """A writer with connections of its own, which needs no event loop."""
        return Writer(self._connected(MongoClient[Document]), self.name, self.location)

    async def close(self) -> None:
        """Closes every connection; later calls raise StoreUnavailable."""
        client, self._client = self._client, None
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()
        if client is not None:
            await client.close()

    @property
    def client(self) -> AsyncMongoClient[Document]:
        """The driver's client. Raises StoreUnavailable when it is closed."""
        if self._client is None:
            raise StoreUnavailable("the store is closed")
        return self._client

    @property
    def mongo(self) -> AsyncDatabase[Document]:
        """The database, with writes that survive a failover."""
        return self.client.get_database(self.name, write_concern=DURABLE, read_preference=ReadPreference.PRIMARY)

    def collection(self, name: str) -> AsyncCollection[Document]:
        """A collection for reads inside sessions, and for writes."""
        return self.mongo[name]

    def committed(self, name: str) -> AsyncCollection[Document]:
        """A collection for reads outside sessions: of what no failover takes back."""
        if not self.is_replica_set:
            return self.mongo[name]
        return self.mongo.get_collection(name, read_concern=ReadConcern("majority"))

    # --- Reading ---

    @asynccontextmanager
    async def snapshot(self, limit: TimeLimit) -> AsyncIterator[Session | None]:
        """A session whose reads all see one moment, and end with the time limit; None on a standalone."""
        with self.translated(limit), pymongo.timeout(limit.check()):
            if not self.is_replica_set:
                _ = self.client
                yield None
                return
            async with self.client.start_session(snapshot=True) as session:
                yield session

    @contextmanager
    def lookup(self, seconds: float = LOOKUP_SECONDS) -> Iterator[None]:
        """For one short operation without a session."""
        with self.translated(), pymongo.timeout(seconds):
            yield

    # --- Writing ---

    async def transaction(self, work: Callable[[Writing], _T]) -> _T:
        """Does `work` in a transaction, in a thread, and commits it, again and again while the deployment recovers.

        Raises StoreUnavailable when the time for that is over, and whatever else `work` raises.
        """
        writer = self._writes
        with self.translated():
            return await writer.run(lambda: writer.transaction(work))

    async def store_events(self, work: Callable[[Transaction], _T]) -> _T:
        """The same with as many transactions as `work` asks for, before any other events are stored."""
        writer = self._writes
        with self.translated():
            return await writer.run(lambda: work(writer.transaction), of_events=True)

    async def write(self, work: Callable[[Writing], _T], seconds: float = LOOKUP_SECONDS) -> _T:
        """Does `work` in a thread, for so long, without a transaction. Raises StoreUnavailable."""
        with self.translated():
            return await self._writes.write(work, seconds)

    @property
    def _writes(self) -> Writer:
        if self._writer is None:
            raise StoreUnavailable("the store is closed")
        return self._writer

    # --- Errors ---

    @contextmanager
    def translated(self, limit: TimeLimit | None = None) -> Iterator[None]:
        """Raises our exceptions for the driver's."""
        try:
            yield
        except PyMongoError as error:
            raise self.translate(error, limit) from error

    def translate(self, error: PyMongoError, limit: TimeLimit | None = None) -> StoreError | QueryTimedOut:
        """The exception of ours that says what the driver's says. Without the driver's page on its topology."""
        where = f"MongoDB at {self.location}"
        if isinstance(error, ExecutionTimeout) and limit is not None:
            return limit.error()
        if isinstance(error, ServerSelectionTimeoutError):
            return StoreUnavailable(f"{where} is away: {_first_line(error)}")
        if isinstance(error, ConnectionFailure | ExecutionTimeout):
            return StoreUnavailable(f"{where} did not answer: {_first_line(error)}")
        if isinstance(error, InvalidOperation) and self._client is None:
            return StoreUnavailable("the store is closed")
        if isinstance(error, OperationFailure) and error.code in _NOT_ALLOWED:
            return StoreUnusable(f"{where} does not let this user in ({_first_line(error)}); check user and password")
        return StoreUnavailable(f"{where} refused: {_first_line(error)}")

    def _connected(self, client: Callable[..., _T]) -> _T:
        try:
            return client(
                self._url,
                appname=APP_NAME,
                serverSelectionTimeoutMS=_SELECTION_MS,
                connectTimeoutMS=_SELECTION_MS,
                tz_aware=True,
            )
        except (PyMongoError, ValueError) as error:
            raise InvalidSettings("db_url", f"{self.location} cannot be used: {_first_line(error)}") from None


def _read_address(url: str) -> tuple[str, str]:
    """The address as it may be shown, and the name of the database. Raises InvalidSettings."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    name = unquote(parts.path.removeprefix("/")) or DEFAULT_NAME
    try:
        if parts.scheme == "mongodb":  # the other scheme asks a name server
            parse_uri(url)
    except (PyMongoError, ValueError) as error:
        raise InvalidSettings("db_url", f"mongodb://{hosts} cannot be used: {_first_line(error)}") from None
    if not hosts:
        raise InvalidSettings("db_url", "names no host; use mongodb://HOST:27017/NAME")
    if name in _MONGODBS_OWN or not _NAME.fullmatch(name) or len(name.encode()) > _MAX_NAME_BYTES:
        raise InvalidSettings(
            "db_url",
            f"{shown(name)} cannot be the name of a database of ours; use up to {_MAX_NAME_BYTES} letters, digits, "
            "'_' and '-', but none of MongoDB's own",
            value=name,
        )
    return f"{hosts}/{name}", name


def _first_line(error: Exception) -> str:
    """What a driver's error says of the matter."""
    text = str(error).partition(", Timeout:")[0].partition(", full error:")[0].partition(" (configured timeouts")[0]
    return (text.splitlines() or [type(error).__name__])[0]
