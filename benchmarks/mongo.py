"""MongoDB: single posts beside MADSci's own event manager, batches beside `insert_many`, and how queries grow.

    python -m benchmarks.mongo --events lab_events.jsonl --madsci ENVIRONMENT/bin/python [--memory 1000000]

Everything runs on 127.0.0.1 on one `mongod`, a replica set of one. MADSci 0.8.1 runs in an environment of its own;
baseline and server alternate, and the median of the rounds is reported.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pymongo

from benchmarks.http import CONNECTIONS, ROUNDS, bodies, median_rate, run, server
from benchmarks.lab import add_events_argument, lab_events
from benchmarks.load import post
from madsci_event_server.event import new_event_id
from madsci_event_server.query import EventQuery
from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import EventStore
from madsci_event_server.storage.mongo import INDEXES
from madsci_event_server.storage.mongo_documents import NewEvent
from tests.mongod import Mongod
from tests.processes import free_port

BATCH = 2000
FEW, MANY = 10_000, 1_000_000
START_SECONDS = 120


@contextmanager
def madsci(python: Path, url: str, folder: Path) -> Iterator[int]:
    """MADSci's event manager; its port."""
    port = free_port()
    settings = {
        "EVENT_SERVER_URL": f"http://127.0.0.1:{port}/",
        "EVENT_DB_URL": url,
        "EVENT_DATABASE_NAME": "madsci_benchmark",
    }
    command = [str(python), "-m", "madsci.event_manager.event_server"]
    with (
        (folder / "madsci.log").open("w") as log,
        subprocess.Popen(command, cwd=folder, env=dict(os.environ) | settings, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until_healthy(port, process)
            yield port
        finally:
            process.terminate()
            process.wait()


def wait_until_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").json()["db_connected"]:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise TimeoutError("MADSci's event manager did not start; see its log")


def single_posts(mongod: Mongod, file: Path, count: int, python: Path) -> None:
    """One durable event a request, 64 connections, beside MADSci."""
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(mongod.new_database(), folder) as (port, _), madsci(python, mongod.url, folder) as other:
            for _ in range(ROUNDS):
                ours.append(run(port, CONNECTIONS, [post("/event", body) for body in bodies(file, count)]))
                theirs.append(run(other, CONNECTIONS, [post("/event", body) for body in bodies(file, count // 10)]))
    rate, their_rate = median_rate(ours), median_rate(theirs)
    print(
        f"  POST /event, {CONNECTIONS} connections   {rate:9,.0f}/s   p50 {ours[-1].percentile(50):5.1f} ms   "
        f"p99 {ours[-1].percentile(99):5.1f} ms"
    )
    print(f"  MADSci 0.8.1                   {their_rate:9,.0f}/s")
    print(f"  ratio                          {rate / their_rate:9.1f}     (to reach: 12)")


def batches(mongod: Mongod, file: Path, count: int) -> None:
    """Batches into the store, beside `insert_many` of the same documents with the same indexes."""
    ours, raw = [], []
    for _ in range(ROUNDS):
        ours.append(count / asyncio.run(append_all(mongod.new_database(), file, count)))
        raw.append(count / insert_all(mongod.new_database(), file, count))
    rate, raw_rate = statistics.median(ours), statistics.median(raw)
    print(f"  append, {BATCH} at once           {rate:9,.0f}/s")
    print(f"  insert_many, the same          {raw_rate:9,.0f}/s")
    print(f"  ratio                          {rate / raw_rate:9.2f}     (to reach: 0.7)")


async def append_all(url: str, file: Path, count: int) -> float:
    """Seconds."""
    async with open_store(url, lab_directory=Path.cwd()) as store:
        return await fill(store, file, count)


async def fill(store: EventStore, file: Path, count: int) -> float:
    seconds, batch = 0.0, []
    for event in lab_events(file, count):
        batch.append(event.changed(event_id=new_event_id()))
        if len(batch) == BATCH:
            seconds += await timed(store, batch)
            batch = []
    return seconds + (await timed(store, batch) if batch else 0.0)


async def timed(store: EventStore, batch: list) -> float:  # type: ignore[type-arg]
    started = time.perf_counter()
    await store.append(batch)
    return time.perf_counter() - started


def insert_all(url: str, file: Path, count: int) -> float:
    """Seconds."""
    with pymongo.MongoClient(url, w="majority", journal=True) as client:  # type: ignore[var-annotated]
        collection = client.get_default_database()["raw"]
        collection.create_indexes(list(INDEXES))
        documents = []
        for seq, event in enumerate(lab_events(file, count)):
            documents.append(NewEvent(event.changed(event_id=new_event_id())).document | {"seq": seq, "first_seq": seq})
        started = time.perf_counter()
        for at in range(0, count, BATCH):
            collection.insert_many(documents[at : at + BATCH])
        return time.perf_counter() - started


def growth(mongod: Mongod, file: Path, many: int) -> None:
    """The newest 100 by level and node, at ten thousand and at a million events."""
    few, lots = (asyncio.run(newest(mongod.new_database(), file, count)) for count in (FEW, many))
    print(f"  newest 100 by level and node   {1000 * few:9.2f} ms at {FEW:,}")
    print(f"                                 {1000 * lots:9.2f} ms at {many:,}")
    print(f"  ratio                          {lots / few:9.2f}     (to stay below: 2)")


async def newest(url: str, file: Path, count: int) -> float:
    """Seconds, the median of many."""
    async with open_store(url, lab_directory=Path.cwd()) as store:
        await fill(store, file, count)
        nodes = (await store.facets(EventQuery(), ["node_id"], 5)).facets["node_id"]
        taken = []
        for _ in range(40):
            for node in nodes:
                query = EventQuery.parse({"level": "info", "node_id": [node.value]})
                started = time.perf_counter()
                await store.find(query)
                taken.append(time.perf_counter() - started)
        return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_events_argument(parser)
    parser.add_argument("--count", type=int, default=10_000, help="events a round")
    parser.add_argument("--madsci", type=Path, help="the Python of an environment with madsci.event_manager 0.8.1")
    parser.add_argument("--memory", type=int, default=MANY, help="events of the larger store")
    parser.add_argument("--only", choices=("posts", "batches", "growth"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Mongod.replica_set(Path(folder), 1) as mongod:
        if options.only in (None, "posts") and options.madsci:
            single_posts(mongod, options.events, options.count, options.madsci)
        if options.only in (None, "batches"):
            batches(mongod, options.events, options.count)
        if options.only in (None, "growth"):
            growth(mongod, options.events, options.memory)


if __name__ == "__main__":
    main()
