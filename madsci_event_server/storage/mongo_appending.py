"""Appending as a store does it: in a transaction or by lease, knowing what is there already."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from pymongo import UpdateOne

from madsci_event_server.storage import mongo_writing
from madsci_event_server.storage.base import Appended, Outcome, StoredEvent
from madsci_event_server.storage.mongo_database import Database, Transaction
from madsci_event_server.storage.mongo_documents import VALUES, Batch, NewEvent, term_text
from madsci_event_server.storage.mongo_lease import Lease
from madsci_event_server.storage.mongo_names import Names, sightings_in, write_sightings
from madsci_event_server.storage.mongo_pace import Pace
from madsci_event_server.storage.mongo_writer import RETRY_SECONDS, Writing, nothing

_SETTLE_SECONDS: Final = 0.05


class Appender:
    """Appends to one store."""

    def __init__(self, database: Database, names: Names, pace: Pace) -> None:
        """`names` are told of what was seen, `pace` of commits."""
        self.lease: Lease | None = None
        """On a standalone."""
        self.writing = asyncio.Lock()
        """Held on a standalone; elsewhere transactions come one after the other."""
        self._database = database
        self._names = names
        self._pace = pace
        self._known_values: set[tuple[str, str]] = set()
        self._is_settled = True
        """Whether, on a standalone, every append here is known to have ended there."""

    async def append(self, batch: Batch, ready: Callable[[], None]) -> list[Appended]:
        """Stores all or none; calls `ready` while they are being made durable."""
        if not batch.ids:
            return []
        if self.lease is None:
            appended = await self._append(batch, ready)
        else:
            async with self.writing:
                appended = await self._append_alone(self.lease, batch.all())
        if any(one.outcome in (Outcome.STORED, Outcome.RAISED) for one in appended):
            self._pace.step()
        pairs = zip(appended, batch.all(), strict=True)
        if stored := [new for one, new in pairs if one.outcome is Outcome.STORED]:
            self._names.saw(sightings_in(stored))
        return appended

    async def _append(self, batch: Batch, ready: Callable[[], None]) -> list[Appended]:
        loop = asyncio.get_running_loop()
        perhaps_stored = False

        def all_new(writing: Writing) -> list[Appended]:
            nonlocal perhaps_stored
            perhaps_stored |= writing.perhaps_committed
            appended = mongo_writing.append_new(writing, batch)
            self._know(writing, batch.all())
            return appended

        def any_of_them(writing: Writing) -> list[Appended]:
            outcomes = mongo_writing.append_any(
                writing, batch.all(), perhaps_stored=perhaps_stored or writing.perhaps_committed
            )
            self._know(writing, outcomes.added)
            return outcomes.appended

        def committing() -> None:
            loop.call_soon_threadsafe(ready)

        def append(transaction: Transaction) -> list[Appended]:
            try:
                return transaction(all_new, committing)
            except mongo_writing.SomeAreKnown:
                return transaction(any_of_them, nothing)

        return await self._database.store_events(append)

    async def _append_alone(self, lease: Lease, new: Sequence[NewEvent]) -> list[Appended]:
        with self._database.lookup():
            await self._settle()
            last = await lease.reserve(len(new))
        ids = [event.event_id for event in new]
        known = await self._database.write(lambda writing: mongo_writing.stored_events(writing, ids))
        outcomes = mongo_writing.Outcomes(known, last, perhaps_stored=False)
        lease.last_given = last + len(new)  # whatever fails: no place is given twice
        self._is_settled = False

        def append(writing: Writing) -> None:
            self._know(writing, new)
            mongo_writing.append_alone(writing, new, outcomes)

        await self._database.write(append, lease.seconds_left)
        self._is_settled = True
        lease.last_seq = lease.last_given = outcomes.seq
        return outcomes.appended

    def _know(self, writing: Writing, new: Sequence[NewEvent]) -> None:
        """Stores what was never seen before: names, and kinds and types, so that globs can be looked up."""
        write_sightings(writing, self._names.unknown(sightings_in(new)))
        values = {("kind", one.kind) for one in new} | {("event_type", one.event_type) for one in new}
        values -= self._known_values
        if values:
            # Not in the transaction: too many do no harm.
            ids = sorted(term_text(field, value) for field, value in values)
            writes = [UpdateOne({"_id": id_}, {"$set": {}}, upsert=True) for id_ in ids]
            writing.collection(VALUES).bulk_write(writes, ordered=False)
            self._known_values |= values

    async def _settle(self) -> None:
        """Waits until MongoDB has ended an append that failed here: it might yet store an event in an earlier place."""
        while not self._is_settled:
            self._is_settled = not await mongo_writing.is_appending(self._database)
            if not self._is_settled:
                await asyncio.sleep(_SETTLE_SECONDS)

    async def restore(self, events: Sequence[StoredEvent]) -> int:
        """Stores events in the places they had elsewhere."""

        def restore(writing: Writing) -> list[NewEvent]:
            restored = mongo_writing.restore(writing, events)
            self._know(writing, restored)
            return restored

        if self.lease is None:
            restored = await self._database.transaction(restore)
        else:
            async with self.writing:
                last = max((stored.seq for stored in events), default=0)
                await self.lease.reserve(max(0, last - self.lease.last_given))
                restored = await self._database.write(restore, RETRY_SECONDS)
                self.lease.last_seq = self.lease.last_given = max(self.lease.last_given, last)
        self._names.saw(sightings_in(restored))
        return len(restored)
