"""`profile`: several labs' servers by name."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final

import typer

from madsci_event_cli.addresses import shown_address
from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.registration import COMMANDS_PANEL, command_group, register
from madsci_event_cli.rendering import Span, visible
from madsci_event_cli.session import Session
from madsci_event_server.errors import InvalidInput, shown

_FIELDS: Final = ("name", "server", "current")


def _names_beginning(incomplete: str) -> list[str]:
    from madsci_event_cli.profiles import Profiles

    try:
        return [name for name in Profiles.read().servers if name.startswith(incomplete)]
    except InvalidInput:
        return []


_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The profile: a name for a lab.", autocompletion=_names_beginning)
]


def register_in(app: typer.Typer) -> None:
    """Adds the family of commands."""
    profile = command_group(_HELP, _EXAMPLES)
    for name, (function, examples) in _COMMANDS.items():
        register(profile, function, panel=COMMANDS_PANEL, examples=examples, name=name)
    app.add_typer(profile, name="profile", rich_help_panel="Run")


def add(
    session: Session,
    name: _Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="The address of its server: http://HOST:PORT.")],
    *,
    use_it: Annotated[bool, typer.Option("--use", help="Use it from now on. The first one is.")] = False,
) -> ExitCode:
    """Remember a server by a name, or give a name another server."""
    from madsci_event_cli.connection import base_url
    from madsci_event_cli.profiles import Profiles

    if not name.isprintable() or not name.strip() or name.startswith("-"):
        raise InvalidInput("NAME", f"{shown(name)} is no name for a profile; use letters and digits", value=name)
    profiles = Profiles.read()
    before = profiles.servers.get(name)
    profiles.servers[name] = base_url(url).rstrip("/")
    if use_it or profiles.current is None:
        profiles.current = name
    profiles.save()
    if before not in (None, profiles.servers[name]):
        session.diagnostics.note(f"{name} was {before}")
    return _show(session, profiles.servers, profiles.current, only=name)


def use(session: Session, name: _Name) -> ExitCode:
    """Use this server from now on, where neither --server nor EVENT_SERVER_URL nor --profile says another."""
    from madsci_event_cli.profiles import Profiles

    profiles = Profiles.read()
    profiles.server(name, "NAME")
    profiles.current = name
    profiles.save()
    return _show(session, profiles.servers, profiles.current, only=name)


def list_profiles(session: Session) -> ExitCode:
    """List the profiles; the one in use has a star."""
    from madsci_event_cli.profiles import Profiles

    profiles = Profiles.read()
    if not profiles.servers:
        session.diagnostics.note("no profiles; add one with madsci-events profile add NAME URL")
    return _show(session, profiles.servers, profiles.current)


def remove(session: Session, name: _Name) -> ExitCode:
    """Forget a profile."""
    from madsci_event_cli.profiles import Profiles

    profiles = Profiles.read()
    profiles.server(name, "NAME")
    del profiles.servers[name]
    if profiles.current == name:
        profiles.current = None
        session.diagnostics.note(f"{name} was in use; choose another with madsci-events profile use NAME")
    profiles.save()
    return ExitCode.OK


def _show(session: Session, servers: Mapping[str, str], current: str | None, only: str | None = None) -> ExitCode:
    found = [
        {"name": name, "server": shown_address(server), "current": name == current}
        for name, server in servers.items()
        if only in (None, name)
    ]
    session.output.documents(found, _FIELDS, _lines(found))
    return ExitCode.OK


def _lines(found: list[dict[str, Any]]) -> Iterable[list[Span]]:
    column = max((len(profile["name"]) for profile in found), default=0)
    for profile in found:
        mark: Span = ("* ", "level.info") if profile["current"] else ("  ", "")
        yield [mark, (f"{visible(profile['name']).ljust(column)}  ", "heading"), (visible(profile["server"]), "")]


_HELP: Final = """
    The servers of several labs, by name.

    A command talks to the server of --server, else of EVENT_SERVER_URL, else of a profile: --profile,
    MADSCI_EVENTS_PROFILE, or the one in use.
"""
_EXAMPLES: Final = """
    madsci-events profile add lab2 http://lab2:8001
    madsci-events profile use lab2
    madsci-events query --profile lab2 --level error
"""
_COMMANDS: Final[Mapping[str, tuple[Callable[..., Any], str]]] = {
    "add": (
        add,
        """
        madsci-events profile add lab2 http://lab2:8001
        madsci-events profile add basement https://events.example.org --use
    """,
    ),
    "use": (
        use,
        """
        madsci-events profile use lab2
    """,
    ),
    "list": (
        list_profiles,
        """
        madsci-events profile list
    """,
    ),
    "remove": (
        remove,
        """
        madsci-events profile remove lab2
    """,
    ),
}
