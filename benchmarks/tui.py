"""The dashboard's list beside Textual's RichLog and DataTable, and what the whole dashboard costs a terminal.

Run: `python -m benchmarks.tui`. Widgets are fed the same events, headless at 120x40, each in a process of its
own. The dashboard runs on a real pseudo-terminal, whose bytes are counted.
"""

import asyncio
import gc
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from typing import Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.widgets import DataTable, RichLog

from benchmarks.programs import resident_bytes
from madsci_event_cli.rendering import parse_event
from madsci_event_cli.tui.feed import MAX_WAITING
from madsci_event_cli.tui.settings import TICK_SECONDS
from madsci_event_cli.tui.widgets.event_list import EventList
from madsci_event_server.event import Event, new_event_id

SIZE: Final = (120, 40)
LEVELS: Final = (20, 20, 20, 20, 10, 20, 30, 20, 40, 20)
NODES: Final = ("liquidhandler_1", "liquidhandler_2", "platereader_1", "robotarm_1")


def lab_event(number: int) -> bytes:
    """An event like those of a lab: the same for the same number, but for its id."""
    return Event(
        event_id=new_event_id(),
        event_type="log_info",
        log_level=LEVELS[number % len(LEVELS)],
        event_timestamp=f"2026-11-23T12:{number // 60_000 % 60:02d}:{number // 1000 % 60:02d}.{number % 1000:03d}Z",
        event_data={
            "message": f"Action {number} status changed",
            "event_type": "action_status_change",
            "component_name": f"node.{NODES[number % len(NODES)]}",
            "component_type": "Node",
            "action_result": {"status": "running", "errors": [], "json_result": None},
        },
    ).encode()


Feed = Callable[[list[bytes]], None]


class ListApp(App[None]):
    """Our list, fed as the dashboard feeds it: what has come is gathered, and taken in by the tick."""

    def compose(self) -> ComposeResult:
        """Just the list."""
        yield EventList({}, lambda: None)

    def on_mount(self) -> None:
        """Starts the tick."""
        self.waiting: list[bytes] = []
        self.set_interval(TICK_SECONDS, self.deliver)

    def feed(self, batch: list[bytes]) -> None:
        """What arrives; as much is read ahead as the dashboard's feed does."""
        self.waiting += batch
        if len(self.waiting) >= MAX_WAITING:
            self.deliver()

    def deliver(self) -> None:
        """One tick."""
        if self.waiting:
            items, self.waiting = self.waiting, []
            self.query_one(EventList).absorb(items)


class RichLogApp(App[None]):
    """Textual's RichLog, styled text, bounded as ours is."""

    def compose(self) -> ComposeResult:
        """Just the log."""
        yield RichLog(max_lines=50_000)

    def feed(self, batch: list[bytes]) -> None:
        """One tick."""
        log = self.query_one(RichLog)
        for raw in batch:
            log.write(_text(raw))


class DataTableApp(App[None]):
    """Textual's DataTable; it has no bound, and taking rows out costs more than putting them in."""

    def compose(self) -> ComposeResult:
        """Just the table."""
        table: DataTable[str] = DataTable()
        table.add_columns("time", "level", "name", "kind", "message")
        yield table

    def feed(self, batch: list[bytes]) -> None:
        """One tick."""
        table = self.query_one(DataTable)
        for raw in batch:
            event = parse_event(raw)
            when = f"{event.event_timestamp:%H:%M:%S}"
            table.add_row(when, event.log_level.name, event.name or "", event.kind, event.message)
        table.scroll_end(animate=False)


def _text(raw: bytes) -> Text:
    event = parse_event(raw)
    return Text.assemble(
        (f"{event.event_timestamp:%H:%M:%S} ", "bright_black"),
        (f"{event.log_level.name:<8} ", "red" if event.log_level >= 40 else ""),
        (f"{event.name or '':<16} ", "cyan"),
        (f"{event.kind:<20} ", "blue"),
        event.message,
    )


APPS: Final[dict[str, type[ListApp | RichLogApp | DataTableApp]]] = {
    "EventList": ListApp,
    "RichLog": RichLogApp,
    "DataTable": DataTableApp,
}


async def absorb(name: str, count: int, batch: int) -> dict[str, float]:
    """Feeds a widget so many events as fast as it takes them, and waits for the last paint; what it took.

    The screen paints between batches as often as Textual lets it. A tick is from one batch to the next.
    """
    app = APPS[name]()
    made = [lab_event(number) for number in range(10_000)]
    worst, spent, fed = 0.0, 0.0, 0
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        gc.collect()
        before = resident_bytes()
        while fed < count:
            events = [_again(made[number % len(made)], number) for number in range(fed, fed + batch)]
            begun = time.perf_counter()
            app.feed(events)
            await asyncio.sleep(0)
            tick = time.perf_counter() - begun
            worst, spent, fed = max(worst, tick), spent + tick, fed + len(events)
        begun = time.perf_counter()
        if isinstance(app, ListApp):
            app.deliver()
        await pilot.pause()
        spent += time.perf_counter() - begun
        gc.collect()
        grown = resident_bytes() - before
    return {"events_per_second": fed / spent, "worst_tick_ms": worst * 1000, "grown_mb": grown / 1e6, "events": fed}


def _again(raw: bytes, number: int) -> bytes:
    """The same event with another id: making events must not be what is measured, nor what fills the memory."""
    event_id = b"01M84W00C21SPHKDZ5%08d" % number
    return b'{"_id":"%b","event_id":"%b%b' % (event_id, event_id, raw[raw.index(b'","event_type"') :])


# --- the whole dashboard on a terminal -------------------------------------------------------------------------------


class Terminal:
    """A program on a pseudo-terminal of its own; counts what it writes."""

    def __init__(self, *command: str, stdin: int | None = None) -> None:
        self._main, child = pty.openpty()
        ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment.pop("NO_COLOR", None)
        self._process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True
        )
        os.close(child)

    def read(self, seconds: float, until: bytes = b"") -> bytes:
        """What it writes in that time, or until this was written."""
        end, found = time.monotonic() + seconds, b""
        while (left := end - time.monotonic()) > 0 and not (until and until in found):
            if select.select([self._main], [], [], left)[0]:
                found += os.read(self._main, 65_536)
        return found

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self._main, keys.encode())

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait()
        os.close(self._main)


def on_a_terminal(rate: int) -> dict[str, float]:
    """Bytes written while a growing file is followed, and while paused; time to the first event on the screen."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        with path.open("wb") as file:
            file.writelines(lab_event(number) + b"\n" for number in range(5000))
        begun = time.monotonic()
        terminal = Terminal(sys.executable, "-m", "madsci_event_cli", "tui", str(path))
        try:
            terminal.read(30, until=b"status changed")
            first_paint = time.monotonic() - begun
            terminal.read(3)
            writer = _Writer(path, rate)
            followed = _written(terminal, writer, seconds=5)
            terminal.press(" ")
            terminal.read(2)
            paused = _written(terminal, writer, seconds=5)
        finally:
            terminal.close()
    return {"first_paint_ms": first_paint * 1000, "followed_bytes_per_second": followed / 5, "paused": paused}


class _Writer:
    def __init__(self, path: Path, rate: int) -> None:
        self._path, self._rate, self._number = path, rate, 5000

    def write(self, seconds: float) -> None:
        """Appends what comes in that time."""
        count = max(int(self._rate * seconds), 1)
        with self._path.open("ab") as file:
            file.writelines(lab_event(number) + b"\n" for number in range(self._number, self._number + count))
        self._number += count


def _written(terminal: Terminal, writer: _Writer, seconds: int) -> int:
    total = 0
    for _ in range(seconds * 5):
        writer.write(0.2)
        total += len(terminal.read(0.2))
    return total


# --- the report ------------------------------------------------------------------------------------------------------

CASES: Final = (
    ("RichLog", 10_000, 50),
    ("DataTable", 5_000, 50),
    ("EventList", 50_000, 50),
    ("RichLog", 10_000, 1000),
    ("DataTable", 5_000, 1000),
    ("EventList", 200_000, 1000),
    ("EventList", 1_000_000, 1000),
)


def _in_a_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.tui", *arguments]
    answer = subprocess.run(command, capture_output=True, check=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def main() -> None:
    """Prints the tables."""
    print(f"{'':<42}{'events/s':>10}{'worst tick':>12}{'memory':>10}")
    rates: dict[tuple[str, int], float] = {}
    for name, count, batch in CASES:
        row = _in_a_process("absorb", name, str(count), str(batch))
        rates.setdefault((name, batch), row["events_per_second"])
        label = f"{name}, {count:,} in batches of {batch}"
        print(f"{label:<42}{row['events_per_second']:>10,.0f}{row['worst_tick_ms']:>9.0f} ms{row['grown_mb']:>7.0f} MB")
    for batch in (50, 1000):
        print(f"EventList / RichLog, batches of {batch}: {rates['EventList', batch] / rates['RichLog', batch]:.0f}x")
    for rate in (5, 100):
        row = _in_a_process("terminal", str(rate))
        print(
            f"dashboard at {rate} events/s: first event on screen after {row['first_paint_ms']:,.0f} ms, "
            f"{row['followed_bytes_per_second'] / 1000:,.0f} kB/s followed, "
            f"while paused {row['paused']:,.0f} bytes in 5 s"
        )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "absorb":
        print(json.dumps(asyncio.run(absorb(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))))
    else:
        print(json.dumps(on_a_terminal(int(sys.argv[2]))))
