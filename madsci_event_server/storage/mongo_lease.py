"""The lease on a standalone `mongod`: without transactions only one server may write, and gives the places itself."""

import asyncio
import os
import secrets
import socket
import time
from datetime import UTC, datetime
from typing import Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from madsci_event_server.errors import StoreUnavailable, StoreUnusable
from madsci_event_server.storage.mongo_database import Database, Document
from madsci_event_server.storage.mongo_documents import COUNTER, EVENTS, META

LEASE_SECONDS: Final = 10.0
"""After this long without a heartbeat a server counts as dead."""
_HEARTBEAT_SECONDS: Final = 2.5
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LEASE: Final = "server"
_RESERVED_AT_ONCE: Final = 10_000
"""Places are reserved so many at a time: after a crash those that were perhaps given are not given again."""


class Lease:
    """The right to be the one server of a standalone, kept by a heartbeat. MongoDB's clock decides."""

    def __init__(self, database: Database) -> None:
        self.last_seq = 0
        """The last place given in received order."""
        self._database = database
        self._holder = secrets.token_hex(8)
        self._reserved = 0
        self._renewed = 0.0
        self._heart: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """Waits for the lease of a server that died. Raises StoreUnusable, naming it, when another one is alive."""
        free = {"holder": "", "until": _LONG_AGO}
        await self._meta.update_one({"_id": _LEASE}, {"$setOnInsert": free}, upsert=True)
        before: Document | None = None
        while not await self._try():
            other = await self._meta.find_one({"_id": _LEASE})
            if before is not None and other is not None and other["until"] != before["until"]:
                raise StoreUnusable(
                    f"{self._database.location} is in use by the server on {other['host']} (process {other['pid']}); "
                    "a standalone mongod takes one server: stop that one, or make MongoDB a replica set"
                )
            before = other
            await asyncio.sleep(_HEARTBEAT_SECONDS / 5)
        await self._read_places()
        self._heart = asyncio.create_task(self._beat())

    async def release(self) -> None:
        """Lets the next server in at once, without a gap in the places."""
        if self._heart is None:
            return
        self._heart.cancel()
        await asyncio.gather(self._heart, return_exceptions=True)
        try:
            if await self._meta.find_one({"_id": _LEASE, "holder": self._holder}):
                await self._meta.update_one({"_id": COUNTER}, {"$set": {"last_seq": self.last_seq}})
                free = {"$set": {"holder": "", "until": _LONG_AGO}}
                await self._meta.update_one({"_id": _LEASE, "holder": self._holder}, free)
        except PyMongoError:
            return  # MongoDB is away: the lease ends by itself

    async def reserve(self, count: int) -> int:
        """Makes sure that so many places may be given after the one answered. Raises StoreUnavailable."""
        if time.monotonic() - self._renewed > LEASE_SECONDS - _HEARTBEAT_SECONDS:
            await self._renew()
        if self.last_seq + count > self._reserved:
            reserved = self.last_seq + count + _RESERVED_AT_ONCE
            await self._meta.update_one({"_id": COUNTER}, {"$set": {"last_seq": reserved}})
            self._reserved = reserved
        return self.last_seq

    @property
    def _meta(self) -> AsyncCollection[Document]:
        return self._database.collection(META)

    async def _try(self) -> bool:
        """Takes the lease if nobody has it, or it has run out, or it is ours."""
        asked = time.monotonic()
        free = {"$or": [{"holder": self._holder}, {"$expr": {"$lt": ["$until", "$$NOW"]}}]}
        until = {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}
        ours = {"holder": self._holder, "host": socket.gethostname(), "pid": os.getpid(), "until": until}
        taken = await self._meta.update_one({"_id": _LEASE, **free}, [{"$set": ours}])
        if taken.matched_count:
            self._renewed = asked
        return bool(taken.matched_count)

    async def _renew(self) -> None:
        if not await self._try():
            raise StoreUnavailable(
                f"another server took {self._database.location} over while it was away from this one; restart this one"
            )

    async def _read_places(self) -> None:
        counter = await self._meta.find_one({"_id": COUNTER})
        last = await self._database.collection(EVENTS).find_one(sort=[("seq", -1)], projection={"seq": 1})
        self.last_seq = max(counter["last_seq"] if counter else 0, last["seq"] if last else 0)
        self._reserved = self.last_seq

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            try:
                await self._try()
            except PyMongoError:
                continue  # away for now; `reserve` asks again before anything is written
