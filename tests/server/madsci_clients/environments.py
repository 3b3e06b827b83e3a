"""MADSci's real clients, each generation in a virtual environment of its own.

They cannot share ours: MADSci's models need a Pydantic older than ours. An environment is built once and kept in the
user's cache, under a name that changes with what is in it.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import environment

BUILD_SECONDS = 900


@dataclass(frozen=True)
class Generation:
    """What one generation of MADSci needs to be installed as it was."""

    version: str
    requirements: tuple[str, ...]
    """Installed with all they depend on."""

    readme: str
    """The distribution whose long description is the manual of the client. Installed by itself, for its text alone."""


def _generation(version: str) -> Generation:
    # `madsci.client` asks for any `madsci.common`: unpinned it would be an old client on new models.
    requirements = (f"madsci.client=={version}", f"madsci.common=={version}", "pydantic==2.12.5")
    return Generation(version, requirements, f"madsci.event_manager=={version}")


MADSCI_2025 = _generation("0.3.0")
"""Of May 2025: `requests`, definition files, `event_id` in answers."""

MADSCI_2026 = _generation("0.8.1")
"""The newest: HTTPX, retries, `_id` in answers."""


MADSCI_2026_SERVER = Generation(
    "0.8.1",
    ("madsci.event_manager==0.8.1", "madsci.client==0.8.1", "madsci.common==0.8.1", "pydantic==2.12.5"),
    "madsci.event_manager==0.8.1",
)
"""The newest event manager itself, to see what it leaves in MongoDB."""


def environment_of(generation: Generation) -> Path:
    """The Python interpreter that has it. Takes half a minute and the network the first time.

    Raises CalledProcessError with pip's words when it cannot be built: without the real clients nothing is proved.
    """
    environment.CACHE.mkdir(parents=True, exist_ok=True)
    folder = environment.CACHE / f"madsci-{generation.version}-{_fingerprint(generation)}"
    complete = folder / "complete"
    with _alone(folder.with_suffix(".lock")):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _build(folder, generation)
            complete.touch()
    return folder / "bin" / "python"


def _fingerprint(generation: Generation) -> str:
    contents = [sys.version, *generation.requirements, generation.readme]
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()[:12]


def _build(folder: Path, generation: Generation) -> None:
    _run(sys.executable, "-m", "venv", str(folder))
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check")
    _run(*pip, *generation.requirements)
    _run(*pip, "--no-deps", generation.readme)


def _run(*command: str) -> None:
    # Standard error stays where pytest captures it: a failing build shows pip's own words.
    subprocess.run(
        command, check=True, env=dict(environment.DEVELOPERS), stdin=subprocess.DEVNULL, timeout=BUILD_SECONDS
    )


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One test session builds, the others wait."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
