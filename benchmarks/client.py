"""What logging costs the lab's code, and how fast it arrives: our client beside MADSci's and `logging` to a file.

    python -m benchmarks.client [--madsci PYTHON] [--count 20000]

PYTHON is the interpreter of an environment with madsci.client 0.8.1; without it MADSci's is left out. Each logger runs
in a process of its own. The server for throughput is ours, on SQLite; those that misbehave are small processes of their
own. Callers are timed twice: as fast as they can, and at 200 events a second, as a busy node logs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.scripted_server import DripForEver, Hang, Raw, Reply, Reset, always, scripted_server
from tests.live_server import LiveServer

TROUBLES = {
    "hangs": always(Hang()),
    "resets": always(Reset()),
    "answers 500": always(Reply(500, {"detail": "bug"})),
    "answers 429": always(Reply(429, {"detail": "slower"}, {"Retry-After": "1"})),
    "answers 413": always(Reply(413, {"detail": "too large"})),
    "talks garbage": always(Raw(b"\x00garbage\r\n\r\n")),
    "never ends": always(DripForEver()),
}
NODE_RATE = 200
REACH_P99_SECONDS = 0.001
REACH_THROUGHPUT = 20


@contextmanager
def troubled(trouble: str) -> Iterator[str]:
    """The address of a server that does only this, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.client", "--serve", trouble]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.kill()


def serve(trouble: str) -> None:
    """Until stdin is closed."""
    with scripted_server(TROUBLES[trouble]) as server:
        print(server.url, flush=True)
        sys.stdin.read()


def timed(python: str, which: str, server: str, count: int, per_second: float, *, wait: bool = True) -> dict[str, Any]:
    """One run of client_loop.py. It is killed once it has spoken: what waits for a dead server need not end."""
    loop = str(Path(__file__).with_name("client_loop.py"))
    with tempfile.TemporaryDirectory() as directory:
        # -P: beside client_loop.py lies an http.py that is not the standard library's
        command = [python, "-P", loop, which, server, directory, str(count), str(per_second)]
        command += [] if wait else ["--no-wait"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=directory
        ) as run:
            assert run.stdout
            spoken = next(line for line in run.stdout if line.startswith('{"p50"'))  # MADSci's client writes there, too
            found: dict[str, Any] = json.loads(spoken)
            run.kill()
    return found


def show(name: str, found: dict[str, Any], note: str = "") -> None:
    """One line of the table."""
    microseconds = "".join(f"{found[key] * 1e6:>12,.0f}" for key in ("p50", "p99", "p999"))
    print(f"{name:44}{microseconds}{found['memory_kb'] / 1024:>10.0f}  {note}", flush=True)


def callers(loggers: dict[str, str], count: int) -> list[str]:
    """What a call costs; what was not reached."""
    missed = []
    print(f"{'a call, in microseconds':44}{'p50':>12}{'p99':>12}{'p99.9':>12}{'MB':>10}")
    with tempfile.TemporaryDirectory() as folder, LiveServer(Path(folder)) as server:
        for rate in (0, NODE_RATE):
            for which, python in loggers.items():
                number = count if rate == 0 and which != "madsci" else 1000
                found = timed(python, which, server.url, number, rate)
                show(f"{which}, {rate or 'flat out'}{'/s' if rate else ''}, server well", found)
                if which == "ours" and found["p99"] > REACH_P99_SECONDS:
                    missed.append(f"p99 {found['p99'] * 1e3:.2f} ms")
    for trouble in TROUBLES:
        with troubled(trouble) as url:
            for rate, number in ((0, count), (NODE_RATE, 1000)):
                found = timed(sys.executable, "ours", url, number, rate, wait=False)
                show(f"ours, {rate or 'flat out'}{'/s' if rate else ''}, server {trouble}", found)
                if found["p99"] > REACH_P99_SECONDS:
                    missed.append(f"{trouble}: p99 {found['p99'] * 1e3:.2f} ms")
            if "madsci" in loggers and trouble in ("hangs", "answers 500"):
                show(f"madsci, 50/s, server {trouble}", timed(loggers["madsci"], "madsci", url, 200, 50, wait=False))
    return missed


def throughput(loggers: dict[str, str], count: int) -> list[str]:
    """Events a second from one process until the server has them durably; what was not reached."""
    reached = {}
    for which, python in loggers.items():
        if which == "logging":
            continue
        number = count if which == "ours" else 1000
        with tempfile.TemporaryDirectory() as folder, LiveServer(Path(folder)) as server:
            found = timed(python, which, server.url, number, 0)
            with server.client() as api:
                stored = api.get("/health").json()["store"]["events"]
        reached[which] = number / found["delivered"]
        print(f"{which:10} {reached[which]:>10,.0f} events/s delivered, {stored:,} of {number + 1:,} stored")
    if "madsci" in reached:
        ratio = reached["ours"] / reached["madsci"]
        print(f"ours / madsci: {ratio:.0f} (to reach: {REACH_THROUGHPUT})")
        return [f"throughput {ratio:.1f}x"] if ratio < REACH_THROUGHPUT else []
    return []


def main() -> int:
    """0 where all was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--madsci", metavar="PYTHON")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--serve", choices=list(TROUBLES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return 0
    loggers = {"ours": sys.executable, "logging": sys.executable}
    if arguments.madsci:
        loggers["madsci"] = arguments.madsci
    missed = [*throughput(loggers, arguments.count), *callers(loggers, arguments.count)]
    print("reached" if not missed else f"NOT reached: {'; '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
