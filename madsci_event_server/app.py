"""create_app: the composition root. Only here is decided which parts a server is made of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from madsci_event_server.alerts.alerting import Alerting
from madsci_event_server.alerts.definition import alerting_config
from madsci_event_server.api import (
    about,
    alerts,
    archive,
    counts,
    documentation,
    health,
    problems,
    reading,
    search,
    stream,
)
from madsci_event_server.api.context import Context
from madsci_event_server.api.door import Door
from madsci_event_server.api.events import PostEvent, PostEvents
from madsci_event_server.api.origins import BrowserAnswers
from madsci_event_server.api.problems import Answered
from madsci_event_server.elsewhere import following_others
from madsci_event_server.ingest import Ingest, utc_now
from madsci_event_server.live import LiveStream
from madsci_event_server.settings import Settings
from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import EventStore, PackingStore
from madsci_event_server.workers import WORTH_A_WORKER, Judges, Workers, Worth, spare_workers


class EventServer(FastAPI):
    """FastAPI, stepped past by the one route that a lab's whole life goes through.

    What FastAPI does around a route takes longer than storing an event. Browsers' posts, which need headers that allow
    them, go the long way.
    """

    _post_event = Answered(PostEvent())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_plain_post(scope):
            scope["app"] = self
            await self._post_event(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _is_plain_post(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["path"] == "/event"
        and scope["method"] == "POST"
        and all(name != b"origin" for name, _ in scope["headers"])
    )


def create_app(settings: Settings, *, worth: Worth = WORTH_A_WORKER) -> EventServer:
    """The server as an ASGI application; its lifespan opens and closes the store.

    `worth` says what of a batch a worker reads. Entering the lifespan raises StoreUnusable or StoreUnavailable;
    InvalidSettings is raised here.
    """
    store = open_store(settings.db_url.get_secret_value(), lab_directory=settings.lab_directory)
    ingest, stopping = Ingest(store), asyncio.Event()
    live = LiveStream(store, ingest.committed, clock=utc_now, version=health.VERSION, stopping=stopping)
    alerting = Alerting(
        store,
        store.alert_store(),
        alerting_config(settings),
        ingest.committed.wait_past,
        committed_after=live.committed_after,
    )
    workers = _workers(store, settings)
    judges = Judges(ingest.prepare, settings.zone, workers, worth=worth)
    context = Context(settings, store, ingest, judges, alerting, live, utc_now, settings.zone, stopping)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with store, ingest, following_others(store, ingest.committed), alerting, live, workers or nullcontext():
            yield
            stopping.set()

    app = EventServer(
        title=settings.name,
        version=health.VERSION,
        lifespan=lifespan,
        openapi_url=None,
        routes=[Route("/event", PostEvent(), methods=["POST"]), Route("/events", PostEvents(), methods=["POST"])],
    )
    app.state.context = context
    parts = (alerts, archive, counts, search, stream, reading, health, about, documentation)
    app.state.routers = [part.router for part in parts]
    for router in app.state.routers:
        app.include_router(router)
    problems.install(app)
    app.add_middleware(BrowserAnswers, settings=settings)
    app.add_middleware(Door)
    return app


def _workers(store: EventStore, settings: Settings) -> Workers | None:
    count = spare_workers() if settings.batch_workers is None else settings.batch_workers
    if count and isinstance(store, PackingStore):
        return Workers(store.packing, settings.timezone, count)
    return None
