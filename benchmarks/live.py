"""The live stream: how soon subscribers have an event, and how fast one that was away catches up.

    python -m benchmarks.live [--catch-up 100000] [--seconds 10]

Soon: events are posted one by one at a steady rate; from the sender's answer to the subscriber's socket. Beside it a
client that asks for the newest 100 every two seconds, as MADSci's does. Catching up: beside a bare ASGI application
that writes the same bytes, alternating, the median of the rounds. All on 127.0.0.1, servers in processes of their own.
"""

import argparse
import asyncio
import re
import socket
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import httpx

from benchmarks.http import bodies
from benchmarks.lab import add_events_argument, lab_events
from benchmarks.load import post
from benchmarks.programs import bare_server, server
from madsci_event_server.query import Cursor
from madsci_event_server.storage.sqlite import SQLiteStore

ROUNDS = 3
QUERIES = (
    "",
    "level=info",
    "level=warning",
    "node=liquidhandler_7",
    "kind=workflow_*",
    "search=plate",
    "regex=plate 1",
    "",
)
_ID = re.compile(rb'"event_id":"([^"]{26})"')


def percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (1000 * ordered[int(len(ordered) * part)] for part in (0.5, 0.99))
    return f"p50 {p50:8.1f} ms   p99 {p99:8.1f} ms   ({len(ordered):,} deliveries)"


# --- soon ---


class Subscriber(asyncio.Protocol):
    """Notes when which event arrived."""

    def __init__(self, query: str) -> None:
        self.arrived: dict[bytes, float] = {}
        self.connected = asyncio.get_running_loop().create_future()
        self._query = query
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"GET /events/stream?%s HTTP/1.1\r\nHost: x\r\n\r\n" % self._query.replace(" ", "%20").encode())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self.connected.done() and b"event: hello" in data:
            self.connected.set_result(None)
        text = self._rest + data
        end = 0
        for found in _ID.finditer(text):
            self.arrived.setdefault(found[1], now)
            end = found.end()
        self._rest = text[max(end, len(text) - 64) :]


async def send_steadily(port: int, requests: list[bytes], rate: int) -> dict[bytes, float]:
    """Posts events at this rate over a few connections; when each was acknowledged."""
    acknowledged: dict[bytes, float] = {}
    started = time.perf_counter()
    senders = 8

    async def send(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for index in range(number, len(requests), senders):
            delay = started + index / rate - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            writer.write(post("/event", requests[index]))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            found = _ID.search(body)
            assert found
            acknowledged[found[1]] = time.perf_counter()
        writer.close()

    await asyncio.gather(*(send(number) for number in range(senders)))
    return acknowledged


async def poll(port: int, stop: asyncio.Event) -> dict[bytes, float]:
    """Asks for the newest 100 every 2 s, as MADSci's client does; when each event was first seen."""
    seen: dict[bytes, float] = {}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        while not stop.is_set():
            await asyncio.sleep(2)
            found = _ID.findall((await client.get("/events?number=100")).content)
            now = time.perf_counter()
            for event_id in found:
                seen.setdefault(event_id, now)
    return seen


async def soon(port: int, requests: list[bytes], subscribers: int, rate: int) -> None:
    loop = asyncio.get_running_loop()
    following = []
    for number in range(subscribers):
        _, protocol = await loop.create_connection(
            lambda number=number: Subscriber(QUERIES[number % len(QUERIES)]), "127.0.0.1", port
        )
        following.append(protocol)
    await asyncio.gather(*(subscriber.connected for subscriber in following))
    stop = asyncio.Event()
    polling = asyncio.create_task(poll(port, stop))
    acknowledged = await send_steadily(port, requests, rate)
    await asyncio.sleep(0.5)
    stop.set()
    polled = await polling
    late = [
        max(0.0, moment - acknowledged[event_id])
        for subscriber in following
        for event_id, moment in subscriber.arrived.items()
    ]
    for subscriber in following:
        if not subscriber._query:
            assert len(subscriber.arrived) == len(acknowledged), "an event is missing"
    polled_late = [moment - acknowledged[event_id] for event_id, moment in polled.items()]
    print(f"  {subscribers} subscribers, {rate:,} events/s   {percentiles(late)}     (to reach: 5 ms, 50 ms)")
    share = len(polled) / len(acknowledged)
    print(f"  asking every 2 s                {percentiles(polled_late)}     sees {share:.0%} of the events")


# --- catching up ---


def receive(port: int, path: str, last: bytes) -> tuple[float, bytes]:
    """Seconds until these bytes have come, and all that came."""
    buffer = bytearray(1 << 20)
    parts: list[bytes] = []
    tail = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        started = time.perf_counter()
        connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        while last not in tail:
            count = connection.recv_into(buffer)
            assert count, "the stream ended early"
            part = bytes(memoryview(buffer)[:count])
            parts.append(part)
            tail = tail[-200:] + part[-4000:]
        return time.perf_counter() - started, b"".join(parts)


async def fill(path: Path, events: Path, count: int) -> str:
    """Makes a database of so many events; its store id."""
    async with SQLiteStore(path) as store:
        stream = lab_events(events, count)
        while batch := list(islice(stream, 2000)):
            await store.append(batch)
        return store.store_id


def catch_up(events: Path, count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store_id = asyncio.run(fill(folder / "events.db", events, count))
        last = f"\nid: {Cursor(store_id, 'r', count).encode()}\n".encode()
        path = f"/events/stream?after={Cursor(store_id, 'r', 0).encode()}"
        ours, bare = [], []
        with server(f"sqlite:///{folder / 'events.db'}", folder) as (port, _):
            _, everything = receive(port, path, last)
            file = folder / "stream"
            # Framed once more by the bare server's HTTP; what ours framed is left in, which is the same work.
            file.write_bytes(everything)
            with bare_server("benchmarks.bare_stream:app", environment={"BARE_FILE": str(file)}) as bare_port:
                for _ in range(ROUNDS):
                    ours.append(receive(port, path, last)[0])
                    bare.append(receive(bare_port, "/", last)[0])
        size = len(everything)
    seconds, bare_seconds = statistics.median(ours), statistics.median(bare)
    print(
        f"  {count:,} events, {size / 1e6:,.0f} MB   "
        f"{count / seconds:10,.0f} events/s   {size / seconds / 1e6:8,.0f} MB/s"
    )
    print(
        f"  the same bytes, bare ASGI    "
        f"{count / bare_seconds:10,.0f} events/s   {size / bare_seconds / 1e6:8,.0f} MB/s"
    )
    print(f"  ratio                        {bare_seconds / seconds:10.2f}     (to reach: 0.50)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", type=int, default=20)
    parser.add_argument("--rate", type=int, default=1000, help="events a second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--catch-up", type=int, default=100_000, help="events to catch up on")
    add_events_argument(parser)
    chosen = parser.parse_args()
    print("from the sender's answer to the subscriber's socket, SQLite")
    with tempfile.TemporaryDirectory() as name, server(f"sqlite:///{name}/events.db", Path(name)) as (port, _):
        requests = bodies(chosen.events, int(chosen.rate * chosen.seconds))
        asyncio.run(soon(port, requests, chosen.subscribers, chosen.rate))
    print("catching up, SQLite, without a filter")
    catch_up(chosen.events, chosen.catch_up)


if __name__ == "__main__":
    main()
