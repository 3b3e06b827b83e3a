"""`madsci-events alerts`, against a real server and a real mail server."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.alerts.post_office import PostOffice, a_post_office
from tests.alerts.smtp_servers import PASSWORD
from tests.alerts.test_alerting_server import ADA, a_definition, a_server, log
from tests.cli.runs import run_here
from tests.live_server import LiveServer
from tests.processes import free_port


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with a_post_office() as running:
        yield running


@pytest.fixture
def server(lab: Path, office: PostOffice) -> Iterator[LiveServer]:
    """A server that has mailed Ada of one alert."""
    with _told(lab, office) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """The same, for tests that only read."""
    with a_post_office() as office, _told(tmp_path_factory.mktemp("server"), office) as running:
        yield running


@contextmanager
def _told(folder: Path, office: PostOffice) -> Iterator[LiveServer]:
    with a_server(folder, office) as running:
        log(running, "Tip \x1b[31mlost", source={"name": "pipette"})
        office.wait_until(lambda post: len(post.taken) == 1)
        yield running


def test_an_alert_from_the_list_to_its_end(server: LiveServer, office: PostOffice) -> None:
    listed = run_here("alerts", "list", server=server.url)
    alert_id = listed.out.split()[0]
    shown = run_here("alerts", "show", alert_id[:5], server=server.url)
    taken_on = run_here("alerts", "ack", alert_id[:5], "--note", "coming", "--by", "ada", server=server.url)
    resolved = run_here("alerts", "resolve", alert_id, server=server.url, environment={"USER": "bob"})
    office.wait_until(lambda post: len(post.taken) == 2)
    after = run_here("alerts", "list", server=server.url)

    assert [listed.code, shown.code, taken_on.code, resolved.code, after.code] == [0, 0, 0, 0, 0]
    assert "open" in listed.out
    assert "pipette  Tip ␛[31mlost" in listed.out
    assert f"tells        {ADA}\n" in shown.out
    assert "[Robot Lab] ERROR pipette: Tip ␛[31mlost" in shown.out
    assert "acknowledged" in taken_on.out
    assert (after.out, after.err) == ("", "no alerts\n")


def test_what_has_only_an_id_is_called_by_its_name(lab: Path) -> None:
    arm = "01JYKZDPANTNRYXF5TQKRJS0F2"
    with LiveServer(lab, db="memory:") as server:
        log(server, "homed", source={"node_id": arm, "name": "robotarm_1"}, log_level="info")
        log(server, "stuck", source={"node_id": arm})
        while not (listed := run_here("alerts", "list", server=server.url)).out:
            """Alerts are counted right after the event is stored."""
        alert_id = listed.out.split()[0]
        shown = run_here("alerts", "show", alert_id, server=server.url)
        taken_on = run_here("alerts", "ack", alert_id, server=server.url)
        status = run_here("status", server=server.url)
        as_data = json.loads(run_here("alerts", "list", "-o", "json", server=server.url).out)

    assert "robotarm_1  stuck" in listed.out
    assert "robotarm_1: stuck" in shown.out
    assert "robotarm_1  stuck" in taken_on.out
    assert "robotarm_1 stuck" in status.out
    assert [alert["source"] for alert in as_data] == [arm]


def test_lists_are_data_for_programs(shared: LiveServer) -> None:
    [whole] = json.loads(run_here("alerts", "list", "-o", "json", server=shared.url).out)
    [line] = run_here("alerts", "list", "-o", "jsonl", server=shared.url).lines
    [row] = csv.DictReader(io.StringIO(run_here("alerts", "list", "-o", "csv", server=shared.url).out))
    [mail] = json.loads(run_here("alerts", "outbox", "list", "--state", "all", "-o", "json", server=shared.url).out)

    assert whole == json.loads(line)
    assert (row["alert_id"], row["count"]) == (whole["alert_id"], "1")
    assert (mail["recipients"], mail["alert_ids"]) == ([ADA], [whole["alert_id"]])


def test_a_silence_is_made_listed_and_ended(server: LiveServer) -> None:
    made = run_here(
        *(
            "alerts",
            "silence",
            "--node",
            "arm",
            "--level",
            "error",
            "--for",
            "2h",
            "--reason",
            "cleaning",
            "--by",
            "ada",
        ),
        server=server.url,
    )
    listed = run_here("alerts", "silences", server=server.url)
    ended = run_here("alerts", "unsilence", made.out.split()[0], server=server.url)

    assert [made.code, listed.code, ended.code] == [0, 0, 0]
    assert "node=arm" in listed.out
    assert "ada: cleaning" in listed.out
    assert " over  " in ended.out
    assert run_here("alerts", "silences", server=server.url).out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("silence", "--node", "x", "--reason", "r"), 2, "--for: or --until must say when it ends"),
        (("silence", "--node", "x", "--for", "2h"), 2, "--reason"),
        (("silence", "--for", "2h", "--reason", "r"), 1, "would silence the whole lab"),
        (("silence", "--node", "x", "--until", "2020-01-01T00:00:00Z", "--reason", "r"), 2, "in the past"),
        (
            ("silence", "--node", "x", "--until", "2999-01-01", "--reason", "r"),
            1,
            "error: --until: must be in the future",
        ),
        (
            ("silence", "--node", "x", "--for", "31d", "--reason", "r"),
            1,
            "error: --for: must be in the future, at most 30",
        ),
        (("silence", "--node", "x", "--for", "9999999d", "--reason", "r"), 2, "--for: is beyond the calendar's end"),
        (("show", "zzzz"), 1, "there is no alert 'zzzz'"),
        (("list", "--state", "closed"), 2, "closed"),
        (("test", "--to", "eve@elsewhere.test"), 1, "this server mails only ada@lab.test"),
        (("outbox", "cancel", "zzzz"), 1, "there is no mail 'zzzz'"),
    ],
)
def test_what_cannot_be_is_said_on_stderr(
    shared: LiveServer, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ran = run_here("alerts", *arguments, server=shared.url)

    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err


def test_explain_says_which_rule_and_which_mail(shared: LiveServer) -> None:
    [alert] = json.loads(run_here("alerts", "list", "-o", "json", server=shared.url).out)
    ran = run_here("alerts", "explain", alert["first_event_id"], server=shared.url)

    assert ran.code == 0
    assert "Rule alert_level matches: the level reaches alert_level.\n" in ran.out
    assert f"{ADA}: mail " in ran.out
    assert "was taken by the mail server (250 taken)" in ran.out


def test_explain_says_why_there_is_no_mail(shared: LiveServer) -> None:
    ran = run_here("alerts", "explain", log(shared, "fine", "info"), server=shared.url)

    assert "The event is INFO, without the alert flag.\nNo rule matches" in ran.out


def test_the_server_proves_that_mail_comes(server: LiveServer, office: PostOffice) -> None:
    ran = run_here("alerts", "test", server=server.url)

    assert ran.code == 0
    assert f"C RCPT TO:<{ADA}>\nS 250 OK\n" in ran.out
    assert f"TAKEN  {ADA}  250 taken\n" in ran.out
    assert office.post.subjects[-1] == "[Robot Lab] TEST: alert mail works"


def test_a_refusal_is_the_exit_code_and_the_remedy(server: LiveServer, office: PostOffice) -> None:
    office.post.rcpt_answers = {ADA: "550 no such person"}
    ran = run_here("alerts", "test", "--to", ADA, server=server.url)

    assert ran.code == 1
    assert f"NOT TAKEN  {ADA}  the mail server 127.0.0.1:{office.post.port} refused the recipient" in ran.out
    assert "check the address" in ran.out


def test_a_definition_is_proved_without_a_server(lab: Path) -> None:
    with a_post_office(login=True) as office:
        definition = a_definition(lab, office.post.port, smtp_username="bell", smtp_password=PASSWORD)
        right = run_here("alerts", "test", "--definition", str(definition))
        wrong = run_here(
            *("alerts", "test", "--definition", str(definition)),
            environment={"EVENT_EMAIL_ALERTS__SMTP_PASSWORD": "not it"},
        )

    assert (right.code, office.post.recipients) == (0, [ADA])
    assert PASSWORD not in right.out + right.err
    assert wrong.code == 1
    assert "refused the login as bell (535" in wrong.out
    assert "check smtp_username and smtp_password" in wrong.out
    assert "not it" not in wrong.out + wrong.err


def test_a_dry_run_shows_the_mail_and_contacts_nobody(lab: Path) -> None:
    definition = a_definition(lab, free_port())
    ran = run_here("alerts", "test", "--dry-run", "--definition", str(definition))

    assert ran.code == 0
    assert "Subject: [Robot Lab] TEST: alert mail works\n" in ran.out
    assert f"NOT SENT  {ADA}" in ran.out
    assert "no mail was sent" in ran.err


def test_a_mail_server_that_is_not_there_is_said_so(lab: Path) -> None:
    definition = a_definition(lab, free_port())
    ran = run_here("alerts", "test", "--definition", str(definition))

    assert ran.code == 1
    assert "connection refused" in ran.out
    assert "check smtp_server and smtp_port" in ran.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("email_alerts: {smtp_prt: 25}", "email_alerts.smtp_prt: is not a setting here"),
        ("email_alerts: {email_addresses: [nobody]}", "'nobody' is not a mail address"),
        ("alert_level: 40", "email_alerts: is not set, so nobody is ever mailed"),
        ("email_alerts: {smtp_server: 127.0.0.1}", "email_addresses: names nobody"),
        ("alert_level: loud", "'loud' is not a level"),
        ("alert_rules: [{name: a, query: {nod: x}}]", "alert_rules[0].query.nod"),
        ("a: [", "events.manager.yaml:1: is not YAML"),
        ("- a", "must hold fields"),
    ],
)
def test_what_is_wrong_in_a_definition_is_named(lab: Path, text: str, words: str) -> None:
    (lab / "events.manager.yaml").write_text(text)
    ran = run_here("alerts", "test", "--definition", "events.manager.yaml")

    assert ran.code == 2
    assert words in ran.err


def test_an_outbox_can_be_emptied_and_filled_again(lab: Path, office: PostOffice) -> None:
    office.post.data_answer = "451 not now"
    with a_server(lab, office) as server:
        log(server, "Tip lost")
        waiting = ""
        while "not now" not in waiting:  # the first try is under way
            waiting = run_here("alerts", "outbox", "list", server=server.url).out
        mail_id = waiting.split()[0]
        cancelled = run_here("alerts", "outbox", "cancel", mail_id, server=server.url)
        office.post.data_answer = None
        shown = run_here("alerts", "outbox", "show", mail_id, server=server.url)
        retried = run_here("alerts", "outbox", "retry", mail_id[:6], server=server.url)
        office.wait_until(lambda post: len(post.taken) == 1)

    assert "cancelled" in cancelled.out
    assert "Subject: [Robot Lab] ERROR Tip lost" in shown.out
    assert "pending" in retried.out
