"""A lab's program, as the tests start it: `python logging_program.py HOW SERVER SPOOL [COUNT]`.

It prints the id of each event once the call that logged it has returned.
"""

import logging
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from madsci_event_cli import EventClient, EventLogHandler
from madsci_event_cli.sending.delivery import Pace


def say(*words: object) -> None:
    """One write: a line that is there is there whole, whatever happens next."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def count(client: EventClient, number: int) -> None:
    for place in range(number):
        client.info(place, process=os.getpid())
    say("logged", os.getpid(), number)


def for_ever(client: EventClient) -> None:
    place = 0
    while True:
        say(client.info(place, process=os.getpid()))
        place += 1


def wait_for_the_end(client: EventClient) -> None:
    say(client.info("before the end"))
    time.sleep(3600)


def fork(client: EventClient, number: int) -> None:
    """Events of the parent are waiting or under way when it forks, again and again."""
    children = []
    for _ in range(4):
        count(client, number)
        pid = os.fork()
        if pid == 0:
            count(client, number)
            sys.exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0


def children_of(method: str, client: EventClient, number: int) -> None:
    context: Any = multiprocessing.get_context(method)
    target, arguments = (count, (client, number)) if method == "fork" else (count_anew, (*sys.argv[2:4], number))
    children = [context.Process(target=target, args=arguments) for _ in range(3)]
    for child in children:
        child.start()
    count(client, number)
    for child in children:
        child.join()
        assert child.exitcode == 0


def count_anew(server: str, spool: str, number: int) -> None:
    count(make_client(server, spool), number)


def log_from_a_signal_handler(client: EventClient, number: int) -> None:
    signal.signal(signal.SIGALRM, lambda *_: client.warning("from the handler"))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    count(client, number)
    signal.setitimer(signal.ITIMER_REAL, 0)


def log_everything(client: EventClient, number: int) -> None:
    """The root logger at DEBUG: what the sending itself logs must not become events."""
    logging.basicConfig(level=logging.DEBUG, handlers=[EventLogHandler(client)])
    for place in range(number):
        logging.getLogger("lab.arm").info("place %d", place)
    say("logged", os.getpid(), number)
    client.flush()


def make_client(server: str, spool: str) -> EventClient:
    pace = Pace(first_pause_seconds=0.05, longest_pause_seconds=0.5, adopt_seconds=0.5)
    return EventClient(event_server=server, spool_directory=Path(spool), name="program", pace=pace)


def main() -> None:
    how, server, spool = sys.argv[1:4]
    number = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    client = make_client(server, spool)
    match how:
        case "count":
            count(client, number)
        case "flush":
            say(client.flush(60))
        case "for-ever":
            for_ever(client)
        case "wait":
            wait_for_the_end(client)
        case "os.fork":
            fork(client, number)
        case "signals":
            log_from_a_signal_handler(client, number)
        case "logging":
            log_everything(client, number)
        case method:
            children_of(method, client, number)


if __name__ == "__main__":
    main()
