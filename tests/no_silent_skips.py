"""On continuous integration a skipped test is a failure: what did not run was not checked.

A pytest plugin; `conftest.py` takes it in. A skip that is right everywhere we run goes into `ALLOWED_SKIPS`, with why.
"""

import os

import pytest

ALLOWED_SKIPS: dict[str, str] = {}
"""Node id (or its beginning) -> why it may be skipped on continuous integration."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session, otherwise passed, in which a test was skipped that `ALLOWED_SKIPS` does not name."""
    is_worker = hasattr(session.config, "workerinput")  # pytest-xdist's; they report to the session that counts
    if is_worker or not os.environ.get("CI"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None, "skipped tests are counted by pytest's terminal reporter, which is switched off"
    skipped = [report.nodeid for report in reporter.stats.get("skipped", [])]
    unexplained = [nodeid for nodeid in skipped if not nodeid.startswith(tuple(ALLOWED_SKIPS))]
    if not unexplained:
        return
    reporter.section("skipped, which fails on CI", red=True)
    for nodeid in unexplained:
        reporter.line(nodeid)
    if session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
