"""The guard of tests/no_silent_skips.py, on a session of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def run_pytest(folder: Path, test: str, *, ci: str) -> subprocess.CompletedProcess[str]:
    """A session of its own over that test and one that passes."""
    (folder / "test_it.py").write_text(f"import pytest\n\n{test}\n")
    (folder / "test_another.py").write_text("def test_passes(): pass\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.no_silent_skips", "-p", "no:cacheprovider"]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "test",
    [
        "@pytest.mark.skip(reason='not today')\ndef test_it(): pass",
        "pytest.importorskip('no_such_module')",
        "def test_it(): pytest.skip('no server')",
    ],
    ids=["mark", "whole module", "inside"],
)
def test_a_skipped_test_fails_the_session_on_ci_and_is_named(test: str, tmp_path: Path) -> None:
    on_ci = run_pytest(tmp_path, test, ci="true")
    elsewhere = run_pytest(tmp_path, test, ci="")

    assert on_ci.returncode == pytest.ExitCode.TESTS_FAILED
    assert "skipped, which fails on CI" in on_ci.stdout
    assert "test_it.py" in on_ci.stdout.split("which fails on CI")[1]
    assert elsewhere.returncode == pytest.ExitCode.OK


def test_a_session_without_skips_passes_on_ci(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, "def test_it(): pass", ci="true").returncode == pytest.ExitCode.OK
