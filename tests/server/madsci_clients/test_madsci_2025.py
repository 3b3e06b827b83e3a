"""`madsci.client` 0.3.0 of May 2025, unchanged, on our server: every method that reaches one."""

from typing import Any

import httpx
import pytest

from tests.live_server import LiveServer
from tests.server.madsci_clients import stored
from tests.server.madsci_clients.conftest import OUR_NODE
from tests.server.madsci_clients.environments import MADSCI_2025
from tests.server.madsci_clients.madsci_client import MadsciClient, MadsciError
from tests.server.madsci_clients.readme import client_example


def logged(madsci: MadsciClient, **fields: Any) -> str:
    """The id of an event that the client has sent."""
    event = madsci.event(**fields)
    madsci.call("log", event)
    return event.event_id


@pytest.mark.parametrize("prefix", ["log_", ""])
@pytest.mark.parametrize(
    ("name", "level"), [("debug", 10), ("info", 20), ("warning", 30), ("error", 40), ("critical", 50)]
)
def test_text_arrives_at_its_level(
    madsci_2025: MadsciClient, api: httpx.Client, prefix: str, name: str, level: int
) -> None:
    """As JSON text, quotes included: that is how the client writes it."""
    madsci_2025.call(f"{prefix}{name}", f"{prefix}{name}: tip lost")

    [found] = stored.newest(api)
    assert (found["log_level"], found["event_type"]) == (level, f"log_{name}")
    assert found["event_data"] == f'"{prefix}{name}: tip lost"'
    assert found["source"] == {"node_id": OUR_NODE}


def test_one_event_logged_warned_about_and_alerted_is_one_event_raised(
    madsci_2025: MadsciClient, api: httpx.Client
) -> None:
    """The order of MADSci's README."""
    event = madsci_2025.event(event_type="NODE_CREATE", log_level=20, event_data="a NODE_CREATE event")
    seen = []
    for method in ("log", "log_warning", "alert"):
        madsci_2025.call(method, event)
        seen.append(stored.level_and_alert(api, event.event_id))

    assert seen == [(20, False), (30, False), (30, True)]
    assert stored.event(api, event.event_id)["event_data"] == "a NODE_CREATE event"
    assert [one["event_id"] for one in stored.newest(api, 3)].count(event.event_id) == 1


def test_an_alert_in_words_arrives_as_one(madsci_2025: MadsciClient, api: httpx.Client) -> None:
    madsci_2025.call("alert", "Fume hood open")

    [found] = stored.newest(api)
    assert (found["event_data"], found["alert"]) == ('"Fume hood open"', True)


def test_get_events_gives_the_newest_first_down_to_a_level(madsci_2025: MadsciClient) -> None:
    ids = [logged(madsci_2025, log_level=level, event_data=str(level)) for level in (10, 30, 40)]

    assert list(madsci_2025.call("get_events", number=3)) == ids[::-1]
    assert list(madsci_2025.call("get_events", number=2, level=30)) == ids[:0:-1]


def test_get_events_gives_back_what_was_logged(madsci_2025: MadsciClient) -> None:
    event = madsci_2025.event(event_type="workflow_start", log_level=40, event_data={"nested": [{"a": 1.5}, None, "ü"]})
    madsci_2025.call("log", event)

    [found] = madsci_2025.call("get_events", number=1).values()

    unlike = {"event_timestamp", "source"}
    assert {key: value for key, value in found.items() if key not in unlike} == {
        key: value for key, value in event.fields.items() if key not in unlike
    }


def test_query_events_is_refused_because_the_client_sends_only_a_word(madsci_2025: MadsciClient) -> None:
    """`{"source": {...}}` leaves it as `?selector=source`: whatever we answered would not be what was asked."""
    with pytest.raises(MadsciError, match=r"selector.*source") as refused:
        madsci_2025.call("query_events", {"source": {"node_id": OUR_NODE}})

    # `requests` keeps the body out of its message; the reason is in the text.
    assert refused.value.status is not None
    assert 400 <= refused.value.status < 500
    assert "/events/query" in refused.value.text, "says the way out"


def test_the_example_of_madscis_readme_runs_but_for_that_query(
    server: LiveServer, api: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = client_example(MADSCI_2025, server.url)
    query = next(line for line in program.splitlines() if ".query_events(" in line)
    with MadsciClient(MADSCI_2025, tmp_path_factory.mktemp("readme")) as madsci:
        with pytest.raises(MadsciError, match="selector"):
            madsci.run(program)
        madsci.run(program.replace(query, ""))

    found = stored.newest(api, 1)[0]
    assert (found["event_type"], found["log_level"], found["alert"]) == ("node_create", 30, True)
    assert found["event_data"].startswith("This logs a NODE_CREATE event")


def test_an_address_with_a_slash_at_its_end_works_too(
    server: LiveServer, api: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The client appends `/event` to whatever it was given; a doubled slash must not cost the event."""
    folder = tmp_path_factory.mktemp("slash")
    with MadsciClient(MADSCI_2025, folder, event_server_url=f"{server.url}/") as madsci:
        event_id = logged(madsci, event_data="sent to //event")

        assert list(madsci.call("get_events", number=1)) == [event_id]
    assert stored.event(api, event_id)["event_data"] == "sent to //event"
