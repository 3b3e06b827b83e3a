"""Events on disk until the server has acknowledged them.

    <root>/<server>/server.url            the address these events are for
                    <lane>.lock           locked while the process that writes the lane lives
                    <lane>.000001.jsonl   its events, one line each, only appended to; 000002 follows when it is full
                    <lane>.ack            up to where the server has acknowledged them: segment and byte
                    set_aside.jsonl       events the server refused for good, each with its reason

A lane is one process's events in order. An event is in it by one `write` before the log call returns, so it survives
the process in any way it may end; nothing is synced to the disk, so a power cut can take the last seconds. A lane whose
lock is free is a dead process's: any later client of the same server takes it over. Sending twice is harmless, as the
server knows an event by its id, so every step here errs on the side of sending again.
"""

import contextlib
import hashlib
import os
import re
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple

from madsci_event_cli.addresses import shown_address
from madsci_event_cli.sending.jsonable import encode
from madsci_event_cli.sending.lanes import APPEND, Lane, MemoryLane, OwnLane, lanes_in, look_into
from madsci_event_cli.sending.outgoing import now_text

WhenFull = Literal["refuse", "drop_oldest"]
"""What gives way when the spool has reached its bound: the event being logged, or the oldest that wait."""

DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024
"""About a million events a process; a week of a busy node."""
SEGMENT_BYTES: Final = 4 * 1024 * 1024

SET_ASIDE: Final = "set_aside.jsonl"
SERVER_URL: Final = "server.url"


def default_root() -> Path:
    """Where spools live unless told otherwise: the user's state directory."""
    from platformdirs import user_state_path

    return user_state_path("madsci-events", appauthor=False) / "spool"


def directory_for(server: str, root: Path) -> Path:
    """The directory of the events for one server."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", shown_address(server).partition("://")[2])[:60]
    return root / f"{readable}-{hashlib.sha256(server.encode()).hexdigest()[:8]}"


class Loss(NamedTuple):
    """Events that were not kept, so that they can be told."""

    events: int
    """0 where it is not over."""
    reason: str


class Spool:
    """This process's events for one server. `append` from anywhere; everything else is the sending thread's."""

    def __init__(
        self,
        directory: Path,
        server: str,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        when_full: WhenFull = "refuse",
        describe: Callable[[Loss], bytes],
        warn: Callable[[str], None],
    ) -> None:
        self.directory = directory
        self._server = server
        self._max_bytes = max_bytes
        self._when_full = when_full
        self._describe = describe
        self._warn = warn
        self._guard = threading.RLock()
        self._lane: OwnLane | None = None
        self._memory = MemoryLane()
        self._nested: deque[bytes] = deque()
        self.appended_bytes = 0
        """Of this process's own events, since it began ..."""
        self.settled_bytes = 0
        """... and those of them that no longer wait: acknowledged, set aside or dropped."""
        self._pending_events = 0
        self._adopted: list[Lane] = []
        self._adopted_bytes = 0
        self._adopted_events = 0
        self._refused = 0
        self._on_disk = True
        self.lost = 0
        """Events that were not kept, since the process began."""

    def append(self, line: bytes) -> bool:
        """Keeps the line; one write. False where there is no room: it is counted, and an event will say so."""
        if self._guard._is_owned():  # type: ignore[attr-defined]  # what threading.Condition asks it, too
            # A signal handler logs in the middle of a log call, which writes this right after its own.
            self._nested.append(line)
            return True
        with self._guard:
            try:
                return self._append(line)
            finally:
                self._append_nested()

    def _append_nested(self) -> None:
        while self._nested:
            self._append(self._nested.popleft())

    def _append(self, line: bytes) -> bool:
        if self.pending_bytes + len(line) > self._max_bytes and not self._make_room():
            self._refuse("the spool was full")
            return False
        if not self._keep(line):
            self._refuse("the disk took no events and memory was full")
            return False
        if self._refused:
            self._tell_refused()
        return True

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait: this process's own, and those of dead processes it has taken over."""
        return self.appended_bytes - self.settled_bytes + self._adopted_bytes

    @property
    def pending_events(self) -> int:
        """How many they are."""
        return self._pending_events + self._adopted_events

    @property
    def has_adopted(self) -> bool:
        """Whether events of dead processes wait here."""
        return bool(self._adopted)

    @property
    def waiting_in(self) -> str:
        """Where the events are that wait, in words."""
        return str(self.directory) if self._on_disk else "memory, as the disk takes none"

    def sources(self) -> list["Source"]:
        """What there is to send from: this process's own events, then each dead process's."""
        return [_OwnSource(self), *(_AdoptedSource(self, lane) for lane in self._adopted)]

    def adopt_dead(self) -> None:
        """Takes over the lanes of processes that have ended."""
        own = self._lane.name if self._lane is not None else ""
        for name in lanes_in(self.directory):
            if name != own and all(lane.name != name for lane in self._adopted):
                lane = Lane.adopt(self.directory, name)
                if lane is not None:
                    self._adopted.append(lane)
                    self._adopted_bytes += lane.pending_bytes
                    self._adopted_events += look_into(self.directory, name).events

    def leave(self) -> None:
        """Closes this process's files; whoever comes next delivers what is in them."""
        with self._guard:
            if self._lane is not None:
                self._lane.leave()
                self._lane = None

    def has_dead(self) -> bool:
        """Whether anyone's lane but our own is there, dead or alive."""
        return any(self._lane is None or name != self._lane.name for name in lanes_in(self.directory))

    def tidy(self) -> None:
        """Removes this process's files if nothing waits in them, and leaves the dead's to others."""
        with self._guard:
            if self._refused:
                self._tell_refused()
            if self._lane is not None and self.appended_bytes == self.settled_bytes:
                self._lane.remove()
                self._lane = None
        for lane in self._adopted:
            lane.leave()
        self._adopted.clear()
        self._adopted_bytes = self._adopted_events = 0

    def abandon(self) -> None:
        """In a forked child: forgets what is the parent's, and touches none of its files."""
        lanes: list[Lane] = [*self._adopted, *([self._lane] if self._lane is not None else [])]
        for lane in lanes:
            with contextlib.suppress(OSError):  # the parent may have been closing it as it forked
                lane.leave()

    def _keep(self, line: bytes, *, is_notice: bool = False) -> bool:
        if (self._memory or not self._write(line, is_notice)) and not self._memory.append(line):
            return False
        self.appended_bytes += len(line)
        self._pending_events += 1
        return True

    def _write(self, line: bytes, is_notice: bool) -> bool:
        try:
            self._own_lane().append(line, is_notice=is_notice)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and self._lane is not None:
                self._start_over()
                return self._write(line, is_notice)
            self._disk_failed(error)
            return False
        return True

    def _own_lane(self) -> OwnLane:
        if self._lane is None:
            segment_bytes = min(SEGMENT_BYTES, max(4096, self._max_bytes // 8))
            self._lane = OwnLane(self.directory, self._guard, segment_bytes)
            (self.directory / SERVER_URL).write_text(self._server + "\n")
        return self._lane

    def _disk_failed(self, error: OSError) -> None:
        if self._on_disk:
            self._on_disk = False
            self._warn(
                f"cannot write to {self.directory} ({error.strerror}): "
                "events wait in memory, and are lost with this process"
            )

    def _start_over(self) -> None:
        """Someone removed the files of a living process: what waited in them is lost, and said to be."""
        with self._guard:
            if self._lane is not None:
                self._lane.leave()
                self._lane = None
            gone = self._pending_events - len(self._memory)
            self.lost += gone
            self._pending_events -= gone
            self.settled_bytes = self.appended_bytes - self._memory.pending_bytes
            self._warn(f"the files in {self.directory} were removed: {gone} events that waited there are lost")

    def _settle(self) -> None:
        """Moves what waits in memory to the disk, as soon as that takes it again."""
        if self._nested:  # its call was interrupted for good, as by Ctrl-C
            with self._guard:
                self._append_nested()
        if not self._memory:
            return
        with self._guard, contextlib.suppress(OSError):
            self._memory.move_to(self._own_lane())
            self._on_disk = True
            self._warn(f"{self.directory} can be written to again")

    def _make_room(self) -> bool:
        if self._when_full != "drop_oldest" or self._lane is None:
            return False
        dropped = self._lane.drop_oldest()
        if dropped is None:
            return False
        lines, notices, size = dropped
        self.settled_bytes += size
        self._pending_events -= lines
        self.lost += lines - notices
        # The whole number each time: an earlier notice may be among the next that give way.
        self._keep(self._describe(Loss(self.lost, "the spool was full: the oldest gave way")), is_notice=True)
        return True

    def _refuse(self, reason: str) -> None:
        if not self._refused:
            self._warn(f"{reason} ({self._max_bytes:,} bytes in {self.directory}): new events are not kept")
            # Beyond the bound on purpose: should this process end before there is room, the gap is known.
            self._keep(self._describe(Loss(0, reason)), is_notice=True)
        self._refused += 1
        self.lost += 1

    def _tell_refused(self) -> None:
        count, self._refused = self._refused, 0
        self._keep(self._describe(Loss(count, "the spool was full")), is_notice=True)


class Source:
    """Somewhere events wait in order, as the sending thread sees it."""

    def read(self, limit: int) -> bytes:
        """See `Lane.read`."""
        raise NotImplementedError

    def acknowledge(self, lines: bytes) -> None:
        """These, the first of what `read` gives, are settled; see `Lane.acknowledge`."""
        raise NotImplementedError

    def finish(self) -> None:
        """There is nothing to read at the moment."""


class _OwnSource(Source):
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._from: Lane | MemoryLane = spool._memory

    def read(self, limit: int) -> bytes:
        spool = self._spool
        spool._settle()
        try:
            if spool._lane is not None and (lines := spool._lane.read(limit)):
                self._from = spool._lane
                return lines
        except FileNotFoundError:
            spool._start_over()
        with spool._guard:
            self._from = spool._memory
            return spool._memory.read(limit)

    def acknowledge(self, lines: bytes) -> None:
        if isinstance(self._from, Lane):
            self._from.acknowledge(len(lines))  # writes to the disk: not while a log call might wait for it
        with self._spool._guard:
            if isinstance(self._from, MemoryLane):
                self._from.acknowledge(len(lines))
            self._spool.settled_bytes += len(lines)
            self._spool._pending_events -= lines.count(b"\n")


class _AdoptedSource(Source):
    def __init__(self, spool: Spool, lane: Lane) -> None:
        self._spool = spool
        self._lane = lane

    def read(self, limit: int) -> bytes:
        return self._lane.read(limit)

    def acknowledge(self, lines: bytes) -> None:
        self._lane.acknowledge(len(lines))
        self._spool._adopted_bytes -= len(lines)
        self._spool._adopted_events -= lines.count(b"\n")

    def finish(self) -> None:
        """All of a dead process's events are delivered: its files go."""
        self._lane.remove()
        self._spool._adopted.remove(self._lane)


class SetAside:
    """Events the server refuses for good, kept with its reason for a person to look at."""

    MAX_BYTES: Final = 64 * 1024 * 1024

    def __init__(self, directory: Path) -> None:
        self.path = directory / SET_ASIDE

    def add(self, line: bytes, reason: str) -> bool:
        """Whether it could be kept: not beyond 64 MiB."""
        entry = encode(
            {"set_aside_at": now_text(), "reason": reason, "event": line.decode("utf-8", "replace").rstrip("\n")}
        )
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, APPEND, 0o600)
            try:
                return os.fstat(descriptor).st_size < self.MAX_BYTES and os.write(descriptor, entry + b"\n") > len(
                    entry
                )
            finally:
                os.close(descriptor)
        except OSError:
            return False
