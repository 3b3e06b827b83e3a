"""An event's text is read by a short way where its bytes allow it: always as the long way reads it."""

import json
from collections.abc import Callable
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madsci_event_server.errors import InvalidInput
from madsci_event_server.event import Event, us_to_time
from madsci_event_server.json_text import DOUBTFUL, MAX_NESTING, parse_json, parse_tidy, tidy
from madsci_event_server.storage.sqlite_words import indexed_text
from madsci_event_server.words import words
from tests import lab_data

TEXT = st.text(st.characters(), max_size=12) | st.sampled_from(["\0", "\ud800", '"', "\\u0022", "Straße_7", "x" * 5000])
NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def long_way(body: bytes) -> Any:
    return tidy(parse_json(body), "body")


@settings(max_examples=300)
@given(VALUES, st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_what_is_read_the_short_way_is_what_the_long_way_reads(
    value: object, ascii_only: bool, separators: tuple[str, str]
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, separators=separators)
    body = text.encode("utf-8", "replace")
    found = parse_tidy(body)
    if found is not DOUBTFUL:
        assert repr(found) == repr(long_way(body))


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"a": {"b": "", "b": "\\u0022"}}',
        '{"a": 1, "\\u0061": "\\""}',
        "18446744073709551616",
        "-9223372036854775809",
        "1e999",
        "NaN",
        '"\\ud800"',
        "[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1),
        '{"a":' * (MAX_NESTING + 1) + "1" + "}" * (MAX_NESTING + 1),
        "",
        "[1,]",
        "\ufeff1",
    ],
)
def test_what_the_short_way_would_get_wrong_it_leaves(text: str) -> None:
    assert parse_tidy(text.encode()) is DOUBTFUL


def test_many_objects_side_by_side_are_not_deep() -> None:
    body = json.dumps([{"well": [number]} for number in range(200)]).encode()
    assert parse_tidy(body) == json.loads(body)


def test_a_labs_events_are_read_the_short_way() -> None:
    for line in lab_data.SAMPLE.read_bytes().splitlines():
        assert parse_tidy(line) == json.loads(line)


def _event_or_refusal(read: Callable[[], Event]) -> Event | tuple[type[InvalidInput], str]:
    try:
        return read()
    except InvalidInput as error:
        return type(error), str(error)


@settings(max_examples=100)
@given(VALUES)
def test_an_event_is_what_its_parsed_text_is(value: object) -> None:
    document = {"event_id": "1", "event_timestamp": 1, "event_data": value, "note": value, "source": {"host": value}}
    body = json.dumps(document).encode()
    expected = _event_or_refusal(lambda: Event.sent(parse_json(body), UTC))
    event = _event_or_refusal(lambda: Event.read(body, UTC))
    if not isinstance(expected, Event) or not isinstance(event, Event):
        assert event == expected
        return
    event.derive()
    event.received_at = expected.received_at = us_to_time(5)
    assert event.encode() == expected.encode()
    assert event.document == json.loads(json.dumps(expected.document))
    assert event.model_fields_set == expected.model_fields_set
    assert (event.kind, event.ids, event.name, event.message) == (
        expected.kind,
        expected.ids,
        expected.name,
        expected.message,
    )


@settings(max_examples=200)
@given(VALUES)
def test_the_index_is_told_the_words_of_an_event_and_no_others(value: object) -> None:
    event = Event.sent({"event_data": tidy(value, "event_data")})
    tokens = [token for token in indexed_text(event).split() if token[0] not in "§¶"]
    assert {word for token in tokens for word in words(token)} == event.words
