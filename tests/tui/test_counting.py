"""What the panels count in a file or a pipe: the same however it was come by, and each line read once."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from madsci_event_cli.tui import ledger as ledger_of_events
from madsci_event_cli.tui import local_source
from madsci_event_cli.tui.counting import Tally
from madsci_event_cli.tui.ledger import Ledger
from madsci_event_cli.tui.local_source import LocalSource, PipeLines, read_event
from madsci_event_cli.tui.source import Counts, LinkChanged
from madsci_event_cli.tui.widgets.facet_panel import FIELDS
from madsci_event_server.event import Event
from madsci_event_server.query import EventQuery
from tests.factories import a_query, an_event, event_lists, queries
from tests.tui.watching import SAMPLE, file_source

ALL = EventQuery(include_archived=True)
KEPT = tuple(FIELDS)
COLUMNS = 40


def counted_one_by_one(query: EventQuery, events: Sequence[Event], fields: Sequence[str] = KEPT) -> Counts:
    tally = Tally(query, fields)
    for event in events:
        tally.add(event)
    return tally.counts(COLUMNS)


@pytest.fixture
def lines_read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines that were read to be counted."""
    read: list[bytes] = []
    reads = local_source._event_to_count

    def remembering(line: bytes) -> Event | None:
        read.append(line)
        return reads(line)

    monkeypatch.setattr(local_source, "_event_to_count", remembering)
    return read


@hypothesis.given(event_lists(), st.lists(queries(), min_size=1, max_size=4))
async def test_what_is_kept_of_events_counts_as_they_do(events: Sequence[Event], asked: Sequence[EventQuery]) -> None:
    ledger = Ledger()
    for position, event in enumerate(events):
        ledger.add(event, position)
    for query in [ALL, *asked]:
        tally = await ledger.tally(query, KEPT, 0)
        if tally is not None:
            assert tally.counts(COLUMNS) == counted_one_by_one(query, events)


@pytest.mark.parametrize(
    "filters", [{"search": "x"}, {"regex": "x"}, {"since": "2026-01-01"}, {"source": {"a": "b"}}, {"step_id": "s"}]
)
async def test_what_is_not_kept_is_not_made_up(filters: dict[str, object]) -> None:
    ledger = Ledger()
    ledger.add(an_event(), 0)

    assert await ledger.tally(a_query(**filters), KEPT, 0) is None
    assert await ledger.tally(ALL, (*KEPT, "step_id"), 0) is None


@pytest.mark.parametrize(
    "query",
    [
        ALL,
        a_query(level="error", include_archived=True),
        a_query(kind="workflow_*", include_archived=True),
        a_query(search="workflow", include_archived=True),
        a_query(regex="[Ww]ork", include_archived=True),
    ],
)
async def test_a_file_is_counted_as_its_events_are(query: EventQuery) -> None:
    events = [event for line in SAMPLE.read_bytes().splitlines() if isinstance(event := read_event(line), Event)]
    async with file_source(SAMPLE) as source:
        found = [await source.counts(query, KEPT, None, COLUMNS) for _ in range(2)]

    assert found == [counted_one_by_one(query, events)] * 2
    assert found[0].matching > 0


async def test_where_few_events_are_alike_they_are_counted_from_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    async with file_source(SAMPLE) as source:
        kept = await source.counts(ALL, KEPT, None, COLUMNS)
    monkeypatch.setattr(ledger_of_events, "MAX_KINDS", 5)
    async with file_source(SAMPLE) as source:
        assert await source.counts(ALL, KEPT, None, COLUMNS) == kept


async def test_another_filter_reads_no_line_again(lines_read: list[bytes]) -> None:
    async with file_source(SAMPLE) as source:
        for query in (ALL, a_query(level="error"), a_query(kind="!workflow_*"), a_query(node="x"), ALL):
            await source.counts(query, KEPT, None, COLUMNS)

    assert lines_read == SAMPLE.read_bytes().splitlines()


@pytest.mark.parametrize("query", [ALL, a_query(search="plate", include_archived=True)])
async def test_of_a_file_that_grows_only_what_is_new_is_read(
    query: EventQuery, lab: Path, lines_read: list[bytes]
) -> None:
    path = lab / "night.jsonl"
    lines = [an_event(f"plate {number}").encode() + b"\n" for number in range(10)]
    path.write_bytes(b"".join(lines[:6]))
    async with file_source(path) as source:
        first = await source.counts(query, KEPT, None, COLUMNS)
        lines_read.clear()
        feed = source.follow(query)
        assert isinstance(await anext(feed), LinkChanged)
        with path.open("ab") as file:
            file.writelines(lines[6:])
        await anext(feed)
        then = await source.counts(query, KEPT, None, COLUMNS)
        await feed.aclose()  # type: ignore[attr-defined]

    assert (first.matching, then.matching) == (6, 10)
    assert lines_read[-4:] == [line.rstrip() for line in lines[6:]]
    assert query.search is not None or len(lines_read) == 4


@pytest.mark.parametrize("query", [ALL, a_query(search="plate", include_archived=True)])
async def test_a_file_that_was_cut_short_is_counted_anew(query: EventQuery, lab: Path) -> None:
    path = lab / "night.jsonl"
    path.write_bytes(b"".join(an_event(f"plate {number}").encode() + b"\n" for number in range(10)))
    async with file_source(path) as source:
        assert (await source.counts(query, KEPT, None, COLUMNS)).total == 10
        feed = source.follow(query)
        await anext(feed)
        path.write_bytes(an_event("plate 11").encode() + b"\n")
        await anext(feed)
        assert (await source.counts(query, KEPT, None, COLUMNS)).total == 1
        await feed.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("query", [ALL, a_query(search="plate", include_archived=True)])
async def test_lines_of_a_pipe_that_were_let_go_are_not_counted(
    query: EventQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = an_event("plate").encode() + b"\n"
    monkeypatch.setattr(local_source, "MAX_HELD_BYTES", 10 * len(line))
    out_of, into = os.pipe()
    with os.fdopen(out_of, "rb") as pipe:
        async with LocalSource("a pipe", lambda: PipeLines(pipe)) as source:
            feed = source.follow(query)
            await anext(feed)
            for total in (8, 10, 10):
                os.write(into, 8 * line)
                for _ in range(8):
                    await anext(feed)
                assert (await source.counts(query, KEPT, None, COLUMNS)).total == total
            os.close(into)
            assert [item async for item in feed] == [LinkChanged("ended")]


END = ', "archived": false, "archived_at": null}'


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "nonsense",
        "",
        "[1]",
        '{"log_level": NaN}',
        '{"event_id": "a", "event_id": "b"}',
        '{"archived": true}',
        '{"archived": "perhaps"}',
        '{"archived_at": "soon"}',
        '{"event_data": {"archived": false, "archived_at": null}, "archived": true}',
        '{"event_data": {"archived": true}' + END,
        '{"received_at": "soon"' + END,
        '{"received_at": "2026-02-30T00:00:00.000000Z"' + END,
        '{"received_at": "2026-02-03T00:00:00.000000Z"' + END,
        '{"event_data": {"received_at": null}, "received_at": "soon"' + END,
        '{"archived": true' + END,
        '{"event_data": ' + "[" * 70 + "]" * 70 + END,
        '{"event_data": "\\ud800"' + END,
    ],
)
def test_a_line_is_counted_as_it_is_shown(line: str) -> None:
    shown, counted = read_event(line.encode()), local_source._event_to_count(line.encode())

    assert (counted is not None) == isinstance(shown, Event)
    if isinstance(shown, Event) and counted is not None:
        assert (counted.archived, counted.data) == (shown.archived, shown.data)


def test_every_line_of_a_lab_is_counted_as_it_is_shown() -> None:
    for line in SAMPLE.read_bytes().splitlines():
        event = local_source._event_to_count(line)
        assert event is not None
        assert event.encode() == Event.model_validate(json.loads(line)).encode()
