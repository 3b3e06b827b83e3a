"""What the dashboard's tests share."""

import os

import pytest


@pytest.fixture(autouse=True)
def _without_color_on_request(_clean_test: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`NO_COLOR_RUN=1 pytest tests/tui` runs every test on a screen without colour."""
    if "NO_COLOR_RUN" in os.environ:
        monkeypatch.setenv("NO_COLOR", "1")
