"""EventClient: what a node's author puts in her code. MADSci's interface; nothing it is told is lost.

A log call builds the event, writes it to the spool and returns: it never raises, and never waits for the network.
Reading asks the server, and does raise.
"""

import asyncio
import logging
import os
import sys
import threading
import warnings
from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Never, Self, TypeVar

from madsci_event_cli.sending.jsonable import text_of
from madsci_event_cli.sending.outgoing import (
    Outgoing,
    as_whole_event,
    bound_context,
    event_in,
    host_name,
    is_ulid,
    level_number,
    source_ids,
)
from madsci_event_server.errors import InvalidInput, NotOffered, shown

if TYPE_CHECKING:
    from madsci_event_cli.reader import EventReader
    from madsci_event_cli.sending.delivery import Pace
    from madsci_event_cli.sending.outbox import DeliveryStatus, Limits, Outbox
    from madsci_event_server.event import Event

logger = logging.getLogger("madsci_event_cli")

DEFAULT_SERVER: Final = "http://localhost:8001"
FLUSH_SECONDS: Final = 10.0
READ_AFTER_SECONDS: Final = 2.0
"""How long reading waits for what was just logged to arrive, so that one reads what one wrote."""

_MADSCI_ONLY: Final = frozenset(
    {"log_dir", "fail_on_error", "log_compression_enabled", "log_output_format", "log_backup_count", "log_max_bytes"}
)
_MADSCI_PREFIXES: Final = ("otel_", "retry_", "timeout_", "pool_", "rate_limit_", "log_rotation_")
_T = TypeVar("_T")


class EventClient:
    """Logs events to an event server, and reads them back.

    `event_server`: its address; default EVENT_SERVER_URL, then http://localhost:8001. `name`: who is speaking; default
    the calling module. `source`: MADSci's ids of what the events concern (ULIDs), and anything else that belongs on
    every event. `log_level`: less than this is not sent. `config`: MADSci's EventClientConfig, whose settings of the
    same names count where no argument says otherwise.

    Raises InvalidInput for an address or an id that cannot be used. After that no log call raises or waits: each
    returns the event's id once the event survives this process, None where its level is too low or there is no room.
    """

    def __init__(
        self,
        config: Any = None,
        *,
        event_server: str | None = None,
        name: str | None = None,
        source: Any = None,
        log_level: Any = None,
        spool_directory: str | os.PathLike[str] | None = None,
        limits: "Limits | None" = None,
        pace: "Pace | None" = None,
        **madsci_settings: Any,
    ) -> None:
        address = (
            event_server or madsci_settings.pop("event_server_url", None) or getattr(config, "event_server_url", None)
        )
        _check_settings(madsci_settings)
        self.name = str(name or getattr(config, "name", None) or _calling_module())
        self.event_server = _base_address(str(address or os.environ.get("EVENT_SERVER_URL") or DEFAULT_SERVER))
        self.log_level = level_number(_first_given(log_level, getattr(config, "log_level", None), 20))
        self.source = _checked_source(_first_given(source, getattr(config, "source", None), {}))
        self._outgoing = Outgoing({"name": self.name, "host": host_name(), **self.source})
        self._bound: dict[str, Any] = {}
        self._outbox = self._find_outbox(spool_directory, limits, pace)
        self._outbox.join(self)
        self._outbox.look_for_dead()

    # --- logging ---

    def log(
        self,
        event: Any,
        /,
        level: Any = None,
        alert: bool | None = None,
        warning_category: type[Warning] | None = None,
        **keywords: Any,
    ) -> str | None:
        """Logs anything: an Event, a dict, an exception (ERROR unless told otherwise), a text, any value.

        An Event (or its dict, or the JSON of one) is sent as it is, but for the level or alert given here. MADSci's
        `warning_category` also warns through Python's `warnings`.
        """
        whole = event_in(event) if isinstance(event, str) else None
        event_id = self.emit(event if whole is None else whole, level, alert, keywords)
        if warning_category is not None:
            warnings.warn(text_of(event), category=warning_category, stacklevel=2)
        return event_id

    def debug(self, message: Any, /, **keywords: Any) -> str | None:
        """Logs at DEBUG. Keywords join `event_data`; `event_type`, `alert` and `exc_info` mean what they say."""
        return self.emit(message, 10, None, keywords)

    def info(self, message: Any, /, **keywords: Any) -> str | None:
        """Logs at INFO; see `debug`."""
        return self.emit(message, 20, None, keywords)

    def warning(self, message: Any, /, **keywords: Any) -> str | None:
        """Logs at WARNING; see `debug`."""
        return self.emit(message, 30, None, keywords)

    def error(self, message: Any, /, **keywords: Any) -> str | None:
        """Logs at ERROR; see `debug`."""
        return self.emit(message, 40, None, keywords)

    def critical(self, message: Any, /, **keywords: Any) -> str | None:
        """Logs at CRITICAL; see `debug`."""
        return self.emit(message, 50, None, keywords)

    def exception(self, message: Any, /, **keywords: Any) -> str | None:
        """Logs at ERROR with the exception being handled and its whole traceback."""
        return self.emit(message, 40, None, {"exc_info": True, **keywords})

    def alert(self, event: Any, /, **keywords: Any) -> str | None:
        """Logs one event that forces an alert: at CRITICAL, an Event at its own level. No level is too low for it."""
        level = None if as_whole_event(event) is not None else 50
        return self.emit(event, level, True, keywords)

    log_debug = debug
    log_info = info
    log_error = error
    log_critical = critical
    log_alert = alert

    def log_warning(self, event: Any, /, warning_category: type[Warning] | None = None, **keywords: Any) -> str | None:
        """Logs at WARNING; with a category also through Python's `warnings`."""
        event_id = self.emit(event, 30, None, keywords)
        if warning_category is not None:
            warnings.warn(text_of(event), category=warning_category, stacklevel=2)
        return event_id

    warn = log_warning

    def emit(
        self, logged: Any, level: Any = None, alert: bool | None = None, keywords: dict[str, Any] | None = None
    ) -> str | None:
        """What every log call comes to: the same with its keywords as a dict, of any names."""
        try:
            event = self._event(logged, level, alert, dict(keywords or {}))
            if event["log_level"] < self.log_level and not event["alert"]:
                return None
            return str(event["event_id"]) if self._outbox.emit(event) else None
        except Exception:  # the lab's code must not stop because its logging has a bug
            logger.exception("an event could not be logged: %s", text_of(logged)[:1000])
            return None

    # --- context ---

    def bind(self, **context: Any) -> Self:
        """A client whose events carry these keys too. It lives on whatever becomes of this one."""
        return self._with_context({**self._bound, **context})

    def unbind(self, *keys: str) -> Self:
        """A client whose events no longer carry these keys."""
        return self._with_context({key: value for key, value in self._bound.items() if key not in keys})

    @staticmethod
    def context(**context: Any) -> AbstractContextManager[None]:
        """`with EventClient.context(workflow_id=...)`: all that this thread or task logs inside carries these keys.

        By whichever client or EventLogHandler; a task or `asyncio.to_thread` started inside takes them along.
        """
        return bound_context(**context)

    # --- delivery ---

    def flush(self, timeout: float = FLUSH_SECONDS) -> bool:
        """Waits until the server has all that this process logged before; False where it has not in this time."""
        return self._outbox.flush(timeout, patient=True)

    def status(self) -> "DeliveryStatus":
        """What became of this process's events so far."""
        return self._outbox.status()

    def close(self, timeout: float | None = None) -> None:
        """Gives what waits a moment to be delivered, none where the server is away. What is left waits on disk.

        Clients bound from this one, and this one, can go on logging.
        """
        self._outbox.leave(self, timeout)

    async def aclose(self, timeout: float | None = None) -> None:
        """`close`, without holding up the event loop."""
        await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    # --- reading ---

    def get_event(self, event_id: str, timeout: float | None = None) -> "Event":
        """The event of this id. Raises NotFound."""
        return _wait_for(self.async_get_event(event_id, timeout))

    def get_events(self, number: int = 100, level: Any = -1, timeout: float | None = None) -> "dict[str, Event]":
        """The newest events by id, the newest first; `level` is the lowest wanted, -1 is all. Raises ServerError."""
        return _wait_for(self.async_get_events(number, level, timeout))

    def query_events(self, selector: Mapping[str, Any], timeout: float | None = None) -> "dict[str, Event]":
        """All events a MongoDB-shaped selector matches, by id, the newest first. Raises ServerError."""
        return _wait_for(self.async_query_events(selector, timeout))

    async def async_get_event(self, event_id: str, timeout: float | None = None) -> "Event":
        """See `get_event`."""
        async with await self._reader(timeout) as reader:
            return _event(await reader.get(event_id))

    async def async_get_events(
        self,
        number: int = 100,
        level: Any = -1,
        timeout: float | None = None,
    ) -> "dict[str, Event]":
        """See `get_events`."""
        async with await self._reader(timeout) as reader:
            return _events(await reader.newest(number, 0 if level == -1 else level_number(level)))

    async def async_query_events(
        self,
        selector: Mapping[str, Any],
        timeout: float | None = None,
    ) -> "dict[str, Event]":
        """See `query_events`."""
        async with await self._reader(timeout) as reader:
            return _events(await reader.select(selector))

    def archive_events(
        self,
        before_date: str | datetime | None = None,
        event_ids: list[str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Archives these events, or all before a time: `{"archived_count": n}`. Raises ServerError."""
        return _wait_for(self._archive(before_date, event_ids, timeout))

    def purge_events(self, older_than_days: int = 30, timeout: float | None = None) -> dict[str, Any]:
        """Deletes for good what was archived that long ago: `{"deleted_count": n}`. Raises ServerError."""
        return _wait_for(self._purge(older_than_days, timeout))

    async def _archive(
        self,
        before: str | datetime | None,
        ids: list[str] | None,
        timeout: float | None,
    ) -> dict[str, Any]:
        moment = datetime.fromisoformat(before) if isinstance(before, str) else before
        async with await self._reader(timeout) as reader:
            return {"archived_count": await reader.archive(ids=ids, before=moment)}

    async def _purge(self, older_than_days: int, timeout: float | None) -> dict[str, Any]:
        async with await self._reader(timeout) as reader:
            return {"deleted_count": await reader.purge(older_than_days)}

    # --- what MADSci has and this server does not ---

    def create_backup(self, *_: Any, **__: Any) -> Never:
        """Raises NotOffered."""
        raise NotOffered("the event server makes no backups; `madsci-events store copy FROM TO` copies its store")

    get_backup_status = create_backup

    def get_utilization_periods(self, *_: Any, **__: Any) -> Never:
        """Raises NotOffered."""
        raise NotOffered("the event server computes no utilization; ask `madsci-events stats`, or query the events")

    get_session_utilization = get_user_utilization_report = get_utilization_periods

    def get_log(self) -> Never:
        """Raises NotOffered."""
        raise NotOffered("there is no log file to read: events are with the server (`get_events`) or in the spool")

    # --- inside ---

    def _find_outbox(
        self, directory: str | os.PathLike[str] | None, limits: "Limits | None", pace: "Pace | None"
    ) -> "Outbox":
        # Here, for they load httpx, which who only imports this module need not wait for.
        from madsci_event_cli.sending.delivery import Pace
        from madsci_event_cli.sending.outbox import Limits, outbox_for
        from madsci_event_cli.sending.spool import default_root

        root = directory or os.environ.get("EVENT_CLIENT_SPOOL_DIR")
        return outbox_for(
            self.event_server,
            Path(root).absolute() if root else default_root(),
            self._outgoing,
            limits or Limits(),
            pace or Pace(),
        )

    def _with_context(self, context: dict[str, Any]) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._bound = context
        self._outbox.join(other)
        return other

    def _event(self, logged: Any, level: Any, alert: bool | None, keywords: dict[str, Any]) -> dict[str, Any]:
        if alert is None and isinstance(keywords.get("alert"), bool):
            alert = keywords.pop("alert")
        if (whole := as_whole_event(logged)) is not None:
            number = None if level is None else level_number(level)
            event = self._outgoing.whole(whole, number, self._bound, keywords)
            event["log_level"] = level_number(event.get("log_level", 20))
            event["alert"] = bool(event.get("alert")) if alert is None else alert
            return event
        if level is None:
            level = 40 if isinstance(logged, BaseException) else 20
        return self._outgoing.event(logged, level_number(level), self._bound, keywords, alert=bool(alert))

    async def _reader(self, timeout: float | None) -> "EventReader":
        import httpx

        from madsci_event_cli.reader import EventReader

        if self._outbox.status().pending:
            await asyncio.to_thread(self._outbox.flush, READ_AFTER_SECONDS, patient=False)
        if timeout is None:
            return EventReader(self.event_server)
        return EventReader(self.event_server, timeout=httpx.Timeout(timeout))


def _first_given(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _calling_module() -> str:
    """The name of the module that made the client; of a script its file's."""
    frame = sys._getframe(2)
    module = frame.f_globals.get("__name__", "python")
    file = frame.f_globals.get("__file__")
    return Path(file).stem if module == "__main__" and file else str(module)


def _check_settings(settings: dict[str, Any]) -> None:
    for name in settings:
        if name not in _MADSCI_ONLY and not name.startswith(_MADSCI_PREFIXES):
            raise TypeError(
                f"EventClient() has no setting {name!r}; it has event_server, name, source, log_level, "
                "spool_directory, limits and pace"
            )
        logger.debug("%s is a setting of MADSci's client that means nothing here", name)


def _base_address(address: str) -> str:
    """`http://HOST:PORT` without a slash at its end. Raises InvalidInput."""
    from madsci_event_cli.connection import base_url

    return base_url(address).rstrip("/")


def _checked_source(source: Any) -> dict[str, Any]:
    if callable(getattr(source, "model_dump", None)):
        source = source.model_dump(mode="json")
    if not isinstance(source, Mapping):
        raise InvalidInput("source", 'must be an object such as {"node_id": "01J..."}', value=source)
    found = {name: value for name, value in source.items() if value is not None}
    for name, value in source_ids(found).items():
        if not is_ulid(str(value)):
            raise InvalidInput(
                f"source.{name}",
                f"{shown(value)} is not a ULID (26 letters and digits); pass a human name as name=",
                value=value,
            )
        found[name] = str(value)
    return found


def _event(content: bytes) -> "Event":
    import json

    return _as_event(json.loads(content))


def _events(found: dict[str, Any]) -> "dict[str, Event]":
    return {event_id: _as_event(document) for event_id, document in found.items()}


def _as_event(document: dict[str, Any]) -> "Event":
    from madsci_event_server.event import Event

    as_sent = document.pop("event_type_as_sent", None)
    return Event.model_validate(document if as_sent is None else {**document, "event_type": as_sent})


def _wait_for(work: Coroutine[Any, Any, _T]) -> _T:
    """The result, also from inside an event loop such as a notebook's, where `asyncio.run` may not be called."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _in_thread(work)


def _in_thread(work: Coroutine[Any, Any, _T]) -> _T:
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((asyncio.run(work), None))
        except BaseException as error:  # noqa: BLE001 - raised again, in the thread that waits
            outcome.append((None, error))

    thread = threading.Thread(target=run, name="madsci-events reading")
    thread.start()
    thread.join()
    result, error = outcome[0]
    if error is not None:
        raise error
    found: _T = result
    return found
