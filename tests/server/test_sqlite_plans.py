"""Searches go along indexes: asserted on SQLite's own plans, for every statement a search is made of."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from madsci_event_server.query import EventQuery
from madsci_event_server.recent import event_frame
from madsci_event_server.storage.sqlite import SQLiteStore
from madsci_event_server.storage.sqlite_counting import COUNT, FIRST, LAST
from madsci_event_server.storage.sqlite_database import TimeLimit
from madsci_event_server.storage.sqlite_finding import ARCHIVED_DOWN, ARCHIVED_WITH, RANGE_DOWN, RANGE_UP, find
from madsci_event_server.storage.sqlite_runs import RAISED_INTO, RAISED_RUN, UNRAISED_RUN
from tests.factories import NODES, NOON, SERVED_BY_AN_INDEX, a_query, one_of_many


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with some of everything."""
    path = tmp_path_factory.mktemp("plans") / "events.db"
    asyncio.run(fill(path))
    return path


async def fill(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.append(
            [one_of_many(n, message=f"Tip {n} lost" if n % 50 else "Zirconium lost", attempt=n) for n in range(300)]
        )
        await store.archive(before=NOON + timedelta(seconds=1), at=NOON)


def statements(path: Path, query: EventQuery) -> list[str]:
    """What SQLite is asked for a search."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        asked: list[str] = []
        connection.set_trace_callback(asked.append)
        (store_id,) = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone()
        asked.clear()
        assert find(connection, TimeLimit(60), query, store_id).events or query.after
        # Without what the full-text index asks itself.
        return [statement for statement in asked if not statement.startswith("--") and "words_" not in statement]


def plan(path: Path, statement: str) -> list[str]:
    """SQLite's plan of a statement."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]


@pytest.mark.parametrize("order", ["-time", "time", "received"])
@pytest.mark.parametrize(
    "filters",
    [
        *SERVED_BY_AN_INDEX,
        {"name": ["arm"]},
        {"since": NOON, "until": NOON + timedelta(days=300)},
        {"search": "zirc*"},
        {"level": "error", "node_id": [NODES[0]]},
        {"selector": {"event_type": "log_info"}},
        {"selector": {"event_data.message": "Zirconium lost"}},
        {"selector": {"event_data.attempt": 7}},
    ],
)
def test_one_filter_or_a_level_with_an_id_is_served_by_an_index(lab: Path, filters: dict[str, Any], order: str) -> None:
    for statement in statements(lab, a_query(order=order, limit=5, **filters)):
        steps = plan(lab, statement)
        scans = [step for step in steps if step.startswith("SCAN") and "VIRTUAL TABLE INDEX" not in step]
        assert scans in ([], ["SCAN (subquery-1)"], ["SCAN (subquery-2)"]), (statement, steps)
        assert order == "received" or not any("TEMP B-TREE" in step for step in steps) or "MATCH" in statement


def test_a_walk_begins_right_after_the_cursor(lab: Path) -> None:
    """Both ends of the range are looked up, so a late page costs what the first does."""
    for statement in (RANGE_DOWN, RANGE_UP):
        (step,) = plan(lab, statement.replace("?", "1"))
        assert step.startswith("SEARCH event_labels USING PRIMARY KEY (label=? AND state=? AND (time_us,first_seq)>")
    (step,) = plan(lab, ARCHIVED_WITH.replace("?", "1"))
    assert step == "SEARCH events USING COVERING INDEX events_archived (archived_us=? AND first_seq<?)"
    (step,) = plan(lab, ARCHIVED_DOWN.replace("?", "1"))
    assert step == "SEARCH events USING COVERING INDEX events_archived (archived_us<?)"


def test_counting_and_bounds_look_at_the_index_only(lab: Path) -> None:
    for statement in (COUNT, FIRST, LAST):
        (step,) = plan(lab, statement.replace("?", "1"))
        assert step == "SEARCH event_labels USING PRIMARY KEY (label=? AND state=? AND time_us>? AND time_us<?)"


@pytest.mark.parametrize(
    ("statement", "plan"),
    [
        (RAISED_RUN, "SEARCH events USING INDEX sqlite_autoindex_events_1 (seq>? AND seq<?)"),
        (UNRAISED_RUN, "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ],
)
def test_a_run_is_in_the_order_of_its_key(lab: Path, statement: str, plan: str) -> None:
    with closing(sqlite3.connect(lab)) as connection:
        values = {**event_frame("store")._asdict(), "between": "", "seq": 0, "through": 9}

        assert [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)] == [plan]


def test_whether_a_run_has_raised_events_is_read_from_an_index(lab: Path) -> None:
    with closing(sqlite3.connect(lab)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {RAISED_INTO}", {"seq": 0, "through": 9})

        assert any("USING COVERING INDEX events_raised (seq>? AND seq<?)" in row[3] for row in rows)
