"""`python -m madsci_event_server`: the server alone, without the command line's other commands."""

import argparse
import os
import sys
from pathlib import Path

from madsci_event_server.errors import InvalidSettings, MadsciEventsError, StoreUnavailable
from madsci_event_server.serving import run
from madsci_event_server.settings import DEFAULT_DATABASE, DEFAULT_HOST, DEFAULT_PORT, Settings, chosen_definition

_EXIT_USAGE = 2
_EXIT_UNREACHABLE = 3


def main(arguments: list[str] | None = None) -> int:
    """Serves; the exit code."""
    flags = vars(_parser().parse_args(arguments))
    try:
        definition, wait = chosen_definition(flags.pop("definition")), flags.pop("wait_for_db")
        settings, warnings = Settings.read(os.environ, flags=flags, definition=definition)
        for warning in warnings:
            _say(warning)
        run(settings, _say, wait_for_store_seconds=wait)
    except InvalidSettings as error:
        _say(str(error))
        return _EXIT_USAGE
    except StoreUnavailable as error:
        _say(str(error))
        return _EXIT_UNREACHABLE
    except MadsciEventsError as error:
        _say(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m madsci_event_server", description="Start the event server.")
    parser.add_argument("--definition", type=Path, metavar="FILE", help="definition of the event manager, YAML")
    parser.add_argument("--host", help=f"address to listen on ({DEFAULT_HOST})")
    parser.add_argument("--port", type=int, help=f"port to listen on, 0 for a free one ({DEFAULT_PORT})")
    parser.add_argument("--db", dest="db_url", metavar="URL", help=f"where events are kept ({DEFAULT_DATABASE})")
    parser.add_argument(
        "--wait-for-db", type=float, default=0.0, metavar="SECONDS", help="wait so long for a database that is away (0)"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM; makes it https")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    return parser


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
