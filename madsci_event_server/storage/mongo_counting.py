"""Counts by value and over time: by MongoDB where it decides the query, else of the events that match."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection

from madsci_event_server import counting
from madsci_event_server.errors import InvalidQuery
from madsci_event_server.event import Event, EventLogLevel, canonical_id
from madsci_event_server.query import EventQuery
from madsci_event_server.storage.base import FACET_FIELDS, MAX_FACET_VALUES, Bucket, FacetCount, Facets
from madsci_event_server.storage.mongo_database import Session, TimeLimit
from madsci_event_server.storage.mongo_documents import APART, ARCHIVED, READ, REPEATED, event_of, term_prefix
from madsci_event_server.storage.mongo_finding import ORDERS, matching
from madsci_event_server.storage.mongo_query import Plan
from madsci_event_server.storage.mongo_writer import Document
from madsci_event_server.storage.terms import is_id_of_source

_AFTER_EQUALS: Final = ">"
"""The character after `=`: a field's terms are between the two."""

Values = Counter[str]
"""How many events have each value."""


def check_fields(fields: Sequence[str]) -> None:
    """Raises InvalidQuery for a field that cannot be counted by."""
    for field in fields:
        if field not in FACET_FIELDS and not (field.startswith("source.") and field != "source."):
            raise InvalidQuery("field", f"{field!r} cannot be counted by; use {', '.join(FACET_FIELDS)} or source.KEY")


class Counting:
    """One query's events, counted in one snapshot."""

    def __init__(
        self,
        events: AsyncCollection[Document],
        session: Session | None,
        limit: TimeLimit,
        query: EventQuery,
        plan: Plan,
    ) -> None:
        self._events = events
        self._session = session
        self._limit = limit
        self._query = query
        self._plan = plan

    # --- By value ---

    async def facets(self, fields: Sequence[str], most: int) -> Facets:
        """Counts by value for each of the fields."""
        total, found = await (self._by_terms(fields) if self._plan.is_exact else self._by_events(fields))
        answer, truncated = {}, []
        for field in fields:
            ordered = sorted(found[field].items(), key=lambda item: (-item[1], item[0]))
            answer[field] = [FacetCount(value, events) for value, events in ordered[: min(most, MAX_FACET_VALUES)]]
            if len(ordered) > len(answer[field]):
                truncated.append(field)
        return Facets(answer, total, truncated)

    async def _by_terms(self, fields: Sequence[str]) -> tuple[int, dict[str, Values]]:
        found: dict[str, Values] = {field: Counter() for field in fields}
        levels: Values = Counter()
        for group, count in await self._grouped({"state": "$state", "about": "$about"}):
            levels[EventLogLevel(group["state"] % ARCHIVED).name] += count
            for field, _, value in (term.partition("=") for term in group["about"].split(APART)):
                if field in found:
                    found[field][value] += count
        total = levels.total()
        others = [field for field in fields if field not in REPEATED and field != "log_level"]
        by_prefix = {term_prefix(field): field for field in others if not is_id_of_source(field)}
        for term, count in await self._terms(by_prefix):
            prefix, _, value = term.partition("=")
            found[by_prefix[prefix]][value] += count
        for field in filter(is_id_of_source, others):
            for value, count in await self._grouped(f"$document.{field}"):
                if value is not None:
                    found[field][canonical_id(value)] += count
        if "log_level" in found:
            found["log_level"] = levels
        if "alert" in found and total > found["alert"]["true"]:
            found["alert"]["false"] = total - found["alert"]["true"]
        return total, {field: +values for field, values in found.items()}

    async def _terms(self, prefixes: dict[str, str]) -> list[tuple[str, int]]:
        if not prefixes:
            return []
        of_fields = [{"terms": {"$gte": f"{prefix}=", "$lt": f"{prefix}{_AFTER_EQUALS}"}} for prefix in prefixes]
        stages: list[Document] = [{"$project": {"terms": 1}}, {"$unwind": "$terms"}, {"$match": {"$or": of_fields}}]
        return await self._grouped("$terms", stages)

    async def _grouped(self, by: object, stages: Sequence[Document] = ()) -> list[tuple[Any, int]]:
        """Each value of an expression with the number of events that have it."""
        pipeline = [
            {"$match": self._plan.filter},
            *stages,
            {"$group": {"_id": by, "events": {"$sum": 1}}},
        ]
        self._limit.check()
        async with await self._events.aggregate(pipeline, session=self._session, allowDiskUse=True) as cursor:
            return [(row["_id"], row["events"]) async for row in cursor]

    async def _by_events(self, fields: Sequence[str]) -> tuple[int, dict[str, Values]]:
        found: dict[str, Values] = {field: Counter() for field in fields}
        total = 0
        async for some in matching(
            self._events.find(self._plan.filter, READ, session=self._session), self._limit, self._query, self._plan
        ):
            total += len(some)
            for stored, _ in some:
                event = event_of(stored)
                for field in fields:
                    if (value := _value_of(event, field)) is not None:
                        found[field][value] += 1
        return total, found

    # --- Over time ---

    async def histogram(self, interval_seconds: int) -> list[Bucket]:
        """Counts over time, by level."""
        counting.check_interval(interval_seconds)
        since, until = self._query.time_range_us
        if since is not None and until is not None and since < until:
            counting.check_range(since, until - 1, interval_seconds)
        over_time = self._buckets if self._plan.is_exact else self._buckets_of_events
        counts = await over_time(interval_seconds)
        return counting.fill(counts, interval_seconds, self._query.time_range_us)

    async def _buckets(self, interval_seconds: int) -> Counter[tuple[int, int]]:
        await self._check_range(interval_seconds)
        width = interval_seconds * 1_000_000
        into = {"$mod": [{"$add": [{"$mod": ["$time_us", width]}, width]}, width]}  # MongoDB's remainder is signed
        rows = await self._grouped({"start": {"$subtract": ["$time_us", into]}, "state": "$state"})
        counts: Counter[tuple[int, int]] = Counter()
        for key, count in rows:
            counts[int(key["start"]), key["state"] % ARCHIVED] += count
        return counts

    async def _check_range(self, interval_seconds: int) -> None:
        """Refuses too many buckets before they are counted."""
        ends = [await self._end(order) for order in (ORDERS["time"], ORDERS["-time"])]
        if ends[0] is not None and ends[1] is not None and None in self._query.time_range_us:
            first, last = (counting.bucket_start_us(moment, interval_seconds) for moment in ends if moment is not None)
            counting.check_range(first, last, interval_seconds)

    async def _end(self, order: list[tuple[str, int]]) -> int | None:
        self._limit.check()
        found = await self._events.find_one(
            self._plan.filter, {"_id": 0, "time_us": 1}, sort=order, session=self._session
        )
        return None if found is None else int(found["time_us"])

    async def _buckets_of_events(self, interval_seconds: int) -> Counter[tuple[int, int]]:
        counts: Counter[tuple[int, int]] = Counter()
        cursor = self._events.find(self._plan.filter, READ, session=self._session)
        async for some in matching(cursor, self._limit, self._query, self._plan):
            for stored, _ in some:
                start = counting.bucket_start_us(stored.time_us, interval_seconds)
                counts[start, int(event_of(stored).log_level)] += 1
        return counts


def _value_of(event: Event, field: str) -> str | None:
    if field == "log_level":
        return event.log_level.name
    if field == "alert":
        return "true" if event.alert else "false"
    if field.startswith("source."):
        return event.source_value(field.removeprefix("source."))
    if field in ("kind", "event_type", "name"):
        value: str | None = getattr(event, field)
        return value
    return event.ids.get(field)
