"""The writer: what is written to MongoDB, in a thread of its own, with PyMongo's synchronous API.

A transaction is a handful of commands, one after the other, with MongoDB at rest between them. On the event loop each
would wait for its turn among the requests, and cost this process about twice as much.
"""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, NamedTuple, TypeVar

import pymongo
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ConnectionFailure, PyMongoError
from pymongo.read_concern import ReadConcern

Document = dict[str, Any]
_T = TypeVar("_T")

DURABLE: Final = WriteConcern(w="majority", j=True)
RETRY_SECONDS: Final = 15.0
"""How long a write is tried again while the replica set elects a primary, which takes about twelve by default."""
_LEAST_SECONDS: Final = 0.001
_FIRST_PAUSE_SECONDS: Final = 0.002
_LONGEST_PAUSE_SECONDS: Final = 0.25


def nothing() -> None:
    """Does nothing."""


class Writing(NamedTuple):
    """What work in the thread writes to."""

    mongo: Database[Document]
    """With writes that survive a failover."""
    location: str
    """Its address as it may be shown."""
    session: ClientSession | None = None
    """Of the transaction it is part of."""
    perhaps_committed: bool = False
    """Whether an earlier attempt at this transaction may have been committed."""

    def collection(self, name: str) -> Collection[Document]:
        """A collection of the database."""
        return self.mongo[name]


class Writer:
    """Writes to one database, one thing after the other as they are asked for, from its making to `close`."""

    def __init__(self, client: MongoClient[Document], name: str, location: str) -> None:
        self._client = client
        self._mongo = client.get_database(name, write_concern=DURABLE, read_preference=ReadPreference.PRIMARY)
        self._location = location
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mongodb")

    async def close(self) -> None:
        """Waits for what is under way, and closes every connection."""
        await asyncio.to_thread(self._close)

    async def write(self, work: Callable[[Writing], _T], seconds: float) -> _T:
        """Runs `work` without a transaction, so long at most. Raises PyMongoError."""
        end = time.monotonic() + seconds

        def limited() -> _T:
            with pymongo.timeout(max(end - time.monotonic(), _LEAST_SECONDS)):
                return work(Writing(self._mongo, self._location))

        return await asyncio.get_running_loop().run_in_executor(self._thread, limited)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Runs `work`, which calls `transaction` as it needs to."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def transaction(self, work: Callable[[Writing], _T], committing: Callable[[], None] = nothing) -> _T:
        """In the thread: does `work` in a transaction and commits it, again and again while the deployment recovers.

        Calls `committing` when `work` is done, each time. Raises PyMongoError when the time for that is over, and
        whatever else `work` raises.
        """
        end = time.monotonic() + RETRY_SECONDS
        pause, perhaps_committed = _FIRST_PAUSE_SECONDS, False
        while True:
            attempt = _Attempt(work, committing)
            try:
                with (
                    pymongo.timeout(max(end - time.monotonic(), _LONGEST_PAUSE_SECONDS)),
                    self._client.start_session() as session,
                ):
                    return attempt.run(Writing(self._mongo, self._location, session, perhaps_committed), session, end)
            except PyMongoError as error:
                perhaps_committed |= attempt.is_committing
                if not _may_pass(error) or time.monotonic() + pause >= end:
                    raise
            # Two servers that keep meeting must not keep step.
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311  # no secret
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _close(self) -> None:
        self._thread.shutdown()
        self._client.close()


class _Attempt(Generic[_T]):
    """One try at a transaction."""

    def __init__(self, work: Callable[[Writing], _T], committing: Callable[[], None]) -> None:
        self._work = work
        self._tell_committing = committing
        self.is_committing = False
        """Whether it has come so far that a failure leaves open what became of it."""

    def run(self, writing: Writing, session: ClientSession, end: float) -> _T:
        with session.start_transaction(ReadConcern("majority"), DURABLE, ReadPreference.PRIMARY):
            result = self._work(writing)
            if session.in_transaction:  # else `work` found nothing to do and aborted it
                self._commit(session, end)
            return result

    def _commit(self, session: ClientSession, end: float) -> None:
        self.is_committing = True
        self._tell_committing()
        while True:
            try:
                return session.commit_transaction()
            except PyMongoError as error:
                if not error.has_error_label("UnknownTransactionCommitResult") or time.monotonic() >= end:
                    raise
                time.sleep(_LONGEST_PAUSE_SECONDS)


def _may_pass(error: PyMongoError) -> bool:
    """Whether the same may work in a moment: an election, a connection that broke, another server's transaction."""
    return (
        error.has_error_label("TransientTransactionError")
        or error.has_error_label("UnknownTransactionCommitResult")
        or isinstance(error, ConnectionFailure)
    )
