"""The database of a MADSci Event Manager, to read: not one byte of it is changed."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, tzinfo
from types import TracebackType
from typing import Final, Self

from madsci_event_server.errors import StoreUnusable
from madsci_event_server.event import Event
from madsci_event_server.storage.madsci_documents import event_of_document
from madsci_event_server.storage.mongo_database import Database
from madsci_event_server.storage.mongo_documents import META

COLLECTION: Final = "events"


class MadsciDatabase:
    """`async with` connects. Raises StoreUnusable where MADSci wrote no events."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    async def __aenter__(self) -> Self:
        await self._database.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._database.close()

    async def is_ours(self) -> bool:
        """Whether this server's store is in the database, and not MADSci's. Raises StoreUnusable for neither."""
        with self._database.lookup():
            names = await self._database.mongo.list_collection_names()
        if META not in names and COLLECTION not in names:
            raise StoreUnusable(f"{self._database.location} holds no events, neither this server's nor MADSci's")
        return META in names

    async def count(self) -> int:
        """How many documents there are."""
        with self._database.lookup():
            return await self._database.collection(COLLECTION).estimated_document_count()

    async def converted(
        self, size: int, zone: tzinfo | None, clock: Callable[[], datetime]
    ) -> AsyncIterator[list[tuple[Event, str | None]]]:
        """Every document as an event, in the order they were stored in, some at a time.

        Beside an event: why its document is none, where it is kept whole under type `unknown`. Timestamps without a
        zone are in `zone`; events are received by this clock.
        """
        with self._database.translated():
            cursor = self._database.collection(COLLECTION).find(sort=[("$natural", 1)], batch_size=size)
            async with cursor:
                while batch := await cursor.to_list(size):
                    yield [event_of_document(document, zone, clock()) for document in batch]
