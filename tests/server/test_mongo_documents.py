"""Documents made before it is known when their events are received and which places they get."""

import marshal
from datetime import UTC, datetime
from typing import Any

import bson
import pytest

from madsci_event_server.event import Event
from madsci_event_server.storage import packing
from madsci_event_server.storage.mongo_documents import NewEvent, stored_of
from tests.factories import NODES

RECEIVED = datetime(2026, 11, 23, 12, 0, 1, tzinfo=UTC)
SENT: list[dict[str, Any]] = [
    {},
    {"event_id": "e1", "event_data": {"message": "Tip lost", "received_at": "1970-01-01T00:00:00.000000Z"}},
    {"event_id": "Zürich №5", "source": {"node_id": NODES[0], "name": "arm"}, "alert": True},
    {"event_id": "e3", "event_data": {"number": float("nan"), "text": "\ud800\0", "many": 2**70}},
    {"event_id": "e4", "received_at": "2001-01-01T00:00:00Z", "archived": True, "remark": {"received_at": "never"}},
    {"event_id": "e5", "event_data": ["received_at", {"\x02received_at": "1970-01-01T00:00:00.000000Z"}]},
]


def sent(document: dict[str, Any]) -> Event:
    return Event.sent({"event_id": "e0", "event_timestamp": "2026-11-23T12:00:00Z", **document}, UTC)


@pytest.mark.parametrize("document", SENT)
def test_stamped_and_placed_last_it_is_the_document_of_the_stamped_event(document: dict[str, Any]) -> None:
    at_last = NewEvent(sent(document), is_stamped=False)
    at_last.stamp(datetime(2026, 11, 23, 12, tzinfo=UTC))
    at_last.stamp(RECEIVED)  # it is committed again, by itself
    event = sent(document)
    event.stamp(RECEIVED)
    at_once = NewEvent(event)

    assert at_last.place(2**40) == at_once.place(2**40)
    assert bson.decode(at_last.raw().raw) == at_once.document
    assert at_last.document["document"]["received_at"] == "2026-11-23T12:00:01.000000Z"
    assert at_last.event == event


@pytest.mark.parametrize("document", SENT)
def test_what_is_stored_is_what_was_placed(document: dict[str, Any]) -> None:
    new = NewEvent(sent(document), is_stamped=False)
    new.stamp(RECEIVED)

    placed = new.place(7, 3)

    assert stored_of(bson.decode(new.raw().raw)) == placed
    assert (placed.seq, placed.first_seq) == (7, 3)
    assert new.document["raised_from"] == 3


def test_placed_elsewhere_than_first_it_can_be_committed_again_by_itself() -> None:
    new = NewEvent(sent({"event_id": "e1"}), is_stamped=False)
    new.stamp(datetime(2026, 11, 23, 12, tzinfo=UTC))
    new.place(7, 3)
    new.stamp(RECEIVED)

    placed = new.place(8, 3)

    assert stored_of(bson.decode(new.raw().raw)) == placed
    assert placed.event.received_at == RECEIVED
    assert new.document["document"]["received_at"] == "2026-11-23T12:00:01.000000Z"


@pytest.mark.parametrize("document", SENT)
def test_what_another_process_prepared_is_the_same(document: dict[str, Any]) -> None:
    way = packing("mongodb")
    here = NewEvent(sent(document), is_stamped=False)
    packer = way.packer()
    packer.add(sent(document))

    [there] = way.unpack(marshal.loads(marshal.dumps(packer.packed())))  # noqa: S302  # written here

    for new in (here, there):
        new.stamp(RECEIVED)
    assert there.place(7) == here.place(7)
    assert there.raw().raw == here.raw().raw
    assert (there.event, there.kind, there.sightings) == (here.event, here.kind, here.sightings)
