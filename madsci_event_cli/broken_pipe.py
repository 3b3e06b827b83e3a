"""Whether anybody still reads what we write, known without writing: it may be quiet for hours."""

import asyncio
import io
import os
import select
import stat
from typing import BinaryIO, TextIO


async def reader_gone(stream: BinaryIO) -> None:
    """Returns once the other end of this pipe or socket is closed. Never, where it is neither or this system can't say:
    there the next write tells.
    """
    end, woken = _two_ended(stream), asyncio.Event()
    if end is not None and _watch(end, woken):
        try:
            await woken.wait()
        finally:
            asyncio.get_running_loop().remove_reader(end)
        if _is_closed(end):
            return
    await asyncio.Event().wait()


def hung_up(terminal: TextIO) -> bool:
    """Whether this was a terminal and is gone: its window closed, its connection lost. False where nobody can say."""
    try:
        end = terminal.fileno()
    except io.UnsupportedOperation:
        return False
    # It is no terminal to `isatty` any more; a character device it is still.
    return hasattr(select, "poll") and stat.S_ISCHR(os.fstat(end).st_mode) and _is_closed(end)


def _two_ended(stream: BinaryIO) -> int | None:
    try:
        end = stream.fileno()
    except io.UnsupportedOperation:
        return None
    mode = os.fstat(end).st_mode
    return end if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None


def _watch(end: int, woken: asyncio.Event) -> bool:
    """An end that is only written to never has anything to read: what wakes us is its closing."""
    try:
        asyncio.get_running_loop().add_reader(end, woken.set)
    except NotImplementedError:  # Windows' event loop
        return False
    return True


def _is_closed(end: int) -> bool:
    poll = select.poll()
    poll.register(end, select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
