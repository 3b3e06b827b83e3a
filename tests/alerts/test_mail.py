"""What a mail says, and that nothing an event says can make it say more."""

import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madsci_event_server.alerts.mail import Context, Draft, MailWriter, command_line
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.event import EventLogLevel
from madsci_event_server.storage.alert_base import Alert
from madsci_event_server.storage.base import EventStore
from tests.alerts.bench import ADA, Bench, a_bench
from tests.alerts.smtp_servers import Post
from tests.factories import NODES, NOON, WORKFLOW, an_event

HOSTILE = "Tip lost\r\nBcc: everybody@lab.test\r\n\r\n.\r\nQUIT\x1b]0;owned\x07 \u202eevil\u2028\x00\x85"


def an_alert(message: str = "Tip lost", **fields: object) -> Alert:
    values: dict[str, object] = {
        "alert_id": "7f3k2q9d1x",
        "key": "k",
        "rule": "alert_level",
        "kind": "node_error",
        "source": "liquidhandler_1",
        "pattern": message,
        "message": message,
        "level": EventLogLevel.ERROR,
        "count": 14,
        "opened_at": NOON,
        "updated_at": NOON,
        "first_event_id": "E1",
        "last_event_id": "E14",
        "first_event_at": NOON,
        "last_event_at": NOON,
        "last_seq": 14,
        "due_at": NOON,
    }
    return Alert.model_validate(values | fields)


def text_of(mail: EmailMessage) -> str:
    return str(mail.get_content()).replace("\r\n", "\n")


def write(*alerts: Alert) -> bytes:
    writer = MailWriter(EmailAlertsConfig(sender="bell@lab.test"), "lab", UTC)
    return writer.write(Draft((ADA,), alerts, NOON)).as_bytes()


async def test_a_mail_says_what_where_since_when_and_what_to_do(store: EventStore, post: Post) -> None:
    rule = {"name": "tips", "query": {"search": "tip"}, "guidance": "Refill rack 2. Call Ada."}
    async with a_bench(store, post, rules=[rule]) as bench:
        await bench.log("Workflow began", level="info", node_name="liquidhandler_1", workflow_id=WORKFLOW)
        await bench.log("something else", level="info", node_name="robotarm_1")
        await bench.log("Tip lost", node_name="liquidhandler_1", workflow_id=WORKFLOW, type="node_error")
        await bench.wait(minutes=1)

    text = text_of(post.mails[0])
    assert text.startswith("ERROR  liquidhandler_1: Tip lost\n1 event, 2026-11-23 12:00:00 ")
    assert "What to do\n  Refill rack 2. Call Ada.\n" in text
    assert f"Last events of workflow {WORKFLOW}\n" in text
    assert "INFO      liquidhandler_1  Workflow began\n" in text
    assert "something else" not in text
    assert f"madsci-events query --workflow-id {WORKFLOW} -n 50\n" in text
    assert f"madsci-events alerts ack {(await bench.alert()).alert_id}\n" in text


async def test_without_a_workflow_the_context_is_the_node_by_its_name(bench: Bench, post: Post) -> None:
    await bench.log("warming up", level="info", node_id=NODES[0], name="heater 1")
    await bench.log("too hot", node_id=NODES[0], name="heater 1")
    await bench.wait(minutes=1)

    text = text_of(post.mails[0])
    assert "Last events of node heater 1\n" in text
    assert "warming up" in text
    assert "  madsci-events query --node 'heater 1' -n 50\n" in text


async def test_the_headers_are_those_of_a_machine_that_wants_no_answer(bench: Bench, post: Post) -> None:
    await bench.log()
    await bench.wait(minutes=1)

    mail = post.mails[0]
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert mail["Message-ID"].endswith("@lab.test>")
    assert parsedate_to_datetime(mail["Date"]) == datetime(2026, 11, 23, 12, 0, 10, tzinfo=UTC)
    assert mail.get_content_type() == "text/plain"
    assert mail["From"] == "bell@lab.test"


@pytest.mark.parametrize(
    ("level", "forced", "importance", "priority"),
    [
        (EventLogLevel.CRITICAL, False, "High", "1 (Highest)"),
        (EventLogLevel.DEBUG, True, "High", "1 (Highest)"),
        (EventLogLevel.ERROR, False, "Normal", "3 (Normal)"),
    ],
)
def test_importance_and_priority_agree(level: EventLogLevel, forced: bool, importance: str, priority: str) -> None:
    mail = BytesParser(policy=email.policy.default).parsebytes(write(an_alert(level=level, forced=forced)))

    assert (mail["Importance"], mail["X-Priority"]) == (importance, priority)


def test_the_subject_says_how_many_and_how_many_more() -> None:
    mail = BytesParser(policy=email.policy.default).parsebytes(write(an_alert("tip pickup failed"), an_alert("b")))

    assert mail["Subject"] == "[lab] ERROR liquidhandler_1: tip pickup failed (x14) and 1 more alert"


@given(
    message=st.text(max_size=300) | st.just(HOSTILE),
    source=st.text(max_size=80) | st.just(HOSTILE),
    other=st.text(min_size=1, max_size=80) | st.just(HOSTILE),
)
@settings(max_examples=60)
def test_no_text_of_an_event_becomes_a_header_or_steers_a_terminal(message: str, source: str, other: str) -> None:
    alert = an_alert(message, source=source, rule=other, kind=other, last_event_id=other)
    context = Context(other, command_line({"node": other}, 50), [an_event(message, level="error", name=other)])
    draft = Draft((ADA,), [alert, alert], NOON, contexts={alert.alert_id: context}, guidance={alert.alert_id: other})
    raw = MailWriter(EmailAlertsConfig(sender="bell@lab.test"), other, UTC).write(draft).as_bytes()
    plain = write(an_alert("Tip lost"))
    parser = BytesParser(policy=email.policy.default)
    mail = parser.parsebytes(raw)

    assert mail.keys() == parser.parsebytes(plain).keys()
    assert mail.defects == []
    raw.decode("ascii")
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    shown = str(mail["Subject"]) + text_of(mail).replace("\n", "")
    assert not [character for character in shown if ord(character) < 32 or character in "\x7f\x85\u2028\u202e"]


def test_a_retry_sends_the_same_bytes_and_other_news_other_ids() -> None:
    def message_id(raw: bytes) -> str:
        return str(BytesParser(policy=email.policy.default).parsebytes(raw)["Message-ID"])

    assert message_id(write(an_alert())) == message_id(write(an_alert()))
    assert message_id(write(an_alert())) != message_id(write(an_alert(count=15)))


def test_times_are_in_the_labs_zone() -> None:
    writer = MailWriter(EmailAlertsConfig(), "lab", ZoneInfo("America/Chicago"))

    assert "last  2026-11-23 06:00:00 CST" in writer.write(Draft((ADA,), [an_alert()], NOON)).get_content()


def test_the_command_line_is_safe_to_paste() -> None:
    assert command_line({"node": "a; rm -rf $HOME"}, 50) == "madsci-events query --node 'a; rm -rf $HOME' -n 50"
