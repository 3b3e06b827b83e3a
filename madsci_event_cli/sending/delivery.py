"""One background thread that delivers a spool to its server: in order, in batches, until acknowledged.

It may be refused, cut off, answered nonsense or not at all; nothing of that reaches who logs. An event the server will
never take is set aside with its reason and does not hold up the rest.
"""

import contextlib
import encodings.idna  # noqa: F401 - a socket imports it when it first connects; see _Door
import json
import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Final, NamedTuple

import httpx

from madsci_event_cli.addresses import shown_address
from madsci_event_cli.connection import certificates
from madsci_event_cli.sending.spool import SetAside, Source, Spool
from madsci_event_cli.sending.verdicts import (
    Answer,
    Delivered,
    NoBatches,
    Refused,
    TryAgain,
    Verdict,
    judge_batch,
    judge_single,
)

logger = logging.getLogger("madsci_event_cli")

MAX_BATCH_BYTES: Final = 512 * 1024
"""About a thousand events: the cost of a request is shared, and two batches fit in anyone's memory."""
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
"""A batch may wait behind a slow disk; sent again too early it would make that worse."""
ADOPT_SECONDS: Final = 15.0
"""How often a quiet client looks for the events of processes that died."""
FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 30.0
STALLED_SECONDS: Final = 2.0
_BATCHES_AGAIN_SECONDS: Final = 600.0
"""How often a server without batches is asked again: it may have been replaced by one of ours."""
_STUCK_ATTEMPTS: Final = 4
CUT_OFF: Final = "cut off: the process ended while it was being written"
"""Why the rest of a killed process's last line is set aside."""
_USER_AGENT: Final = f"madsci-events/{version('madsci-events')}"

_this_thread = threading.local()


def is_sending() -> bool:
    """Whether this is a thread that delivers events: what it logs must not become events to deliver."""
    return getattr(_this_thread, "sending", False)


class Pace(NamedTuple):
    """How long to wait; tests and impatient tools make it shorter."""

    first_pause_seconds: float = FIRST_PAUSE_SECONDS
    longest_pause_seconds: float = LONGEST_PAUSE_SECONDS
    answer_seconds: float = ANSWER_SECONDS
    adopt_seconds: float = ADOPT_SECONDS


class Counts(NamedTuple):
    """What became of a process's events so far."""

    delivered: int
    set_aside: int
    conflicts: int


class Sender:
    """Delivers one spool. `wake` after each event; `wait_delivered` to know; `stop` when done."""

    def __init__(
        self, spool: Spool, server: str, pace: Pace, *, jitter: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._spool = spool
        self._address = shown_address(server)
        self._pace = pace
        self._jitter = jitter
        self._set_aside = SetAside(spool.directory)
        self._door = _Door(server, pace.answer_seconds)
        self._thread: threading.Thread | None = None
        self._lifecycle = threading.RLock()
        # Its put() may interrupt itself, in a signal handler, where a Condition would wait for itself for ever.
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._woken = False
        self._stopping = False
        self._hurried = False
        self._progress = threading.Condition()
        self._takes_batches = True
        self._next_batch = 0.0
        self._attempt_began = 0.0
        self._batch_bytes = MAX_BATCH_BYTES
        self._failures_in_a_row = 0
        self._failures = 0
        self._stuck = 0
        self._last_delivered = b""
        self._trouble: TryAgain | None = None
        self._next_attempt = 0.0
        self._next_scan = 0.0
        self._scans = 0
        self.delivered = self.set_aside = self.conflicts = 0

    @property
    def trouble(self) -> str | None:
        """Why nothing is being delivered; None while all is well."""
        return None if self._trouble is None else self._trouble.reason

    @property
    def is_stalled(self) -> bool:
        """Whether waiting is of no use: an attempt has failed, or has been under way for longer than a server takes."""
        began = self._attempt_began
        return self._trouble is not None or (began > 0 and time.monotonic() - began > STALLED_SECONDS)

    def wake(self) -> None:
        """There is something to send. Costs next to nothing, and may be called from anywhere."""
        if not self._woken:
            self._woken = True
            self._wakes.put(None)
        if self._thread is None:
            self.start()

    def start(self) -> None:
        """Begins to deliver, if it does not yet."""
        if self._lifecycle._is_owned():  # type: ignore[attr-defined]
            return  # a signal handler logs while this thread starts or stops the other: there must never be two
        with self._lifecycle:
            if self._thread is not None:
                return
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="madsci-events sender", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is ending: what is on disk waits for the next client
                self._thread = None

    def stop(self, timeout: float) -> bool:
        """Ends the thread, without waiting for delivery; False where it is still busy with the server by then."""
        with self._lifecycle:
            thread = self._thread
            if thread is None:
                return True
            self._stopping = True
            self._wakes.put(None)
            thread.join(timeout)
            if thread.is_alive():
                self._stopping = False
                return False
            self._thread = None
            return True

    def wait_delivered(self, timeout: float, *, patient: bool) -> bool:
        """Waits until all that was logged before this call, and all that dead processes left, is with the server.

        False when it is not within the time. Who is not patient hears so as soon as it is clear: the server cannot be
        reached, or asks for a longer pause.
        """
        deadline = time.monotonic() + timeout
        self.start()
        with self._progress:
            target, scan, failures = self._spool.appended_bytes, self._scans + 1, self._failures
            self._next_scan = 0.0
            self._hurried = True
            self._wakes.put(None)
            while not self._is_delivered(target, scan):
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self._thread is None or (not patient and self._is_hopeless(failures, deadline)):
                    return False
                self._progress.wait(remaining)
        return True

    def _is_delivered(self, target: int, scan: int) -> bool:
        return self._spool.settled_bytes >= target and self._scans >= scan and not self._spool.has_adopted

    def _is_hopeless(self, failures_before: int, deadline: float) -> bool:
        trouble = self._trouble
        if trouble is None:
            return False
        if self._failures == failures_before:  # no attempt since: none will come before the pause the server asked for
            return trouble.after_seconds is not None and self._next_attempt > deadline
        return trouble.is_unreachable or self._next_attempt > deadline

    def _run(self) -> None:
        _this_thread.sending = True
        while not self._stopping:
            try:
                if not self._deliver_round():
                    self._rest()
            except Exception:  # the thread must outlive a full disk, a removed directory, a bug of ours
                logger.exception("delivering events to %s failed; trying again", self._address)
                self._pause(TryAgain("an error on this side"))
        self._door.close()

    def _deliver_round(self) -> bool:
        """One batch from each place events wait in; whether there was any."""
        self._scan_when_due()
        any_waited = False
        for source in self._spool.sources():
            lines = source.read(self._batch_bytes)
            if not lines:
                source.finish()
            else:
                any_waited = True
                trouble = self._deliver(source, lines)
                if trouble is not None:
                    self._pause(trouble)
                    break
                self._report_progress()
        if not any_waited:
            self._report_progress()
        return any_waited

    def _scan_when_due(self) -> None:
        if time.monotonic() < self._next_scan:
            return
        self._next_scan = time.monotonic() + self._pace.adopt_seconds
        self._spool.adopt_dead()
        self._scans += 1

    def _rest(self) -> None:
        try:
            self._wakes.get(timeout=max(0.0, self._next_scan - time.monotonic()))
        except queue.Empty:
            return
        # Before reading what waits: whoever logs from here on wakes again.
        self._woken = False

    def _deliver(self, source: Source, lines: bytes) -> TryAgain | None:
        """Sends what was read and settles it; what was in the way, if anything."""
        if not lines.endswith(b"\n"):
            # Nobody was told that it is kept: a kill -9 ends a write, too, from one page of the file to the next.
            self._put_aside(lines, CUT_OFF, "a process was killed while it wrote an event")
            source.acknowledge(lines)
            return None
        self._attempt_began = time.monotonic()
        try:
            return self._send(source, lines)
        finally:
            self._attempt_began = 0.0

    def _send(self, source: Source, lines: bytes) -> TryAgain | None:
        if self._takes_batches or time.monotonic() > self._next_batch:
            verdict = self._post_batch(lines)
            self._takes_batches = not isinstance(verdict, NoBatches)
            if not isinstance(verdict, NoBatches):
                return self._settle(source, lines, verdict)
            self._next_batch = time.monotonic() + _BATCHES_AGAIN_SECONDS
            logger.info("%s takes no batches of events: sending one by one", self._address)
        return self._deliver_singly(source, lines)

    def _deliver_singly(self, source: Source, lines: bytes) -> TryAgain | None:
        for line in lines.split(b"\n")[:-1]:
            trouble = self._settle(source, line + b"\n", self._post_one(line))
            if trouble is not None or self._stopping:
                return trouble
        return None

    def _post_batch(self, lines: bytes) -> Verdict:
        try:
            return judge_batch(self._door.post("/events", lines, "application/x-ndjson"), lines.count(b"\n"))
        except (httpx.HTTPError, _AnswerTooLong) as error:
            return _trouble_of(error)

    def _post_one(self, line: bytes) -> Delivered | TryAgain | Refused:
        try:
            return judge_single(self._door.post("/event", line, "application/json"), _event_id_of(line))
        except (httpx.HTTPError, _AnswerTooLong) as error:
            return _trouble_of(error)

    def _settle(self, source: Source, lines: bytes, verdict: Delivered | TryAgain | Refused) -> TryAgain | None:
        count = lines.count(b"\n")
        if isinstance(verdict, Delivered):
            self._on_delivered(source, lines, verdict)
            return None
        if isinstance(verdict, Refused):
            if count == 1:
                self._put_aside(lines, verdict.reason)
                source.acknowledge(lines)
            else:  # one of them, or all together, is too much: find out which
                self._batch_bytes = len(lines) // 2
            return None
        if verdict.smaller:
            if count == 1 and self._is_poison(source, lines):
                return None
            self._batch_bytes = len(lines) // 4
        return verdict

    def _on_delivered(self, source: Source, lines: bytes, verdict: Delivered) -> None:
        if verdict.rejected:
            each = lines.split(b"\n")
            for index, reason in verdict.rejected:
                self._put_aside(each[index], reason)
        if verdict.conflicts:
            self.conflicts += verdict.conflicts
            logger.warning(
                "%d events have the id of another event %s already holds with other data, which it keeps",
                verdict.conflicts,
                self._address,
            )
        source.acknowledge(lines)
        if not verdict.rejected:
            self._last_delivered = lines[lines.rfind(b"\n", 0, -1) + 1 :]
        self.delivered += lines.count(b"\n") - len(verdict.rejected)
        self._batch_bytes = min(MAX_BATCH_BYTES, self._batch_bytes * 2 + 1)
        self._failures_over()

    def _is_poison(self, source: Source, line: bytes) -> bool:
        """Whether the server fails at this one event while it takes others; if so it is settled here.

        The other is the last that was delivered, which is harmless to send again; before there is one, the next.
        """
        self._stuck += 1
        if self._stuck < _STUCK_ATTEMPTS:
            return False
        other = self._last_delivered or _first_line(source.read(len(line) + MAX_BATCH_BYTES)[len(line) :])
        if not other or not isinstance(self._post_one(other.rstrip(b"\n")), Delivered):
            return False
        # Once more, as the server may just have come back.
        verdict = self._post_one(line.rstrip(b"\n"))
        if isinstance(verdict, TryAgain) and not verdict.smaller:
            return False
        if isinstance(verdict, Delivered):
            self.delivered += 1
        else:
            self._put_aside(line, f"the server fails at it, and takes others: {verdict.reason}")
        source.acknowledge(line)
        self._failures_over()
        return True

    def _put_aside(self, line: bytes, reason: str, what: str = "") -> None:
        self.set_aside += 1
        what = what or f"{self._address} refused an event"
        if self._set_aside.add(line, reason):
            logger.warning("%s, which is kept in %s: %s", what, self._set_aside.path, reason)
        else:
            logger.error("%s, and %s takes no more: %s", what, self._set_aside.path, reason)

    def _failures_over(self) -> None:
        if self._trouble is not None:
            logger.info("events are delivered to %s again", self._address)
        self._trouble = None
        self._failures_in_a_row = self._stuck = 0

    def _pause(self, trouble: TryAgain) -> None:
        """Waits before the next attempt: longer each time, never shorter than the server asks, never in step."""
        if self._trouble is None:
            logger.warning(
                "events are not delivered to %s (%s); they wait in %s",
                self._address,
                trouble.reason,
                self._spool.waiting_in,
            )
        self._trouble = trouble
        self._takes_batches = (
            True  # whoever had no such route may have been another, in front of a server that was away
        )
        longest = min(
            self._pace.longest_pause_seconds, self._pace.first_pause_seconds * 2 ** min(self._failures_in_a_row, 20)
        )
        pause = self._jitter(longest / 2, longest)
        if trouble.after_seconds is not None:
            pause = trouble.after_seconds + self._jitter(0, pause)
        self._next_attempt = time.monotonic() + pause
        self._failures_in_a_row += 1
        self._failures += 1
        self._hurried = False
        self._report_progress()
        while not self._stopping and (remaining := self._next_attempt - time.monotonic()) > 0:
            if self._hurried and trouble.after_seconds is None:
                break
            with contextlib.suppress(queue.Empty):
                self._wakes.get(timeout=remaining)
        # Before reading what waits, as in _rest: a wake may have been taken here.
        self._woken = False

    def _report_progress(self) -> None:
        with self._progress:
            self._progress.notify_all()


class _Door:
    """The server's address. One connection at a time, kept open."""

    def __init__(self, server: str, answer_seconds: float) -> None:
        self._server = server
        user, password = httpx.URL(server).username, httpx.URL(server).password
        self._auth = httpx.BasicAuth(user, password) if user or password else httpx.Auth()
        self._answer_seconds = answer_seconds
        self._timeouts = httpx.Timeout(answer_seconds, connect=min(CONNECT_SECONDS, answer_seconds)).as_dict()
        # Made here, in the thread that makes the client: it imports, and whoever forks while another thread imports
        # has half a module for ever.
        self._transport = httpx.HTTPTransport(verify=certificates(server))

    def close(self) -> None:
        self._transport.close()

    def post(self, path: str, body: bytes, content_type: str) -> Answer:
        """The answer. Raises httpx.HTTPError where there is none, and `_AnswerTooLong`."""
        # The transport itself, not a Client: that writes a line to the lab's log for every request.
        headers = {"Content-Type": content_type, "Accept": "application/json", "User-Agent": _USER_AGENT}
        request = httpx.Request(
            "POST", self._server + path, headers=headers, content=body, extensions={"timeout": self._timeouts}
        )
        response = self._transport.handle_request(next(self._auth.auth_flow(request)))
        try:
            content = self._content(response)
        finally:
            response.close()
        return Answer(response.status_code, {name.lower(): text for name, text in response.headers.items()}, content)

    def _content(self, response: httpx.Response) -> bytes:
        deadline = time.monotonic() + self._answer_seconds
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
                raise _AnswerTooLong
        return bytes(content)


class _AnswerTooLong(Exception):
    """More bytes, or for longer, than any answer of an event server."""


def _trouble_of(error: Exception) -> TryAgain:
    kind = type(error).__name__
    if isinstance(error, _AnswerTooLong):
        return TryAgain("its answer does not end")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return TryAgain(f"cannot be reached: {str(error) or kind}", is_unreachable=True)
    if isinstance(error, httpx.TimeoutException):
        return TryAgain("does not answer", smaller=True)
    return TryAgain(f"{kind}: {error}")


def _first_line(lines: bytes) -> bytes:
    return lines[: lines.find(b"\n") + 1]


def _event_id_of(line: bytes) -> str | None:
    """The id of an event's line; None of a line that is no event."""
    try:
        return str(json.loads(line)["event_id"])
    except (ValueError, KeyError, TypeError):
        return None
