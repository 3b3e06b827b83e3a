"""Profiles: the event servers of several labs by name, and the one in use. A file that only this user can read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import platformdirs

from madsci_event_server.errors import InvalidInput, shown


@dataclass
class Profiles:
    """What the file says. Changes are kept by `save`."""

    path: Path
    servers: dict[str, str] = field(default_factory=dict)
    """Address by name."""
    current: str | None = None
    """The one used where nothing else says which."""

    @classmethod
    def read(cls, path: Path | None = None) -> Self:
        """The profiles of this user, or of a file. Raises InvalidInput for a file that is no longer one of ours."""
        path = path or platformdirs.user_config_path("madsci-events") / "profiles.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            servers = {str(name): str(profile["server"]) for name, profile in document["profiles"].items()}
            current = document.get("current")
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput("profiles", f"{path} cannot be read ({error}); mend it or delete it") from None
        return cls(path, servers, current if current in servers else None)

    def save(self) -> None:
        """Writes the file, whole."""
        from madsci_event_cli.whole_files import PRIVATE, write_whole

        document: Mapping[str, Any] = {
            "current": self.current,
            "profiles": {name: {"server": server} for name, server in self.servers.items()},
        }
        write_whole(self.path, json.dumps(document, indent=2, ensure_ascii=False) + "\n", replace=True, mode=PRIVATE)

    def server(self, name: str, origin: str) -> str:
        """The address of a profile. Raises InvalidInput that names those there are."""
        if name not in self.servers:
            known = f"there are {', '.join(self.servers)}" if self.servers else "there are none yet"
            raise InvalidInput(
                origin, f"{shown(name)} is no profile; {known}; see madsci-events profile add --help", value=name
            )
        return self.servers[name]


def profile_server(option: str | None, environment: Mapping[str, str]) -> str | None:
    """The server of `--profile`, else of MADSCI_EVENTS_PROFILE, else of the profile in use; None without one.

    Raises InvalidInput for a name that is none.
    """
    profiles = Profiles.read()
    if option is not None:
        return profiles.server(option, "--profile")
    if name := environment.get("MADSCI_EVENTS_PROFILE"):
        return profiles.server(name, "MADSCI_EVENTS_PROFILE")
    return None if profiles.current is None else profiles.servers[profiles.current]
