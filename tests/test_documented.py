"""What README says is what is: a newcomer follows it to the letter."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def section(heading: str) -> str:
    """The text of one of README's sections, up to the next of its rank."""
    readme = (REPOSITORY / "README.md").read_text()
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    assert found, f"README has no section {heading!r}"
    return found[1]


def commands(text: str) -> list[str]:
    """The lines of its shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def ci_steps() -> list[str]:
    """The commands `.ci/run` takes from README."""
    script = (REPOSITORY / ".ci/run").read_text()
    return re.findall(r'\bdocumented "(.*?)"(?: |$)', script, re.MULTILINE)


def test_ci_runs_the_documented_commands_in_their_order() -> None:
    documented = commands(section("Develop"))

    assert ci_steps() == [command for command in documented if command in ci_steps()]
    assert "python -m pytest" in ci_steps()


def test_ci_leaves_out_only_the_environment_it_makes_elsewhere() -> None:
    left_out = [command for command in commands(section("Develop")) if command not in ci_steps()]

    assert left_out == ["python3 -m venv .venv", ". .venv/bin/activate"]


@pytest.mark.parametrize("package", ["madsci_event_server", "madsci_event_cli"])
def test_every_module_on_the_map_exists(package: str) -> None:
    tables = section("Map of the code").split("| `madsci_event_")
    table = next(t for t in tables if t.startswith(package.removeprefix("madsci_event_")))
    first_column = re.findall(r"^\|([^|]*)\|", table.split("\n\n")[0], re.MULTILINE)
    named = re.findall(r"`([\w/.]+)`", " ".join(first_column))

    assert named
    assert [name for name in named if not (REPOSITORY / package / name).exists()] == []
