"""One server and one client of each generation, for all tests of a module: MADSci takes seconds to import."""

from collections.abc import Iterator

import httpx
import pytest

from tests.live_server import LiveServer
from tests.server.madsci_clients.environments import MADSCI_2025, MADSCI_2026, Generation
from tests.server.madsci_clients.madsci_client import MadsciClient

OUR_NODE = "01JJ4S0WNGEF5FQAZG5KDGJRBV"
"""The node the clients say they are: the one in MADSci's README."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def api(server: LiveServer) -> Iterator[httpx.Client]:
    """The same server without MADSci, to see what was stored."""
    with server.client() as client:
        yield client


def _client(
    generation: Generation, server: LiveServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MadsciClient]:
    keywords = {"event_server_url": server.url, "log_level": 10, "source": {"node_id": OUR_NODE}}
    with MadsciClient(generation, tmp_path_factory.mktemp("client"), **keywords) as running:
        yield running


@pytest.fixture(scope="module")
def madsci_2025(server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadsciClient]:
    yield from _client(MADSCI_2025, server, tmp_path_factory)


@pytest.fixture(scope="module")
def madsci_2026(server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadsciClient]:
    yield from _client(MADSCI_2026, server, tmp_path_factory)
