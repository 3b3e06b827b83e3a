"""`python -m madsci_event_server.worker KIND [ZONE]`: judges items for a server that is busy storing them.

A program of the server's own, for `workers` to start: it reads questions from stdin, answers each on stdout, in their
order, and ends when its input does, however the server that asked has ended. KIND is that of the server's store, which
is not opened; ZONE is that of times without one.
"""

import gc
import marshal
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import tzinfo
from typing import Any, BinaryIO, Final
from zoneinfo import ZoneInfo

from madsci_event_server.errors import InvalidInput
from madsci_event_server.framing import HEAD, NOTICE, message
from madsci_event_server.judging import Item, Judged, Lines, Refused, Work, judge
from madsci_event_server.storage import packing
from madsci_event_server.storage.base import P, Packing

_GARBAGE_ALLOCATIONS: Final = 100_000
_ROOM_BYTES: Final = 1024 * 1024
"""For answers that the server has not come to read yet: meanwhile the next is worked out. Systems may give less."""


def question(work: Work) -> tuple[bytes, bytes]:
    """What is sent to a worker, one after the other. Items with a problem are none it can judge."""
    return message(tuple(work) if isinstance(work, Lines) else [(item.place, item.body) for item in work])


def answer(first: int, packed: object, refused: Sequence[Refused]) -> tuple[bytes, bytes]:
    """What a worker says of them: what it prepared, and what it refused."""
    return message((first, packed, [(place, error.field, error.problem) for place, error in refused]))


def answered(body: bytes, way: Packing[P]) -> Judged[P]:
    """What the worker said; of refused values it says only what is wrong with them."""
    first, packed, refused = marshal.loads(body)  # noqa: S302  # written by a program this one started
    errors = [Refused(place, InvalidInput(field, problem)) for place, field, problem in refused]
    return Judged(first, way.unpack(packed), errors)


def serve(questions: BinaryIO, answers: BinaryIO, way: Packing[Any], zone: tzinfo | None) -> None:
    """Answers until there is no question any more."""
    answers.write(NOTICE)
    answers.flush()
    while head := questions.read(HEAD.size):
        asked = marshal.loads(questions.read(*HEAD.unpack(head)))  # noqa: S302  # written by the server
        items = Lines(*asked).items if isinstance(asked, tuple) else [Item(place, body) for place, body in asked]
        packer = way.packer()
        # Prepared one by one: what an event was made of is let go of while it is in the processor's cache.
        refused = judge(items, packer.add, zone)
        answers.writelines(answer(items[0].place, packer.packed(), refused))
        answers.flush()


def main() -> None:
    """The program."""
    kind, *zone = sys.argv[1:]
    # Ctrl-C and a service manager signal every program of the server; what is being judged is wanted all the same.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError), socket.socket(fileno=os.dup(sys.stdout.fileno())) as out:  # a pipe on some systems
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM_BYTES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_ALLOCATIONS, 10, 50)
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer, packing(kind), ZoneInfo(*zone) if zone else None)
    except BrokenPipeError:
        # Nobody is there to be told. What is left to write, Python would try to write once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
