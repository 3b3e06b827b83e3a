"""The dashboard, run by Textual's pilot: what it shows as text, and waiting for it to show something."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from rich.style import Style
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widget import Widget

from madsci_event_cli.rendering import parse_event
from madsci_event_cli.tui.app import DashboardApp
from madsci_event_cli.tui.local_source import FileLines, LocalSource
from madsci_event_cli.tui.screens.dashboard import DashboardScreen
from madsci_event_cli.tui.settings import DashboardSettings
from madsci_event_cli.tui.source import Source
from madsci_event_cli.tui.widgets.event_list import EventList
from madsci_event_cli.tui.widgets.facet_panel import FacetPanel
from madsci_event_cli.tui.widgets.histogram import Histogram
from madsci_event_cli.tui.widgets.lines import ChipLine
from madsci_event_cli.tui.widgets.status_line import StatusLine
from madsci_event_server.event import Event
from madsci_event_server.query import EventQuery

SAMPLE = Path(__file__).parents[1] / "data" / "lab_events_sample.jsonl"
NOW = datetime(2026, 11, 23, 19, 0, tzinfo=UTC)


class Watched:
    """A dashboard that runs."""

    def __init__(self, pilot: Pilot[None]) -> None:
        self.pilot = pilot

    @property
    def screen(self) -> DashboardScreen:
        """The dashboard's screen."""
        screen = self.pilot.app.screen_stack[0]
        assert isinstance(screen, DashboardScreen)
        return screen

    @property
    def event_list(self) -> EventList:
        """The event list."""
        return self.screen.event_list

    async def until(self, holds: Callable[[], Any]) -> None:
        """Waits until something holds; the test's own timeout ends a wait in vain."""
        while not holds():
            await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Types keys, and lets what they do be done."""
        for key in keys:
            await self.pilot.press(key)
        await self.settled()

    async def settled(self) -> None:
        """Waits until no worker is at work but the one that follows."""
        await self.pilot.pause()
        await self.until(lambda: not self._working())
        await self.pilot.pause()

    def _working(self) -> list[Any]:
        return [worker for worker in self.screen.workers if worker.group != "feed" and not worker.is_finished]

    async def type(self, text: str) -> None:
        """Types a line and presses Enter."""
        await self.press(*(_KEYS.get(character, character) for character in text), "enter")

    @property
    def status(self) -> str:
        """The status line."""
        return text_of(self.screen.query_one(StatusLine))

    @property
    def chips(self) -> str:
        """The filters that are on."""
        chips = self.screen.query_one(ChipLine)
        return text_of(chips) if chips.display else ""

    @property
    def detail(self) -> str:
        """The event pane."""
        return text_of(self.screen.detail)

    @property
    def facets(self) -> str:
        """The panel of values."""
        return text_of(self.screen.query_one(FacetPanel))

    @property
    def histogram(self) -> str:
        """The histogram."""
        return text_of(self.screen.query_one(Histogram))

    @property
    def shown(self) -> list[str]:
        """The lines of the list that are on the screen."""
        return text_of(self.event_list).splitlines()

    @property
    def events(self) -> list[Event]:
        """The events the list holds, from the top."""
        return [parse_event(row.raw) for row in self.event_list.window.rows if row.note is None]

    @property
    def selected(self) -> Event:
        """The event under the cursor."""
        row = self.event_list.selected
        assert row is not None
        assert row.note is None
        return parse_event(row.raw)


_KEYS = {" ": "space", "-": "minus", "'": "apostrophe", "*": "asterisk", "!": "exclamation_mark", ":": "colon"} | {
    "_": "underscore",
    ".": "full_stop",
    "/": "slash",
    ",": "comma",
}


@asynccontextmanager
async def watching(
    source: Source,
    *,
    size: tuple[int, int] = (140, 40),
    query: EventQuery | None = None,
    zone: tzinfo = UTC,
    copy_path: Path = Path("copied.txt"),
    clock: Callable[[], datetime] = lambda: NOW,
    settle: bool = True,
    **settings: Any,
) -> AsyncIterator[Watched]:
    """Runs a dashboard on this source, with its first page shown and counted (unless not to `settle`)."""
    chosen = DashboardSettings(copy_path=copy_path, zone=zone, clock=clock, **settings)
    app = DashboardApp(source, query or EventQuery(include_archived=source.local), chosen)
    async with app.run_test(size=size) as pilot:
        watched = Watched(pilot)
        if settle:
            await watched.settled()
        yield watched


def file_source(path: Path) -> LocalSource:
    """A file as `tui FILE` opens it."""
    return LocalSource(path.name, lambda: FileLines(path))


def write_events(path: Path, events: Iterable[Event]) -> Path:
    """A file of these events."""
    path.write_bytes(b"".join(event.encode() + b"\n" for event in events))
    return path


def sample_events() -> list[Event]:
    """The events of the sample, as a filter sees them."""
    return [Event.model_validate_json(line) for line in SAMPLE.read_bytes().splitlines()]


def numbered(count: int, *, start: int = 0, **fields: Any) -> list[Event]:
    """Events a second apart, `message 0` first, each tenth an error; the same every time."""
    begin = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    return [
        Event.model_validate(
            {
                "event_id": f"01M84W00C21SPHKDZ5{number:08d}",
                "event_type": "log_info",
                "log_level": 40 if number % 10 == 9 else 20,
                "event_timestamp": begin + timedelta(seconds=number),
                "event_data": {"message": f"message {number}", "node_name": f"node_{number % 3}"},
                **fields,
            }
        )
        for number in range(start, start + count)
    ]


def text_of(widget: Widget) -> str:
    """What a widget shows, a line a line."""
    return "\n".join(strip.text.rstrip() for strip in strips_of(widget))


def strips_of(widget: Widget) -> list[Strip]:
    """The lines a widget draws."""
    return [widget.render_line(y) for y in range(widget.size.height)]


def tagged(widget: Widget) -> str:
    """What a widget shows, with what each piece looks like: `{bold red}ERR{}`."""
    return "\n".join(_tagged_line(strip) for strip in strips_of(widget)) + "\n"


def _tagged_line(strip: Strip) -> str:
    found, current = "", ""
    for segment in strip:
        look = _look(segment.style) if segment.text.strip() else current
        if look != current:
            found += f"{{{look}}}"
            current = look
        found += segment.text
    return found.rstrip()


def _look(style: Style | None) -> str:
    """Attributes and the sixteen colours; a theme's own background and foreground go without saying."""
    if style is None:
        return "no style"
    words = [name for name in ("bold", "dim", "reverse", "underline") if getattr(style, name)]
    if style.color is not None and style.color.number is not None:
        words.append(style.color.name)
    if style.bgcolor is not None and style.bgcolor.number is not None:
        words.append(f"on {style.bgcolor.name}")
    return " ".join(words)
