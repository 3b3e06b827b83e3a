"""An event's text is read by a short way where its bytes allow it: always as the long way reads it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madsci_event_server.errors import InvalidInput
from madsci_event_server.event import Event, compare_again, format_time, us_to_time
from madsci_event_server.json_text import (
    DOUBTFUL,
    MAX_NESTING,
    encode_queryable,
    parse_json,
    parse_tidy,
    parse_tidy_beside,
    tidy,
)
from madsci_event_server.storage.sqlite_rows import NewEvent
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


@settings(max_examples=200)
@given(VALUES)
def test_what_is_written_beside_is_the_member_as_it_is_queried(value: object) -> None:
    body = json.dumps({"event_id": "1", "event_data": value, "note": value}).encode("utf-8", "replace")
    document, written = parse_tidy_beside(body, "event_data")
    if document is not DOUBTFUL:
        assert repr(document) == repr(long_way(body))
        assert written == encode_queryable(document["event_data"])


@pytest.mark.parametrize("number", ["9223372036854775807", "-9223372036854775808", "18446744073709551615", "1e22"])
def test_long_numbers_are_read_the_short_way_where_the_text_is_as_we_write_it(number: str) -> None:
    body = b'{"number":%s}' % number.encode()
    assert repr(parse_tidy(body)) == repr(json.loads(body))


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


def _event_of(value: object, **fields: object) -> Event:
    return Event.sent({"event_id": "1", "event_data": tidy(value, "event_data"), **fields})


@settings(max_examples=100)
@given(VALUES, st.booleans())
def test_a_row_is_stamped_as_the_event_would_be(value: object, archived: bool) -> None:
    event = _event_of(value, note=value).changed(archived=archived, archived_at=us_to_time(7) if archived else None)
    new = NewEvent(event)
    assert new.body == event.encode()

    for microseconds in (3, 1_700_000_000_000_005):  # again, where its commit failed and is tried once more
        event.stamp(us_to_time(microseconds))
        new.stamp(us_to_time(microseconds))
        assert new.body == event.encode()


@settings(max_examples=100)
@given(VALUES, st.booleans(), st.sampled_from([10, 20, 40]))
def test_a_row_is_compared_as_the_event_it_was_made_of(value: object, says_when: bool, level: int) -> None:
    stored = _event_of(value, event_timestamp=1, source={"host": value})
    again = _event_of(value, source={"host": value}, log_level=level, **({"event_timestamp": 2} if says_when else {}))

    assert compare_again(stored, NewEvent(again).again) == compare_again(stored, again)


@given(st.datetimes(timezones=st.just(UTC)) | st.datetimes(timezones=st.timezones()))
def test_an_instant_is_always_written_in_27_characters(moment: datetime) -> None:
    try:
        in_utc = moment.astimezone(UTC)
    except OverflowError:  # the first or last hours of the calendar, elsewhere
        return
    assert format_time(moment) == in_utc.strftime("%m-%dT%H:%M:%S.%fZ").join((f"{in_utc.year:04}-", ""))


@settings(max_examples=200)
@given(VALUES)
def test_the_index_is_told_the_words_of_an_event_and_no_others(value: object) -> None:
    event = Event.sent({"event_data": tidy(value, "event_data")})
    tokens = [token for token in indexed_text(event).decode().split() if token[0] not in "§¶"]
    assert {word for token in tokens for word in words(token)} == event.words
