"""Lines from a pipe that may run for days: each as soon as it is there, none lost when the run is stopped."""

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO

from madsci_event_cli.sending.outgoing import MAX_EVENT_BYTES

_CHUNK: Final = 64 * 1024
_CHUNKS_AHEAD: Final = 16
"""How far reading may be ahead: what is read and not yet spooled dies with the process."""
_AFTER_INTERRUPT_SECONDS: Final = 1.0
"""Ctrl-C reaches the whole pipeline: what the instrument says last is still on its way."""
_AFTER_TERMINATE_SECONDS: Final = 0.1


class PipedLines:
    """Iterates over the lines of `stream`, without their ends; blank ones are left out.

    Ends with the stream, or after SIGINT or SIGTERM once what was already written has been read: `stopped_by` tells. A
    line of more than MAX_EVENT_BYTES comes in parts. From the main thread only; a second SIGINT interrupts.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(_CHUNKS_AHEAD)
        self.stopped_by: signal.Signals | None = None

    def __iter__(self) -> Iterator[bytes]:
        # A thread reads, and signal handlers only leave word: an exception in the middle of reading would lose a line.
        threading.Thread(target=self._read, name="madsci-events stdin", daemon=True).start()
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield from self._lines()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _: Any) -> None:
        self.stopped_by = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._chunks.put(b"")  # SimpleQueue: may be called in the middle of its own get()

    def _read(self) -> None:
        read = _reading(self._stream)
        while True:
            self._room.acquire()
            try:
                chunk = read(_CHUNK)
            except (OSError, ValueError):  # the terminal is gone, or the stream was closed under us
                chunk = b""
            self._chunks.put(chunk or None)
            if not chunk:
                return

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        while (chunk := self._next_chunk()) is not None:
            if chunk:
                self._room.release()
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line for line in map(_without_end, lines) if line.strip())
            if len(rest) > MAX_EVENT_BYTES:
                yield rest
                rest = b""
        if rest.strip():
            yield _without_end(rest)

    def _next_chunk(self) -> bytes | None:
        """None at the end, or when nothing comes any more after a stop."""
        if self.stopped_by is None:
            return self._chunks.get()
        grace = _AFTER_INTERRUPT_SECONDS if self.stopped_by == signal.SIGINT else _AFTER_TERMINATE_SECONDS
        try:
            return self._chunks.get(timeout=grace)
        except queue.Empty:
            return None


def _reading(stream: TextIO) -> Callable[[int], bytes]:
    """What is there is returned at once; only where nothing is, is it waited for."""
    buffer: Any = getattr(stream, "buffer", None)
    if buffer is not None:
        read: Callable[[int], bytes] = buffer.read1
        return read
    return lambda size: stream.read(size).encode("utf-8", "replace")


def _without_end(line: bytes) -> bytes:
    return line.removesuffix(b"\r")
