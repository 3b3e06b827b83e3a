"""The event server as users run it: a process of its own, on a real socket, with a database on disk."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.processes import WAIT_SECONDS, Process, ProcessEnded, free_port

_BETWEEN_LOOKS_SECONDS = 0.02


class LiveServer:
    """`python -m madsci_event_server`; a context manager, up when entered, gone when left.

    It keeps its port and its database through `stop`, `kill` and `start`.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        db: str | None = None,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self.db = db or f"sqlite:///{folder / 'events.db'}"
        self._folder = folder
        self._environment = environment
        self._options = options
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> Process:
        """To signal as one likes, and to read what it wrote. Raises RuntimeError when it was never started."""
        if self._process is None:
            raise RuntimeError("the server was never started")
        return self._process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            with self._process:
                pass

    def start(self) -> None:
        """Start it and wait until it is healthy. Raises ProcessEnded, with what it wrote, when it gives up."""
        command = [sys.executable, "-m", "madsci_event_server", "--host", "127.0.0.1", "--port", str(self.port)]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = Process(
            [*command, "--db", self.db, *self._options], cwd=self._folder, environment=self._environment
        )
        self._wait_until_healthy()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self.process.terminate()

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client whose paths are this server's."""
        return httpx.Client(base_url=self.url, **{"timeout": WAIT_SECONDS, **options})

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        with self.client() as client:
            while not self._healthy(client):
                if not self.process.running:
                    self.process.wait()
                    raise ProcessEnded(f"the server gave up\n{self.process.said}")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not healthy in {WAIT_SECONDS:g} s\n{self.process.said}")
                # There is no event to wait for: this looks at the server from outside, as a load balancer does.
                time.sleep(_BETWEEN_LOOKS_SECONDS)

    def _healthy(self, client: httpx.Client) -> bool:
        try:
            return client.get("/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
