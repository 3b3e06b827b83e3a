"""The command line: what opens its help, and what a failure is called on stderr and in the exit code."""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, TextIO

import typer

from madsci_event_cli.diagnostics import Diagnostics, ExitCode
from madsci_event_cli.helping import CommandLineError
from madsci_event_cli.output import NotWritten, ReaderGone
from madsci_event_cli.registration import CommandLine, Invocation, take_global_options
from madsci_event_cli.session import Session
from madsci_event_server.errors import (
    InvalidInput,
    MadsciEventsError,
    NotAllowed,
    ServerUnreachable,
    StoreUnavailable,
)

PROGRAM = "madsci-events"

app = typer.Typer(
    cls=CommandLine,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The event log of a self-driving lab: read it, write to it, run its server.",
    epilog=f"""
        {PROGRAM} serve  # start the server here
        {PROGRAM} log "plate 7 loaded" --data volume=120
        {PROGRAM} query --level warning --since 2h
        {PROGRAM} query --node liquidhandler_1 -o jsonl | jq .event_data
        {PROGRAM} tail -f --level warning  # as they come
        {PROGRAM} get 9NVDSZ92  # the end of an id will do
    """,
)
take_global_options(app)


def run(
    arguments: Sequence[str], environment: Mapping[str, str], stdin: TextIO, stdout: BinaryIO, stderr: TextIO
) -> int:
    """Runs one command line; the exit code. Raises nothing but what is a bug."""
    invocation = Invocation(Session(stdin, stdout, stderr, environment))
    try:
        command = typer.main.get_command(app)
        answer = command.main(
            [_as_text(argument) for argument in arguments] or ["--help"], PROGRAM, standalone_mode=False, obj=invocation
        )
    except (ReaderGone, BrokenPipeError):
        _let_go(stdout)
        return ExitCode.OK
    except (MadsciEventsError, OSError, KeyboardInterrupt, typer.Abort, CommandLineError) as error:
        if isinstance(error, (NotWritten, OSError)):
            _let_go(stdout)
        return _report(error, invocation.session.diagnostics)
    return int(answer or ExitCode.OK)


def _as_text(argument: str) -> str:
    """The argument with U+FFFD for each byte that is not UTF-8, as what cannot be sent; names of files stay."""
    if argument.isascii() or os.path.lexists(argument):
        return argument
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in argument)


def _report(error: BaseException, diagnostics: Diagnostics) -> ExitCode:
    code, text = failure(error)
    if text:
        diagnostics.error(text)
    cause = error.__cause__
    while cause is not None:
        diagnostics.detail(f"because of {type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    return code


def failure(error: BaseException) -> tuple[ExitCode, str]:
    """What a failure is called: its exit code, and its line on stderr ("" for none)."""
    match error:
        case KeyboardInterrupt() | typer.Abort():
            return ExitCode.INTERRUPTED, ""
        case InvalidInput():
            return ExitCode.USAGE, str(error)
        case NotAllowed():
            return ExitCode.NOT_ALLOWED, str(error)
        case ServerUnreachable() | StoreUnavailable():
            return ExitCode.UNREACHABLE, str(error)
        case MadsciEventsError():
            return ExitCode.REFUSED, str(error)
        case OSError():  # a full disk, a file that may not be read: nothing that waiting for us mends
            return ExitCode.REFUSED, _system_text(error)
        case _:
            return ExitCode.USAGE, _usage_text(error)


def _system_text(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or str(error) or type(error).__name__}"


def _usage_text(error: Any) -> str:
    command = getattr(getattr(error, "ctx", None), "command_path", PROGRAM)
    said = error.format_message().rstrip(".").replace("\n", " ").replace("valid int range", "whole number")
    if command == PROGRAM and said.startswith("No such option"):
        said += "; those of a command go after it"
    return f"{said}; see {command} --help"


def _let_go(stdout: BinaryIO) -> None:
    """Points a stdout that takes no more at nothing, so that Python's last flush does not fail there once more."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, stdout.fileno())
    except (OSError, io.UnsupportedOperation):
        pass  # not a file: nothing will be flushed
    finally:
        os.close(devnull)


def _replace_closed_streams() -> None:
    """Gives back what was closed (`>&-`): files opened later would take their numbers, and be written to as stdout."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  # until the end


def main() -> int:
    """Runs the command line of this process."""
    _replace_closed_streams()
    return run(sys.argv[1:], os.environ, sys.stdin, sys.stdout.buffer, sys.stderr)
