"""What output must be, byte for byte, in files. To accept a change: run the tests with REWRITE_GOLDEN=1, and look."""

import os
from pathlib import Path

_FOLDER = Path(__file__).parent / "golden"


def check(name: str, found: bytes) -> None:
    """Compares with the file of that name."""
    path = _FOLDER / name
    if os.environ.get("REWRITE_GOLDEN"):
        path.write_bytes(found)
    assert found == path.read_bytes()
