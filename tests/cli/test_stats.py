"""`stats`: what is counted, and how it looks."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from madsci_event_cli.commands.stats import bar, interval_for, sparkline
from tests.cli.followers import numbered, send
from tests.cli.runs import run_here
from tests.thread_server import ThreadServer


@pytest.fixture(scope="module")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Eight events in ten minutes: six of liquidhandler_1, two of them errors, and two of nobody."""
    with ThreadServer(tmp_path_factory.mktemp("server")) as running:
        node = {"node_id": "01M84VMC3N1SG08XM8G777QGT5", "name": "liquidhandler_1"}
        send(running, *numbered(1, 4, source=node, event_timestamp="2026-11-23T12:00:30Z"))
        send(running, *numbered(5, 6, source=node, log_level="error", event_timestamp="2026-11-23T12:10:00Z"))
        send(running, *numbered(7, 8, event_type="workflow_start", event_timestamp="2026-11-23T12:05:00Z"))
        yield running.url


def test_as_json(lab_server: str) -> None:
    ran = run_here("stats", "--interval", "5m", "-o", "json", server=lab_server)

    found = json.loads(ran.out)
    assert list(found) == ["total", "facets", "truncated", "interval_seconds", "buckets"]
    assert found["total"] == 8
    assert found["facets"]["log_level"] == [{"value": "INFO", "count": 6}, {"value": "ERROR", "count": 2}]
    assert found["facets"]["name"] == [{"value": "liquidhandler_1", "count": 6}]
    assert found["interval_seconds"] == 300
    assert [bucket["counts"] for bucket in found["buckets"]] == [{"INFO": 4}, {"INFO": 2}, {"ERROR": 2}]


def test_for_people(lab_server: str) -> None:
    ran = run_here("stats", "--field", "log_level,node_id", "--interval", "1m", "--utc", server=lab_server)

    assert ran.lines == [
        "8 events  Mon 2026-11-23 12:00:00 – 12:11:00, each column 1 min",
        "",
        "ERR           █ 2",
        "INF █    ▄      6",
        "",
        "level",
        f"  INFO   {'█' * 30} 6  75.0%",
        f"  ERROR  {'█' * 10}{' ' * 20} 2  25.0%",
        "",
        "node_id",
        f"  liquidhandler_1  {'█' * 30} 6  75.0%",
    ]


def test_all_of_the_calendar(tmp_path: Path) -> None:
    with ThreadServer(tmp_path) as running:
        send(running, *numbered(1, 2, event_timestamp="0001-01-01T00:00:00Z"))
        send(running, *numbered(3, 3, event_timestamp="9999-12-31T23:59:59Z"))
        ran = run_here("stats", "--field", "log_level", "--utc", server=running.url)

    assert ran.code == 0
    assert re.fullmatch(r"3 events  Mon 0*1-01-01 00:00:00 – Fri 9999-12-31 23:59:59, each column .*", ran.lines[0])


def test_a_selector_is_counted_too(lab_server: str) -> None:
    selector = '{"log_level": {"$gte": "error"}}'
    ran = run_here("stats", "--selector", selector, "--interval", "5m", "-o", "json", server=lab_server)

    found = json.loads(ran.out)
    assert found["total"] == 2
    assert [bucket["counts"] for bucket in found["buckets"]] == [{"ERROR": 2}]


def test_filtered(lab_server: str) -> None:
    ran = run_here("stats", "--level", "error", "--field", "kind", "-o", "csv", server=lab_server)

    assert ran.out == "field,value,count\nkind,unknown,2\n"


def test_nothing_to_count(lab_server: str) -> None:
    ran = run_here("stats", "--search", "zirconium", "--field", "kind", server=lab_server)

    assert (ran.code, ran.lines) == (0, ["0 events", "", "kind  no event has one"])


def test_what_was_left_out_is_said(lab_server: str) -> None:
    assert "  and more; see them with -n" in run_here("stats", "-n", "1", server=lab_server).lines


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--interval", "0.5s"], "--interval"),
        (["--selector", "{"], "--selector"),
        (["--level", "loud"], "--level"),
    ],
)
def test_what_makes_no_sense(lab_server: str, arguments: list[str], named: str) -> None:
    ran = run_here("stats", *arguments, server=lab_server)

    assert (ran.code, ran.out) == (2, "")
    assert named in ran.err


def test_a_field_the_server_cannot_count_by(lab_server: str) -> None:
    ran = run_here("stats", "--field", "message", server=lab_server)

    assert ran.code == 1
    assert "message" in ran.err


@pytest.mark.parametrize(
    ("seconds", "interval"), [(0, 1), (59, 1), (60, 2), (3540, 60), (86_400, 1800), (1e9, 16_934_400)]
)
def test_an_interval_fits_a_line(seconds: float, interval: int) -> None:
    found = interval_for(seconds)

    assert seconds / found <= 59 or found == 1
    assert found == interval or found % 86_400 == 0


def test_columns_and_bars() -> None:
    assert sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert bar(0.5, 4) == "██  "
    assert bar(0.0001, 4) == "▏   "
    assert bar(1, 4) == "████"
