"""The embedded store with few events and with many: how long searches and counts take, batches beside raw SQL, memory.

    python -m benchmarks.store --events lab_events.jsonl

Times are the best of several; ratios are what counts, both sides of one measured in one run.
"""

import argparse
import asyncio
import gc
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.ingest import ingest_all, prepared_batches
from benchmarks.lab import add_events_argument, lab_events, received
from benchmarks.programs import resident_bytes
from madsci_event_server.event import Event, format_time
from madsci_event_server.query import EventQuery
from madsci_event_server.storage.sqlite import SQLiteStore
from madsci_event_server.storage.sqlite_columns import SQLitePacking
from madsci_event_server.storage.sqlite_database import _OPTIONS
from madsci_event_server.storage.sqlite_rows import NewEvent, pack_labels
from madsci_event_server.storage.sqlite_schema import EVERY_EVENT, MIGRATIONS

BATCH = 1000
RARE_EVENTS = 120
"""Events that have the rare word and path, in each of the stores."""
ROUNDS = 7
SECONDS = 60.0


def events_with_rare_ones(file: Path, count: int) -> Iterator[Event]:
    """The lab's events; every so many one that a rare word, and a rare path in event_data, find."""
    every = count // RARE_EVENTS
    for number, event in enumerate(lab_events(file, count)):
        if number % every == every - 1:
            document = event.wire()
            document["event_data"] = {"message": "zirconium crucible cracked", "furnace": {"retries": 7}}
            event = received(document)
        yield event


async def fill(store: SQLiteStore, events: Iterator[Event]) -> float:
    """Appends them in batches; seconds spent appending."""
    spent = 0.0
    while batch := list(islice(events, BATCH)):
        start = time.perf_counter()
        await store.append(batch)
        spent += time.perf_counter() - start
    return spent


async def best(call: Callable[[], Awaitable[Any]], rounds: int = ROUNDS) -> float:
    """The shortest of several times, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        await call()
        times.append(time.perf_counter() - start)
    return min(times)


async def measure(store: SQLiteStore) -> dict[str, float]:
    """Seconds by what was asked."""
    nodes = (await store.facets(EventQuery(), ["node_id"], 10)).facets["node_id"]
    workflows = (await store.facets(EventQuery(), ["workflow_id"], 1)).facets["workflow_id"]
    middle = (await store.find(EventQuery(limit=1))).events[0].event.event_timestamp
    node, workflow = nodes[0].value, workflows[0].value
    queries = {
        "newest 100": {},
        "newest 100, level and node": {"level": "warning", "node_id": [node]},
        "newest 100, level": {"level": "error"},
        "newest 100, kind": {"kind": ["workflow_complete"]},
        "newest 100, kinds by glob": {"kind": ["workflow_*"]},
        "newest 100, rare word": {"search": "zirconium"},
        "newest 100, common word": {"search": "workflow"},
        "newest 100, word and level": {"search": "workflow", "level": "error"},
        "newest 100, name": {"name": ["liquidhandler_1"]},
        "newest 100, node by name": {"node": ["liquidhandler_1"]},
        "newest 100, one workflow": {"workflow_id": [workflow]},
        "newest 100, path = id": {"selector": {"event_data.workflow_id": workflow}},
        "newest 100, path = number": {"selector": {"event_data.furnace.retries": 7}},
        "newest 100, path >= number": {"selector": {"event_data.furnace.retries": {"$gte": 7}}},
        "newest 100, path exists": {"selector": {"event_data.furnace": {"$exists": True}}},
        "newest 100, message regex, common": {"regex": "^Workflow"},
        "next 100, received order, kind": {"order": "received", "kind": ["workflow_complete"]},
    }
    found = {}
    for name, filters in queries.items():
        query = EventQuery.parse(filters).resolved(store.names_directory)
        found[name] = await best(lambda query=query: store.find(query))
    fields = ("log_level", "kind", "node_id", "name", "alert")
    day = EventQuery.parse({"since": format_time(middle.replace(hour=0)), "limit": 1})
    span = max(60, round((await _span(store)) / 500))
    counts: dict[str, Callable[[], Awaitable[Any]]] = {
        "facets, all": lambda: store.facets(EventQuery(), fields, 20),
        "facets, since midnight": lambda: store.facets(day, fields, 20),
        "facets, one node": lambda: store.facets(EventQuery(node_id=(node,)), fields, 20),
        "histogram, all": lambda: store.histogram(EventQuery(), span),
        "histogram, one node": lambda: store.histogram(EventQuery(node_id=(node,)), span),
    }
    for name, call in counts.items():
        found[name] = await best(call, 3)
    return found


async def _span(store: SQLiteStore) -> float:
    ends = [(await store.find(EventQuery(order=order, limit=1))).events[0].time_us for order in ("time", "-time")]
    return (ends[1] - ends[0]) / 1e6


# --- Batches beside raw SQL ---


def raw_rows(events: Iterable[Event]) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """What the store would write of new events, worked out beforehand: rows of the four tables that grow."""
    numbers: dict[tuple[str, str], int] = {}
    rows, labels, words = [], [], []
    for seq, event in enumerate(events, 1):
        new = NewEvent(event)
        found = [numbers.setdefault(term, len(numbers) + 1) for term in new.terms]
        packed, body = pack_labels(found), new.body.decode()
        rows.append((seq, seq, new.event_id, new.time_us, new.state, None, new.event_type, packed, body))
        labels.append([(label, new.state, new.time_us, seq) for label in (EVERY_EVENT, *found)])
        words.append((seq, new.tokens.decode()))
    return rows, labels, words, [(number, *term) for term, number in numbers.items()]


def raw_insert(path: Path, prepared: tuple[list[Any], list[Any], list[Any], list[Any]]) -> float:
    """Seconds for `executemany` into the same tables and indexes, one durable transaction a batch."""
    rows, labels, words, dictionary = prepared
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in (*_OPTIONS, *(statement for migration in MIGRATIONS for statement in migration.statements)):
        connection.execute(statement)
    connection.executemany("INSERT INTO labels VALUES (?, ?, ?)", dictionary)
    start = time.perf_counter()
    for at in range(0, len(rows), BATCH):
        some = slice(at, at + BATCH)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows[some])
        connection.executemany(
            "INSERT INTO event_labels VALUES (?, ?, ?, ?)", [entry for entries in labels[some] for entry in entries]
        )
        connection.executemany("INSERT INTO words (rowid, tokens) VALUES (?, ?)", words[some])
        connection.execute("COMMIT")
    spent = time.perf_counter() - start
    connection.close()
    return spent


async def batches(file: Path, directory: Path, count: int) -> dict[str, float]:
    """Events a second: of events as they are, as workers prepare them, and raw; the best of three, taking turns."""
    spent: dict[str, list[float]] = {"events": [], "prepared": [], "raw": []}
    for turn in range(3):
        async with SQLiteStore(directory / f"ours{turn}.db") as store:
            spent["events"].append(await fill(store, lab_events(file, count)))
        prepared = prepared_batches(lab_events(file, count), BATCH, SQLitePacking())
        async with SQLiteStore(directory / f"prepared{turn}.db") as store:
            spent["prepared"].append(await ingest_all(store, prepared))
        spent["raw"].append(raw_insert(directory / f"raw{turn}.db", raw_rows(lab_events(file, count))))
    return {name: count / min(times) for name, times in spent.items()}


# --- The report ---


async def report(options: argparse.Namespace, temporary: Path, directory: Path) -> None:
    console = Console(width=110)
    rates = await batches(options.events, temporary, 20_000)
    raw = rates["raw"]
    console.print(f"batches of {BATCH}: raw executemany {raw:,.0f} events/s")
    for name, title in (("prepared", "through ingest, as workers prepare them"), ("events", "prepared by the store")):
        console.print(f"  {title}: {rates[name]:,.0f} events/s: [b]{rates[name] / raw:.2f}[/b]")
    console.print()

    found, memory = {}, {}
    for count in (options.few, options.many):
        path = directory / f"{count}.db"
        async with SQLiteStore(path, query_seconds=SECONDS) as store:
            if (await store.status()).events != count:
                spent = await fill(store, events_with_rare_ones(options.events, count))
                console.print(f"{count:,} events: {count / spent:,.0f} appended a second")
            found[count] = await measure(store)
            gc.collect()
            memory[count] = resident_bytes()
            size = (await store.status()).size_bytes or 0
        console.print(
            f"{count:,} events: {size / count:,.0f} bytes each on disk, process {memory[count] / 2**20:,.0f} MiB"
        )
    table = Table("", f"{options.few:,} ms", f"{options.many:,} ms", "ratio", title="SQLite store")
    for name, few in found[options.few].items():
        many = found[options.many][name]
        table.add_row(name, f"{few * 1e3:.2f}", f"{many * 1e3:.2f}", f"{many / few:.1f}")
    ratio = memory[options.many] / memory[options.few]
    table.add_row("memory", "", "", f"{ratio:.2f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_events_argument(parser)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, help="where to keep the databases and find them again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(report(options, Path(temporary), options.directory or Path(temporary)))


if __name__ == "__main__":
    main()
