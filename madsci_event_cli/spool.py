"""Events on disk until the server has acknowledged them: the spool a lab's own programs may look into."""

from madsci_event_cli.sending.spool import (
    DEFAULT_MAX_BYTES,
    SERVER_URL,
    SET_ASIDE,
    Loss,
    SetAside,
    Source,
    Spool,
    WhenFull,
    default_root,
    directory_for,
)

__all__ = [
    "DEFAULT_MAX_BYTES",
    "SERVER_URL",
    "SET_ASIDE",
    "Loss",
    "SetAside",
    "Source",
    "Spool",
    "WhenFull",
    "default_root",
    "directory_for",
]
