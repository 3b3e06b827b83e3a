"""EventLogHandler: whatever Python's `logging` is told becomes events."""

import logging
from typing import Any, Final

from madsci_event_cli.client import EventClient
from madsci_event_cli.sending.delivery import is_sending
from madsci_event_cli.sending.jsonable import put, text_of
from madsci_event_cli.sending.outgoing import level_number

_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; anything else came in as `extra`."""


class EventLogHandler(logging.Handler):
    """A `logging` handler whose records are sent as events.

    Give it an EventClient, or the arguments to make one. `extra` joins `event_data`, where `event_type` and `alert`
    mean what they say; `exc_info` and `stack_info` travel as text. A custom level is the nearest of the six below it;
    its own name and number stay in `event_data`. What the sending itself logs is left out.
    """

    def __init__(self, client: EventClient | None = None, level: int | str = logging.NOTSET, **settings: Any) -> None:
        super().__init__(level)
        # The handler's level and its loggers' decide; the client's would decide a second time.
        arguments: dict[str, Any] = {"name": "logging", "log_level": logging.NOTSET} | settings
        self._client = client or EventClient(**arguments)

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises and never waits, as `EventClient.log`."""
        if is_sending() or record.name == "madsci_event_cli":
            return
        keywords = _keywords(record)
        self._client.emit(_message(record), record.levelno, keywords.pop("alert", None) is True, keywords)

    def close(self) -> None:
        """Closes the client, if it made it itself; see `EventClient.close`."""
        super().close()
        self._client.close()


def _message(record: logging.LogRecord) -> str:
    """The text with its arguments; where they do not fit together, both as they are."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - formatting runs the arguments' own code; a bad log call must not stop the lab's
        return f"{text_of(record.msg)} {text_of(record.args)}"


def _keywords(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = {
        "logger": record.name,
        "module": record.module,
        "function": record.funcName,
        "line": record.lineno,
    }
    if record.levelno != level_number(record.levelno) or record.levelno == 0:
        found |= {"level_name": record.levelname, "level_number": record.levelno}
    for name, value in vars(record).items():
        if name not in _OF_EVERY_RECORD:
            put(found, name, value)
    if record.exc_info:
        found["exc_info"] = record.exc_info
    if record.stack_info:
        put(found, "stack", record.stack_info)
    return found
