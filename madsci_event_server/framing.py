"""What programs beside the server and the server say to each other: how long it is, in 4 bytes, and then itself.

A message of no bytes says by itself that something has come so far. All others are values as `marshal` writes them:
both ends are the same Python.
"""

import marshal
import struct
from typing import Any, Final

HEAD: Final = struct.Struct(">I")
"""The length of what follows."""
NOTICE: Final = HEAD.pack(0)
"""The first says that the program can be asked; a later one, that the question it is at has come so far."""


def message(value: Any) -> tuple[bytes, bytes]:
    """A value as it is sent, in two pieces."""
    body = marshal.dumps(value)
    return HEAD.pack(len(body)), body
