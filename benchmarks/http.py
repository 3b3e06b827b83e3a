"""Ingest over HTTP, beside what it is made of: uvicorn answering `{}`, and `executemany` into the same tables.

    python -m benchmarks.http [--seconds-worth 20000] [--memory]

Everything runs on 127.0.0.1, in processes of its own; baseline and server alternate, and the median of the rounds is
reported, so that a busy machine slows both.
"""

import argparse
import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load import Load, load, post
from madsci_event_server.event import new_event_id

CONNECTIONS = 64
ROUNDS = 3


def events(count: int) -> Iterator[dict[str, Any]]:
    """Events as a real lab's: about 600 bytes, kinds and ids inside `event_data`."""
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    for number in range(count):
        node = f"01M84VMC3N1SG08XM8G777QG{number % 50:02}"
        yield {
            "event_id": new_event_id(),
            "event_type": "log_info",
            "log_level": (20, 20, 20, 10, 40)[number % 5],
            "alert": False,
            "event_timestamp": (noon + timedelta(milliseconds=number)).isoformat(),
            "source": {"node_id": node, "manager_id": "01M84VMC3N1SG08XM8G777QGT5"},
            "event_data": {
                "message": f"Action transfer of plate {number % 96} moved from deck slot {number % 12} to the reader",
                "event_type": ("action_status_change", "workflow_start", "resource_update")[number % 3],
                "node_name": f"liquidhandler_{number % 50}",
                "action_id": f"01M84WF0000000000000{number % 1_000_000:06}",
                "status": "running",
                "duration_seconds": number / 7,
            },
            "trace_id": None,
            "span_id": None,
            "archived": False,
            "archived_at": None,
        }


def bodies(count: int) -> list[bytes]:
    return [json.dumps(event).encode() for event in events(count)]


@contextmanager
def server(db: str, folder: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Our server; its port and its process."""
    command = [sys.executable, "-m", "madsci_event_server", "--port", "0", "--db", db]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stderr
        try:
            line = process.stderr.readline()
            yield int(line.split("http://127.0.0.1:", 1)[1].split(",")[0]), process
        finally:
            process.terminate()
            process.wait()


@contextmanager
def bare_server() -> Iterator[int]:
    """Uvicorn with the same parser and event loop, answering `{}`."""
    command = [sys.executable, "-m", "uvicorn", "benchmarks.bare_app:app", "--port", "0", "--no-access-log"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            for line in process.stderr:
                if "running on" in line:
                    yield int(line.split("http://127.0.0.1:", 1)[1].split(" ")[0])
                    break
        finally:
            process.terminate()
            process.wait()


def run(port: int, connections: int, requests: list[bytes]) -> Load:
    found = asyncio.run(load(port, connections, lambda: iter(requests)))
    assert found.failures == 0, f"{found.failures} of {found.requests} requests failed"
    return found


def single_posts(count: int, db: Callable[[Path], str]) -> None:
    """One durable event a request, 64 connections."""
    ours, bare = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        bare_server() as bare_port,
        server(db(Path(folder)), Path(folder)) as (
            port,
            _,
        ),
    ):
        for _ in range(ROUNDS):
            requests = [post("/event", body) for body in bodies(count)]
            bare.append(run(bare_port, CONNECTIONS, requests))
            ours.append(run(port, CONNECTIONS, requests))
    rate, bare_rate = median_rate(ours), median_rate(bare)
    last = ours[-1]
    print(
        f"  POST /event, {CONNECTIONS} connections   {rate:9,.0f}/s   p50 {last.percentile(50):5.1f} ms   "
        f"p99 {last.percentile(99):5.1f} ms"
    )
    print(f"  uvicorn answering {{}}           {bare_rate:9,.0f}/s")
    print(f"  ratio                          {rate / bare_rate:9.2f}     (to reach: 0.30)")


def median_rate(loads: list[Load]) -> float:
    return statistics.median(found.per_second for found in loads)


def batches(count: int) -> None:
    """NDJSON of 5,000 events a request, beside `executemany` of the same rows into the same tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = bodies(count)
        requests = [post("/events", b"\n".join(lines[start : start + 5000])) for start in range(0, count, 5000)]
        with server(f"sqlite:///{folder / 'ours.db'}", folder) as (port, _):
            found = run(port, 1, requests)
        rate = count / found.seconds
        raw = executemany_rate(folder / "ours.db", folder / "raw.db")
    print(f"  POST /events, 5,000 a request  {rate:9,.0f} events/s")
    print(f"  executemany, same tables       {raw:9,.0f} events/s")
    print(f"  ratio                          {rate / raw:9.2f}     (to reach: 0.70)")


def executemany_rate(filled: Path, empty: Path) -> float:
    """Events a second, when every row of every table of `filled` is written anew, durably, 500 events a commit."""
    with sqlite3.connect(f"file:{filled}?mode=ro", uri=True) as source:
        schema = [
            sql for (sql,) in source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        ]
        tables = [name for (name,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: source.execute(f"SELECT * FROM {name}").fetchall() for name in plain_tables(tables)}  # noqa: S608
    target = sqlite3.connect(empty)
    target.execute("PRAGMA journal_mode = WAL")
    target.execute("PRAGMA synchronous = FULL")
    for sql in schema:
        if not sql.startswith("CREATE TABLE 'search_") and "sqlite_" not in sql:
            target.execute(sql)
    count = len(rows["events"])
    started = time.perf_counter()
    for start in range(0, count, 500):
        with target:
            for name, found in rows.items():
                part = found[start * len(found) // count : (start + 500) * len(found) // count]
                if part:
                    marks = ",".join("?" * len(part[0]))
                    target.executemany(f"INSERT OR IGNORE INTO {name} VALUES ({marks})", part)  # noqa: S608
    seconds = time.perf_counter() - started
    target.close()
    return count / seconds


def plain_tables(tables: list[str]) -> list[str]:
    """Without what SQLite keeps for itself and for full text."""
    return [name for name in tables if not name.startswith("sqlite_") and "search" not in name]


def memory(few: int, many: int) -> None:
    """The server's resident memory after few and after many events."""
    sizes = []
    with tempfile.TemporaryDirectory() as name, server(f"sqlite:///{name}/events.db", Path(name)) as (port, process):
        sent = 0
        for target in (few, many):
            while sent < target:
                body = b"\n".join(bodies(min(5000, target - sent)))
                run(port, 1, [post("/events", body)])
                sent += min(5000, target - sent)
            for path in ("/events?number=100", "/events/facets", "/events/histogram?interval=3600"):
                httpx.get(f"http://127.0.0.1:{port}{path}", timeout=60)
            sizes.append(resident_bytes(process.pid))
    print(f"  after {few:9,} events            {sizes[0] / 2**20:9.1f} MiB")
    print(f"  after {many:9,} events            {sizes[1] / 2**20:9.1f} MiB")
    print(f"  ratio                          {sizes[1] / sizes[0]:9.2f}     (to reach: at most 1.20)")


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/{pid}/status says nothing of memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000, help="single posts a round")
    parser.add_argument("--batch", type=int, default=50_000, help="events in batches")
    parser.add_argument("--memory", type=int, metavar="EVENTS", help="also measure memory after so many events")
    chosen = parser.parse_args()
    print("single posts, SQLite")
    single_posts(chosen.requests, lambda folder: f"sqlite:///{folder / 'events.db'}")
    print("single posts, memory (nothing is durable: what HTTP and the event itself cost)")
    single_posts(chosen.requests, lambda folder: "memory:")
    print("batches, SQLite")
    batches(chosen.batch)
    if chosen.memory:
        print("memory, SQLite")
        memory(10_000, chosen.memory)


if __name__ == "__main__":
    main()
