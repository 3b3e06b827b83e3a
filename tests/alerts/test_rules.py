"""Which events deserve an alert, which say the same thing, and what a definition may say of it."""

import re
from typing import Any

import pytest

from madsci_event_server.alerts.config import parse_rules
from madsci_event_server.alerts.rules import RuleBook, mask, source_of, topic
from madsci_event_server.definition.email_settings import parse_email_alerts
from madsci_event_server.errors import InvalidSettings
from madsci_event_server.event import EventLogLevel
from tests.factories import NODES, an_event

ARM: dict[str, Any] = {
    "name": "arm",
    "query": {"node": "robotarm_1", "kind": "action_*"},
    "recipients": ["bob@lab.test"],
}


def a_book(*rules: dict[str, Any], level: EventLogLevel = EventLogLevel.ERROR) -> RuleBook:
    return RuleBook(level, parse_rules(list(rules)), ["ada@lab.test"])


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("tip pickup failed at A12, 3 of 96", "tip pickup failed at #, # of #"),
        ("deck_2 of liquidhandler_1", "deck_# of liquidhandler_#"),
        (f"node {NODES[0]} gone", "node <id> gone"),
        ("run 0b5c9fd0-5e06-4d8c-9d32-1f0d5f0a7a11", "run <id>"),
        ("address 0xDEADBEEF", "address <id>"),
        ("hash 5f2b9c1e77aa01", "hash <id>"),
        ("at 12:30:01.250 on 10.0.0.4:8005", "at # on #"),
        ("-3.5 mL of 1e-5", "# mL of #"),
        ("line one\n   line two", "line one line two"),
        ("facade decade", "facade decade"),
        ("4", "#"),
    ],
)
def test_what_differs_each_time_is_masked(message: str, masked: str) -> None:
    assert mask(message) == masked


def test_a_long_message_is_one_topic_with_its_beginning() -> None:
    assert len(mask("word " * 10_000)) <= 300


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"name": "arm"}, {"name": "arm"}, True),
        ({"name": "arm"}, {"name": "pipette"}, False),
        ({"type": "node_error"}, {"type": "action_failed"}, False),
        ({"node_id": NODES[0]}, {"node_id": NODES[1]}, False),
        ({"level": "error"}, {"level": "critical"}, True),
    ],
)
def test_an_alert_is_of_one_kind_and_source(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    keys = {topic("rule", an_event("stuck", **fields)).key for fields in (one, other)}

    assert (len(keys) == 1) is same


def test_the_source_is_the_name_before_the_id() -> None:
    assert source_of(an_event("x", node_id=NODES[0], name="arm")) == "arm"
    assert source_of(an_event("x", node_id=NODES[0])) == NODES[0]
    assert source_of(an_event("x")) == ""


@pytest.mark.parametrize(
    ("event", "rules"),
    [
        ({"level": "info"}, []),
        ({"level": "error"}, ["alert_level"]),
        ({"level": "debug", "alert": True}, ["alert_flag"]),
        ({"level": "error", "alert": True}, ["alert_level"]),
        ({"level": "info", "type": "action_failed", "node_name": "robotarm_1"}, ["arm"]),
        ({"level": "error", "type": "action_failed", "node_name": "robotarm_1"}, ["arm"]),
        ({"level": "error", "node_name": "robotarm_1"}, ["alert_level"]),
    ],
)
def test_a_rule_goes_before_the_level_and_the_flag_is_last(event: dict[str, Any], rules: list[str]) -> None:
    assert a_book(ARM).judge(an_event("x", **event)) == rules


def test_an_event_archived_before_it_was_read_is_judged_all_the_same() -> None:
    event = an_event("x", level="error").changed(archived=True, archived_at=an_event().event_timestamp)

    assert a_book().judge(event) == ["alert_level"]


@pytest.mark.parametrize("level", list(EventLogLevel))
@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("rules", [[], [ARM], [{"name": "w", "query": {"log_level": "warning"}}]])
def test_what_is_skipped_unparsed_matches_no_rule(
    level: EventLogLevel, flag: bool, rules: list[dict[str, Any]]
) -> None:
    book = a_book(*rules)
    event = an_event("x", level=level, alert=flag, type="action_failed", node_name="robotarm_1")

    assert not (book.can_skip(event.encode()) and book.judge(event))
    if not rules:
        assert book.can_skip(event.encode()) is (not book.judge(event))


@pytest.mark.parametrize(
    "text", ['"event_timestamp":', '"log_level":10,"alert":false', ',"log_level":10,"alert":false,']
)
def test_an_id_or_text_that_looks_like_the_rest_of_an_event_hides_no_alert(text: str) -> None:
    flagged = an_event(text, id=text, alert=True)
    data = {"log_level": 10, "alert": False}
    error = an_event(text, id=text, level="error", trace_id=text, source=data, event_data=data)

    assert not a_book().can_skip(flagged.encode())
    assert not a_book().can_skip(error.encode())


def test_bytes_that_are_of_no_event_as_we_write_it_are_not_skipped() -> None:
    assert not a_book().can_skip(b"{}")
    assert not a_book().can_skip(b'{"log_level": 10, "alert": false}')


def test_a_rule_without_recipients_mails_those_of_the_definition() -> None:
    book = a_book(ARM, {"name": "lid", "query": {"search": "lid"}, "guidance": "close it"})

    assert book.recipients("arm") == ("bob@lab.test",)
    assert book.recipients("lid") == book.recipients("alert_level") == book.recipients("gone") == ("ada@lab.test",)
    assert book.guidance("lid") == "close it"
    assert book.everybody == ("ada@lab.test", "bob@lab.test")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "must be an object"),
        ({"smtp_pasword": "s3cret"}, "email_alerts.smtp_pasword: is not a setting here; there are smtp_server"),
        ({"smtp_port": 0}, "email_alerts.smtp_port: 0: "),
        ({"email_addresses": ["ada@lab.test\r\nBcc: x@y.z"]}, "is not a mail address"),
        ({"email_addresses": ["ada@lab.test, bob@lab.test"]}, "one address an item"),
        ({"sender": "a@b\nX: y"}, "is not a mail address"),
        ({"smtp_server": "a b"}, "email_alerts.smtp_server"),
        ({"smtp_password": "s3cret"}, "without smtp_username"),
        ({"smtp_password": ["s3cret"], "smtp_username": "u"}, "email_alerts.smtp_password: the value: "),
        ({"use_tls": False, "encryption": "implicit"}, "contradicts use_tls false"),
        ({"default_importance": "urgent"}, "email_alerts.default_importance: 'Urgent'"),
    ],
)
def test_mail_settings_that_cannot_work_are_refused_in_words(document: object, problem: str) -> None:
    with pytest.raises(InvalidSettings, match=re.escape(problem)) as refused:
        parse_email_alerts(document)

    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "encryption"),
    [
        ({}, "starttls"),
        ({"smtp_port": 25}, "starttls"),
        ({"smtp_port": 465}, "implicit"),
        ({"smtp_port": 465, "use_tls": False}, "none"),
        ({"smtp_port": 465, "encryption": "starttls"}, "starttls"),
    ],
)
def test_how_mail_is_encrypted(options: dict[str, Any], encryption: str) -> None:
    assert parse_email_alerts(options).how_encrypted == encryption


def test_a_definition_of_madsci_is_understood() -> None:
    config = parse_email_alerts(
        {
            "smtp_server": "mail.lab.test",
            "smtp_port": 25,
            "smtp_username": "bell",
            "smtp_password": "s3cret",
            "use_tls": True,
            "sender": "Lab bell <no-reply@lab.test>",
            "default_importance": "High",
            "email_addresses": ["ada@lab.test", "bob@lab.test", "ada@lab.test"],
        }
    )

    assert config.email_addresses == ("ada@lab.test", "bob@lab.test")
    assert config.sender_address == "no-reply@lab.test"
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({}, "alert_rules: must be a list of rules"),
        ([{"name": "a"}], "alert_rules[0].query"),
        ([{"name": "a", "query": {"levle": "error"}}], "alert_rules[0].query.levle"),
        ([{"name": "a", "query": {"selector": {"$where": "1"}}}], "$where"),
        ([{"name": "a", "query": {"limit": 5}}], "has no meaning in a rule"),
        ([{"name": "a", "query": {}}, {"name": "a", "query": {}}], "two rules are named 'a'"),
        ([{"name": "alert_level", "query": {}}], "two rules are named 'alert_level'"),
        ([{"name": "a", "query": {}, "recipients": ["nobody"]}], "is not a mail address"),
        ([{"name": "a", "query": {}, "guidence": "x"}], "there are name, query, recipients, guidance"),
    ],
)
def test_rules_that_cannot_work_are_refused_in_words(rules: object, problem: str) -> None:
    with pytest.raises(InvalidSettings, match=re.escape(problem)):
        parse_rules(rules)
