"""A load generator that costs less than what it measures: HTTP/1.1 over raw connections, on uvloop."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import uvloop


@dataclass
class Load:
    """What came back."""

    seconds: float = 0.0
    requests: int = 0
    failures: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    def percentile(self, percent: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class _Connection(asyncio.Protocol):
    """Sends a request, waits for the whole answer, sends the next."""

    def __init__(self, requests: Iterator[bytes], load: Load, done: asyncio.Future[None]) -> None:
        self._requests, self._load, self._done = requests, load, done
        self._received = bytearray()
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._received[:head_end]).lower()
        length_at = head.index(b"content-length:") + len(b"content-length:")
        length = int(head[length_at:].split(b"\r\n", 1)[0])
        if len(self._received) < head_end + 4 + length:
            return
        self._load.latencies.append(time.perf_counter() - self._sent_at)
        self._load.requests += 1
        self._load.failures += not head.startswith(b"http/1.1 200")
        self._received.clear()
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server closed the connection"))

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._done.set_result(None)
            self._transport.close()
        else:
            self._sent_at = time.perf_counter()
            self._transport.write(request)


def post(path: str, body: bytes) -> bytes:
    """A request as MADSci's client writes it."""
    return (
        b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
        b"Connection: keep-alive\r\nUser-Agent: python-httpx/0.28.1\r\nContent-Length: %d\r\n"
        b"Content-Type: application/json\r\n\r\n%s" % (path.encode(), len(body), body)
    )


async def load(port: int, connections: int, requests: Callable[[], Iterator[bytes]]) -> Load:
    """All requests, over so many connections, each with one under way at a time."""
    found = Load()
    loop = asyncio.get_running_loop()
    shared = requests()
    done = [loop.create_future() for _ in range(connections)]
    started = time.perf_counter()
    for future in done:
        await loop.create_connection(lambda future=future: _Connection(shared, found, future), "127.0.0.1", port)
    await asyncio.gather(*done)
    found.seconds = time.perf_counter() - started
    return found


def run(port: int, connections: int, requests: list[bytes]) -> Load:
    """The same, where each request has to succeed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(load(port, connections, lambda: iter(requests)))
    assert found.failures == 0, f"{found.failures} of {found.requests} requests failed"
    return found
