"""The stores, and the one place that chooses among them."""

from pathlib import Path

from madsci_event_server.errors import InvalidSettings
from madsci_event_server.storage.base import DEFAULT_QUERY_SECONDS, EventStore
from madsci_event_server.storage.memory import MemoryStore


def open_store(url: str, *, lab_directory: Path, query_seconds: float = DEFAULT_QUERY_SECONDS) -> EventStore:
    """The store of this address, to be entered with `async with`. Raises InvalidSettings."""
    if url == "memory:":
        return MemoryStore()
    raise InvalidSettings("db_url", f"{url} is no store")
