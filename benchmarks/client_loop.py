"""What one program logs in a loop, timed: run by benchmarks/client.py, in any environment, by any of the loggers.

    python -P client_loop.py ours|madsci|logging SERVER DIRECTORY COUNT PER_SECOND [--no-wait]

Prints one JSON object: seconds of each quantile of the calls, of the whole, until all was delivered, and the peak of
resident memory. Imports nothing of ours that it does not measure.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


def ours(server: str, directory: str) -> tuple[Callable[..., Any], Callable[[], Any]]:
    """Our client, and how to wait until its events are delivered."""
    from madsci_event_cli import EventClient

    client = EventClient(event_server=server, spool_directory=directory, name="benchmark")
    return client.info, lambda: client.flush(120)


def madsci(server: str, directory: str) -> tuple[Callable[..., Any], Callable[[], Any]]:
    """MADSci's: delivered when its threads have ended."""
    import logging
    import threading

    from madsci.client.event_client import EventClient

    client = EventClient(event_server_url=f"{server}/", log_dir=directory, name="benchmark")
    for handler in client.logger.handlers[:]:
        if type(handler) is logging.StreamHandler:  # its lines on the terminal are not what is measured
            client.logger.removeHandler(handler)

    def wait() -> None:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()

    return client.info, wait


def standard_logging(server: str, directory: str) -> tuple[Callable[..., Any], Callable[[], Any]]:
    """Python's own, to a file: what a log call costs that tells nobody."""
    import logging

    handler = logging.FileHandler(f"{directory}/benchmark.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s %(volume)s %(well)s"))
    logger = logging.getLogger("benchmark")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    return lambda text, **extra: logger.info(text, extra=extra), lambda: None


LOGGERS = {"ours": ours, "madsci": madsci, "logging": standard_logging}


def main() -> None:
    """Logs, and says how long it took."""
    which, server, directory, count, per_second = sys.argv[1:6]
    log, wait = LOGGERS[which](server, directory)
    log("warm", volume=1.5, well="A1")
    wait_between = 1 / float(per_second) if float(per_second) else 0.0
    taken = []
    begin = due = time.perf_counter()
    for number in range(int(count)):
        before = time.perf_counter()
        log(f"aspirated {number}", volume=1.5, well="A1")
        taken.append(time.perf_counter() - before)
        due += wait_between
        if (pause := due - time.perf_counter()) > 0:
            time.sleep(pause)
    logged = time.perf_counter() - begin
    if "--no-wait" in sys.argv:
        delivered = None
    else:
        wait()
        delivered = time.perf_counter() - begin
    taken.sort()
    quantiles = {name: taken[min(len(taken) - 1, int(len(taken) * part))] for name, part in QUANTILES.items()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**quantiles, "logged": logged, "delivered": delivered, "memory_kb": memory}), flush=True)


QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}

if __name__ == "__main__":
    main()
