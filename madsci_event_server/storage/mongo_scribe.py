"""`python -m madsci_event_server.storage.mongo_scribe`: writes events to MongoDB for a server that is busy taking them.

A program of the server's own, for `mongo_scribing` to start. It reads from stdin where to write, then one group of
events after the other; on stdout it says of each when it is being committed, and what became of it. It ends when its
input does, however the server that wrote it has ended: after the groups it was given, and soon.
"""

import gc
import marshal
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from io import FileIO, RawIOBase
from typing import Any, BinaryIO, Final

from pymongo.errors import PyMongoError

from madsci_event_server.errors import StoreError
from madsci_event_server.event import NamedId
from madsci_event_server.framing import HEAD, NOTICE, message
from madsci_event_server.storage.base import Appended, Outcome, StoredEvent
from madsci_event_server.storage.mongo_database import Database
from madsci_event_server.storage.mongo_documents import Batch, NewEvent
from madsci_event_server.storage.mongo_names import Sightings, sightings_in, write_sightings
from madsci_event_server.storage.mongo_writer import Writer, Writing
from madsci_event_server.storage.mongo_writing import Value, append_events, values_in, write_values

PLACED: Final = "placed"
"""All were new; with the place before the first."""
TOLD: Final = "told"
"""With what became of each."""
REFUSED: Final = "refused"
"""With the class of a StoreError and its text."""
BROKEN: Final = "broken"
"""With what is wrong here."""
_END_SECONDS: Final = 3.0
"""How long it may take over what it was given, once nobody is there to be told."""
_GARBAGE_ALLOCATIONS: Final = 100_000


def group(events: Iterable[NewEvent], names: Sightings, values: Iterable[Value]) -> tuple[bytes, bytes]:
    """What is sent of events to store; `names` and `values` are those that are not known to be stored."""
    return message(([new.packed() for new in events], [(*named, seen) for named, seen in names.items()], list(values)))


def told(outcomes: Iterable[Sequence[Any]]) -> list[Appended]:
    """What became of each event, as it was said."""
    return [Appended(Outcome(outcome), StoredEvent(*stored)) for outcome, *stored in outcomes]


class _Group:
    """Events to store, as they came."""

    def __init__(self, sent: tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], list[Value]]) -> None:
        events, names, values = sent
        new = [NewEvent.unpacked(event) for event in events]
        self.batch = Batch([one.event_id for one in new], new)
        self._names = {NamedId(*named) for *named, _ in names}
        self._values = frozenset(values)

    def learn(self, writing: Writing, new: Sequence[NewEvent]) -> None:
        """Stores the names, kinds and types of these events that were not known."""
        if self._names:
            seen = sightings_in(new)
            write_sightings(writing, {named: moment for named, moment in seen.items() if named in self._names})
        if self._values:
            write_values(writing, values_in(new) & self._values)


def _plain(appended: Appended) -> tuple[Any, ...]:
    outcome, (seq, first_seq, time_us, event_type, body) = appended
    # What comes from MongoDB are whole numbers of BSON's own class.
    return outcome.value, int(seq), int(first_seq), int(time_us), event_type, body


def write(database: Database, writer: Writer, sent: Any, say: Callable[..., None], notice: Callable[[], None]) -> None:
    """Stores a group and says what became of it; gives notice when it is being committed."""
    try:
        events = _Group(sent)
        found = append_events(writer.transaction, events.batch, events.learn, notice)
    except PyMongoError as error:
        problem = database.translate(error)
        say(REFUSED, type(problem).__name__, str(problem))
    except StoreError as error:
        say(REFUSED, type(error).__name__, str(error))
    except Exception as error:  # noqa: BLE001  # the server asks again for each request by itself
        say(BROKEN, repr(error))
    else:
        if isinstance(found, int):
            say(PLACED, found)
        else:
            say(TOLD, [_plain(one) for one in found])


def serve(source: RawIOBase, target: BinaryIO) -> None:
    """Writes what it is given until there is nothing any more."""

    def say(*values: Any) -> None:
        target.writelines(message(values))
        target.flush()

    def notice() -> None:
        target.write(NOTICE)
        target.flush()

    where = _next(source)
    if where is None:
        return
    url, folder = where
    os.chdir(folder)  # an address may name files, as of certificates
    database = Database(url)
    writer = database.new_writer()
    notice()
    given: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # Read at once, or else the server would have to wait with the rest of it until those before are stored.
    threading.Thread(target=_read, args=(source, given), daemon=True).start()
    while (sent := given.get()) is not None:
        write(database, writer, sent, say, notice)


def _read(source: RawIOBase, given: "queue.SimpleQueue[Any]") -> None:
    while (sent := _next(source)) is not None:
        given.put(sent)
    given.put(None)
    end = threading.Timer(_END_SECONDS, os._exit, (1,))
    end.daemon = True
    end.start()


def _next(source: RawIOBase) -> Any:
    """The next message, None where there is none, or none that is whole."""
    head = _exactly(source, HEAD.size)
    body = _exactly(source, *HEAD.unpack(head)) if head is not None else None
    return marshal.loads(body) if body is not None else None  # noqa: S302  # written by the server


def _exactly(source: RawIOBase, size: int) -> bytearray | None:
    """So many bytes, None where the input ends before."""
    found = bytearray(size)
    at = 0
    while at < size:
        read = source.readinto(memoryview(found)[at:])
        if not read:
            return None
        at += read
    return found


def main() -> None:
    """The program."""
    # Ctrl-C and a service manager signal every program of the server; what is being stored is to be told all the same.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_ALLOCATIONS, 10, 50)
    try:
        # Unbuffered: Python could not end while a thread waits inside a buffer.
        serve(FileIO(sys.stdin.fileno(), closefd=False), sys.stdout.buffer)
    except BrokenPipeError:
        # Nobody is there to be told. What is left to write, Python would try to write once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
