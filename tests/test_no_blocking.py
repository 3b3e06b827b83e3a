"""The guard of `no_blocking` in conftest.py bites."""

from pathlib import Path

import pytest
from blockbuster import BlockingError

from madsci_event_server.settings import lab_directory


@pytest.mark.usefixtures("no_blocking")
async def test_a_blocking_call_on_the_event_loop_is_an_error(lab: Path) -> None:
    """Looking for the lab's directory reads the disk."""
    with pytest.raises(BlockingError):
        lab_directory(lab, home=lab.parent.parent)


async def test_without_the_fixture_it_is_not(lab: Path) -> None:
    assert lab_directory(lab, home=lab.parent.parent) == lab
