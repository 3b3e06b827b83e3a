"""What only a MongoDB store promises: several servers on one, a primary that is killed, one server on a standalone."""

import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from madsci_event_server.errors import InvalidSettings, StoreUnavailable, StoreUnusable
from madsci_event_server.ingest import Ingest
from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import EventStore, Outcome, SeenName, SharedStore
from madsci_event_server.storage.mongo_database import Database
from madsci_event_server.storage.mongo_writing import is_appending
from tests.factories import NODES, NOON, a_query, an_event
from tests.live_server import LiveServer
from tests.mongod import Mongod
from tests.processes import Process


@pytest.mark.parametrize("name", ["a.b", "a$b", "a%20b", "a%2Fb", "a%00b", "x" * 64, "\u00e9" * 32, "admin", "local"])
def test_a_name_no_database_of_ours_can_have_is_refused(name: str, lab: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"^db_url: "):
        open_store(f"mongodb://localhost/{name}", lab_directory=lab)


@pytest.fixture
async def two_servers(mongodb_url: str, lab: Path) -> AsyncIterator[tuple[EventStore, EventStore]]:
    async with (
        open_store(mongodb_url, lab_directory=lab) as one,
        open_store(mongodb_url, lab_directory=lab) as other,
    ):
        yield one, other


async def test_two_servers_are_one_store(two_servers: tuple[EventStore, EventStore]) -> None:
    one, other = two_servers
    (stored,) = await one.append([an_event(id="e1")])

    assert one.store_id == other.store_id
    assert await other.get("e1") == stored.stored
    assert await other.head() == await one.head()


async def test_received_order_holds_across_servers(two_servers: tuple[EventStore, EventStore]) -> None:
    """Both post at once while a reader pages: nothing is skipped, nothing comes twice."""
    seen: list[str] = []
    done = asyncio.Event()

    async def post(store: EventStore) -> list[str]:
        batches = [[an_event() for _ in range(size)] for size in (1, 3, 7) * 12]
        for batch in batches:
            await store.append(batch)
        return [event.event_id for batch in batches for event in batch]

    async def read(store: EventStore) -> None:
        last, finishing = 0, False
        while True:
            after = f"r.{store.store_id}.{last}.0"
            page = await store.find(a_query(order="received", after=after, limit=5))
            seen.extend(stored.event.event_id for stored in page.events)
            last = page.events[-1].seq if page.events else last
            if not page.events and finishing:
                return
            finishing = done.is_set()

    reading = [asyncio.create_task(read(two_servers[1]))]
    posted = await asyncio.gather(*(post(store) for store in two_servers))
    done.set()
    await asyncio.gather(*reading)

    assert Counter(seen) == Counter(itertools.chain(*posted))


async def test_an_id_is_stored_once_across_servers(two_servers: tuple[EventStore, EventStore]) -> None:
    events = [an_event() for _ in range(50)]

    answers = await asyncio.gather(*(store.append(events) for store in two_servers * 3))

    for said in zip(*answers, strict=True):
        assert Counter(one.outcome for one in said) == {Outcome.STORED: 1, Outcome.DUPLICATE: 5}
        assert len({one.stored for one in said}) == 1
    assert (await two_servers[0].status()).events == 50


async def test_a_kind_first_seen_by_another_server_is_found_by_a_glob(
    two_servers: tuple[EventStore, EventStore],
) -> None:
    await two_servers[0].append([an_event(id="e1", type="workflow_paused")])

    found = await two_servers[1].find(a_query(kind=["workflow_p*"]))

    assert [stored.event.event_id for stored in found.events] == ["e1"]


def test_who_follows_one_server_sees_what_is_sent_to_the_other(mongodb_url: str, tmp_path: Path) -> None:
    with (
        LiveServer(tmp_path / "one", db=mongodb_url) as one,
        LiveServer(tmp_path / "other", db=mongodb_url) as other,
        one.client() as sender,
        other.client() as reader,
        reader.stream("GET", "/events/stream") as stream,
    ):
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("event: hello"))
        sender.post("/event", json={"event_id": "e1"}).raise_for_status()

        assert next(line for line in lines if '"event_id":"e1"' in line)


async def test_who_commits_all_the_time_tells_of_what_others_commit(two_servers: tuple[EventStore, EventStore]) -> None:
    one, other = two_servers
    assert isinstance(one, SharedStore)
    for _ in range(20):
        await one.append([an_event()])
    (stored,) = await other.append([an_event()])

    async with aclosing(one.commits()) as commits:
        assert await anext(seq async for seq in commits if seq >= stored.stored.seq) == 21


async def test_while_duplicates_come_in_others_are_followed(two_servers: tuple[EventStore, EventStore]) -> None:
    """They are no commits: nobody would be told of anything by them."""
    one, other = two_servers
    assert isinstance(one, SharedStore)
    again = an_event()
    done = asyncio.Event()

    async def send_again() -> None:
        while not done.is_set():
            await one.append([again])

    await other.append([again])
    sending = asyncio.create_task(send_again())
    async with aclosing(one.commits()) as commits:
        await anext(commits)
        (stored,) = await other.append([an_event()])
        assert await anext(commits) == stored.stored.seq
    done.set()
    await sending


# --- Many requests, one commit under way and the next at hand ---


async def test_what_is_sent_at_once_is_told_in_received_order_and_stored_once(mongodb_url: str, lab: Path) -> None:
    """The next events are handed over while those before are made durable; some are in both."""
    told: list[int] = []
    outcomes: Counter[Outcome] = Counter()

    async def send(ingest: Ingest, ids: list[str]) -> None:
        for event_id in ids:
            (one,) = await ingest.accept([an_event(id=event_id, at=NOON)], 100)
            outcomes[one.outcome] += 1

    async with open_store(mongodb_url, lab_directory=lab) as store, Ingest(store) as ingest:
        ingest.committed.subscribe(lambda events: told.extend(stored.seq for stored in events))
        ids = [f"e{number}" for number in range(300)]
        await asyncio.gather(*(send(ingest, ids[start::15]) for start in range(15)), send(ingest, ids[::10]))

        assert (await store.status()).events == 300

    assert outcomes == {Outcome.STORED: 300, Outcome.DUPLICATE: 30}
    assert told == list(range(1, 301))


async def test_an_append_that_is_given_up_at_once_is_in_nobodys_way(mongodb_url: str, lab: Path) -> None:
    async with open_store(mongodb_url, lab_directory=lab) as store:
        async with asyncio.TaskGroup() as tasks:
            given_up = tasks.create_task(store.append([an_event() for _ in range(300)]))
            await asyncio.sleep(0)
            given_up.cancel()

        (stored,) = await store.append([an_event()])

    assert stored.outcome is Outcome.STORED


HOLDS_THE_COUNTER = """
import sys, time, pymongo
client = pymongo.MongoClient(sys.argv[1], appname="madsci-events")
session = client.start_session()
session.start_transaction()
meta = client.get_default_database()["event_log_meta"]
meta.update_one({"_id": "seq"}, {"$inc": {"last_seq": 5}}, session=session)
print("holds it", flush=True)
time.sleep(600)
"""


async def test_what_a_server_held_that_was_killed_in_a_transaction_is_not_waited_for(
    mongodb_url: str, lab: Path
) -> None:
    async with open_store(mongodb_url, lab_directory=lab) as store:
        await store.append([an_event()])
        with Process([sys.executable, "-c", HOLDS_THE_COUNTER, mongodb_url], cwd=lab) as server:
            await asyncio.to_thread(server.wait_for_line, "holds it")
            server.kill()

        (one,) = await store.append([an_event()])

    assert (one.outcome, one.stored.seq) == (Outcome.STORED, 2)


# --- When names were last seen ---


async def test_names_are_written_at_the_end_and_then_known_to_all(mongodb_url: str, lab: Path) -> None:
    moments = [NOON + timedelta(seconds=second) for second in (1, 9, 5)]
    async with open_store(mongodb_url, lab_directory=lab) as other:
        async with open_store(mongodb_url, lab_directory=lab) as one:
            for moment in moments:
                await one.append([an_event(node_id=NODES[0], name="arm", at=moment)])
            assert await one.names() == [SeenName("node_id", NODES[0], "arm", moments[1])]

        assert await other.names() == [SeenName("node_id", NODES[0], "arm", moments[1])]


async def test_a_name_is_last_seen_when_any_server_saw_it_last(two_servers: tuple[EventStore, EventStore]) -> None:
    one, other = two_servers
    for store, seconds in ((one, 1), (other, 9), (one, 5)):
        await store.append([an_event(node_id=NODES[0], name="arm", at=NOON + timedelta(seconds=seconds))])

    assert await one.names() == await other.names()
    assert await one.names() == [SeenName("node_id", NODES[0], "arm", NOON + timedelta(seconds=9))]


def test_a_name_survives_a_kill_and_is_seen_again(mongodb_url: str, tmp_path: Path) -> None:
    def say(server: LiveServer, second: int) -> dict[str, Any]:
        event = {
            "event_timestamp": f"2026-11-23T12:00:0{second}Z",
            "source": {"node_id": NODES[0], "name": "arm"},
        }
        with server.client() as client:
            client.post("/event", json=event).raise_for_status()
            (name,) = client.get("/events/names").json()["names"]
        assert (name["id"], name["name"]) == (NODES[0], "arm")
        return dict(name)

    with LiveServer(tmp_path, db=mongodb_url) as server:
        say(server, 1)
        say(server, 2)
        server.kill()
        server.start()
        with server.client() as client:
            (name,) = client.get("/events/names").json()["names"]

        assert name["name"] == "arm"
        assert name["last_seen"] in ("2026-11-23T12:00:01.000000Z", "2026-11-23T12:00:02.000000Z")
        assert say(server, 3)["last_seen"] == "2026-11-23T12:00:03.000000Z"


# --- A standalone takes one server ---


async def test_a_standalone_takes_one_server_and_names_it(standalone_mongod: Mongod, lab: Path) -> None:
    url = standalone_mongod.new_database()
    async with open_store(url, lab_directory=lab) as store:
        with pytest.raises(StoreUnusable, match=r"in use by the server on .* \(process \d+\)"):
            await open_store(url, lab_directory=lab).__aenter__()
        await store.append([an_event()])

    async with open_store(url, lab_directory=lab) as store:
        (second,) = await store.append([an_event()])
    assert second.stored.seq == 2


def test_a_killed_server_is_followed_by_the_next_and_no_place_is_given_twice(
    standalone_mongod: Mongod, tmp_path: Path
) -> None:
    with LiveServer(tmp_path, db=standalone_mongod.new_database()) as server:
        with server.client() as client:
            client.post("/event", json={"event_id": "e1"}).raise_for_status()
        server.kill()
        server.start()
        with server.client() as client:
            client.post("/event", json={"event_id": "e2"}).raise_for_status()
            found = client.post("/events/search", json={"order": "received"}).json()["events"]

    assert [event["event_id"] for event in found] == ["e1", "e2"]


# --- MongoDB goes away and comes back ---


@pytest.fixture
def own_mongod(tmp_path: Path) -> Iterator[Mongod]:
    with Mongod.replica_set(tmp_path / "mongod", 1) as running:
        yield running


def test_while_mongodb_is_away_the_server_says_so_and_recovers(own_mongod: Mongod, tmp_path: Path) -> None:
    node = own_mongod.nodes[0]
    with LiveServer(tmp_path / "lab", db=own_mongod.new_database()) as server, server.client(timeout=60) as client:
        client.post("/event", json={"event_id": "before"}).raise_for_status()
        node.kill()

        away, health = client.post("/event", json={"event_id": "meanwhile"}), client.get("/health")
        node.start()
        back = client.post("/event", json={"event_id": "meanwhile"})

        assert (away.status_code, health.status_code) == (503, 503)
        assert int(away.headers["Retry-After"]) > 0
        assert "is away" in health.json()["problems"][0]
        assert back.status_code == 200
        assert client.get("/health").json()["total_events"] == 2


class Acknowledged:
    """How each event's posts were answered, and a way to wait for so many to be acknowledged."""

    def __init__(self) -> None:
        self.answers: dict[str, list[int]] = {}
        self._count = 0
        self._changed = asyncio.Condition()

    async def add(self, event_id: str, status: int) -> None:
        async with self._changed:
            self.answers.setdefault(event_id, []).append(status)
            self._count += status == 200
            self._changed.notify_all()

    async def wait_for(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._count >= count)


async def post_all(client: httpx.AsyncClient, ids: list[str], acknowledged: Acknowledged) -> None:
    """Posts each until it is acknowledged, as a client with a spool does."""
    for event_id in ids:
        while 200 not in acknowledged.answers.get(event_id, ()):
            answer = await client.post("/event", json={"event_id": event_id, "event_data": {"message": event_id}})
            await acknowledged.add(event_id, answer.status_code)
            if answer.status_code != 200:
                assert int(answer.headers["Retry-After"]) > 0


async def received_ids(client: httpx.AsyncClient) -> AsyncIterator[str]:
    """The ids of all events, in received order."""
    after = None
    while True:
        page = (await client.post("/events/search", json={"order": "received", "limit": 10_000, "after": after})).json()
        for event in page["events"]:
            yield event["event_id"]
        if (after := page["next"]) is None:
            return


async def survive_kills(folder: Path, *, kills: int, events: int) -> None:
    """Posts through a replica set of three whose primary is killed again and again."""
    with Mongod.replica_set(folder / "mongod", 3) as deployment:
        with LiveServer(folder / "lab", db=deployment.new_database()) as server:
            acknowledged = Acknowledged()
            answers = acknowledged.answers
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                writers = [
                    asyncio.create_task(post_all(client, [f"w{writer}-{n}" for n in range(events)], acknowledged))
                    for writer in range(8)
                ]
                for number in range(kills):
                    await acknowledged.wait_for(8 * events * (number + 1) // (kills + 2))
                    killed = await asyncio.to_thread(deployment.kill_primary)
                    await asyncio.to_thread(killed.start)
                await asyncio.gather(*writers)
                stored = [event_id async for event_id in received_ids(client)]
                assert server.process.running, "it needed no restart"

        assert sorted(stored) == sorted(answers)
        assert len(stored) == 8 * events
        assert {status for said in answers.values() for status in said} <= {200, 503}


async def test_nothing_acknowledged_is_lost_when_primaries_are_killed(tmp_path: Path) -> None:
    await survive_kills(tmp_path, kills=2, events=60)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_nothing_acknowledged_is_lost_when_primaries_are_killed_for_minutes(tmp_path: Path) -> None:
    await survive_kills(tmp_path, kills=8, events=1500)


async def posted_until_acknowledged(client: httpx.AsyncClient, batch: list[dict[str, str]]) -> list[int]:
    """How a batch was answered, the last time with 200."""
    statuses: list[int] = []
    while 200 not in statuses:
        answer = await client.post("/events", json=batch)
        statuses.append(answer.status_code)
        if answer.status_code == 200:
            said = answer.json()
            assert said["accepted"] + said["duplicates"] == len(batch)
    return statuses


async def followed(client: httpx.AsyncClient, count: int) -> list[str]:
    """The ids of so many events as they come over the live stream, which is taken up again where it ended."""
    found: list[str] = []
    headers: dict[str, str] = {}
    while True:
        async with client.stream("GET", "/events/stream?last=1", headers=headers) as stream:
            async for line in stream.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    headers["Last-Event-ID"] = value
                elif name == "data" and "event_id" in (event := json.loads(value)):
                    found.append(event["event_id"])
                    if len(found) == count:
                        return found


STOPS_IN_MID_BATCH = ("--setParameter", "enableTestCommands=1", "--setParameter", "internalInsertMaxBatchSize=64")


def stop_in_mid_batch(client: pymongo.MongoClient[dict[str, Any]], database: str) -> int:
    """Makes MongoDB hold on when it has stored the first part of a batch; how often it has done so before."""
    where = {"namespace": f"{database}.event_log"}
    stop = {"configureFailPoint": "hangDuringBatchInsert", "mode": {"skip": 1}, "data": where}
    return int(client.admin.command(stop)["count"])


def wait_for_stop(client: pymongo.MongoClient[dict[str, Any]], times: int) -> None:
    waiting = {"waitForFailPoint": "hangDuringBatchInsert", "timesEntered": times, "maxTimeMS": 60_000}
    client.admin.command(waiting)


async def is_at_work(url: str) -> bool:
    """Whether MongoDB is appending, as the store sees it that waits for the end of what failed here."""
    database = Database(url)
    await database.open()
    try:
        return await is_appending(database)
    finally:
        await database.close()


async def test_on_a_standalone_nobody_follows_into_a_batch_that_is_half_stored(tmp_path: Path, lab: Path) -> None:
    """MongoDB holds on after the first 64 events, is killed there, and is sent the batch again."""
    batch = [an_event() for _ in range(100)]
    with Mongod.standalone(tmp_path / "mongod", options=STOPS_IN_MID_BATCH) as deployment:
        url, node = deployment.new_database(), deployment.nodes[0]
        async with open_store(url, lab_directory=lab) as store:
            await store.append([an_event(id="before")])
            head = await store.head()
            with deployment.client() as client:
                before = stop_in_mid_batch(client, url.rpartition("/")[2])
                appending = asyncio.create_task(store.append(batch))
                await asyncio.to_thread(wait_for_stop, client, before + 1)

            assert await is_at_work(url)
            assert (await store.get(batch[63].event_id)).seq == 65
            assert (await store.find(a_query(order="received", after=head))).events == []
            assert await store.head() == head

            await asyncio.to_thread(node.kill)
            with pytest.raises(StoreUnavailable):
                await appending
            await asyncio.to_thread(node.start)
            again = await store.append(batch)
            assert not await is_at_work(url)
            found = (await store.find(a_query(order="received", after=head, limit=1000))).events

    # What was stored and not yet on the disk is gone with MongoDB, and then stored now.
    assert {one.outcome for one in again[64:]} == {Outcome.STORED}
    assert {one.outcome for one in again[:64]} <= {Outcome.STORED, Outcome.DUPLICATE}
    assert [stored.event.event_id for stored in found] == [event.event_id for event in batch]


async def test_a_standalone_killed_in_mid_batch_loses_and_skips_nothing(tmp_path: Path) -> None:
    """Of a batch that was cut off some may be stored: sent again they are duplicates, and in nobody's way."""
    batches = [[{"event_id": f"b{number}-{n}"} for n in range(150)] for number in range(60)]
    ids = ["first", *(event["event_id"] for batch in batches for event in batch)]
    waiting, acknowledged = iter(batches), Acknowledged()

    async def write(client: httpx.AsyncClient) -> None:
        for batch in waiting:
            for status in await posted_until_acknowledged(client, batch):
                await acknowledged.add(batch[0]["event_id"], status)

    with (
        Mongod.standalone(tmp_path / "mongod") as deployment,
        LiveServer(tmp_path / "lab", db=deployment.new_database()) as server,
    ):
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await posted_until_acknowledged(client, [{"event_id": "first"}])
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(followed(client, len(ids)))
                for _ in range(4):
                    tasks.create_task(write(client))
                for third in (1, 2):
                    await acknowledged.wait_for(len(batches) * third // 3)
                    await asyncio.to_thread(deployment.nodes[0].kill)
                    await asyncio.to_thread(deployment.nodes[0].start)
            stored = [event_id async for event_id in received_ids(client)]

    assert sorted(stored) == sorted(ids)
    assert following.result() == stored
    assert {status for said in acknowledged.answers.values() for status in said} <= {200, 503}


def test_a_database_that_is_away_at_the_start_is_waited_for_if_asked(own_mongod: Mongod, tmp_path: Path) -> None:
    url, node = own_mongod.new_database(), own_mongod.nodes[0]
    node.stop()
    command = [sys.executable, "-m", "madsci_event_server", "--port", "0", "--db", url]
    with Process(command, cwd=tmp_path) as impatient:
        assert impatient.wait() == 3
        assert impatient.said.count("is away") == 1
        assert "Traceback" not in impatient.said

    with Process([*command, "--wait-for-db", "60"], cwd=tmp_path) as patient:
        patient.wait_for_line("waiting for it for 60 s")
        node.start()
        patient.wait_for_line("Serving events at")
        assert patient.terminate() == 0
