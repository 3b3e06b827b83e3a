"""A server for the command line to talk to."""

from collections.abc import Iterator

import httpx
import pytest

from tests.cli.events import some_bodies
from tests.live_server import LiveServer


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("server"), db="memory:") as server:
        httpx.post(f"{server.url}/events", content=b"\n".join(some_bodies())).raise_for_status()
        yield server


@pytest.fixture
def server(_shared: LiveServer) -> str:
    """The address of a server that holds `some_bodies`; for tests that only read."""
    return _shared.url


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """An empty server of the test's own."""
    with LiveServer(tmp_path_factory.mktemp("server"), db="memory:") as server:
        yield server


@pytest.fixture(scope="session")
def log_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server to log to, for tests that look only for what they sent."""
    with LiveServer(tmp_path_factory.mktemp("server"), db="memory:") as server:
        yield server.url
