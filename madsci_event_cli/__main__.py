"""`madsci-events` and `python -m madsci_event_cli`."""

import sys
from types import ModuleType


def main() -> int:
    """The exit code of the command line of this process; Ctrl-C while it is still loading counts as Ctrl-C."""
    try:
        _spare_httpx_its_own_command_line()
        from madsci_event_cli.main import main as run

        return run()
    except KeyboardInterrupt:
        return 130


def _spare_httpx_its_own_command_line() -> None:
    """Half of what `import httpx` takes is Click, Rich and Pygments, for a command `httpx` that is not ours."""
    empty = ModuleType("httpx._main")
    vars(empty)["main"] = lambda: None  # the one name httpx takes from it
    sys.modules.setdefault("httpx._main", empty)


if __name__ == "__main__":
    sys.exit(main())
