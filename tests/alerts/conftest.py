"""Stores and mail servers for alerting."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import EventStore
from tests.alerts.bench import Bench, a_bench
from tests.alerts.smtp_servers import Post, a_mail_server


@pytest.fixture(params=["memory:", "sqlite:///events.db"])
async def store(request: pytest.FixtureRequest, lab: Path, no_blocking: None) -> AsyncIterator[EventStore]:
    """Each store that can hold alerts; alerting shares its event loop with the posts of a whole lab."""
    async with open_store(request.param, lab_directory=lab) as opened:
        yield opened


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    """A mail server that takes everything."""
    async with a_mail_server() as running:
        yield running


@pytest.fixture
async def bench(store: EventStore, post: Post) -> AsyncIterator[Bench]:
    """Alerting that mails Ada."""
    async with a_bench(store, post) as made:
        yield made
