"""How a command joins the command line: `register(app, function, panel=..., examples=...)`.

The function's first parameter is the Session; the rest are its Typer options. The options of every command are added
here, so that they work after a command as well as before it. A coroutine function is run to its end.

A module of `commands/` is loaded when its command is asked for: a shell script that calls one command a thousand times
does not wait for the fifteen others.
"""

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Annotated, Any, Final

import typer

from madsci_event_cli.completing import profile_names
from madsci_event_cli.helping import GLOBAL_PANEL, Command, Group
from madsci_event_cli.output import Format
from madsci_event_cli.session import DEFAULT_SERVER, Color, Options, Session

GLOBAL_OPTIONS: Final[dict[str, Any]] = {
    "server": Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            help=f"The event server. Otherwise EVENT_SERVER_URL, a profile's, or {DEFAULT_SERVER}.",
            rich_help_panel=GLOBAL_PANEL,
        ),
    ],
    "profile": Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="The event server by its name; see profile. Otherwise MADSCI_EVENTS_PROFILE.",
            autocompletion=profile_names,
            rich_help_panel=GLOBAL_PANEL,
        ),
    ],
    "output": Annotated[
        Format | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FORMAT",
            help="table (on a terminal), text (elsewhere), json, jsonl, csv or raw, the messages alone.",
            rich_help_panel=GLOBAL_PANEL,
        ),
    ],
    "color": Annotated[
        Color | None,
        typer.Option(
            "--color",
            metavar="WHEN",
            help="auto, always or never. NO_COLOR and FORCE_COLOR are heeded.",
            rich_help_panel=GLOBAL_PANEL,
        ),
    ],
    "quiet": Annotated[
        bool | None,
        typer.Option("-q", "--quiet", help="Say nothing on stderr but errors.", rich_help_panel=GLOBAL_PANEL),
    ],
    "verbose": Annotated[
        bool | None,
        typer.Option("-v", "--verbose", help="Say more on stderr.", rich_help_panel=GLOBAL_PANEL),
    ],
}


def _show_version(ctx: typer.Context, wanted: bool | None) -> None:
    if wanted:
        from importlib.metadata import version

        ctx.find_root().obj.session.output.text(f"madsci-events {version('madsci-events')}")
        raise typer.Exit


VERSION_OPTION: Final[Mapping[str, Any]] = {
    "version": Annotated[
        bool | None, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ]
}
NONE_MORE: Final[Mapping[str, Any]] = {}


@dataclass
class Invocation:
    """What Typer carries through a run: the session, with the options read so far."""

    session: Session


COMMANDS: Final = (
    "query", "tail", "get", "stats", "status", "tui", "alerts", "log", "archive", "purge", "doctor", "manager",
    "profile", "spool", "store", "serve",
)  # fmt: skip
"""In the order they are listed; each is a module of `commands/`."""


class CommandLine(Group):
    """The group of all commands."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.commands = _LoadedWhenAskedFor()


class _LoadedWhenAskedFor(MutableMapping[str, Any]):
    """Every command by its name; to ask for a name loads that command, to go through the names loads none."""

    def __init__(self) -> None:
        self._commands: dict[str, Any] = dict.fromkeys(COMMANDS)

    def __getitem__(self, name: str) -> Any:
        if self._commands[name] is None:
            self._commands[name] = _loaded(name)
        return self._commands[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)

    def __contains__(self, name: object) -> bool:
        return name in self._commands


def _loaded(name: str) -> Any:
    alone = typer.Typer(rich_markup_mode=None)
    import_module(f"madsci_event_cli.commands.{name}").register_in(alone)
    return typer.main.get_group(alone).commands[name]


def take_global_options(app: typer.Typer) -> None:
    """Makes the options of every command work before the command, too."""

    def options(ctx: typer.Context, **values: Any) -> None:
        _session_of(ctx, values)

    _describe(options, [*_parameters(GLOBAL_OPTIONS), *_parameters(VERSION_OPTION)])
    app.callback()(options)


COMMANDS_PANEL: Final = "Commands"
"""Where the help of a group lists what is in it."""


def command_group(text: str, examples: str) -> typer.Typer:
    """A group of commands, to be registered in; the options of every command work after its name, too."""
    group = typer.Typer(cls=Group, rich_markup_mode=None, help=text, epilog=examples)

    def options(ctx: typer.Context, **values: Any) -> None:
        _session_of(ctx, values)

    _describe(options, _parameters(GLOBAL_OPTIONS))
    group.callback()(options)
    return group


def register(
    app: typer.Typer,
    function: Callable[..., Any],
    *,
    panel: str,
    examples: str,
    name: str | None = None,
    more: Mapping[str, Any] = NONE_MORE,
) -> None:
    """Adds `function` as a command; its docstring is the help, `examples` open it.

    `more` are options by parameter name that several commands share (`FILTER_OPTIONS`): the function gets their values
    as one mapping, its second argument.
    """
    app.command(name, cls=Command, epilog=examples, rich_help_panel=panel)(with_session(function, more))


def with_session(function: Callable[..., Any], more: Mapping[str, Any] = NONE_MORE) -> Callable[..., Any]:
    """`function(session, ...)` as Typer can call it: it takes the global options too, and gets them in its session."""

    def command(ctx: typer.Context, **values: Any) -> Any:
        session = _session_of(ctx, {f.name: values.pop(f.name) for f in fields(Options)})
        shared = ({option: values.pop(option) for option in more},) if more else ()
        found = function(session, *shared, **values)
        return _finished(found) if inspect.iscoroutine(found) else found

    own = list(inspect.signature(function, eval_str=True).parameters.values())[2 if more else 1 :]
    keyword_only = [_named(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)) for parameter in own]
    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    _describe(command, [*_parameters(more), *keyword_only, *_parameters(GLOBAL_OPTIONS)])
    return command


def _finished(work: Coroutine[Any, Any, Any]) -> Any:
    import asyncio  # 30 ms, for those who wait for the network

    return asyncio.run(work)


def _session_of(ctx: typer.Context, values: Mapping[str, Any]) -> Session:
    """The session with these options, which go before those given earlier."""
    given = Options(**{f.name: values[f.name] for f in fields(Options)})
    invocation: Invocation = ctx.find_root().obj
    invocation.session = invocation.session.with_options(given)
    return invocation.session


def _describe(command: Callable[..., Any], options: Sequence[inspect.Parameter]) -> None:
    """Gives `command` the parameters that Typer reads."""
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *options]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _named(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter, its option named after it: some releases of Typer take the metavar for the name."""
    for option in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(option, typer.models.OptionInfo) and not _has_name(option):
            option.param_decls = (f"--{parameter.name.replace('_', '-')}",)
    return parameter


def _has_name(option: typer.models.OptionInfo) -> bool:
    """Typer keeps the first name as the default until it reads the signature."""
    return bool(option.param_decls) or (isinstance(option.default, str) and option.default.startswith("-"))


def _parameters(options: Mapping[str, Any]) -> list[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, kind, default=None, annotation=type_) for name, type_ in options.items()]
