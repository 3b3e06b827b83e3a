"""Many events counted in one step leave the same alerts as the same events one after another."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from madsci_event_server.alerts import life
from madsci_event_server.alerts.config import parse_rules
from madsci_event_server.alerts.occurrence import Occurrence
from madsci_event_server.alerts.rules import RuleBook, Topic
from madsci_event_server.alerts.tally import Tally
from madsci_event_server.definition.email_settings import EmailAlertsConfig, parse_email_alerts
from madsci_event_server.event import EventLogLevel
from madsci_event_server.storage.alert_base import Alert, AlertState, Signed, Told
from tests.alerts.bench import ADA, BOB
from tests.factories import NOON

Counted = set[tuple[int, str]]

TOPICS = tuple(Topic(rule, "node_error", "arm", pattern) for rule in ("arm", "alert_level") for pattern in "abc")
NOW = NOON + timedelta(hours=1)
RULES = RuleBook(
    EventLogLevel.ERROR, parse_rules([{"name": "arm", "query": {"search": "arm"}, "recipients": [ADA, BOB]}]), [ADA]
)

_levels = st.sampled_from((EventLogLevel.INFO, EventLogLevel.ERROR, EventLogLevel.CRITICAL))
_moments = st.integers(0, 7200).map(lambda seconds: NOW - timedelta(seconds=seconds))
_signed = st.builds(Signed, by=st.just("ada"), at=_moments)


def an_occurrence(seq: int, topic: Topic, **fields: Any) -> Occurrence:
    told = {"first_seq": seq, "level": EventLogLevel.ERROR, "forced": False} | fields
    return Occurrence(
        topic=topic, seq=seq, event_id=f"e{seq}", at=NOON + timedelta(seconds=seq), message=f"tip {seq}", **told
    )


@st.composite
def batches(draw: st.DrawFn) -> list[Occurrence]:
    """Some of the events are raised ones: of the batch, or of before it."""
    found = []
    for seq in range(10, 10 + draw(st.integers(1, 20))):
        event = {
            "first_seq": draw(st.just(seq) | st.integers(1, seq)),
            "level": draw(_levels),
            "forced": draw(st.booleans()),
        }
        topics = draw(st.lists(st.sampled_from(TOPICS), min_size=1, max_size=2, unique_by=lambda topic: topic.rule))
        found += [an_occurrence(seq, topic, **event) for topic in topics]
    return found


@st.composite
def known_alerts(draw: st.DrawFn) -> dict[str, Alert]:
    """Some of the topics' alerts, wherever they are in their lives."""
    found = {}
    for topic in draw(st.sets(st.sampled_from((*TOPICS, TOPICS[0].at_large)))):
        first = an_occurrence(draw(st.integers(1, 12)), topic, level=draw(_levels), forced=draw(st.booleans()))
        alert = life.opened(first, draw(_moments), store_id="s", group_wait=timedelta())
        count = draw(st.integers(1, 4))
        told = st.builds(
            Told, thread=st.just("<1>"), count=st.integers(0, count), level=_levels, forced=st.booleans(), at=_moments
        )
        change = {
            "count": count,
            "due_at": draw(st.none() | _moments | _moments.map(lambda moment: moment + timedelta(hours=3))),
            "silenced_by": draw(st.sampled_from((None, "silence"))),
            "told": draw(st.dictionaries(st.sampled_from((ADA, BOB)), told)),
        }
        alert = alert.model_copy(update=change)
        found[topic.key] = life.acknowledged(alert, draw(_signed)) if draw(st.booleans()) else alert
    return found


_timings = st.builds(
    lambda wait, digest, repeat: parse_email_alerts(
        {"group_wait_seconds": wait, "digest_minutes": digest, "repeat_hours": repeat}
    ),
    st.sampled_from((0, 10, 600)),
    st.sampled_from((1, 5, 1440)),
    st.sampled_from((0.25, 4)),
)


def counted_together(
    batch: Sequence[Occurrence],
    known: dict[str, Alert],
    before: Counted,
    room: int,
    timing: EmailAlertsConfig = parse_email_alerts({}),  # noqa: B008 - it is frozen
) -> tuple[dict[str, Alert], Counted]:
    tally = Tally(known, counted=before, room=room, store_id="s", rules=RULES, timing=timing, now=NOW)
    for occurrence in batch:
        tally.count(occurrence)
    return known | {alert.key: alert for alert in tally.changed()}, before | tally.counted


def counted_by_one(
    occurrence: Occurrence, known: dict[str, Alert], before: Counted, room: int, timing: EmailAlertsConfig
) -> tuple[dict[str, Alert], Counted]:
    """What one event makes of the alerts: the rule, step by step."""
    topic = occurrence.topic
    if topic.key not in known and room <= 0:
        topic = topic.at_large
    alert = known.get(topic.key)
    if alert is None:
        alert = life.opened(
            occurrence._replace(topic=topic), NOW, store_id="s", group_wait=timedelta(seconds=timing.group_wait_seconds)
        )
    elif occurrence.seq <= alert.last_seq:
        return known, before
    else:
        again = (occurrence.first_seq, alert.alert_id) in before
        alert = with_one_more(alert, occurrence, timing, again=again)
    return known | {topic.key: alert}, before | {(occurrence.first_seq, alert.alert_id)}


def with_one_more(alert: Alert, occurrence: Occurrence, timing: EmailAlertsConfig, *, again: bool) -> Alert:
    worse = occurrence.level > alert.level or (occurrence.forced and not alert.forced)
    change: dict[str, Any] = {
        "message": occurrence.message,
        "level": max(alert.level, occurrence.level),
        "forced": alert.forced or occurrence.forced,
        "count": alert.count if again else alert.count + 1,
        "updated_at": NOW,
        "last_event_id": occurrence.event_id,
        "last_event_at": occurrence.at,
        "last_seq": occurrence.seq,
    }
    if alert.state == AlertState.ACKNOWLEDGED and not worse:
        return alert.model_copy(update=change | {"due_at": NOW + life.QUIET_AFTER_ACKNOWLEDGED})
    after = alert.model_copy(update=change | {"state": AlertState.OPEN, "acknowledged": None})
    if alert.silenced_by is not None and not worse:
        return after
    dues = [life.next_look(after, RULES.recipients(alert.rule), timing), alert.due_at]
    due_at = min((due for due in dues if due is not None), default=None)
    return after.model_copy(update={"due_at": due_at, "silenced_by": None})


@given(batches(), known_alerts(), st.data(), st.integers(0, 4), _timings)
def test_a_batch_is_counted_as_its_events_one_by_one(
    batch: list[Occurrence], known: dict[str, Alert], data: st.DataObject, room: int, timing: EmailAlertsConfig
) -> None:
    alert_ids = [alert.alert_id for alert in known.values()]
    before = data.draw(st.sets(st.tuples(st.integers(1, 20), st.sampled_from(alert_ids)))) if alert_ids else set()

    alerts, counted = known, before
    for occurrence in batch:
        alerts, counted = counted_by_one(occurrence, alerts, counted, room - len(alerts) + len(known), timing)

    assert counted_together(batch, known, before, room, timing) == (alerts, counted)


def test_the_latest_of_many_is_what_the_alert_shows() -> None:
    batch = [an_occurrence(seq, TOPICS[0]) for seq in range(1, 1001)]
    alerts, counted = counted_together(batch, {}, set(), 1)

    [alert] = alerts.values()
    assert (alert.count, alert.message, alert.last_seq) == (1000, "tip 1000", 1000)
    assert (alert.first_event_id, alert.last_event_id) == ("e1", "e1000")
    assert counted == {(seq, alert.alert_id) for seq in range(1, 1001)}


def test_one_worse_event_among_many_is_what_the_alert_is_due_for() -> None:
    batch = [
        an_occurrence(seq, TOPICS[0], level=EventLogLevel.CRITICAL if seq == 500 else EventLogLevel.ERROR)
        for seq in range(2, 1001)
    ]
    opened = life.opened(an_occurrence(1, TOPICS[0]), NOON, store_id="s", group_wait=timedelta())
    told = {name: Told(thread="<1>", count=1, level=EventLogLevel.ERROR, forced=False, at=NOW) for name in (ADA, BOB)}
    known = life.acknowledged(opened.model_copy(update={"told": told}), Signed(by="ada", at=NOON))
    alerts, _ = counted_together(batch, {known.key: known}, set(), 1)

    alert = alerts[known.key]
    assert (alert.count, alert.level, alert.state) == (1000, EventLogLevel.CRITICAL, AlertState.OPEN)
    assert alert.due_at == NOW + timedelta(seconds=10)


def test_what_a_crash_left_counted_is_not_counted_again() -> None:
    batch = [an_occurrence(seq, TOPICS[0]) for seq in range(1, 11)]
    before, counted = counted_together(batch[:6], {}, set(), 1)
    alerts, _ = counted_together(batch, before, counted, 0)

    assert [alert.count for alert in alerts.values()] == [10]


def test_without_room_the_other_messages_of_a_kind_and_source_share_an_alert() -> None:
    batch = [an_occurrence(seq, TOPICS[seq % 3]) for seq in range(9)]
    alerts, _ = counted_together(batch, {}, set(), 1)

    assert {alert.pattern: alert.count for alert in alerts.values()} == {"a": 3, "(other messages)": 6}
