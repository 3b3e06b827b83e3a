"""`madsci.client` 0.8.1, unchanged, on our server: every method that reaches one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.live_server import LiveServer
from tests.server.madsci_clients import stored
from tests.server.madsci_clients.conftest import OUR_NODE
from tests.server.madsci_clients.environments import MADSCI_2026
from tests.server.madsci_clients.madsci_client import MadsciClient, MadsciError
from tests.server.madsci_clients.readme import client_example, context_example

ANOTHER_NODE = "01JJ4S0WNGEF5FQAZG5KDGJRBW"


def logged(madsci: MadsciClient, **fields: Any) -> str:
    """The id of an event that the client has sent."""
    event = madsci.event(**fields)
    madsci.call("log", event)
    return event.event_id


@pytest.mark.parametrize(
    ("method", "level"),
    [("debug", 10), ("info", 20), ("warning", 30), ("error", 40), ("critical", 50)],
)
def test_a_message_with_its_keywords_arrives(
    madsci_2026: MadsciClient, api: httpx.Client, method: str, level: int
) -> None:
    madsci_2026.call(method, f"{method}: tip lost", resource_id="res-123", count=42)

    [found] = stored.newest(api)
    assert found["event_data"] == {"message": f"{method}: tip lost", "resource_id": "res-123", "count": 42}
    assert (found["log_level"], found["event_type"], found["alert"]) == (level, f"log_{method}", False)
    assert found["source"] == {"node_id": OUR_NODE}
    assert found["_id"] == found["event_id"]


@pytest.mark.parametrize(
    ("alias", "level"),
    [("log_debug", 10), ("log_info", 20), ("log_warning", 30), ("warn", 30), ("log_error", 40), ("log_critical", 50)],
)
def test_the_older_names_of_those_methods_arrive_too(
    madsci_2026: MadsciClient, api: httpx.Client, alias: str, level: int
) -> None:
    madsci_2026.call(alias, f"{alias}: tip lost")

    [found] = stored.newest(api)
    assert (found["event_data"]["message"], found["log_level"]) == (f"{alias}: tip lost", level)


@pytest.mark.parametrize(("method", "keywords"), [("error", {"exc_info": True}), ("exception", {})])
def test_an_exception_arrives_as_an_error(
    madsci_2026: MadsciClient, api: httpx.Client, method: str, keywords: dict[str, Any]
) -> None:
    madsci_2026.call(method, "Error occurred", **keywords)

    [found] = stored.newest(api)
    assert found["event_data"] == {"message": "Error occurred", "exc_info": True}
    assert found["log_level"] == 40


def test_the_type_given_as_a_keyword_is_what_the_event_is_found_by(
    madsci_2026: MadsciClient, api: httpx.Client
) -> None:
    """The client puts it inside `event_data`, whatever its documentation says."""
    madsci_2026.call(
        "info", "Workflow completed", event_type="workflow_complete", workflow_id="wf-123", duration_ms=1500
    )

    found = api.get("/events", params={"kind": "workflow_complete"}).json()
    assert [event["event_data"]["workflow_id"] for event in found.values()] == ["wf-123"]


def test_a_bound_client_sends_what_it_is_bound_to(
    server: LiveServer, api: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with MadsciClient(MADSCI_2026, tmp_path_factory.mktemp("bound"), event_server_url=server.url) as madsci:
        madsci.call("bind", experiment_id="exp-456")
        madsci.call("info", "All subsequent logs include experiment_id")

    [found] = stored.newest(api)
    assert found["event_data"]["experiment_id"] == "exp-456"


def test_one_event_logged_warned_about_and_alerted_is_one_event_raised(
    madsci_2026: MadsciClient, api: httpx.Client
) -> None:
    """The order of MADSci's README."""
    event = madsci_2026.event(event_type="NODE_CREATE", log_level=20, event_data="a NODE_CREATE event")
    seen = []
    for method in ("log", "log_warning", "alert"):
        madsci_2026.call(method, event)
        seen.append(stored.level_and_alert(api, event.event_id))

    assert seen == [(20, False), (30, False), (30, True)]
    found = stored.event(api, event.event_id)
    assert (found["event_type"], found["event_data"]) == ("node_create", "a NODE_CREATE event")
    assert [one["event_id"] for one in stored.newest(api, 3)].count(event.event_id) == 1


def test_an_alert_in_words_arrives_as_critical(madsci_2026: MadsciClient, api: httpx.Client) -> None:
    """Twice: the client sends it twice, with an id each."""
    madsci_2026.call("alert", "Fume hood open")

    assert [(one["event_data"]["message"], one["log_level"], one["alert"]) for one in stored.newest(api, 2)] == [
        ("Fume hood open", 50, True)
    ] * 2


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("plain", '"plain"'), ([1, "two"], '[1, "two"]'), (4, "4"), (None, "null")],
    ids=["text", "list", "number", "null"],
)
def test_anything_logged_arrives_as_the_client_writes_it(
    madsci_2026: MadsciClient, api: httpx.Client, sent: Any, kept: str
) -> None:
    madsci_2026.call("log", sent)

    [found] = stored.newest(api)
    assert found["event_data"] == kept


def test_get_event_gives_back_what_was_logged(madsci_2026: MadsciClient) -> None:
    event = madsci_2026.event(
        event_type="workflow_start",
        log_level=40,
        alert=True,
        source={"workflow_id": ANOTHER_NODE},
        event_data={"nested": [{"a": 1.5}, None, "ü"]},
        trace_id="0af7651916cd43dd8448eb211c80319c",
    )
    madsci_2026.call("log", event)

    found = madsci_2026.call("get_event", event.event_id)
    assert found == {**event.fields, "event_timestamp": found["event_timestamp"]}
    assert datetime.fromisoformat(found["event_timestamp"]) == datetime.fromisoformat(
        event.fields["event_timestamp"]
    ).astimezone(UTC)


def test_get_event_of_no_event_is_the_404_the_client_expects(madsci_2026: MadsciClient) -> None:
    with pytest.raises(MadsciError, match="01M8531XCVKSTK22AD64CEBJF4") as refused:
        madsci_2026.call("get_event", "01M8531XCVKSTK22AD64CEBJF4")

    assert refused.value.status == httpx.codes.NOT_FOUND


def test_get_events_gives_the_newest_first_down_to_a_level(madsci_2026: MadsciClient) -> None:
    ids = [logged(madsci_2026, log_level=level, event_data=str(level)) for level in (10, 30, 40)]

    assert list(madsci_2026.call("get_events", number=3)) == ids[::-1]
    assert list(madsci_2026.call("get_events", number=2, level=30)) == ids[:0:-1]
    assert len(madsci_2026.call("get_events", number=50)) > 3


def test_query_events_finds_all_events_of_a_node(madsci_2026: MadsciClient) -> None:
    """The example of MADSci's README; its own server answers 422."""
    wanted = logged(madsci_2026, source={"node_id": ANOTHER_NODE, "experiment_id": OUR_NODE}, event_data="mine")
    logged(madsci_2026, source={"node_id": OUR_NODE}, event_data="not mine")

    assert list(madsci_2026.call("query_events", {"source": {"node_id": ANOTHER_NODE}})) == [wanted]


@pytest.mark.parametrize(
    "selector",
    [
        {"event_data.plate": "P7"},
        {"event_data.plate": {"$regex": "^P[0-9]$"}, "alert": True},
        {"$and": [{"log_level": {"$gte": 40}}, {"event_data.lid": None}, {"event_data.plate": {"$exists": True}}]},
        {"event_type": "NODE_ERROR", "event_data.note": 'it\'s "off", \\ and ü'},
    ],
    ids=["equal", "pattern and true", "operators and null", "quotes"],
)
def test_query_events_takes_a_selector_as_the_client_writes_it(
    madsci_2026: MadsciClient, selector: dict[str, Any]
) -> None:
    """As the Python text of a dictionary, in the address."""
    data = {"plate": "P7", "lid": None, "note": 'it\'s "off", \\ and ü'}
    wanted = logged(madsci_2026, event_type="node_error", log_level=40, alert=True, event_data=data)
    logged(madsci_2026, event_type="node_start", event_data={"plate": "Q7"})

    found = madsci_2026.call("query_events", selector)

    assert wanted in found
    assert {event["event_data"]["plate"] for event in found.values()} == {"P7"}


def test_query_events_refuses_code_and_says_which(madsci_2026: MadsciClient) -> None:
    with pytest.raises(MadsciError, match=r"\$where") as refused:
        madsci_2026.call("query_events", {"$where": "sleep(1000)"})

    assert refused.value.status == httpx.codes.UNPROCESSABLE_ENTITY


def test_the_asynchronous_methods_read_the_same(madsci_2026: MadsciClient) -> None:
    event_id = logged(madsci_2026, event_data={"asked": "asynchronously"})
    one = madsci_2026.call("get_event", event_id)

    assert madsci_2026.call("async_get_event", event_id) == one
    assert madsci_2026.call("async_get_events", number=1) == {event_id: one}
    assert madsci_2026.call("async_query_events", {"event_data.asked": "asynchronously"}) == {event_id: one}


def test_archive_events_by_id_hides_them_from_get_events(madsci_2026: MadsciClient, api: httpx.Client) -> None:
    archived = [logged(madsci_2026, event_data="old") for _ in range(3)]
    kept = logged(madsci_2026, event_data="new")

    answer = madsci_2026.call("archive_events", event_ids=archived)

    assert answer["archived_count"] == 3
    assert not set(archived) & set(madsci_2026.call("get_events", number=0))
    assert kept in madsci_2026.call("get_events", number=1)
    assert stored.event(api, archived[0])["archived"] is True


def test_archive_events_before_a_date_leaves_the_later_ones(madsci_2026: MadsciClient) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=900)
    old = logged(madsci_2026, event_timestamp=long_ago.isoformat(), event_data="old")
    new = logged(madsci_2026, event_data="new")

    answer = madsci_2026.call("archive_events", before_date=(long_ago + timedelta(days=1)).isoformat())

    assert answer["archived_count"] == 1
    left = madsci_2026.call("get_events", number=0)
    assert (old in left, new in left) == (False, True)


def test_archive_events_without_saying_which_is_refused(madsci_2026: MadsciClient) -> None:
    with pytest.raises(MadsciError, match="event_ids") as refused:
        madsci_2026.call("archive_events")

    assert refused.value.status == httpx.codes.UNPROCESSABLE_ENTITY


def test_purge_events_deletes_what_was_archived_long_enough_ago(madsci_2026: MadsciClient, api: httpx.Client) -> None:
    gone = logged(madsci_2026, event_data="to be deleted")
    kept = logged(madsci_2026, event_data="never archived")
    madsci_2026.call("archive_events", event_ids=[gone])

    assert madsci_2026.call("purge_events")["deleted_count"] == 0
    assert madsci_2026.call("purge_events", older_than_days=0)["deleted_count"] >= 1
    assert api.get(f"/event/{gone}").status_code == httpx.codes.NOT_FOUND
    assert stored.event(api, kept)["archived"] is False


@pytest.mark.parametrize("method", ["create_backup", "get_backup_status"])
def test_backups_are_refused_in_words(madsci_2026: MadsciClient, method: str) -> None:
    with pytest.raises(MadsciError, match=r"[Bb]ackup") as refused:
        madsci_2026.call(method)

    assert refused.value.status == httpx.codes.NOT_IMPLEMENTED


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get_utilization_periods", "/utilization/periods"),
        ("get_session_utilization", "/utilization/sessions"),
        ("get_user_utilization_report", "/utilization/users"),
    ],
)
def test_utilization_is_refused_in_words(madsci_2026: MadsciClient, api: httpx.Client, method: str, path: str) -> None:
    """The client makes None of any refusal; the words are for who looks."""
    assert madsci_2026.call(method) is None

    answer = api.get(path)
    assert answer.status_code == httpx.codes.NOT_IMPLEMENTED
    assert "utilization" in answer.json()["detail"]


def test_the_example_of_madscis_readme_runs_to_its_end(
    server: LiveServer, api: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With everything sent: the example alerts about a DEBUG event, which the client by default keeps to itself."""
    sends_all = "import os; os.environ['EVENT_CLIENT_LOG_LEVEL'] = '10'\n"
    with MadsciClient(MADSCI_2026, tmp_path_factory.mktemp("readme")) as madsci:
        madsci.run(sends_all + client_example(MADSCI_2026, server.url))

    arrived = [found["event_data"] for found in stored.newest(api, 7)]
    assert {data["message"]: set(data) - {"message"} for data in arrived if isinstance(data, dict)} == {
        "This logs a simple string at the INFO level": set(),
        "Debug message with context": {"key", "count"},
        "Warning with structured data": {"resource_id"},
        "Error occurred": {"exc_info"},
        "Workflow completed": {"event_type", "workflow_id", "duration_ms"},
        "All subsequent logs include experiment_id": {"experiment_id"},
    }
    [alerted] = [found for found in stored.newest(api, 7) if found["event_type"] == "node_create"]
    assert (alerted["event_data"], alerted["alert"]) == ("This logs a NODE_CREATE event at the DEBUG level.", True)


def test_the_context_example_of_madscis_readme_runs_to_its_end(
    server: LiveServer, api: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address = f"import os; os.environ['EVENT_SERVER_URL'] = '{server.url}'\n"
    with MadsciClient(MADSCI_2026, tmp_path_factory.mktemp("contexts")) as madsci:
        madsci.run(address + context_example(MADSCI_2026) + "\nutility_function()\n")

    arrived = [found["event_data"] for found in stored.newest(api, 3)]
    assert sorted(data["message"] for data in arrived) == ["Running workflow", "Starting experiment", "Utility running"]
    [inner] = [data for data in arrived if data["message"] == "Running workflow"]
    assert inner["workflow_id"] == "wf-456"
