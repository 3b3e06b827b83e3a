"""Every store there is, behind one fixture. A test that takes `store` runs once for each."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import EventStore
from tests.mongod import Mongod

ADDRESSES: dict[str, Callable[[Path, pytest.FixtureRequest], str]] = {
    "memory": lambda directory, request: "memory:",
    "sqlite": lambda directory, request: f"sqlite:///{directory.name}/events.db",
    "mongodb": lambda directory, request: new_database(request, "mongod"),
    "mongodb-standalone": lambda directory, request: new_database(request, "standalone_mongod"),
}
"""By kind of store: a new, empty one's address, given a directory of its own, or a fixture that has some."""


def new_database(request: pytest.FixtureRequest, deployment: str) -> str:
    """An unused database of a deployment, which is started when first asked for."""
    running: Mongod = request.getfixturevalue(deployment)
    return running.new_database()


IN_MEMORY = {"memory"}
"""Stores that end with the process, and have no clock."""

NewStore = Callable[..., AbstractAsyncContextManager[EventStore]]
"""Makes a new store of the kind under test, empty; what it is given is passed on to `open_store`."""


@pytest.fixture(params=sorted(ADDRESSES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_store(kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> NewStore:
    def make(**settings: float) -> AbstractAsyncContextManager[EventStore]:
        directory = tmp_path_factory.mktemp("store")
        return open_store(ADDRESSES[kind](directory, request), lab_directory=directory.parent, **settings)

    return make


@pytest.fixture
async def store(new_store: NewStore) -> AsyncIterator[EventStore]:
    async with new_store() as opened:
        yield opened
