"""Definition files: what loads, what is refused, and that the message names file, line, field and the way out."""

import os
import re
from pathlib import Path

import pytest

from madsci_event_server.alerts.definition import check_definition
from madsci_event_server.definition import find_definition, find_definitions, load_definition
from madsci_event_server.errors import InvalidDefinition, InvalidSettings
from madsci_event_server.event import EventLogLevel
from madsci_event_server.settings import Settings

MAY_2025 = """\
name: My Events
manager_id: 01M84W089Z03XKWAN6R5K5H9F2
description: desc
manager_type: event_manager
url: null
host: 127.0.0.1
port: 8001
db_url: mongodb://localhost:27017
event_client_config: {name: null, event_server_url: null, log_level: 20, source: {}, log_dir: ~/.madsci/logs}
alert_level: 40
email_alerts: null
"""
WITH_MAIL = """\
name: Robot Lab
email_alerts:
  smtp_server: smtp.example.org
  smtp_port: 25
  smtp_username: bell
  smtp_password: hush hush
  use_tls: true
  sender: bell@example.org
  default_importance: high
  email_addresses:
    - ada@example.org
"""


def written(text: str, name: str = "events.manager.yaml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refusal(text: str) -> InvalidDefinition:
    with pytest.raises(InvalidDefinition) as refused:
        check_definition(written(text))
    return refused.value


# --- what loads ------------------------------------------------------------------------------------------------------


def test_a_definition_of_may_2025_loads_as_it_is() -> None:
    settings, warnings = Settings.read({}, definition=written(MAY_2025))

    assert warnings == []
    assert settings.name == "My Events"
    assert settings.manager_id == "01M84W089Z03XKWAN6R5K5H9F2"
    assert settings.alert_level is EventLogLevel.ERROR
    assert settings.db_url.get_secret_value() == "mongodb://localhost:27017"
    assert settings.origins["db_url"] == "events.manager.yaml:8"


def test_mail_settings_of_may_2025_load_and_their_password_is_warned_about() -> None:
    settings, [warning] = Settings.read({}, definition=written(WITH_MAIL))

    assert settings.email_alerts is not None
    assert settings.email_alerts.smtp_password is not None
    assert settings.email_alerts.smtp_password.get_secret_value() == "hush hush"
    assert settings.email_alerts.default_importance == "High"
    assert "events.manager.yaml:6: email_alerts.smtp_password" in warning
    assert "smtp_password_file" in warning
    assert "hush" not in warning + repr(settings) + str(settings.shown())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing yet\n",
        "name: null\nport: null\nemail_alerts: null\nalert_rules: null\n",
        "alert_level: CRITICAL\n",
        "alert_level: EventLogLevel.INFO\n",
        'port: "8001"\n',
        "timezone: America/Chicago\n",
        "tls_cert: a.pem\ntls_key: b.pem\n",
        "db_url: 'memory:'\n",
        "email_alerts: {}\n",
        '{"name": "as JSON", "port": 8001}',
        "\ufeffname: with a byte order mark\n",
        "name: &n Lab\ndescription: *n\n",
    ],
)
def test_what_loads(text: str) -> None:
    check_definition(written(text))


# --- what is refused -------------------------------------------------------------------------------------------------

REFUSED = {
    # each field wrong in turn
    "name": ("name: 5", 1, "name", "must be text; put it in quotes"),
    "no name": ('port: 1\nname: ""', 2, "name", "must not be empty"),
    "id": ("manager_id: two words", 1, "manager_id", "01M84W089Z03XKWAN6R5K5H9F2"),
    "description": ("description: [a]", 1, "description", "must be text"),
    "type": ("manager_type: event_manger", 1, "manager_type", "must be 'event_manager'"),
    "url": ("url: lab-server:8001", 1, "url", "use http://HOST:PORT/"),
    "host": ("host: http://x", 1, "host", "write, for example, host: 127.0.0.1"),
    "port": ("port: eighty", 1, "port", "must be a whole number"),
    "high port": ("name: a\nport: 70000", 2, "port", "must be at most 65535"),
    "yes as port": ("port: yes", 1, "port", "must be a whole number"),
    "store": ("db_url: oracle://x", 1, "db_url", "use sqlite:///PATH, mongodb://"),
    "sqlite": ("db_url: sqlite:events.db", 1, "db_url", "use sqlite:///PATH"),
    "client config": ("event_client_config: 7", 1, "event_client_config", "must hold fields"),
    "level": ("alert_level: loud", 1, "alert_level", "is not a level"),
    "mail": ("email_alerts: ada@example.org", 1, "email_alerts", "must hold fields"),
    "rules": ("alert_rules: arm", 1, "alert_rules", "must be a list"),
    "zone": ("timezone: Chicago", 1, "timezone", "write, for example, timezone: America/Chicago"),
    "event size": ("max_event_bytes: 12", 1, "max_event_bytes", "must be at least 1024"),
    "origins": ("allowed_origins: http://x", 1, "allowed_origins", "must be a list"),
    "an origin": ("allowed_origins:\n  - http://x/", 2, "allowed_origins[0]", "use http://HOST:PORT, or * for any"),
    "half a certificate": ("name: a\ntls_cert: a.pem", 2, "tls_cert", "give both or neither"),
    "two stores": ("db_url: 'memory:'\ndb_url_file: x", 2, "db_url_file", "keep one of them"),
    # mail
    "smtp port": ("email_alerts:\n  smtp_port: 0", 2, "email_alerts.smtp_port", "must be at least 1"),
    "smtp server": ("email_alerts:\n  smtp_server: a b", 2, "email_alerts.smtp_server", "smtp_server: smtp.example"),
    "use_tls": ("email_alerts:\n  use_tls: maybe", 2, "email_alerts.use_tls", "must be true or false"),
    "sender": ("email_alerts:\n  sender: nobody", 2, "email_alerts.sender", "is not a mail address"),
    "importance": ("email_alerts:\n  default_importance: 1", 2, "email_alerts.default_importance", "'High'"),
    "addresses": (
        "email_alerts:\n  email_addresses: a@b.c", 2, "email_alerts.email_addresses", "must be a list",
    ),
    "an address": (
        "email_alerts:\n  email_addresses:\n    - a@b.c\n    - ada", 2, "email_alerts.email_addresses", "'ada' is not",
    ),
    "password alone": ("email_alerts:\n  smtp_password: hush", 1, "email_alerts", "without smtp_username"),
    "two passwords": (
        "email_alerts:\n  smtp_username: a\n  smtp_password: hush\n  smtp_password_file: x",
        4, "email_alerts.smtp_password_file", "leave out smtp_password",
    ),
    "a password that is a list": (
        "email_alerts:\n  smtp_username: a\n  smtp_password: [hush]", 3, "email_alerts.smtp_password", "must be text",
    ),
    # a secret in the wrong place
    "password at the top": ("name: a\nsmtp_password: hush", 2, "smtp_password", "it belongs under email_alerts"),
    "port under mail": ("email_alerts:\n  db_url: hush", 2, "email_alerts.db_url", "beside email_alerts"),
    # rules
    "a rule's filter": (
        "alert_rules:\n  - name: a\n    query:\n      nod: x", 4, "alert_rules[0].query.nod", "node",
    ),
    "a rule's key": ("alert_rules:\n  - {name: a, query: {}, guidence: x}", 2, "alert_rules[0].guidence", "guidance"),
    # YAML
    "a tab": ("name: a\nemail_alerts:\n\tsmtp_port: 1", 3, "", "indent with spaces"),
    "brackets": ("name: [", 1, "", "is not YAML"),
    "a colon": ("name: a\ndescription: b: c", 2, "", "quotes"),
    "an alias": ("email_alerts:\n  smtp_password: *hush", 2, "", "put the value in quotes"),
    "a tag": ("name: !hush x", 1, "", "put the value in quotes"),
    "a list": ("- a", 1, "", "must hold fields"),
    "a word": ("hush", 1, "", "must hold fields"),
    "a field twice": ("port: 1\nname: a\nport: 2", 3, "port", "in line 1; keep one of them"),
    "two documents": ("name: a\n---\nname: b", 2, "", "is not YAML"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "field", "remedy"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_names_line_field_and_remedy(text: str, line: int, field: str, remedy: str) -> None:
    error = refusal(text)

    [problem] = error.problems
    assert (problem.line, problem.field) == (line, field)
    assert remedy in problem.problem
    assert str(error).startswith(f"events.manager.yaml:{line}: {field}")
    assert "hush" not in str(error) + repr(error)


FIELDS = [
    "name", "manager_id", "description", "manager_type", "url", "host", "port", "db_url", "event_client_config",
    "alert_level", "email_alerts", "alert_rules", "timezone", "max_event_bytes", "tls_cert", "tls_key",
    "allowed_origins",
]  # fmt: skip
MAIL_FIELDS = [
    "smtp_server", "smtp_port", "smtp_username", "smtp_password", "use_tls", "sender", "default_importance",
    "email_addresses",
]  # fmt: skip


def misspelt(name: str) -> str:
    """With two letters in the middle exchanged."""
    half = len(name) // 2
    changed = name[: half - 1] + name[half] + name[half - 1] + name[half + 1 :]
    return changed if changed != name else f"{name}s"


@pytest.mark.parametrize("field", FIELDS)
def test_a_misspelt_key_is_told_how_it_is_spelt(field: str) -> None:
    [problem] = refusal(f"# a comment\n{misspelt(field)}: 1").problems

    assert problem.line == 2
    assert problem.problem.endswith(f"did you mean {field}?")


@pytest.mark.parametrize("field", MAIL_FIELDS)
def test_a_misspelt_key_of_the_mail_settings_is_told_how_it_is_spelt(field: str) -> None:
    [problem] = refusal(f"email_alerts:\n  sender: a@b.c\n  {misspelt(field)}: 1").problems

    assert problem.line == 3
    assert problem.problem.endswith(f"did you mean {field}?")


def test_all_that_is_wrong_is_told_in_the_order_of_the_lines() -> None:
    error = refusal("port: x\nhost: 1\nemail_alerts:\n  smtp_prt: 1\ntimezone: Mars")

    assert [problem.line for problem in error.problems] == [1, 2, 4, 5]
    assert "(and 3 more: madsci-events manager validate events.manager.yaml)" in str(error)


def test_a_file_that_is_not_there_or_not_text() -> None:
    with pytest.raises(InvalidDefinition, match=r"nowhere.yaml: cannot be read \(No such file"):
        load_definition(Path("nowhere.yaml"))
    Path("binary.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(InvalidDefinition, match="save it as UTF-8"):
        load_definition(Path("binary.yaml"))


# --- secrets in files of their own -----------------------------------------------------------------------------------

NAMES_A_FILE = WITH_MAIL.replace("smtp_password: hush hush", "smtp_password_file: secrets/smtp")


def test_a_password_comes_from_the_file_it_names(lab: Path) -> None:
    written("hush hush\n", "secrets/smtp").chmod(0o600)
    settings, warnings = Settings.read({}, definition=written(NAMES_A_FILE))

    assert warnings == []
    assert settings.email_alerts is not None
    assert settings.email_alerts.smtp_password is not None
    assert settings.email_alerts.smtp_password.get_secret_value() == "hush hush"
    assert "hush" not in repr(settings) + str(settings.shown())


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("hush\n", 0o644, "run chmod 600"),
        ("", 0o600, "must hold the secret as its only line"),
        ("hush\nhush\n", 0o600, "must hold the secret as its only line"),
        (None, 0o600, "cannot be read (No such file or directory)"),
    ],
)
def test_a_file_for_a_secret_that_cannot_be_used(lab: Path, text: str | None, mode: int, words: str) -> None:
    if text is not None:
        written(text, "secrets/smtp").chmod(mode)

    with pytest.raises(InvalidSettings, match=re.escape(words)) as refused:
        Settings.read({}, definition=written(NAMES_A_FILE))
    assert "events.manager.yaml:6: email_alerts.smtp_password_file" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_the_environment_goes_before_the_file(lab: Path) -> None:
    settings, _ = Settings.read({"EVENT_EMAIL_ALERTS__SMTP_PASSWORD": "other"}, definition=written(NAMES_A_FILE))

    assert settings.email_alerts is not None
    assert settings.email_alerts.smtp_password is not None
    assert settings.email_alerts.smtp_password.get_secret_value() == "other"
    assert settings.origins["email_alerts.smtp_password"] == "EVENT_EMAIL_ALERTS__SMTP_PASSWORD"


def test_the_address_of_a_store_may_have_a_file_of_its_own(lab: Path) -> None:
    written("mongodb://lab:hush@db/events", "secrets/db").chmod(0o600)
    settings, warnings = Settings.read({}, definition=written("db_url_file: secrets/db"))

    assert warnings == []
    assert settings.db_url.get_secret_value() == "mongodb://lab:hush@db/events"
    assert settings.shown()["db_url"] == "mongodb://***@db/events"


def test_a_password_in_the_address_of_a_store_is_warned_about() -> None:
    _, [warning] = Settings.read({}, definition=written("name: a\ndb_url: mongodb://lab:hush@db/events"))

    assert "events.manager.yaml:2: db_url" in warning
    assert "hush" not in warning


def test_flag_environment_definition_default_in_that_order() -> None:
    definition = written("host: 10.0.0.1\nport: 1\ndb_url: 'memory:'\ntimezone: UTC\n")
    environment = {"EVENT_SERVER_URL": "http://10.0.0.2:2", "EVENT_DB_URL": "sqlite:///e.db"}
    settings, _ = Settings.read(environment, flags={"port": 3}, definition=definition)

    assert (settings.host, settings.port, settings.timezone, settings.max_event_bytes) == (
        "10.0.0.2",
        3,
        "UTC",
        1048576,
    )
    assert settings.origins["port"] == "--port"
    assert settings.origins["host"] == "EVENT_SERVER_URL"
    assert settings.origins["db_url"] == "EVENT_DB_URL"
    assert settings.origins["timezone"] == "events.manager.yaml:4"
    assert "max_event_bytes" not in settings.origins


@pytest.mark.parametrize("address", ["ftp://localhost:8001", "http://", "http://localhost:x", "http://localhost:99999"])
def test_an_address_nobody_can_dial_is_refused(address: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^EVENT_SERVER_URL: .* use http://HOST:PORT"):
        Settings.read({"EVENT_SERVER_URL": address})


# --- which file ------------------------------------------------------------------------------------------------------


def test_none_is_found_where_there_is_none(lab: Path) -> None:
    assert find_definition(lab) is None


def test_the_one_event_manager_is_found_among_other_managers(lab: Path) -> None:
    written("manager_type: workcell_manager\n", "managers/workcell.manager.yaml")
    written("manager_type: resource_manager\nport: [", "managers/broken.manager.yaml")
    written(MAY_2025, ".hidden/events.manager.yaml")
    here = written(MAY_2025, "managers/deeper/events.manager.yaml")

    assert find_definition(lab) == here


def test_several_event_managers_are_named(lab: Path) -> None:
    written(MAY_2025, "managers/a.manager.yaml")
    written(MAY_2025, "b.manager.yaml")

    with pytest.raises(InvalidSettings) as refused:
        find_definition(lab)
    assert f"b.manager.yaml, managers{os.sep}a.manager.yaml; add --definition b.manager.yaml" in str(refused.value)


@pytest.mark.parametrize(
    "text", ["port: 1\n", "manager_type: event_manger\n", "nam: [\n", "manager_type: 'Event_Manager'"]
)
def test_a_definition_that_is_wrong_is_not_passed_over(lab: Path, text: str) -> None:
    """A server that starts without the alerts somebody set up would be worse than one that does not start."""
    assert find_definitions(lab) == []
    here = written(text, "managers/events.manager.yaml")

    assert find_definitions(lab) == [here]
