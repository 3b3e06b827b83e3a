"""One way out for all of a process's events to one server: every client of that server shares it.

MADSci makes short-lived clients by the thousand; they must not mean a thread and a file each. Closing a client closes
nothing that another still uses. A forked process gets a way out of its own. At the end of the interpreter what waits
is given a moment.
"""

import atexit
import logging
import os
import sys
import threading
import weakref
from pathlib import Path
from typing import Final, NamedTuple

from madsci_event_cli.addresses import shown_address
from madsci_event_cli.sending.delivery import Pace, Sender
from madsci_event_cli.sending.outgoing import Outgoing, encode_line
from madsci_event_cli.sending.spool import DEFAULT_MAX_BYTES, Loss, Spool, WhenFull, directory_for

logger = logging.getLogger("madsci_event_cli")

EXIT_SECONDS: Final = 3.0
"""How long a process that ends waits for a server that does not answer."""
_STALLED_EXIT_SECONDS: Final = 0.2
"""The same where that is known already: short-lived clients must not each wait for it."""
_STOP_SECONDS: Final = 1.0
_NEARLY_FULL: Final = 0.95


class Limits(NamedTuple):
    """How much may wait, and what gives way beyond that."""

    max_bytes: int = DEFAULT_MAX_BYTES
    when_full: WhenFull = "refuse"


class DeliveryStatus(NamedTuple):
    """What became of the events of this process so far."""

    pending: int
    """Waiting for the server, also those of dead processes taken over."""
    delivered: int
    set_aside: int
    """Refused by the server for good; kept in `directory` with the reasons."""
    conflicts: int
    """Had the id of an event with other data, which the server kept."""
    lost: int
    """Not kept: no room was left."""
    trouble: str | None
    """Why nothing is delivered at the moment."""
    directory: Path


class Outbox:
    """A spool and its sender. Made by `outbox_for`."""

    def __init__(self, server: str, root: Path, outgoing: Outgoing, limits: Limits, pace: Pace) -> None:
        self.server = server
        self.directory = directory_for(server, root)
        self._outgoing = outgoing
        self._limits = limits
        self._pace = pace
        self._users: weakref.WeakSet[object] = weakref.WeakSet()
        self._renew()

    def _renew(self) -> None:
        self._spool = Spool(
            self.directory,
            self.server,
            max_bytes=self._limits.max_bytes,
            when_full=self._limits.when_full,
            describe=self._describe,
            warn=logger.warning,
        )
        self._sender = Sender(self._spool, self.server, self._pace)
        self._knows_exit = False
        self._is_finished = False

    def join(self, user: object) -> None:
        """`user` sends through this."""
        self._users.add(user)

    def look_for_dead(self) -> None:
        """Sends what dead processes left, if any did."""
        if self._spool.has_dead():
            self._is_finished = False
            self._sender.start()

    def emit(self, event: dict[str, object]) -> bool:
        """Keeps the event and returns; it is delivered later. False where no room is left for it."""
        return self.emit_line(encode_line(event))

    def emit_line(self, line: bytes) -> bool:
        """The same for an event that is a line already."""
        if not self._knows_exit:
            self._prepare_exit()
        kept = self._spool.append(line)
        self._sender.wake()
        return kept

    def flush_while_it_flows(self) -> bool:
        """Waits for as long as events are being delivered; False where they stop flowing before the end."""
        settled = -1
        while not self.flush(EXIT_SECONDS, patient=False):
            before, settled = settled, self._sender.delivered + self._sender.set_aside
            if settled == before:
                return False
        return True

    def flush(self, timeout: float, *, patient: bool) -> bool:
        """See `Sender.wait_delivered`."""
        self._is_finished = False
        return self._sender.wait_delivered(timeout, patient=patient)

    def leave(self, user: object, timeout: float | None = None) -> bool:
        """`user` sends no more; whether all is delivered. The last one out leaves no thread and no file behind.

        Where the server is known to be in trouble there is no waiting for it, unless a timeout is given.
        """
        if timeout is None:
            timeout = _STALLED_EXIT_SECONDS if self._sender.is_stalled else EXIT_SECONDS
        delivered = not self._spool.pending_bytes or self.flush(timeout, patient=False)
        self._users.discard(user)
        if delivered and not self._users and self._sender.stop(_STOP_SECONDS):
            self._spool.tidy()
            if self._spool.pending_bytes:  # logged in this very moment
                self._sender.start()
        return delivered

    @property
    def is_nearly_full(self) -> bool:
        """Whether what waits comes close to the bound: who can wait should."""
        return self._spool.pending_bytes > self._limits.max_bytes * _NEARLY_FULL

    def status(self) -> DeliveryStatus:
        """What became of everything so far."""
        sender = self._sender
        return DeliveryStatus(
            pending=self._spool.pending_events,
            delivered=sender.delivered,
            set_aside=sender.set_aside,
            conflicts=sender.conflicts,
            lost=self._spool.lost,
            trouble=sender.trouble,
            directory=self.directory,
        )

    def finish(self) -> None:
        """The end, as far as is known: what waits is given a moment, then left for the next client, and said.

        Logging afterwards begins anew.
        """
        if self._is_finished:
            return
        self._knows_exit = False
        if self._spool.pending_bytes and not self.flush(EXIT_SECONDS, patient=False):
            logger.warning(
                "%d events for %s are not delivered (%s); they wait in %s for the next client, or for "
                "`madsci-events spool flush`",
                self._spool.pending_events,
                shown_address(self.server),
                self._sender.trouble or "no answer yet",
                self._spool.waiting_in,
            )
        if self._sender.stop(_STOP_SECONDS):
            self._spool.tidy()
        self._is_finished = True

    def start_afresh(self) -> None:
        """In a forked child: a spool and a thread of its own; the parent delivers what is the parent's."""
        self._spool.abandon()
        self._renew()

    def _prepare_exit(self) -> None:
        self._knows_exit, self._is_finished = True, False
        # A multiprocessing child ends without atexit, but not without this. Looked up: loading it for all costs 15 ms.
        multiprocessing = sys.modules.get("multiprocessing")
        if multiprocessing is not None and multiprocessing.parent_process() is not None:
            from multiprocessing.util import Finalize

            Finalize(self, Outbox.finish, args=(self,), exitpriority=100)

    def _describe(self, loss: Loss) -> bytes:
        many = f"{loss.events:,} events" if loss.events else "From here on events"
        data = {"message": f"{many} were not kept: {loss.reason}", "lost": loss.events}
        return encode_line(self._outgoing.event(data, 40, {}, {}, alert=False))


_outboxes: dict[tuple[str, Path], Outbox] = {}
_guard = threading.RLock()


def outbox_for(server: str, root: Path, outgoing: Outgoing, limits: Limits, pace: Pace) -> Outbox:
    """The process's way out to that server; limits and pace are those of whoever came first."""
    with _guard:
        key = (server, root)
        if key not in _outboxes:
            _outboxes[key] = Outbox(server, root, outgoing, limits, pace)
        return _outboxes[key]


def _finish_all() -> None:
    for outbox in tuple(_outboxes.values()):
        outbox.finish()


def _start_all_afresh() -> None:
    global _guard
    _guard = threading.RLock()
    for outbox in _outboxes.values():
        outbox.start_afresh()


atexit.register(_finish_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_all_afresh)
