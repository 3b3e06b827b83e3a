"""`madsci-events` and `python -m madsci_event_cli`."""

import sys


def main() -> int:
    """The exit code of the command line of this process; Ctrl-C while it is still loading counts as Ctrl-C."""
    try:
        from madsci_event_cli.main import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
