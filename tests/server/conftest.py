"""The application in this process, for the shapes of its answers; what needs a socket starts `LiveServer`."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from madsci_event_server.app import create_app
from madsci_event_server.settings import EmailAlertsConfig, Settings
from tests.server.calls import a_client


@pytest.fixture
def settings(lab: Path) -> Settings:
    return Settings(
        db_url="memory:",
        lab_directory=lab,
        timezone="America/Chicago",
        max_event_bytes=65536,
        email_alerts=EmailAlertsConfig(email_addresses=("ada@lab.test",), group_wait_seconds=600),
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The server, its store open and empty."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Talks to `app`; an exception nobody expected reaches the test instead of being a 500."""
    async with a_client(app) as client:
        yield client
