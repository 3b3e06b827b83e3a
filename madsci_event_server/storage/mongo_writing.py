"""Appending: on a replica set in one transaction, on a standalone by the one server there is.

In a transaction the counter comes first: whoever takes it holds it until the commit, so that transactions are
committed in the order of the places they give, from whichever server.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from pymongo import InsertOne, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError

from madsci_event_server.errors import StoreUnusable
from madsci_event_server.event import Event, NamedId, compare_again, raised, time_to_us
from madsci_event_server.storage.base import Appended, Outcome, StoredEvent, has_its_own, not_as_here
from madsci_event_server.storage.mongo_database import Database, Document, Session
from madsci_event_server.storage.mongo_documents import (
    COUNTER,
    EVENTS,
    META,
    NAMES,
    RAISED_FROM,
    READ,
    Batch,
    NewEvent,
    changes_of_raise,
    event_of,
    stored_of,
)

if TYPE_CHECKING:
    from datetime import datetime

_DUPLICATE_KEY: Final = 11000
_APPENDING: Final = "madsci-events: append"
"""By which a write without a transaction is known while it is under way."""

Write = InsertOne[Any] | UpdateOne


class _UnderWay:
    """What MongoDB does meanwhile: one thing after the other, as a transaction wants it; none is left behind."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begins it; the one before must be done."""
        self._task = asyncio.create_task(work)

    async def done(self) -> Any:
        """Its result, once it is there. Raises what it raises."""
        return None if self._task is None else await self._task


class SomeAreKnown(Exception):
    """Some of the ids to append are stored already, or come twice: the sign to look them up."""


async def append_new(database: Database, session: Session, batch: Batch) -> list[Appended]:
    """Stores events that all are new. Raises SomeAreKnown, and then nothing is stored."""
    if len({event.event_id for event in batch.events}) != len(batch.events):
        raise SomeAreKnown
    appended: list[Appended] = []
    async with _UnderWay() as under_way:
        under_way.start(_begin(database, session, batch.events))
        await batch.part(0)
        seq: int = await under_way.done()
        async for part in batch.parts():
            for new in part:
                seq += 1
                appended.append(Appended(Outcome.STORED, new.place(seq)))
            inserts = [new.insert() for new in part]
            await under_way.done()
            under_way.start(_insert(database, session, inserts))
        await under_way.done()
    return appended


async def _begin(database: Database, session: Session, events: Sequence[Event]) -> int:
    """Takes the places of new events; the last place before them."""
    last = await _take(database, session, len(events))
    await _add_names(database, session, events)
    return last - len(events)


async def append_any(
    database: Database, session: Session, events: Sequence[NewEvent], *, perhaps_stored: bool
) -> list[Appended]:
    """Stores the events that are new and raises those that are raised, after looking all of them up.

    With `perhaps_stored` an event found exactly as it was to be stored is one an earlier attempt stored.
    """
    last = await _take(database, session, 0)
    known = await stored_events(database, session, [new.event_id for new in events])
    outcomes = Outcomes(known, last, perhaps_stored=perhaps_stored)
    appended = [outcomes.of(new) for new in events]
    if outcomes.seq == last:
        await session.abort_transaction()
        return appended
    await database.collection(META).update_one({"_id": COUNTER}, {"$set": {"last_seq": outcomes.seq}}, session=session)
    if outcomes.added:
        await _insert(database, session, [new.insert() for new in outcomes.added])
        await _add_names(database, session, [new.event for new in outcomes.added])
    if outcomes.raises:
        await database.collection(EVENTS).bulk_write(outcomes.raises, session=session)
    return appended


async def append_alone(database: Database, events: Sequence[NewEvent], outcomes: "Outcomes") -> list[Appended]:
    """The same without a transaction: in order of their places, so that they are seen in that order."""
    appended = [outcomes.of(new) for new in events]
    if outcomes.added:
        await _add_names(database, None, [new.event for new in outcomes.added])
    if writes := outcomes.writes:
        await database.collection(EVENTS).bulk_write(writes, comment=_APPENDING)
    return appended


async def is_appending(database: Database) -> bool:
    """Whether such a write is at work in MongoDB, whoever still waits for it."""
    ours = {"ns": f"{database.name}.{EVENTS}", "command.comment": _APPENDING}
    async with await database.client.admin.aggregate([{"$currentOp": {}}, {"$match": ours}]) as found:
        return bool(await found.to_list(1))


async def restore(database: Database, session: Session | None, events: Sequence[StoredEvent]) -> list[NewEvent]:
    """Stores events in the places they had elsewhere; those that were not here so."""
    known = await stored_events(database, session, [stored.event.event_id for stored in events])
    changed = [(stored, NewEvent(stored.event)) for stored in not_as_here(events, known).values()]
    if not changed:
        return []
    for stored, new in changed:
        new.place(stored.seq, stored.first_seq)
    await _check_places(database, session, [new for _, new in changed])
    last = max(stored.seq for stored, _ in changed)
    await database.collection(META).update_one({"_id": COUNTER}, {"$max": {"last_seq": last}}, session=session)
    writes = [
        ReplaceOne({"_id": new.event_id}, new.document) if new.event_id in known else new.insert() for _, new in changed
    ]
    await database.collection(EVENTS).bulk_write(writes, session=session)
    await _add_names(database, session, [new.event for _, new in changed])
    return [new for _, new in changed]


async def _check_places(database: Database, session: Session | None, changed: Sequence[NewEvent]) -> None:
    """Raises StoreUnusable where another event has, or ever had, one of these places."""
    places = list({place for new in changed for place in (new.document["seq"], new.document["first_seq"])})
    taken = {
        "_id": {"$nin": [new.event_id for new in changed]},
        "$or": [{"seq": {"$in": places}}, {RAISED_FROM: {"$in": places}}],
    }
    other = await database.collection(EVENTS).find_one(taken, {"seq": 1, "first_seq": 1}, session=session)
    if other is not None:
        its = {other["seq"], other["first_seq"]}
        raise has_its_own(
            next(new.event_id for new in changed if its & {new.document["seq"], new.document["first_seq"]})
        )


async def stored_events(database: Database, session: Session | None, ids: Collection[str]) -> dict[str, StoredEvent]:
    """Those of these ids that are stored."""
    cursor = database.collection(EVENTS).find({"_id": {"$in": list(dict.fromkeys(ids))}}, READ, session=session)
    return {document["_id"]: stored_of(document) async for document in cursor}


class Outcomes:
    """What becomes of events one after the other, given those that are stored."""

    def __init__(self, known: dict[str, StoredEvent], seq: int, *, perhaps_stored: bool) -> None:
        self._known = known
        self._new: dict[str, NewEvent] = {}
        self._raised: dict[str, tuple[StoredEvent, Event]] = {}
        self._perhaps_stored = perhaps_stored
        self.seq = seq
        """The last place given."""

    @property
    def added(self) -> list[NewEvent]:
        """The events to insert."""
        return list(self._new.values())

    @property
    def raises(self) -> list[Write]:
        """The updates of stored events that were raised."""
        return [_update(stored, event) for stored, event in self._raised.values()]

    @property
    def writes(self) -> list[Write]:
        """All that is to be written, in order of the places."""
        places: list[tuple[int, Write]] = [(new.document["seq"], new.insert()) for new in self.added]
        places += [(stored.seq, _update(stored, event)) for stored, event in self._raised.values()]
        return [write for _, write in sorted(places, key=lambda place: place[0])]

    def of(self, new: NewEvent) -> Appended:
        """What becomes of the next event."""
        known = self._known.get(new.event_id)
        if known is None:
            self.seq += 1
            self._new[new.event_id] = new
            known = self._known[new.event_id] = new.place(self.seq)
            return Appended(Outcome.STORED, known)
        if self._perhaps_stored and known.body == new.event.encode():
            return Appended(Outcome.STORED, known)
        before = event_of(known)
        outcome = Outcome(compare_again(before, new.event))
        if outcome is Outcome.RAISED:
            known = self._raise(known, raised(before, new.event))
        return Appended(outcome, known)

    def _raise(self, known: StoredEvent, event: Event) -> StoredEvent:
        self.seq += 1
        event_id = event.event_id
        if event_id in self._new:  # new in this very batch: inserted as it ends up
            again = self._new[event_id] = NewEvent(event)
            stored = again.place(self.seq, known.first_seq)
        else:
            stored = StoredEvent(self.seq, known.first_seq, known.time_us, known.event_type, event.encode())
            self._raised[event_id] = (stored, event)
        self._known[event_id] = stored
        return stored


def _update(stored: StoredEvent, event: Event) -> UpdateOne:
    return UpdateOne({"_id": event.event_id}, {"$set": changes_of_raise(event, stored)})


async def _take(database: Database, session: Session, count: int) -> int:
    """Gives out so many places and the counter with them until the commit; the last of them."""
    counter = await database.collection(META).find_one_and_update(
        {"_id": COUNTER},
        # Also where no place is taken it must change, or else it would not be held.
        {"$inc": {"last_seq": count, "turns": 1}},
        return_document=ReturnDocument.AFTER,
        session=session,
    )
    if counter is None:
        raise StoreUnusable(f"{database.location} was emptied while it was in use; restart the server")
    return int(counter["last_seq"])


async def _insert(database: Database, session: Session, inserts: Sequence[Write]) -> None:
    try:
        await database.collection(EVENTS).bulk_write(inserts, session=session)
    except BulkWriteError as error:
        if _has_duplicate(error):
            raise SomeAreKnown from None
        raise


def _has_duplicate(error: BulkWriteError) -> bool:
    return any(problem.get("code") == _DUPLICATE_KEY for problem in (error.details or {}).get("writeErrors", ()))


async def _add_names(database: Database, session: Session | None, added: Iterable[Event]) -> None:
    seen: dict[NamedId, datetime] = {}
    for event in added:
        moment = event.event_timestamp
        for named in event.named_ids:
            if named not in seen or seen[named] < moment:
                seen[named] = moment
    if seen:
        writes = [
            UpdateOne({"_id": _name_key(named)}, {"$max": {"last_seen_us": time_to_us(moment)}}, upsert=True)
            for named, moment in seen.items()
        ]
        await database.collection(NAMES).bulk_write(writes, ordered=False, session=session)


def _name_key(named: NamedId) -> Document:
    return {"field": named.field, "id": named.id, "name": named.name}
