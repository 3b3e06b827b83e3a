"""What the routes work with, handed to them by the composition root."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import cast

from starlette.requests import Request
from starlette.types import Scope

from madsci_event_server.alerts.alerting import Alerting
from madsci_event_server.ingest import Ingest
from madsci_event_server.live import LiveStream
from madsci_event_server.settings import Settings
from madsci_event_server.storage.base import EventStore
from madsci_event_server.workers import Judges


@dataclass
class Context:
    """One server's parts."""

    settings: Settings
    store: EventStore
    ingest: Ingest
    judges: Judges
    alerting: Alerting
    live: LiveStream
    clock: Callable[[], datetime]
    zone: tzinfo | None
    """Of timestamps without one."""
    stopping: asyncio.Event
    """Set when the server begins to stop: answers that never end by themselves must end now."""
    hang_up: Callable[[Scope], None] = lambda _: None
    """Drops the connection of a request whose other end takes nothing: an answer that only ends would wait for it.

    What serves the app says how."""
    started: float = field(default_factory=time.monotonic)

    @property
    def uptime_seconds(self) -> float:
        """Since this server was made."""
        return time.monotonic() - self.started


def context_of(request: Request) -> Context:
    """The parts of the server that answers this request."""
    return scope_context(request.scope)


def scope_context(scope: Scope) -> Context:
    """The same, from an ASGI scope."""
    return cast("Context", scope["app"].state.context)
