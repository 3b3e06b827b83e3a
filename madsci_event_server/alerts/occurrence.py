"""Occurrence: what an alert needs to know of an event that it counts, read from the stored bytes.

No Event is made of them unless a rule wants one: to make it costs more than all the rest.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from madsci_event_server import subject
from madsci_event_server.alerts.rules import RuleBook, Topic, topic
from madsci_event_server.event import Event, EventLogLevel
from madsci_event_server.json_text import encode_queryable, parse_stored, queryable
from madsci_event_server.ownership import stored_source
from madsci_event_server.query import NameDirectory
from madsci_event_server.storage.base import StoredEvent


class Occurrence(NamedTuple):
    """One event as one rule gives it an alert."""

    topic: Topic
    seq: int
    first_seq: int
    event_id: str
    level: EventLogLevel
    forced: bool
    """Whether it asked for an alert by its flag."""
    at: datetime
    """Event time."""
    message: str


def occurrences(stored: StoredEvent, rules: RuleBook, names: NameDirectory | None = None) -> list[Occurrence]:
    """One for each of `rules` that gives this event an alert; usually none or one."""
    document = parse_stored(stored.body)
    level, forced = EventLogLevel(document["log_level"]), document["alert"]
    if rules.by_level_only:
        matching = rules.judge_level(level, forced=forced)
    else:
        matching = rules.judge(Event.stored(document), names)
    if not matching:
        return []
    about = ParsedSubject(document)
    at = datetime.fromisoformat(document["event_timestamp"])
    event_id = document["event_id"]
    return [
        Occurrence(topic(rule, about), stored.seq, stored.first_seq, event_id, level, forced, at, about.message)
        for rule in matching
    ]


class ParsedSubject:
    """What `Event.stored(document)` is about, without that event."""

    __slots__ = ("_data", "_source", "kind", "message")

    def __init__(self, document: Mapping[str, Any]) -> None:
        data = document["event_data"]
        if encode_queryable(data) is None:
            data = queryable(data)
        self._data, self._source = data, stored_source(document["source"])
        self.kind = subject.kind_of(document["event_type"], data)
        self.message = subject.message_of(self.kind, data)

    @property
    def name(self) -> str | None:
        """As `Event.name`."""
        return subject.name_of(self._source.said, self._data)

    @property
    def ids(self) -> Mapping[str, str]:
        """As `Event.ids`."""
        return subject.ids_of(self._source.said, self._data)

    def source_value(self, key: str) -> str | None:
        """As `Event.source_value`."""
        return self._source.value(key)
