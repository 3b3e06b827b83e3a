"""Server-Sent Events: how one message is written. Leaf.

Data is compact JSON, so it never holds a line break and a message is always one `data:` line.
"""

MEDIA_TYPE = "text/event-stream"


def message(data: bytes, *, cursor: str, name: str = "") -> bytes:
    """One message; `cursor` is where a reader goes on who has taken it. Without a name it is an event of the log."""
    if name:
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), name.encode(), data)
    return b"id: %b\ndata: %b\n\n" % (cursor.encode(), data)


def retry(milliseconds: int) -> bytes:
    """Tells a browser how long to wait before it connects again; goes before a message."""
    return b"retry: %d\n" % milliseconds
