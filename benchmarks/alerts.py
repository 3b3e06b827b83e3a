"""How long a post takes while the mail server hangs, beside one while nobody is mailed.

    python -m benchmarks.alerts [--requests 4000]

Every event is an error, so every one is counted in an alert. The two servers are each in a process of their own on
127.0.0.1; rounds alternate, and the median of the rounds is reported.
"""

import argparse
import json
import socket
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.load import Load, post, run
from benchmarks.programs import server
from madsci_event_server.event import new_event_id

CONNECTIONS = 8
ROUNDS = 7
TO_REACH = 1.1
KINDS = ("node_error", "action_failed", "workflow_step_failed", "manager_error", "log_error")
NODES = ("liquidhandler_1", "robotarm_1", "platereader_1")


def errors(count: int) -> list[bytes]:
    """Error events of 5 kinds from 3 nodes."""
    return [
        json.dumps(
            {
                "event_id": new_event_id(),
                "event_type": KINDS[number % 5],
                "log_level": 40,
                "source": {"name": NODES[number % 3]},
                "event_data": {"message": f"failed at step {number}", "attempt": number % 7},
            }
        ).encode()
        for number in range(count)
    ]


@contextmanager
def silent_mail_server() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(listening.accept()[0])
                except OSError:  # closed: the end
                    return

        threading.Thread(target=take, daemon=True).start()
        yield listening.getsockname()[1]


@contextmanager
def defined(folder: Path, definition: object) -> Iterator[int]:
    """Our server with this definition; its port."""
    folder.mkdir()
    path = folder / "events.manager.yaml"
    path.write_text(json.dumps(definition))
    with server(f"sqlite:///{folder / 'events.db'}", folder, "--definition", str(path)) as (port, _):
        yield port


def timed(port: int, count: int) -> Load:
    return run(port, CONNECTIONS, [post("/event", body) for body in errors(count)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4_000, help="posts a round")
    count = parser.parse_args().requests
    rounds: dict[str, list[Load]] = {"nobody is mailed": [], "mail server hangs": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        email = {
            "smtp_server": "127.0.0.1",
            "smtp_port": stack.enter_context(silent_mail_server()),
            "email_addresses": ["nobody@lab.test"],
            "group_wait_seconds": 0,
        }
        ports = {
            "nobody is mailed": stack.enter_context(defined(folder / "without", {"name": "without"})),
            "mail server hangs": stack.enter_context(defined(folder / "with", {"name": "with", "email_alerts": email})),
        }
        for port in ports.values():
            timed(port, count // 4)  # warm
        for turn in range(ROUNDS):
            for name in list(ports)[:: 1 if turn % 2 else -1]:
                rounds[name].append(timed(ports[name], count))
    figures = {
        name: [statistics.median(found.percentile(p) for found in loads) for p in (50, 99)]
        for name, loads in rounds.items()
    }
    for name, (p50, p99) in figures.items():
        print(f"  {name:<18}  p50 {p50:7.2f} ms   p99 {p99:7.2f} ms")
    p50, p99 = (with_ / without for without, with_ in zip(*figures.values(), strict=True))
    print(f"  ratio               p50 {p50:7.2f}      p99 {p99:7.2f}      (to reach: {TO_REACH})")


if __name__ == "__main__":
    main()
