"""Mail that comes, whatever temper the mail server has."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from madsci_event_server.errors import InvalidInput, StoreUnavailable
from madsci_event_server.storage.alert_base import Change, MailState
from madsci_event_server.storage.alert_memory import MemoryAlertStore
from madsci_event_server.storage.base import EventStore
from madsci_event_server.storage.memory import MemoryStore
from tests.alerts.bench import ADA, BOB, EVERY_MAIL, Bench, a_bench, a_config
from tests.alerts.smtp_servers import AUTHORITY, PASSWORD, USERNAME, Post, a_mail_server, a_silent_server
from tests.factories import an_event

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


async def test_a_mail_refused_for_now_is_tried_again_and_taken(bench: Bench, post: Post) -> None:
    post.data_answer = "451 greylisted, come back"
    await bench.log()
    await bench.wait(minutes=10)
    assert await bench.mail_states() == [MailState.PENDING]
    post.data_answer = None
    await bench.wait(hours=1)

    assert post.subjects == ["[lab] ERROR Tip lost"]
    assert await bench.mail_states() == [MailState.SENT]


async def test_retries_become_rare_and_end_after_a_day_in_a_dead_letter(bench: Bench, post: Post) -> None:
    post.data_answer = "451 no"
    await bench.log()
    await bench.wait(minutes=1)
    await bench.alerting.acknowledge((await bench.alert()).alert_id, "ada")
    await bench.wait(hours=23)
    [mail] = await bench.alerting.outbox(EVERY_MAIL)
    assert mail.state == MailState.PENDING
    assert 30 < mail.attempts < 80
    await bench.wait(hours=2)

    letter = await bench.alerting.mail(mail.mail_id)
    assert letter.state == MailState.DEAD
    assert "451 no" in (letter.last_answer or "")


async def test_a_mail_refused_for_good_is_a_dead_letter_at_once(bench: Bench, post: Post) -> None:
    post.rcpt_answers = {ADA: "550 no such person"}
    await bench.log()
    await bench.wait(minutes=1)

    [mail] = await bench.alerting.outbox([MailState.DEAD])
    assert mail.attempts == 1
    assert "refused the recipient ada@lab.test (550 no such person)" in (mail.last_answer or "")
    assert (await bench.alerting.condition()).dead_letters == 1


async def test_one_recipient_refused_keeps_no_other_from_the_mail(store: EventStore, post: Post) -> None:
    post.rcpt_answers = {ADA: "550 no such person"}
    async with a_bench(store, post, email_addresses=[ADA, BOB]) as bench:
        await bench.log()
        await bench.wait(minutes=1)

    assert post.recipients == [BOB]
    assert sorted(await bench.mail_states()) == [MailState.DEAD, MailState.SENT]


async def test_a_batch_is_one_session(store: EventStore, post: Post) -> None:
    everybody = [f"person{number}@lab.test" for number in range(20)]
    async with a_bench(store, post, email_addresses=everybody) as bench:
        await bench.log()
        await bench.wait(minutes=1)

    assert post.recipients == everybody
    assert post.sessions == 1


async def test_a_connection_lost_in_the_middle_of_a_mail_repeats_it_with_the_same_id(store: EventStore) -> None:
    async with a_mail_server() as post, a_bench(store, post, email_addresses=[ADA, BOB]) as bench:
        post.drops = 1
        await bench.log()
        await bench.wait(seconds=10)
        written = {mail.message_id for mail in await bench.alerting.outbox(EVERY_MAIL)}
        assert post.recipients == [BOB]  # the other mail is not held up by it
        await bench.wait(minutes=1)

    assert post.recipients == [BOB, ADA]
    assert {mail["Message-ID"] for mail in post.mails} == written


async def test_a_dead_mail_server_costs_no_alert(store: EventStore, post: Post) -> None:
    async with a_bench(store) as bench:  # nothing listens there
        for number in range(30):
            await bench.log(f"Tip lost in rack {'abcdefghijklmnopqrstuvwxyz1234'[number] * 3}")
            await bench.wait(minutes=2)
        assert len(await bench.alerting.outbox(EVERY_MAIL)) == 1
        assert "connection refused" in ((await bench.alerting.condition()).last_failure or "")
        await bench.restart(port=post.port)
        await bench.wait(hours=1)

    assert len(post.mails) == 2  # the first alert, then all that came meanwhile
    assert {told for alert in await bench.alerts() for told in alert.told} == {ADA}


async def test_a_mail_server_that_never_answers_holds_up_nothing_else(store: EventStore) -> None:
    async with a_silent_server() as port, a_bench(store, smtp_port=port, timeout_seconds=0.05) as bench:
        await bench.log()
        await bench.wait(seconds=10)

        [mail] = await bench.alerting.outbox(EVERY_MAIL)
        assert mail.state == MailState.PENDING
        assert "did not answer within 0.05 s" in (mail.last_answer or "")


async def test_events_are_counted_while_a_mail_hangs(bench: Bench, post: Post) -> None:
    post.hang = asyncio.Event()
    await bench.log()
    await bench.alerting.watch()
    bench.now += timedelta(seconds=10)
    await bench.alerting.watch()
    sending = asyncio.create_task(bench.alerting.post())
    await post.handed_over.wait()
    await bench.log()
    await bench.alerting.watch()

    assert (await bench.alert()).count == 2
    assert not sending.done()
    post.hang.set()
    await sending


async def test_starttls_with_a_known_authority_and_login(store: EventStore) -> None:
    options = {"use_tls": True, "ca_file": str(AUTHORITY), "smtp_username": USERNAME, "smtp_password": PASSWORD}
    async with (
        a_mail_server(starttls=True, login=True) as post,
        a_bench(store, post, **options) as bench,
    ):
        await bench.log()
        await bench.wait(seconds=10)

    assert len(post.taken) == 1


async def test_tls_from_the_first_byte(store: EventStore) -> None:
    options = {"use_tls": True, "encryption": "implicit", "ca_file": str(AUTHORITY)}
    async with a_mail_server(implicit_tls=True) as post, a_bench(store, post, **options) as bench:
        await bench.log()
        await bench.wait(seconds=10)

    assert len(post.taken) == 1


@pytest.mark.parametrize(
    ("server", "options", "problem"),
    [
        ({"starttls": True}, {"use_tls": True}, "certificate .* cannot be trusted: "),
        ({}, {"use_tls": True}, "offers no STARTTLS"),
        ({}, {"use_tls": True, "encryption": "implicit"}, "does not speak TLS|closed the connection"),
        ({"login": True}, {}, "refused the sender .*530"),
        ({"login": True}, {"smtp_username": USERNAME, "smtp_password": "wrong"}, f"refused the login as {USERNAME}"),
        ({}, {"smtp_username": USERNAME, "smtp_password": PASSWORD}, "takes no login"),
        ({}, {"ca_file": "/nowhere.pem", "use_tls": True}, "certificates in /nowhere.pem cannot be read"),
        ({}, {"smtp_server": "no-such-host.invalid"}, "name no-such-host.invalid was not found"),
    ],
)
async def test_what_is_wrong_is_said_in_words_and_no_mail_leaves(
    store: EventStore, server: dict[str, bool], options: dict[str, str | bool], problem: str
) -> None:
    async with a_mail_server(**server) as post, a_bench(store, post, **options) as bench:
        await bench.log()
        await bench.wait(seconds=10)

    [mail] = await bench.alerting.outbox(EVERY_MAIL)
    assert re.search(problem, mail.last_answer or "")
    assert "wrong" not in (mail.last_answer or "")
    assert post.taken == []


async def test_a_pending_mail_can_be_cancelled_and_taken_up_again(bench: Bench, post: Post) -> None:
    post.data_answer = "451 not now"
    await bench.log()
    await bench.wait(seconds=10)
    [mail] = await bench.alerting.outbox([MailState.PENDING])
    await bench.alerting.cancel_mail(mail.mail_id[:6])
    post.data_answer = None
    await bench.wait(hours=1)
    assert post.taken == []
    await bench.alerting.retry_mail(mail.mail_id)
    await bench.wait(seconds=1)

    assert post.mails[0]["Message-ID"] == mail.message_id


async def test_what_was_sent_can_neither_be_cancelled_nor_sent_again(bench: Bench) -> None:
    await bench.log()
    await bench.wait(seconds=10)
    [mail] = await bench.alerting.outbox([MailState.SENT])

    with pytest.raises(InvalidInput, match="only a pending one"):
        await bench.alerting.cancel_mail(mail.mail_id)
    with pytest.raises(InvalidInput, match="taken by the mail server already"):
        await bench.alerting.retry_mail(mail.mail_id)


async def test_a_dead_letter_tried_again_has_another_day(bench: Bench, post: Post) -> None:
    post.rcpt_answers = {ADA: "550 no such person"}
    await bench.log()
    await bench.wait(hours=30)
    letter = (await bench.alerting.outbox([MailState.DEAD]))[-1]
    post.rcpt_answers = {ADA: "451 busy"}
    await bench.alerting.retry_mail(letter.mail_id)
    await bench.wait(minutes=1)
    post.rcpt_answers = {}
    await bench.wait(minutes=10)

    assert (await bench.alerting.mail(letter.mail_id)).state == MailState.SENT


class _FullStore(MemoryAlertStore):
    """Reads, and cannot write for a while, as SQLite on a full disk."""

    full = False

    async def apply(self, change: Change) -> None:
        if self.full:
            raise StoreUnavailable("no room left on its disk")
        await super().apply(change)


async def test_a_mail_taken_while_the_disk_is_full_is_not_sent_again_and_again(post: Post) -> None:
    alerts = _FullStore()
    async with MemoryStore() as events:
        bench = Bench(events, a_config(post.port), alerts=alerts)
        await bench.alerting.open()
        await bench.log()
        await bench.alerting.watch()
        bench.now += timedelta(seconds=10)
        await bench.alerting.watch()
        alerts.full = True
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await bench.alerting.post()
            bench.now += timedelta(minutes=1)
        alerts.full = False
        await bench.wait(minutes=10)

    assert len(post.taken) == 1
    assert await bench.mail_states() == [MailState.SENT]


async def test_events_read_while_the_disk_is_full_are_counted_afterwards(post: Post) -> None:
    alerts = _FullStore()
    async with MemoryStore() as events:
        bench = Bench(events, a_config(post.port), alerts=alerts)
        await bench.alerting.open()
        alerts.full = True
        await bench.log()
        with pytest.raises(StoreUnavailable):
            await bench.alerting.watch()
        alerts.full = False
        await bench.wait(minutes=1)

    assert post.subjects == ["[lab] ERROR Tip lost"]


async def test_a_mail_turned_down_for_now_holds_others_back_for_half_an_hour_at_most(bench: Bench, post: Post) -> None:
    post.data_answer = "451 looks like spam"
    await bench.log("Tip lost")
    await bench.wait(seconds=30)
    await bench.log("Arm stuck")
    await bench.wait(minutes=20)
    assert len(await bench.alerting.outbox(EVERY_MAIL)) == 1
    await bench.wait(minutes=11)

    assert {mail.subject for mail in await bench.alerting.outbox(EVERY_MAIL)} == {
        "[lab] ERROR Tip lost",
        "[lab] ERROR Arm stuck",
    }


@pytest.mark.parametrize(("answer", "state"), [("554 spam", MailState.DEAD), ("452 full", MailState.PENDING)])
async def test_a_mail_is_judged_by_its_answer(bench: Bench, post: Post, answer: str, state: MailState) -> None:
    post.data_answer = answer
    await bench.log()
    await bench.wait(seconds=10)

    assert await bench.mail_states() == [state]


@pytest.mark.parametrize(("zone", "edge"), [("America/Chicago", FIRST), ("Asia/Tokyo", LAST)])
async def test_a_time_at_the_edge_of_the_calendar_keeps_no_mail_back(
    store: EventStore, post: Post, zone: str, edge: datetime
) -> None:
    """The unset time of some languages is the first instant there is: in the lab's zone it would be before that."""
    async with a_bench(store, post) as bench:
        bench.config = replace(bench.config, zone=ZoneInfo(zone))
        await bench.restart()
        lost = an_event("Clock lost", at=edge, level="error")
        await bench.events.append([lost])
        await bench.wait(minutes=1)

        assert post.subjects == ["[lab] ERROR Clock lost"]
        explanation = await bench.alerting.explain(lost.event_id)
    assert any("was counted in alert" in sentence for sentence in explanation.sentences)
