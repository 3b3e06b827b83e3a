"""Without colour nothing crashes, and levels are still told apart: the dashboard's tests, once more, under NO_COLOR."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from madsci_event_server.vocabulary import EventLogLevel
from tests.tui.watching import SAMPLE, file_source, numbered, watching, write_events

HERE = Path(__file__)


@pytest.mark.skipif("NO_COLOR_RUN" in os.environ, reason="this is that run")
@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_whole_suite_without_color() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(HERE.parent)],
        env=os.environ | {"NO_COLOR_RUN": "1"},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout[-5000:]


async def test_levels_have_their_letters_and_glyphs(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    events = [event.changed(log_level=level) for event, level in zip(numbered(6), EventLogLevel, strict=True)]
    async with watching(file_source(write_events(lab / "events.jsonl", events))) as dashboard:
        assert dashboard.pilot.app.no_color
        for line, mark in zip(dashboard.shown, ["---", "· DBG", "INF", "▲ WRN", "✖ ERR", "✖ CRT"], strict=False):
            assert mark in line


async def test_bars_with_errors_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with watching(file_source(SAMPLE)) as dashboard:
        assert "✖" in dashboard.histogram.splitlines()[-1]
