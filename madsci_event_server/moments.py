"""Instants: aware and in UTC inside, always the same 27 characters on the wire, microseconds since 1970 in a store."""

import math
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

import orjson

from madsci_event_server.errors import InvalidEvent, shown

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_BASIC_DATE_CHARACTERS: Final = 8
_EPOCH_MILLISECONDS_FROM: Final = 2e10
"""Epoch numbers above this are milliseconds, as pydantic (so MADSci) reads them."""


def parse_time(value: object, zone: tzinfo | None = None, field: str = "event_timestamp") -> datetime:
    """An instant, aware and in UTC, from ISO 8601 text, a datetime, or epoch seconds or milliseconds.

    Time without a zone is in `zone` (default: this machine's): the first pass of a repeated hour; a skipped hour moves
    forward. Digits beyond microseconds are cut. Raises InvalidEvent.
    """
    try:
        moment = _as_datetime(value)
        if moment.tzinfo is UTC:
            return moment
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone, fold=0) if zone is not None else moment.replace(fold=0)
        return moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        raise InvalidEvent(
            field,
            f"{shown(value)} is not a time; use ISO 8601 such as 2026-11-23T18:51:47.970336Z, or epoch seconds",
            value=value,
        ) from None


def format_time(moment: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS.ffffffZ`: always 27 characters, so text order is time order."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    if moment.microsecond and type(moment) is datetime:
        return orjson.dumps(moment, option=orjson.OPT_UTC_Z)[1:-1].decode()  # at a fifth of the cost
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def encode_time(moment: datetime) -> bytes:
    """`format_time` as JSON."""
    if moment.tzinfo is UTC and moment.microsecond and type(moment) is datetime:
        return orjson.dumps(moment, option=orjson.OPT_UTC_Z)
    return b'"%b"' % format_time(moment).encode()


@lru_cache(maxsize=16)
def format_shared_time(moment: datetime | None) -> str | None:
    """`format_time` for instants that many events share: when their batch was received."""
    return None if moment is None else format_time(moment)


def in_zone(moment: datetime, zone: tzinfo | None) -> datetime:
    """The instant as clocks show it there (None: on this machine); in UTC at the edges of the calendar."""
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return moment.astimezone(UTC)


def time_to_us(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z, exactly; negative before."""
    return (moment - _EPOCH) // _MICROSECOND


def us_to_time(microseconds: int) -> datetime:
    """The aware UTC instant of `time_to_us`."""
    return _EPOCH + timedelta(microseconds=microseconds)


def as_number(value: object) -> float:
    """The number that is or is written there; NaN where none is."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _is_epoch(text: str) -> bool:
    """Whether it is digits alone, and no date of eight.

    Read as ISO 8601 some thirteen of them are a minute of the year 1795: `17951223`, any separator, `0459`.
    """
    return text.isdecimal() and len(text) != _BASIC_DATE_CHARACTERS


def _from_iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text.upper())  # RFC 3339 allows `t` and `z`, Python does not


def _as_datetime(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and (value[-1:] == "Z" or not _is_epoch(value)):
        try:
            return datetime.fromisoformat(value)  # as most programs write it
        except ValueError:
            pass
        try:
            return _from_iso(value.strip())
        except ValueError:
            pass  # perhaps an epoch number with a sign or a fraction
    number = as_number(value)
    if not math.isfinite(number):
        raise ValueError
    if abs(number) > _EPOCH_MILLISECONDS_FROM:
        number /= 1000
    return _EPOCH + timedelta(seconds=number)
