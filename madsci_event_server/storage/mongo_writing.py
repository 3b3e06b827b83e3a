"""Appending: on a replica set in one transaction, on a standalone by the one server there is.

In a transaction the counter comes first: whoever takes it holds it until the commit, so that transactions are
committed in the order of the places they give, from whichever server.
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from bson.raw_bson import RawBSONDocument
from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import WriteError

from madsci_event_server.beside import nothing
from madsci_event_server.errors import StoreUnusable
from madsci_event_server.event import Event, compare_again, raised
from madsci_event_server.storage.base import Appended, Outcome, StoredEvent, has_its_own, not_as_here
from madsci_event_server.storage.mongo_database import Database, Transaction
from madsci_event_server.storage.mongo_documents import (
    COUNTER,
    EVENTS,
    META,
    RAISED_FROM,
    READ,
    VALUES,
    Batch,
    NewEvent,
    changes_of_raise,
    event_of,
    stored_of,
    term_text,
)
from madsci_event_server.storage.mongo_writer import Writing

_DUPLICATE_KEY: Final = 11000
_MESSAGE_BYTES: Final = 16_000_000
"""Of documents inserted in one go, unless one alone is larger: MongoDB takes 48 MB."""
_APPENDING: Final = "madsci-events: append"
"""By which a write without a transaction is known while it is under way."""

Write = InsertOne[Any] | UpdateOne
Value = tuple[str, str]
"""A kind, or a type as sent, with the field it is in."""


class SomeAreKnown(Exception):
    """Some of the ids to append are stored already, or come twice: the sign to look them up."""


def append_events(
    transaction: Transaction,
    batch: Batch,
    learn: Callable[[Writing, Sequence[NewEvent]], None],
    committing: Callable[[], None],
    *,
    perhaps_stored: bool = False,
) -> int | list[Appended]:
    """Stores all or none, in this order: the place before the first where all are new, else what became of each.

    `learn` stores, with new events, what was never seen before. `perhaps_stored`: see `append_any`.
    """

    def all_new(writing: Writing) -> int:
        nonlocal perhaps_stored
        perhaps_stored |= writing.perhaps_committed
        before = append_new(writing, batch)
        learn(writing, batch.all())
        return before

    def any_of_them(writing: Writing) -> list[Appended]:
        outcomes = append_any(writing, batch.all(), perhaps_stored=perhaps_stored or writing.perhaps_committed)
        learn(writing, outcomes.added)
        return outcomes.appended

    try:
        return transaction(all_new, committing)
    except SomeAreKnown:
        return transaction(any_of_them, nothing)


def append_new(writing: Writing, batch: Batch) -> int:
    """Stores events that all are new; the place before the first. Raises SomeAreKnown, and then nothing is stored."""
    count = len(batch.ids)
    if len(set(batch.ids)) != count:
        raise SomeAreKnown
    before = _take(writing, count) - count
    places = itertools.count(before + 1)
    for part in batch.parts():
        for new, seq in zip(part, places):  # noqa: B905  # there is no last place
            new.put(seq, seq)
        _insert(writing, part)
    return before


def append_any(writing: Writing, events: Sequence[NewEvent], *, perhaps_stored: bool) -> "Outcomes":
    """Stores the events that are new and raises those that are raised, after looking all of them up.

    With `perhaps_stored` an event found exactly as it was to be stored is one an earlier attempt stored.
    """
    last = _take(writing, 0)
    known = stored_events(writing, [new.event_id for new in events])
    outcomes = Outcomes(known, last, perhaps_stored=perhaps_stored)
    outcomes.decide(events)
    if outcomes.seq == last:
        assert writing.session is not None  # noqa: S101  # it is a transaction
        writing.session.abort_transaction()
        return outcomes
    writing.collection(META).update_one({"_id": COUNTER}, {"$set": {"last_seq": outcomes.seq}}, session=writing.session)
    if outcomes.added:
        _insert(writing, outcomes.added)
    if outcomes.raises:
        writing.collection(EVENTS).bulk_write(outcomes.raises, session=writing.session)
    return outcomes


def append_alone(writing: Writing, events: Sequence[NewEvent], outcomes: "Outcomes") -> None:
    """The same without a transaction: in order of their places, so that they are seen in that order."""
    outcomes.decide(events)
    if writes := outcomes.writes:
        writing.collection(EVENTS).bulk_write(writes, comment=_APPENDING)


async def is_appending(database: Database) -> bool:
    """Whether such a write is at work in MongoDB, whoever still waits for it."""
    ours = {"ns": f"{database.name}.{EVENTS}", "command.comment": _APPENDING}
    async with await database.client.admin.aggregate([{"$currentOp": {}}, {"$match": ours}]) as found:
        return bool(await found.to_list(1))


def restore(writing: Writing, events: Sequence[StoredEvent]) -> list[NewEvent]:
    """Stores events in the places they had elsewhere; those that were not here so."""
    known = stored_events(writing, [stored.event.event_id for stored in events])
    changed = [(stored, NewEvent(stored.event)) for stored in not_as_here(events, known).values()]
    if not changed:
        return []
    for stored, new in changed:
        new.place(stored.seq, stored.first_seq)
    _check_places(writing, [stored for stored, _ in changed], [new.event_id for _, new in changed])
    last = max(stored.seq for stored, _ in changed)
    writing.collection(META).update_one({"_id": COUNTER}, {"$max": {"last_seq": last}}, session=writing.session)
    writes: list[InsertOne[Any] | ReplaceOne[Any]] = [
        ReplaceOne({"_id": new.event_id}, new.raw()) if new.event_id in known else InsertOne(new.raw())
        for _, new in changed
    ]
    writing.collection(EVENTS).bulk_write(writes, session=writing.session)
    return [new for _, new in changed]


def _check_places(writing: Writing, changed: Sequence[StoredEvent], ids: Sequence[str]) -> None:
    """Raises StoreUnusable where an event not of these ids has, or ever had, the place of one of them."""
    places = list({place for stored in changed for place in (stored.seq, stored.first_seq)})
    taken = {"_id": {"$nin": ids}, "$or": [{"seq": {"$in": places}}, {RAISED_FROM: {"$in": places}}]}
    other = writing.collection(EVENTS).find_one(taken, {"seq": 1, "first_seq": 1}, session=writing.session)
    if other is not None:
        its = {other["seq"], other["first_seq"]}
        raise has_its_own(
            next(id_ for id_, stored in zip(ids, changed, strict=True) if its & {stored.seq, stored.first_seq})
        )


def stored_events(writing: Writing, ids: Collection[str]) -> dict[str, StoredEvent]:
    """Those of these ids that are stored."""
    wanted = {"_id": {"$in": list(dict.fromkeys(ids))}}
    found = writing.collection(EVENTS).find(wanted, READ, session=writing.session)
    return {document["_id"]: stored_of(document) for document in found}


def values_in(events: Iterable[NewEvent]) -> set[Value]:
    """The kinds and the types of these events."""
    return {value for new in events for value in (("kind", new.kind), ("event_type", new.event_type))}


def write_values(writing: Writing, values: Iterable[Value]) -> None:
    """Stores kinds and types, so that globs can be looked up. Not in the transaction: too many do no harm."""
    writes = [UpdateOne({"_id": term_text(*value)}, {"$set": {}}, upsert=True) for value in sorted(values)]
    if writes:
        writing.collection(VALUES).bulk_write(writes, ordered=False)


class Outcomes:
    """What becomes of events one after the other, given those that are stored."""

    def __init__(self, known: dict[str, StoredEvent], seq: int, *, perhaps_stored: bool) -> None:
        self._known = known
        self._new: dict[str, tuple[NewEvent, int]] = {}
        self._raised: dict[str, tuple[StoredEvent, Event]] = {}
        self._perhaps_stored = perhaps_stored
        self.seq = seq
        """The last place given."""
        self.appended: list[Appended] = []
        """What became of each."""

    def decide(self, events: Iterable[NewEvent]) -> None:
        """Says what becomes of these events, one after the other."""
        self.appended += [self._of(new) for new in events]

    @property
    def added(self) -> list[NewEvent]:
        """The events to insert."""
        return [new for new, _ in self._new.values()]

    @property
    def raises(self) -> list[Write]:
        """The updates of stored events that were raised."""
        return [_update(stored, event) for stored, event in self._raised.values()]

    @property
    def writes(self) -> list[Write]:
        """All that is to be written, in order of the places."""
        places: list[tuple[int, Write]] = [(seq, InsertOne(new.raw())) for new, seq in self._new.values()]
        places += [(stored.seq, _update(stored, event)) for stored, event in self._raised.values()]
        return [write for _, write in sorted(places, key=lambda place: place[0])]

    def _of(self, new: NewEvent) -> Appended:
        known = self._known.get(new.event_id)
        if known is None:
            self.seq += 1
            self._new[new.event_id] = new, self.seq
            known = self._known[new.event_id] = new.place(self.seq)
            return Appended(Outcome.STORED, known)
        if self._perhaps_stored and known.body == new.body:
            return Appended(Outcome.STORED, known)
        before, again = event_of(known), new.event
        outcome = Outcome(compare_again(before, again))
        if outcome is Outcome.RAISED:
            known = self._raise(known, raised(before, again))
        return Appended(outcome, known)

    def _raise(self, known: StoredEvent, event: Event) -> StoredEvent:
        self.seq += 1
        event_id = event.event_id
        if event_id in self._new:  # new in this very batch: inserted as it ends up
            again = NewEvent(event)
            self._new[event_id] = again, self.seq
            stored = again.place(self.seq, known.first_seq)
        else:
            stored = StoredEvent(self.seq, known.first_seq, known.time_us, known.event_type, event.encode())
            self._raised[event_id] = (stored, event)
        self._known[event_id] = stored
        return stored


def _update(stored: StoredEvent, event: Event) -> UpdateOne:
    return UpdateOne({"_id": event.event_id}, {"$set": changes_of_raise(event, stored)})


def _take(writing: Writing, count: int) -> int:
    """Gives out so many places and the counter with them until the commit; the last of them."""
    # Also where no place is taken it must change, or else it would not be held.
    change = {"$inc": {"last_seq": count, "turns": 1}}
    taking = {"findAndModify": META, "query": {"_id": COUNTER}, "update": change, "new": True}
    counter = writing.mongo.command(taking, session=writing.session)["value"]
    if counter is None:
        raise StoreUnusable(f"{writing.location} was emptied while it was in use; restart the server")
    return int(counter["last_seq"])


def _insert(writing: Writing, events: Sequence[NewEvent]) -> None:
    """Inserts them, in a transaction. Raises SomeAreKnown."""
    documents: list[RawBSONDocument] = []
    size = 0
    for new in events:
        raw = new.raw()
        if documents and size + len(raw.raw) > _MESSAGE_BYTES:
            _insert_at_once(writing, documents)
            documents, size = [], 0
        documents.append(raw)
        size += len(raw.raw)
    _insert_at_once(writing, documents)


def _insert_at_once(writing: Writing, documents: list[RawBSONDocument]) -> None:
    # The command itself: what `insert_many` does around it costs as much as all the rest.
    said = writing.mongo.command({"insert": EVENTS, "documents": documents}, session=writing.session)
    if problems := said.get("writeErrors"):
        if any(problem["code"] == _DUPLICATE_KEY for problem in problems):
            raise SomeAreKnown
        raise WriteError(str(problems[0].get("errmsg")), problems[0]["code"], problems[0])
