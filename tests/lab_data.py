"""Events of a real MADSci lab: a sample beside the tests, and the whole recording where it stands beside us."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

_REPOSITORY = Path(__file__).parents[1]
SAMPLE = _REPOSITORY / "tests/data/lab_events_sample.jsonl"
RECORDING = _REPOSITORY.parent / "shared/data/lab_events.jsonl"


def read(file: Path) -> list[dict[str, Any]]:
    """The events of a file, one a line, as MADSci answered them."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def whole() -> list[dict[str, Any]]:
    """The whole recording. Skips the test without it; continuous integration has it, and a skip fails there."""
    if not RECORDING.exists():
        assert not os.environ.get("CI"), f"continuous integration needs {RECORDING}"
        pytest.skip(f"the whole recording is not at {RECORDING}; the sample was tried")
    return read(RECORDING)


def as_sent(event: dict[str, Any]) -> dict[str, Any]:
    """The event as its sender's client wrote it: the id is `event_id` there."""
    return {"event_id": event["_id"], **{name: value for name, value in event.items() if name != "_id"}}
