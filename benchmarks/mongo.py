"""MongoDB: single posts beside MADSci's own event manager, batches beside `insert_many`, indexes, and how queries grow.

    python -m benchmarks.mongo --events lab_events.jsonl --madsci ENVIRONMENT/bin/python [--memory 1000000]

Everything runs on 127.0.0.1 on one `mongod`, a replica set of one. MADSci 0.8.1 runs in an environment of its own;
baseline and server alternate, and the median of the rounds is reported. Processor time is what a busy machine
disturbs least.
"""

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import httpx
import pymongo

from benchmarks.http import BATCH as REQUEST
from benchmarks.http import CLIENTS, CONNECTIONS, ROUNDS, Imported, bodies, import_in_batches, median_rate
from benchmarks.ingest import ingest_all, prepared_batches
from benchmarks.lab import add_events_argument, lab_events
from benchmarks.load import post, run
from benchmarks.programs import children, processor_seconds, server
from madsci_event_server.event import new_event_id
from madsci_event_server.query import EventQuery
from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import EventStore
from madsci_event_server.storage.mongo import INDEXES
from madsci_event_server.storage.mongo_documents import COUNTER, EVENTS, META, MongoPacking, NewEvent
from tests.mongod import Mongod
from tests.processes import free_port

BATCH = 2000
FEW, MANY = 10_000, 1_000_000
FACETS = ("log_level", "kind", "node_id")
START_SECONDS = 120
CACHE_GIGABYTES = 1.0
"""MongoDB's own default is half of the memory."""


@contextmanager
def madsci(python: Path, url: str, folder: Path) -> Iterator[tuple[int, int]]:
    """MADSci's event manager; its port and its process id."""
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
            yield port, process.pid
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
    scribe: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            server(mongod.new_database(), folder) as (port, process),
            madsci(python, mongod.url, folder) as (other, their_pid),
        ):
            spent = -processor_seconds(process.pid), -processor_seconds(their_pid)
            for _ in range(ROUNDS):
                ours.append(run(port, CONNECTIONS, [post("/event", body) for body in bodies(file, count)]))
                scribe |= {pid: processor_seconds(pid) for pid in children(process.pid)}
                theirs.append(run(other, CONNECTIONS, [post("/event", body) for body in bodies(file, count // 10)]))
            spent = spent[0] + processor_seconds(process.pid), spent[1] + processor_seconds(their_pid)
    rate, their_rate = median_rate(ours), median_rate(theirs)
    costs = [
        1e6 * seconds / sum(load.requests for load in loads)
        for seconds, loads in zip(spent, (ours, theirs), strict=True)
    ]
    print(
        f"  POST /event, {CONNECTIONS} connections   {rate:9,.0f}/s   p50 {ours[-1].percentile(50):5.1f} ms   "
        f"p99 {ours[-1].percentile(99):5.1f} ms"
    )
    print(f"  MADSci 0.8.1                   {their_rate:9,.0f}/s")
    print(f"  ratio                          {rate / their_rate:9.1f}     (to reach: 12)")
    turns = (one.per_second / other.per_second for one, other in zip(ours, theirs, strict=True))
    print(f"  ratio, turn by turn            {', '.join(f'{turn:.1f}' for turn in turns)}")
    beside = 1e6 * sum(scribe.values()) / sum(load.requests for load in ours)
    print(
        f"  processor, of the servers      {costs[0]:9.0f} us an event and {beside:.0f} us in the program that writes"
    )
    print(f"                                 MADSci's {costs[1]:.0f} us")


@dataclass(frozen=True)
class Cost:
    """Of storing one event, in microseconds: how long it took, and the processor time of this process and of mongod."""

    wall: float
    ours: float
    mongod: float

    def __str__(self) -> str:
        return f"{1e6 / self.wall:9,.0f}/s   processor: {self.ours:5.1f} us here, {self.mongod:5.1f} us in mongod"


class Meter:
    """Measures what is done in its `with` blocks, or between `start` and `stop`."""

    def __init__(self, mongod: Mongod) -> None:
        self._mongod = mongod
        self._spent = [0.0, 0.0, 0.0]

    def __enter__(self) -> "Meter":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        self._started = self._clocks()

    def stop(self) -> "Meter":
        ended = zip(self._spent, self._started, self._clocks(), strict=True)
        self._spent = [spent + after - before for spent, before, after in ended]
        return self

    def per_event(self, count: int) -> Cost:
        return Cost(*(1e6 * spent / count for spent in self._spent))

    def _clocks(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), processor_seconds(self._mongod.nodes[0].process.pid)


def batches(mongod: Mongod, file: Path, count: int) -> None:
    """Large batches as the server takes them, beside `insert_many` of the same documents with the same indexes.

    `insert_many` is given documents that were worked out before it is timed: beside it stands what ingest and the store
    take for events that workers have prepared, in one process as it does. Through HTTP the server also reads requests
    and events and works out their documents, on the same cores; and a lone client waits for each answer, while it has
    nothing to do.
    """
    ours: dict[int, list[Imported]] = {clients: [] for clients in CLIENTS}
    spent: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    raw, prepared = [], []
    with tempfile.TemporaryDirectory() as name:
        for _ in range(ROUNDS):
            for clients in CLIENTS:
                meter = Meter(mongod)
                lines = bodies(file, REQUEST + count)
                imported = import_in_batches(
                    mongod.new_database(), Path(name), lines, clients=clients, begun=meter.start
                )
                ours[clients].append(imported)
                spent[clients].append(meter.stop().per_event(count).mongod)
            prepared.append(count / asyncio.run(ingest_prepared(mongod.new_database(), file, count)))
            raw.append(insert_all(mongod, file, count, INDEXES))
    theirs = median(raw)
    print(f"  insert_many, {BATCH:,} at once     {theirs}")
    rate = statistics.median(prepared)
    print(f"  ingest, of prepared events     {rate:9,.0f}/s")
    print(f"  ratio                          {rate * theirs.wall / 1e6:9.2f}     (to reach: 0.7)")
    turns = (one * other.wall / 1e6 for one, other in zip(prepared, raw, strict=True))
    print(f"  ratio, turn by turn            {', '.join(f'{turn:.2f}' for turn in turns)}")
    for clients, found in ours.items():
        middle = sorted(range(ROUNDS), key=lambda turn: found[turn].per_second)[ROUNDS // 2]
        rate, programs = found[middle].per_second, found[middle].workers
        print(
            f"  POST /events, {REQUEST:,} at once   {rate:9,.0f}/s   "
            f"processor: {1e6 * found[middle].server:5.1f} us here, "
            f"{1e6 * sum(programs):.1f} us in {len(programs)} workers, {spent[clients][middle]:5.1f} us in mongod; "
            f"clients: {clients}"
        )
        print(f"  ratio                          {rate * theirs.wall / 1e6:9.2f}")
        turns = (one.per_second * other.wall / 1e6 for one, other in zip(found, raw, strict=True))
        print(f"  ratio, turn by turn            {', '.join(f'{turn:.2f}' for turn in turns)}")


async def ingest_prepared(url: str, file: Path, count: int) -> float:
    """Seconds that ingest takes for batches that are read and prepared."""
    events = (event.changed(event_id=new_event_id()) for event in lab_events(file, count))
    batches = prepared_batches(events, BATCH, MongoPacking())
    async with open_store(url, lab_directory=Path.cwd()) as store:
        return await ingest_all(store, batches)


def median(costs: list[Cost]) -> Cost:
    """That of the turn whose wall clock is the median."""
    return sorted(costs, key=lambda cost: cost.wall)[len(costs) // 2]


def insert_all(mongod: Mongod, file: Path, count: int, indexes: Sequence[pymongo.IndexModel]) -> Cost:
    documents = [new.document for new in placed(file, count)]
    meter = Meter(mongod)
    with pymongo.MongoClient(mongod.new_database(), w="majority", journal=True) as client:  # type: ignore[var-annotated]
        collection = client.get_default_database()["raw"]
        if indexes:
            collection.create_indexes(list(indexes))
        for at in range(0, count, BATCH):
            with meter:
                collection.insert_many(documents[at : at + BATCH])
    return meter.per_event(count)


def placed(file: Path, count: int) -> Iterator[NewEvent]:
    """A lab's events as the store has them."""
    for seq, event in enumerate(lab_events(file, count), 1):
        new = NewEvent(event.changed(event_id=new_event_id()))
        new.place(seq)
        yield new


# --- What the indexes cost, and what they are for ---


def indexes(mongod: Mongod, file: Path, count: int) -> None:
    """`insert_many` with all indexes, and without each of them."""
    names = [str(index.document["name"]) for index in INDEXES]
    costs: dict[str, list[Cost]] = {name: [] for name in ("all", *names, "none")}
    for _ in range(ROUNDS):
        for without, found in costs.items():
            kept = [index for index, name in zip(INDEXES, names, strict=True) if name != without]
            found.append(insert_all(mongod, file, count, [] if without == "none" else kept))
    whole = min(cost.mongod for cost in costs.pop("all"))
    print(f"  mongod, all indexes            {whole:9.1f} us of processor an event")
    for without, found in costs.items():
        least = min(cost.mongod for cost in found)
        title = "without any" if without == "none" else f"without {without}"
        print(f"  {title:28}   {least:9.1f} us, {whole - least:5.1f} less")


def growth(mongod: Mongod, file: Path, many: int) -> None:
    """The newest 100 by level and node, and counts over everything, at ten thousand and at a million events."""
    urls = {count: mongod.new_database() for count in (FEW, many)}
    for count, url in urls.items():
        asyncio.run(fill(url, file, count))
    few, lots = asyncio.run(compared(urls[FEW], urls[many]))
    for title, reach in (("newest 100 by level and node", 2), ("facets: level, kind, node", None), ("histogram", None)):
        print(f"  {title:29}  {few[title]:9.2f} ms at {FEW:,}")
        print(f"                                 {lots[title]:9.2f} ms at {many:,}")
        if reach:
            print(f"  ratio                          {lots[title] / few[title]:9.2f}     (to stay below: {reach})")


async def fill(url: str, file: Path, count: int) -> None:
    """So many events, the quick way: not through the store, which makes sure of each."""
    async with open_store(url, lab_directory=Path.cwd()):
        pass
    with pymongo.MongoClient(url) as client:  # type: ignore[var-annotated]
        database = client.get_default_database()
        events = placed(file, count)
        while batch := [new.raw() for new in islice(events, BATCH)]:
            database[EVENTS].insert_many(batch, ordered=False)
        database[META].update_one({"_id": COUNTER}, {"$set": {"last_seq": count}})


async def compared(*urls: str) -> list[dict[str, float]]:
    """By what was asked: milliseconds, the median of many for each of the stores, which are asked in turns."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(url, lab_directory=Path.cwd())) for url in urls]
        nodes = (await stores[0].facets(EventQuery(), ["node_id"], 5)).facets["node_id"]
        questions: dict[str, list[Callable[[EventStore], Awaitable[object]]]] = {
            "newest 100 by level and node": [newest_of(node.value) for node in nodes] * 40,
            "facets: level, kind, node": [lambda store: store.facets(EventQuery(), FACETS, 20)] * 5,
            "histogram": [lambda store: store.histogram(EventQuery(), 30 * 86_400)] * 5,
        }
        found: list[dict[str, float]] = [{} for _ in stores]
        for title, asked in questions.items():
            taken = [[await milliseconds(question(store)) for store in stores] for question in asked]
            for answers, times in zip(found, zip(*taken, strict=True), strict=True):
                answers[title] = statistics.median(times)
        return found


def newest_of(node_id: str) -> Callable[[EventStore], Awaitable[object]]:
    query = EventQuery.parse({"level": "info", "node_id": [node_id]})
    return lambda store: store.find(query)


async def milliseconds(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_events_argument(parser)
    parser.add_argument("--count", type=int, default=10_000, help="events a round")
    parser.add_argument("--madsci", type=Path, help="the Python of an environment with madsci.event_manager 0.8.1")
    parser.add_argument("--memory", type=int, default=MANY, help="events of the larger store")
    parser.add_argument("--only", choices=("posts", "batches", "indexes", "growth"))
    options = parser.parse_args()
    gc.freeze()
    gc.set_threshold(20_000, 10, 50)  # as the server has it
    with (
        tempfile.TemporaryDirectory() as folder,
        Mongod.replica_set(Path(folder), 1, cache_gigabytes=CACHE_GIGABYTES) as mongod,
    ):
        if options.only in (None, "posts") and options.madsci:
            single_posts(mongod, options.events, options.count, options.madsci)
        if options.only in (None, "batches"):
            batches(mongod, options.events, options.count)
        if options.only in (None, "indexes"):
            indexes(mongod, options.events, options.count)
        if options.only in (None, "growth"):
            growth(mongod, options.events, options.memory)


if __name__ == "__main__":
    main()
