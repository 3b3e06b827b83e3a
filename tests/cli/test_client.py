"""EventClient against the real server: MADSci's interface, without what MADSci's client loses."""

import asyncio
import gc
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from madsci_event_cli import Event, EventClient, EventLogLevel, EventType
from madsci_event_cli.client import DEFAULT_SERVER
from madsci_event_cli.session import DEFAULT_SERVER as COMMAND_LINES_SERVER
from madsci_event_server.errors import InvalidInput, NotFound, NotOffered, ServerUnreachable
from tests.live_server import LiveServer
from tests.processes import Process, free_port
from tests.server.madsci_clients.environments import MADSCI_2025
from tests.server.madsci_clients.readme import client_example
from tests.test_documented import section

NODE = "01JJ4S0WNGEF5FQAZG5KDGJRBV"
MakeClient = Callable[..., EventClient]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def make_client(server: LiveServer, tmp_path: Path) -> Iterator[MakeClient]:
    made: list[EventClient] = []

    def make(**settings: Any) -> EventClient:
        client = EventClient(**{"event_server": server.url, "spool_directory": tmp_path / "spool", **settings})
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def stored(client: EventClient, event_id: str | None) -> Event:
    assert event_id is not None
    return client.get_event(event_id)


def test_the_programs_of_our_readme_run(server: LiveServer, tmp_path: Path) -> None:
    programs = re.findall(r"^```python\n(.*?)^```", section("Client library"), re.MULTILINE | re.DOTALL)
    environment = {"EVENT_SERVER_URL": server.url, "EVENT_CLIENT_SPOOL_DIR": str(tmp_path)}
    for number, program in enumerate(programs):
        (tmp_path / f"program_{number}.py").write_text(program)
        with Process([sys.executable, tmp_path / f"program_{number}.py"], environment=environment) as process:
            assert process.wait() == 0, process.said

    client = EventClient(event_server=server.url)
    found = {event.message: event for event in client.get_events(number=len(programs) * 4).values()}
    assert found["aspirated"].event_data["volume"] == 120
    assert "NameError" in found["dispense failed"].event_data["traceback"]
    assert found["collision"].alert
    assert found["step started"].kind == "workflow_step_start"
    assert found["step started"].ids["workflow_id"] == "01JTESTAAAAAAAAAAAAAAAAAAA"
    assert (found["plate loaded"].name, found["plate loaded"].event_data["run"]) == ("scheduler", 17)
    assert (found["focus lost"].name, found["focus lost"].event_data["score"]) == ("camera_1", 0.2)
    assert len(programs) == 4


@pytest.mark.soak
def test_the_program_of_madscis_readme_runs(
    server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its imports and its address changed, nothing else."""
    monkeypatch.setenv("EVENT_CLIENT_SPOOL_DIR", str(tmp_path))
    program = client_example(MADSCI_2025, server.url).replace("event_server_url=", "event_server=")
    ours = re.sub(r"from madsci\.[\w.]+ import", "from madsci_event_cli import", program)
    names: dict[str, Any] = {"__name__": "readme"}

    assert ours.count("from madsci_event_cli import") == 2
    exec(compile(ours, "README", "exec"), names)  # noqa: S102 - MADSci's own README
    client, event = names["event_client"], names["event"]
    assert client.flush()
    found = client.get_event(event.event_id)
    assert (found.event_type, found.log_level, found.alert) == ("node_create", 30, True)
    assert found.event_data == event.event_data


def test_one_reads_what_one_just_wrote(make_client: MakeClient) -> None:
    client = make_client(name="arm_1")
    event_id = client.info("plate 7 loaded", volume=120)

    assert next(iter(client.get_events(number=1))) == event_id
    assert stored(client, event_id).message == "plate 7 loaded"


def test_who_speaks_is_on_every_event(make_client: MakeClient) -> None:
    client = make_client(name="arm_1", source={"node_id": NODE, "bench": 3})
    event = stored(client, client.info("hello"))

    assert (event.name, event.ids["node_id"]) == ("arm_1", NODE)
    assert event.source_value("bench") == "3"
    assert event.source_value("host")


@pytest.mark.parametrize(
    ("method", "level", "event_type"),
    [
        ("debug", 10, "log_debug"),
        ("log_debug", 10, "log_debug"),
        ("info", 20, "log_info"),
        ("log_info", 20, "log_info"),
        ("warning", 30, "log_warning"),
        ("log_warning", 30, "log_warning"),
        ("warn", 30, "log_warning"),
        ("error", 40, "log_error"),
        ("log_error", 40, "log_error"),
        ("exception", 40, "log_error"),
        ("critical", 50, "log_critical"),
        ("log_critical", 50, "log_critical"),
        ("alert", 50, "log_critical"),
        ("log_alert", 50, "log_critical"),
        ("log", 20, "log_info"),
    ],
)
def test_each_method_has_its_level(make_client: MakeClient, method: str, level: int, event_type: str) -> None:
    client = make_client(log_level="debug")
    event = stored(client, getattr(client, method)("said", key="value"))

    assert (event.log_level, event.event_type) == (level, event_type)
    assert event.alert is ("alert" in method)
    assert event.event_data == {"message": "said", "key": "value"}


def test_an_alert_is_one_event(make_client: MakeClient) -> None:
    client = make_client()
    client.alert("fire", room="lab 2")
    client.error("smoke", alert=True)

    found = client.query_events({"alert": True, "event_data.message": {"$in": ["fire", "smoke"]}}).values()
    assert [(event.message, event.alert) for event in found] == [("smoke", True), ("fire", True)]


def test_the_same_event_again_is_raised_never_doubled(make_client: MakeClient) -> None:
    """As MADSci's README logs one Event three times."""
    client = make_client(log_level="debug")
    event = Event(event_type="NODE_CREATE", log_level=EventLogLevel.DEBUG, event_data="a node")
    ids = {client.log(event), client.log_warning(event), client.alert(event), client.log_info(event)}
    found = stored(client, event.event_id)

    assert ids == {event.event_id}
    assert (found.log_level, found.alert, found.event_data) == (30, True, "a node")
    assert event.log_level == EventLogLevel.DEBUG


def test_an_alert_is_sent_whatever_the_clients_level(make_client: MakeClient) -> None:
    client = make_client(log_level="critical")
    event = Event(log_level=EventLogLevel.DEBUG, event_data="quiet")
    client.alert(event)

    assert stored(client, event.event_id).alert


def test_below_the_clients_level_nothing_is_sent(make_client: MakeClient) -> None:
    client = make_client(log_level=logging.WARNING)

    assert client.info("too quiet") is None
    assert client.log(Event(log_level=EventLogLevel.DEBUG)) is None
    assert client.status().pending == 0


def test_a_type_is_the_events_type(make_client: MakeClient) -> None:
    client = make_client()
    event_id = client.info("go", event_type=EventType.WORKFLOW_START)

    assert stored(client, event_id).event_type == "workflow_start"
    assert event_id in client.query_events({"event_type": "WORKFLOW_START"})
    assert stored(client, client.info("go", event_type="our_own_type")).event_type == "our_own_type"


def test_exceptions_travel_whole(make_client: MakeClient) -> None:
    client = make_client()

    def fail() -> None:
        raise ValueError("no tip on channel 3")

    try:
        fail()
    except ValueError as error:
        in_handler = client.exception("aspirate failed", well="A3")
        as_event = client.log(error)
    outside = client.log(OSError("never raised"))

    event = stored(client, in_handler)
    assert event.event_data["exception"] == {"type": "ValueError", "message": "no tip on channel 3"}
    assert "in fail" in event.event_data["traceback"]
    assert (event.message, event.event_data["well"], event.log_level) == ("aspirate failed", "A3", 40)
    assert "in fail" in stored(client, as_event).event_data["traceback"]
    assert stored(client, outside).message == "never raised"


@pytest.mark.parametrize(
    "keywords",
    [{"message": 1}, {"level": 1}, {"event": 1}, {"self": 1}, {"name": 1}, {"event_data": 1}, {"alert": "perhaps"}],
    ids=str,
)
def test_keywords_of_any_name_are_data(make_client: MakeClient, keywords: dict[str, Any]) -> None:
    client = make_client()
    event = stored(client, client.info("said", **keywords))
    [(name, value)] = keywords.items()

    assert event.message == "said"
    assert event.event_data[name if name != "message" else "message_"] == value


def test_log_takes_any_level(make_client: MakeClient) -> None:
    client = make_client()

    assert stored(client, client.log("between", level=35)).log_level == 30
    assert stored(client, client.log({"temperature": 5}, level="error")).event_data == {"temperature": 5}
    assert stored(client, client.log('{"event_type": "lab_start", "event_data": 1}')).event_type == "lab_start"


def test_an_event_of_madscis_own_class_is_sent_as_it_is(make_client: MakeClient) -> None:
    """What it has in common with ours is all that is asked of it: a pydantic model with an event's fields."""
    from pydantic import BaseModel

    class Source(BaseModel):
        node_id: str | None = NODE
        user_id: str | None = None

    class MadsciEvent(BaseModel):
        event_id: str = "01JTESTAAAAAAAAAAAAAAAAAA9"
        event_type: EventType = EventType.NODE_START
        log_level: int = 30
        event_timestamp: datetime = datetime(2026, 5, 1, 12)  # noqa: DTZ001 - as MADSci's are
        source: Source = Source()
        event_data: Any = None

    client = make_client()
    event = stored(client, client.log(MadsciEvent(event_data={"thing": object})))

    assert (event.event_id, event.event_type, event.log_level) == ("01JTESTAAAAAAAAAAAAAAAAAA9", "node_start", 30)
    assert event.source.wire() == {"node_id": NODE}
    assert event.event_timestamp == datetime(2026, 5, 1, 12).astimezone(UTC)
    assert event.event_data == {"thing": "builtins.object"}


def test_a_bound_client_outlives_its_parent(make_client: MakeClient) -> None:
    """MADSci's is dead from the moment its parent is collected."""
    client = make_client()
    child = client.bind(workflow_id=NODE, step=1).bind(step=2)
    client.close()
    del client
    gc.collect()
    event = stored(child, child.info("still here"))

    assert event.event_data == {"message": "still here", "workflow_id": NODE, "step": 2}
    assert stored(child, child.unbind("step").info("less")).event_data == {"message": "less", "workflow_id": NODE}
    child.close()


async def test_a_context_reaches_tasks_and_threads(make_client: MakeClient) -> None:
    client, other = make_client(), make_client(name="other")

    async def task() -> str | None:
        return client.info("in a task")

    with EventClient.context(experiment_id=NODE):
        ids = [await asyncio.create_task(task()), await asyncio.to_thread(other.info, "in a thread")]
    outside = client.info("outside")

    for event_id in ids:
        assert (await client.async_get_event(str(event_id))).ids["experiment_id"] == NODE
    assert "experiment_id" not in (await client.async_get_event(str(outside))).ids


def test_reading_failures_are_raised(make_client: MakeClient, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        make_client().get_event("nothing")
    away = EventClient(event_server=f"http://127.0.0.1:{free_port()}", spool_directory=tmp_path / "away")
    with pytest.raises(ServerUnreachable):
        away.get_events()


def test_all_levels_are_read(make_client: MakeClient) -> None:
    """MADSci's hides what is below the client's own level."""
    client = make_client()
    client.log(Event(log_level=EventLogLevel.CRITICAL, event_data="loud"))
    quiet = make_client(log_level=10).debug("quiet")

    assert quiet in client.get_events(number=2)
    assert quiet not in client.get_events(number=2, level=50)


def test_events_of_a_node_are_found_as_madscis_readme_says(make_client: MakeClient) -> None:
    node = "01JJ4S0WNGEF5FQAZG5KDGJRB9"
    client = make_client(source={"node_id": node})
    ids = [client.info(number) for number in range(3)]
    make_client().info("of another")

    assert list(client.query_events({"source": {"node_id": node}})) == ids[::-1]


async def test_reading_works_inside_an_event_loop(make_client: MakeClient) -> None:
    """In a notebook the synchronous methods are called from a running loop."""
    client = make_client()
    event_id = client.info("from a notebook")

    assert event_id in client.get_events(number=1)
    assert event_id in await client.async_get_events(number=1)
    assert event_id in await client.async_query_events({"event_data.message": "from a notebook"})
    assert (await client.async_get_event(str(event_id))).event_id == event_id


def test_a_type_of_ones_own_comes_back_as_sent(make_client: MakeClient) -> None:
    client = make_client()
    event_id = str(client.info("x", event_type="our_own_type"))

    assert client.get_events(number=1)[event_id].event_type == "our_own_type"


def test_archive_and_purge(make_client: MakeClient) -> None:
    client = make_client()
    old = Event(event_timestamp=datetime.now(UTC) - timedelta(days=9000), event_data="old")
    ids = [client.info("a"), client.info("b")]
    client.log(old)

    assert client.archive_events(event_ids=[str(event_id) for event_id in ids]) == {"archived_count": 2}
    assert client.archive_events(before_date=str(datetime.now(UTC) - timedelta(days=8000))) == {"archived_count": 1}
    assert client.purge_events(older_than_days=0)["deleted_count"] >= 3
    with pytest.raises(NotFound):
        client.get_event(old.event_id)


@pytest.mark.parametrize(
    "method",
    [
        "create_backup",
        "get_backup_status",
        "get_utilization_periods",
        "get_session_utilization",
        "get_user_utilization_report",
        "get_log",
    ],
)
def test_what_is_not_offered_is_said_in_words(make_client: MakeClient, method: str) -> None:
    with pytest.raises(NotOffered, match="event"):
        getattr(make_client(), method)()


async def test_it_is_a_context_manager_of_both_kinds(server: LiveServer, tmp_path: Path) -> None:
    with EventClient(event_server=server.url, spool_directory=tmp_path) as client:
        first = client.info("one")
    async with EventClient(event_server=server.url, spool_directory=tmp_path) as client:
        second = client.info("two")

    assert client.status().pending == 0
    assert {first, second} <= set(await client.async_get_events(number=2))


def test_no_warning_is_raised_into_the_labs_code(make_client: MakeClient) -> None:
    """MADSci's log_warning warns always, which `-W error` turns into an exception; ours where it is asked to."""
    client = make_client()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client.warn("quietly")
    with pytest.warns(UserWarning, match="as asked"):
        client.log_warning("as asked", warning_category=UserWarning)


class Nasty:
    """Fails whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("nasty")


def test_no_value_makes_a_log_call_fail(make_client: MakeClient) -> None:
    client = make_client()
    event = stored(client, client.info("careful", value=Nasty()))

    assert event.message == "careful"
    assert "Nasty" in event.event_data["value"]


# --- making one ---


def test_the_address_comes_from_the_environment_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVENT_CLIENT_SPOOL_DIR", str(tmp_path))
    assert EventClient().event_server == DEFAULT_SERVER == COMMAND_LINES_SERVER
    monkeypatch.setenv("EVENT_SERVER_URL", "http://lab:9001/")
    assert EventClient().event_server == "http://lab:9001"
    assert EventClient(event_server="lab:9002").event_server == "http://lab:9002"
    assert EventClient(event_server_url="http://lab:9003/").event_server == "http://lab:9003"


def test_madscis_config_is_understood(make_client: MakeClient) -> None:
    config = SimpleNamespace(
        name="from config", event_server_url="http://lab:9001/", log_level=EventLogLevel.ERROR, source=None
    )
    client = EventClient(config, log_level="debug")

    assert (client.name, client.event_server, client.log_level) == ("from config", "http://lab:9001", 10)


def test_the_calling_module_is_the_name_where_none_is_given(make_client: MakeClient) -> None:
    assert EventClient().name == __name__


def test_settings_that_only_madsci_has_do_no_harm(make_client: MakeClient) -> None:
    make_client(log_dir=".", otel_enabled=False, retry_total=3)
    with pytest.raises(TypeError, match="no setting 'event_sever'; it has event_server"):
        make_client(event_sever="x")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"source": {"node_id": "arm_1"}}, "source.node_id"),
        ({"source": "arm_1"}, "source"),
        ({"event_server": "http://:x"}, "server"),
        ({"event_server": "ftp://lab"}, "server"),
    ],
)
def test_a_mistake_is_told_when_the_client_is_made(
    make_client: MakeClient, settings: dict[str, Any], field: str
) -> None:
    """Later would be too late: the server would refuse every event."""
    with pytest.raises(InvalidInput) as refused:
        make_client(**settings)
    assert refused.value.field == field
