"""The lease on a standalone `mongod`: without transactions only one server may write, and gives the places itself."""

import asyncio
import math
import os
import secrets
import socket
import time
from datetime import UTC, datetime
from typing import Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from madsci_event_server.ending import ended
from madsci_event_server.errors import StoreUnavailable, StoreUnusable
from madsci_event_server.storage.mongo_database import Database
from madsci_event_server.storage.mongo_documents import COUNTER, EVENTS, META
from madsci_event_server.storage.mongo_writer import Document

LEASE_SECONDS: Final = 10.0
"""After this long without a heartbeat a server counts as dead."""
HEARTBEAT_SECONDS: Final = 2.5
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RESERVED_AT_ONCE: Final = 10_000
"""Places are reserved so many at a time: after a crash those that were perhaps given are not given again."""


class Claim:
    """A claim on being the only server to do something, kept by asking again and again. MongoDB's clock decides."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._holder = secrets.token_hex(8)
        self._renewed = -math.inf

    @property
    def age_seconds(self) -> float:
        """How long ago it was last renewed."""
        return time.monotonic() - self._renewed

    async def make(self) -> None:
        """Makes its document where there is none; before the first `take`."""
        free = {"holder": "", "until": _LONG_AGO}
        await self._meta.update_one({"_id": self._name}, {"$setOnInsert": free}, upsert=True)

    async def holder(self) -> Document | None:
        """Who has it: `host`, `pid` and `until`."""
        return await self._meta.find_one({"_id": self._name})

    async def take(self) -> bool:
        """Takes or renews it. False while another server has it."""
        asked = time.monotonic()
        free = {"$or": [{"holder": self._holder}, {"$expr": {"$lt": ["$until", "$$NOW"]}}]}
        until = {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}
        ours = {"holder": self._holder, "host": socket.gethostname(), "pid": os.getpid(), "until": until}
        taken = await self._meta.update_one({"_id": self._name, **free}, [{"$set": ours}])
        if taken.matched_count:
            self._renewed = asked
        return bool(taken.matched_count)

    async def is_held(self) -> bool:
        """Whether it is ours now."""
        return await self._meta.find_one({"_id": self._name, "holder": self._holder}) is not None

    async def release(self) -> None:
        """Lets the next server have it at once."""
        self._renewed = -math.inf
        free = {"$set": {"holder": "", "until": _LONG_AGO}}
        await self._meta.update_one({"_id": self._name, "holder": self._holder}, free)

    @property
    def _meta(self) -> AsyncCollection[Document]:
        return self._database.collection(META)


class Lease:
    """The right to be the one server of a standalone, kept by a heartbeat."""

    def __init__(self, database: Database) -> None:
        self.last_seq = 0
        """The last place in received order whose event is stored for good. What is beyond it may be lost yet."""
        self.last_given = 0
        """The last place given, perhaps to an event that was not stored."""
        self._database = database
        self._claim = Claim(database, "server")
        self._reserved = 0
        self._heart: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """Waits for the lease of a server that died. Raises StoreUnusable, naming it, when another one is alive."""
        await self._claim.make()
        before: Document | None = None
        while not await self._claim.take():
            other = await self._claim.holder()
            if before is not None and other is not None and other["until"] != before["until"]:
                raise StoreUnusable(
                    f"{self._database.location} is in use by the server on {other['host']} (process {other['pid']}); "
                    "a standalone mongod takes one server: stop that one, or make MongoDB a replica set"
                )
            before = other
            await asyncio.sleep(HEARTBEAT_SECONDS / 5)
        await self._read_places()
        self._heart = asyncio.create_task(self._beat())

    async def release(self) -> None:
        """Lets the next server in at once, without a gap in the places."""
        if self._heart is None:
            return
        await ended(self._heart)
        try:
            if await self._claim.is_held():
                await self._meta.update_one({"_id": COUNTER}, {"$set": {"last_seq": self.last_given}})
                await self._claim.release()
        except PyMongoError:
            return  # MongoDB is away: the lease ends by itself

    async def reserve(self, count: int) -> int:
        """Makes sure that so many places may be given after `last_given`, which it answers. Raises StoreUnavailable."""
        if self._claim.age_seconds > LEASE_SECONDS - HEARTBEAT_SECONDS and not await self._claim.take():
            raise StoreUnavailable(
                f"another server took {self._database.location} over while it was away from this one; restart this one"
            )
        if self.last_given + count > self._reserved:
            reserved = self.last_given + count + _RESERVED_AT_ONCE
            await self._meta.update_one({"_id": COUNTER}, {"$set": {"last_seq": reserved}})
            self._reserved = reserved
        return self.last_given

    @property
    def seconds_left(self) -> float:
        """How long a write may take, so that it is over before another server can have the lease."""
        return max(LEASE_SECONDS - self._claim.age_seconds, 0.0)

    @property
    def _meta(self) -> AsyncCollection[Document]:
        return self._database.collection(META)

    async def _read_places(self) -> None:
        counter = await self._meta.find_one({"_id": COUNTER})
        last = await self._database.collection(EVENTS).find_one(sort=[("seq", -1)], projection={"seq": 1})
        self.last_seq = max(counter["last_seq"] if counter else 0, last["seq"] if last else 0)
        self._reserved = self.last_given = self.last_seq

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self._claim.take()
            except PyMongoError:
                continue  # away for now; `reserve` asks again before anything is written
