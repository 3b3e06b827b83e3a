"""The command line as a shell script pays for it: whole processes, beside `python -c "import typer, httpx"`.

    python -m benchmarks.cli [--rounds 20]

Baseline and commands take turns; the fastest of each is compared, for whatever else the machine does only adds, and the
median is shown beside it. A server in memory, on 127.0.0.1, in a process of its own, answers.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

BASELINE = (sys.executable, "-c", "import typer, httpx")
OURS = (sys.executable, "-m", "madsci_event_cli")
COMMANDS = {
    "log": (*OURS, "log", "plate 7 loaded", "--data", "volume=120"),
    "--help": (*OURS, "--help"),
    "query -n 100": (*OURS, "query", "-n", "100"),
    "status": (*OURS, "status"),
}
REACH = {"log": 1.5}


@contextmanager
def server() -> Iterator[str]:
    """The address of one with 100 events."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "madsci_event_server", "--db", "memory:", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        wait_for(address)
        events = [{"event_data": {"message": f"plate {number} loaded"}} for number in range(100)]
        httpx.post(f"{address}/events", json=events).raise_for_status()
        try:
            yield address
        finally:
            process.terminate()


def wait_for(address: str) -> None:
    for _ in range(500):
        try:
            if httpx.get(f"{address}/health").is_success:
                return
        except httpx.ConnectError:
            time.sleep(0.02)
    raise TimeoutError(f"no server at {address}")


def seconds(command: Sequence[str], address: str) -> float:
    """How long one process of it takes, from start to end."""
    begun = time.perf_counter()
    subprocess.run(
        command, env={**os.environ, "EVENT_SERVER_URL": address}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        check=True,
    )  # fmt: skip
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    programs = {"import typer, httpx": BASELINE, **COMMANDS}
    taken: dict[str, list[float]] = {name: [] for name in programs}
    with server() as address:
        for _ in range(rounds):
            for name, command in programs.items():
                taken[name].append(seconds(command, address))
    baseline = min(taken["import typer, httpx"])
    print(f"  {'whole process':24}{'fastest':>10}{'median':>10}{'ratio':>8}")
    for name, times in taken.items():
        reach = f"  (to reach: at most {REACH[name]})" if name in REACH else ""
        fastest, median = min(times), statistics.median(times)
        print(f"  {name:24}{fastest * 1000:7.0f} ms{median * 1000:7.0f} ms{fastest / baseline:8.2f}{reach}")


if __name__ == "__main__":
    main()
