"""Files that hold one secret and nothing else."""

import os
from pathlib import Path

from pydantic import SecretStr

from madsci_event_server.errors import InvalidSettings


def read_secret(path: Path, field: str) -> SecretStr:
    """The one line of a file that nobody else may read. Raises InvalidSettings that names the field and the way out."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidSettings(
            field, f"{path} cannot be read ({reason}); put the secret there, for this user alone (chmod 600)"
        ) from None
    if os.name == "posix" and mode & 0o077:
        raise InvalidSettings(field, f"{path} can be read by others; run chmod 600 {path}")
    secret = text.rstrip("\r\n")
    if not secret or "\n" in secret:
        raise InvalidSettings(field, f"{path} must hold the secret as its only line")
    return SecretStr(secret)
