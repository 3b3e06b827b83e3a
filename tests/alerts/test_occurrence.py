"""What alerting reads from stored bytes is what the event made of them says."""

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from madsci_event_server.alerts.config import parse_rules
from madsci_event_server.alerts.occurrence import Occurrence, occurrences
from madsci_event_server.alerts.rules import RuleBook, mask, source_of, topic
from madsci_event_server.event import Event, EventLogLevel, time_to_us
from madsci_event_server.json_text import parse_stored
from madsci_event_server.storage.base import StoredEvent
from tests.factories import NODES, an_event, events

ARM = {"name": "arm", "query": {"node": ["arm", NODES[0]]}}
TIP = {"name": "tip", "query": {"search": "tip", "level": "info"}}


def stored(event: Event, seq: int = 7, first_seq: int = 3) -> StoredEvent:
    return StoredEvent(seq, first_seq, time_to_us(event.event_timestamp), event.event_type, event.encode())


def from_the_event(found: StoredEvent, rules: RuleBook) -> list[Occurrence]:
    event = found.event
    return [
        Occurrence(
            topic(rule, event),
            found.seq,
            found.first_seq,
            event.event_id,
            event.log_level,
            event.alert,
            event.event_timestamp,
            event.message,
        )
        for rule in rules.judge(event)
    ]


@hypothesis.given(events(), st.sampled_from(EventLogLevel), st.sampled_from(([], [ARM], [ARM, TIP])))
def test_it_says_of_any_event_what_the_event_says(
    event: Event, level: EventLogLevel, rules: list[dict[str, Any]]
) -> None:
    book = RuleBook(level, parse_rules(rules), [])

    assert occurrences(stored(event), book) == from_the_event(stored(event), book)


@pytest.mark.parametrize("level", list(EventLogLevel))
@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("alert_level", list(EventLogLevel))
def test_level_and_flag_decide_as_the_rule_does(level: EventLogLevel, flag: bool, alert_level: EventLogLevel) -> None:
    event = an_event("x", level=level, alert=flag)
    found = occurrences(stored(event), RuleBook(alert_level, [], []))

    assert [one.topic.rule for one in found] == (["alert_level"] if level >= alert_level else ["alert_flag"] * flag)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"host": "bench"}, "bench"),
        ({"host": {"rack": 4}}, '{"rack":4}'),
        ({"host": None}, ""),
        ({"host": "a\0b"}, "a␀b"),
        ({"host\0": "x"}, ""),
    ],
)
def test_an_event_without_name_or_id_is_about_its_host(source: dict[str, Any], expected: str) -> None:
    event = an_event("x", level="error", source=source)
    [found] = occurrences(stored(event), RuleBook(EventLogLevel.ERROR, [], []))

    assert found.topic.source == source_of(event) == expected


def test_a_topic_with_a_long_name_is_like_any_other() -> None:
    name = "x" * 5000
    one, other = (topic("rule", an_event("stuck", name=name)) for _ in range(2))

    assert (one, one.key, one.at_large) == (other, other.key, other.at_large)
    assert (one.source, one.pattern) == (name, mask("stuck"))
    assert one.at_large.source == name


def test_numbers_json_readers_disagree_about_are_read_as_they_were_stored() -> None:
    found = stored(an_event(level="error", volume=2**63))
    [one] = occurrences(found, RuleBook(EventLogLevel.ERROR, [], []))

    assert one.message == Event.stored(parse_stored(found.body)).message
