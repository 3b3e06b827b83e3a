"""What every test can use.

The environment is clean and the working directory empty in every test. Servers are real: `mongod` here, others in the
modules that start them (`processes.py` runs any program). A store's contract, an event and a query come from the
`factories` beside the tests that need them.
"""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from blockbuster import blockbuster_ctx
from hypothesis.configuration import set_hypothesis_home_dir

from tests import environment
from tests.mongod import Mongod
from tests.no_silent_skips import pytest_sessionfinish

__all__ = ["pytest_sessionfinish"]

# Examples that failed are tried again first; tests run in directories of their own, so the place is said here.
set_hypothesis_home_dir(Path(__file__).parents[1] / ".hypothesis")
# A slow example is no failure: how fast we are is measured in benchmarks/.
hypothesis.settings.register_profile("tests", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True, scope="session")
def _clean_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For what is started once and serves many tests."""
    environment.hear_signals()
    with pytest.MonkeyPatch.context() as monkeypatch:
        environment.clean(monkeypatch, tmp_path_factory.mktemp("home"))
        yield


@pytest.fixture(autouse=True)
def _clean_test(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A home and a working directory of its own: what a test leaves in them no other test finds."""
    home = tmp_path_factory.mktemp("home")
    here = home / "lab"
    here.mkdir()
    environment.clean(monkeypatch, home)
    monkeypatch.chdir(here)


@pytest.fixture
def lab() -> Path:
    """The empty directory the test runs in."""
    return Path.cwd()


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A replica set of one, as MongoDB wants it for transactions; shared, so take a database of your own from it."""
    with Mongod.replica_set(tmp_path_factory.mktemp("mongod"), 1) as running:
        yield running


@pytest.fixture(scope="session")
def standalone_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A `mongod` by itself, without transactions; shared, too."""
    with Mongod.standalone(tmp_path_factory.mktemp("standalone")) as running:
        yield running


@pytest.fixture
def mongodb_url(mongod: Mongod) -> str:
    """Where MongoDB is, with a database nobody else uses."""
    return mongod.new_database()


@pytest.fixture
def no_blocking() -> Iterator[None]:
    """A blocking call of the server's code on the event loop is an error, not a pause for everybody.

    For tests that run the server's coroutines in their own process.
    """
    with blockbuster_ctx("madsci_event_server"):
        yield
