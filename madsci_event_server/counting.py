"""Bucket arithmetic for histograms: alignment, zero fill, the cap. Pure; every store uses it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from madsci_event_server.errors import InvalidQuery
from madsci_event_server.event import EventLogLevel, time_to_us, us_to_time
from madsci_event_server.storage.base import Bucket

MAX_BUCKETS: Final = 1000
MAX_INTERVAL_SECONDS: Final = 10_000 * 366 * 86400
"""All of the calendar: whatever lies how far apart, some interval has to do."""
_SECOND_US: Final = 1_000_000
_FIRST_US: Final = time_to_us(datetime.min.replace(tzinfo=UTC))
"""Where the calendar begins; a bucket that would begin before does so then."""
_HANDY_INTERVALS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400, 604800)


def bucket_start_us(time_us: int, interval_seconds: int) -> int:
    """The start of the bucket an instant falls into: multiples of the interval since 1970, also before it."""
    width = interval_seconds * _SECOND_US
    return time_us // width * width


def check_interval(interval_seconds: int) -> None:
    """Raises InvalidQuery for an interval that is none."""
    if not 1 <= interval_seconds <= MAX_INTERVAL_SECONDS:
        raise InvalidQuery("interval", f"{interval_seconds} is not a number of seconds from 1 on")


def check_range(first_us: int, last_us: int, interval_seconds: int) -> None:
    """Raises InvalidQuery, with an interval that would do, for instants more than 1,000 buckets apart."""
    start, end = (bucket_start_us(moment, interval_seconds) for moment in (first_us, last_us))
    count = (end - start) // (interval_seconds * _SECOND_US) + 1
    if count > MAX_BUCKETS:
        raise InvalidQuery(
            "interval",
            f"{interval_seconds} s would make {count} buckets, and at most {MAX_BUCKETS} are given; "
            f"use interval={fitting_interval(first_us, last_us)} or a shorter time range",
        )


def fitting_interval(first_us: int, last_us: int, buckets: int = MAX_BUCKETS) -> int:
    """The shortest round interval, in seconds, with which this range makes at most so many buckets."""
    for interval in _HANDY_INTERVALS:
        if (bucket_start_us(last_us, interval) - bucket_start_us(first_us, interval)) // (
            interval * _SECOND_US
        ) < buckets:
            return interval
    weeks = -(-(last_us - first_us) // (buckets * 604800 * _SECOND_US)) + 1
    return weeks * 604800


def fill(
    counts: Mapping[tuple[int, int], int],
    interval_seconds: int,
    time_range_us: tuple[int | None, int | None],
) -> list[Bucket]:
    """Buckets from `(bucket start in us, level number) -> count`, quiet ones included.

    They cover the half-open time range where it has both ends, else from the first counted bucket to the last.
    """
    since, until = time_range_us
    starts = [start for start, _ in counts]
    if since is not None and until is not None and since < until:
        first, last = since, until - 1
    elif starts:
        first, last = min(starts), max(starts)
    else:
        return []
    check_range(first, last, interval_seconds)
    by_bucket: dict[int, dict[EventLogLevel, int]] = {}
    for (start, level), count in sorted(counts.items()):
        by_bucket.setdefault(start, {})[EventLogLevel(level)] = count
    width = interval_seconds * _SECOND_US
    return [
        Bucket(us_to_time(max(start, _FIRST_US)), by_bucket.get(start, {}))
        for start in range(
            bucket_start_us(first, interval_seconds), bucket_start_us(last, interval_seconds) + width, width
        )
    ]
