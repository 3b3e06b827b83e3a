"""Events of a real MADSci lab: a whole recording of 4,200, and a sample of it that is quicker to look at."""

import gzip
import json
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parent / "data"
SAMPLE = _DATA / "lab_events_sample.jsonl"
RECORDING = _DATA / "lab_events.jsonl.gz"


def read(file: Path) -> list[dict[str, Any]]:
    """The events of a file, one a line, as MADSci answered them."""
    content = file.read_bytes()
    text = gzip.decompress(content) if file.suffix == ".gz" else content
    return [json.loads(line) for line in text.splitlines()]


def as_sent(event: dict[str, Any]) -> dict[str, Any]:
    """The event as its sender's client wrote it: the id is `event_id` there."""
    return {"event_id": event["_id"], **{name: value for name, value in event.items() if name != "_id"}}
