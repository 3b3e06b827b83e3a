"""The writer: what is written to MongoDB, in threads of its own, with PyMongo's synchronous API.

A transaction is a handful of commands, one after the other, with MongoDB at rest between them. On the event loop each
would wait for its turn among the requests, and cost this process about twice as much. Events have a thread to
themselves, so that nothing else that is written keeps them waiting.
"""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Generic, NamedTuple, TypeVar

import pymongo
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from madsci_event_server.beside import nothing

Document = dict[str, Any]
_T = TypeVar("_T")

APP_NAME: Final = "madsci-events"
"""By which MongoDB knows the connections of these servers."""
DURABLE: Final = WriteConcern(w="majority", j=True)
RETRY_SECONDS: Final = 15.0
"""How long a write is tried again while the replica set elects a primary, which takes about twelve by default."""
ABANDONED_SECONDS: Final = 2.0
"""A transaction that rests so long is of a server that died: one that lives is at work on it all the time."""
_WRITE_CONFLICT: Final = 112
_LEAST_SECONDS: Final = 0.001
_FIRST_PAUSE_SECONDS: Final = 0.002
_LONGEST_PAUSE_SECONDS: Final = 0.25


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
    """Writes to one database, from its making to `close`: events one batch after the other, and so the rest beside."""

    def __init__(self, client: MongoClient[Document], name: str, location: str) -> None:
        self._client = client
        self._mongo = client.get_database(name, write_concern=DURABLE, read_preference=ReadPreference.PRIMARY)
        self._location = location
        self._events = ThreadPoolExecutor(1, thread_name_prefix="mongodb-events")
        self._rest = ThreadPoolExecutor(1, thread_name_prefix="mongodb-rest")

    async def close(self) -> None:
        """Waits for what is under way, and closes every connection."""
        await asyncio.to_thread(self._close)

    async def write(self, work: Callable[[Writing], _T], seconds: float) -> _T:
        """Runs `work` beside the events and without a transaction, so long at most. Raises PyMongoError."""
        end = time.monotonic() + seconds

        def limited() -> _T:
            with pymongo.timeout(max(end - time.monotonic(), _LEAST_SECONDS)):
                return work(Writing(self._mongo, self._location))

        return await asyncio.get_running_loop().run_in_executor(self._rest, limited)

    async def run(self, work: Callable[[], _T], *, of_events: bool = False) -> _T:
        """Runs `work`, which calls `transaction` as it needs to: in the thread of the events, or beside them."""
        return await asyncio.get_running_loop().run_in_executor(self._events if of_events else self._rest, work)

    def transaction(self, work: Callable[[Writing], _T], committing: Callable[[], None] = nothing) -> _T:
        """In a thread: does `work` in a transaction and commits it, again and again while the deployment recovers.

        Calls `committing` when `work` is done, each time. Raises PyMongoError when the time for that is over, and
        whatever else `work` raises.
        """
        began = time.monotonic()
        end = began + RETRY_SECONDS
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
                if _is_conflict(error) and time.monotonic() - began > ABANDONED_SECONDS:
                    self._end_abandoned()
            # Two servers that keep meeting must not keep step.
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311  # no secret
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _end_abandoned(self) -> None:
        """Ends transactions that servers have left open: MongoDB would keep what they hold for a minute and a half.

        Whose server was only slow begins its transaction again.
        """
        resting = {
            "type": "idleSession",
            "appName": APP_NAME,
            "transaction.timeInactiveMicros": {"$gte": int(ABANDONED_SECONDS * 1e6)},
        }
        admin = self._client.admin
        # Where we may not, or MongoDB has gone away, what is tried next says so.
        with suppress(PyMongoError), pymongo.timeout(ABANDONED_SECONDS):
            found = list(admin.aggregate([{"$currentOp": {"idleSessions": True}}, {"$match": resting}]))
            if found:
                admin.command("killSessions", [{"id": session["lsid"]["id"]} for session in found])

    def _close(self) -> None:
        self._events.shutdown()
        self._rest.shutdown()
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


def _is_conflict(error: PyMongoError) -> bool:
    """Whether another transaction holds what this one needs."""
    return isinstance(error, OperationFailure) and error.code == _WRITE_CONFLICT


def _may_pass(error: PyMongoError) -> bool:
    """Whether the same may work in a moment: an election, a connection that broke, another server's transaction."""
    return (
        error.has_error_label("TransientTransactionError")
        or error.has_error_label("UnknownTransactionCommitResult")
        or isinstance(error, ConnectionFailure)
    )
