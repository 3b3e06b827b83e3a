"""Programs beside the server: how one of its own modules is started as one, and seen to its end.

They compute while the server does, which Python does in one thread at a time; what they are for is said where they are
(`worker`, `storage.mongo_scribe`). Each reads from stdin, answers on stdout, and ends when its input does.
"""

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

STOP_SECONDS: Final = 5.0
"""How long a program that was told to end may take before it is killed."""
_PACKAGES: Final = Path(__file__).parents[1]


def spare_cores() -> int:
    """How many cores this process may use besides the one it needs itself."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return usable - 1


async def started(module: str, *arguments: str, buffer_bytes: int) -> Process:
    """`python -m MODULE ARGUMENTS`, its stdin and stdout being ours; so much of what it says is kept until it is read.

    Raises OSError, and NotImplementedError where the event loop of Windows has no subprocesses.
    """
    # Apart from the terminal's Ctrl-C, which is for the server to obey. In the folder of the packages: what it imports
    # is what this program runs, not what lies in the lab's directory.
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        cwd=_PACKAGES,
        limit=buffer_bytes,
        **apart,
    )


def kill(process: Process | None) -> None:
    """Ends it at once, if it was started and is still there."""
    if process is not None:
        with suppress(ProcessLookupError):  # it has just ended
            process.kill()


async def exit_status(process: Process) -> int:
    """Of one that is about to end, or else is killed."""
    try:
        return await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        kill(process)
        return await process.wait()
