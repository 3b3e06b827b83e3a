"""The filter line gives a query, and a query gives its filter line: neither says more or less than the other."""

import shutil
import subprocess
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madsci_event_cli.tui.filter_line import command_line, filter_line, parse_filter_line
from madsci_event_cli.tui.narrowing import filters_of, toggled, without
from madsci_event_server.errors import InvalidInput
from madsci_event_server.query import EventQuery
from tests.tui.watching import NOW

WORDS = st.text("abcXYZ09 _-'\"\\$é!", min_size=1, max_size=12).filter(lambda text: any(c.isalnum() for c in text))
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from(["debug", "error"]),
        "log_level": st.lists(st.sampled_from(["info", "error", "critical"]), min_size=1, unique=True),
        "kind": st.lists(st.sampled_from(["workflow_*", "!log_info", "test"]), min_size=1, unique=True),
        "name": st.lists(WORDS, min_size=1, max_size=2, unique=True),
        "node_id": st.lists(st.sampled_from(["01M84VMC3N1SG08XM8G777QGT5", "!x"]), min_size=1),
        "source": st.dictionaries(st.sampled_from(["host", "rack.no"]), st.lists(WORDS, min_size=1, max_size=2)),
        "since": st.just("2026-11-23T10:00:00Z"),
        "until": st.just("2026-11-23T11:00:00.5Z"),
        "search": st.sampled_from(["tip -lost", "liq*", "a b c"]),
        "regex": st.sampled_from(["^a.*b$", "it's", "(?i)x|y"]),
        "selector": st.just({"event_data.volume": {"$gt": 1.5}}),
        "alert": st.booleans(),
    },
)


def parsed(line: str) -> EventQuery:
    return parse_filter_line(line, now=NOW, zone=UTC, base=EventQuery())


def is_sayable(document: dict[str, Any]) -> bool:
    """The command line has one option for the least level and for exact ones, and splits types at commas."""
    return not ({"level", "log_level"} <= set(document))


@given(QUERIES.filter(is_sayable))
def test_there_and_back(document: dict[str, Any]) -> None:
    query = EventQuery.parse(document, UTC)

    assert filters_of(parsed(filter_line(query))) == filters_of(query)


def test_words_without_an_option_are_searched_for() -> None:
    assert parsed("tip lost --level error -retry").search == "tip lost -retry"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--levle error", "--levle: is not a filter"),
        ("--level", "--level: needs a value"),
        ("--level error --level info", "given twice"),
        ("--name 'open", "close the quotes"),
        ("--since soonish", "--since"),
        ("--source host", "--source"),
    ],
)
def test_what_is_wrong_is_named(line: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parsed(line)


def test_the_command_is_one_a_shell_takes() -> None:
    query = EventQuery.parse({"name": ["it's; rm -rf /"], "level": "error"})

    assert command_line(query, ("--server", "http://lab:8001")) == (
        "madsci-events query --server http://lab:8001 --level error --name 'it'\"'\"'s; rm -rf /' --all"
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="it is bash that reads them")
def test_control_characters_are_written_as_a_shell_reads_them() -> None:
    command = command_line(EventQuery.parse({"name": ["a\x1b]0;t\x07'b\\"]}))

    assert command.isprintable()
    word = command.split("--name ")[1].removesuffix(" --all")
    assert subprocess.check_output(["bash", "-c", f"printf %s {word}"]) == b"a\x1b]0;t\x07'b\\"


@given(QUERIES, st.sampled_from(["name", "kind", "log_level", "node_id", "source.host", "alert"]))
def test_what_is_toggled_twice_is_as_before_where_it_was_not_set(document: dict[str, Any], field: str) -> None:
    value = {"log_level": "error", "alert": "true"}.get(field, "thing")
    query = without(without(EventQuery.parse(document, UTC), field), "source")
    once = toggled(query, field, value, exclude=False)

    assert filters_of(once) != filters_of(query)
    assert filters_of(toggled(once, field, value, exclude=False)) == filters_of(query)
