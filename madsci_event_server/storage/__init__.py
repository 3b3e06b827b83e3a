"""Where events are kept: `open_store` knows which store an address means; everything else knows the protocol."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from madsci_event_server.definition.model import sqlite_file
from madsci_event_server.errors import InvalidSettings, shown
from madsci_event_server.storage.base import DEFAULT_QUERY_SECONDS, EventStore, Packing

if TYPE_CHECKING:
    from madsci_event_server.storage.mongo_madsci import MadsciDatabase

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
    path = sqlite_path(url, lab_directory)
    if path is not None:
        from madsci_event_server.storage.sqlite import SQLiteStore

        return SQLiteStore(path, query_seconds=query_seconds)
    if is_mongodb(url):
        from madsci_event_server.storage.mongo import MongoStore

        return MongoStore(url, query_seconds=query_seconds)
    shown_url = f"{scheme}:..." if "@" in rest else url
    raise InvalidSettings("db_url", f"{shown(shown_url)} is no address of a store; use {_ADDRESSES}", value=url)


def packing(kind: str) -> Packing[Any]:
    """How the store of this kind prepares events; none is opened. Raises KeyError for a kind that does not say it."""
    if kind == "mongodb":
        from madsci_event_server.storage.mongo_documents import MongoPacking

        return MongoPacking()
    from madsci_event_server.storage.sqlite_columns import SQLitePacking

    return {SQLitePacking.kind: SQLitePacking()}[kind]


def sqlite_path(url: str, lab_directory: Path) -> Path | None:
    """The file of a `sqlite:///path` address; None for another kind. Raises InvalidSettings for one with options."""
    try:
        file = sqlite_file(url)
    except ValueError as error:
        raise InvalidSettings("db_url", str(error), value=url) from None
    return None if file is None else lab_directory / file


def is_mongodb(url: str) -> bool:
    """Whether it is a MongoDB address."""
    return url.startswith(("mongodb://", "mongodb+srv://"))


def open_madsci(url: str) -> "MadsciDatabase":
    """The database at this MongoDB address as one MADSci may have written, to read; not yet opened."""
    from madsci_event_server.storage.mongo_madsci import MadsciDatabase

    return MadsciDatabase(url)
