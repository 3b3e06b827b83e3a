"""How `--help` looks: what the command is for, examples that work, then its options in groups. Plain text, 80 columns.

Examples are a command's epilog, groups its options' `rich_help_panel`; both are Typer's own. Rich, which would draw
boxes around them, takes longer to load than everything else together.
"""

import os
import re
import sys
import textwrap
from typing import Any, Final

import typer.core

from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.session import Color, wants_color

PANELS: Final = ("Look", "Log", "Keep", "Run")
"""The groups of commands, in the order of the day's work."""

GLOBAL_PANEL: Final = "With every command"

CommandLineError: Final[type[Any]] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""What Typer raises for a command line it cannot read; it exports only this kind of it."""

_INDENT: Final = "  "
_MOST_COLUMNS: Final = 100
_TERM_CELLS: Final = 26


class HelpPage:
    """Collects a help page; headings and terms are set off by weight alone."""

    def __init__(self) -> None:
        self.width = min(_terminal_columns(), _MOST_COLUMNS)
        self.bold = wants_color(Color.AUTO, sys.stdout, os.environ)
        self.lines: list[str] = []

    def text(self, text: str, indent: str = "") -> None:
        """Paragraphs, filled."""
        for number, paragraph in enumerate(text.strip().split("\n\n")):
            if number:
                self.lines.append("")
            words = " ".join(paragraph.split())
            wrapped = textwrap.wrap(words, self.width, initial_indent=indent, subsequent_indent=indent)
            self.lines += [line.replace(_NO_BREAK, " ") for line in wrapped]

    def heading(self, text: str) -> None:
        """A heading with an empty line before it."""
        self.lines += ["", self._strong(f"{text}:")]

    def examples(self, text: str) -> None:
        """Commands as they can be copied; what follows `#` is said quietly, above a command that fills its line."""
        self.heading("Examples")
        for line in text.strip().splitlines():
            command, mark, comment = line.strip().partition("  #")
            shown = f"{_INDENT}{command.rstrip()}"
            if mark and len(shown) + len(comment) + 3 <= self.width:
                self.lines.append(f"{shown}{self._quiet(f'  #{comment}')}")
                continue
            if mark:
                self.lines.append(self._quiet(f"{_INDENT}#{comment}"))
            self.lines += self._continued(command.rstrip())

    def _continued(self, command: str) -> list[str]:
        """A command on as many lines as it needs, as a shell takes them."""
        lines = [_INDENT]
        for word in _SHELL_WORD.findall(command):
            if len(lines[-1]) + len(word) + len(_GOES_ON) > self.width and lines[-1].strip():
                lines.append(_INDENT * 3)
            lines[-1] += word if lines[-1].isspace() else f" {word}"
        return [f"{line}{_GOES_ON}" for line in lines[:-1]] + lines[-1:]

    def terms(self, rows: list[tuple[str, str]]) -> None:
        """Terms on the left, what they mean on the right; a long term has a line of its own."""
        column = min(_TERM_CELLS, max(len(term) for term, _ in rows) + 2)
        hanging = _INDENT + " " * column
        for term, meaning in rows:
            described = textwrap.wrap(meaning, self.width, initial_indent=hanging, subsequent_indent=hanging)
            if len(term) + 2 <= column and described:
                described[0] = f"{_INDENT}{term.ljust(column)}{described[0][len(hanging) :]}"
            else:
                self.lines.append(f"{_INDENT}{term}")
            self.lines += described

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"

    def _strong(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.bold else text

    def _quiet(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.bold else text


class Command(typer.core.TyperCommand):
    """A command whose help opens with examples."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """An option without its value is a mistake in this command, too, which Typer does not say."""
        try:
            return list(super().parse_args(ctx, args))
        except CommandLineError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the page; `formatter` only carries it."""
        page = HelpPage()
        _opening(page, self, ctx)
        _options(page, self, ctx)
        formatter.write(str(page))


class Group(typer.core.TyperGroup):
    """A group whose help opens with examples and lists its commands in the order they were registered."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """A group alone is a mistake that its help answers."""
        if not args and not ctx.resilient_parsing:
            ctx.find_root().obj.session.diagnostics.help(ctx.get_help())
            ctx.exit(ExitCode.USAGE)
        return list(super().parse_args(ctx, args))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the page; `formatter` only carries it."""
        page = HelpPage()
        _opening(page, self, ctx)
        _commands(page, self, ctx)
        _options(page, self, ctx)
        formatter.write(str(page))

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of registration."""
        return list(self.commands)


def _opening(page: HelpPage, command: Any, ctx: Any) -> None:
    page.text(command.help or "")
    if command.epilog:
        page.examples(command.epilog)
    page.heading("Usage")
    pieces = (_REQUIRED.sub(r"\1", piece) for piece in command.collect_usage_pieces(ctx))
    usage = " ".join([ctx.command_path, *pieces])
    page.lines.append(f"{_INDENT}{usage}")


def _commands(page: HelpPage, group: Any, ctx: Any) -> None:
    found: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if not command.hidden:
            found.setdefault(command.rich_help_panel or "Commands", []).append((name, _first_sentence(command.help)))
    for panel, rows in found.items():
        if rows:
            page.heading(panel)
            page.terms(rows)


def _options(page: HelpPage, command: Any, ctx: Any) -> None:
    found: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            term, meaning = record
            if parameter.param_type_name == "argument":
                term, meaning = parameter.metavar, parameter.help
            found.setdefault(_panel_of(parameter), []).append((term, meaning))
    for panel in sorted(found, key=_rank):
        page.heading(panel)
        _rows(page, found[panel])


def _rows(page: HelpPage, rows: list[tuple[str, str]]) -> None:
    """Options whose name says it all share lines."""
    explained = [(term, meaning) for term, meaning in rows if meaning]
    if explained:
        page.terms(explained)
    plain = [term for term, meaning in rows if not meaning]
    if plain:
        page.text("   ".join(term.replace(" ", _NO_BREAK) for term in plain), _INDENT)


_NO_BREAK: Final = "\0"
_GOES_ON: Final = " \\"
_SHELL_WORD: Final = re.compile(r"""(?:"[^"]*"|'[^']*'|\S)+""")
_REQUIRED: Final = re.compile(r"^\{([\w-]+)\}$")
"""Newer releases of Typer put braces around what must be there; older ones leave it bare, as manuals do."""
_FIRST: Final = ("Arguments", "Options")
_LAST: Final = (GLOBAL_PANEL, "Help")


def _rank(panel: str) -> int:
    return _FIRST.index(panel) - len(_FIRST) if panel in _FIRST else 1 + _LAST.index(panel) if panel in _LAST else 0


def _panel_of(parameter: Any) -> str:
    panel = getattr(parameter, "rich_help_panel", None)
    if panel:
        return str(panel)
    if parameter.param_type_name == "argument":
        return "Arguments"
    about_itself = parameter.is_eager or parameter.name in ("install_completion", "show_completion")
    return "Help" if about_itself else "Options"


def _first_sentence(text: str | None) -> str:
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return paragraph.split(". ")[0].rstrip(".")


def _terminal_columns() -> int:
    try:
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
