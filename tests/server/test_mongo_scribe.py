"""Events that a program beside the server writes to MongoDB: the same outcomes, whatever becomes of that program."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import pymongo
import pytest
from blockbuster import blockbuster_ctx

from madsci_event_server.beside import Lost, nothing
from madsci_event_server.errors import StoreUnavailable, StoreUnusable
from madsci_event_server.event import Event, EventLogLevel
from madsci_event_server.ingest import Ingest
from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import Appended, Outcome, SeenName
from madsci_event_server.storage.mongo import MongoStore
from madsci_event_server.storage.mongo_documents import META, NewEvent
from madsci_event_server.storage.mongo_scribing import Scribe
from tests.factories import NODES, NOON, a_query, an_event
from tests.live_server import LiveServer
from tests.mongod import Mongod
from tests.server.test_batch_workers import Gone
from tests.server.test_mongo import STOPS_IN_MID_BATCH, stop_in_mid_batch, wait_for_stop


@pytest.fixture
async def store(mongodb_url: str) -> AsyncIterator[MongoStore]:
    """One whose scribe is ready."""
    async with MongoStore(mongodb_url, scribe=Scribe(mongodb_url, before_another_try_seconds=0)) as store:
        await store.scribe.started()
        yield store


async def dictated(store: MongoStore, events: Sequence[Event]) -> list[Appended]:
    """What became of events that the scribe wrote."""
    before = store.scribe.groups
    appended = await prepared(store, events)
    assert store.scribe.groups == before + 1
    return appended


async def prepared(store: MongoStore, events: Sequence[Event]) -> list[Appended]:
    return await store.append_prepared([store.prepare(event) for event in events])


def pid_of(scribe: Scribe) -> int:
    assert scribe.pid is not None
    return scribe.pid


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # what is waited for tells nobody
        await asyncio.sleep(0)


async def received(store: MongoStore) -> list[str]:
    found = (await store.find(a_query(order="received", limit=10_000))).events
    assert [stored.seq for stored in found] == sorted({stored.seq for stored in found})
    return [stored.event.event_id for stored in found]


# --- What it writes ---


async def test_what_is_new_gets_the_next_places(store: MongoStore) -> None:
    await store.append([an_event(id="e1")])

    appended = await dictated(store, [an_event(id="e2", at=NOON), an_event(id="e3", at=NOON)])

    assert [(one.outcome, one.stored.seq) for one in appended] == [(Outcome.STORED, 2), (Outcome.STORED, 3)]
    assert [await store.get(id_) for id_ in ("e2", "e3")] == [one.stored for one in appended]


async def test_what_is_known_is_told_as_it_stands(store: MongoStore) -> None:
    first = an_event("Tip lost", level="info", id="e1")
    await dictated(store, [first])

    appended = await dictated(
        store,
        [
            an_event(id="e2"),
            first,
            first.changed(log_level=EventLogLevel.ERROR),
            an_event("Tip found", id="e1"),
            an_event(id="e2", level="critical").changed(event_data={"message": "other"}),
        ],
    )

    assert [str(one.outcome) for one in appended] == ["stored", "duplicate", "raised", "conflict", "conflict"]
    assert await store.get("e1") == appended[3].stored
    assert appended[3].stored.event.log_level is EventLogLevel.ERROR
    assert [one.stored.seq for one in appended] == [2, 1, 3, 3, 2]
    assert (await dictated(store, [an_event(id="e4")]))[0].stored.seq == 4


async def test_names_and_kinds_it_is_the_first_to_see_are_known_to_all(
    store: MongoStore, mongodb_url: str, lab: Path
) -> None:
    known = an_event(id="e1")
    await dictated(store, [known])
    await dictated(store, [an_event(id="e1", node_id=NODES[1], name="nobody"), an_event(node_id=NODES[2], name="deck")])
    await dictated(store, [an_event(id="e2", type="workflow_paused", node_id=NODES[0], name="arm", at=NOON)])

    async with open_store(mongodb_url, lab_directory=lab) as other:
        assert SeenName("node_id", NODES[0], "arm", NOON) in await other.names()
        assert {seen.name for seen in await other.names()} == {"arm", "deck"}
        found = await other.find(a_query(kind=["workflow_p*"]))
    assert [stored.event.event_id for stored in found.events] == ["e2"]


async def test_ready_is_called_before_they_are_stored_for_good(store: MongoStore) -> None:
    called: list[int] = []

    (one,) = await store.append_next([store.prepare(an_event())], lambda: called.append(1))

    assert one.outcome is Outcome.STORED
    assert called == [1]


async def test_a_large_group_fills_no_pipe(store: MongoStore) -> None:
    events = [an_event("x" * 20_000) for _ in range(300)]

    appended = await dictated(store, events)

    assert await received(store) == [event.event_id for event in events]
    assert [one.stored.event.message for one in appended] == ["x" * 20_000] * 300


async def test_of_a_group_that_takes_several_messages_the_last_may_be_known(store: MongoStore) -> None:
    known = an_event(id="known", at=NOON)
    await dictated(store, [known])
    events = [an_event("x" * 20_000) for _ in range(300)]

    appended = await dictated(store, [*events, known])

    assert [one.outcome for one in appended] == [*[Outcome.STORED] * 300, Outcome.DUPLICATE]
    assert await received(store) == ["known", *[event.event_id for event in events]]


async def test_while_a_burst_lasts_it_is_begun_and_takes_over(mongodb_url: str, lab: Path) -> None:
    """The change comes between two commits that follow one another: none is passed by the next."""
    told: list[int] = []
    async with open_store(mongodb_url, lab_directory=lab) as store, Ingest(store) as ingest:
        assert isinstance(store, MongoStore)
        ingest.committed.subscribe(lambda events: told.extend(stored.seq for stored in events))

        async def send() -> None:
            while store.scribe.groups < 20:
                await ingest.accept([an_event()], 100)

        await asyncio.gather(*(send() for _ in range(8)))

        assert told == list(range(1, len(told) + 1))
        assert (await store.status()).events == len(told)


async def test_on_a_standalone_there_is_none(standalone_mongod: Mongod, lab: Path) -> None:
    async with open_store(standalone_mongod.new_database(), lab_directory=lab) as store:
        assert isinstance(store, MongoStore)
        for _ in range(50):
            await prepared(store, [an_event()])

        assert store.scribe.pid is None


async def test_it_never_blocks_the_event_loop(mongodb_url: str, lab: Path) -> None:
    async with open_store(mongodb_url, lab_directory=lab) as store:
        assert isinstance(store, MongoStore)
        with blockbuster_ctx("madsci_event_server"):
            await store.scribe.started()
            await dictated(store, [an_event()])
            await store.scribe.close()


async def test_nobody_sees_the_password_in_its_arguments(store: MongoStore) -> None:
    arguments = await asyncio.to_thread(Path(f"/proc/{pid_of(store.scribe)}/cmdline").read_bytes)

    assert b"mongo_scribe" in arguments
    assert b"mongodb://" not in arguments


async def test_files_that_an_address_names_are_those_of_the_server(store: MongoStore, lab: Path) -> None:
    folder = await asyncio.to_thread(Path(f"/proc/{pid_of(store.scribe)}/cwd").readlink)

    assert folder == lab


# --- What it cannot write ---


async def test_what_is_too_large_for_mongodb_is_refused_and_the_next_is_stored(store: MongoStore) -> None:
    with pytest.raises(RuntimeError, match="too large"):
        await dictated(store, [an_event("x" * 17_000_000)])

    assert (await dictated(store, [an_event(id="e1")]))[0].stored.seq == 1


async def test_a_database_that_was_emptied_is_said_to_be(store: MongoStore, mongodb_url: str) -> None:
    with pymongo.MongoClient[dict[str, object]](mongodb_url) as client:
        client.get_default_database()[META].delete_many({})

    with pytest.raises(StoreUnusable, match="emptied while it was in use"):
        await dictated(store, [an_event()])


async def test_while_mongodb_is_away_it_says_so_and_recovers(tmp_path: Path, lab: Path) -> None:
    with Mongod.replica_set(tmp_path / "mongod", 1) as deployment:
        async with open_store(deployment.new_database(), lab_directory=lab) as store:
            assert isinstance(store, MongoStore)
            await store.scribe.started()
            await dictated(store, [an_event(id="before")])
            await asyncio.to_thread(deployment.nodes[0].kill)

            with pytest.raises(StoreUnavailable, match="is away"):
                await dictated(store, [an_event(id="meanwhile")])
            await asyncio.to_thread(deployment.nodes[0].start)
            (back,) = await dictated(store, [an_event(id="after")])

            assert back.outcome is Outcome.STORED
            assert (await received(store))[0] == "before"
            assert (await received(store))[-1] == "after"


async def test_a_primary_killed_in_mid_insert_and_back_stores_each_once(tmp_path: Path) -> None:
    events = [an_event() for _ in range(200)]
    with Mongod.replica_set(tmp_path / "mongod", 1, options=STOPS_IN_MID_BATCH) as deployment:
        url, node = deployment.new_database(), deployment.nodes[0]
        async with MongoStore(url) as store:
            await store.scribe.started()
            await dictated(store, [an_event(id="before")])
            with node.client() as client:
                before = stop_in_mid_batch(client, url.partition("?")[0].rpartition("/")[2])
                appending = asyncio.create_task(dictated(store, events))
                await asyncio.to_thread(wait_for_stop, client, before + 1)
            await asyncio.to_thread(node.kill)
            await asyncio.to_thread(node.start)

            assert [one.outcome for one in await appending] == [Outcome.STORED] * 200
            assert await received(store) == ["before", *[event.event_id for event in events]]


# --- What becomes of it ---


async def test_what_a_killed_scribe_was_given_the_server_writes_in_the_same_order(
    store: MongoStore, caplog: pytest.LogCaptureFixture
) -> None:
    os.kill(pid_of(store.scribe), signal.SIGSTOP)
    groups = [[an_event() for _ in range(3)] for _ in range(4)]
    appending = [asyncio.create_task(prepared(store, group)) for group in groups]
    await until(lambda: store.scribe.groups == 4)
    os.kill(pid_of(store.scribe), signal.SIGKILL)

    appended = [one for said in await asyncio.gather(*appending) for one in said]

    assert [(one.outcome, one.stored.seq) for one in appended] == [(Outcome.STORED, seq) for seq in range(1, 13)]
    assert await received(store) == [event.event_id for group in groups for event in group]
    assert store.scribe.pid is None
    assert "the scribe has ended" in caplog.text


async def test_a_scribe_killed_at_any_moment_loses_nothing_and_stores_nothing_twice(store: MongoStore) -> None:
    """In the midst of a transaction, of a commit, of an answer: wherever the kill finds it."""
    told: list[int] = []
    outcomes: Counter[Outcome] = Counter()
    ids = [f"e{number}" for number in range(600)]
    left = iter(ids)

    async with Ingest(store) as ingest:
        ingest.committed.subscribe(lambda events: told.extend(stored.seq for stored in events))

        async def send() -> None:
            for event_id in left:
                (one,) = await ingest.accept([an_event(id=event_id)], 100)
                outcomes[one.outcome] += 1

        def has_stored(count: int) -> bool:
            return outcomes.total() >= count

        async def kill() -> None:
            for count in (100, 230, 400):
                await until(partial(has_stored, count))
                os.kill(pid_of(store.scribe), signal.SIGKILL)
                await store.scribe.ended()
                await store.scribe.started()

        await asyncio.gather(kill(), *(send() for _ in range(16)))

        assert store.scribe.groups > 0
        assert sorted(await received(store)) == sorted(ids)
    assert outcomes == {Outcome.STORED: 600}
    assert told == sorted(set(told))
    assert len(told) == 600


async def test_a_scribe_that_hangs_is_given_up_and_the_server_writes(store: MongoStore, mongodb_url: str) -> None:
    scribe = Scribe(mongodb_url, answer_seconds=0)
    await scribe.started()
    os.kill(pid_of(scribe), signal.SIGSTOP)

    with pytest.raises(Lost):
        await scribe.append([NewEvent(an_event())], {}, (), nothing)
    await scribe.ended()

    assert scribe.pid is None
    assert await received(store) == []


async def test_a_scribe_that_hangs_is_killed_when_the_store_is_closed(mongodb_url: str) -> None:
    scribe = Scribe(mongodb_url, stop_seconds=0)
    await scribe.started()
    gone = Gone(pid_of(scribe))
    os.kill(pid_of(scribe), signal.SIGSTOP)

    await scribe.close()

    await gone.wait()


async def test_what_it_was_given_is_stored_when_the_store_is_closed(store: MongoStore) -> None:
    appending = asyncio.create_task(prepared(store, [an_event()]))
    await until(lambda: store.scribe.groups == 1)
    await store.scribe.close()

    (one,) = await appending
    store.scribe.start()

    assert one.outcome is Outcome.STORED
    assert store.scribe.pid is None
    assert (await prepared(store, [an_event()]))[0].outcome is Outcome.STORED


async def test_an_idle_scribe_ends(store: MongoStore, mongodb_url: str) -> None:
    scribe = Scribe(mongodb_url, idle_seconds=0)
    await scribe.started()

    assert await scribe.append([NewEvent(an_event())], {}, (), nothing) == 0, "it ended before it was idle"
    await scribe.ended()

    assert scribe.pid is None
    with pytest.raises(Lost):
        await scribe.append([NewEvent(an_event())], {}, (), nothing)
    assert len(await received(store)) == 1


async def test_a_scribe_whose_python_talks_is_none(
    lab: Path, mongodb_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (lab / "sitecustomize.py").write_text("print('hello')")
    monkeypatch.setenv("PYTHONPATH", str(lab))
    scribe = Scribe(mongodb_url)
    await scribe.started()
    await scribe.ended()
    await scribe.started()

    assert scribe.pid is None
    assert "write to stdout" in caplog.text
    assert len(caplog.records) == 1, "it is not tried again at once"


async def test_a_scribe_ends_with_a_server_that_is_killed(mongodb_url: str, tmp_path: Path) -> None:
    with LiveServer(tmp_path, db=mongodb_url) as server:
        [pid] = await asyncio.to_thread(scribes_of, server)
        gone = Gone(pid)

        server.kill()

        await gone.wait()


async def test_a_server_that_is_told_to_stop_leaves_no_scribe(mongodb_url: str, tmp_path: Path) -> None:
    with LiveServer(tmp_path, db=mongodb_url) as server:
        [pid] = await asyncio.to_thread(scribes_of, server)
        gone = Gone(pid)

        assert server.process.terminate() == 0

        await gone.wait()
        assert server.process.stderr.lines[1:] == []


def scribes_of(server: LiveServer) -> list[int]:
    """The programs of a server that is sent events until it has some."""
    with server.client() as client:
        while True:
            client.post("/event", json={}).raise_for_status()
            tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
            found = [int(child) for task in tasks for child in (task / "children").read_text().split()]
            if found:
                return found
