"""Feed: reads a source in the background and hands over what came in, a tick at a time.

Nothing is dropped: when the screen is behind, the source is not read on.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from textual.message import Message

from madsci_event_cli.tui.messages import ConnectionChanged, EventsArrived, EventsRaised, ServerBeat
from madsci_event_cli.tui.source import Arrived, Beat, LinkChanged, Raised, Source
from madsci_event_server.query import EventQuery

if TYPE_CHECKING:
    from madsci_event_cli.tui.rows import Item

MAX_WAITING: Final = 20_000
"""Events read ahead of the screen: about a second of the fastest source."""


class Feed:
    """One query followed. `read` runs until cancelled; `deliver` is called once a tick."""

    def __init__(self, source: Source, query: EventQuery, post: Callable[[Message], object]) -> None:
        self.connected = asyncio.Event()
        """Set once the source follows: whatever is older is history, and can be fetched."""
        self._source = source
        self._query = query
        self._post = post
        self._waiting: list[Item] = []
        self._raised: list[bytes] = []
        self._drained = asyncio.Event()
        self._held = True

    def release(self) -> None:
        """From now on `deliver` delivers: the history is shown, and what came in meanwhile belongs below it."""
        self._held = False

    async def read(self) -> None:
        """Follows the source."""
        async for item in self._source.follow(self._query):
            match item:
                case Arrived():
                    self._waiting.append(item.item)
                    if len(self._waiting) >= MAX_WAITING:
                        await self._until_drained()
                case Raised():
                    self._raised.append(item.raw)
                case LinkChanged():
                    if item.link in ("live", "reading"):
                        self.connected.set()
                    self._post(ConnectionChanged(item))
                case Beat():
                    self._post(ServerBeat(item.server_time))

    async def _until_drained(self) -> None:
        self._drained.clear()
        await self._drained.wait()

    def deliver(self) -> None:
        """Posts what has come in since the last tick, as one message."""
        if self._held:
            return
        if self._waiting:
            items, self._waiting = self._waiting, []
            self._post(EventsArrived(items, self))
        if self._raised:
            raws, self._raised = self._raised, []
            self._post(EventsRaised(raws, self))
        self._drained.set()
