"""A lane: the events of one process on disk, in order. See `spool`, whose files these are.

<lane>.lock           locked while the process that writes the lane lives
<lane>.000001.jsonl   its events, one line each, only appended to; 000002 follows when it is full
<lane>.ack            up to where the server has acknowledged them: segment and byte
"""

import contextlib
import errno
import os
import re
import sys
import threading
from collections import Counter, deque
from pathlib import Path
from typing import Final, NamedTuple

from madsci_event_cli.sending.event_ids import new_event_id
from madsci_event_cli.sending.file_locks import take_lock

MEMORY_BYTES: Final = 8 * 1024 * 1024
"""Events kept in memory where the disk takes none."""

BINARY: Final = getattr(os, "OBINARY", 0)
APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY
_LEAST_READ: Final = 64 * 1024
_SEGMENT: Final = re.compile(r"(?P<lane>[^.]+)\.(?P<number>\d{6,})\.jsonl")


class Lane:
    """The events of one process, read from the first that is not acknowledged. One thread reads, one at a time.

    A lane of one's own is also written to, by `OwnLane`.
    """

    def __init__(self, directory: Path, name: str, lock: int) -> None:
        self._directory = directory
        self.name = name
        self._lock = lock
        self._segments: deque[int] = deque(_segments_of(directory, name))
        self._offset = self._find_place()
        self._reader: int | None = None

    @classmethod
    def adopt(cls, directory: Path, name: str) -> "Lane | None":
        """The lane of a process that has ended; None while it lives, or where another took it first."""
        lock = take_lock(directory / f"{name}.lock", create=False)
        return None if lock is None else cls(directory, name, lock)

    @property
    def pending_bytes(self) -> int:
        """How much of it is not acknowledged."""
        sizes = 0
        for number in tuple(self._segments):
            with contextlib.suppress(FileNotFoundError):
                sizes += self._path(number).stat().st_size
        return max(0, sizes - self._offset)

    def read(self, limit: int) -> bytes:
        """Whole lines of `limit` bytes together, and never less than one; nothing where nothing waits.

        The end of a dead process's last line may be missing; what is there of it comes alone and without a line end.
        """
        while self._segments:
            lines = self._read_lines(limit)
            if lines or not self._next_segment():
                return lines
        return b""

    def acknowledge(self, size: int) -> None:
        """The first `size` bytes of what `read` gives are the server's now."""
        self._offset += size
        self._write_place()

    def remove(self) -> None:
        """Deletes the lane's files and gives up its lock."""
        self._close_reader()
        for number in self._segments:
            self._path(number).unlink(missing_ok=True)
        (self._directory / f"{self.name}.ack").unlink(missing_ok=True)
        lock_file = self._directory / f"{self.name}.lock"
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(self._lock)
            with contextlib.suppress(PermissionError):  # whoever opened it in between removes it
                lock_file.unlink(missing_ok=True)
        else:
            lock_file.unlink(missing_ok=True)
            os.close(self._lock)

    def leave(self) -> None:
        """Closes the files and leaves them to whoever comes."""
        self._close_reader()
        os.close(self._lock)

    def _path(self, number: int) -> Path:
        return _segment_path(self._directory, self.name, number)

    def _read_lines(self, limit: int) -> bytes:
        if self._reader is None:
            self._reader = os.open(self._path(self._segments[0]), os.O_RDONLY | BINARY)
        os.lseek(self._reader, self._offset, os.SEEK_SET)
        asked = max(limit, _LEAST_READ)
        found = os.read(self._reader, asked)
        end = found.rfind(b"\n", 0, limit)
        while end < 0 and found:
            end = found.find(b"\n")
            more = os.read(self._reader, asked) if end < 0 else b""
            if end < 0 and not more:
                return self._unfinished(found)
            found += more
        return found[: end + 1]

    def _unfinished(self, found: bytes) -> bytes:
        return found

    def _next_segment(self) -> bool:
        if len(self._segments) < 2:
            return False
        self._close_reader()
        done = self._segments.popleft()
        self._offset = 0
        self._write_place()
        self._path(done).unlink(missing_ok=True)
        return True

    def _close_reader(self) -> None:
        if self._reader is not None:
            os.close(self._reader)
            self._reader = None

    def _find_place(self) -> int:
        """Drops the segments that are acknowledged as a whole; the byte to go on from in the first that is left."""
        segment, offset = _place_of(self._directory, self.name)
        while self._segments and self._segments[0] < segment:
            self._path(self._segments.popleft()).unlink(missing_ok=True)
        if self._segments and self._segments[0] == segment:
            return min(offset, self._path(segment).stat().st_size)
        return 0

    def _write_place(self) -> None:
        place = f"{self._segments[0]} {self._offset}\n".encode()
        # Fixed width, so that one write replaces the last one whole.
        with contextlib.suppress(OSError):  # a full disk: what is sent again does no harm
            descriptor = os.open(self._directory / f"{self.name}.ack", os.O_WRONLY | os.O_CREAT | BINARY, 0o600)
            try:
                os.write(descriptor, place.ljust(40))
            finally:
                os.close(descriptor)


class OwnLane(Lane):
    """The lane of this process. `append` comes from any thread, holding `guard`."""

    def __init__(self, directory: Path, guard: threading.RLock, segment_bytes: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name, lock = _new_lane(directory)
        super().__init__(directory, name, lock)
        self._guard = guard
        self._segment_bytes = segment_bytes
        self._writer = -1
        self._written = 0
        self._notices: Counter[int] = Counter()
        """Lines by segment that are no events but tell of lost ones."""

    def append(self, line: bytes, *, is_notice: bool = False) -> None:
        """Writes the line at the end. Raises OSError where the disk does not take all of it; then none is there."""
        if self._writer < 0 or self._written >= self._segment_bytes:
            self._open_segment()
        count = os.write(self._writer, line)
        if count != len(line):
            os.ftruncate(self._writer, os.fstat(self._writer).st_size - count)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._written += count
        if is_notice:
            self._notices[self._segments[-1]] += 1

    def drop_oldest(self) -> tuple[int, int, int] | None:
        """Removes the oldest segment that is not being sent: its lines, the notices of them, its bytes.

        None where there is no such segment.
        """
        if len(self._segments) < 3:
            return None
        number = self._segments[1]
        content = self._path(number).read_bytes()
        del self._segments[1]
        self._path(number).unlink(missing_ok=True)
        return content.count(b"\n"), self._notices.pop(number, 0), len(content)

    def remove(self) -> None:
        self._close_writer()
        super().remove()

    def leave(self) -> None:
        self._close_writer()
        super().leave()

    def _open_segment(self) -> None:
        number = self._segments[-1] + 1 if self._segments else 1
        writer = os.open(self._path(number), APPEND, 0o600)
        self._close_writer()
        self._segments.append(number)
        self._writer, self._written = writer, 0

    def _unfinished(self, found: bytes) -> bytes:
        return b""  # a line that is being written

    def _next_segment(self) -> bool:
        with self._guard:
            if len(self._segments) < 2 or self._read_lines(1):
                return len(self._segments) > 1
            return super()._next_segment()

    def _close_writer(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1


class MemoryLane:
    """Where events wait while the disk takes none: bounded, and gone with the process."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self.pending_bytes = 0

    def __len__(self) -> int:
        return len(self._lines)

    def append(self, line: bytes) -> bool:
        """Whether there was room for it."""
        if self.pending_bytes + len(line) > MEMORY_BYTES:
            return False
        self._lines.append(line)
        self.pending_bytes += len(line)
        return True

    def read(self, limit: int) -> bytes:
        """Lines of `limit` bytes together, and never less than one."""
        found: list[bytes] = []
        size = 0
        for line in tuple(self._lines):
            if found and size + len(line) > limit:
                break
            found.append(line)
            size += len(line)
        return b"".join(found)

    def acknowledge(self, size: int) -> None:
        """Forgets the first lines, `size` bytes together."""
        self.pending_bytes -= size
        while size > 0:
            size -= len(self._lines.popleft())

    def move_to(self, lane: OwnLane) -> None:
        """Writes the lines to the disk, in order. Raises OSError where it takes no more; the others stay."""
        while self._lines:
            lane.append(self._lines[0])
            self.acknowledge(len(self._lines[0]))


class Glance(NamedTuple):
    """What waits in a lane, seen from outside."""

    events: int
    size: int
    first: bytes
    """The first line of it."""


def look_into(directory: Path, name: str) -> Glance:
    """What waits in a lane; changes nothing, so its process may be alive. Reads it all."""
    segment, offset = _place_of(directory, name)
    events, size, first = 0, 0, b""
    for number in _segments_of(directory, name):
        if number >= segment:
            with contextlib.suppress(FileNotFoundError), _segment_path(directory, name, number).open("rb") as file:
                file.seek(offset if number == segment else 0)
                for line in file:
                    first = first or line
                    events, size = events + 1, size + len(line)
    return Glance(events, size, first)


def is_alive(directory: Path, name: str) -> bool:
    """Whether the process that writes the lane, or one that has taken it over, lives."""
    lock = take_lock(directory / f"{name}.lock", create=False)
    if lock is not None:
        os.close(lock)
    return lock is None


def _place_of(directory: Path, lane: str) -> tuple[int, int]:
    """Segment and byte up to which a lane is acknowledged."""
    try:
        segment, offset = map(int, (directory / f"{lane}.ack").read_text().split())
    except (FileNotFoundError, ValueError):  # none yet, or cut off: send again from the start
        return 0, 0
    return segment, offset


def _segment_path(directory: Path, lane: str, number: int) -> Path:
    return directory / f"{lane}.{number:06d}.jsonl"


def _new_lane(directory: Path) -> tuple[str, int]:
    while True:
        name = f"{new_event_id()}-{os.getpid()}"
        lock = take_lock(directory / f"{name}.lock", create=True)
        if lock is not None:
            return name, lock


def lanes_in(directory: Path) -> list[str]:
    """The names of its lanes, the oldest first."""
    try:
        return sorted(
            entry.name.removesuffix(".lock") for entry in os.scandir(directory) if entry.name.endswith(".lock")
        )
    except FileNotFoundError:
        return []


def _segments_of(directory: Path, lane: str) -> list[int]:
    matches = (_SEGMENT.fullmatch(entry.name) for entry in os.scandir(directory))
    return sorted(int(match["number"]) for match in matches if match and match["lane"] == lane)
