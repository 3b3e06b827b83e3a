"""The MongoDB that other tests rely on is real: it stores, fails over and comes back after `kill -9`."""

from pathlib import Path

import pymongo
from pymongo.write_concern import WriteConcern

from tests.mongod import Mongod

DURABLY = WriteConcern("majority", j=True)


def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    with Mongod.standalone(tmp_path) as mongod, mongod.client() as client:
        things = client.lab.get_collection("things", write_concern=WriteConcern(j=True))
        things.insert_one({"_id": 1})

        mongod.nodes[0].kill()
        mongod.nodes[0].start()

        assert things.count_documents({}) == 1


def test_a_set_of_three_elects_another_primary_and_takes_the_old_one_back(tmp_path: Path) -> None:
    with Mongod.replica_set(tmp_path, 3) as mongod, mongod.client() as client:
        things = client.lab.get_collection("things", write_concern=DURABLY)
        things.insert_one({"_id": 1})

        killed = mongod.kill_primary()
        things.insert_one({"_id": 2})
        assert mongod.primary() is not killed
        killed.start()

        assert things.count_documents({}) == 2


def test_the_shared_one_has_transactions_and_a_database_for_each(mongodb_url: str, mongod: Mongod) -> None:
    with pymongo.MongoClient[dict[str, object]](mongodb_url) as client:
        with client.start_session() as session, session.start_transaction():
            client.get_default_database().things.insert_one({}, session=session)

        assert client.get_default_database().things.count_documents({}) == 1
        assert mongod.new_database() != mongodb_url


def test_leaves_no_process_behind(tmp_path: Path) -> None:
    with Mongod.standalone(tmp_path) as mongod:
        process = mongod.nodes[0].process

    assert not process.running
