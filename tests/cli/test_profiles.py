"""Several labs: which server a command talks to."""

import json
from collections.abc import Mapping
from pathlib import Path

import platformdirs
import pytest

from madsci_event_cli.profiles import Profiles
from madsci_event_cli.session import server_address
from madsci_event_server.errors import InvalidInput
from tests.cli.runs import Ran, run_here

LAB = "http://lab:8001"
OTHER = "https://other.example.org"


@pytest.fixture(autouse=True)
def _two_profiles() -> None:
    run_here("profile", "add", "lab", f"{LAB}/")
    run_here("profile", "add", "other", OTHER)


@pytest.mark.parametrize(
    ("option", "environment", "profile", "server"),
    [
        ("http://o", {"EVENT_SERVER_URL": "http://e", "MADSCI_EVENTS_PROFILE": "other"}, "other", "http://o"),
        (None, {"EVENT_SERVER_URL": "http://e", "MADSCI_EVENTS_PROFILE": "other"}, "other", "http://e"),
        (None, {"MADSCI_EVENTS_PROFILE": "lab"}, "other", OTHER),
        (None, {"MADSCI_EVENTS_PROFILE": "other"}, None, OTHER),
        (None, {}, None, LAB),
    ],
)
def test_option_environment_profile_in_that_order(
    option: str | None, environment: Mapping[str, str], profile: str | None, server: str
) -> None:
    assert server_address(option, environment, profile) == server


def test_without_any_it_is_this_machine() -> None:
    run_here("profile", "remove", "lab")

    assert server_address(None, {}) == "http://localhost:8001"


def listed() -> Ran:
    return run_here("profile", "list")


def test_the_first_is_in_use_until_another_is_used() -> None:
    before = listed().lines
    run_here("profile", "use", "other")

    assert before == [f"* lab    {LAB}", f"  other  {OTHER}"]
    assert listed().lines == [f"  lab    {LAB}", f"* other  {OTHER}"]
    assert json.loads(run_here("profile", "list", "-o", "json").out)[1] == {
        "name": "other", "server": OTHER, "current": True
    }  # fmt: skip


def test_only_this_user_can_read_them() -> None:
    path = platformdirs.user_config_path("madsci-events") / "profiles.json"

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_profile_that_is_none_is_told_those_there_are() -> None:
    for arguments in (["status", "--profile", "lob"], ["profile", "use", "lob"], ["profile", "remove", "lob"]):
        ran = run_here(*arguments)
        assert ran.code == 2
        assert "'lob' is no profile; there are lab, other" in ran.err


def test_a_profile_is_heeded_before_and_after_the_command(server: str) -> None:
    run_here("profile", "add", "here", server)

    assert run_here("--profile", "here", "query", "-n", "1").code == 0
    assert run_here("query", "-n", "1", "--profile", "here").code == 0


def test_a_file_that_is_none_of_ours_is_told() -> None:
    path = Path("profiles.json")
    path.write_text("[]")

    with pytest.raises(InvalidInput, match="mend it or delete it"):
        Profiles.read(path)
