"""What a lab's own code imports: `from madsci_event_cli import EventClient, EventLogHandler, Event`, and their enums.

Each name is loaded when it is first asked for, so that `madsci-events --help` does not pay for the event model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from madsci_event_cli.client import EventClient
    from madsci_event_cli.log_handler import EventLogHandler
    from madsci_event_server.event import Event, EventLogLevel, EventType

__all__ = ["Event", "EventClient", "EventLogHandler", "EventLogLevel", "EventType"]

_HOMES = {
    "Event": "madsci_event_server.event",
    "EventClient": "madsci_event_cli.client",
    "EventLogHandler": "madsci_event_cli.log_handler",
    "EventLogLevel": "madsci_event_server.event",
    "EventType": "madsci_event_server.event",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
