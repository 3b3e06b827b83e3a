"""Files that are there whole or not at all, whatever interrupts the writing."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
READABLE = 0o644


def write_whole(path: Path, text: str, *, replace: bool, mode: int = READABLE) -> None:
    """Writes a file that nobody ever sees half of; its directories are made, too.

    Raises FileExistsError where it is there and `replace` is False: nothing is changed then. Raises OSError.
    """
    folder_mode = 0o700 if mode == PRIVATE else 0o777
    path.parent.mkdir(parents=True, exist_ok=True, mode=folder_mode)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    made = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        made.chmod(mode)
        if not replace and path.exists():
            raise FileExistsError(f"{path} is there already")
        made.replace(path)
    finally:
        with suppress(FileNotFoundError):  # it has its name
            made.unlink()
