"""DashboardApp: the dashboard as a Textual application: its themes, its one screen, and the source it opens."""

import signal
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Final

from rich.terminal_theme import TerminalTheme
from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen
from textual.theme import Theme

from madsci_event_cli.broken_pipe import hung_up
from madsci_event_cli.tui.screens.dashboard import DashboardScreen
from madsci_event_cli.tui.settings import DashboardSettings
from madsci_event_cli.tui.source import Source
from madsci_event_server.errors import InvalidInput
from madsci_event_server.query import EventQuery

_LOOK_AT_TERMINAL_SECONDS: Final = 2.0

_OFFERED: Final = ("Theme", "Screenshot")

_DARK: Final = Theme(
    name="lab-dark",
    primary="#6ea8d8",
    accent="#6ea8d8",
    warning="#d9a441",
    error="#e5675f",
    success="#7fb77e",
    foreground="#c9ccd1",
    background="#14161a",
    surface="#1f232a",
    panel="#1b1e24",
    dark=True,
)
_LIGHT: Final = Theme(
    name="lab-light",
    primary="#20639b",
    accent="#20639b",
    warning="#9a6700",
    error="#b3261e",
    success="#2c6e2f",
    foreground="#24292f",
    background="#fbfbfa",
    surface="#eceef0",
    panel="#f1f2f3",
    dark=False,
)

_DARK_TERMINAL: Final = TerminalTheme(
    (20, 22, 26),
    (201, 204, 209),
    [
        (45, 50, 58),
        (229, 103, 95),
        (127, 183, 126),
        (217, 164, 65),
        (110, 168, 216),
        (178, 148, 211),
        (116, 178, 190),
        (201, 204, 209),
    ],
    [
        (122, 129, 140),
        (240, 130, 122),
        (150, 203, 149),
        (232, 186, 99),
        (140, 190, 233),
        (199, 172, 228),
        (141, 200, 211),
        (235, 237, 240),
    ],
)
_LIGHT_TERMINAL: Final = TerminalTheme(
    (251, 251, 250),
    (36, 41, 47),
    [
        (36, 41, 47),
        (179, 38, 30),
        (44, 110, 47),
        (146, 98, 0),
        (32, 99, 155),
        (122, 62, 157),
        (21, 104, 118),
        (251, 251, 250),
    ],
    [
        (106, 113, 122),
        (200, 60, 50),
        (60, 130, 63),
        (165, 115, 10),
        (50, 120, 180),
        (140, 80, 175),
        (35, 125, 140),
        (251, 251, 250),
    ],
)
"""What the sixteen colours of `rendering` are in the themes of our own: muted, and apart for colour-blind eyes."""


class DashboardApp(App[None]):
    """Shows a source until the operator leaves."""

    TITLE = "madsci-events"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = True

    def __init__(self, source: Source, query: EventQuery, settings: DashboardSettings) -> None:
        super().__init__()
        self._source = source
        self._query = query
        self._settings = settings
        self.ansi_theme_dark = _DARK_TERMINAL
        self.ansi_theme_light = _LIGHT_TERMINAL
        self.register_theme(_DARK)
        self.register_theme(_LIGHT)
        if settings.theme and settings.theme not in self.available_themes:
            known = ", ".join(sorted(self.available_themes))
            raise InvalidInput("--theme", f"{settings.theme!r} is not a theme; there are {known}", value=settings.theme)
        self.theme = settings.theme or ("ansi-dark" if settings.low_bandwidth else _DARK.name)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The colours of the line under the cursor and of scroll bars, in every theme."""
        return (
            {"boost-cursor": "#2c3440", "boost-scrollbar": "#343b47"}
            if self.current_theme.dark
            else {"boost-cursor": "#d5e3f0", "boost-scrollbar": "#c4ccd4"}
        )

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything a key of the dashboard does, by its name; and, of Textual's own, what has a use here."""
        if isinstance(screen, DashboardScreen):
            for binding in Binding.make_bindings(screen.BINDINGS):
                key = self.get_key_display(binding)
                yield SystemCommand(binding.description, f"key: {key}", partial(screen.run_action, binding.action))
        yield from (command for command in super().get_system_commands(screen) if command.title in _OFFERED)

    def on_mount(self) -> None:
        """Looks now and then whether there is still a terminal."""
        if not self.is_headless:
            self.set_interval(_LOOK_AT_TERMINAL_SECONDS, self._leave_without_terminal)

    def _leave_without_terminal(self) -> None:
        # SIGHUP says so, but may be ignored. Textual then reads the end of a lost terminal over and over, and waits for
        # ever to write its last words there: only the signal itself ends it.
        if sys.__stderr__ is not None and hung_up(sys.__stderr__):
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            signal.raise_signal(signal.SIGHUP)

    async def on_load(self) -> None:
        """Opens the source before anything is drawn."""
        await self._source.__aenter__()

    async def on_unmount(self) -> None:
        """Closes it."""
        await self._source.__aexit__(None, None, None)

    def get_default_screen(self) -> DashboardScreen:
        """The dashboard is the first screen, so that the first paint is it."""
        return DashboardScreen(self._source, self._query, self._settings)
