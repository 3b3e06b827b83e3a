"""Every store there is, behind one fixture. A test that takes `store` runs once for each."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import EventStore

ADDRESSES: dict[str, Callable[[Path], str]] = {
    "memory": lambda directory: "memory:",
    "sqlite": lambda directory: f"sqlite:///{directory.name}/events.db",
}
"""By kind of store: a new, empty one's address, given a directory of its own."""

IN_MEMORY = {"memory"}
"""Stores that end with the process, and have no clock."""

NewStore = Callable[..., AbstractAsyncContextManager[EventStore]]
"""Makes a new store of the kind under test, empty; what it is given is passed on to `open_store`."""


@pytest.fixture(params=sorted(ADDRESSES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_store(kind: str, tmp_path_factory: pytest.TempPathFactory) -> NewStore:
    def make(**settings: float) -> AbstractAsyncContextManager[EventStore]:
        directory = tmp_path_factory.mktemp("store")
        return open_store(ADDRESSES[kind](directory), lab_directory=directory.parent, **settings)

    return make


@pytest.fixture
async def store(new_store: NewStore) -> AsyncIterator[EventStore]:
    async with new_store() as opened:
        yield opened
