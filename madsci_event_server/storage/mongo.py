"""MongoStore: an EventStore in a MongoDB database, for a lab that has outgrown one file.

On a replica set several servers may share it. A standalone `mongod` has no transactions, so there a lease lets one
server in. Its collections are its own and begin with `event_log`; what one document holds is in `mongo_documents`.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, Self

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from madsci_event_server.beside import nothing
from madsci_event_server.ending import ended
from madsci_event_server.errors import NotFound, StoreError, StoreUnusable
from madsci_event_server.event import Event, NamedId, time_to_us, us_to_time
from madsci_event_server.query import Cursor, EventQuery, NameDirectory
from madsci_event_server.storage import mongo_finding
from madsci_event_server.storage.alert_base import AlertStore
from madsci_event_server.storage.alert_mongo import MongoAlertStore
from madsci_event_server.storage.base import (
    DEFAULT_QUERY_SECONDS,
    MAX_NAMES,
    Appended,
    Bucket,
    Facets,
    Page,
    SeenName,
    StoredEvent,
    StoreStatus,
)
from madsci_event_server.storage.mongo_appending import Appender
from madsci_event_server.storage.mongo_counting import Counting, check_fields
from madsci_event_server.storage.mongo_database import Database, Session, TimeLimit
from madsci_event_server.storage.mongo_documents import (
    ARCHIVED,
    COUNTER,
    EVENTS,
    META,
    NAMES,
    RAISED_FROM,
    READ,
    VALUES,
    Batch,
    MongoPacking,
    NewEvent,
    NotMade,
    changes_of_archiving,
    storable,
    stored_of,
)
from madsci_event_server.storage.mongo_lease import Lease
from madsci_event_server.storage.mongo_names import Names, write_sightings
from madsci_event_server.storage.mongo_pace import Pace
from madsci_event_server.storage.mongo_query import Plan, needs_vocabulary, plan_of
from madsci_event_server.storage.mongo_scribing import Scribe
from madsci_event_server.storage.mongo_writer import Document

FORMAT: Final = 1
"""What the documents look like; a server refuses a database of a later one."""
INDEXES: Final = (
    IndexModel([("terms", 1), ("state", 1), ("time_us", -1), ("first_seq", -1)], name="terms_state_time"),
    IndexModel([("words", 1), ("time_us", -1), ("first_seq", -1)], name="words_time"),
    IndexModel([("state", 1), ("time_us", -1), ("first_seq", -1), ("about", 1)], name="state_time"),
    IndexModel([("seq", 1)], name="received", unique=True),
    IndexModel([(RAISED_FROM, 1)], name="raised", unique=True, sparse=True),
    IndexModel(
        [("archived_us", -1), ("first_seq", -1)],
        name="archived",
        partialFilterExpression={"archived_us": {"$exists": True}},
    ),
)
"""One term or word with a minimum level, newest first, is at most six ranges of an index, merged.

`about` is there to count by what many events have in common without reading one of them.
"""

_IDS_AT_ONCE: Final = 1000
_NAMES_EVERY_SECONDS: Final = 5.0
"""How soon this server knows a node's name that another one has seen."""
_PACE_SECONDS: Final = 0.01
"""How often to look whether this server still commits all the time."""
_PURGED: Final = "purged"
"""The document of META that holds the highest place of a purged event."""
_MADSCI_COLLECTION: Final = "events"

_log = logging.getLogger(__name__)


class MongoStore:
    """An EventStore in the database of a `mongodb://` address, made where there is none."""

    def __init__(self, url: str, *, query_seconds: float = DEFAULT_QUERY_SECONDS, scribe: Scribe | None = None) -> None:
        self._database = Database(url)
        self.packing = MongoPacking()
        self._query_seconds = query_seconds
        self._alerts = MongoAlertStore(self._database)
        self._names = Names()
        self._pace = Pace()
        self.scribe = scribe or Scribe(url)
        self._appender = Appender(self._database, self._names, self._pace, self.scribe)
        self._store_id = ""
        self._lease: Lease | None = None
        self._refreshing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._database.open()
        try:
            await self._set_up()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        async with self._appender.writing:
            await self._close()

    @property
    def store_id(self) -> str:
        """Which store this is."""
        return self._store_id

    @property
    def names_directory(self) -> NameDirectory:
        """Names to ids, of nodes only; those that other servers saw a few seconds later."""
        return self._names

    def alert_store(self) -> AlertStore:
        """What alerting remembers, in the same database."""
        return self._alerts

    # --- Events in ---

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        """Stores all or none, durably, in this order; on a standalone a crash of MongoDB may leave the first ones."""
        batch = Batch([event.event_id for event in events])
        making = asyncio.create_task(batch.make(events))
        try:
            if self._lease is not None:
                await making
            return await self._appender.append(batch, nothing)
        except NotMade:
            await making  # raises what is the matter
            raise
        finally:
            batch.end()
            await ended(making)

    def prepare(self, event: Event) -> NewEvent:
        """What `append_prepared` takes."""
        return self.packing.prepare(event)

    async def append_prepared(self, events: Sequence[NewEvent]) -> list[Appended]:
        """What `append` does with the events they were made of."""
        return await self.append_next(events, nothing)

    async def append_next(self, events: Sequence[NewEvent], ready: Callable[[], None]) -> list[Appended]:
        """The same; calls `ready` while these are being made durable."""
        return await self._appender.append(Batch([new.event_id for new in events], events), ready)

    async def restore(self, events: Sequence[StoredEvent]) -> int:
        """Stores events in the places they had elsewhere."""
        return await self._appender.restore(events)

    # --- Events out ---

    async def get(self, event_id: str) -> StoredEvent:
        """The event of this id. Raises NotFound."""
        found = None
        if event_id.isprintable():  # no stored id is not, and BSON takes no lone surrogate
            with self._database.lookup():
                found = await self._database.committed(EVENTS).find_one({"_id": event_id}, READ)
        if found is None:
            _ = self._database.client
            raise NotFound(f"Event with ID {event_id} not found")
        return stored_of(found)

    async def ids_like(self, text: str, limit: int) -> list[str]:
        """Up to `limit` ids that begin or end with `text`, any letter case. Looks at every id."""
        part = text.casefold()
        # MongoDB folds the case of single letters only, so of ids beyond ASCII Python decides; it decides of all again.
        likely: list[Document] = [{"_id": {"$regex": r"[^\x00-\x7f]"}}]
        if part.isascii():
            escaped = "".join(character if character.isalnum() else f"\\{character}" for character in part)
            likely += [{"_id": {"$regex": f"^{escaped}|{escaped}$", "$options": "i"}}]
        found: list[str] = []
        limited = TimeLimit(self._query_seconds)
        async with self._database.snapshot(limited) as session:
            cursor = self._database.collection(EVENTS).find({"$or": likely}, {"_id": 1}, session=session)
            async with cursor.sort("_id") as ids:
                async for document in ids:
                    folded = document["_id"].casefold()
                    if folded.startswith(part) or folded.endswith(part):
                        found.append(document["_id"])
                        if len(found) >= limit:
                            break
        return found

    async def find(self, query: EventQuery) -> Page:
        """The page of matching events after the query's cursor."""
        limit = TimeLimit(self._query_seconds)
        async with self._database.snapshot(limit) as session:
            plan = await self._plan(query, session)
            if self._lease is not None and query.order == "received":
                # What is in the midst of being stored could be gone after a crash, and its place passed for nothing.
                plan = plan.narrowed({"seq": {"$lte": self._lease.last_seq}})
            events = self._database.collection(EVENTS)
            return await mongo_finding.find(events, session, limit, query, plan, self._store_id)

    async def facets(self, query: EventQuery, fields: Collection[str], limit: int) -> Facets:
        """Counts by value."""
        check_fields(tuple(fields))
        time_limit = TimeLimit(self._query_seconds)
        async with self._database.snapshot(time_limit) as session:
            return await (await self._counting(query, session, time_limit)).facets(tuple(fields), limit)

    async def histogram(self, query: EventQuery, interval_seconds: int) -> list[Bucket]:
        """Counts over time, by level."""
        limit = TimeLimit(self._query_seconds)
        async with self._database.snapshot(limit) as session:
            return await (await self._counting(query, session, limit)).histogram(interval_seconds)

    async def names(self) -> list[SeenName]:
        """The names seen beside ids, latest first."""
        with self._database.lookup():
            cursor = self._database.committed(NAMES).find(sort=[("last_seen_us", -1), ("_id", 1)], limit=MAX_NAMES)
            stored = [
                SeenName(**document["_id"], last_seen=us_to_time(document["last_seen_us"])) async for document in cursor
            ]
        return self._names.merged(stored)

    async def head(self) -> str:
        """The received-order cursor after the last event."""
        with self._database.lookup():
            return Cursor(self._store_id, "r", await self._last_seq()).encode()

    async def commits(self) -> AsyncGenerator[int]:
        """The last place in received order each time a server, whichever, has committed; ends where there is only one.

        Not while this server commits all the time: each commit here tells of all those before it, and to be told of it
        once more costs MongoDB as much as a tenth of storing it. Raises StoreUnavailable when MongoDB is away; ask
        again then.
        """
        if self._lease is not None:
            return
        while True:
            while self._pace.is_fast():  # noqa: ASYNC110  # it ends by time passing
                await asyncio.sleep(_PACE_SECONDS)
            with self._database.translated():
                async with aclosing(self._changes()) as changes:
                    async for seq in changes:
                        yield seq
                        if self._pace.is_fast():
                            break

    async def _changes(self) -> AsyncGenerator[int]:
        pipeline = [{"$match": {"documentKey._id": COUNTER}}]
        async with await self._database.collection(META).watch(pipeline) as changes:
            yield await self._last_seq()
            async for change in changes:
                moved = change.get("updateDescription", {}).get("updatedFields", {}).get("last_seq")
                if moved is not None:
                    yield int(moved)

    # --- Retention ---

    async def archive(self, *, ids: Collection[str] | None = None, before: datetime | None = None, at: datetime) -> int:
        """Marks events as archived, some at a time, so that appends go on meanwhile."""
        bound: Document = {"state": {"$lt": ARCHIVED}}
        if before is not None:
            bound["time_us"] = {"$lt": time_to_us(before)}
        change = {"$inc": {"state": ARCHIVED}, "$set": changes_of_archiving(time_to_us(at))}
        total = 0
        if ids is not None:
            wanted = storable(ids)
            for start in range(0, len(wanted), _IDS_AT_ONCE):
                total += await self._change(bound | {"_id": {"$in": wanted[start : start + _IDS_AT_ONCE]}}, change)
            return total
        while some := await self._some(bound, "state_time"):
            total += await self._change(bound | {"_id": {"$in": list(some)}}, change)
        return total

    async def purge(self, archived_before: datetime, *, dry_run: bool = False) -> int:
        """Deletes the events archived before this, some at a time."""
        bound = {"archived_us": {"$gte": -(2**63), "$lt": time_to_us(archived_before)}}
        if dry_run:
            with self._database.lookup():
                return await self._database.committed(EVENTS).count_documents(bound, hint="archived")
        total = 0
        while some := await self._some(bound, "archived"):
            through = {"$max": {"seq": max(some.values())}}
            with self._database.lookup():
                # First said, then done: who is told of a gap that is none yet has lost nothing.
                await self._database.collection(META).update_one({"_id": _PURGED}, through, upsert=True)
                deleted = await self._database.collection(EVENTS).delete_many(bound | {"_id": {"$in": list(some)}})
            total += deleted.deleted_count
        return total

    async def purged_through(self) -> int:
        """The highest seq that a purged event had."""
        with self._database.lookup():
            found = await self._database.committed(META).find_one({"_id": _PURGED})
        return 0 if found is None else int(found["seq"])

    async def _some(self, bound: Document, index: str) -> dict[str, int]:
        """Some of the events in these bounds, with their places."""
        with self._database.lookup():
            cursor = self._database.committed(EVENTS).find(bound, {"seq": 1}, limit=_IDS_AT_ONCE, hint=index)
            return {document["_id"]: document["seq"] async for document in cursor}

    async def _change(self, which: Document, change: Document) -> int:
        with self._database.lookup():
            return (await self._database.collection(EVENTS).update_many(which, change)).modified_count

    # --- Condition ---

    async def status(self) -> StoreStatus:
        """Counts and condition; writes a little to see whether it can."""
        with self._database.lookup(5.0):
            await self._database.collection(META).update_one({"_id": "checks"}, {"$inc": {"checks": 1}}, upsert=True)
            events = self._database.committed(EVENTS)
            archived = await events.count_documents({"archived_us": {"$gte": -(2**63)}}, hint="archived")
            total = await self._database.collection(EVENTS).estimated_document_count()
            sizes = await self._database.mongo.command("dbStats")
            details = {"mongodb_version": self._database.server_version, **await self._deployment()}
            return StoreStatus(
                "mongodb",
                self._database.location,
                total,
                archived,
                await self._last_seq(),
                int(sizes["storageSize"] + sizes["indexSize"]),
                details,
            )

    async def _deployment(self) -> dict[str, Any]:
        hello = await self._database.client.admin.command("hello")
        if "setName" not in hello:
            return {"deployment": "standalone" if self._lease else "sharded"}
        return {
            "deployment": "replica set",
            "replica_set": hello["setName"],
            "primary": hello.get("primary"),
            "members": hello.get("hosts", []),
        }

    async def _last_seq(self) -> int:
        _ = self._database.client  # says so when it is closed
        if self._lease is not None:
            return self._lease.last_seq
        counter = await self._database.committed(META).find_one({"_id": COUNTER})
        if counter is None:
            raise StoreUnusable(f"{self._database.location} was emptied while it was in use; restart the server")
        return int(counter["last_seq"])

    # --- Queries ---

    async def _plan(self, query: EventQuery, session: Session | None) -> Plan:
        vocabulary: dict[str, list[str]] = {"kind": [], "event_type": []}
        if needs_vocabulary(query):
            async for document in self._database.collection(VALUES).find(session=session):
                field, _, value = document["_id"].partition("=")
                vocabulary[field].append(value)
        return plan_of(query, vocabulary)

    async def _counting(self, query: EventQuery, session: Session | None, limit: TimeLimit) -> Counting:
        plan = await self._plan(query, session)
        return Counting(self._database.collection(EVENTS), session, limit, query, plan)

    # --- Opening and closing ---

    async def _set_up(self) -> None:
        with self._database.translated():
            await self._refuse_madsci()
            await self._make()
            if not self._database.is_replica_set:
                self._lease = self._appender.lease = Lease(self._database)
                await self._lease.take()
            await self._read_names()
        self._refreshing = asyncio.create_task(self._refresh())

    async def _refuse_madsci(self) -> None:
        """A database that MADSci writes to is not ours to write to."""
        names = await self._database.mongo.list_collection_names()
        if META in names or _MADSCI_COLLECTION not in names:
            return
        if await self._database.mongo[_MADSCI_COLLECTION].find_one({"event_timestamp": {"$exists": True}}):
            address = f"mongodb://{self._database.location}"
            raise StoreUnusable(
                f"{address} holds events that MADSci's Event Manager wrote, and is left as it is; copy them with "
                f"`madsci-events store copy {address} TO` and serve TO, for example mongodb://HOST/event_log"
            )

    async def _make(self) -> None:
        meta = self._database.collection(META)
        new_id = secrets.token_hex(8)
        for document in (
            {"_id": "store", "store_id": new_id, "format": FORMAT, "made_at": datetime.now(UTC)},
            {"_id": COUNTER, "last_seq": 0},
        ):
            try:
                await meta.update_one({"_id": document["_id"]}, {"$setOnInsert": document}, upsert=True)
            except DuplicateKeyError:
                continue  # another server made it at the same moment
        store = await meta.find_one({"_id": "store"})
        if store is None or store["format"] > FORMAT:
            raise StoreUnusable(
                f"{self._database.location} was written by a newer version of this server; update this one"
            )
        self._store_id = store["store_id"]
        await self._database.collection(EVENTS).create_indexes(list(INDEXES))
        await self._database.collection(NAMES).create_index([("last_seen_us", -1)], name="lately")
        await self._alerts.prepare()

    async def _read_names(self) -> None:
        cursor = self._database.committed(NAMES).find({"_id.field": "node_id"}, {"_id": 1})
        self._names.add([NamedId(**document["_id"]) async for document in cursor])

    async def _refresh(self) -> None:
        """Writes when names were seen again, and learns those that other servers see."""
        while True:
            await asyncio.sleep(_NAMES_EVERY_SECONDS)
            try:
                await self._write_names()
                with self._database.lookup():
                    await self._read_names()
            except Exception:  # noqa: BLE001, S112  # away for now: requests say so, and this tries again
                continue

    async def _write_names(self) -> None:
        sightings = self._names.unwritten
        await self._database.write(lambda writing: write_sightings(writing, sightings))
        self._names.written(sightings)

    async def _close(self) -> None:
        if self._refreshing is not None:
            await ended(self._refreshing)
            try:
                await self._write_names()
            except StoreError as error:
                _log.warning("when names were last seen could not be written: %s", error)
        if self._lease is not None:
            await self._lease.release()
        await self.scribe.close()
        await self._database.close()
