"""Session: one run of the command line. Its options, its streams, and the environment, which only this module reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Self, TextIO

from madsci_event_cli.addresses import shown_address
from madsci_event_cli.diagnostics import Diagnostics
from madsci_event_cli.output import Format, Output
from madsci_event_server.errors import InvalidInput

if TYPE_CHECKING:
    from madsci_event_cli.reader import EventReader

DEFAULT_SERVER: Final = "http://localhost:8001"


class Color(StrEnum):
    """What `--color` takes."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class Options:
    """The options that work before and after a command; None where not given."""

    server: str | None = None
    profile: str | None = None
    output: Format | None = None
    color: Color | None = None
    quiet: bool | None = None
    verbose: bool | None = None

    def updated(self, later: "Options") -> "Options":
        """These, and those given later in their place."""
        given = {f.name: value for f in fields(later) if (value := getattr(later, f.name)) is not None}
        return replace(self, **given)


@dataclass(frozen=True)
class Session:
    """What a command works with. Streams, environment and clock are arguments: a run is its inputs and nothing else."""

    stdin: TextIO
    stdout: BinaryIO
    stderr: TextIO
    environment: Mapping[str, str]
    options: Options = field(default_factory=Options)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def with_options(self, options: Options) -> Self:
        """The same run with options given after the ones before."""
        return replace(self, options=self.options.updated(options))

    @cached_property
    def output(self) -> Output:
        """Where results go: a table on a terminal, text elsewhere, unless `-o` says. Times are this machine's."""
        return self.output_in(None)

    def output_in(self, zone: tzinfo | None) -> Output:
        """Where results go, with times in this zone."""
        width = terminal_width(self.stdout, self.environment)
        chosen = self.options.output or (Format.TEXT if width is None else Format.TABLE)
        return Output(self.stdout, chosen, width, color=self._colored(self.stdout), zone=zone)

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """Where everything else is said."""
        return Diagnostics(
            self.stderr,
            quiet=bool(self.options.quiet),
            verbose=bool(self.options.verbose),
            color=self._colored(self.stderr),
        )

    @property
    def server(self) -> str:
        """The address of the event server, as it was given."""
        return server_address(self.options.server, self.environment, self.options.profile)

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked: both what is read and what is said pass through a terminal."""
        return self.stdin.isatty() and self.stderr.isatty()

    def say_server(self) -> None:
        """Says, with `-v`, who is asked."""
        self.diagnostics.detail(f"server: {shown_address(self.server)}")

    def reader(self) -> "EventReader":
        """A reader of the server, to be opened."""
        from madsci_event_cli.reader import EventReader  # 400 ms of httpx, which help does without

        self.say_server()
        return EventReader(self.server)

    def _colored(self, stream: IO[Any]) -> bool:
        return wants_color(self.options.color or Color.AUTO, stream, self.environment)


def server_address(option: str | None, environment: Mapping[str, str], profile: str | None = None) -> str:
    """The server to talk to: `--server`, else EVENT_SERVER_URL, else a profile's, else the one on this machine.

    Raises InvalidInput for a profile that is none, and for an option without an address: an empty variable in a script
    must not send it to another server.
    """
    if option is not None and not option.strip():
        raise InvalidInput("--server", "is empty; give an address as http://HOST:PORT, or leave it out", value=option)
    given = option or environment.get("EVENT_SERVER_URL")
    if given and profile is None:
        return given
    from madsci_event_cli.profiles import profile_server  # who says which server needs no profiles

    named = profile_server(profile, environment)
    return given or named or DEFAULT_SERVER


def wants_color(choice: Color, stream: IO[Any], environment: Mapping[str, str]) -> bool:
    """Whether to write colours to this stream: `--color`, else NO_COLOR, FORCE_COLOR, TERM=dumb, else on a terminal."""
    if choice is not Color.AUTO:
        return choice is Color.ALWAYS
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return environment.get("TERM") != "dumb" and stream.isatty()


def terminal_width(stream: IO[Any], environment: Mapping[str, str]) -> int | None:
    """Cells a line may have; None where the stream is no terminal. COLUMNS overrides what the terminal says."""
    if not stream.isatty():
        return None
    import os

    said = environment.get("COLUMNS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _UNKNOWN_WIDTH
    except (OSError, ValueError):
        return _UNKNOWN_WIDTH


_UNKNOWN_WIDTH: Final = 80
