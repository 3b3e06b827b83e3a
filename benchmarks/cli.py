"""The command line as a shell script pays for it: whole processes, beside `python -c "import typer, httpx"`.

    python -m benchmarks.cli [--rounds 20]

Baseline and commands take turns. Of each the fastest is compared, for whatever else the machine does only adds; the
median is shown beside it. Processor time is the process's own, user and system: what the machine does besides hardly
touches it. A server in memory, on 127.0.0.1, in a process of its own, answers.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from benchmarks.programs import server

BASELINE = (sys.executable, "-c", "import typer, httpx")
OURS = (sys.executable, "-m", "madsci_event_cli")
COMMANDS = {
    "log": (*OURS, "log", "plate 7 loaded", "--data", "volume=120"),
    "--help": (*OURS, "--help"),
    "query -n 100": (*OURS, "query", "-n", "100"),
    "status": (*OURS, "status"),
    "Tab after quer": (*OURS,),
    "Tab after --node": (*OURS,),
}
TYPED = {"Tab after quer": "madsci-events quer", "Tab after --node": "madsci-events query --node "}
REACH = {"log": 1.5}


class Taken(NamedTuple):
    """Seconds of one process."""

    wall: float
    processor: float


@contextmanager
def filled_server() -> Iterator[str]:
    """The address of one with 100 events."""
    with tempfile.TemporaryDirectory() as folder, server("memory:", Path(folder)) as (port, _):
        address = f"http://127.0.0.1:{port}"
        events = [{"event_data": {"message": f"plate {number} loaded"}} for number in range(100)]
        httpx.post(f"{address}/events", json=events).raise_for_status()
        yield address


def taken_by(command: Sequence[str], address: str, typed: str | None) -> Taken:
    """What one process takes from start to end; with `typed`, as a shell starts it when Tab is pressed there."""
    environment = {**os.environ, "EVENT_SERVER_URL": address}
    if typed is not None:
        words = typed.split(" ")
        environment |= {
            "_MADSCI_EVENTS_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1),
        }  # fmt: skip
    before, begun = children_seconds(), time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return Taken(time.perf_counter() - begun, children_seconds() - before)


def children_seconds() -> float:
    """Processor time of all processes started from here that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    programs = {"import typer, httpx": BASELINE, **COMMANDS}
    taken: dict[str, list[Taken]] = {name: [] for name in programs}
    with filled_server() as address:
        for _ in range(rounds):
            for name, command in programs.items():
                taken[name].append(taken_by(command, address, TYPED.get(name)))
    print(f"  {'':24}{'whole process':^28}{'processor':^28}")
    print(f"  {'':24}" + f"{'fastest':>10}{'median':>10}{'ratio':>8}" * 2)
    for name in programs:
        reach = f"  (to reach: at most {REACH[name]})" if name in REACH else ""
        columns = zip(zip(*taken[name], strict=True), zip(*taken["import typer, httpx"], strict=True), strict=True)
        print(f"  {name:24}{''.join(figures(times, baseline) for times, baseline in columns)}{reach}")


def figures(times: Sequence[float], baseline: Sequence[float]) -> str:
    fastest, median = min(times), statistics.median(times)
    return f"{fastest * 1000:7.0f} ms{median * 1000:7.0f} ms{fastest / min(baseline):8.2f}"


if __name__ == "__main__":
    main()
