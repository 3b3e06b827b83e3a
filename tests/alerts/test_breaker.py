"""However much goes wrong, people get few mails, and the numbers in them are exact."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from madsci_event_server.definition.email_settings import parse_email_alerts
from madsci_event_server.errors import InvalidSettings
from madsci_event_server.storage import open_store
from madsci_event_server.storage.base import EventStore
from tests.alerts.bench import ADA, BOB, Bench, a_bench
from tests.alerts.smtp_servers import Post
from tests.factories import an_event

WORDS = ("tip", "arm", "door", "lamp", "pump", "valve", "plate", "heater", "shaker", "reader", "lid", "belt", "fan")
NODES = ("liquidhandler_1", "robotarm_1", "platereader_1")
KINDS = ("node_error", "action_failed", "workflow_step_failed", "manager_error", "log_error")


async def _flood(bench: Bench, events: int, *, seconds: int) -> None:
    """That many errors of 5 kinds from 3 nodes, evenly over the time."""
    a_second = events // seconds
    for second in range(seconds):
        await bench.events.append(
            [
                an_event(
                    f"failed at step {number}",
                    at=bench.now,
                    level="error",
                    type=KINDS[number % 5],
                    name=NODES[number % 3],
                )
                for number in range(second * a_second, (second + 1) * a_second)
            ]
        )
        await bench.wait(seconds=1)


def _counts_told(post: Post) -> int:
    """The events told of in the last mail that tells of each alert."""
    told: dict[str, int] = {}
    for mail in post.mails:
        text = mail.get_content()
        for alert_id, count in re.findall(r"  (\w{10})  \w+: [^\n]*? \(x(\d+)\)", text):
            told[alert_id] = int(count)
        for count, alert_id in re.findall(r"^(\d+) events.*?^Alert (\w{10})", text, re.MULTILINE | re.DOTALL):
            told[alert_id] = int(count)
    return sum(told.values())


async def _assert_few_mails_with_exact_counts(store: EventStore, post: Post, events: int) -> None:
    async with a_bench(store, post, email_addresses=[ADA, BOB]) as bench:
        await _flood(bench, events, seconds=60)
        await bench.wait(hours=1)

    assert post.recipients.count(ADA) == post.recipients.count(BOB) <= 10
    assert sum(alert.count for alert in await bench.alerts()) == events
    assert _counts_told(post) == events


async def test_a_flood_is_few_mails_with_exact_counts(store: EventStore, post: Post) -> None:
    await _assert_few_mails_with_exact_counts(store, post, 6_000)


@pytest.mark.soak
async def test_a_great_flood_is_few_mails_with_exact_counts(lab: Path, post: Post) -> None:
    async with open_store("sqlite:///events.db", lab_directory=lab) as store:
        await _assert_few_mails_with_exact_counts(store, post, 99_960)


async def test_after_nine_mails_an_hour_the_tenth_says_that_there_will_be_no_more(bench: Bench, post: Post) -> None:
    for word in WORDS:
        await bench.log(f"{word} broken")
        await bench.wait(minutes=1)

    assert len(post.subjects) == 10
    assert post.subjects[-1].startswith("[lab] STORM: ")
    assert "no further alert mail until 2026-11-23 13:09:10 UTC" in post.mails[-1].get_content()


async def test_after_the_storm_one_mail_tells_all_that_came_meanwhile(bench: Bench, post: Post) -> None:
    for word in WORDS:
        await bench.log(f"{word} broken")
        await bench.wait(minutes=1)
    await bench.wait(hours=1)

    assert len(post.subjects) == 11
    assert "and 2 more alerts" in post.subjects[-1]


async def test_there_are_never_more_than_ten_mails_in_any_hour(bench: Bench, post: Post) -> None:
    times = []
    for number in range(100):
        await bench.log(f"{WORDS[number % 13]} {WORDS[number // 13]} broken")
        before = len(post.taken)
        await bench.wait(minutes=2)
        times += [bench.now] * (len(post.taken) - before)

    assert max(sum(1 for other in times if time <= other < time + timedelta(minutes=58)) for time in times) == 10


async def test_fifty_mails_an_hour_in_all_then_one_for_everybody(store: EventStore, post: Post) -> None:
    everybody = [f"person{number}@lab.test" for number in range(20)]
    async with a_bench(store, post, email_addresses=everybody) as bench:
        for word in WORDS:
            await bench.log(f"{word} broken")
            await bench.wait(minutes=1)

    assert len(post.taken) == 50
    assert post.subjects[-1].startswith("[lab] STORM: ")
    assert set(post.recipients[49:]) == set(everybody)


async def test_with_more_people_than_mails_nobody_is_left_out(store: EventStore, post: Post) -> None:
    everybody = [f"person{number}@lab.test" for number in range(60)]
    async with a_bench(store, post, email_addresses=everybody) as bench:
        await bench.log()
        await bench.wait(minutes=1)

    assert len(post.taken) == 50
    assert set(post.recipients) == set(everybody)


async def test_flagged_events_are_no_way_around_the_breaker(bench: Bench, post: Post) -> None:
    for number in range(150):
        await bench.log(f"{WORDS[number % 13]} {WORDS[number // 13]}", level="debug", alert=True)
        await bench.wait(seconds=20)

    assert len(post.taken) <= 10


async def test_messages_never_the_same_twice_do_not_fill_the_store(lab: Path, post: Post) -> None:
    async with open_store("sqlite:///events.db", lab_directory=lab) as store, a_bench(store, post) as bench:
        letters = "abcdefghijklmnopqrstuvwxy"
        many = [an_event(f"{a}{b}{c}", level="error") for a in "qwert" for b in letters for c in letters]
        await bench.events.append(many)
        await bench.step()

        alerts = await bench.alerting.alerts(limit=10_000)
        assert len(alerts) == 2001
        assert sum(alert.count for alert in alerts) == 5 * 625
        assert [alert.count for alert in alerts if alert.pattern == "(other messages)"] == [5 * 625 - 2000]


@pytest.mark.parametrize(
    ("field", "value"), [("mails_per_hour", 0), ("mails_per_hour", 10_000), ("mails_per_hour_in_all", 0)]
)
def test_the_breaker_cannot_be_switched_off(field: str, value: int) -> None:
    with pytest.raises(InvalidSettings, match=f"email_alerts.{field}"):
        parse_email_alerts({field: value})
