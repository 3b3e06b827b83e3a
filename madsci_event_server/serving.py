"""Running the server on a socket until it is told to stop."""

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from starlette.types import Scope

from madsci_event_server.api.context import Context
from madsci_event_server.app import create_app
from madsci_event_server.errors import CannotServe, InvalidSettings, StoreUnavailable
from madsci_event_server.settings import Settings, without_credentials
from madsci_event_server.whole_answers import WholeAnswers

STOP_SECONDS: Final = 5
"""How long answers under way may take to end once the server was told to stop."""
_SWITCH_SECONDS: Final = 0.0005
_GARBAGE_ALLOCATIONS: Final = 100_000
_BETWEEN_TRIES_SECONDS: Final = 1.0
_BACKLOG: Final = 2048
_KEEP_ALIVE_SECONDS: Final = 75
_STOPPING: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))

Announce = Callable[[str], None]


def run(settings: Settings, announce: Announce, *, wait_for_store_seconds: float = 0.0) -> None:
    """Serves until SIGINT or SIGTERM, then finishes what was begun and returns.

    `announce` gets one line once requests are answered, and one before where the store is away and is waited for.
    Raises InvalidSettings, CannotServe, StoreUnusable and
    StoreUnavailable, before anything is served.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    app = create_app(settings)
    _share_the_interpreter()
    sockets = listen(settings.host, settings.port)
    try:
        server = _Server(_config(app, settings), app.state.context, lambda: announce(_greeting(settings, sockets)))
        with _stopped_by_signals(server), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            waiting = _Waiting(wait_for_store_seconds, announce)
            runner.run(_serve(app, server, sockets, waiting))
    finally:
        for listening in sockets:
            listening.close()


def _share_the_interpreter() -> None:
    """Lets the store's thread and the event loop take turns quickly, and spares both the search for old garbage.

    By default a thread may hold the interpreter for 5 ms: longer than a commit takes. What was imported lives as long
    as the process, and looking through it for garbage pauses every request.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_ALLOCATIONS, 10, 50)


async def _serve(app: FastAPI, server: "_Server", sockets: list[socket.socket], waiting: "_Waiting") -> None:
    # The lifespan is entered here, not by Uvicorn, which would log a failure to open the store as a traceback.
    async with contextlib.AsyncExitStack() as stack:
        while not server.should_exit:
            try:
                await stack.enter_async_context(app.router.lifespan_context(app))
            except StoreUnavailable as away:
                await waiting.for_another_try(away)
            else:
                await server.serve(sockets)
                return


class _Waiting:
    """How long a store that is away is waited for, and that somebody is told so once."""

    def __init__(self, seconds: float, announce: Announce) -> None:
        self._seconds, self._announce = seconds, announce
        self._end: float | None = None

    async def for_another_try(self, away: StoreUnavailable) -> None:
        """Waits a moment. Raises `away` when the time is over."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._seconds
            if self._seconds > 0:
                self._announce(f"{away}; waiting for it for {self._seconds:g} s")
        if now >= self._end:
            raise away
        await asyncio.sleep(min(_BETWEEN_TRIES_SECONDS, self._end - now))


class _Server(uvicorn.Server):
    """Uvicorn, told by us when to stop, and telling us when it started and stops."""

    def __init__(self, config: uvicorn.Config, context: Context, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._context = context
        self._tell_started = started
        context.hang_up = self._hang_up

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are `run`'s: Uvicorn would raise them again before the store is closed."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to answer, and says so."""
        await super().startup(sockets)
        self._tell_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends what never ends by itself, then waits for the rest."""
        self._context.stopping.set()
        await super().shutdown(sockets)

    def _hang_up(self, scope: Scope) -> None:
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            # Scopes are copied on their way through an application; the state in them is one object.
            if cycle is not None and cycle.scope["state"] is scope["state"]:
                connection.transport.abort()


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise InvalidSettings("--tls-cert", "and --tls-key go together; give both or neither")
    config = uvicorn.Config(
        app,
        http=WholeAnswers,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise CannotServe(
            f"--tls-cert {settings.tls_cert} and --tls-key {settings.tls_key} cannot be used: {error.strerror or error}"
        ) from None
    return config


@contextlib.contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        server.handle_exit(number, frame)

    before: dict[int, Any] = {number: signal.signal(number, stop) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address the host name has; port 0 is a free one, the same on all.

    Raises CannotServe.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotServe(f"{host} is no address of this machine ({error.strerror}); use --host") from None
    sockets: list[socket.socket] = []
    for family, _, _, _, address in dict.fromkeys(found):
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bound(family, (str(address[0]), chosen, *address[2:])))
        except OSError as error:
            if sockets and len(found) > 1 and family == socket.AF_INET6:
                continue  # a name with an IPv6 address on a machine without IPv6
            for made in sockets:
                made.close()
            raise CannotServe(_cannot_listen(host, chosen, error)) from None
    return sockets


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    where = _address(host, port)
    if isinstance(error, PermissionError):
        return f"{where}: this user may not listen there; use a port above 1023 with --port"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program; stop that one, or use another port with --port"
    return f"{where} cannot be listened on ({error.strerror}); use --host and --port"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _greeting(settings: Settings, sockets: Sequence[socket.socket]) -> str:
    scheme = "http" if settings.tls_cert is None else "https"
    port = sockets[0].getsockname()[1]
    everywhere = settings.host in ("", "0.0.0.0", "::")  # noqa: S104  # compared, not bound
    address = _address("127.0.0.1" if everywhere else settings.host, port)
    note = " (and every other address of this machine)" if everywhere else ""
    store = without_credentials(settings.db_url.get_secret_value())
    return f"Serving events at {scheme}://{address}{note}, stored in {store}. Ctrl-C stops."
