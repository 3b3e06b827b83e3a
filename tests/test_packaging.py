"""What `pip install .` puts on a fresh machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import environment

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("madsci_event_server", "madsci_event_cli")


def files_of(packages: Path) -> set[str]:
    """Every file of both packages, modules and data, relative to the folder that holds them."""
    found = (path for package in PACKAGES for path in (packages / package).rglob("*"))
    return {path.relative_to(packages).as_posix() for path in found if path.is_file() and path.suffix != ".pyc"}


def run(*command: str | Path) -> str:
    """What it prints. In the developer's environment: pip needs its proxies and indexes."""
    settings = dict(environment.DEVELOPERS)
    return subprocess.run(
        command, check=True, env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True
    ).stdout


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_user_gets_every_file_of_both_packages(tmp_path: Path) -> None:
    """From the sources as they are, into an environment without the test dependencies."""
    folder = tmp_path / "environment"
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "venv", folder)
    run(python, "-m", "pip", "install", "--quiet", REPOSITORY)
    run(python, "-m", "pip", "check")

    installed = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    assert files_of(installed) == files_of(REPOSITORY)
    assert "madsci-events serve" in run(folder / "bin" / "madsci-events", "--help")
