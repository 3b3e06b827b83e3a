"""EventQuery: which events, in what order, from where on. `matches` is its one meaning.

Every store, the live stream, alert rules and the dashboard answer exactly what `matches` decides; stores may use any
index to get there faster. Filters of different fields must all hold; of one field's values any, and none of those
that begin with `!`.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, tzinfo
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, Protocol, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from madsci_event_server.errors import CursorExpired, InvalidEvent, InvalidInput, InvalidQuery, shown
from madsci_event_server.event import (
    ID_FIELDS,
    Event,
    EventLogLevel,
    canonical_id,
    format_time,
    parse_event_type,
    parse_level,
    parse_time,
    time_to_us,
)
from madsci_event_server.patterns import compile_regex, glob_matches
from madsci_event_server.selector import Selector
from madsci_event_server.words import Search, parse_search

Order = Literal["time", "-time", "received", "-archived"]
"""By event time, oldest or newest first (ties: first received first, or last); by received order; by time of
archiving, newest first."""

MAX_LIMIT: Final = 10_000
DEFAULT_LIMIT: Final = 100
MAX_VALUES: Final = 1000
"""How many values one filter may have."""

_TIME_FIELDS: Final = ("since", "until", "start_time", "end_time")
_TERM_FIELDS: Final = ("kind", "event_type", *ID_FIELDS, "node", "name")
_PAGE_FIELDS: Final = {"order", "limit", "after"}
_LIST_FIELDS: Final = ("log_level", *_TERM_FIELDS)
_GLOB = re.compile(r"[a-z0-9_.*-]{1,128}")


class NameDirectory(Protocol):
    """Who knows which ids a human name stands for."""

    def ids_of(self, field: str, name: str) -> Collection[str]:
        """The canonical ids of this field (`node_id`) that were ever seen with this name."""


class Terms(NamedTuple):
    """One field's values, told apart: what must be met and what must not."""

    wanted: tuple[str, ...]
    excluded: tuple[str, ...]


class Cursor(NamedTuple):
    """A place in one store's order; `encode` is the opaque text clients pass back.

    Received order: `position` is a seq. Time order: `time_us` and the event's first seq. Archived order: the time of
    archiving in microseconds and the first seq. The page that follows begins right after that place.
    """

    store_id: str
    order: Literal["r", "t", "a"]
    position: int
    time_us: int = 0

    def encode(self) -> str:
        """URL- and header-safe text."""
        return f"{self.order}.{self.store_id}.{self.position}.{self.time_us}"

    @classmethod
    def decode(cls, text: str, *, store_id: str, order: Order) -> Self:
        """The place `text` stands for in this store and order.

        Raises CursorExpired for another store's cursor, InvalidQuery for text that is none or of another order.
        """
        found = _CURSOR.fullmatch(text)
        if found is None or int(found["position"]) >= _INT64 or abs(int(found["time"])) >= _INT64:
            raise InvalidQuery("after", f"{shown(text)} is not a cursor; pass one back unchanged", value=text)
        if found["store"] != store_id:
            raise CursorExpired("after: this cursor is of another store; start again without it")
        if found["order"] != cursor_letter(order):
            raise InvalidQuery("after", f"this cursor was made for another order than {order!r}", value=text)
        return cls(store_id, found["order"], int(found["position"]), int(found["time"]))


_CURSOR = re.compile(r"(?P<order>[rta])\.(?P<store>[0-9a-z]{1,32})\.(?P<position>[0-9]{1,19})\.(?P<time>-?[0-9]{1,19})")
_INT64: Final = 2**63
"""No store has a place beyond it."""


def cursor_letter(order: Order) -> Literal["r", "t", "a"]:
    """Which kind of place an order's cursors are."""
    if order == "received":
        return "r"
    return "a" if order == "-archived" else "t"


class EventQuery(BaseModel):
    """Filters, order and page. `parse` and `from_parameters` raise InvalidQuery for what has no meaning.

    Times without a zone are in the zone of the validation context (`{"zone": tzinfo}`; default: this machine's).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    level: int | None = None
    """Minimum level: a name, or any number."""
    log_level: tuple[EventLogLevel, ...] = ()
    """Exact levels."""
    kind: tuple[str, ...] = ()
    """What the event is about; `workflow_*` is a glob."""
    event_type: tuple[str, ...] = ()
    """The type as sent; globs too."""
    user_id: tuple[str, ...] = ()
    experiment_id: tuple[str, ...] = ()
    campaign_id: tuple[str, ...] = ()
    project_id: tuple[str, ...] = ()
    node_id: tuple[str, ...] = ()
    workcell_id: tuple[str, ...] = ()
    lab_id: tuple[str, ...] = ()
    step_id: tuple[str, ...] = ()
    workflow_id: tuple[str, ...] = ()
    manager_id: tuple[str, ...] = ()
    action_id: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    """A node by id or by name: of events that carry either."""
    name: tuple[str, ...] = ()
    source: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Values of any other key of `source`: text as it is, other JSON as compact JSON."""
    since: datetime | None = None
    """Event time at or after this ..."""
    until: datetime | None = None
    """... and before this."""
    start_time: datetime | None = None
    """MADSci's: at or after this ..."""
    end_time: datetime | None = None
    """... and at or before this."""
    search: str | None = None
    """Words that must all occur; `word*` is a prefix, `-word` excludes."""
    regex: str | None = None
    """RE2 pattern found anywhere in the message."""
    selector: dict[str, Any] | None = None
    """MongoDB's filter language, the subset `selector.py` names."""
    alert: bool | None = None
    include_archived: bool = False
    only_archived: bool = False
    order: Order = "-time"
    limit: int = DEFAULT_LIMIT
    after: str | None = None
    """A cursor: what follows that place in this order."""

    _zone: tzinfo | None = PrivateAttr(default=None)
    _node_ids: dict[str, frozenset[str]] = PrivateAttr(default_factory=dict)

    @classmethod
    def parse(cls, document: object, zone: tzinfo | None = None) -> Self:
        """The query a JSON document means. Raises InvalidQuery."""
        if not isinstance(document, Mapping):
            raise InvalidQuery("body", 'must be a JSON object of filters, such as {"level": "error"}')
        try:
            query = cls.model_validate(document, context={"zone": zone})
        except ValidationError as error:
            raise _as_invalid_query(error) from None
        query._zone = zone
        query._check_parts()
        return query

    @classmethod
    def from_parameters(
        cls, parameters: Iterable[tuple[str, str]], zone: tzinfo | None = None, *, others: Collection[str] = ()
    ) -> Self:
        """The query a query string means; `others` are parameters the caller reads itself.

        Raises InvalidQuery, also for a parameter that does not exist, with the nearest that does.
        """
        document: dict[str, Any] = {}
        for name, value in parameters:
            if name in others:
                continue
            if name.startswith("source.") and len(name) > len("source."):
                document.setdefault("source", {}).setdefault(name.removeprefix("source."), []).append(value)
            elif name in _LIST_FIELDS:
                document.setdefault(name, []).append(value)
            elif name in _PARAMETERS:
                if name in document:
                    raise InvalidQuery(name, "is given twice; give it once")
                document[name] = value
            else:
                raise InvalidQuery(name, _unknown_parameter(name, others), value=value)
        return cls.parse(document, zone)

    def parameters(self) -> list[tuple[str, str]]:
        """The query as a query string's pairs; a selector has no such form and raises InvalidQuery."""
        if self.selector is not None:
            raise InvalidQuery("selector", "cannot be part of a query string; send it to POST /events/search")
        found = []
        for name, value in self.model_dump(exclude_defaults=True).items():
            if name == "source":
                found += [(f"source.{key}", item) for key, items in value.items() for item in items]
            elif name in _LIST_FIELDS:
                found += [(name, _parameter_text(item)) for item in value]
            else:
                found.append((name, _parameter_text(value)))
        return found

    @field_validator("level", mode="before")
    @classmethod
    def _parse_minimum(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            return max(-1, min(value, 2**31))
        if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 10:
            return int(value)
        return None if value is None else int(_query_level(value, "level"))

    @field_validator("log_level", mode="before")
    @classmethod
    def _parse_levels(cls, value: object) -> object:
        wanted, excluded = [], set()
        for item in _as_list(value):
            if isinstance(item, str) and item.startswith("!"):
                excluded.add(_query_level(item[1:], "log_level"))
            else:
                wanted.append(_query_level(item, "log_level"))
        if not excluded:
            return tuple(wanted)
        left = tuple(level for level in wanted or EventLogLevel if level not in excluded)
        if not left:
            raise InvalidQuery("log_level", "leaves no level that could match; take a `!` away", value=value)
        return left

    @field_validator(*_TERM_FIELDS, mode="before")
    @classmethod
    def _parse_terms(cls, value: object, info: ValidationInfo) -> object:
        field = str(info.field_name)
        items = _as_list(value)
        if len(items) > MAX_VALUES:
            raise InvalidQuery(field, f"has {len(items)} values; at most {MAX_VALUES} in one query")
        return tuple(_parse_term(field, item) for item in items)

    @field_validator("source", mode="before")
    @classmethod
    def _parse_source(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise InvalidQuery("source", 'must be an object such as {"host": "bench-3"}', value=value)
        return {str(key): tuple(_parse_term(f"source.{key}", item) for item in _as_list(v)) for key, v in value.items()}

    @field_validator(*_TIME_FIELDS, mode="before")
    @classmethod
    def _parse_times(cls, value: object, info: ValidationInfo) -> object:
        if value is None:
            return None
        if isinstance(value, str):
            value = _PLUS_LOST.sub(r"\1+\2", value)
        zone = (info.context or {}).get("zone")
        try:
            return parse_time(value, zone, str(info.field_name))
        except InvalidEvent as error:
            raise InvalidQuery(error.field, error.problem, value=error.value) from None

    @model_validator(mode="after")
    def _check_page(self) -> Self:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise InvalidQuery("limit", f"{self.limit} is not between 1 and {MAX_LIMIT}; page with the cursor")
        if self.order == "-archived" and not self.only_archived:
            raise InvalidQuery("order", '"-archived" orders archived events only; add "only_archived": true')
        return self

    def _check_parts(self) -> None:
        """Parses what is parsed lazily, so that a bad search, pattern or selector is refused at once."""
        _ = self.parsed_search, self.parsed_regex, self.parsed_selector

    @cached_property
    def parsed_search(self) -> Search | None:
        """The `search` filter, parsed."""
        return None if self.search is None else parse_search(self.search)

    @cached_property
    def parsed_regex(self) -> Callable[[str], bool] | None:
        """The `regex` filter, compiled by RE2; linear in the text, whatever the pattern."""
        return None if self.regex is None else compile_regex(self.regex, "regex")

    @cached_property
    def parsed_selector(self) -> Selector | None:
        """The `selector` filter, parsed."""
        return None if self.selector is None else Selector.parse(self.selector, zone=self._zone)

    @cached_property
    def terms(self) -> dict[str, Terms]:
        """The values of each term filter in use (`source` keys as `source.KEY`), wanted and excluded apart."""
        found = {field: _split(values) for field in _TERM_FIELDS if (values := getattr(self, field))}
        found.update({f"source.{key}": _split(values) for key, values in self.source.items() if values})
        return found

    @cached_property
    def time_range_us(self) -> tuple[int | None, int | None]:
        """The half-open range of event time in microseconds since 1970 that all four bounds leave."""
        starts = [time_to_us(bound) for bound in (self.since, self.start_time) if bound is not None]
        ends = [time_to_us(self.until)] if self.until is not None else []
        if self.end_time is not None:
            ends.append(time_to_us(self.end_time) + 1)
        return (max(starts) if starts else None, min(ends) if ends else None)

    @cached_property
    def levels(self) -> tuple[EventLogLevel, ...]:
        """The levels that can match, lowest first: all six where no level filter is set."""
        wanted = self.log_level or tuple(EventLogLevel)
        return tuple(
            level for level in EventLogLevel if level in wanted and (self.level is None or level >= self.level)
        )

    def resolved(self, names: NameDirectory) -> Self:
        """The same query that also finds a `node` given by name through the ids that name was seen with."""
        if not self.node:
            return self
        query = self.model_copy()
        # A copy shares what was cached; nothing cached depends on the node ids.
        query._node_ids = {
            text: frozenset(names.ids_of("node_id", text)) for terms in _split(self.node) for text in terms
        }
        return query

    def node_ids(self, text: str) -> frozenset[str]:
        """The node ids a `node` value stands for: itself, and those of its name once `resolved`."""
        return self._node_ids.get(text, frozenset()) | {canonical_id(text)}

    @property
    def filters(self) -> dict[str, Any]:
        """The filters in use: equal for queries that mean the same events; empty where every listed event matches."""
        return self.model_dump(exclude_defaults=True, exclude=_PAGE_FIELDS)

    def page_after(self, after: str | None, limit: int | None = None) -> Self:
        """The same query for the page after a cursor."""
        return self.model_copy(update={"after": after} | ({} if limit is None else {"limit": limit}))

    def without_content(self) -> Self:
        """The same query without the filters that may have to read every event; more matches it."""
        query = self.model_copy(update={"search": None, "regex": None, "selector": None})
        for parsed in ("parsed_search", "parsed_regex", "parsed_selector"):
            query.__dict__.pop(parsed, None)  # a copy shares what was cached
        return query

    def matches(self, event: Event) -> bool:
        """Whether the filters hold for this event; order, limit and cursor don't matter."""
        return (
            self._matches_flags(event)
            and self._matches_time(event.event_timestamp)
            and all(self._matches_terms(field, terms, event) for field, terms in self.terms.items())
            and (self.parsed_search is None or self.parsed_search.matches(event.words))
            and (self.parsed_selector is None or self.parsed_selector.matches(event.document))
            and (self.parsed_regex is None or self.parsed_regex(event.message))
        )

    def _matches_flags(self, event: Event) -> bool:
        if event.archived:
            if not (self.include_archived or self.only_archived):
                return False
        elif self.only_archived:
            return False
        return event.log_level in self.levels and (self.alert is None or event.alert == self.alert)

    def _matches_time(self, moment: datetime) -> bool:
        return (
            (self.since is None or moment >= self.since)
            and (self.start_time is None or moment >= self.start_time)
            and (self.until is None or moment < self.until)
            and (self.end_time is None or moment <= self.end_time)
        )

    def _matches_terms(self, field: str, terms: Terms, event: Event) -> bool:
        if field == "node":
            return _any_or_none(
                terms, lambda text: event.name == text or event.ids.get("node_id") in self.node_ids(text)
            )
        value = _term_value(field, event)
        if field in ("kind", "event_type"):
            return _any_or_none(terms, lambda text: value is not None and glob_matches(text, value))
        return _any_or_none(terms, lambda text: value == text)


_PARAMETERS: Final = frozenset(EventQuery.model_fields) - {"selector", "source"}
_PLUS_LOST = re.compile(r"^(.*T.*\d) (\d\d:?\d\d)$")
"""`+02:00` in a query string arrives as ` 02:00` from whoever forgot to escape it."""


def _any_or_none(terms: Terms, meets: Callable[[str], bool]) -> bool:
    if terms.wanted and not any(meets(text) for text in terms.wanted):
        return False
    return not any(meets(text) for text in terms.excluded)


def _term_value(field: str, event: Event) -> str | None:
    if field == "kind":
        return event.kind
    if field == "event_type":
        return event.event_type
    if field == "name":
        return event.name
    if field.startswith("source."):
        return event.source_value(field.removeprefix("source."))
    return event.ids.get(field)


def _split(values: Iterable[str]) -> Terms:
    values = tuple(values)
    return Terms(
        tuple(value for value in values if not value.startswith("!")),
        tuple(value[1:] for value in values if value.startswith("!")),
    )


def _parse_term(field: str, value: object) -> str:
    if not isinstance(value, str) or not value.removeprefix("!"):
        raise InvalidQuery(field, f"{shown(value)} is not a value to look for; give text", value=value)
    negation, text = ("!", value[1:]) if value.startswith("!") else ("", value)
    if field in ("kind", "event_type"):
        return negation + _parse_type_term(field, text)
    if field in ("node", "name"):
        return value
    return negation + canonical_id(text)


def _parse_type_term(field: str, text: str) -> str:
    text = text.lower()
    if "*" not in text:
        try:
            return parse_event_type(text, field)
        except InvalidEvent as error:
            raise InvalidQuery(field, error.problem, value=text) from None
    if not _GLOB.fullmatch(text):
        raise InvalidQuery(field, f"{shown(text)} is not a type or a glob such as workflow_*", value=text)
    return text


def _query_level(value: object, field: str) -> EventLogLevel:
    try:
        return parse_level(value, field)
    except InvalidEvent as error:
        raise InvalidQuery(field, error.problem, value=value) from None


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]


def _parameter_text(value: object) -> str:
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, EventLogLevel):
        return value.name.lower()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unknown_parameter(name: str, others: Collection[str]) -> str:
    if name == "selector":
        return "is not a parameter here; send the whole selector as the JSON body of POST /events/query"
    # As long as a name can be: comparing takes time quadratic in what a stranger sent.
    near = difflib.get_close_matches(name[:64], [*_PARAMETERS, *others], n=1)
    hint = f"did you mean {near[0]}?" if near else "see /docs for those there are"
    return f"is not a parameter of this route; {hint}"


def _as_invalid_query(error: ValidationError) -> InvalidInput:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return InvalidQuery(field, _unknown_parameter(field, ("source",)), value=first["input"])
    return InvalidQuery(
        field, f"{shown(first['input'])}: {first['msg'][:1].lower()}{first['msg'][1:]}", value=first["input"]
    )
