"""`compose.yaml` without Docker: is it what the specification allows, and does each command in it do its work?

Addresses, ports and folders are this machine's; all else is taken from the file as it stands.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import pymongo
import pytest
import yaml

from tests import environment
from tests.mongod import mongod_binary
from tests.processes import Process, free_port

REPOSITORY: Final = Path(__file__).parents[1]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
MONGO: Final = COMPOSE["services"]["mongo"]
EVENTS: Final = COMPOSE["services"]["events"]

TEXT: Final = {"type": "string", "minLength": 1}
TEXTS: Final = {"type": "array", "items": TEXT, "uniqueItems": True}
DURATION: Final = {"type": "string", "pattern": r"^([0-9]+(us|ms|s|m|h))+$"}


def exactly(required: tuple[str, ...] = (), **properties: object) -> dict[str, object]:
    """The schema of an object with these properties and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


SCHEMA: Final = exactly(
    ("services",),
    name={"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
    volumes={"type": "object", "additionalProperties": {"type": "null"}},
    services={
        "type": "object",
        "additionalProperties": exactly(
            image=TEXT,
            build=exactly(("context",), context=TEXT, dockerfile_inline=TEXT),
            command={"type": "array", "items": TEXT},
            environment={"type": "object", "additionalProperties": {"type": "string"}},
            healthcheck=exactly(
                ("test",),
                test={"type": "array", "prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}], "items": TEXT, "minItems": 2},
                interval=DURATION,
                timeout=DURATION,
                start_period=DURATION,
                retries={"type": "integer", "minimum": 1},
            ),
            ports={"type": "array", "items": {"type": "string", "pattern": r"^(\S+:)?[0-9]+$"}, "uniqueItems": True},
            volumes=TEXTS,
            profiles=TEXTS,
            tmpfs=TEXTS,
            cap_drop=TEXTS,
            security_opt=TEXTS,
            read_only={"type": "boolean"},
            restart={"enum": ["no", "always", "on-failure", "unless-stopped"]},
            stop_grace_period=DURATION,
            depends_on={
                "type": "object",
                "additionalProperties": exactly(
                    ("condition",),
                    condition={"enum": ["service_started", "service_healthy", "service_completed_successfully"]},
                ),
            },
        ),
    },
)
"""Of the Compose Specification as much as the file uses, in words of our own."""


def interpolated(text: str, **variables: str) -> str:
    """As Compose reads it: `${NAME:-default}`, and `$$` for one dollar sign."""
    return re.sub(
        r"\$\$|\$\{(\w+):-([^}]*)\}",
        lambda found: "$" if found[0] == "$$" else variables.get(found[1]) or found[2],
        text,
    )


def test_it_is_what_the_specification_allows() -> None:
    jsonschema.validate(COMPOSE, SCHEMA, jsonschema.Draft202012Validator)

    for service in COMPOSE["services"].values():
        assert ("image" in service) != ("build" in service)
        assert set(service.get("depends_on", ())) <= set(COMPOSE["services"])
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(COMPOSE["volumes"])


def test_whatever_is_not_set_has_a_default_and_nothing_in_it_is_secret() -> None:
    text = (REPOSITORY / "compose.yaml").read_text()

    assert "$" not in interpolated(text.replace("$$", ""))
    assert not re.search(r"://[^/\s]+@|password|secret", text.lower().replace("with its user and password", ""))


def test_only_what_develops_needs_a_profile_and_only_the_server_is_reached_from_outside() -> None:
    services = COMPOSE["services"]

    assert {name for name, service in services.items() if "profiles" in service} == {"mail"}
    assert services["mail"]["profiles"] == ["dev"]
    assert "ports" not in MONGO
    assert interpolated(EVENTS["ports"][0]) == "127.0.0.1:8001:8001"
    assert all(
        interpolated(port).startswith("127.0.0.1:")
        for service in services.values()
        for port in service.get("ports", ())
    )


# --- MongoDB ---


@pytest.fixture
def mongod_port(tmp_path: Path) -> Iterator[int]:
    """A mongod as the service starts it."""
    port = free_port()
    program, *options = MONGO["command"]
    assert program == "mongod"
    options[options.index("--bind_ip_all")] = "--bind_ip=127.0.0.1"
    (tmp_path / "db").mkdir()
    ours = ("--port", str(port), "--dbpath", tmp_path / "db", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25")
    with Process([mongod_binary(), *options, *ours]) as process:
        process.wait_for_line("Waiting for connections")
        yield port


def check_health(port: int) -> bool:
    """What the health check's script does in mongosh, call by call, with the configuration it has."""
    kind, program, quiet, evaluate, script = MONGO["healthcheck"]["test"]
    assert (kind, program, quiet, evaluate) == ("CMD", "mongosh", "--quiet", "--eval")
    read = re.fullmatch(
        r"try \{ rs\.status\(\) \} catch \(error\) \{ rs\.initiate\((\{.*\})\) \} "
        r"quit\(db\.hello\(\)\.isWritablePrimary \? 0 : 1\)",
        script,
    )
    assert read, script
    with pymongo.MongoClient[dict[str, Any]]("127.0.0.1", port, directConnection=True) as client:
        try:
            client.admin.command("replSetGetStatus")
        except pymongo.errors.OperationFailure:
            client.admin.command("replSetInitiate", yaml.safe_load(read[1].replace("mongo:27017", f"127.0.0.1:{port}")))
        return bool(client.admin.command("hello")["isWritablePrimary"])


def wait_until_healthy(port: int) -> None:
    """Checks again and again, as Docker does, only sooner."""
    with pymongo.MongoClient[dict[str, Any]]("127.0.0.1", port, directConnection=True) as client:
        while not check_health(port):
            client.admin.command(
                "hello", topologyVersion=client.admin.command("hello")["topologyVersion"], maxAwaitTimeMS=500
            )


def test_the_first_health_check_makes_the_replica_set_and_the_next_ones_find_it(mongod_port: int) -> None:
    wait_until_healthy(mongod_port)

    assert check_health(mongod_port)
    with pymongo.MongoClient[dict[str, Any]]("127.0.0.1", mongod_port, directConnection=True) as client:
        configuration = client.admin.command("replSetGetConfig")["config"]
    assert (configuration["_id"], configuration["version"]) == ("events", 1)
    assert f"replicaSet={configuration['_id']}" in interpolated(EVENTS["environment"]["EVENT_DOCUMENT_DB_URL"])


# --- The server ---


def entry_point() -> list[str]:
    """What the image starts, on this machine."""
    (line,) = re.findall(r"^ENTRYPOINT (.*)$", EVENTS["build"]["dockerfile_inline"], re.MULTILINE)
    assert yaml.safe_load(line) == ["madsci-events"]
    return [sys.executable, "-m", "madsci_event_cli"]


def test_the_server_starts_is_healthy_and_writes_nothing_where_it_cannot(mongod_port: int, tmp_path: Path) -> None:
    wait_until_healthy(mongod_port)
    port, home = free_port(), tmp_path / "home"
    home.mkdir()
    here = {"0.0.0.0": "127.0.0.1", "8001": str(port), "mongo:27017": f"127.0.0.1:{mongod_port}"}
    settings = {name: interpolated(text) for name, text in EVENTS["environment"].items()}
    url = settings["EVENT_DOCUMENT_DB_URL"] = on_this_machine(settings["EVENT_DOCUMENT_DB_URL"], here)
    command = [*entry_point(), *(on_this_machine(part, here) for part in EVENTS["command"])]
    kind, program, *check = EVENTS["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "madsci-events")
    check = [*entry_point(), *(on_this_machine(part, here) for part in check)]

    with Process(command, cwd=home, environment=settings | {"HOME": str(home)}) as server:
        server.wait_for_line("Serving events at")
        healthy = subprocess.run(check, cwd=home, check=False, capture_output=True, text=True)
        assert server.terminate() == 0
    stopped = subprocess.run(check, cwd=home, check=False, capture_output=True)

    assert (healthy.returncode, stopped.returncode) == (0, 3), healthy.stderr
    assert list(home.iterdir()) == [], "the container's file system is read-only"
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        assert "event_log" in client.get_default_database().list_collection_names()


def on_this_machine(text: str, here: dict[str, str]) -> str:
    for there, address in here.items():
        text = text.replace(there, address)
    return text


# --- The image ---


def instructions() -> list[tuple[str, str]]:
    """The lines of the Dockerfile, as Docker gets them: instruction and what follows."""
    lines = interpolated(EVENTS["build"]["dockerfile_inline"]).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]


def test_the_image_runs_as_a_user_without_rights_from_a_small_base() -> None:
    last_stage = [name for name, _ in instructions()][::-1].index("FROM")
    stage = dict(instructions()[-last_stage - 1 :])

    assert stage["FROM"].endswith("-slim")
    assert stage["USER"] in stage["RUN"], "the user must have been made"
    assert re.search(r"--uid [1-9]\d{3,}", stage["RUN"])
    assert yaml.safe_load(stage["CMD"]) == ["serve"]


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_the_image_is_built_of_what_is_copied_into_it(tmp_path: Path) -> None:
    """The first stage, line by line, in folders of this machine; what it made is what the second one starts."""
    source, app = tmp_path / "source", tmp_path / "app"
    source.mkdir()
    stage = instructions()[: [name for name, _ in instructions()].index("FROM", 1)]
    for name, rest in stage:
        if name == "COPY":
            *copied, to = rest.split()
            subprocess.run(["cp", "-r", *copied, source / to], cwd=REPOSITORY, check=True)
        elif name == "RUN":
            command = rest.replace("python -m", f"{sys.executable} -m").replace("/app", str(app))
            subprocess.run(["sh", "-c", command], cwd=source, env=dict(environment.DEVELOPERS), check=True)

    started = subprocess.run(
        [app / "bin" / "madsci-events", "serve", "--help"], check=True, capture_output=True, text=True
    )
    assert "--wait-for-db" in started.stdout
    assert str(REPOSITORY) not in subprocess.run(
        [app / "bin" / "python", "-c", "import madsci_event_cli as it; print(it.__file__)"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
