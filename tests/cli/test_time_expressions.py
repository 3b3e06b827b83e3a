"""Times as people write them."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madsci_event_cli.time_expressions import parse_moment, parse_moment_ahead, parse_span
from madsci_event_server.errors import InvalidInput

CHICAGO = ZoneInfo("America/Chicago")
NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)  # a Monday; 12:30 in Chicago


def moment(text: str, now: datetime = NOW) -> str:
    """What `text` means in Chicago."""
    return parse_moment(text, now=now, zone=CHICAGO).isoformat()


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("now", "2026-11-23T18:30:00+00:00"),
        ("15m", "2026-11-23T18:15:00+00:00"),
        ("-15m", "2026-11-23T18:15:00+00:00"),
        ("now-15m", "2026-11-23T18:15:00+00:00"),
        ("15 minutes ago", "2026-11-23T18:15:00+00:00"),
        ("2h30m", "2026-11-23T16:00:00+00:00"),
        ("1.5 hours", "2026-11-23T17:00:00+00:00"),
        ("3d", "2026-11-20T18:30:00+00:00"),
        ("1w", "2026-11-16T18:30:00+00:00"),
        ("500ms", "2026-11-23T18:29:59.500000+00:00"),
        ("today", "2026-11-23T06:00:00+00:00"),
        ("Yesterday", "2026-11-22T06:00:00+00:00"),
        ("yesterday 14:05", "2026-11-22T20:05:00+00:00"),
        ("yesterday at 9:00", "2026-11-22T15:00:00+00:00"),
        ("monday", "2026-11-23T06:00:00+00:00"),
        ("tue", "2026-11-17T06:00:00+00:00"),
        ("sunday 23:59:59.5", "2026-11-23T05:59:59.500000+00:00"),
        ("9:05", "2026-11-23T15:05:00+00:00"),
        ("12:30", "2026-11-23T18:30:00+00:00"),
        ("14:05", "2026-11-22T20:05:00+00:00"),
        ("2026-11-23T14:05:00Z", "2026-11-23T14:05:00+00:00"),
        ("2026-11-23t14:05:00z", "2026-11-23T14:05:00+00:00"),
        ("2026-11-23T14:05:00.123456789+01:00", "2026-11-23T13:05:00.123456+00:00"),
        ("2026-11-23T14:05", "2026-11-23T20:05:00+00:00"),
        ("2026-11-23 14:05", "2026-11-23T20:05:00+00:00"),
        ("2026-07-01", "2026-07-01T05:00:00+00:00"),
        ("1763922600", "2025-11-23T18:30:00+00:00"),
        ("1763922600.25", "2025-11-23T18:30:00.250000+00:00"),
        ("1763922600250", "2025-11-23T18:30:00.250000+00:00"),
        (" 15m ", "2026-11-23T18:15:00+00:00"),
    ],
)
def test_a_moment(text: str, instant: str) -> None:
    assert moment(text) == instant


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("14:05", "2026-11-23T20:05:00+00:00"),
        ("12:30", "2026-11-24T18:30:00+00:00"),
        ("9:05", "2026-11-24T15:05:00+00:00"),
        ("0:00", "2026-11-24T06:00:00+00:00"),
        ("today 18:00", "2026-11-24T00:00:00+00:00"),
        ("tomorrow", "2026-11-24T06:00:00+00:00"),
        ("Tomorrow at 9:00", "2026-11-24T15:00:00+00:00"),
        ("2026-11-23T18:30:01Z", "2026-11-23T18:30:01+00:00"),
    ],
)
def test_a_moment_ahead(text: str, instant: str) -> None:
    assert parse_moment_ahead(text, now=NOW, zone=CHICAGO).isoformat() == instant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("now", "in the past"),
        ("2h", "in the past"),
        ("yesterday 9:00", "in the past"),
        ("2026-11-23T18:30:00Z", "in the past"),
        ("tomorrow 25:00", "is not a time"),
        ("soon", "is not a time"),
        ("", "is not a time"),
    ],
)
def test_a_moment_ahead_is_not_past(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=f"^--until: '{text}' .*{said}; use 18:00") as refused:
        parse_moment_ahead(text, now=NOW, zone=CHICAGO, field="--until")

    assert refused.value.field == "--until"


@pytest.mark.parametrize(
    ("text", "instant"),
    [("2026-11-01T01:30", "2026-11-01T06:30:00+00:00"), ("2026-03-08T02:30", "2026-03-08T08:30:00+00:00")],
    ids=["a repeated hour is its first pass", "a skipped hour moves forward"],
)
def test_where_clocks_change(text: str, instant: str) -> None:
    assert moment(text) == instant


def test_just_after_midnight_yesterday_is_the_day_before() -> None:
    just_after = datetime(2026, 11, 23, 6, 0, 1, tzinfo=UTC)

    assert moment("yesterday", just_after) == "2026-11-22T06:00:00+00:00"
    assert moment("23:00", just_after) == "2026-11-23T05:00:00+00:00"


def test_without_a_zone_it_is_this_machines() -> None:
    assert parse_moment("2026-11-23T14:05", now=NOW) == datetime(2026, 11, 23, 14, 5).astimezone()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("15", "15m"),
        ("", "yesterday"),
        ("tomorrowish", "yesterday"),
        ("25:00", "14:05"),
        ("5 parsecs", "2h30m"),
        ("15m later", "2h30m"),
        ("2026-13-01", "2026-11-23T"),
        ("99999999d", "calendar"),
        ("\x1b[31m", "\\x1b"),
    ],
)
def test_what_is_no_time_is_refused_with_what_would_be(text: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_moment(text, now=NOW, field="--since")

    assert str(refused.value).startswith("--since: ")
    assert hint in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("text", "span"),
    [("90s", 90), ("2h30m", 9000), ("1.5h", 5400), ("7d", 604800), ("1 day 2 hours", 93600), ("250ms", 0.25)],
)
def test_a_span(text: str, span: float) -> None:
    assert parse_span(text) == timedelta(seconds=span)


@pytest.mark.parametrize("text", ["", "10", "h", "-5m", "soon", "9" * 30 + "w"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^--timeout: "):
        parse_span(text, field="--timeout")


@given(st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_what_we_write_we_read(naive: datetime, minutes: int) -> None:
    instant = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    assert parse_moment(instant.isoformat(), now=NOW) == instant
    assert parse_moment(instant.isoformat(" "), now=NOW) == instant


@given(st.text())
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        found = parse_moment(text, now=NOW, zone=CHICAGO)
    except InvalidInput:
        return
    assert found.tzinfo is UTC
