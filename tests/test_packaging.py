"""What `pip install .` puts on a fresh machine."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("madsci_event_server", "madsci_event_cli")


def files_of(packages: Path) -> set[str]:
    """Every file of both packages, modules and data, relative to the folder that holds them."""
    found = (path for package in PACKAGES for path in (packages / package).rglob("*"))
    return {path.relative_to(packages).as_posix() for path in found if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_user_gets_every_file_of_both_packages(tmp_path: Path) -> None:
    """From the sources as they are, into an environment without the test dependencies."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", REPOSITORY], check=True, stdin=subprocess.DEVNULL)
    asked = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert files_of(Path(asked.stdout.strip())) == files_of(REPOSITORY)
    subprocess.run([python, "-m", "pip", "check"], check=True)
