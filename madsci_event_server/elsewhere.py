"""What other servers commit to the same store: it wakes whoever waits here, as a commit of our own does."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from madsci_event_server.ending import ended
from madsci_event_server.errors import StoreError
from madsci_event_server.ingest import Commits
from madsci_event_server.storage.base import EventStore, SharedStore

_RETRY_SECONDS: Final = 1.0
"""How long to let the store recover; what is committed meanwhile is told of when it is back."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def following_others(store: EventStore, committed: Commits) -> AsyncIterator[None]:
    """While it is open, `committed` also knows of other servers' commits, where the store can have any."""
    if not isinstance(store, SharedStore):
        yield
        return
    following = asyncio.create_task(_follow(store, committed), name="commits elsewhere")
    try:
        yield
    finally:
        await ended(following)


async def _follow(store: SharedStore, committed: Commits) -> None:
    while True:
        try:
            async for seq in store.commits():
                committed.reach(seq)
        except StoreError as error:
            _log.warning("other servers' events are not seen for now: %s", error)
        else:
            return
        await asyncio.sleep(_RETRY_SECONDS)
