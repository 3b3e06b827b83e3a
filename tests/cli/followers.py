"""Following a server in tests: waiting for what comes, without waiting for time."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from madsci_event_cli.following import Followed, Patience, Raised, Received
from madsci_event_cli.reader import EventReader
from tests.live_server import LiveServer
from tests.processes import WAIT_SECONDS
from tests.thread_server import ThreadServer

if TYPE_CHECKING:
    from madsci_event_cli.reader import Query

QUICK = Patience(first_seconds=0.02, longest_seconds=0.1)

Server = LiveServer | ThreadServer
T = TypeVar("T", bound=Followed)


class Following:
    """One stream being followed."""

    def __init__(self, items: AsyncGenerator[Followed]) -> None:
        self._items = items
        self.seen: list[Followed] = []

    async def next(self) -> Followed:
        """The next item, whatever it is."""
        async with asyncio.timeout(WAIT_SECONDS):
            item = await anext(self._items)
        self.seen.append(item)
        return item

    async def until(self, kind: type[T]) -> T:
        """The next item of this kind."""
        while not isinstance(item := await self.next(), kind):
            pass
        return item

    async def events(self, count: int) -> list[str]:
        """The ids of the next events, new or raised."""
        found: list[str] = []
        while len(found) < count:
            item = await self.next()
            if isinstance(item, Received | Raised):
                found.append(id_of(item))
        return found


def id_of(item: Received | Raised) -> str:
    return str(json.loads(item.body)["event_id"])


@asynccontextmanager
async def following(
    server: str, query: "Query | None" = None, *, after: str | None = None, last: int = 0, patience: Patience = QUICK
) -> AsyncIterator[Following]:
    """Follows until the end of the block."""
    async with (
        EventReader(server, patience=patience) as reader,
        aclosing(reader.follow(query, after, last)) as items,
    ):
        yield Following(items)


def send(server: Server, *events: dict[str, Any]) -> None:
    """Stores these events."""
    with server.client() as client:
        answer = client.post("/events", json=list(events)).raise_for_status().json()
    assert answer["rejected"] == []


def numbered(first: int, last: int, **fields: Any) -> list[dict[str, Any]]:
    """Events e-1, e-2 ... (both ends included), as a sender writes them."""
    return [{"event_id": f"e-{n}", "event_data": {"message": f"number {n}"}, **fields} for n in range(first, last + 1)]


def ids(first: int, last: int) -> list[str]:
    return [f"e-{n}" for n in range(first, last + 1)]


def archive_and_purge(server: Server, *event_ids: str) -> None:
    """Removes these events for good."""
    with server.client() as client:
        client.post("/events/archive", json={"event_ids": list(event_ids)}).raise_for_status()
        deleted = client.delete("/events/archived", params={"older_than_days": 0}).raise_for_status()
    assert deleted.json()["deleted_count"] == len(event_ids)
