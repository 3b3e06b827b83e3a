"""What an answer means: only one in this API's words acknowledges anything."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from madsci_event_cli.sending.verdicts import (
    MAX_RETRY_AFTER_SECONDS,
    Answer,
    Delivered,
    NoBatches,
    Refused,
    TryAgain,
    judge_batch,
    judge_single,
    retry_after_seconds,
)

COUNTS = {"accepted": 1, "duplicates": 1, "raised": 0, "conflicts": 0, "rejected": []}
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def answer(status: int, document: Any, **headers: str) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"content-type": "application/json", **named}, body)


def test_a_batch_is_delivered_when_the_server_accounts_for_every_event() -> None:
    assert judge_batch(answer(200, COUNTS), 2) == Delivered()
    rejecting = {**COUNTS, "conflicts": 1, "rejected": [{"index": 3, "error": "log_level: 'x' is not a level"}]}
    assert judge_batch(answer(200, rejecting), 4) == Delivered(((3, "log_level: 'x' is not a level"),), 1)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>log in</html>",
        [],
        {},
        None,
        5,
        {"accepted": 2},
        COUNTS | {"accepted": "many"},
        COUNTS | {"accepted": 2},
        COUNTS | {"rejected": [1]},
        COUNTS | {"accepted": 0, "rejected": [{"index": 9, "error": "x"}]},
    ],
)
def test_any_other_success_acknowledges_nothing(document: Any) -> None:
    assert isinstance(judge_batch(answer(200, document), 2), TryAgain)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_the_route_takes_no_batches(status: int) -> None:
    assert judge_batch(answer(status, {"detail": "x"}), 2) == NoBatches()


@pytest.mark.parametrize("status", [204, 301, 307, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    verdict = judge_single(answer(status, {"detail": "why"}), "x")

    assert isinstance(verdict, TryAgain)
    assert verdict.reason == f"{status} why"


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_cannot_pass_is_refused_with_the_servers_reason(status: int) -> None:
    refusal = answer(status, {"detail": [{"loc": ["body"], "msg": "bad"}]})

    assert judge_single(refusal, "x") == Refused(f'{status} [{{"loc": ["body"], "msg": "bad"}}]')


def test_a_refusal_in_another_language_is_somebody_elses() -> None:
    """A proxy that answers 400 to everything must not empty the spool."""
    page = Answer(400, {"content-type": "text/html"}, b"<h1>Bad Request</h1>")

    assert isinstance(judge_single(page, "x"), TryAgain)


@pytest.mark.parametrize("key", ["event_id", "_id"])
def test_an_echoed_event_is_delivered(key: str) -> None:
    assert judge_single(answer(200, {key: "x"}), "x") == Delivered()


@pytest.mark.parametrize("document", [b"", b"<html>", {}, [], {"event_id": "another"}, {"status": "ok"}])
def test_an_echo_of_something_else_is_not(document: Any) -> None:
    assert isinstance(judge_single(answer(200, document), "x"), TryAgain)


def test_a_conflict_is_noted() -> None:
    assert judge_single(answer(200, {"event_id": "x"}, event_outcome="conflict"), "x") == Delivered(conflicts=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("99999999", MAX_RETRY_AFTER_SECONDS),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": text}, NOW) == seconds


def test_long_reasons_are_cut_to_a_line() -> None:
    verdict = judge_single(Answer(503, {}, b"away\n" * 10_000), "x")

    assert isinstance(verdict, TryAgain)
    assert len(verdict.reason) < 600
    assert "\n" not in verdict.reason
