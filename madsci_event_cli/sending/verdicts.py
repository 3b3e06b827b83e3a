"""What an answer to sent events means: delivered, to be sent again, refused for good, or not an event server's at all.

Only an answer in this API's words acknowledges anything. An empty 200, a login page, JSON about something else: the
events stay.
"""

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

MAX_RETRY_AFTER_SECONDS: Final = 600.0
"""A server may ask for a pause, not for silence."""

_REFUSALS: Final = frozenset((400, 413, 415, 422, 431))
"""The event itself is at fault, whenever it is sent."""
_NO_SUCH_ROUTE: Final = frozenset((404, 405, 501))
_MAX_REASON: Final = 500


class Answer(NamedTuple):
    """An HTTP answer, its names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Delivered(NamedTuple):
    """The server has them, but for those it refuses: place in the batch and reason."""

    rejected: tuple[tuple[int, str], ...] = ()
    conflicts: int = 0


class TryAgain(NamedTuple):
    """Not delivered; the same may work later."""

    reason: str
    after_seconds: float | None = None
    smaller: bool = False
    """Fewer at once may work sooner."""
    is_unreachable: bool = False


class Refused(NamedTuple):
    """The server will never take what was sent."""

    reason: str


class NoBatches(NamedTuple):
    """The server has no such route: send one by one."""


Verdict = Delivered | TryAgain | Refused | NoBatches


def judge_batch(answer: Answer, count: int) -> Verdict:
    """What the answer to `POST /events` with that many events means."""
    if answer.status in _NO_SUCH_ROUTE:
        return NoBatches()
    if answer.status != 200:
        return _not_taken(answer)
    try:
        found = json.loads(answer.body)
        rejected = tuple((int(item["index"]), str(item["error"])) for item in found["rejected"])
        conflicts = int(found["conflicts"])
        counted = int(found["accepted"]) + int(found["duplicates"]) + int(found["raised"]) + conflicts
    except (ValueError, KeyError, TypeError):
        return _not_ours(answer)
    if counted + len(rejected) != count or not all(0 <= index < count for index, _ in rejected):
        return TryAgain(f"the server answered for {counted + len(rejected)} of {count} events", smaller=True)
    return Delivered(rejected, conflicts)


def judge_single(answer: Answer, event_id: str | None) -> Delivered | TryAgain | Refused:
    """What the answer to `POST /event` means; ours and MADSci's echo the event."""
    if answer.status not in (200, 201):
        return _not_taken(answer)
    try:
        found = json.loads(answer.body)
        ids = (found.get("event_id"), found.get("_id"))
    except (ValueError, AttributeError):
        return _not_ours(answer)
    if event_id is not None and event_id not in ids:
        return _not_ours(answer)
    return Delivered(conflicts=int(answer.headers.get("event-outcome") == "conflict"))


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """The pause a server asks for, in seconds or as a date; None where it asks for none that can be read."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text) if text.isdecimal() else (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _not_taken(answer: Answer) -> TryAgain | Refused:
    reason = f"{answer.status} {_words(answer)}"
    if answer.status in _REFUSALS and (_is_json(answer) or answer.status == 413):
        return Refused(reason)
    after = retry_after_seconds(answer.headers, datetime.now(UTC))
    return TryAgain(reason, after, smaller=answer.status == 500)


def _not_ours(answer: Answer) -> TryAgain:
    return TryAgain(f"{answer.status} that is not an event server's answer: {_words(answer)}")


def _is_json(answer: Answer) -> bool:
    return "json" in answer.headers.get("content-type", "")


def _words(answer: Answer) -> str:
    text = answer.body.decode("utf-8", "replace")
    if _is_json(answer):
        with contextlib.suppress(ValueError):  # it says JSON and is none: shown as it is
            text = _detail(json.loads(text))
    return " ".join(text.split())[:_MAX_REASON]


def _detail(found: Any) -> str:
    detail = found.get("detail", found) if isinstance(found, dict) else found
    return detail if isinstance(detail, str) else json.dumps(detail, ensure_ascii=False)
