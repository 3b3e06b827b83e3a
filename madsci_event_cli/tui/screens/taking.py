"""TakingScreen: what is typed at the bottom, and what is taken away: copies, commands, files."""

from pathlib import Path

from textual import on, work
from textual.widget import Widget

from madsci_event_cli.rendering import counted, plain, visible
from madsci_event_cli.time_expressions import parse_moment
from madsci_event_cli.tui.filter_line import command_line
from madsci_event_cli.tui.saving import save_view
from madsci_event_cli.tui.screens.finding import FindingScreen
from madsci_event_cli.tui.widgets.prompt import Mode, Prompt
from madsci_event_server.errors import InvalidInput, MadsciEventsError


class TakingScreen(FindingScreen):
    """Prompts, copies and saves."""

    _return_to: Widget | None = None
    """What had the focus before the prompt took it."""
    _offered = ""
    """What the prompt held when it was opened."""

    @property
    def prompt(self) -> Prompt:
        """The prompt."""
        return self.query_one(Prompt)

    def action_prompt(self, mode: Mode) -> None:
        """Asks for a filter, a text, a time or a file."""
        text = {"filter": self.filter_text, "save": self._file_name}.get(mode, str)()
        self._return_to = self.focused
        self._offered = visible(text)
        self.prompt.open(mode, f"{self._offered} " if mode == "filter" and text else text)

    def _file_name(self) -> str:
        return f"events-{self.settings.clock().astimezone(self.zone()):%Y%m%d-%H%M%S}.jsonl"

    @on(Prompt.Closed)
    def _prompt_closed(self) -> None:
        (self._return_to or self.event_list).focus()

    @on(Prompt.Edited)
    def _prompt_edited(self, message: Prompt.Edited) -> None:
        if message.mode == "filter":
            try:
                self.parse_filter(message.text)
            except InvalidInput as error:
                self.prompt.say(str(error), "level.warning")

    @on(Prompt.Submitted)
    def _prompt_submitted(self, message: Prompt.Submitted) -> None:
        try:
            self._take(message.mode, message.text.strip())
        except InvalidInput as error:
            self.prompt.complain(str(error))
            return
        self.prompt.action_close()

    def _take(self, mode: Mode, text: str) -> None:
        if mode == "filter":
            # A filter may hold what cannot be typed: left as it was offered, it stays as it is.
            if text != self._offered:
                self.apply(self.parse_filter(text))
        elif mode == "search":
            self.search_for(text, in_event=self._return_to is self.detail)
        elif mode == "time":
            moment = parse_moment(text, now=self.settings.clock(), zone=self.zone())
            self.event_list.pause()
            self.load_around(moment)
        else:
            self.save(Path(text))

    @work(group="save")
    async def save(self, path: Path) -> None:
        """Writes every event of the view, also those beyond what is loaded."""
        self.notice(f"writing {path} ...")
        try:
            count = await save_view(self.source, self.event_query, path)
        except FileExistsError:
            self.notice(f"{path} exists already; choose another name", "level.error")
        except (OSError, MadsciEventsError) as error:
            self.notice(f"not saved: {error}", "level.error")
        else:
            self.notice(f"{counted(count, 'event')} in {path}   the same: {self.command()}")

    def command(self) -> str:
        """The command that prints what is shown."""
        return command_line(self.event_query, self.settings.source_options)

    def action_copy(self) -> None:
        """Copies what is under the cursor: a line of the event, or the event."""
        line = self.detail.line if self.detail.has_focus else None
        if line is not None:
            self.copy(line.copy or plain(line.spans).strip(), "copied")
            return
        row = self.event_list.selected
        if row is None or row.note is not None:
            self.notice("choose an event with ↑ ↓ first")
            return
        self.copy(row.raw.decode(), "event copied")

    def action_copy_command(self) -> None:
        """Copies the command that prints what is shown."""
        self.copy(self.command(), self.command())

    def copy(self, text: str, said: str) -> None:
        """To the clipboard, where the terminal allows it, and to a file."""
        self.app.copy_to_clipboard(text)
        path = self.settings.copy_path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            self.notice(f"{said}; not written to {path}: {error}", "level.warning")
        else:
            self.notice(f"{said}, also to {path}")
