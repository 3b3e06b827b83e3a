"""Silences: which alerts are counted but not mailed for a while. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from madsci_event_server.errors import InvalidQuery, shown
from madsci_event_server.event import Event
from madsci_event_server.query import EventQuery, NameDirectory
from madsci_event_server.storage.alert_base import Alert, Silence

_OF_THE_ALERT: Final = ("alert_id", "rule")
_NOT_FILTERS: Final = ("order", "limit", "after")


@dataclass(frozen=True, slots=True)
class _Matcher:
    silence: Silence
    alert_id: str | None
    rule: str | None
    query: EventQuery | None
    """What the alert's last event must match; None: nothing more is asked."""

    def matches(self, alert: Alert, last_event: Event | None) -> bool:
        if self.alert_id is not None and alert.alert_id != self.alert_id:
            return False
        if self.rule is not None and alert.rule != self.rule:
            return False
        return self.query is None or (last_event is not None and self.query.matches(last_event))


class Silences:
    """The silences that hold at one moment."""

    def __init__(self, silences: Sequence[Silence], now: datetime, names: NameDirectory) -> None:
        self._matchers = [_matcher(silence, names) for silence in silences if silence.active(now)]

    def __bool__(self) -> bool:
        return bool(self._matchers)

    def matching(self, alert: Alert, last_event: Event | None) -> Silence | None:
        """The silence that keeps this alert from being mailed, of several the longest; None: none does."""
        found = [matcher.silence for matcher in self._matchers if matcher.matches(alert, last_event)]
        return max(found, key=lambda silence: silence.expires_at, default=None)


def checked_matcher(document: object) -> dict[str, Any]:
    """A matcher that has a meaning and leaves something out. Raises InvalidQuery."""
    if not isinstance(document, Mapping):
        raise InvalidQuery("matcher", 'must be an object of filters, such as {"node": "liquidhandler_1"}')
    if not document:
        raise InvalidQuery(
            "matcher", "is empty, which would silence the whole lab; name a node, rule, kind or alert_id"
        )
    for name in _OF_THE_ALERT:
        if name in document and not (isinstance(document[name], str) and document[name]):
            raise InvalidQuery(f"matcher.{name}", f"{shown(document[name])} is not text")
    if wrong := [name for name in _NOT_FILTERS if name in document]:
        raise InvalidQuery(f"matcher.{wrong[0]}", "has no meaning in a silence; leave it out")
    _query(document)
    return dict(document)


def _matcher(silence: Silence, names: NameDirectory) -> _Matcher:
    query = _query(silence.matcher)
    return _Matcher(
        silence,
        _text(silence.matcher.get("alert_id")),
        _text(silence.matcher.get("rule")),
        None if query is None else query.resolved(names),
    )


def _query(matcher: Mapping[str, object]) -> EventQuery | None:
    filters = {name: value for name, value in matcher.items() if name not in _OF_THE_ALERT}
    return EventQuery.parse({"include_archived": True, **filters}) if filters else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
