"""Who may import whom: what the layers of pyproject.toml cannot say without naming modules that need not exist."""

import subprocess
import sys
from itertools import permutations

import grimp
import pytest

import madsci_event_cli

PACKAGES = ("madsci_event_server", "madsci_event_cli")

SHARED_WITH_THE_CLI = {
    "definition", "definition.located_yaml", "errors", "event", "query", "selector", "settings", "visible", "vocabulary"
}  # fmt: skip
"""The server's modules that the command line may import."""

LEAVES = (
    "event",
    "query",
    "selector",
    "selector.mongo_values",
    "words",
    "json_text",
    "patterns",
    "errors",
    "settings",
    "vocabulary",
)
STORES = ("memory", "sqlite", "mongo")
HEAVY = ("fastapi", "starlette", "uvicorn", "httpx", "pymongo", "typer", "rich", "textual")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, include_external_packages=True)


def reaches(graph: grimp.ImportGraph, importer: str, imported: str) -> tuple[str, ...] | None:
    """The chain of imports from one package to the other, None when there is none or one of them does not exist."""
    if {importer, imported} <= graph.modules:
        return graph.find_shortest_chain(importer, imported, as_packages=True)
    return None


def direct_imports(graph: grimp.ImportGraph) -> set[tuple[str, str]]:
    return {
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    }


def test_the_command_line_imports_only_the_contract_from_the_server(graph: grimp.ImportGraph) -> None:
    """`serve` may also run the app: it is the server. `store` works where no server is."""
    allowed = {f"madsci_event_server.{module}" for module in SHARED_WITH_THE_CLI}
    across = {
        (importer, imported)
        for importer, imported in direct_imports(graph)
        if importer.startswith("madsci_event_cli") and imported.startswith("madsci_event_server")
    }

    assert across, "the command line shares the event with the server"
    assert {
        (importer, imported)
        for importer, imported in across
        - {
            ("madsci_event_cli.commands.serve", "madsci_event_server.serving"),
            ("madsci_event_cli.commands.alerts", "madsci_event_server.alerts.definition"),
            ("madsci_event_cli.commands.manager", "madsci_event_server.alerts.definition"),
            ("madsci_event_cli.commands.store", "madsci_event_server.copying"),
            ("madsci_event_cli.commands.doctor", "madsci_event_server.examining"),
            ("madsci_event_cli.commands.doctor", "madsci_event_server.findings"),
        }
        if imported not in allowed
    } == set()


def test_only_open_store_names_a_store(graph: grimp.ImportGraph) -> None:
    stores = tuple(f"madsci_event_server.storage.{store}" for store in STORES)
    outside = {
        (importer, imported)
        for importer, imported in direct_imports(graph)
        if imported.startswith(stores) and not importer.startswith("madsci_event_server.storage")
    }

    assert outside == set()


@pytest.mark.parametrize(("store", "sibling"), list(permutations(STORES, 2)))
def test_stores_never_import_each_other(graph: grimp.ImportGraph, store: str, sibling: str) -> None:
    assert reaches(graph, f"madsci_event_server.storage.{store}", f"madsci_event_server.storage.{sibling}") is None


@pytest.mark.parametrize("heavy", HEAVY)
@pytest.mark.parametrize("leaf", LEAVES)
def test_the_contract_is_light(graph: grimp.ImportGraph, leaf: str, heavy: str) -> None:
    assert reaches(graph, f"madsci_event_server.{leaf}", heavy) is None


@pytest.mark.parametrize("face", ["typer", "rich", "textual"])
@pytest.mark.parametrize("module", ["reader", "client", "spool", "sending"])
def test_what_a_lab_imports_has_no_face(graph: grimp.ImportGraph, module: str, face: str) -> None:
    assert reaches(graph, f"madsci_event_cli.{module}", face) is None


def test_the_lazy_names_of_the_command_line_package_are_there() -> None:
    """The package says `__all__`; each is found, and nothing else."""
    assert {name: getattr(madsci_event_cli, name).__name__ for name in madsci_event_cli.__all__} == {
        name: name for name in madsci_event_cli.__all__
    }
    with pytest.raises(AttributeError, match="no attribute 'Evnt'"):
        _ = madsci_event_cli.Evnt


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("madsci_event_cli", {*HEAVY, "pydantic", "madsci_event_server"}),
        ("madsci_event_server.event", {*HEAVY, "re2"}),
        ("madsci_event_server.query", {*HEAVY, "re2"}),
        ("madsci_event_server.settings", {*HEAVY, "re2", "madsci_event_server.query"}),
        ("madsci_event_server.storage", {*HEAVY, "sqlite3"}),
    ],
)
def test_importing_a_module_does_not_load(module: str, unwanted: set[str]) -> None:
    """In a process of its own: an import put off into a function is only put off if nothing else makes it."""
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()

    assert unwanted & set(loaded) == set()
