"""Where alerting's settings come from, and what is said when they cannot be used."""

import json
from pathlib import Path

import pytest

from madsci_event_server.alerts.definition import alerting_config
from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.errors import InvalidSettings
from madsci_event_server.event import EventLogLevel
from madsci_event_server.settings import Settings

DEFINITION = """
name: Robot Lab
alert_level: 30
email_alerts: {smtp_server: mail.lab.test, smtp_port: 25, smtp_username: bell, email_addresses: [ada@lab.test]}
alert_rules: [{name: arm, query: {node: arm}}]
"""


def read(environment: dict[str, str], definition: str | None = DEFINITION) -> Settings:
    path = None
    if definition is not None:
        path = Path("events.manager.yaml")
        path.write_text(definition)
    return Settings.read(environment, definition=path)[0]


def mail_of(settings: Settings) -> EmailAlertsConfig:
    assert settings.email_alerts is not None
    return settings.email_alerts


def test_a_definition_says_level_mail_and_rules() -> None:
    config = alerting_config(read({}))

    assert (config.alert_level, config.lab_name) == (EventLogLevel.WARNING, "Robot Lab")
    assert [rule.name for rule in config.rules] == ["arm"]
    assert config.email is not None
    assert config.email.email_addresses == ("ada@lab.test",)


def test_the_environment_goes_before_the_definition_field_by_field() -> None:
    settings = read(
        {
            "EVENT_ALERT_LEVEL": "critical",
            "EVENT_EMAIL_ALERTS__SMTP_PASSWORD": "s3cret",
            "EVENT_EMAIL_ALERTS__smtp_port": "587",
            "EVENT_EMAIL_ALERTS__EMAIL_ADDRESSES": "bob@lab.test, eve@lab.test",
        }
    )

    mail = mail_of(settings)
    assert settings.alert_level == EventLogLevel.CRITICAL
    assert (mail.smtp_server, mail.smtp_port) == ("mail.lab.test", 587)
    assert mail.email_addresses == ("bob@lab.test", "eve@lab.test")
    assert mail.smtp_password is not None
    assert mail.smtp_password.get_secret_value() == "s3cret"


def test_one_variable_can_say_it_all() -> None:
    document = {"smtp_server": "m.test", "smtp_port": 465, "email_addresses": ["bob@lab.test"]}
    mail = mail_of(read({"EVENT_EMAIL_ALERTS": json.dumps(document)}))

    assert (mail.smtp_server, mail.how_encrypted, mail.smtp_username) == ("m.test", "implicit", None)


def test_without_any_nobody_is_mailed() -> None:
    assert read({}, None).email_alerts is None


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"EVENT_EMAIL_ALERTS": '{"smtp_password": "s3cret'}, "EVENT_EMAIL_ALERTS: is not JSON"),
        ({"EVENT_EMAIL_ALERTS": "[]"}, "EVENT_EMAIL_ALERTS: must be an object"),
        ({"EVENT_EMAIL_ALERTS__SMTP_PORT": "mail"}, "EVENT_EMAIL_ALERTS__SMTP_PORT: 'mail'"),
        ({"EVENT_EMAIL_ALERTS__SMTP_PASWORD": "s3cret"}, "EVENT_EMAIL_ALERTS__SMTP_PASWORD: is not a setting here"),
        ({"EVENT_EMAIL_ALERTS__EMAIL_ADDRESSES": '["a@b.c", 1]'}, "EVENT_EMAIL_ALERTS__EMAIL_ADDRESSES"),
        ({"EVENT_ALERT_LEVEL": "loud"}, "EVENT_ALERT_LEVEL: 'loud' is not a level"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_and_its_secret_is_not(environment: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        read(environment)

    assert words in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_settings_are_shown_without_login_or_password() -> None:
    shown = json.dumps(read({"EVENT_EMAIL_ALERTS__SMTP_PASSWORD": "s3cret"}).shown())

    assert "mail.lab.test" in shown
    assert '"smtp_password": "***REDACTED***"' in shown
    assert '"smtp_username": "***REDACTED***"' in shown
    assert "s3cret" not in shown


def test_a_definition_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidSettings, match=r"nowhere.yaml: cannot be read"):
        Settings.read({}, definition=Path("nowhere.yaml"))
