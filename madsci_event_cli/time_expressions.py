"""Moments and spans as people write them: `15m`, `2h30m`, `yesterday`, `monday 9:00`, `14:05`, RFC 3339, epoch seconds.

Pure: the clock and the zone are arguments. Every answer is aware and in UTC, every refusal an InvalidInput that shows
what would have been understood.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from madsci_event_server.errors import InvalidInput, shown

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_LONG_UNITS: Final = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "day": "d", "days": "d", "week": "w", "weeks": "w",
}  # fmt: skip
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS_AGO: Final = {"today": 0, "yesterday": 1}

_SPAN = re.compile(r"(?:\d+(?:\.\d+)?\s*[a-z]+\s*)+")
_SPAN_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_AGO = re.compile(r"(?:now\s*)?-\s*(?P<minus>.+)|(?P<ago>.+?)\s+ago")
_DAY_AND_CLOCK = re.compile(r"(?P<day>[a-z]+)?(?:\s+at)?\s*(?P<clock>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,6})?)?)?")
_EPOCH_SECONDS = re.compile(r"\d{9,10}(?:\.\d+)?")
_EPOCH_MILLISECONDS = re.compile(r"\d{12,13}")

_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,6})?)?")
_DAY: Final = timedelta(days=1)

_EXAMPLES_AHEAD = "18:00, tomorrow 9:00, 2026-11-23T14:05:00Z"
_EXAMPLES = "15m, 2h30m, yesterday, monday 9:00, 14:05, 2026-11-23T14:05:00Z"


def parse_moment(text: str, *, now: datetime, zone: tzinfo | None = None, field: str = "time") -> datetime:
    """The instant `text` means at `now`. A span is that long ago; a day is its first moment.

    A weekday is the latest one that has begun, a time of day alone the latest that has passed: both look back, as
    events do. Time without a zone is in `zone` (None: this machine's), the first pass of a repeated hour; a skipped
    hour moves forward. Raises InvalidInput that names `field`.
    """
    cleaned = " ".join(text.split())
    try:
        return _moment(cleaned, now, zone)
    except OverflowError:
        raise InvalidInput(field, f"{shown(text)} is out of the calendar's range (years 1 to 9999)") from None
    except ValueError:
        raise InvalidInput(field, _not_a_moment(cleaned), value=text) from None


def parse_moment_ahead(text: str, *, now: datetime, zone: tzinfo | None = None, field: str = "time") -> datetime:
    """The instant after `now` that `text` means, as `parse_moment` reads it; but a time of day is the next such time.

    Also takes `tomorrow` and `tomorrow 9:00`. Raises InvalidInput that names `field`, for what is past, too.
    """
    words = text.lower().split()
    try:
        if words[:1] == ["tomorrow"]:
            moment = parse_moment(" ".join(["today", *words[1:]]), now=now + _DAY, zone=zone)
        else:
            ahead = len(words) == 1 and _CLOCK.fullmatch(words[0]) is not None
            moment = parse_moment(text, now=now + _DAY * ahead, zone=zone)
    except InvalidInput:
        raise InvalidInput(field, f"{shown(text)} is not a time; use {_EXAMPLES_AHEAD}", value=text) from None
    if moment <= now:
        raise InvalidInput(field, f"{shown(text)} is in the past; use {_EXAMPLES_AHEAD}", value=text)
    return moment


def parse_span(text: str, *, field: str = "duration") -> timedelta:
    """The length of time `text` means: `90s`, `2h30m`, `1.5 hours`, `7d`. Raises InvalidInput that names `field`."""
    try:
        return _span(text.strip().lower())
    except OverflowError:
        raise InvalidInput(field, f"{shown(text)} is too long", value=text) from None
    except ValueError:
        hint = f"{text.strip()} of what? Write {text.strip()}m" if text.strip().isdecimal() else "use 90s, 2h30m or 7d"
        raise InvalidInput(field, f"{shown(text)} is not a length of time; {hint}", value=text) from None


def _moment(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    words = text.lower()
    if words == "now":
        return now.astimezone(UTC)
    if _EPOCH_SECONDS.fullmatch(words):
        return datetime.fromtimestamp(float(words), UTC)
    if _EPOCH_MILLISECONDS.fullmatch(words):
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(words))
    if (ago := _AGO.fullmatch(words)) is not None:
        return now.astimezone(UTC) - _span(ago["minus"] or ago["ago"])
    if _SPAN.fullmatch(words):
        return now.astimezone(UTC) - _span(words)
    if words and (found := _DAY_AND_CLOCK.fullmatch(words)) is not None:
        return _on_a_day(found["day"], found["clock"], now, zone)
    return _in_utc(datetime.fromisoformat(text.upper()), zone)


def _on_a_day(day: str | None, clock: str | None, now: datetime, zone: tzinfo | None) -> datetime:
    """The first moment of a named day, or a time of day on it; without a day, the latest such time."""
    today = now.astimezone(zone).date()
    if day is None and clock is not None:
        moment = _at(today, clock, zone)
        return moment if moment <= now else _at(today - timedelta(days=1), clock, zone)
    return _at(today - timedelta(days=_days_ago(day or "", today)), clock or "0:00", zone)


def _days_ago(day: str, today: date) -> int:
    if day in _DAYS_AGO:
        return _DAYS_AGO[day]
    for number, name in enumerate(_WEEKDAYS):
        if day in (name, name[:3]):
            return (today.weekday() - number) % 7
    raise ValueError(day)


def _at(day: date, clock: str, zone: tzinfo | None) -> datetime:
    hours_and_rest = clock.replace(",", ".")
    padded = hours_and_rest if hours_and_rest[1] != ":" else f"0{hours_and_rest}"
    return _in_utc(datetime.combine(day, time.fromisoformat(padded)), zone)


def _in_utc(moment: datetime, zone: tzinfo | None) -> datetime:
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC)


def _span(text: str) -> timedelta:
    if not _SPAN.fullmatch(text):
        raise ValueError(text)
    total = timedelta()
    for number, unit in _SPAN_PART.findall(text):
        known = _UNITS.get(_LONG_UNITS.get(unit, unit))
        if known is None:
            raise ValueError(text)
        total += float(number) * known
    return total


def _not_a_moment(text: str) -> str:
    if text.isdecimal():
        return f"{shown(text)} of what? Write {text}m for {text} minutes ago, or use {_EXAMPLES}"
    return f"{shown(text)} is not a time; use {_EXAMPLES}"
