"""What a shell offers at Tab: names and ids the server knows, within a moment; silently nothing where it is away."""

import json
import re
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import typer

from madsci_event_server.errors import InvalidInput
from madsci_event_server.vocabulary import ID_FIELDS, EventLogLevel, EventType

WAIT_SECONDS: Final = 0.4
"""For the server; who presses Tab does not wait longer, and is shown nothing then."""
_MOST: Final = 50
_UNQUOTED: Final = re.compile(r"[^\w@%+=:,./-]")
_EVALUATED: Final = re.compile(r"""["'$`\\]""")
"""What leaves the quotes in which Typer hands a value to zsh's `eval`: whoever can log an event can choose a name."""

Completer = Callable[[typer.Context, list[str], str], list[str]]


def levels(incomplete: str) -> list[str]:
    """For `--level`."""
    return [level.name.lower() for level in EventLogLevel if level.name.lower().startswith(incomplete.lower())]


def types(incomplete: str) -> list[str]:
    """For the `--type` of an event to be sent."""
    return [name.value for name in EventType if name.value.startswith(incomplete.lower())]


def countable(incomplete: str) -> list[str]:
    """For `stats --field`."""
    fields = ("log_level", "kind", "name", "event_type", "alert", *ID_FIELDS)
    return [field for field in fields if field.startswith(incomplete.lower())]


def node_names(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """For `--node`: names of nodes, and where none begins so, their ids."""
    found = [pair for pair in _names(ctx) if pair.get("field") == "node_id"]
    names = _offered(ctx, (pair.get("name") for pair in found), incomplete)
    return names or _offered(ctx, (pair.get("id") for pair in found), incomplete)


def any_names(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """For `--name`: every name events go by."""
    return _offered(ctx, _facet(ctx, "name"), incomplete)


def kinds(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """For `--type`: MADSci's types, and those the server has."""
    return list(dict.fromkeys([*types(incomplete), *_offered(ctx, _facet(ctx, "kind"), incomplete)]))


def ids_of(field: str) -> Completer:
    """For `--workflow-id` and its like: the ids most events have."""

    def ids(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
        return _offered(ctx, _facet(ctx, field), incomplete)

    return ids


def event_ids(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """For `get`: the newest events."""
    return _offered(ctx, _asked(ctx, f"/events?number={_MOST}"), incomplete)


def alert_ids(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """For `alerts ack` and its like: the alerts that are not resolved."""
    alerts = _asked(ctx, f"/alerts?limit={_MOST}").get("alerts") or []
    return _offered(ctx, (alert.get("alert_id") for alert in alerts), incomplete)


def profile_names(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """For `--profile` and its like: the servers this user has named."""
    from madsci_event_cli.profiles import Profiles  # who completes something else needs no profiles

    try:
        return _offered(ctx, Profiles.read().servers, incomplete)
    except InvalidInput:
        return []


def _names(ctx: typer.Context) -> list[dict[str, Any]]:
    found = _asked(ctx, "/events/names").get("names")
    return found if isinstance(found, list) else []


def _facet(ctx: typer.Context, field: str) -> list[Any]:
    facets = _asked(ctx, f"/events/facets?field={field}&limit={_MOST}").get("facets") or {}
    return [value.get("value") for value in facets.get(field) or ()]


def _offered(ctx: typer.Context, values: Iterable[object], incomplete: str) -> list[str]:
    """Those that begin so, each once, as the shell takes them; none that a terminal would not show as it is."""
    fit = [value for value in values if isinstance(value, str) and value.isprintable()]
    found = dict.fromkeys(value for value in fit if value.lower().startswith(incomplete.lower().strip("'\"")))
    asking = set(_environment(ctx).values())
    return [taken for value in found if (taken := _as_taken(value, asking)) is not None]


def _as_taken(value: str, asking: Collection[str]) -> str | None:
    """The value as the shell that asks takes it for one word and nothing else; None where it would not."""
    if "complete_bash" in asking:  # takes it as it is; others quote what they are given
        return _UNQUOTED.sub(r"\\\g<0>", value)
    if "complete_fish" in asking:
        return value
    unsafe = _EVALUATED if "complete_zsh" in asking else _UNQUOTED
    return None if unsafe.search(value) else value


def _environment(ctx: typer.Context) -> Any:
    return ctx.find_root().obj.session.environment


def _asked(ctx: typer.Context, path: str) -> dict[str, Any]:
    """What the server answers, if it does so in time; else nothing."""
    import http.client  # 30 ms that count for who asks, not for the server  # noqa: F401

    answers: list[dict[str, Any]] = []
    try:
        server = _server(ctx)
    except InvalidInput:
        return {}
    # A name server or a network that is away blocks longer than any timeout of a socket: a thread can be left behind.
    asking = threading.Thread(target=_ask, args=(server, path, answers), daemon=True)
    asking.start()
    asking.join(WAIT_SECONDS)
    return answers[0] if answers else {}


def _server(ctx: typer.Context) -> str:
    from madsci_event_cli.session import server_address

    given: dict[str, Any] = {}
    step: Any = ctx
    while step is not None:  # the option may be before the command or after it
        given = {**{name: value for name, value in step.params.items() if value is not None}, **given}
        step = step.parent
    return server_address(given.get("server"), _environment(ctx), given.get("profile"))


def _ask(server: str, path: str, answers: list[dict[str, Any]]) -> None:
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    parts = urlsplit(server if "://" in server else f"http://{server}")
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    try:
        connection = connect(parts.hostname or "localhost", parts.port, timeout=WAIT_SECONDS)
        try:
            connection.request("GET", f"{parts.path.rstrip('/')}{path}", headers={"Accept": "application/json"})
            document = json.loads(connection.getresponse().read())
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError):
        return  # nothing is offered: a prompt is no place for an error
    if isinstance(document, dict):
        answers.append(document)
