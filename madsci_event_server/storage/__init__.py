"""Where events are kept: `open_store` knows which store an address means; everything else knows the protocol."""

from pathlib import Path
from typing import Final
from urllib.parse import unquote

from madsci_event_server.errors import InvalidSettings, shown
from madsci_event_server.storage.base import DEFAULT_QUERY_SECONDS, EventStore

_ADDRESSES: Final = "sqlite:///PATH (sqlite:////PATH is absolute), mongodb://HOST/NAME or memory:"


def open_store(url: str, *, lab_directory: Path, query_seconds: float = DEFAULT_QUERY_SECONDS) -> EventStore:
    """The store at this address, not yet opened: `async with` opens it.

    The path of `sqlite:///path` is relative to the lab directory. Raises InvalidSettings for an address that means
    no store; its text never shows a password.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and rest in ("", "//"):
        from madsci_event_server.storage.memory import MemoryStore

        return MemoryStore()
    if scheme == "sqlite" and rest.startswith("///") and rest != "///":
        from madsci_event_server.storage.sqlite import SQLiteStore

        return SQLiteStore(lab_directory / unquote(rest.removeprefix("///")), query_seconds=query_seconds)
    if scheme in ("mongodb", "mongodb+srv"):
        from madsci_event_server.storage.mongo import MongoStore

        return MongoStore(url, query_seconds=query_seconds)
    shown_url = f"{scheme}:..." if "@" in rest else url
    raise InvalidSettings("db_url", f"{shown(shown_url)} is no address of a store; use {_ADDRESSES}", value=url)
