"""Which file is the definition: those of event managers in and below a directory."""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from madsci_event_server.errors import InvalidSettings

SUFFIX: Final = ".manager.yaml"
MANAGER_TYPE: Final = "event_manager"

_DEEPEST: Final = 8
"""How many directories below the lab's a definition may be: a server must not read a whole disk before it starts."""
_NOT_LOOKED_INTO: Final = ("node_modules", "__pycache__", "site-packages")


def find_definition(directory: Path) -> Path | None:
    """The one definition of an event manager in or below a directory; None where there is none.

    Other managers' definitions are skipped. Raises InvalidSettings that names them where there are several.
    """
    found = find_definitions(directory)
    if len(found) > 1:
        names = ", ".join(str(path) for path in found)
        raise InvalidSettings(
            "--definition", f"must say which event manager to run; there are {names}; add --definition {found[0]}"
        )
    return found[0] if found else None


def find_definitions(directory: Path) -> list[Path]:
    """All definitions of event managers in or below a directory, also those that are wrong; in order of their names."""
    return [path for path in manager_files(directory) if may_be_event_manager(path)]


def manager_files(directory: Path) -> list[Path]:
    """All definitions of managers in or below a directory. Hidden directories and Python environments are left out."""
    return sorted(_seen_from_here(path) for path in _manager_files(directory))


def _seen_from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _manager_files(directory: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(directory):
        folder = Path(root)
        deep = len(folder.relative_to(directory).parts) >= _DEEPEST
        folders[:] = [] if deep else [name for name in folders if _looked_into(folder / name)]
        for name in files:
            if name.endswith(SUFFIX):
                yield folder / name


def _looked_into(folder: Path) -> bool:
    name = folder.name
    return not name.startswith(".") and name not in _NOT_LOOKED_INTO and not (folder / "pyvenv.cfg").exists()


_TYPE_LINE: Final = re.compile(r"""^["']?manager_type["']?\s*:\s*["']?([\w.-]+)""", re.MULTILINE)


def may_be_event_manager(path: Path) -> bool:
    """Whether a file is an event manager's, or is so wrong that it cannot be told: then it must not be passed over."""
    try:
        found = _TYPE_LINE.search(path.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError:
        return True
    kind = MANAGER_TYPE if found is None else found[1].lower()
    return bool(difflib.get_close_matches(kind, [MANAGER_TYPE], cutoff=0.85))
