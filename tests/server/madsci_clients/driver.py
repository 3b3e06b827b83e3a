"""Runs inside the environment of MADSci's client: does what it reads on stdin, one JSON object a line, and answers so.

    {"client": {...}}                      make an EventClient with these keywords
    {"event": NAME, "fields": {...}}       make an Event, to be used under that name
    {"call": METHOD, "args": [...], "kwargs": {...}}   call the client; {"$event": NAME} is the event of that name
    {"run": SOURCE}                        run a program, such as the one in MADSci's README

The answer is `{"answer": ...}` or `{"error": TYPE, "text": ..., "status": HTTP status or null}`, both with `"lost"`:
what the client's own threads said about events they could not deliver. It comes when those threads have ended. Written
for what both generations of MADSci have in common; imports nothing of ours.
"""

import asyncio
import inspect
import json
import logging
import os
import sys
import threading
from typing import Any

lost: list[str] = []


class KeepErrors(logging.Handler):
    """MADSci 0.8's client logs what it could not send, and goes on."""

    def emit(self, record: logging.LogRecord) -> None:
        reason = record.exc_info[1] if record.exc_info else ""
        lost.append(f"{record.getMessage()}: {reason}")


def keep_thread_error(failed: threading.ExceptHookArgs) -> None:
    """MADSci 0.3's client lets its sending thread die of it."""
    lost.append(f"{failed.exc_type.__name__}: {failed.exc_value}")


class Driver:
    def __init__(self) -> None:
        self.client: Any = None
        self.events: dict[str, Any] = {}
        self.loop = asyncio.Runner()
        """One for all calls: the client keeps its asynchronous connections."""

    def obey(self, order: dict[str, Any]) -> Any:
        if "client" in order:
            return self.make_client(order["client"])
        if "event" in order:
            return self.make_event(order["event"], order["fields"])
        if "run" in order:
            exec(compile(order["run"], "README", "exec"), {"__name__": "readme"})  # noqa: S102  MADSci's own README
            return None
        return self.call(order["call"], order["args"], order["kwargs"])

    def make_client(self, keywords: dict[str, Any]) -> str:
        from madsci.client.event_client import EventClient

        self.client = EventClient(**keywords)
        errors = KeepErrors(logging.ERROR)
        self.client.logger.addFilter(lambda record: keep_failure_to_send(record, errors))
        return str(self.client.event_server)

    def make_event(self, name: str, fields: dict[str, Any]) -> Any:
        from madsci.common.types.event_types import Event

        self.events[name] = Event(**fields)
        return self.events[name]

    def call(self, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if method == "bind":
            self.client = self.client.bind(**kwargs)
            return None
        called = getattr(self.client, method)(*map(self.meant, args), **kwargs)
        return self.loop.run(called) if inspect.iscoroutine(called) else called

    def meant(self, argument: Any) -> Any:
        if isinstance(argument, dict) and "$event" in argument:
            return self.events[argument["$event"]]
        return argument


def keep_failure_to_send(record: logging.LogRecord, errors: KeepErrors) -> bool:
    """As a filter, because the client replaces its logger's handlers."""
    if record.getMessage().startswith("Failed to send event"):
        errors.emit(record)
    return True


def until_sent() -> None:
    """Every event is sent by a thread of its own; wait for all."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def as_json(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)


def outcome(driver: Driver, line: str) -> dict[str, Any]:
    try:
        answer = {"answer": driver.obey(json.loads(line))}
    except Exception as error:  # noqa: BLE001  whatever MADSci raises is what the test wants to see
        response = getattr(error, "response", None)
        answer = {
            "error": type(error).__name__,
            "status": getattr(response, "status_code", None),
            "text": getattr(response, "text", None) or str(error),
        }
    until_sent()
    return {**answer, "lost": lost[:]}


def main() -> None:
    # The clients print events on stdout: answers get a stream of their own, and that becomes stderr.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.excepthook = keep_thread_error
    driver = Driver()
    for line in sys.stdin:
        lost.clear()
        answers.write(json.dumps(outcome(driver, line), default=as_json) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
