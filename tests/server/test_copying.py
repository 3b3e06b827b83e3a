"""`store copy`, as a command: stores of ours either way, and databases that MADSci wrote."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import ObjectId

from madsci_event_server.event import EventLogLevel
from madsci_event_server.storage import open_store
from madsci_event_server.storage.alert_base import AlertState, Change, MailState
from madsci_event_server.storage.base import EventStore, StoredEvent
from tests.alerts.test_mail import an_alert
from tests.cli.terminals import Terminal
from tests.contract.test_alert_store import a_mail, a_silence
from tests.factories import NODES, NOON, a_query, an_event

DATA = Path(__file__).parents[1] / "data"


def copy(source: str, target: str, *options: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """Runs the command; what it says as JSON, and on stderr."""
    command = [sys.executable, "-m", "madsci_event_cli", "store", "copy", source, target, "-o", "json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == code, done.stderr
    return (json.loads(done.stdout) if done.stdout else {}), done.stderr


def mongo_client(url: str) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(url)


async def everything(store: EventStore) -> list[StoredEvent]:
    page = await store.find(a_query(order="received", include_archived=True, limit=10_000))
    return list(page.events)


async def live_in(store: EventStore) -> None:
    """Some life: events raised, archived and deleted, an alert open and a mail waiting."""
    raised = an_event("Tip lost", id="raised", level="info", node_id=NODES[0])
    await store.append([raised, an_event(id="gone"), *(an_event(f"plate {n}", well=10**30 + n) for n in range(700))])
    await store.archive(ids=["gone"], at=NOON.replace(year=2020))
    await store.purge(NOON.replace(year=2021))
    await store.archive(before=NOON.replace(year=2026), at=NOON)
    await store.append([raised.changed(log_level=EventLogLevel.ERROR)])
    alert, place = an_alert(), (await store.head())
    await store.alert_store().apply(
        Change(
            place,
            [alert],
            {(1, alert.alert_id)},
            [a_mail("m1", alert_ids=(alert.alert_id,))],
            [a_silence("s", minutes=5)],
        )
    )


async def test_from_sqlite_to_mongodb_and_back_everything_is_as_it_was(lab: Path, mongodb_url: str) -> None:
    async with open_store("sqlite:///a.db", lab_directory=lab) as store:
        await live_in(store)
        before, place = await everything(store), await store.head()

    there, _ = copy("sqlite:///a.db", mongodb_url)
    back, _ = copy(mongodb_url, "sqlite:///b.db")

    assert (there["copied"], there["alerts"]) == (back["copied"], back["alerts"]) == (701, 1)
    async with open_store("sqlite:///b.db", lab_directory=lab) as store:
        alerts = store.alert_store()
        assert await everything(store) == before
        assert await store.head() == place.replace(place.split(".")[1], store.store_id)
        assert await alerts.position() == await store.head()
        assert await alerts.alerts(list(AlertState), 10) == [an_alert()]
        assert (await alerts.mail("m1")).content == b"hello"
        assert await alerts.counted([1]) == {(1, an_alert().alert_id)}
        assert len(await alerts.silences()) == len(await alerts.mails(list(MailState), 9)) == 1


async def test_a_copy_that_broke_off_goes_on_and_again_changes_nothing(lab: Path, mongodb_url: str) -> None:
    async with open_store("sqlite:///a.db", lab_directory=lab) as store:
        await live_in(store)
        events = await everything(store)
    async with open_store(mongodb_url, lab_directory=lab) as store:
        await store.restore(events[:333])

    on, _ = copy("sqlite:///a.db", mongodb_url)
    again, _ = copy("sqlite:///a.db", mongodb_url)

    assert (on["copied"], on["already_there"]) == (701 - 333, 333)
    assert (again["copied"], again["already_there"]) == (0, 701)


async def test_a_copy_that_is_cut_off_says_how_far_it_was_and_to_start_it_again(lab: Path) -> None:
    async with open_store("sqlite:///a.db", lab_directory=lab) as store:
        for _ in range(10):
            await store.append([an_event() for _ in range(2000)])

    command = [sys.executable, "-m", "madsci_event_cli", "store", "copy", "sqlite:///a.db", "sqlite:///b.db"]
    with Terminal(command, cwd=lab) as terminal:
        terminal.wait_for(" of 20,000")
        terminal.interrupt()
        assert terminal.wait() == 130
        terminal.wait_for("of 20,000 events are there; the same command goes on with the rest")
    on, _ = copy("sqlite:///a.db", "sqlite:///b.db")

    assert on["copied"] + on["already_there"] == 20_000
    assert on["already_there"] >= 500


async def test_what_cannot_be_copied_is_refused_in_words(lab: Path, mongodb_url: str) -> None:
    for source, problem, code in (
        ("sqlite:///none.db", "there is no file", 2),
        (mongodb_url, "holds no events", 1),
        ("memory:", "in memory", 2),
        ("sqlite:///x.db", "is the same as FROM", 2),
        ("sqlite:///none.db?mode=ro", "FROM: has options", 2),
    ):
        _, said = copy(source, "sqlite:///x.db", code=code)
        assert problem in said
    assert not (lab / "x.db").exists()


OLD_ID = "01JTGEXQ14WHQWDRDDJPKGH6F0"
MAY_2025: list[dict[str, Any]] = [
    {
        "event_id": OLD_ID,
        "event_type": "workflow_start",
        "log_level": 30,
        "alert": False,
        "event_timestamp": "2025-05-01T12:00:00",
        "source": {"node_id": NODES[0], "user_id": None},
        "event_data": {"message": "hi", "n": 2**62},
    },
    {
        "event_id": "01JTGEXQ14WHQWDRDDJPKGH6F1",
        "event_type": "experiment_stop",
        "log_level": 20,
        "event_timestamp": "2025-05-01T12:00:01.5",
        "source": None,
        "event_data": "text",
    },
    {"event_id": "01JTGEXQ14WHQWDRDDJPKGH6F2", "archived": True, "archived_at": datetime(2025, 6, 1, tzinfo=UTC)},
    {"event_id": "01JTGEXQ14WHQWDRDDJPKGH6F3", "archived": True, "archived_at": "2025-06-01T00:00:00"},
    {"event_id": "01JTGEXQ14WHQWDRDDJPKGH6F4", "log_level": "loud", "source": {"node_id": "arm"}, "x": ObjectId()},
    {"event_id": ["no", "id"], "log_level": "is this?", "when": datetime(2025, 6, 1, tzinfo=UTC)},
]
"""As MADSci of May 2025 stored them, under ObjectIds of MongoDB's; and what does not belong there."""


@pytest.fixture
def madsci_url(mongodb_url: str) -> str:
    with mongo_client(mongodb_url) as client:
        client.get_default_database()["events"].insert_many([dict(document) for document in MAY_2025])
    return mongodb_url


async def test_madscis_documents_of_may_2025_become_events(lab: Path, madsci_url: str) -> None:
    said, warnings = copy(madsci_url, "sqlite:///lab.db", "--timezone", "America/Chicago")

    assert (said["events"], said["copied"], said["kept_as_unknown"]) == (6, 6, 2)
    assert "01JTGEXQ14WHQWDRDDJPKGH6F4 is no event and was kept whole" in warnings
    async with open_store("sqlite:///lab.db", lab_directory=lab) as store:
        first = (await store.get(OLD_ID)).event
        assert first.event_timestamp == datetime(2025, 5, 1, 17, tzinfo=UTC)
        assert first.event_data == {"message": "hi", "n": 2**62}
        assert first.source.node_id == NODES[0]
        assert (await store.get("01JTGEXQ14WHQWDRDDJPKGH6F1")).event.event_type == "experiment_cancelled"
        for end in "23":
            archived = (await store.get(f"01JTGEXQ14WHQWDRDDJPKGH6F{end}")).event
            assert (archived.archived, archived.archived_at) == (True, datetime(2025, 6, 1, tzinfo=UTC))
        kept = (await store.find(a_query(event_type=["unknown"], search="schema"))).events
        whole = [stored.event.event_data["madsci_document"] for stored in kept]
        assert {document["log_level"] for document in whole} == {"is this?", "loud"}


def test_madscis_documents_are_copied_once_and_left_as_they_are(madsci_url: str) -> None:
    with mongo_client(madsci_url) as client:
        database = client.get_default_database()
        before = list(database["events"].find())
        copy(madsci_url, "sqlite:///lab.db")
        database["events"].update_one({"event_id": OLD_ID}, {"$set": {"archived": True, "archived_at": NOON}})
        again, _ = copy(madsci_url, "sqlite:///lab.db")
        database["events"].update_one({"event_id": OLD_ID}, {"$unset": {"archived": 1, "archived_at": 1}})

        assert (again["copied"], again["already_there"], again["conflicts"]) == (0, 6, 0)
        assert list(database["events"].find()) == before
        assert database.list_collection_names() == ["events"]


def test_a_server_refuses_madscis_database_and_says_what_to_do(madsci_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "madsci_event_server", "--port", "0", "--db", madsci_url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert "MADSci's Event Manager wrote" in done.stderr
    assert "madsci-events store copy mongodb://" in done.stderr
    with mongo_client(madsci_url) as client:
        assert client.get_default_database().list_collection_names() == ["events"]
