"""SQLiteStore where it is more than a store: its file, who may have it, and what happens to it when things go wrong."""

import asyncio
import os
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from madsci_event_server.errors import InvalidSettings, QueryTimedOut, StoreUnavailable, StoreUnusable
from madsci_event_server.event import Event
from madsci_event_server.query import EventQuery
from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import Frame, Outcome
from madsci_event_server.storage.sqlite import SQLiteStore
from madsci_event_server.storage.sqlite_columns import SQLitePacking
from madsci_event_server.storage.sqlite_database import Database, Migration
from madsci_event_server.storage.sqlite_runs import MAX_RUN_BYTES
from madsci_event_server.storage.sqlite_schema import APPLICATION_ID, MIGRATIONS
from tests.factories import NODES, NOON, a_query, an_event
from tests.processes import Process

ROOT = Path(__file__).parents[2]


def put(path: Path, content: bytes) -> None:
    """A file with this content, and its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def content(path: Path) -> bytes:
    """What is in the file."""
    return path.read_bytes()


def damage(path: Path) -> None:
    """Nonsense in all but the first page."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def make_readable_only(path: Path) -> None:
    """To others than its owner the file is readable; its directory and lock are writable."""
    path.chmod(0o444)
    path.with_name(path.name + ".lock").chmod(0o666)
    path.parent.chmod(0o777)


def driver(mode: str, path: Path) -> Process:
    """A program of its own that has the store open."""
    return Process([sys.executable, "-m", "tests.server.sqlite_driver", mode, path], cwd=ROOT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lab" / "events.db"


# --- Its file ---


async def test_what_was_stored_is_there_when_it_is_opened_again(path: Path) -> None:
    async with SQLiteStore(path) as store:
        (first,) = await store.append([an_event("Tip lost", id="e1", node_id=NODES[0], name="arm")])
        store_id, head = store.store_id, await store.head()

    async with SQLiteStore(path) as store:
        assert (store.store_id, await store.head()) == (store_id, head)
        assert await store.get("e1") == first.stored
        assert set(store.names_directory.ids_of("node_id", "arm")) == {NODES[0]}
        (again, new) = await store.append([first.stored.event, an_event()])
        assert (again.outcome, new.stored.seq) == (Outcome.DUPLICATE, first.stored.seq + 1)


async def test_addresses(tmp_path: Path) -> None:
    for url, file in (
        ("sqlite:///a/b%20c.db", tmp_path / "a/b c.db"),
        ("sqlite:///really%3F#1.db", tmp_path / "really?#1.db"),
        (f"sqlite:///{tmp_path}/d.db", tmp_path / "d.db"),
    ):
        async with open_store(url, lab_directory=tmp_path) as store:
            assert (await store.status()).location == str(file)
        assert file.is_file()


@pytest.mark.parametrize(
    "url", ["", "events.db", "sqlite://events.db", "sqlite:///", "postgres://u:pw@h/db", "memory:x"]
)
def test_an_address_of_no_store_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="use sqlite:///PATH") as refused:
        open_store(url, lab_directory=tmp_path)

    assert "pw" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite:///x.db?mode=ro", "sqlite:///x.db?", "sqlite:///:memory:"])
def test_a_file_has_no_options(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"has options|write memory:"):
        open_store(url, lab_directory=tmp_path)


async def test_the_log_is_synced_before_an_answer(path: Path) -> None:
    """Acknowledged survives the machine's power: what SQLite promises with these two settings."""
    database = Database(path, application_id=APPLICATION_ID, migrations=MIGRATIONS)
    await database.open()

    settings = await database.write(
        lambda connection: [
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")
        ]
    )

    await database.close()
    assert settings == [2, "wal"]


# --- Who may have it ---


async def test_a_second_server_is_refused(path: Path) -> None:
    with driver("hold", path) as holder:
        holder.wait_for_line("^open$")

        with pytest.raises(StoreUnusable, match=rf"{re.escape(str(path))}.*in use .*process {holder.pid}\b.*--db"):
            await SQLiteStore(path).__aenter__()

        holder.kill()
    async with SQLiteStore(path) as store:
        assert (await store.status()).events == 0


async def test_a_second_server_in_one_process_is_refused_too(path: Path) -> None:
    async with SQLiteStore(path) as store:
        with pytest.raises(StoreUnusable, match="in use"):
            await SQLiteStore(path).__aenter__()
        assert (await store.append([an_event()]))[0].outcome is Outcome.STORED


async def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    put(path, b"minutes of the meeting\n" * 100)

    with pytest.raises(StoreUnusable, match="not an SQLite database"):
        await SQLiteStore(path).__aenter__()

    assert content(path) == b"minutes of the meeting\n" * 100


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    put(path, b"")
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    before = content(path)

    with pytest.raises(StoreUnusable, match="another program"):
        await SQLiteStore(path).__aenter__()

    assert content(path) == before


async def test_a_newer_versions_database_is_left_alone(path: Path) -> None:
    newer = (*MIGRATIONS, Migration("holograms", ("CREATE TABLE holograms (id)",)))
    database = Database(path, application_id=APPLICATION_ID, migrations=newer)
    await database.open()
    await database.close()

    with pytest.raises(StoreUnusable, match=r"newer version .*holograms.*upgrade"):
        await SQLiteStore(path).__aenter__()


async def test_a_directory_is_no_database(path: Path) -> None:
    put(path / "in it", b"")

    with pytest.raises(StoreUnusable, match=re.escape(str(path))):
        await SQLiteStore(path).__aenter__()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that another user can reach, which pytest's own cannot be."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
        directory.chmod(0o755)


def test_a_directory_that_cannot_be_written_is_named(open_directory: Path) -> None:
    open_directory.chmod(0o555)

    with driver("nobody", open_directory / "events.db") as program:
        program.wait_for_line(r"^StoreUnusable .*events\.db .*directory cannot be written.*--db")


def test_a_directory_that_cannot_be_made_is_named(open_directory: Path) -> None:
    open_directory.chmod(0o555)

    with driver("nobody", open_directory / "lab" / "events.db") as program:
        program.wait_for_line(r"^StoreUnusable .*events\.db .*directory cannot be made.*--db")


async def test_a_file_that_may_only_be_read_is_named(open_directory: Path) -> None:
    file = open_directory / "events.db"
    async with SQLiteStore(file) as store:
        await store.append([an_event(id="e1")])
    make_readable_only(file)

    with driver("nobody", file) as program:
        program.wait_for_line(r"^StoreUnusable .*events\.db .*cannot be written.*--db")


# --- When things go wrong ---


async def test_killed_in_the_midst_of_appends_it_has_every_acknowledged_event_once(path: Path) -> None:
    with driver("append", path) as program:
        program.wait_for_line(r"^stored 23-20-")
        program.kill()
        acknowledged = re.findall(r"^stored (\S+)$", program.stdout.text, re.MULTILINE)

    async with SQLiteStore(path) as store:
        found = [stored async for stored in every_event(store)]
        again = await store.append([stored.event for stored in found[:1]])

    ids = [stored.event.event_id for stored in found]
    assert len(acknowledged) > 24 * 20
    assert len(ids) == len(set(ids))
    assert set(acknowledged) <= set(ids)
    assert [stored.seq for stored in found] == sorted({stored.seq for stored in found})
    assert again[0].outcome is Outcome.DUPLICATE


async def every_event(store: SQLiteStore):  # type: ignore[no-untyped-def]  # an asynchronous generator of StoredEvent
    query = EventQuery(order="received", limit=1000)
    while True:
        page = await store.find(query)
        for stored in page.events:
            yield stored
        if page.next is None:
            return
        query = query.page_after(page.next)


async def test_a_full_disk_is_said_loses_nothing_and_is_over_when_there_is_room(path: Path) -> None:
    with driver("fill", path) as program:
        program.wait_for_line("^done$")
        lines = program.stdout.text.splitlines()

    refused = [line for line in lines if line.startswith("StoreUnavailable")]
    assert len(refused) >= 4
    assert all(str(path) in line for line in refused)
    assert any(line.startswith("status ") and str(path) in line for line in lines)
    assert "still 0" in lines
    stored = [line.removeprefix("stored ") for line in lines if line.startswith("stored ")]
    assert len(stored) == len(set(stored)) > 10
    async with SQLiteStore(path) as store:
        assert [event.event.event_id async for event in every_event(store)] == stored


async def test_a_file_damaged_while_open_is_said(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.append([an_event("x" * 4000, id=str(number)) for number in range(200)])
    damage(path)

    with pytest.raises(StoreUnusable, match=f"{re.escape(str(path))}.*damaged.*backup"):
        async with SQLiteStore(path) as store:
            await store.find(a_query())


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 600, 2100])
async def test_a_commit_of_any_size_is_stored_whole(path: Path, count: int) -> None:
    """Statements are padded to a few sizes: no event is left out, and no row of padding is stored."""
    sent = [an_event("step", id=f"e{number}", node_id=NODES[number % 2]) for number in range(count)]
    async with SQLiteStore(path) as store:
        await store.append(sent)

        assert [stored.event.event_id async for stored in every_event(store)] == [event.event_id for event in sent]
        assert (await store.status()).events == count
        by_node = (await store.facets(a_query(), ["node_id"], 10)).facets["node_id"]
        assert sum(node.count for node in by_node) == count


async def test_a_body_is_text_in_the_file_as_other_programs_expect(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.append([an_event("Straße \u2603 \U0001f52c", id="e1")])
        stored = await store.get("e1")
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT typeof(body), body FROM events").fetchall() == [
                ("text", stored.body.decode())
            ]


async def test_a_failed_append_stores_nothing_of_it(path: Path) -> None:
    """The labels of what failed are forgotten, too: those in memory must be those in the file."""
    async with SQLiteStore(path) as store:
        good = an_event(id="good", node_id=NODES[0])
        bad = an_event(id="bad", node_id=NODES[1]).changed(event_id="\ud800")  # cannot be: Event refuses it
        with pytest.raises(UnicodeEncodeError):
            await store.append([good, bad])

        assert (await store.status()).events == 0
        await store.append([good, an_event(id="fine", node_id=NODES[1])])
        for node_id, event_id in ((NODES[0], "good"), (NODES[1], "fine")):
            page = await store.find(a_query(node_id=[node_id]))
            assert [stored.event.event_id for stored in page.events] == [event_id]


async def test_a_query_without_end_is_ended(path: Path) -> None:
    database = Database(path, application_id=APPLICATION_ID, migrations=MIGRATIONS)
    await database.open()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

    with pytest.raises(QueryTimedOut, match=r"longer than 0\.05 s"):
        await database.read(lambda connection, _: connection.execute(endless).fetchone(), 0.05)

    assert await database.read(lambda connection, _: connection.execute("SELECT 1").fetchone(), 60) == (1,)
    await database.close()


async def test_nobody_waiting_ends_a_query_too(path: Path) -> None:
    """Closing waits for queries, so this would hang."""
    database = Database(path, application_id=APPLICATION_ID, migrations=MIGRATIONS)
    await database.open()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def run(connection: sqlite3.Connection, _: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        connection.execute(endless).fetchone()

    waiting = asyncio.create_task(database.read(run, 3600))
    await begun.wait()
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    await database.close()


async def test_a_lock_of_another_program_is_waited_for(path: Path) -> None:
    """A backup tool, somebody's `sqlite3`."""
    async with SQLiteStore(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        append = asyncio.create_task(store.append([an_event()]))
        await asyncio.sleep(0)
        other.execute("COMMIT")
        other.close()

        assert (await append)[0].outcome is Outcome.STORED


# --- Migrations ---

ONE = Migration("one", ("CREATE TABLE one (id)", "INSERT INTO one VALUES (1)"))
TWO = Migration("two", ("INSERT INTO one VALUES (2)",))
BROKEN = Migration("broken", ("INSERT INTO one VALUES (3)", "INSERT INTO nowhere VALUES (4)"))


async def migrated(path: Path, *migrations: Migration) -> list[tuple[int]]:
    """What is in the table after these migrations."""
    database = Database(path, application_id=APPLICATION_ID, migrations=migrations)
    await database.open()
    try:
        return await database.write(lambda connection: connection.execute("SELECT id FROM one ORDER BY id").fetchall())
    finally:
        await database.close()


async def test_migrations_are_applied_once_in_their_order(path: Path) -> None:
    assert await migrated(path, ONE) == [(1,)]
    assert await migrated(path, ONE, TWO) == [(1,), (2,)]
    assert await migrated(path, ONE, TWO) == [(1,), (2,)]


async def test_a_migration_that_fails_leaves_nothing_of_itself(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        await migrated(path, ONE, BROKEN)

    assert await migrated(path, ONE, TWO) == [(1,), (2,)]


async def test_what_is_asked_after_closing_is_unavailable(path: Path) -> None:
    store = SQLiteStore(path)
    async with store:
        pass

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.archive(before=NOON, at=NOON)


FRAME = Frame("<", "|", "!", ">")


async def written(store: SQLiteStore, seq: int, through: int) -> tuple[bytes, int]:
    run = await store.run_between(seq, through, FRAME)
    return b"".join(run.written), run.through


async def test_a_run_is_what_is_found_in_received_order_between_any_two_places(path: Path) -> None:
    """With events raised, archived and purged among them."""
    async with SQLiteStore(path) as store:
        await store.append([an_event(id=f"e{number}") for number in range(1, 9)])
        await store.append([an_event(id="e2", level="error"), an_event(id="e9"), an_event(id="e6", level="error")])
        await store.append([an_event(id=f"e{number}") for number in range(10, 14)])
        await store.archive(ids=["e3", "e10"], at=NOON)
        await store.purge(NOON + timedelta(seconds=1))
        await store.archive(ids=["e11"], at=NOON)
        found = (await store.find(a_query(order="received"))).events

        for seq in range(16):
            for through in range(seq + 1, 16):
                expected = [
                    b"<%d%b%b>" % (stored.seq, b"!" if stored.first_seq <= seq else b"|", stored.body)
                    for stored in found
                    if seq < stored.seq <= through
                ]
                assert await written(store, seq, through) == (b"".join(expected), through)


async def test_a_run_of_very_long_events_has_fewer(path: Path) -> None:
    events = [an_event("x" * (MAX_RUN_BYTES // 3)) for _ in range(7)] + [an_event("x" * 2 * MAX_RUN_BYTES)]
    async with SQLiteStore(path) as store:
        await store.append(events)
        place, whole = 0, b""
        while place < len(events):
            part, place = await written(store, place, len(events))
            assert len(part) <= MAX_RUN_BYTES or place == len(events)
            whole += part

        found = (await store.find(a_query(order="received"))).events
        assert whole == b"".join(b"<%d|%b>" % (stored.seq, stored.body) for stored in found)


async def test_of_events_prepared_together_those_that_are_new_give_their_names(tmp_path: Path) -> None:
    packer = SQLitePacking().packer()
    for number, node in enumerate(NODES[:2]):
        source = {"node_id": node, "name": f"reader_{number}"}
        packer.add(Event.sent({"event_id": f"e{number}", "event_timestamp": 0, "source": source}))
    prepared = SQLitePacking().unpack(packer.packed())
    for columns in prepared:
        columns.stamp(NOON)
    async with SQLiteStore(tmp_path / "events.db") as store:
        await store.append([Event.sent({"event_id": "e0", "event_timestamp": 0})])

        appended = await store.append_prepared(prepared)

        assert [one.outcome for one in appended] == [Outcome.CONFLICT, Outcome.STORED]
        assert [(seen.id, seen.name) for seen in await store.names()] == [(NODES[1], "reader_1")]
        assert store.names_directory.ids_of("node_id", "reader_1") == {NODES[1]}
        assert not store.names_directory.ids_of("node_id", "reader_0")
