"""Prompt: the line at the bottom that takes a filter, a search, a time or a file name, and says what is wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input

from madsci_event_cli.rendering import visible
from madsci_event_cli.tui.widgets.lines import Hint
from madsci_event_cli.tui.widgets.span_line import Piece, SpanLines

Mode = Literal["filter", "search", "time", "save"]

_LABELS: dict[Mode, str] = {"filter": "& ", "search": "/ ", "time": "go to ", "save": "save to "}
_HELP: dict[Mode, str] = {
    "filter": "--level error --node NAME --type 'workflow_*' --since 1h words -not",
    "search": "text in messages",
    "time": "14:05   yesterday 9:00   15m (ago)   2026-11-23T14:05",
    "save": "every event of this view, as .jsonl or .csv",
}
_LEAVE: Hint = ("Esc", "leave")
_HINTS: dict[Mode, Sequence[Hint]] = {
    "filter": [("Enter", "apply"), ("Tab", "complete"), _LEAVE],
    "search": [("Enter", "find"), ("n N", "go on, then"), _LEAVE],
    "time": [("Enter", "go there"), _LEAVE],
    "save": [("Enter", "write"), _LEAVE],
}
"""The keys that matter while it is open."""


class _PromptInput(Input):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "Complete", show=False, priority=True)]

    def action_complete(self) -> None:
        """Takes the suggestion."""
        self.action_end()
        self.action_cursor_right()


class _Completer(Suggester):
    def __init__(self, complete: Callable[[str], Sequence[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        """The likeliest end of the line."""
        return next(iter(self._complete(value)), None)


class _PromptMessage(SpanLines):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[Piece] = []

    def line_pieces(self, y: int, width: int) -> list[Piece]:
        """What is wrong, or what could be typed."""
        return self.pieces


class _PromptLabel(SpanLines):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def line_pieces(self, y: int, width: int) -> list[Piece]:
        """What is asked for."""
        return [(self.text, "bold")]


class Prompt(Vertical):
    """Hidden until opened; one line of help or complaint above one of input."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close", show=False)]

    @dataclass
    class Edited(Message):
        """What is typed has changed."""

        mode: Mode
        text: str

    @dataclass
    class Submitted(Message):
        """The operator pressed Enter."""

        mode: Mode
        text: str

    class Closed(Message):
        """The prompt was left."""

    def __init__(self, complete: Callable[[str], Sequence[str]]) -> None:
        super().__init__()
        self.mode: Mode = "filter"
        self._complete = complete
        self._message = _PromptMessage()
        self._label = _PromptLabel()

    def compose(self) -> ComposeResult:
        """The message above the input."""
        yield self._message
        with Horizontal():
            yield self._label
            yield _PromptInput(compact=True, select_on_focus=False)

    @property
    def input(self) -> Input:
        """The input."""
        return self.query_one(_PromptInput)

    @property
    def hints(self) -> Sequence[Hint]:
        """The keys that matter here."""
        return _HINTS[self.mode]

    def open(self, mode: Mode, text: str = "") -> None:
        """Asks for something; `text` stands there already."""
        self.mode = mode
        self._label.text = f" {_LABELS[mode]}"
        self._label.styles.width = len(self._label.text)
        self._label.refresh()
        self.input.suggester = _Completer(self._complete) if mode == "filter" else None
        self.input.value = text
        self.input.cursor_position = len(text)
        self.say(_HELP[mode])
        self.display = True
        self.input.focus()

    def say(self, text: str, style: str = "dim") -> None:
        """Says something above the input."""
        self._message.pieces = [(f" {visible(text)}", style)]
        self._message.refresh()

    def complain(self, text: str) -> None:
        """Says what is wrong; what was typed stays to be mended."""
        self.say(text, "level.error")

    def action_close(self) -> None:
        """Leaves without doing anything."""
        self.display = False
        self.post_message(self.Closed())

    def on_input_changed(self, event: Input.Changed) -> None:
        """Passes on what is typed."""
        event.stop()
        if visible(event.value) != event.value:
            self.input.value = visible(event.value)
        elif self.display:
            self.say(_HELP[self.mode])
            self.post_message(self.Edited(self.mode, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Passes on what was typed."""
        event.stop()
        self.post_message(self.Submitted(self.mode, event.value))
