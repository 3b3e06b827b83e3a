"""A look at a store from outside, which changes nothing: no file is made, no schema brought up to date."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from madsci_event_server.definition.model import sqlite_file
from madsci_event_server.findings import Finding, failure, fine, warning
from madsci_event_server.storage.sqlite_schema import APPLICATION_ID, MIGRATIONS

_CHECK: Final = "store"
_LITTLE_SPACE: Final = 1_000_000_000
_NO_SPACE: Final = 50_000_000
_NETWORK_FILE_SYSTEMS: Final = ("nfs", "cifs", "smb", "9p", "afs", "fuse.sshfs", "ncpfs", "glusterfs", "ceph", "lustre")
_MOUNTS: Final = Path("/proc/mounts")
_HEADER_BYTES: Final = 100
_APPLICATION_ID_AT: Final = 68


def examine_store(url: str, *, lab_directory: Path) -> list[Finding]:
    """What there is to say of the store at this address. Blocks for a few seconds where a database is away."""
    if url.startswith("memory:"):
        remedy = "madsci-events serve --db sqlite:///.madsci/events/events.db"
        return [warning(_CHECK, "memory: events are gone when the server stops", remedy)]
    if (file := sqlite_file(url)) is not None:
        return list(_file(lab_directory / file))
    return list(_mongodb(url))


def _file(path: Path) -> Iterator[Finding]:
    folder = _nearest_directory(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        yield failure(_CHECK, f"{folder} cannot be written to by this user", f"sudo chown $USER {folder}")
        return
    if path.exists():
        yield from _database(path)
    else:
        yield fine(_CHECK, f"{path} will be made when the server starts")
    yield _space(folder)
    if kind := _network_file_system(folder):
        yield warning(
            _CHECK,
            f"{folder} is on a network file system ({kind}), where a database can be damaged",
            "madsci-events serve --db sqlite:////var/lib/madsci-events/events.db",
        )


def _nearest_directory(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.is_dir())


def _database(path: Path) -> Iterator[Finding]:
    if not os.access(path, os.R_OK | os.W_OK):
        yield failure(_CHECK, f"{path} cannot be read and written by this user", f"sudo chown $USER {path}")
        return
    header = _header(path)
    if header and not header.startswith(b"SQLite format 3\0"):
        yield failure(_CHECK, f"{path} is not a database", "madsci-events serve --db sqlite:///another.db")
        return
    kind = int.from_bytes(header[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4])
    if header and kind not in (0, APPLICATION_ID):
        yield failure(_CHECK, f"{path} is the database of another program", "name another file with --db")
        return
    if newer := _unknown_migrations(path):
        yield failure(_CHECK, f"{path} was written by a newer version ({newer})", "pip install --upgrade madsci-events")
        return
    yield fine(_CHECK, f"{path}, {_megabytes(path.stat().st_size)}, SQLite {sqlite3.sqlite_version}")


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES)


def _unknown_migrations(path: Path) -> str:
    """Steps of the schema this version does not know. Read as a file that never changes, so that nothing is made."""
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(address, uri=True)
    try:
        applied = {str(name) for (name,) in connection.execute("SELECT name FROM migrations")}
    except sqlite3.Error:
        return ""  # too young to have any, or in the midst of a change of the server's
    finally:
        connection.close()
    return ", ".join(sorted(applied - {migration.name for migration in MIGRATIONS}))


def _space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    said = f"{_megabytes(free)} free at {folder}"
    if free < _NO_SPACE:
        return failure(_CHECK, said, "make room, or name a file on another disk with --db")
    if free < _LITTLE_SPACE:
        return warning(_CHECK, said, "madsci-events purge --older-than-days 365, or make room")
    return fine(_CHECK, said)


def _network_file_system(folder: Path) -> str:
    """The kind of network file system a directory is on; "" for none, and where that cannot be told."""
    try:
        mounts = [line.split() for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    real = str(folder.resolve())
    here = [(where, kind) for _, where, kind, *_ in mounts if real == where or real.startswith(where.rstrip("/") + "/")]
    kind = max(here, key=lambda mount: len(mount[0]), default=("", ""))[1]
    return kind if kind.startswith(_NETWORK_FILE_SYSTEMS) else ""


def _megabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= _LITTLE_SPACE else f"{size / 1e6:,.1f} MB"


def _mongodb(url: str) -> Iterator[Finding]:
    from pymongo import MongoClient  # half a second, for who has a MongoDB
    from pymongo.errors import PyMongoError

    where = url.rpartition("@")[2].removeprefix("mongodb://").removeprefix("mongodb+srv://").partition("?")[0]
    try:
        with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=3000, connectTimeoutMS=3000) as client:
            yield from _deployment(client, where)
    except (PyMongoError, ValueError) as error:
        reason = str(error).partition(", Timeout:")[0].partition(", full error")[0].splitlines()[0]
        yield failure(_CHECK, f"MongoDB at {where}: {reason}", "start mongod, or set EVENT_DB_URL to where it is")


def _deployment(client: Any, where: str) -> Iterator[Finding]:
    hello = client.admin.command("hello")
    version = client.server_info()["version"]
    name = where.partition("/")[2] or "madsci_event_log"
    database = client[name]
    database.list_collection_names()
    yield fine(_CHECK, f"MongoDB {version} at {where}, database {name}")
    if not hello.get("isWritablePrimary", False):
        yield failure(_CHECK, f"{where} takes no writes now: it is not the primary", "rs.status() in mongosh says why")
    if "setName" in hello:
        yield fine(_CHECK, f"replica set {hello['setName']} of {len(hello.get('hosts', []))}")
    elif hello.get("msg") != "isdbgrid":
        yield warning(_CHECK, "a standalone mongod: one event server may use it, and it has no failover",
                      "mongod --replSet lab, then rs.initiate() in mongosh")  # fmt: skip
    sizes = database.command("dbStats")
    if "fsTotalSize" in sizes:
        free = int(sizes["fsTotalSize"] - sizes["fsUsedSize"])
        said = f"{_megabytes(free)} free where MongoDB keeps its data"
        yield fine(_CHECK, said) if free >= _LITTLE_SPACE else warning(_CHECK, said, "make room there")
