"""The two one-line widgets around the list: the filters that are on, and the keys that help here."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message

from madsci_event_cli.rendering import cells
from madsci_event_cli.tui.narrowing import Chip
from madsci_event_cli.tui.widgets.span_line import Piece, SpanLines

Hint = tuple[str, str]
"""A key and what it does here."""


class ChipLine(SpanLines):
    """What is filtered on; a click on a chip removes it."""

    @dataclass
    class Removed(Message):
        """A chip was clicked."""

        field: str

    def __init__(self) -> None:
        super().__init__()
        self._chips: Sequence[Chip] = ()

    def show(self, chips: Sequence[Chip]) -> None:
        """Draws these chips; none hides the line."""
        if chips != self._chips or self.display != bool(chips):
            self._chips = chips
            self.display = bool(chips)
            self.refresh()

    def line_pieces(self, y: int, width: int) -> list[Piece]:
        """The one line."""
        found: list[Piece] = [(" filter ", "dim")]
        for chip in self._chips:
            found += [(f" {chip.text} ", "chip"), ("×", "chip dim"), (" ", "chip"), (" ", "")]
        return found

    def on_click(self, event: events.Click) -> None:
        """Removes the chip under the mouse."""
        left = cells(" filter ")
        for chip in self._chips:
            right = left + cells(chip.text) + 4
            if left <= event.x < right:
                self.post_message(self.Removed(chip.field))
                return
            left = right + 1


class HintLine(SpanLines):
    """The few keys that matter where the operator is."""

    def __init__(self) -> None:
        super().__init__()
        self._hints: Sequence[Hint] = ()
        self._last: Sequence[Hint] = ()

    def show(self, hints: Sequence[Hint], *, helps: bool = True) -> None:
        """Draws these, as many as fit; with `? help` always at the end, unless that key means itself here."""
        last = [("?", "help")] if helps else []
        if (hints, last) != (self._hints, self._last):
            self._hints, self._last = hints, last
            self.refresh()

    def line_pieces(self, y: int, width: int) -> list[Piece]:
        """The one line."""
        found: list[Piece] = [(" ", "")]
        last = [piece for key, what in self._last for piece in ((f"{key} ", "bold"), (f"{what} ", "dim"))]
        room = width - 1 - sum(cells(text) for text, _ in last)
        for key, what in self._hints:
            pieces: list[Piece] = [(f"{key} ", "bold"), (f"{what}   ", "dim")]
            room -= sum(cells(text) for text, _ in pieces)
            if room < 0:
                break
            found += pieces
        return [*found, *last]
