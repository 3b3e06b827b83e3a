"""The settings of a MADSci 0.8 event manager, and what a definition of ours makes of each.

As MADSci reads them, the environment goes before `.env`, that before JSON, TOML and YAML files, and mail settings are
put together field by field. Keys may carry the prefix `event_`. Everything is told: what was taken, and what has no
counterpart here.
"""

import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from madsci_event_server.errors import InvalidInput, shown

_PREFIX: Final = "event_"
_FILES: Final = tuple(
    f"{stem}{suffix}"
    for suffix in (".yaml", ".toml", ".json")
    for stem in ("settings", "event.settings", "events.settings")
)
_ENVIRONMENT_FILES: Final = (".env", "event.env", "events.env")
_FOLDERS: Final = ("", "managers", "config")
_REDACTED: Final = "***"

_STORE_KEYS: Final = ("document_db_url", "mongo_db_url", "db_url")
_NO_COUNTERPART: Final[Mapping[str, str]] = {
    "database_name": "name it in the store's address: mongodb://HOST:27017/NAME",
    "collection_name": "the store names its own collections; `store copy` takes over MADSci's events",
    "retention_enabled": "nothing is archived or deleted by itself; run `archive` and `purge` from cron",
    "soft_delete_after_days": "run `madsci-events archive --before 90d` from cron",
    "hard_delete_after_days": "run `madsci-events purge --older-than-days 365 --yes` from cron",
    "rate_limit": "there is no limit a client, because that loses events; an overloaded server answers 503",
    "backup": "copy the database file, or use the database's own tools",
    "otel": "there is no tracing",
    "uvicorn": "one process serves; more servers can share a MongoDB replica set",
    "enable_registry_resolution": "there is no registry; manager_id is in the definition",
    "registry_lock_timeout": "there is no registry; manager_id is in the definition",
    "lab_url": "this server needs no lab manager",
    "retention_check_interval_hours": "nothing is archived or deleted by itself",
    "archive_batch_size": "nothing is archived or deleted by itself",
    "max_batches_per_run": "nothing is archived or deleted by itself",
    "fail_on_retention_error": "nothing is archived or deleted by itself",
}


@dataclass
class Found:
    """What was found, and what became of it."""

    fields: dict[str, Any] = field(default_factory=dict)
    """Of a definition."""
    taken: list[tuple[str, str]] = field(default_factory=list)
    """Setting with its file or variable, and the field it became."""
    left: list[tuple[str, str]] = field(default_factory=list)
    """Setting with its file or variable, and why it has no counterpart."""


@dataclass(frozen=True)
class Setting:
    """One value MADSci would read."""

    key: str
    value: Any
    origin: str


def read_settings(places: Iterable[Path], environment: Mapping[str, str]) -> Found:
    """What these files, or directories with MADSci's files, and the environment say.

    Raises InvalidInput for a file that cannot be read, or a value no definition can have.
    """
    settings: dict[str, Setting] = {}
    for path in places:
        for file in settings_files(path) if path.is_dir() else [path]:
            for setting in _read_file(file):
                _put(settings, setting)
    for setting in _from_variables(environment, "the environment"):
        _put(settings, setting)
    found = Found()
    for setting in settings.values():
        _take(found, setting)
    return found


def _put(settings: dict[str, Setting], later: Setting) -> None:
    before = settings.get(later.key)
    if before is not None and isinstance(before.value, Mapping) and isinstance(later.value, Mapping):
        later = Setting(later.key, {**before.value, **later.value}, f"{before.origin}, {later.origin}")
    settings[later.key] = later


def settings_files(directory: Path) -> list[Path]:
    """MADSci's settings files in a directory and its `managers` and `config`, those that go first last."""
    names = (*_FILES, *_ENVIRONMENT_FILES)
    return [path for name in names for folder in _FOLDERS if (path := directory / folder / name).is_file()]


def _read_file(path: Path) -> Iterator[Setting]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix in (".yaml", ".yml", ".json", ".toml"):
            document = _DECODERS[path.suffix](text, path)
        else:
            yield from _from_variables(_variables(text), str(path))
            return
    except (OSError, ValueError) as error:
        raise InvalidInput("FILE", f"{path} cannot be read as settings: {error}") from None
    if not isinstance(document, Mapping):
        raise InvalidInput("FILE", f"{path} must hold settings, such as event_server_url: http://localhost:8001/")
    # A file of the event manager's own may leave the prefix out; in one for the whole lab that would be another's.
    own = path.name.startswith("event")
    for name, value in document.items():
        key = str(name).lower()
        if key.startswith(_PREFIX):
            yield Setting(key.removeprefix(_PREFIX), value, str(path))
        elif own:
            yield Setting(key, value, str(path))


def _yaml(text: str, path: Path) -> Any:
    from madsci_event_server.definition.located_yaml import parse_yaml

    return parse_yaml(text, path).document


_DECODERS: Final[Mapping[str, Callable[[str, Path], Any]]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": lambda text, _: json.loads(text),
    ".toml": lambda text, _: tomllib.loads(text),
}


def _variables(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            found[name.strip()] = value.strip().strip("'\"")
    return found


def _from_variables(variables: Mapping[str, str], origin: str) -> Iterator[Setting]:
    mail: dict[str, Any] = {}
    for name, text in variables.items():
        key = name.lower()
        if not text or not key.startswith(_PREFIX) or key.startswith("event_client_"):
            continue
        key, nested, rest = key.removeprefix(_PREFIX).partition("__")
        value = _decoded(text)
        if nested and key == "email_alerts":
            mail[rest] = value
        elif key == "email_alerts" and isinstance(value, dict):
            mail = {**value, **mail}
        else:
            yield Setting(key, value, origin)
    if mail:
        yield Setting("email_alerts", mail, origin)


def _decoded(text: str) -> Any:
    if text[:1] in "[{" or text in ("true", "false", "null") or text.isdecimal():
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _take(found: Found, setting: Setting) -> None:
    key, value = setting.key, setting.value
    name = f"{key} ({setting.origin})"
    if value is None or key == "manager_type":
        return
    if key == "server_url":
        found.fields |= _address(str(value), name)
        found.taken.append((name, "host, port"))
    elif key in ("manager_name", "manager_id", "manager_description", "alert_level"):
        ours = {"manager_name": "name", "manager_description": "description"}.get(key, key)
        found.fields[ours] = value
        found.taken.append((name, ours))
    elif key in _STORE_KEYS:
        found.fields["db_url"] = str(value).rstrip("/")
        found.taken.append((name, "db_url"))
    elif key == "email_alerts":
        _take_mail(found, value, name)
    else:
        reason = next((why for prefix, why in _NO_COUNTERPART.items() if key.startswith(prefix)), None)
        found.left.append((name, reason or "is no setting of MADSci's event manager"))


def _address(url: str, name: str) -> dict[str, Any]:
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    if not parts.hostname or not port:
        raise InvalidInput(name, f"{shown(url)} is not an address; use http://HOST:PORT/", value=url)
    return {"host": parts.hostname, "port": port}


def _take_mail(found: Found, value: Any, name: str) -> None:
    if not isinstance(value, Mapping):
        raise InvalidInput(name, "must hold fields such as smtp_server")
    fields = {str(key): item for key, item in value.items() if item is not None}
    addresses = fields.get("email_addresses")
    if isinstance(addresses, str):
        fields["email_addresses"] = [address.strip() for address in addresses.split(",") if address.strip()]
    if _REDACTED in str(fields.get("smtp_password", "")):
        del fields["smtp_password"]
        found.left.append((name, "its smtp_password is only what MADSci prints in its place; give the real one"))
    found.fields["email_alerts"] = fields
    found.taken.append((name, "email_alerts"))
