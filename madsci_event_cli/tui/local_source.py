"""Events from a file or from standard input: JSON lines, read where they lie, filtered by `EventQuery.matches`.

A file is mapped, not loaded, and read from its end: a large one is on the screen at once. Its order is its own. A line
that is no event is shown as such; it is never dropped silently, and never stops the viewer.
"""

import asyncio
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

from madsci_event_cli.rendering import visible
from madsci_event_cli.tui.counting import Tally
from madsci_event_cli.tui.ledger import Ledger
from madsci_event_cli.tui.narrowing import filters_of
from madsci_event_cli.tui.rows import Item, Note
from madsci_event_cli.tui.source import Arrived, Counts, FeedItem, LinkChanged, Page
from madsci_event_server.errors import InvalidInput, NotFound
from madsci_event_server.event import Event
from madsci_event_server.query import EventQuery

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""More of one line than this is not read: it is no event a server would take."""

MAX_HELD_BYTES: Final = 512 * 1024 * 1024
"""How much of standard input is kept; the oldest is let go, and a row says so."""

_REACH_BYTES: Final = 32 * 1024
_BLOCK_BYTES: Final = 1024 * 1024

_CHUNKS_AHEAD: Final = 8
"""How far a pipe is read ahead of the screen."""

_LINES_A_SLICE: Final = 100
"""Read between two looks at the keyboard: a few milliseconds."""

_LINES_A_PAGE: Final = 20_000
"""After so many lines a page comes back with what it has: a rare match in a large file must not keep others waiting."""

_LOOK_AGAIN_SECONDS: Final = 0.5

_SHOWN_BYTES: Final = 400
"""Of a line that is no event."""

_END: Final = re.compile(
    rb'("received_at": ?(null|"(?P<time>[^"\\]{27})"), ?)?"archived": ?false, ?"archived_at": ?null}\s*'
)
"""How an event ends that a server wrote and nobody archived."""


class Lines(Protocol):
    """Lines by position; a position is text that only these lines understand, and grows."""

    @property
    def start(self) -> int:
        """The position before the first line there is."""

    @property
    def end(self) -> int:
        """The position after the last complete line."""

    def before(self, position: int) -> tuple[int, bytes]:
        """The line that ends at a position, and where it begins; call only where `position > start`."""

    def after(self, position: int) -> tuple[int, bytes]:
        """The line that begins at a position, and where it ends; call only where `position < end`."""

    async def grown(self, position: int) -> bool:
        """Waits until there is something after a position, or less than that; False when there never will be."""

    def close(self) -> None:
        """Lets go of what is held."""


class FileLines:
    """The lines of a file, which may be growing. Raises OSError when it cannot be read.

    It is read, not mapped: a mapped file that somebody cuts short ends the process.
    """

    start = 0

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._block_start = 0
        self._block = b""
        self.end = self._size()

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def before(self, position: int) -> tuple[int, bytes]:
        """See Lines."""
        reach = _REACH_BYTES
        while True:
            begin = max(position - reach, 0)
            data = self._bytes(begin, position)
            found = data.rfind(b"\n", 0, len(data) - 1)
            if found >= 0 or begin == 0 or reach >= MAX_LINE_BYTES:
                return begin + found + 1 if found >= 0 else begin, data[found + 1 :].rstrip(b"\n")
            reach *= 8

    def after(self, position: int) -> tuple[int, bytes]:
        """See Lines."""
        reach = _REACH_BYTES
        while True:
            data = self._bytes(position, min(position + reach, self.end))
            found = data.find(b"\n")
            if found >= 0:
                return position + found + 1, data[:found]
            if len(data) < reach or reach >= MAX_LINE_BYTES:
                # Nothing came where the file was cut short since: there is no more.
                return (position + len(data) if data else self.end), data
            reach *= 8

    def _bytes(self, begin: int, end: int) -> bytes:
        if begin < self._block_start or end > self._block_start + len(self._block):
            self._block_start = begin - begin % _BLOCK_BYTES
            self._file.seek(self._block_start)
            self._block = self._file.read(end - end % -_BLOCK_BYTES - self._block_start)
        return self._block[begin - self._block_start : end - self._block_start]

    async def grown(self, position: int) -> bool:
        """Looks at the size twice a second: what every file system offers."""
        while self.end <= position:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            size = self._size()
            if size != self.end:
                self.end, self._block = size, b""
            if size < position:
                return True
        return True

    def close(self) -> None:
        """See Lines."""
        self._file.close()


class PipeLines:
    """Lines that come down a pipe, kept up to a bound."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._held: list[bytes] = []
        self._unfinished = b""
        self._let_go = 0
        self._bytes = 0
        self._more = asyncio.Event()
        self._ended = False
        self._reading = False
        self._untaken = threading.Semaphore(_CHUNKS_AHEAD)

    @property
    def start(self) -> int:
        """Lines before this were let go."""
        return self._let_go

    @property
    def end(self) -> int:
        """How many lines have come."""
        return self._let_go + len(self._held)

    def before(self, position: int) -> tuple[int, bytes]:
        """See Lines."""
        return position - 1, self._held[position - 1 - self._let_go]

    def after(self, position: int) -> tuple[int, bytes]:
        """See Lines."""
        return position + 1, self._held[max(position - self._let_go, 0)]

    async def grown(self, position: int) -> bool:
        """Waits for the pipe."""
        self._begin_reading()
        while self.end <= position:
            if self._ended:
                return False
            self._more.clear()
            await self._more.wait()
        return True

    def _begin_reading(self) -> None:
        """A thread reads: not every kind of standard input can be polled. It ends with the process, so that leaving
        does not wait for a pipe that is silent.
        """
        if not self._reading:
            self._reading = True
            threading.Thread(target=self._read, args=(asyncio.get_running_loop(),), daemon=True).start()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        chunk = b"-"
        while chunk:
            self._untaken.acquire()
            chunk = os.read(self._pipe.fileno(), _BLOCK_BYTES)
            with suppress(RuntimeError):  # the loop was closed: nobody wants more
                loop.call_soon_threadsafe(self._take, chunk)

    def _take(self, chunk: bytes) -> None:
        self._untaken.release()
        *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
        if not chunk or len(self._unfinished) > MAX_LINE_BYTES:
            lines.append(self._unfinished)
            self._unfinished = b""
        self._held += lines
        self._bytes += sum(map(len, lines))
        self._ended = not chunk
        self._keep_bound()
        self._more.set()

    def _keep_bound(self) -> None:
        count = 0
        while self._bytes > MAX_HELD_BYTES:
            self._bytes -= len(self._held[count])
            count += 1
        del self._held[:count]
        self._let_go += count

    def close(self) -> None:
        """The thread that waits for the pipe ends with the process."""


@dataclass(slots=True)
class _Pass:
    """Counts of a filter that only the lines themselves can answer, as far as they were read."""

    query: EventQuery
    fields: Collection[str]
    start: int
    tally: Tally
    position: int


class LocalSource:
    """Lines as a Source. Archived events are shown unless the filter says otherwise: they are in the file."""

    local = True

    def __init__(self, title: str, open_lines: Callable[[], Lines]) -> None:
        self.title = title
        self._open = open_lines
        self._opened: Lines | None = None
        self._counting = asyncio.Lock()
        self._forget_counts()

    def _forget_counts(self) -> None:
        self._ledger, self._entered = Ledger(), 0
        self._passing: _Pass | None = None

    async def __aenter__(self) -> Self:
        self._opened = self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()

    @property
    def _lines(self) -> Lines:
        if self._opened is None:
            raise RuntimeError("a source is read inside its `async with`")
        return self._opened

    async def follow(self, query: EventQuery) -> AsyncIterator[FeedItem]:
        """What is added to the file, or comes down the pipe, from now on."""
        lines = self._lines
        position = lines.end
        yield LinkChanged("reading")
        while await lines.grown(position):
            if position > lines.end:
                self._forget_counts()
                position = lines.start
                yield Arrived(Note("gap", "the file was cut short: what follows is new"))
            for number in count(1):
                if position >= lines.end:
                    break
                if position < lines.start:
                    yield Arrived(Note("gap", f"{lines.start - position:,} lines came faster than they could be shown"))
                position, line = lines.after(max(position, lines.start))
                if (item := _item(line, query)) is not None:
                    yield Arrived(item)
                if number % _LINES_A_SLICE == 0:
                    await asyncio.sleep(0)
        yield LinkChanged("ended")

    async def older(self, query: EventQuery, after: str | None, limit: int) -> Page:
        """See Source."""
        position = self._lines.end if after is None else int(after)
        found: list[Item] = []
        for number in range(_LINES_A_PAGE):
            if position <= self._lines.start or len(found) >= limit:
                break
            position, line = self._lines.before(position)
            if (item := _item(line, query)) is not None:
                found.append(item)
            if number % _LINES_A_SLICE == _LINES_A_SLICE - 1:
                await asyncio.sleep(0)
        return Page(found[::-1], str(position) if position > self._lines.start else None)

    async def newer(self, query: EventQuery, after: str | None, limit: int) -> Page:
        """See Source."""
        position = self._lines.start if after is None else max(int(after), self._lines.start)
        found: list[Item] = []
        for number in range(_LINES_A_PAGE):
            if position >= self._lines.end or len(found) >= limit:
                break
            position, line = self._lines.after(position)
            if (item := _item(line, query)) is not None:
                found.append(item)
            if number % _LINES_A_SLICE == _LINES_A_SLICE - 1:
                await asyncio.sleep(0)
        return Page(found, str(position) if position < self._lines.end else None)

    async def counts(
        self, query: EventQuery, fields: Collection[str], window_seconds: int | None, columns: int
    ) -> Counts:
        """Counts over the whole file: it has an end, so no window is needed."""
        async with self._counting:
            await self._enter()
            tally = await self._ledger.tally(query, fields, self._lines.start) or await self._passed(query, fields)
            return tally.counts(columns)

    async def _enter(self) -> None:
        """Enters what has come since into the ledger."""
        lines = self._lines
        for number in count(1):
            position = max(self._entered, lines.start)
            if position >= lines.end or self._ledger.is_full:
                break
            self._entered, line = lines.after(position)
            if (event := _event_to_count(line)) is not None:
                self._ledger.add(event, position)
            if number % _LINES_A_SLICE == 0:
                await asyncio.sleep(0)

    async def _passed(self, query: EventQuery, fields: Collection[str]) -> Tally:
        """What all lines come to, read again unless only some are new."""
        lines = self._lines
        passing = self._passing
        if passing is None or (passing.query, passing.fields, passing.start) != (query, fields, lines.start):
            passing = self._passing = _Pass(query, fields, lines.start, Tally(query, fields), lines.start)
        for number in count(1):
            position = max(passing.position, lines.start)
            if position >= lines.end:
                break
            passing.position, line = lines.after(position)
            if (event := _event_to_count(line)) is not None:
                passing.tally.add(event)
            if number % _LINES_A_SLICE == 0:
                await asyncio.sleep(0)
                if passing is not self._passing:  # the file was cut short
                    return await self._passed(query, fields)
        return passing.tally

    async def names(self) -> Sequence[tuple[str, str, str]]:
        """None before anything was counted: counting meets them."""
        return ()

    async def alerts(self) -> None:
        """Nothing watches a file."""

    async def acknowledge(self, alert_id: str, by: str) -> None:
        """There is nothing to take on."""
        raise NotFound(f"no alert {alert_id}: a file has none")


def read_event(line: bytes) -> Event | Note:
    """The event of one line, or a note that says why it is none."""
    try:
        return Event.model_validate(json.loads(line))
    except (InvalidInput, ValueError) as error:  # ValueError: not JSON, not UTF-8, or a number without end
        shown = line[:_SHOWN_BYTES].decode(errors="replace")
        reason = "not JSON" if isinstance(error, json.JSONDecodeError) else error
        # The line first: of a program that logs no JSON it is what matters.
        return Note("broken", visible(f"{shown}  │ not an event: {reason}"))
    except RecursionError:
        return Note("broken", "not an event: nested too deep")


def _event_to_count(line: bytes) -> Event | None:
    """The event `read_event` makes of it, if it is one; at half the cost where it ends as most do."""
    if not line.strip():
        return None
    if _ends_as_most_do(line):
        try:
            return Event.read(line)
        except InvalidInput:
            pass  # what is JSON, and how it is wrong, the other way knows better
    event = read_event(line)
    return event if isinstance(event, Event) else None


def _ends_as_most_do(line: bytes) -> bool:
    """Whether what only a server says of an event is there once, at the end, and that it was not archived."""
    begins = line.rfind(b'"received_at"')
    if begins < 0:
        begins = line.rfind(b'"archived"')
        if begins < 0:
            return b'"archived_at"' not in line
    elif line.find(b'"received_at"') != begins:
        return False
    end = _END.fullmatch(line, begins)
    return end is not None and (end["time"] is None or _is_time(end["time"]))


def _is_time(text: bytes) -> bool:
    try:
        datetime.fromisoformat(text.decode())
    except ValueError:
        return False
    return True


def _item(line: bytes, query: EventQuery) -> Item | None:
    if not line.strip():
        return None
    event = read_event(line)
    if isinstance(event, Note):
        return None if filters_of(query) else event
    return event.encode() if query.matches(event) else None
