"""Python's `logging`, told to events."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from madsci_event_cli import EventClient, EventLogHandler
from tests.cli.scripted_server import ScriptedServer, scripted_server


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture
def client(server: ScriptedServer, tmp_path: Path) -> Iterator[EventClient]:
    with EventClient(event_server=server.url, spool_directory=tmp_path, name="arm_1", log_level=0) as made:
        yield made


@pytest.fixture
def logger(client: EventClient) -> Iterator[logging.Logger]:
    made = logging.Logger("lab.arm")  # noqa: LOG001 - one that no other test sees
    handler = EventLogHandler(client)
    made.addHandler(handler)
    yield made
    handler.close()


def events(client: EventClient, server: ScriptedServer) -> list[dict[str, Any]]:
    assert client.flush()
    return server.events


def test_a_record_becomes_an_event(logger: logging.Logger, client: EventClient, server: ScriptedServer) -> None:
    logger.warning("plate %s at %d C", "P7", 37, extra={"volume": 1.5})
    [event] = events(client, server)
    data = event["event_data"]

    assert (data["message"], data["volume"], data["logger"]) == ("plate P7 at 37 C", 1.5, "lab.arm")
    assert (data["module"], data["function"]) == ("test_log_handler", "test_a_record_becomes_an_event")
    assert (event["event_type"], event["log_level"], event["alert"]) == ("log_warning", 30, False)
    assert event["source"]["name"] == "arm_1"


@pytest.mark.parametrize(
    ("level", "number", "own"),
    [(10, 10, None), (20, 20, None), (50, 50, None), (25, 20, 25), (5, 10, 5), (35, 30, 35), (60, 50, 60)],
)
def test_custom_levels_keep_their_number(
    logger: logging.Logger, client: EventClient, server: ScriptedServer, level: int, number: int, own: int | None
) -> None:
    logger.log(level, "x")
    [event] = events(client, server)

    assert event["log_level"] == number
    assert event["event_data"].get("level_number") == own


def test_exceptions_and_stacks_travel(logger: logging.Logger, client: EventClient, server: ScriptedServer) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logger.exception("aspirate failed", stack_info=True)
    [event] = events(client, server)
    data = event["event_data"]

    assert data["exception"] == {"type": "ZeroDivisionError", "message": "division by zero"}
    assert "1 / 0" in data["traceback"]
    assert data["stack"].startswith("Stack (most recent call last):")


def test_extra_says_type_and_alert(logger: logging.Logger, client: EventClient, server: ScriptedServer) -> None:
    logger.error("fire", extra={"event_type": "node_error", "alert": True, "level": "own", "event_id": "own"})
    [event] = events(client, server)

    assert (event["event_type"], event["alert"]) == ("node_error", True)
    assert (event["event_data"]["level"], event["event_data"]["event_id"]) == ("own", "own")


def test_context_is_carried(logger: logging.Logger, client: EventClient, server: ScriptedServer) -> None:
    with EventClient.context(workflow_id="01JTESTAAAAAAAAAAAAAAAAAAA"):
        logger.info("inside")
    [event] = events(client, server)

    assert event["event_data"]["workflow_id"] == "01JTESTAAAAAAAAAAAAAAAAAAA"


def test_a_message_that_does_not_fit_its_arguments_is_kept(
    logger: logging.Logger, client: EventClient, server: ScriptedServer
) -> None:
    logger.info("%d wells", "many")
    [event] = events(client, server)

    assert event["event_data"]["message"] == "%d wells ('many',)"


def test_json_in_a_message_is_text(logger: logging.Logger, client: EventClient, server: ScriptedServer) -> None:
    logger.info('{"event_type": "lab_stop", "event_data": {}}')
    [event] = events(client, server)

    assert event["event_type"] == "log_info"


def test_it_makes_a_client_of_its_own(server: ScriptedServer, tmp_path: Path) -> None:
    handler = EventLogHandler(event_server=server.url, spool_directory=tmp_path, level=logging.WARNING)
    logger = logging.Logger("lab")  # noqa: LOG001 - one that no other test sees
    logger.addHandler(handler)
    logger.info("too quiet")
    logger.warning("heard")
    handler.close()

    assert [event["event_data"]["message"] for event in server.events] == ["heard"]
