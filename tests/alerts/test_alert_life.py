"""From the event to the mail, and from the mail to the end of the alert."""

import asyncio
from datetime import timedelta

import pytest

from madsci_event_server.alerts.alerting import Alerting
from madsci_event_server.alerts.reader import AlertReader, CommittedAfter
from madsci_event_server.alerts.rules import RuleBook
from madsci_event_server.errors import InvalidInput, InvalidQuery, NotFound
from madsci_event_server.event import EventLogLevel
from madsci_event_server.ingest import Commits
from madsci_event_server.storage.alert_base import AlertState
from madsci_event_server.storage.base import EventStore, StoredEvent
from tests.alerts.bench import ADA, BOB, Bench, a_bench, a_config
from tests.alerts.smtp_servers import Post
from tests.factories import NODES, NOON, an_event

WORDS = ("tip", "arm", "door", "lamp", "pump", "valve", "plate")


def a_reader(store: EventStore, committed_after: CommittedAfter) -> AlertReader:
    timing = a_config().email
    assert timing is not None
    return AlertReader(store, store.alert_store(), RuleBook(EventLogLevel.ERROR, [], []), timing, committed_after)


async def test_a_new_alert_is_mailed_after_the_group_wait(bench: Bench, post: Post) -> None:
    await bench.log("Tip lost", node_name="liquidhandler_1")
    await bench.wait(seconds=9)
    assert post.taken == []
    await bench.wait(seconds=1)

    assert post.subjects == ["[lab] ERROR liquidhandler_1: Tip lost"]
    assert post.recipients == [ADA]


async def test_alerts_of_the_same_moment_share_one_mail(bench: Bench, post: Post) -> None:
    await bench.log("Tip lost")
    await bench.wait(seconds=5)
    await bench.log("Arm stuck", level="critical")
    await bench.wait(seconds=10)

    assert post.subjects == ["[lab] CRITICAL Arm stuck and 1 more alert"]


async def test_events_that_differ_in_numbers_and_ids_are_one_alert(bench: Bench, post: Post) -> None:
    await bench.log(f"Tip 7 of 96 lost in {NODES[0]}")
    await bench.log(f"Tip 8 of 96 lost in {NODES[1]}")
    await bench.wait(seconds=10)

    assert (await bench.alert()).count == 2
    assert post.subjects == [f"[lab] ERROR Tip 8 of 96 lost in {NODES[1]} (x2)"]


async def test_what_goes_on_is_told_in_digests(bench: Bench, post: Post) -> None:
    for _ in range(20):
        await bench.log("Tip lost")
        await bench.wait(minutes=1)

    assert post.subjects == [
        "[lab] ERROR Tip lost",
        "[lab] ERROR Tip lost (x6)",
        "[lab] ERROR Tip lost (x11)",
        "[lab] ERROR Tip lost (x16)",
    ]


async def test_a_lone_event_is_repeated_every_four_hours_until_acknowledged(bench: Bench, post: Post) -> None:
    await bench.log()
    await bench.wait(hours=9)
    assert len(post.taken) == 3

    await bench.alerting.acknowledge((await bench.alert()).alert_id, "ada", "on my way")
    await bench.wait(hours=12)

    assert len(post.taken) == 3


async def test_what_is_acknowledged_is_counted_and_not_mailed(bench: Bench, post: Post) -> None:
    await bench.log()
    await bench.wait(minutes=1)
    await bench.alerting.acknowledge((await bench.alert()).alert_id, "ada")
    await bench.log()
    await bench.wait(hours=1)

    assert (await bench.alert()).count == 2
    assert len(post.taken) == 1


async def test_what_becomes_worse_takes_the_acknowledgement_away(bench: Bench, post: Post) -> None:
    await bench.log("Tip lost")
    await bench.wait(minutes=1)
    await bench.alerting.acknowledge((await bench.alert()).alert_id, "ada")
    await bench.log("Tip lost", level="critical")
    await bench.wait(seconds=1)

    assert (await bench.alert()).state == AlertState.OPEN
    assert post.subjects[1:] == ["[lab] CRITICAL Tip lost (x2)"]


async def test_an_acknowledged_alert_quiet_for_a_day_is_over(bench: Bench, post: Post) -> None:
    await bench.log()
    await bench.wait(minutes=1)
    await bench.alerting.acknowledge((await bench.alert()).alert_id, "ada")
    await bench.wait(hours=25)
    await bench.log()
    await bench.wait(minutes=1)

    assert [alert.state for alert in await bench.alerts()] == [AlertState.OPEN, AlertState.RESOLVED]
    assert [subject.split()[1] for subject in post.subjects] == ["ERROR", "RESOLVED", "ERROR"]


async def test_the_resolved_mail_is_in_the_thread_of_the_first(bench: Bench, post: Post) -> None:
    await bench.log()
    await bench.wait(minutes=1)
    await bench.alerting.resolve((await bench.alert()).alert_id, "ada", "changed the tip rack")
    await bench.wait(seconds=1)

    first, last = post.mails
    assert last["Subject"] == "[lab] RESOLVED Tip lost"
    assert last["In-Reply-To"] == first["Message-ID"]
    assert first["Message-ID"] in last["References"]
    assert last["Message-ID"] != first["Message-ID"]
    assert "Resolved by ada" in last.get_content()
    assert "changed the tip rack" in last.get_content()


async def test_after_resolving_the_same_event_is_news(bench: Bench, post: Post) -> None:
    await bench.log()
    await bench.wait(minutes=1)
    await bench.alerting.resolve((await bench.alert()).alert_id, "ada")
    await bench.wait(minutes=1)
    await bench.log()
    await bench.wait(minutes=1)

    assert [alert.count for alert in await bench.alerts()] == [1, 1]
    assert post.subjects == ["[lab] ERROR Tip lost", "[lab] RESOLVED Tip lost", "[lab] ERROR Tip lost"]


async def test_nothing_is_left_to_acknowledge_once_resolved(bench: Bench) -> None:
    await bench.log()
    await bench.step()
    alert_id = (await bench.alert()).alert_id
    await bench.alerting.resolve(alert_id, "ada")

    with pytest.raises(InvalidInput, match="resolved already"):
        await bench.alerting.acknowledge(alert_id, "bob")


async def test_an_alert_is_found_by_the_beginning_of_its_id(bench: Bench) -> None:
    await bench.log()
    await bench.step()
    alert = await bench.alert()

    assert await bench.alerting.alert(alert.alert_id[:4].upper()) == alert
    with pytest.raises(NotFound, match="no alert 'zzzz'"):
        await bench.alerting.alert("zzzz")


@pytest.mark.parametrize(
    ("level", "alert", "mailed"),
    [("warning", False, False), ("error", False, True), ("critical", False, True), ("debug", True, True)],
)
async def test_level_or_flag_makes_an_alert(bench: Bench, post: Post, level: str, alert: bool, mailed: bool) -> None:
    await bench.log(level=level, alert=alert)
    await bench.wait(minutes=1)

    assert bool(post.taken) is mailed


async def test_a_duplicate_is_not_counted_again(bench: Bench, post: Post) -> None:
    event = await bench.log()
    await bench.wait(minutes=1)
    await bench.events.append([event])
    await bench.wait(minutes=10)

    assert (await bench.alert()).count == 1
    assert len(post.taken) == 1


async def test_an_event_raised_later_is_mailed(bench: Bench, post: Post) -> None:
    event = await bench.log(level="warning")
    await bench.wait(minutes=1)
    await bench.events.append([event.changed(alert=True)])
    await bench.wait(minutes=1)

    assert (await bench.alert()).count == 1
    assert len(post.taken) == 1


async def test_an_event_raised_after_it_was_counted_is_told_and_not_counted_again(bench: Bench, post: Post) -> None:
    event = await bench.log()
    await bench.wait(minutes=1)
    await bench.events.append([event.changed(log_level=50)])
    await bench.wait(minutes=1)

    assert (await bench.alert()).count == 1
    assert post.subjects == ["[lab] ERROR Tip lost", "[lab] CRITICAL Tip lost"]


async def test_an_event_raised_before_it_was_counted_is_counted_once(bench: Bench) -> None:
    """In memory it stands as it was stored and as it was raised."""
    event = an_event(at=bench.now, level="error")
    commits = [await bench.events.append([event.changed(log_level=level)]) for level in (40, 50)]
    stored = [appended.stored for [appended] in commits]
    bench.committed_after = lambda seq: [item for item in stored if item.seq > seq]
    await bench.restart()
    await bench.step()

    assert ((await bench.alert()).count, (await bench.alert()).level) == (1, 50)


async def test_the_first_start_alarms_nobody_about_history(store: EventStore, post: Post) -> None:
    await store.append([an_event("long ago", level="critical")])
    async with a_bench(store, post) as bench:
        await bench.wait(minutes=1)
        await bench.log("today")
        await bench.wait(minutes=1)

    assert post.subjects == ["[lab] ERROR today"]


async def test_a_later_start_goes_on_where_it_was(store: EventStore, post: Post) -> None:
    async with a_bench(store, post) as bench:
        await bench.log("counted")
        await bench.step()
        await bench.log("stored, and not yet read")
        await bench.restart(port=post.port)
        await bench.wait(minutes=1)

    assert [alert.count for alert in await bench.alerts()] == [1, 1]


async def test_a_rule_has_its_own_recipients_and_guidance(store: EventStore, post: Post) -> None:
    rule = {
        "name": "arm",
        "query": {"node": "robotarm_1", "level": "warning"},
        "recipients": [BOB],
        "guidance": "Press the red button.\nCall Bob, 555-17.",
    }
    async with a_bench(store, post, rules=[rule]) as bench:
        await bench.log("Arm slow", level="warning", node_name="robotarm_1")
        await bench.wait(minutes=1)

    assert post.recipients == [BOB]
    assert "  Press the red button.\n  Call Bob, 555-17.\n" in post.mails[0].get_content().replace("\r\n", "\n")


async def test_without_recipients_alerts_are_kept_and_told_once_somebody_is_named(
    store: EventStore, post: Post
) -> None:
    async with a_bench(store, post, email_addresses=[]) as bench:
        await bench.log()
        await bench.wait(hours=1)
        assert (await bench.alert()).count == 1
        await bench.restart(port=post.port)
        await bench.wait(seconds=1)

    assert post.subjects == ["[lab] ERROR Tip lost"]


async def test_a_silence_keeps_mail_back_and_its_end_tells_what_is_still_open(bench: Bench, post: Post) -> None:
    until = bench.now + timedelta(hours=2)
    await bench.alerting.silence({"node": "arm"}, expires_at=until, reason="calibration", author="ada")
    await bench.log("Arm stuck", node_name="arm")
    await bench.log("Tip lost", node_name="pipette")
    await bench.wait(hours=1)
    assert post.subjects == ["[lab] ERROR pipette: Tip lost"]
    await bench.log("Arm stuck", node_name="arm")
    await bench.wait(hours=1, seconds=1)

    assert post.subjects[1:] == ["[lab] ERROR arm: Arm stuck (x2)"]


async def test_a_silence_ended_early_tells_at_once(bench: Bench, post: Post) -> None:
    silence = await bench.alerting.silence(
        {"rule": "alert_level"}, expires_at=bench.now + timedelta(hours=2), reason="cleaning", author="ada"
    )
    await bench.log()
    await bench.wait(minutes=1)
    assert post.taken == []
    await bench.alerting.end_silence(silence.silence_id)
    await bench.wait(seconds=1)

    assert len(post.taken) == 1


async def test_a_silence_of_less_lets_worse_through(bench: Bench, post: Post) -> None:
    await bench.alerting.silence(
        {"log_level": "error"}, expires_at=bench.now + timedelta(hours=2), reason="known", author="ada"
    )
    await bench.log()
    await bench.wait(minutes=1)
    await bench.log(level="critical")
    await bench.wait(minutes=1)

    assert post.subjects == ["[lab] CRITICAL Tip lost (x2)"]


@pytest.mark.parametrize(
    ("matcher", "hours", "reason", "problem"),
    [
        ({}, 1, "r", "whole lab"),
        ({"nod": "arm"}, 1, "r", "did you mean node"),
        ({"limit": 3}, 1, "r", "no meaning in a silence"),
        ({"rule": "x"}, 0, "r", "in the future"),
        ({"rule": "x"}, 24 * 31, "r", "30 days"),
        ({"rule": "x"}, 1, "  ", "is empty"),
    ],
)
async def test_a_silence_needs_a_matcher_an_end_and_a_reason(
    bench: Bench, matcher: dict[str, object], hours: int, reason: str, problem: str
) -> None:
    with pytest.raises((InvalidInput, InvalidQuery), match=problem):
        await bench.alerting.silence(
            matcher, expires_at=bench.now + timedelta(hours=hours), reason=reason, author="ada"
        )


async def test_an_old_alert_taken_on_is_not_over_at_once(bench: Bench, post: Post) -> None:
    await bench.log()
    await bench.wait(hours=30)
    await bench.alerting.acknowledge((await bench.alert()).alert_id, "ada")
    await bench.wait(hours=1)

    assert (await bench.alert()).state == AlertState.ACKNOWLEDGED


async def test_a_silenced_alert_that_was_told_is_told_to_be_resolved(bench: Bench, post: Post) -> None:
    await bench.log()
    await bench.wait(minutes=1)
    until = bench.now + timedelta(hours=2)
    await bench.alerting.silence({"rule": "alert_level"}, expires_at=until, reason="known", author="ada")
    await bench.log()
    await bench.wait(minutes=10)
    assert (await bench.alert()).silenced_by is not None
    await bench.alerting.resolve((await bench.alert()).alert_id, "ada")
    await bench.wait(seconds=1)

    assert post.subjects == ["[lab] ERROR Tip lost", "[lab] RESOLVED Tip lost (x2)"]
    assert (await bench.alert()).due_at is None


@pytest.mark.parametrize(("level", "gulps"), [("info", [2500, 0]), ("error", [1000, 1000, 500, 0])])
async def test_what_is_in_memory_is_read_at_once_but_for_a_flood_of_errors(
    store: EventStore, level: str, gulps: list[int]
) -> None:
    committed: list[StoredEvent] = []
    reader = a_reader(store, lambda seq: [stored for stored in committed if stored.seq > seq] or None)
    await reader.open()
    sent = [an_event("Tip lost", id=f"e{number}", level=level) for number in range(2500)]
    committed += [one.stored for one in await store.append(sent)]

    assert [await reader.take(NOON) for _ in gulps] == gulps

    counts = [alert.count for alert in await store.alert_store().alerts(tuple(AlertState), 10)]
    assert counts == ([2500] if level == "error" else [])


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_in_gulps_of_any_size_events_become_the_same_alerts(
    store: EventStore, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those raised between, and those beyond what may be told apart."""
    monkeypatch.setattr("madsci_event_server.alerts.reader.MAX_UNRESOLVED", 4)
    committed: list[StoredEvent] = []
    reader = a_reader(store, lambda seq: [stored for stored in committed if stored.seq > seq][:size])
    await reader.open()
    events = [an_event(WORDS[number % 7], id=f"e{number}", level="error") for number in range(40)]
    again = [event.changed(log_level=EventLogLevel.CRITICAL) for event in events[::6]]
    for part in (events[:20], again[:3], events[20:], again[3:]):
        committed += [one.stored for one in await store.append(part)]
    while await reader.take(NOON):
        pass

    found = await store.alert_store().alerts(tuple(AlertState), 10)
    assert {alert.pattern: (alert.count, int(alert.level), alert.last_event_id) for alert in found} == {
        "tip": (6, 50, "e35"),
        "arm": (6, 50, "e36"),
        "door": (6, 50, "e30"),
        "lamp": (6, 50, "e24"),
        "(other messages)": (16, 50, "e18"),
    }


async def test_alerts_that_exist_are_counted_when_no_more_may_be_told_apart(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("madsci_event_server.alerts.reader.MAX_UNRESOLVED", 1)
    committed: list[StoredEvent] = []
    reader = a_reader(store, lambda seq: [stored for stored in committed if stored.seq > seq])
    await reader.open()
    for words in (["tip"], ["tip"], ["tip", "arm"], ["arm", "door"]):
        committed += [one.stored for one in await store.append([an_event(word, level="error") for word in words])]
        await reader.take(NOON)

    found = await store.alert_store().alerts(tuple(AlertState), 10)
    assert {alert.pattern: alert.count for alert in found} == {"tip": 3, "(other messages)": 3}


async def test_a_burst_is_read_before_the_pause_is_over(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("madsci_event_server.alerts.alerting.READ_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr("madsci_event_server.alerts.alerting.READ_EVENTS", 10)
    commits = Commits()
    async with Alerting(store, store.alert_store(), a_config(), commits.wait_past) as alerting:
        for count in (11, 22):  # the second come while it pauses
            burst = await store.append([an_event("Tip lost", level="error") for _ in range(11)])
            commits.publish([one.stored for one in burst])
            while [alert.count for alert in await alerting.alerts()] != [count]:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
