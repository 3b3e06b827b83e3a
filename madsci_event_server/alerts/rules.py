"""Rules: which events deserve an alert, and which events say the same thing. Pure."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Protocol

from madsci_event_server.alerts.config import DEFAULT_RULE, FORCED_RULE, AlertRule
from madsci_event_server.event import Event, EventLogLevel
from madsci_event_server.query import EventQuery, NameDirectory

_PATTERN_CHARACTERS: Final = 300
_MASKED: Final = re.compile(
    r"""
    (?P<id>   \b[0-7][0-9A-HJKMNP-TV-Z]{25}\b                                   # a ULID
          |   \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b   # a UUID
          |   \b0x[0-9a-f]+\b
          |   \b(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{12,}\b )                   # any long hexadecimal
  | (?P<place> \b[a-z]\d{1,3}\b )                                           # a well: A1, H12
  | (?P<number> (?: (?<!\w)[-+] )? \d+ (?:[.,:]\d+)* (?:e[-+]?\d+)? )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LEVEL: Final = b'"log_level":'
_HEAD_BYTES: Final = len(b'"log_level":20,"alert":f')
"""Enough to tell every level, and the flag."""
_OTHER_PATTERN: Final = "(other messages)"


@dataclass(frozen=True)
class Topic:
    """What an alert is about: events of one topic share one alert."""

    rule: str
    kind: str
    source: str
    pattern: str

    @cached_property
    def key(self) -> str:
        """A digest of all four."""
        parts = "\0".join(part.replace("\0", "␀") for part in (self.rule, self.kind, self.source, self.pattern))
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def at_large(self) -> "Topic":
        """The topic that takes in the messages of this kind and source once there are too many to tell apart."""
        return _topic(self.rule, self.kind, self.source, _OTHER_PATTERN)


class Subject(Protocol):
    """What an event is about, as Event says it."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def ids(self) -> Mapping[str, str]: ...
    @property
    def message(self) -> str: ...
    def source_value(self, key: str) -> str | None: ...


class RuleBook:
    """The default rule, the further ones, and the flag that forces an alert."""

    def __init__(self, alert_level: EventLogLevel, rules: Sequence[AlertRule], recipients: Sequence[str]) -> None:
        default = AlertRule(name=DEFAULT_RULE, query=EventQuery(level=int(alert_level)))
        self._rules = {rule.name: _unless_archived(rule) for rule in (*rules, default)}
        *self._further, self._default = self._rules.values()
        self._recipients = tuple(recipients)
        self.by_level_only = not self._further
        """Whether there is no rule but the default one, so that `judge_level` is all there is to judge."""

    def judge(self, event: Event, names: NameDirectory | None = None) -> list[str]:
        """The names of the rules that give this event an alert; usually none.

        A rule that matches and has its own recipients takes the event from the default rule. A flagged event that no
        rule matches has an alert all the same.
        """
        further = [rule.name for rule in self._further if self._matches(rule, event, names)]
        return further or self.judge_level(event.log_level, forced=event.alert)

    def judge_level(self, level: EventLogLevel, *, forced: bool) -> list[str]:
        """What `judge` answers where no further rule matches; `forced`: the event has the flag."""
        if level in self._default.query.levels:
            return [DEFAULT_RULE]
        return [FORCED_RULE] if forced else []

    def recipients(self, rule: str) -> tuple[str, ...]:
        """Who is told of this rule's alerts; of one that is no longer there, those of the default rule."""
        known = self._rules.get(rule)
        return known.recipients if known is not None and known.recipients else self._recipients

    def guidance(self, rule: str) -> str | None:
        """What to do about this rule's alerts, if the rule says."""
        known = self._rules.get(rule)
        return None if known is None else known.guidance

    @cached_property
    def everybody(self) -> tuple[str, ...]:
        """All who can be told of anything."""
        return tuple(dict.fromkeys([*self._recipients, *(a for rule in self._rules.values() for a in rule.recipients)]))

    def can_skip(self, body: bytes) -> bool:
        """Whether an event with these bytes surely matches no rule: decided without parsing it."""
        # The first such name is the level's: in the texts before it quotes are escaped.
        start = body.find(_LEVEL)
        return body[start : start + _HEAD_BYTES] in self._heads_of_no_rule

    @cached_property
    def _heads_of_no_rule(self) -> frozenset[bytes]:
        """Level and flag, as `Event.encode` begins to write them, of events that no rule matches."""
        levels = {level for rule in self._rules.values() for level in rule.query.levels}
        return frozenset(
            (b'"log_level":%d,"alert":false' % level)[:_HEAD_BYTES] for level in EventLogLevel if level not in levels
        )

    def _matches(self, rule: AlertRule, event: Event, names: NameDirectory | None) -> bool:
        query = rule.query.resolved(names) if names is not None else rule.query
        return query.matches(event)


def topic(rule: str, event: Subject) -> Topic:
    """What this event says: rule, kind, source, and the message with numbers and ids masked."""
    return _topic(rule, event.kind, source_of(event), mask(event.message))


def source_of(event: Subject) -> str:
    """Human name of what the event is about, else the id of its node, manager or whatever it carries, else empty."""
    if (name := event.name) is not None:
        return name
    ids = event.ids
    for field in ("node_id", "workcell_id", "manager_id", "workflow_id", "experiment_id", "user_id", "lab_id"):
        if (value := ids.get(field)) is not None:
            return value
    return event.source_value("host") or ""


def _topic(rule: str, kind: str, source: str, pattern: str) -> Topic:
    # A name may be as long as an event: such are not kept.
    return (_known_topic if len(source) <= _PATTERN_CHARACTERS else Topic)(rule, kind, source, pattern)


@lru_cache(maxsize=1024)
def _known_topic(rule: str, kind: str, source: str, pattern: str) -> Topic:
    """The topic, always the same one, so that its key is worked out once."""
    return Topic(rule, kind, source, pattern)


def mask(message: str) -> str:
    """The message without what differs from one occurrence to the next: `tip 7 of 96` is `tip # of #`."""
    return _masked(message[: 4 * _PATTERN_CHARACTERS])


@lru_cache(maxsize=256)
def _masked(beginning: str) -> str:
    masked = _MASKED.sub(lambda found: "<id>" if found["id"] else "#", beginning)
    return " ".join(masked.split())[:_PATTERN_CHARACTERS]


def _unless_archived(rule: AlertRule) -> AlertRule:
    """The rule for events as they come: whether one was archived before it was read is no reason for silence."""
    if rule.query.only_archived:
        return rule
    return rule.model_copy(update={"query": rule.query.model_copy(update={"include_archived": True})})
