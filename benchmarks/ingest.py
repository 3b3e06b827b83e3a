"""Batches into a store, once workers have read and prepared them: what ingest and the store take for that."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from madsci_event_server.event import Event
from madsci_event_server.ingest import Ingest
from madsci_event_server.storage.base import EventStore, Packing

AHEAD = 2
"""How many batches are begun before the first of them is waited for: one is stored, the other waits."""


def prepared_batches(events: Iterable[Event], size: int, packing: Packing[Any]) -> list[Sequence[Any]]:
    """Events as workers hand them over, so many a batch."""
    found: list[Sequence[Any]] = []
    iterator = iter(events)
    while some := list(islice(iterator, size)):
        packer = packing.packer()
        for event in some:
            packer.add(event.changed(received_at=None))
        found.append(packing.unpack(packer.packed()))
    return found


async def ingest_all(store: EventStore, batches: Iterable[Sequence[Any]]) -> float:
    """Seconds until all of them are durable, and the server would have answered."""
    async with Ingest(store) as ingest:
        started = time.perf_counter()
        storing: deque[Any] = deque()
        for batch in batches:
            while len(storing) >= AHEAD:
                await storing.popleft()
            storing.append(ingest.begin(batch, 0, storing[-1] if storing else None))
        while storing:
            await storing.popleft()
        return time.perf_counter() - started
