"""A program that uses a SQLiteStore while something is done to it: `python -m tests.server.sqlite_driver MODE PATH`.

It says on standard output what has happened, a line each.
"""

import asyncio
import os
import resource
import sys
from itertools import count
from pathlib import Path

from madsci_event_server.errors import StoreError
from madsci_event_server.storage.sqlite import SQLiteStore
from tests.factories import an_event

NOBODY = 65534


def say(text: str) -> None:
    """One line, at once: what is said is what a sender was told."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def append_forever(path: Path) -> None:
    """Many senders at once; each says the ids it was told are stored."""

    async def send(store: SQLiteStore, sender: int) -> None:
        for number in count():
            ids = [f"{sender}-{number}-{part}" for part in range(1 + sender % 3)]
            await store.append([an_event("step", id=event_id, sender=sender) for event_id in ids])
            for event_id in ids:
                say(f"stored {event_id}")

    async with SQLiteStore(path) as store:
        await asyncio.gather(*(send(store, sender) for sender in range(24)))


async def fill_the_disk(path: Path) -> None:
    """Appends until no file may grow any more, then lifts the limit and goes on."""
    async with SQLiteStore(path) as store:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
        number = await _append_until_refused(store)
        for refused in range(number, number + 3):
            say(await _attempt(store, refused))
        try:
            await store.status()
        except StoreError as error:
            say(f"status {error}")
        say(f"still {(await store.get('0')).event.event_id}")
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        say(await _attempt(store, number))
        await store.status()
        say("done")


async def _append_until_refused(store: SQLiteStore) -> int:
    for number in count():
        said = await _attempt(store, number)
        say(said)
        if not said.startswith("stored"):
            return number
    raise AssertionError("count ends")


async def _attempt(store: SQLiteStore, number: int) -> str:
    try:
        await store.append([an_event("x" * 5000, id=str(number))])
    except StoreError as error:
        return f"{type(error).__name__} {error}"
    return f"stored {number}"


async def open_as_nobody(path: Path) -> None:
    """Opens it as a user who owns nothing, and says what came of it."""
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        async with SQLiteStore(path) as store:
            await store.append([an_event()])
            say("opened")
    except StoreError as error:
        say(f"{type(error).__name__} {error}")


async def hold(path: Path) -> None:
    """Keeps it open until standard input ends."""
    async with SQLiteStore(path):
        say("open")
        await asyncio.to_thread(sys.stdin.read)


MODES = {"append": append_forever, "fill": fill_the_disk, "nobody": open_as_nobody, "hold": hold}

if __name__ == "__main__":
    asyncio.run(MODES[sys.argv[1]](Path(sys.argv[2])))
