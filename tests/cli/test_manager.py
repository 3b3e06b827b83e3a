"""Definitions made, refused, checked and shown from the command line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from madsci_event_cli.whole_files import write_whole
from madsci_event_server.alerts.definition import check_definition
from madsci_event_server.definition import load_definition
from madsci_event_server.settings import Settings
from tests.cli.runs import COMMAND, Ran, Terminal, run_here, run_with
from tests.cli.terminals import Terminal as Screen
from tests.server.test_definition import MAY_2025, written

MADE = Path("managers/robot_lab.manager.yaml")
MAIL = ("--email", "ada@example.org", "--smtp-server", "smtp.example.org")


def add(*options: str) -> Ran:
    return run_here("manager", "add", "-n", "Robot Lab", *options)


def test_without_a_terminal_flags_and_defaults_make_a_whole_definition() -> None:
    ran = add("-t", "event_manager", *MAIL, "--port", "8010", "--timezone", "America/Chicago")
    values = check_definition(MADE).values

    assert (ran.code, ran.out) == (0, f"{MADE}\n")
    assert (values.name, values.port, values.timezone) == ("Robot Lab", 8010, "America/Chicago")
    assert values.email_alerts is not None
    assert values.email_alerts.email_addresses == ("ada@example.org",)
    assert "madsci-events serve " in ran.err
    assert "madsci-events alerts test --server http://localhost:8010" in ran.err
    assert [path.name for path in Path("managers").iterdir()] == [MADE.name]


def test_without_a_name_it_has_the_usual_one() -> None:
    assert run_here("manager", "add").out == "managers/event_manager.manager.yaml\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--port", "70000"), "--port: 70000 must be at most 65535"),
        (("--db", "oracle://x"), "--db: is not an address of a store"),
        (("--alert-level", "loud"), "--alert-level: 'loud' is not a level"),
        (("--timezone", "Mars"), "--timezone: 'Mars' is not a time zone"),
        (("--email", "ada", "--smtp-server", "x"), "--email: 'ada' is not a mail address"),
        (("--email", "ada@example.org"), "--smtp-server: must say who takes the mail"),
        (("-t", "workcell_manager"), "--type: 'workcell_manager' is not a manager this program runs"),
    ],
)
def test_a_flag_that_cannot_be_is_named_and_nothing_is_written(options: tuple[str, ...], words: str) -> None:
    ran = add(*options)

    assert ran.code == 2
    assert words in ran.err
    assert not Path("managers").exists()


def test_a_second_add_changes_nothing_and_says_what_it_would() -> None:
    add(*MAIL)
    before = MADE.read_bytes()
    same, other = add(*MAIL), add("--port", "9000", "--email", "bob@example.org")

    assert (same.code, other.code, same.out, other.out) == (1, 1, "", "")
    assert MADE.read_bytes() == before
    assert "Nothing in it would change" in same.err
    assert "port: 8001 -> 9000" in other.err
    assert "email_alerts.email_addresses: ['ada@example.org'] -> ['bob@example.org']" in other.err


def test_force_changes_what_is_said_and_keeps_the_rest() -> None:
    add(*MAIL)
    before = load_definition(MADE).values
    MADE.write_text(MADE.read_text().replace("alert_rules: []", "alert_rules: [{name: arm, query: {node: arm_1}}]"))
    ran = add("--port", "9000", "--force")
    after = load_definition(MADE).values

    assert ran.code == 0
    assert "port: 8001 -> 9000" in ran.err
    assert after.manager_id == before.manager_id
    assert (after.port, after.email_alerts) == (9000, before.email_alerts)
    assert after.alert_rules == [{"name": "arm", "query": {"node": "arm_1"}}]


def test_a_definition_of_may_2025_is_made_over_without_losing_anything() -> None:
    path = written(MAY_2025)
    before = load_definition(path).values
    run_here("manager", "add", "-n", "My Events", "-p", str(path), "--force")

    assert load_definition(path).values == before


def test_each_answer_is_checked_as_it_is_given() -> None:
    answers = "Robot Lab\n\n\n\nnone\n8010\nMars\nUTC\nloud\nwarning\nada\n\n"
    ran = run_with(["manager", "add"], {}, Terminal(answers), Terminal())
    values = load_definition(MADE).values

    assert ran.code == 0
    assert (values.port, values.timezone, values.alert_level.name, values.email_alerts) == (
        8010,
        "UTC",
        "WARNING",
        None,
    )
    for words in (
        "'none' must be a whole number",
        "'Mars' is not a time zone",
        "'loud' is not a level",
        "'ada' is not",
    ):
        assert words in ran.err


def test_no_password_is_shown_or_written_into_the_definition(lab: Path) -> None:
    with Screen([*COMMAND, "manager", "add", "-n", "Robot Lab", *MAIL, "--smtp-username", "bell"]) as screen:
        for question in (
            "What is it for",
            "Store",
            "Host",
            "Port",
            "Time zone",
            "Alert level",
            "Encryption",
            "port",
            "Sender",
        ):
            screen.wait_for(question)
            screen.wait_for(": ")
            screen.type("")
        screen.wait_for("Its password")
        screen.wait_for(": ")
        screen.type("hush hush")
        assert screen.wait() == 0, screen.seen

    secret = lab / ".madsci/secrets/smtp_password"
    assert "hush" not in screen.seen + MADE.read_text()
    assert secret.read_text() == "hush hush\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert run_here("manager", "validate").code == 0
    assert "hush" not in run_here("manager", "show", "--origin").out


def test_an_address_with_a_password_goes_into_a_file_of_its_own(lab: Path) -> None:
    ran = add("--db", "mongodb://lab:hush@db/events")
    shown = run_here("manager", "show", "-o", "json")

    assert "hush" not in MADE.read_text() + ran.out + ran.err + shown.out + shown.err
    assert (lab / ".madsci/secrets/db_url").stat().st_mode & 0o777 == 0o600
    assert json.loads(shown.out)["settings"]["db_url"] == "mongodb://***@db/events"


def test_interrupted_halfway_leaves_nothing(lab: Path) -> None:
    with Screen([*COMMAND, "manager", "add"]) as screen:
        screen.wait_for("Name [Event Manager]: ")
        screen.type("Robot Lab")
        screen.wait_for("What is it for: ")
        screen.interrupt()
        code = screen.wait()

    assert code == 130
    assert "Traceback" not in screen.seen
    assert list(lab.iterdir()) == []


def test_the_end_of_input_leaves_nothing(lab: Path) -> None:
    ran = run_with(["manager", "add"], {}, Terminal("Robot Lab\n"), Terminal())

    assert ran.code == 130
    assert list(lab.iterdir()) == []


def test_a_write_that_fails_leaves_what_was_there(lab: Path) -> None:
    (lab / "file").write_text("whole")
    with pytest.raises(UnicodeEncodeError):
        write_whole(lab / "file", "half\ud800", replace=True)

    assert [path.name for path in lab.iterdir()] == ["file"]
    assert (lab / "file").read_text() == "whole"


# --- list, show, validate --------------------------------------------------------------------------------------------


def test_definitions_are_found_by_name_or_file() -> None:
    add()
    for which in ([], ["Robot Lab"], ["robot_lab"], [str(MADE)]):
        shown = json.loads(run_here("manager", "show", *which, "-o", "json").out)
        assert shown["definition"] == str(MADE)
    ran = run_here("manager", "show", "Robot Lob")

    assert ran.code == 2
    assert f"'Robot Lob' is neither a file nor the name of a definition here; there are: {MADE}" in ran.err


def test_the_origin_of_each_value_is_told() -> None:
    add("--port", "8010")
    ran = run_here("manager", "show", "--origin", environment={"EVENT_ALERT_LEVEL": "info"})
    lines = {line.split()[0]: line.split()[-1] for line in ran.lines}

    assert re.fullmatch(rf"{MADE}:\d+", lines["port"])
    assert lines["alert_level"] == "EVENT_ALERT_LEVEL"
    assert lines["tls_cert"] == "default"


def test_all_definitions_are_listed_and_those_of_others_called_so() -> None:
    add()
    written("manager_type: workcell_manager\nname: Cell\n", "managers/cell.manager.yaml")
    written("prot: 1\n", "managers/wrong.manager.yaml")
    cell, robot, wrong = run_here("manager", "list").lines

    assert re.fullmatch(r"Cell +workcell_manager +not run by this program +managers/cell.manager.yaml", cell)
    assert "http://127.0.0.1:8001" in robot
    assert "wrong.manager.yaml:1: prot: is not a setting here; did you mean port?" in wrong


def test_validate_tells_every_problem_and_exits_with_1() -> None:
    wrong = written("prot: 1\nhost: 7\n", "managers/wrong.manager.yaml")
    ran = run_here("manager", "validate")

    assert ran.code == 1
    assert ran.lines == [
        f"ERROR  {wrong}:1: prot: is not a setting here; did you mean port?",
        f"ERROR  {wrong}:2: host: 7 must be text; put it in quotes; write, for example, host: 127.0.0.1",
    ]


def test_validate_without_a_definition_and_with_one_that_is_not_there() -> None:
    assert run_here("manager", "validate").code == 1
    assert run_here("manager", "validate", "nowhere.yaml").code == 2


# --- serve -----------------------------------------------------------------------------------------------------------


def test_serve_runs_with_the_definition_of_the_lab(lab: Path) -> None:
    add("--port", "8010")
    deeper = lab / "runs"
    deeper.mkdir()
    ran = subprocess.run(
        [*COMMAND, "serve", "--print-settings", "-o", "json"], cwd=deeper, capture_output=True, text=True, check=True
    )

    shown = json.loads(ran.stdout)
    assert (shown["settings"]["name"], shown["settings"]["port"]) == ("Robot Lab", 8010)
    assert shown["origins"]["port"].startswith(str(lab / MADE))


@pytest.mark.parametrize("module", ["madsci_event_cli", "madsci_event_server"])
def test_serve_with_two_definitions_names_them_and_exits_with_2(lab: Path, module: str) -> None:
    written(MAY_2025, "managers/a.manager.yaml")
    written(MAY_2025, "managers/b.manager.yaml")
    written("manager_type: workcell_manager", "managers/c.manager.yaml")
    arguments = ["serve"] if module == "madsci_event_cli" else []
    ran = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)

    assert ran.returncode == 2
    assert "managers/a.manager.yaml, managers/b.manager.yaml; add --definition managers/a.manager.yaml" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_serve_with_a_wrong_rule_names_its_line() -> None:
    written("name: a\nalert_rules:\n  - name: arm\n    query: {nod: x}\n")
    ran = run_here("serve", "--port", "0", "--db", "memory:")

    assert ran.code == 2
    assert "events.manager.yaml:4: alert_rules[0].query.nod" in ran.err


# --- import ----------------------------------------------------------------------------------------------------------

SETTINGS = """\
workcell_server_url: http://localhost:8005/
event_server_url: http://localhost:8011/
event_alert_level: 50
event_retention_enabled: true
"""
OWN = """\
manager_name: Old Lab
document_db_url: mongodb://lab:hush@localhost:27017/
rate_limit_requests: 500
email_alerts:
  smtp_server: smtp.example.org
  smtp_username: bell
  smtp_password: hush
  email_addresses: [ada@example.org]
"""


def test_settings_of_madsci_are_taken_over_and_told(lab: Path) -> None:
    written(SETTINGS, "settings.yaml")
    written(OWN, "event.settings.yaml")
    written("EVENT_ALERT_LEVEL=30\n", ".env")
    ran = run_here("manager", "import", environment={"EVENT_EMAIL_ALERTS__SMTP_PORT": "25"})
    made = Path(ran.lines[0])
    settings, warnings = Settings.read({}, definition=made)

    assert ran.code == 0
    assert (settings.name, settings.port, settings.alert_level) == ("Old Lab", 8011, 30)
    assert settings.db_url.get_secret_value() == "mongodb://lab:hush@localhost:27017"
    assert settings.email_alerts is not None
    assert settings.email_alerts.smtp_password is not None
    assert settings.email_alerts.smtp_port == 25
    assert settings.email_alerts.smtp_password.get_secret_value() == "hush"
    assert warnings == []
    assert "hush" not in made.read_text() + ran.err
    for words in ("retention_enabled (settings.yaml)", "rate_limit_requests", "took manager_name", "as db_url"):
        assert words in ran.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("event.settings.toml", 'manager_name = "Old Lab"'),
        ("event.settings.json", '{"manager_name": "Old Lab"}'),
        ("events.settings.yaml", "event_manager_name: Old Lab"),
        ("config/event.settings.yaml", "manager_name: Old Lab"),
        ("event.env", "export EVENT_MANAGER_NAME='Old Lab'"),
    ],
)
def test_every_kind_of_file_madsci_reads_is_read(name: str, text: str) -> None:
    written(text, name)

    assert run_here("manager", "import").out == "managers/old_lab.manager.yaml\n"


@pytest.mark.parametrize(
    ("name", "text", "code", "words"),
    [
        ("settings.yaml", "workcell_server_url: x", 1, "there are no settings of a MADSci event manager here"),
        ("event.settings.yaml", "a: [", 2, "event.settings.yaml:1: is not YAML"),
        ("event.settings.json", "{", 2, "event.settings.json cannot be read as settings"),
        ("event.settings.toml", "a", 2, "event.settings.toml cannot be read as settings"),
        ("event.settings.yaml", "server_url: nowhere", 2, "'nowhere' is not an address"),
        ("event.settings.yaml", "email_alerts: hush", 2, "must hold fields such as smtp_server"),
    ],
)
def test_settings_that_cannot_be_taken_over(name: str, text: str, code: int, words: str, lab: Path) -> None:
    written(text, name)
    ran = run_here("manager", "import")

    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert "hush" not in ran.err
    assert not Path("managers").exists()
