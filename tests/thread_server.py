"""The event server in a thread of the test's process: the same app on the same Uvicorn and a real socket, up at once.

For tests that need many servers and kill none: `live_server.py` has the process users run.
"""

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn

from madsci_event_server.app import create_app
from madsci_event_server.serving import listen
from madsci_event_server.settings import Settings
from tests.processes import WAIT_SECONDS, free_port


class ThreadServer:
    """A context manager, up when entered, gone when left. It keeps its port and database through `stop` and `start`."""

    def __init__(self, folder: Path, *, db: str | None = None) -> None:
        self.port = free_port()
        self._settings = Settings.model_validate(
            {"host": "127.0.0.1", "port": self.port, "db_url": db or f"sqlite:///{folder / 'events.db'}"}
        )
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def context(self) -> Any:
        """The parts of the running server, to look at."""
        return self.app.state.context

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self.app = create_app(self._settings)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._started.wait(WAIT_SECONDS), "the server did not start"

    def stop(self) -> None:
        """Stops it as SIGTERM does."""
        if self._thread is None:
            return
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive(), "the server does not stop"
        self._thread = None

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client whose paths are this server's."""
        return httpx.Client(base_url=self.url, **{"timeout": WAIT_SECONDS, **options})

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        config = uvicorn.Config(self.app, lifespan="off", log_config=None, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        sockets = listen("127.0.0.1", self.port)
        async with self.app.router.lifespan_context(self.app):
            await server.startup(sockets)
            self._started.set()
            await self._stop.wait()
            self.context.stopping.set()
            await server.shutdown(sockets)
            # As the end of a process does to a client that came at the last moment.
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)
