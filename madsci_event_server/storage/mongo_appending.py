"""Appending as a store does it: in a transaction or by lease, knowing what is there already."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from madsci_event_server.beside import Lost
from madsci_event_server.storage import mongo_writing
from madsci_event_server.storage.base import Appended, Outcome, StoredEvent
from madsci_event_server.storage.mongo_database import Database, Transaction
from madsci_event_server.storage.mongo_documents import Batch, NewEvent
from madsci_event_server.storage.mongo_lease import Lease
from madsci_event_server.storage.mongo_names import Names, sightings_in, write_sightings
from madsci_event_server.storage.mongo_pace import Pace
from madsci_event_server.storage.mongo_scribing import Scribe
from madsci_event_server.storage.mongo_writer import RETRY_SECONDS, Writing
from madsci_event_server.storage.mongo_writing import Value, append_events, values_in, write_values

_SETTLE_SECONDS: Final = 0.05


class Appender:
    """Appends to one store."""

    def __init__(self, database: Database, names: Names, pace: Pace, scribe: Scribe) -> None:
        """`names` are told of what was seen, `pace` of commits; `scribe` writes while they come fast."""
        self.lease: Lease | None = None
        """On a standalone."""
        self.writing = asyncio.Lock()
        """Held on a standalone; elsewhere transactions come one after the other."""
        self._database = database
        self._names = names
        self._pace = pace
        self._scribe = scribe
        self._wrote_here = False
        """Whether a thread of this process wrote last."""
        self._known_values: set[Value] = set()
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
            if self.lease is None and self._pace.is_fast():
                self._scribe.start()
        pairs = zip(appended, batch.all(), strict=True)
        if stored := [new for one, new in pairs if one.outcome is Outcome.STORED]:
            self._names.saw(sightings_in(stored))
        return appended

    async def _append(self, batch: Batch, ready: Callable[[], None]) -> list[Appended]:
        is_dictated = self._scribe.is_ready and batch.is_made
        found = await self._dictate(batch.all(), ready) if is_dictated else None
        if found is None:
            found = await self._append_here(batch, ready, perhaps_stored=is_dictated)
        if isinstance(found, int):
            return batch.placed(found)
        return found

    async def _dictate(self, new: list[NewEvent], ready: Callable[[], None]) -> int | list[Appended] | None:
        """Has the scribe store them; None where it was lost."""
        if self._wrote_here:
            # What was handed over first is committed first, whoever does it.
            self._wrote_here = False
            await self._database.store_events(lambda _: None)
        values = values_in(new) - self._known_values
        try:
            found = await self._scribe.append(new, self._names.unknown(sightings_in(new)), values, ready)
        except Lost:
            return None
        self._known_values |= values
        return found

    async def _append_here(
        self, batch: Batch, ready: Callable[[], None], *, perhaps_stored: bool
    ) -> int | list[Appended]:
        loop = asyncio.get_running_loop()
        self._wrote_here = True

        def committing() -> None:
            loop.call_soon_threadsafe(ready)

        def append(transaction: Transaction) -> int | list[Appended]:
            return append_events(transaction, batch, self._know, committing, perhaps_stored=perhaps_stored)

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
        values = values_in(new) - self._known_values
        write_values(writing, values)
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
