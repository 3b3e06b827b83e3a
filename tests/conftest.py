"""What every test can use."""

from tests.no_silent_skips import pytest_sessionfinish

__all__ = ["pytest_sessionfinish"]
