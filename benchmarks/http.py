"""Ingest over HTTP, beside what it is made of: uvicorn answering `{}`, and `executemany` into the same tables.

    python -m benchmarks.http [--memory 1000000]

Everything runs on 127.0.0.1, in processes of its own; baseline and server alternate, and the median of the rounds is
reported, so that a busy machine slows both.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.ingest import ingest_all, prepared_batches
from benchmarks.lab import add_events_argument, lab_events
from benchmarks.load import Load, post, run
from benchmarks.programs import bare_server, children, processor_seconds, resident_bytes, server
from benchmarks.store import raw_insert, raw_rows
from madsci_event_server.event import Event, new_event_id
from madsci_event_server.json_text import encode_json
from madsci_event_server.storage.sqlite import SQLiteStore
from madsci_event_server.storage.sqlite_columns import SQLitePacking

BATCH = 5000
PREPARED = 1000
"""How many prepared events are given to ingest at once."""
CONNECTIONS = 64
CLIENTS = 1, 4
"""How many send batches at a time."""
ROUNDS = 3
STARTING_SECONDS = 2.0
"""In which a worker is ready, on a slow machine, too."""
BARE = "benchmarks.bare_app:app"
PARSERS = {
    "httptools": ("as ours", "     (the parser in C)"),
    "h11": ("with h11", "     (in Python; what the goal of 0.30 was set beside)"),
}
"""Uvicorn's HTTP parsers: how a figure beside them is titled, and what to know about it."""


def bodies(file: Path, count: int) -> list[bytes]:
    """A lab's events as its nodes send them."""
    return [as_sent(event) for event in lab_events(file, count)]


def as_sent(event: Event) -> bytes:
    document = event.wire()
    for name in ("_id", "received_at"):
        del document[name]
    # No event twice, however often the benchmark sends this one.
    return encode_json(document | {"event_id": new_event_id()})


def single_posts(file: Path, count: int, db: Callable[[Path], str]) -> None:
    """One durable event a request, 64 connections."""
    ours: list[Load] = []
    bare: dict[str, list[Load]] = {parser: [] for parser in PARSERS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare_ports = {parser: stack.enter_context(bare_server(BARE, parser=parser)) for parser in PARSERS}
        port, process = stack.enter_context(server(db(folder), folder))
        before = processor_seconds(process.pid)
        for _ in range(ROUNDS):
            requests = [post("/event", body) for body in bodies(file, count)]
            for parser, loads in bare.items():
                loads.append(run(bare_ports[parser], CONNECTIONS, requests))
            ours.append(run(port, CONNECTIONS, requests))
        spent = (processor_seconds(process.pid) - before) / (ROUNDS * count)
    rate, last = median_rate(ours), ours[-1]
    print(
        f"  POST /event, {CONNECTIONS} connections   {rate:9,.0f}/s   p50 {last.percentile(50):5.1f} ms   "
        f"p99 {last.percentile(99):5.1f} ms   {spent * 1e6:5.0f} us of CPU each"
    )
    for parser, (title, goal) in PARSERS.items():
        bare_rate = median_rate(bare[parser])
        print(f"  uvicorn answering {{}}, {title:11} {bare_rate:7,.0f}/s   ratio {rate / bare_rate:5.2f}{goal}")


def median_rate(loads: list[Load]) -> float:
    return statistics.median(found.per_second for found in loads)


@dataclass(frozen=True)
class Imported:
    """Events that came in large batches: how fast, and the seconds of processor time that each cost."""

    per_second: float
    server: float
    workers: tuple[float, ...]


def import_in_batches(
    db: str, folder: Path, lines: list[bytes], *, clients: int = 1, begun: Callable[[], None] = lambda: None
) -> Imported:
    """Requests of NDJSON to a server of its own, each client's one after the other.

    Measured from the second request on, as an import of many would be: the first one starts the server's workers.
    `begun` is called when measuring begins.
    """
    first, *requests = [post("/events", b"\n".join(lines[at : at + BATCH])) for at in range(0, len(lines), BATCH)]
    count = len(lines) - BATCH
    with server(db, folder) as (port, process):
        run(port, 1, [first])
        time.sleep(STARTING_SECONDS)
        programs = [process.pid, *children(process.pid)]
        begun()
        before = [processor_seconds(pid) for pid in programs]
        seconds = run(port, clients, requests).seconds
        of_server, *of_workers = [
            (processor_seconds(pid) - was) / count for pid, was in zip(programs, before, strict=True)
        ]
    return Imported(count / seconds, of_server, tuple(of_workers))


def batches(file: Path, count: int) -> None:
    """Large batches, beside `executemany` of the same rows into the same tables.

    `executemany` is given rows that were worked out before it is timed: beside it stands what ingest and the store take
    for events that workers have prepared, in one process as it does. Through HTTP the server also reads requests and
    events and works out their rows, on the same cores; and a lone client waits for each answer, while it has nothing
    to do.
    """
    ours: dict[int, list[Imported]] = {clients: [] for clients in CLIENTS}
    raw, prepared = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for turn in range(ROUNDS):
            for clients, found in ours.items():
                db = f"sqlite:///{folder / f'ours{turn}-{clients}.db'}"
                found.append(import_in_batches(db, folder, bodies(file, BATCH + count), clients=clients))
            prepared.append(count / asyncio.run(ingest_prepared(folder / f"prepared{turn}.db", file, count)))
            raw.append(count / raw_insert(folder / f"raw{turn}.db", raw_rows(list(lab_events(file, count)))))
    raw_rate, prepared_rate = statistics.median(raw), statistics.median(prepared)
    print(f"  executemany, same tables       {raw_rate:9,.0f} events/s")
    print(f"  ingest, of prepared events     {prepared_rate:9,.0f} events/s")
    print(f"  ratio                          {prepared_rate / raw_rate:9.2f}     (to reach: 0.70)")
    for clients, found in ours.items():
        rate = statistics.median(one.per_second for one in found)
        of_server, of_workers = min(one.server for one in found), min(sum(one.workers) for one in found)
        print(
            f"  POST /events, {BATCH:,} a request  {rate:9,.0f} events/s   {of_server * 1e6:5.0f} us of CPU each, "
            f"and {of_workers * 1e6:.0f} in {len(found[0].workers)} workers; clients: {clients}"
        )
        print(f"  ratio                          {rate / raw_rate:9.2f}")


async def ingest_prepared(db: Path, file: Path, count: int) -> float:
    """Seconds that ingest takes for batches that are read and prepared."""
    batches = prepared_batches(lab_events(file, count), PREPARED, SQLitePacking())
    async with SQLiteStore(db) as store:
        return await ingest_all(store, batches)


def memory(file: Path, few: int, many: int) -> None:
    """The server's resident memory after few and after many events."""
    sizes = []
    with tempfile.TemporaryDirectory() as name, server(f"sqlite:///{name}/events.db", Path(name)) as (port, process):
        sent = 0
        for target in (few, many):
            while sent < target:
                lines = bodies(file, min(BATCH, target - sent))
                run(port, 1, [post("/events", b"\n".join(lines))])
                sent += len(lines)
            for path in ("/events?number=100", "/events/facets", "/events/histogram?interval=3600"):
                httpx.get(f"http://127.0.0.1:{port}{path}", timeout=60)
            sizes.append(resident_bytes(process.pid))
    print(f"  after {few:9,} events            {sizes[0] / 2**20:9.1f} MiB")
    print(f"  after {many:9,} events            {sizes[1] / 2**20:9.1f} MiB")
    print(f"  ratio                          {sizes[1] / sizes[0]:9.2f}     (to reach: at most 1.20)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_events_argument(parser)
    parser.add_argument("--requests", type=int, default=10_000, help="single posts a round")
    parser.add_argument("--batch", type=int, default=60_000, help="events sent in batches a round")
    parser.add_argument("--memory", type=int, metavar="EVENTS", help="also measure memory after so many events")
    chosen = parser.parse_args()
    print("single posts, SQLite")
    single_posts(chosen.events, chosen.requests, lambda folder: f"sqlite:///{folder / 'events.db'}")
    print("single posts, memory (nothing is durable: what HTTP and the event itself cost)")
    single_posts(chosen.events, chosen.requests, lambda folder: "memory:")
    print("batches, SQLite")
    batches(chosen.events, chosen.batch)
    if chosen.memory:
        print("memory, SQLite")
        memory(chosen.events, 10_000, chosen.memory)


if __name__ == "__main__":
    main()
