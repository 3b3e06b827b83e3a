"""A page of events in order, of one snapshot of the collection."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor

from madsci_event_server.query import Cursor, EventQuery, Order, cursor_letter
from madsci_event_server.storage.base import Page, StoredEvent
from madsci_event_server.storage.mongo_database import Session, TimeLimit
from madsci_event_server.storage.mongo_documents import READ, event_of, stored_of
from madsci_event_server.storage.mongo_query import Filter, Plan
from madsci_event_server.storage.mongo_writer import Document

_CHUNK: Final = 200
"""How many events are decided on in one go, off the event loop."""

ORDERS: Final[dict[Order, list[tuple[str, int]]]] = {
    "time": [("time_us", 1), ("first_seq", 1)],
    "-time": [("time_us", -1), ("first_seq", -1)],
    "received": [("seq", 1)],
    "-archived": [("archived_us", -1), ("first_seq", -1)],
}


async def find(
    events: AsyncCollection[Document],
    session: Session | None,
    limit: TimeLimit,
    query: EventQuery,
    plan: Plan,
    store_id: str,
) -> Page:
    """The page of matching events after the query's cursor."""
    after = None if query.after is None else Cursor.decode(query.after, store_id=store_id, order=query.order)
    conditions = [plan.filter, *_after(query.order, after)]
    limited = query.limit + 1 if plan.is_exact else 0
    cursor = events.find({"$and": conditions}, READ, session=session).sort(ORDERS[query.order]).limit(limited)
    cursor = _hinted(cursor, query.order, plan).allow_disk_use(True)
    found = await _first_matching(cursor, limit, query, plan)
    page = found[: query.limit]
    following = _cursor_after(query, page[-1][1], store_id).encode() if len(found) > query.limit else None
    return Page([stored for stored, _ in page], following)


async def matching(
    cursor: AsyncCursor[Document], limit: TimeLimit, query: EventQuery, plan: Plan
) -> AsyncIterator[list[tuple[StoredEvent, Document]]]:
    """What of a cursor's events the query matches, in their order, some at a time."""
    async with cursor:
        while documents := await cursor.to_list(_CHUNK):
            limit.check()
            # Patterns over large messages take their time: others must not wait for them.
            yield await asyncio.to_thread(_decided, documents, query, plan)


async def _first_matching(
    cursor: AsyncCursor[Document], limit: TimeLimit, query: EventQuery, plan: Plan
) -> list[tuple[StoredEvent, Document]]:
    if plan.is_exact:
        return [(stored_of(document), document) for document in await cursor.to_list(None)]
    found: list[tuple[StoredEvent, Document]] = []
    async for some in matching(cursor, limit, query, plan):
        found += some
        if len(found) > query.limit:
            break
    return found


def _decided(documents: Sequence[Document], query: EventQuery, plan: Plan) -> list[tuple[StoredEvent, Document]]:
    stored = [(stored_of(document), document) for document in documents]
    return stored if plan.is_exact else [pair for pair in stored if query.matches(event_of(pair[0]))]


def _after(order: Order, after: Cursor | None) -> list[Filter]:
    """That an event comes after a place. The first condition bounds the index, the second is about ties."""
    if order == "-archived":
        ends: list[Filter] = [{"archived_us": {"$gte": -(2**63)}}]  # so that the index of archived events serves it
        return ends if after is None else [*ends, *_beyond("archived_us", "$lte", "$gte", after)]
    if after is None:
        return []
    if order == "received":
        return [{"seq": {"$gt": after.position}}]
    return _beyond("time_us", *(("$gte", "$lte") if order == "time" else ("$lte", "$gte")), after)


def _beyond(field: str, onwards: str, up_to: str, after: Cursor) -> list[Filter]:
    return [
        {field: {onwards: after.time_us}},
        {"$nor": [{field: after.time_us, "first_seq": {up_to: after.position}}]},
    ]


def _hinted(cursor: AsyncCursor[Document], order: Order, plan: Plan) -> AsyncCursor[Document]:
    """Names the index where one is right whatever the data; else MongoDB tries those there are."""
    if order == "-archived":
        return cursor.hint("archived")
    if plan.has_terms or plan.finds_nothing:
        return cursor
    return cursor.hint("received" if order == "received" else "state_time")


def _cursor_after(query: EventQuery, document: Any, store_id: str) -> Cursor:
    if query.order == "received":
        return Cursor(store_id, "r", document["seq"])
    time_us = document["archived_us" if query.order == "-archived" else "time_us"]
    return Cursor(store_id, cursor_letter(query.order), document["first_seq"], time_us)
