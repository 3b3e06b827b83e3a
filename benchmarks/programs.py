"""The servers that benchmarks start, each in a process of its own on 127.0.0.1, and what a process costs, on Linux."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def server(db: str, folder: Path, *options: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Our server; its port and its process."""
    command = [sys.executable, "-m", "madsci_event_server", "--port", "0", "--db", db, *options]
    with _started(command, cwd=folder) as (process, line):
        yield int(line.split("http://127.0.0.1:", 1)[1].split(",")[0]), process


@contextmanager
def bare_server(app: str, *, parser: str = "httptools", environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Uvicorn with our event loop and this HTTP parser (ours is httptools) around an application; its port."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", "0", "--no-access-log", "--http", parser]
    with _started(command, until="running on", environment=environment) as (_, line):
        yield int(line.split("http://127.0.0.1:", 1)[1].split(" ")[0])


@contextmanager
def _started(
    command: list[str], *, until: str = "", cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program, and the first line with this text that it says; ended afterwards."""
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=cwd, env={**os.environ, **(environment or {})}
    ) as process:
        assert process.stderr
        try:
            line = next((line for line in process.stderr if until in line), None)
            assert line is not None, f"{command} ended before it listened"
            yield process, line
        finally:
            process.terminate()
            process.wait()


def processor_seconds(pid: int) -> float:
    """What a process has computed so far, in all its threads: on a busy machine it varies less than the time taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes that a process has started, and that have not ended."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def resident_bytes(pid: int | None = None) -> int:
    """The memory of a process now; of this one without a pid."""
    pages = Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")
