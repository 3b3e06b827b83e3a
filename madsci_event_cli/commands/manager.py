"""`manager`: the definition of this lab's event manager, made, checked and shown."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from madsci_event_cli.diagnostics import ExitCode
from madsci_event_cli.registration import COMMANDS_PANEL, command_group, register
from madsci_event_cli.rendering import Span, visible
from madsci_event_cli.session import Session
from madsci_event_server.errors import InvalidInput, InvalidSettings, shown

if TYPE_CHECKING:
    from madsci_event_cli.defining.draft import Draft
    from madsci_event_server.definition import Definition

_TYPE: Final = "event_manager"
_LIST_FIELDS: Final = ("name", "file", "manager_type", "address", "manager_id", "problem")

_Which = Annotated[
    str | None, typer.Argument(metavar="[NAME|FILE]", help="Which one, by its name or file. [the only one here]")
]
_Path = Annotated[
    Path | None,
    typer.Option("-p", "--path", metavar="PATH", help="The file, or its directory. [managers/ of the lab]"),
]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite the file that is there.")]


def register_in(app: typer.Typer) -> None:
    """Adds the family of commands."""
    manager = command_group(_HELP, _EXAMPLES)
    for name, (function, examples) in _COMMANDS.items():
        register(manager, function, panel=COMMANDS_PANEL, examples=examples, name=name)
    app.add_typer(manager, name="manager", rich_help_panel="Run")


def add(
    session: Session,
    *,
    type: Annotated[  # noqa: A002  # the option's name
        str, typer.Option("-t", "--type", metavar="TYPE", help="event_manager; there are no others here.")
    ] = _TYPE,
    name: Annotated[
        str | None, typer.Option("-n", "--name", metavar="NAME", help="Its name, from which the file has its.")
    ] = None,
    description: Annotated[
        str | None, typer.Option("-d", "--description", metavar="TEXT", help="What it is for.")
    ] = None,
    path: _Path = None,
    db: Annotated[
        str | None, typer.Option("--db", metavar="URL", help="Where events are kept. [a file beside the lab]")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="Where to listen. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="PORT", help="Its port. [8001]")] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="Of timestamps that have none: America/Chicago.")
    ] = None,
    alert_level: Annotated[
        str | None, typer.Option("--alert-level", metavar="LEVEL", help="The lowest that raises an alert. [error]")
    ] = None,
    email: Annotated[
        list[str] | None,
        typer.Option("--email", metavar="ADDRESS", help="Whom to mail about alerts. May be given again."),
    ] = None,
    smtp_server: Annotated[
        str | None, typer.Option("--smtp-server", metavar="HOST", help="Who takes the mail.")
    ] = None,
    smtp_port: Annotated[int | None, typer.Option("--smtp-port", metavar="PORT", help="Its port. [587]")] = None,
    smtp_encryption: Annotated[
        str | None, typer.Option("--smtp-encryption", metavar="HOW", help="starttls, implicit or none. [starttls]")
    ] = None,
    smtp_username: Annotated[
        str | None, typer.Option("--smtp-username", metavar="NAME", help="Who we are to it. [no login]")
    ] = None,
    smtp_password_file: Annotated[
        str | None,
        typer.Option("--smtp-password-file", metavar="FILE", help="Holds the password; chmod 600."),
    ] = None,
    sender: Annotated[str | None, typer.Option("--sender", metavar="ADDRESS", help="Who the mail is from.")] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Ask nothing; what is not given has its default.")] = False,
    force: _Force = False,
) -> ExitCode:
    """Make the definition of an event manager: managers/NAME.manager.yaml, which `serve` finds.

    Asks, on a terminal, for what no option says. No password is written into it.
    """
    if type != _TYPE:
        raise InvalidInput("--type", f"{shown(type)} is not a manager this program runs; use {_TYPE}", value=type)
    given = {
        "--name": name, "--description": description, "--db": db, "--host": host, "--port": port,
        "--timezone": timezone, "--alert-level": alert_level, "--email": email, "--smtp-server": smtp_server,
        "--smtp-port": smtp_port, "--smtp-encryption": smtp_encryption, "--smtp-username": smtp_username,
        "--smtp-password-file": smtp_password_file, "--sender": sender,
    }  # fmt: skip
    return _add(session, given, path, may_ask=session.interactive and not yes, force=force)


def _add(session: Session, given: Mapping[str, Any], path: Path | None, *, may_ask: bool, force: bool) -> ExitCode:
    from madsci_event_cli.defining.draft import DEFAULT_NAME, ask, draft_of
    from madsci_event_cli.defining.questions import Asker

    asker = Asker(session.diagnostics, session.stdin)
    if may_ask and given["--name"] is None:
        given = {**given, "--name": asker.ask("Name", DEFAULT_NAME, _a_name)}
    target = _target(path, str(given["--name"] or DEFAULT_NAME))
    before = _fields_of(target) if target.exists() else {}
    draft = draft_of(given, before)
    if target.exists() and not force:
        return _refuse(session, target, before, draft)
    if may_ask:
        ask(draft, given, asker)
    return _write(session, target, draft, force=force)


def _a_name(answer: str) -> str:
    from madsci_event_server.definition import check_field

    check_field(("name",), answer)
    return answer


def _target(path: Path | None, name: str) -> Path:
    from madsci_event_cli.defining.draft import file_name, short
    from madsci_event_server.settings import lab_directory

    if path is None:
        path = short(lab_directory(Path.cwd())) / "managers"
    elif path.suffix in (".yaml", ".yml"):
        return path
    return path / file_name(name)


def _fields_of(path: Path) -> dict[str, Any]:
    """What a definition says already, as it says it; nothing where it is not one."""
    from madsci_event_server.definition.located_yaml import read_yaml

    try:
        return {name: value for name, value in read_yaml(path).document.items() if value is not None}
    except InvalidSettings:
        return {}


def _refuse(session: Session, target: Path, before: Mapping[str, Any], draft: "Draft") -> ExitCode:
    from madsci_event_cli.defining.draft import changes

    session.diagnostics.error(f"{target} is there already and stays as it is; overwrite it with --force")
    would = changes(before, {**before, **draft.fields})
    session.diagnostics.note("It would change:" if would else "Nothing in it would change.")
    for line in would:
        session.diagnostics.note(f"  {line}")
    return ExitCode.REFUSED


def _write(session: Session, target: Path, draft: "Draft", *, force: bool) -> ExitCode:
    from madsci_event_cli.defining.definition_text import definition_text
    from madsci_event_cli.defining.draft import DEFAULT_NAME, DEFAULT_STORE, changes
    from madsci_event_cli.whole_files import PRIVATE, write_whole
    from madsci_event_server.definition import parse_definition
    from madsci_event_server.event import new_event_id, parse_level
    from madsci_event_server.settings import lab_directory

    fields = draft.fields
    fields.setdefault("name", DEFAULT_NAME)
    fields.setdefault("manager_id", new_event_id())
    if "db_url_file" not in fields:
        fields.setdefault("db_url", DEFAULT_STORE)
    fields["alert_level"] = parse_level(fields.get("alert_level", "error")).name
    text = definition_text(fields)
    definition = parse_definition(text, target)
    before = _fields_of(target) if target.exists() else None
    lab = lab_directory(Path.cwd())
    for path, secret in draft.secrets.items():
        write_whole(lab / path, f"{secret}\n", replace=True, mode=PRIVATE)
    write_whole(target, text, replace=force)
    session.output.document(
        {"path": str(target), "name": fields["name"], "manager_id": fields["manager_id"]}, [[(str(target), "")]]
    )
    if before is not None:
        for line in changes(before, _fields_of(target)):
            session.diagnostics.note(f"  {line}")
    for path in draft.secrets:
        session.diagnostics.note(f"The secret is in {path}, which only you can read.")
    _say_what_is_next(session, target, definition)
    return ExitCode.OK


def _say_what_is_next(session: Session, target: Path, definition: "Definition") -> None:
    from madsci_event_server.definition import find_definitions
    from madsci_event_server.settings import lab_directory

    alone = len(find_definitions(lab_directory(Path.cwd()))) == 1
    serve = "madsci-events serve" + ("" if alone else f" --definition {target}")
    steps = [(serve, "start it")]
    mail = definition.values.email_alerts
    if mail is not None and mail.smtp_username and mail.smtp_password_file is None and mail.smtp_password is None:
        steps.insert(0, ("export EVENT_EMAIL_ALERTS__SMTP_PASSWORD=...", "its mail server wants it"))
    to = _server_option(definition)
    if mail is not None:
        steps.append((f"madsci-events alerts test{to}", "in another terminal: does mail come?"))
    steps.append((f'madsci-events log "hello"{to}', "the first event"))
    session.diagnostics.note("Next:")
    column = max(len(command) for command, _ in steps)
    for command, purpose in steps:
        session.diagnostics.note(f"  {command.ljust(column)}  # {purpose}")


def import_settings(
    session: Session,
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE|DIRECTORY]...", help="Where MADSci's settings are. [here, managers/, config/]"),
    ] = None,
    *,
    name: Annotated[
        str | None, typer.Option("-n", "--name", metavar="NAME", help="Its name, where MADSci's settings have none.")
    ] = None,
    path: _Path = None,
    force: _Force = False,
) -> ExitCode:
    """Make a definition of the settings of MADSci 0.8: settings.yaml, event.settings.*, .env, the environment.

    Says what it took, and what has no counterpart here. The settings stay as they are.
    """
    from madsci_event_cli.defining.draft import DEFAULT_NAME, SECRET_FILE, draft_of
    from madsci_event_cli.defining.madsci_settings import read_settings

    for source in sources or ():
        if not source.exists():
            raise InvalidInput("FILE", f"{source} does not exist", value=str(source))
    found = read_settings(sources or [Path()], session.environment)
    for setting, reason in found.left:
        session.diagnostics.warning(f"{setting}: {reason}")
    if not found.taken:
        session.diagnostics.error("there are no settings of a MADSci event manager here; name the file or directory")
        return ExitCode.REFUSED
    for setting, became in found.taken:
        session.diagnostics.note(f"took {setting} as {became}")
    target = _target(path, name or str(found.fields.get("name", DEFAULT_NAME)))
    draft = draft_of({"--name": name}, found.fields)
    mail = draft.fields.get("email_alerts")
    if mail and (password := mail.pop("smtp_password", None)) is not None:
        mail["smtp_password_file"] = SECRET_FILE
        draft.secrets[SECRET_FILE] = str(password)
    if target.exists() and not force:
        return _refuse(session, target, _fields_of(target), draft)
    return _write(session, target, draft, force=force)


def _server_option(definition: "Definition") -> str:
    """What a command needs to find the server where it does not listen where all look first."""
    values = definition.values
    if values.port == _USUAL_PORT and values.host in _FOUND_UNASKED:
        return ""
    scheme = "http" if values.tls_cert is None else "https"
    host = "localhost" if values.host in _FOUND_UNASKED else values.host
    return f" --server {scheme}://{host}:{values.port}"


_USUAL_PORT: Final = 8001
_FOUND_UNASKED: Final = ("127.0.0.1", "localhost", "0.0.0.0", "::")  # noqa: S104  # compared, not bound


def list_managers(session: Session) -> ExitCode:
    """List the definitions in and below the lab's directory."""
    from madsci_event_server.definition import manager_files
    from madsci_event_server.settings import lab_directory

    found = [_listed(path) for path in manager_files(lab_directory(Path.cwd()))]
    session.output.documents(found, _LIST_FIELDS, _table(found))
    if not found:
        session.diagnostics.note("no definitions here; make one with madsci-events manager add")
    return ExitCode.OK


def _listed(path: Path) -> dict[str, Any]:
    from madsci_event_server.alerts.definition import check_definition
    from madsci_event_server.definition import may_be_event_manager

    fields = _fields_of(path)
    document: dict[str, Any] = {
        "name": str(fields.get("name", path.name)),
        "file": str(path),
        "manager_type": str(fields.get("manager_type", "unknown")),
        "manager_id": fields.get("manager_id"),
        "address": None,
        "problem": None,
    }
    if not may_be_event_manager(path):
        return document
    try:
        values = check_definition(path).values
    except InvalidSettings as error:
        return document | {"problem": str(error)}
    return document | {"address": values.url or f"http://{values.host}:{values.port}"}


def _table(rows: list[dict[str, Any]]) -> Iterable[list[Span]]:
    name_cells = max((len(row["name"]) for row in rows), default=0)
    type_cells = max((len(row["manager_type"]) for row in rows), default=0)
    for row in rows:
        spans = [(f"{visible(row['name']).ljust(name_cells)}  ", "heading")]
        spans.append((f"{visible(row['manager_type']).ljust(type_cells)}  ", "dim"))
        if row["problem"] is not None:
            yield [*spans, (visible(row["problem"]), "level.error")]
        else:
            yield [*spans, (f"{row['address'] or 'not run by this program'}  ", ""), (row["file"], "dim")]


def show(
    session: Session,
    which: _Which = None,
    *,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
) -> ExitCode:
    """Show what `serve` would run with: the definition, the environment over it, defaults under it. No secret."""
    from madsci_event_cli.setting_lines import setting_lines
    from madsci_event_server.settings import Settings

    path = _chosen(which)
    settings, warnings = Settings.read(session.environment, definition=path)
    for warning in warnings:
        session.diagnostics.warning(warning)
    document = {"definition": str(path), "settings": settings.shown(), "origins": settings.origins}
    session.output.document(document, setting_lines(settings.shown(), settings.origins if origin else None))
    return ExitCode.OK


def validate(
    session: Session,
    which: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|FILE]...", help="Which, by name or file. [all of the lab]")
    ] = None,
) -> ExitCode:
    """Check definitions: each problem with its file, line, field and the way out.

    Exits with 0 only if all can be used as they are.
    """
    from madsci_event_server.definition import find_definitions
    from madsci_event_server.settings import lab_directory

    paths = [_chosen(name) for name in which or []] or find_definitions(lab_directory(Path.cwd()))
    if not paths:
        session.diagnostics.error("there is no definition here; make one with madsci-events manager add")
        return ExitCode.REFUSED
    found = [_validated(session, path) for path in paths]
    session.output.documents(found, ("file", "valid", "problems", "warnings"), _verdicts(found))
    return ExitCode.OK if all(verdict["valid"] for verdict in found) else ExitCode.REFUSED


def _validated(session: Session, path: Path) -> dict[str, Any]:
    from madsci_event_server.alerts.definition import check_definition
    from madsci_event_server.errors import InvalidDefinition
    from madsci_event_server.settings import Settings

    warnings: list[str] = []
    problems: list[str] = []
    try:
        warnings += check_definition(path).warnings
        Settings.read(session.environment, definition=path)  # the files it names, too
    except InvalidDefinition as error:
        problems += map(str, error.problems)
    except InvalidSettings as error:
        problems.append(str(error))
    return {"file": str(path), "valid": not problems, "problems": problems, "warnings": warnings}


def _verdicts(found: list[dict[str, Any]]) -> Iterable[list[Span]]:
    for verdict in found:
        if verdict["valid"]:
            yield [("OK  ", "level.info"), (visible(verdict["file"]), "")]
        for problem in verdict["problems"]:
            yield [("ERROR  ", "level.error"), (visible(problem), "")]
        for warning in verdict["warnings"]:
            yield [("WARNING  ", "level.warning"), (visible(warning), "")]


def _chosen(which: str | None) -> Path:
    """The definition meant. Raises InvalidInput that names those there are."""
    from madsci_event_server.definition import find_definitions
    from madsci_event_server.settings import lab_directory

    there = find_definitions(lab_directory(Path.cwd()))
    if which is None and len(there) == 1:
        return there[0]
    if which is None:
        several = f"must say which one; there are {', '.join(map(str, there))}"
        none = "there is no definition here; make one with madsci-events manager add"
        raise InvalidInput("NAME", several if there else none)
    if Path(which).is_file():
        return Path(which)
    named = [path for path in there if which in (_fields_of(path).get("name"), path.name.removesuffix(".manager.yaml"))]
    if len(named) == 1:
        return named[0]
    known = ", ".join(str(path) for path in named or there) or "none"
    problem = "is the name of several definitions" if named else "is neither a file nor the name of a definition"
    raise InvalidInput("NAME", f"{shown(which)} {problem} here; there are: {known}", value=which)


_HELP: Final = """
    The definition of this lab's event manager: make it, check it, show it.

    It is a YAML file below the lab's directory, as MADSci has them. `serve` finds it.
"""
_EXAMPLES: Final = """
    madsci-events manager add -t event_manager  # asks, and writes managers/event_manager.manager.yaml
    madsci-events manager validate  # is everything in it right?
    madsci-events manager show --origin  # what would run, and where each value comes from
"""
_COMMANDS: Final[Mapping[str, tuple[Callable[..., Any], str]]] = {
    "add": (
        add,
        """
        madsci-events manager add -t event_manager
        madsci-events manager add -n "Robot Lab" --email ada@example.org --smtp-server smtp.example.org
        madsci-events manager add -n "Robot Lab" --port 8010 --yes --force  # change one thing, keep the rest
    """,
    ),
    "list": (
        list_managers,
        """
        madsci-events manager list
        madsci-events manager list -o json
    """,
    ),
    "show": (
        show,
        """
        madsci-events manager show
        madsci-events manager show "Robot Lab" --origin
        madsci-events manager show managers/robot_lab.manager.yaml -o json
    """,
    ),
    "validate": (
        validate,
        """
        madsci-events manager validate
        madsci-events manager validate managers/robot_lab.manager.yaml
    """,
    ),
    "import": (
        import_settings,
        """
        madsci-events manager import
        madsci-events manager import event.settings.yaml --name "Robot Lab"
    """,
    ),
}
