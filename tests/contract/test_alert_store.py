"""What every alert store promises."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from madsci_event_server.errors import Ambiguous, NotFound
from madsci_event_server.storage import open_store
from madsci_event_server.storage.alert_base import (
    Alert,
    AlertState,
    Change,
    Mail,
    MailState,
    Signed,
    Silence,
)
from madsci_event_server.storage.base import EventStore
from tests.alerts.test_mail import an_alert
from tests.factories import NOON

RESOLVED: dict[str, Any] = {"state": AlertState.RESOLVED, "resolved": Signed(by="ada", at=NOON), "due_at": None}


def a_mail(mail_id: str, *, minutes: int = 0, **fields: object) -> Mail:
    moment = NOON + timedelta(minutes=minutes)
    values: dict[str, object] = {
        "mail_id": mail_id,
        "message_id": f"<{mail_id}@lab.test>",
        "recipients": ("ada@lab.test",),
        "subject": mail_id,
        "created_at": moment,
        "next_at": moment,
        "content": b"hello",
    }
    return Mail.model_validate(values | fields)


def a_silence(silence_id: str, *, minutes: int) -> Silence:
    return Silence(
        silence_id=silence_id,
        matcher={"node": "arm", "level": "error"},
        created_at=NOON,
        expires_at=NOON + timedelta(minutes=minutes),
        reason="why",
        author="ada",
    )


def said(alert: Alert) -> dict[str, Any]:
    """All of an alert but how often it was stored."""
    return alert.model_dump()


def several(count: int) -> list[Alert]:
    return [
        an_alert(alert_id=f"a{number}", key=f"k{number}", last_seq=number, due_at=NOON + timedelta(minutes=number))
        for number in range(count)
    ]


async def test_everything_comes_back_as_it_was(store: EventStore) -> None:
    alerts = store.alert_store()
    alert, mail, silence = an_alert(), a_mail("m1", alert_ids=("7f3k2q9d1x",)), a_silence("s1", minutes=5)
    await alerts.apply(Change("r.x.1.0", [alert], {(1, alert.alert_id)}, [mail], [silence]))

    assert await alerts.position() == "r.x.1.0"
    assert said(await alerts.alert(alert.alert_id)) == said(alert)
    assert await alerts.mail("m1") == mail
    assert await alerts.silence("s1") == silence
    assert await alerts.counted([1, 2]) == {(1, alert.alert_id)}


async def test_alerts_survive_with_the_events(lab: Path) -> None:
    for opened in range(2):
        async with open_store("sqlite:///events.db", lab_directory=lab) as store:
            alerts = store.alert_store()
            if not opened:
                await alerts.apply(Change("r.x.1.0", [an_alert()], mails=[a_mail("m1")]))

            assert (await alerts.alert("7f3k2q9d1x"), await alerts.position()) == (an_alert(), "r.x.1.0")
            assert (await alerts.mail("m1")).content == b"hello"


async def test_a_change_without_a_position_leaves_it(store: EventStore) -> None:
    alerts = store.alert_store()
    assert await alerts.position() is None
    await alerts.apply(Change("r.x.7.0"))
    await alerts.apply(Change(alerts=[an_alert()]))

    assert await alerts.position() == "r.x.7.0"


async def test_only_unresolved_alerts_have_their_key(store: EventStore) -> None:
    alerts = store.alert_store()
    await alerts.apply(Change(alerts=[an_alert(**RESOLVED), an_alert(alert_id="b", key="other")]))
    new = an_alert(alert_id="c")
    await alerts.apply(Change(alerts=[new]))

    assert {key: said(alert) for key, alert in (await alerts.unresolved(["k", "nobody's"])).items()} == {"k": said(new)}
    assert await alerts.unresolved([f"k{number}" for number in range(2000)]) == {}
    assert (await alerts.alert_counts())[AlertState.OPEN] == 2


async def test_alerts_are_listed_by_state_the_latest_first(store: EventStore) -> None:
    alerts = store.alert_store()
    await alerts.apply(Change(alerts=[*several(3), an_alert(alert_id="r", **RESOLVED)]))

    assert [alert.alert_id for alert in await alerts.alerts([AlertState.OPEN], 2)] == ["a2", "a1"]
    assert [alert.alert_id for alert in await alerts.alerts([AlertState.RESOLVED], 2)] == ["r"]
    assert await alerts.alerts([AlertState.ACKNOWLEDGED], 2) == []


async def test_what_is_due_comes_earliest_first(store: EventStore) -> None:
    alerts = store.alert_store()
    await alerts.apply(Change(alerts=[*reversed(several(3)), an_alert(alert_id="never", due_at=None)]))

    assert [alert.alert_id for alert in await alerts.due_alerts(NOON + timedelta(minutes=1))] == ["a0", "a1"]
    assert await alerts.next_due() == NOON


async def test_mails_wait_their_turn(store: EventStore) -> None:
    alerts = store.alert_store()
    await alerts.apply(Change(mails=[a_mail("late", minutes=2), a_mail("early"), a_mail("gone", state=MailState.SENT)]))

    assert [mail.mail_id for mail in await alerts.due_mails(NOON, 5)] == ["early"]
    assert [mail.content for mail in await alerts.due_mails(NOON + timedelta(minutes=2), 1)] == [b"hello"]
    assert await alerts.next_mail() == NOON
    assert await alerts.mail_counts() == {
        MailState.PENDING: 2,
        MailState.SENT: 1,
        MailState.DEAD: 0,
        MailState.CANCELLED: 0,
    }


async def test_what_became_of_a_mail_keeps_its_content(store: EventStore) -> None:
    alerts = store.alert_store()
    await alerts.apply(Change(mails=[a_mail("m1", alert_ids=("x",))]))
    [listed] = await alerts.mails([MailState.PENDING], 10)
    await alerts.apply(Change(mails=[listed.model_copy(update={"state": MailState.DEAD, "finished_at": NOON})]))

    mail = await alerts.mail("m1")
    assert (mail.state, mail.content, listed.content) == (MailState.DEAD, b"hello", b"")
    assert [about.mail_id for about in await alerts.mails_about("x")] == ["m1"]


async def test_recent_mails_are_those_after_a_moment_and_those_pending(store: EventStore) -> None:
    alerts = store.alert_store()
    old, new = a_mail("old", minutes=-90, state=MailState.SENT), a_mail("new", state=MailState.SENT)
    await alerts.apply(Change(mails=[new, old, a_mail("waiting", minutes=-90)]))

    found = await alerts.mails_since(NOON - timedelta(hours=1))
    assert [mail.mail_id for mail in found] == ["waiting", "new"]


async def test_pruning_forgets_what_is_over_and_nothing_else(store: EventStore) -> None:
    alerts = store.alert_store()
    await alerts.apply(
        Change(
            alerts=[an_alert(**RESOLVED), an_alert(alert_id="open")],
            counted={(1, "7f3k2q9d1x"), (2, "open")},
            mails=[a_mail("m1", state=MailState.SENT, finished_at=NOON, alert_ids=("open",)), a_mail("m2")],
            silences=[a_silence("s1", minutes=1), a_silence("s2", minutes=60)],
        )
    )
    await alerts.prune(NOON + timedelta(minutes=5))

    assert [alert.alert_id for alert in await alerts.alerts(list(AlertState), 10)] == ["open"]
    assert await alerts.counted([1, 2]) == {(2, "open")}
    assert [mail.mail_id for mail in await alerts.mails(list(MailState), 10)] == ["m2"]
    assert await alerts.mails_about("open") == []
    assert [silence.silence_id for silence in await alerts.silences()] == ["s2"]


@pytest.mark.parametrize(("given", "problem"), [("zz", "no alert 'zz'"), ("a", "several alerts"), ("", "no alert ''")])
async def test_an_id_must_be_one_things(store: EventStore, given: str, problem: str) -> None:
    await store.alert_store().apply(Change(alerts=several(2)))

    with pytest.raises((NotFound, Ambiguous), match=problem):
        await store.alert_store().alert(given)


async def test_the_right_to_alert_is_one_holders_until_it_lets_go(store: EventStore) -> None:
    alerts = store.alert_store()
    alone = await alerts.hold("a", 60) and await alerts.hold("b", 60)  # a store that has one server anyway

    assert await alerts.hold("a", 60)
    await alerts.let_go("b")
    assert await alerts.hold("b", 60) is alone
    await alerts.let_go("a")
    assert await alerts.hold("b", 60)


async def test_a_right_that_ran_out_is_anybodys(store: EventStore) -> None:
    alerts = store.alert_store()

    assert await alerts.hold("a", 0)
    assert await alerts.hold("b", 60)
