"""Events and queries for tests: readable ones by hand, and any at all by hypothesis.

The generated ones draw from few ids, words and instants, so that queries and events meet.
"""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from hypothesis import strategies as st

from madsci_event_server.event import Event, new_event_id
from madsci_event_server.query import EventQuery
from madsci_event_server.vocabulary import SOURCE_ID_FIELDS

NOON: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
"""When the events of `an_event` begin, each a second after the one before."""

NODES: Final = ("01M84VMC3N1SG08XM8G777QGT5", "01M84VMC3N1SG08XM8G777QGT6", "01M84VMC3N1SG08XM8G777QGT7")
WORKFLOW: Final = "01M84WF0000000000000000001"

_seconds = count()


def an_event(message: str | None = None, *, at: datetime | None = None, **fields: Any) -> Event:
    """An event as the server has taken it: `an_event("Tip lost", level="error", node_id=NODES[0], well="A1")`.

    `level`, `type`, `id`, `alert` and the names of Event's fields are the event's; MADSci's ids and `name` go into
    `source`; everything else into `event_data`. Without a time it is a second later than the one made before it.
    """
    moment = at or NOON + timedelta(seconds=next(_seconds))
    document: dict[str, Any] = {"event_id": new_event_id(), "event_timestamp": moment}
    source: dict[str, Any] = dict(fields.pop("source", {}))
    data: dict[str, Any] = {} if message is None else {"message": message}
    for name, value in fields.items():
        if name in _EVENT_FIELDS:
            document[_EVENT_FIELDS[name]] = value
        elif name in SOURCE_ID_FIELDS or name == "name":
            source[name] = value
        else:
            data[name] = value
    document["source"] = source
    if isinstance(document.setdefault("event_data", data), dict):
        document["event_data"] = data | document["event_data"]
    return received(Event.sent(document, UTC), moment)


def one_of_many(number: int, **fields: Any) -> Event:
    """One of any number of events among which there is some of everything."""
    return an_event(
        level=("info", "error")[number % 7 == 0],
        node_id=NODES[number % 3],
        name=("arm", "leg")[number % 2],
        type=("workflow_start", "log_info")[number % 2],
        workflow_id=WORKFLOW,
        alert=number % 11 == 0,
        source={"host": "bench"},
        **fields,
    )


def received(event: Event, at: datetime = NOON) -> Event:
    """The event with the server's stamp."""
    return event.changed(received_at=at)


def a_query(**filters: Any) -> EventQuery:
    """A query as `POST /events/search` reads it; times without a zone are UTC."""
    return EventQuery.parse(filters, UTC)


_EVENT_FIELDS: Final = {name: name for name in Event.model_fields if name != "source"} | {
    "level": "log_level",
    "type": "event_type",
    "id": "event_id",
}

SERVED_BY_AN_INDEX: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"level": "error"},
    {"log_level": ["info"]},
    {"kind": ["workflow_start"]},
    {"kind": ["workflow_*"]},
    {"event_type": ["log_info"]},
    {"node_id": [NODES[0]]},
    {"workflow_id": [WORKFLOW]},
    {"node": ["arm"]},
    {"source": {"host": ["bench"]}},
    {"alert": True},
    {"search": "zirconium"},
    {"selector": {"source.node_id": NODES[0]}},
)
"""Filters of which each finds some `one_of_many`, and which every store finds along an index."""

# --- Any event ---

_WORDS: Final = ("tip", "pickup", "Plate", "straße", "STRASSE", "été", "A1", "10", "ﬁlter", "İ", "workflow_start")
_NAMES: Final = ("liquidhandler_1", "arm", "node.arm", "Lab – Süd", "")
_TYPES: Final = ("log", "log_info", "log_error", "workflow_start", "workflow_complete", "x.y-z", "unknown")
_INSTANTS: Final = (
    NOON,
    NOON,
    NOON + timedelta(microseconds=1),
    NOON + timedelta(seconds=61),
    datetime(1969, 7, 20, tzinfo=UTC),
)

messages = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4).map(" ".join)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.sampled_from((0, 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**400)),
    st.floats(),
    st.text(max_size=6),
    st.text(alphabet=st.characters(exclude_categories=()), max_size=4),
    messages,
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_data_fields = st.fixed_dictionaries(
    {},
    optional={
        "message": messages | json_values,
        "event_type": st.sampled_from((*_TYPES, "no type")),
        "node_name": st.sampled_from(_NAMES),
        "component_name": st.sampled_from(_NAMES),
        "node_id": st.sampled_from(NODES),
        "workflow_id": st.sampled_from((WORKFLOW, WORKFLOW.lower(), "wf-1")),
        "workflow_name": st.sampled_from(("Assay", "PCR")),
        "action_id": st.sampled_from(("a", "b")),
        "well": st.sampled_from(("A1", "B2", 4, None)),
        "more": json_values,
    },
)
_sources = st.fixed_dictionaries(
    {},
    optional={
        "node_id": st.sampled_from((*NODES, NODES[0].lower(), None)),
        "manager_id": st.sampled_from(NODES),
        "name": st.sampled_from((*_NAMES, 4)),
        "host": st.sampled_from(("bench-1", "bench-2")) | json_values,
        "action_id": st.sampled_from(("a", "c")),
    },
)
_sent = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(_TYPES),
        "log_level": st.sampled_from((0, 10, 20, 30, 40, 50)),
        "event_timestamp": st.sampled_from(_INSTANTS),
        "source": _sources,
        "event_data": _data_fields | json_values,
    },
    optional={"alert": st.booleans(), "trace_id": st.sampled_from(("t", None)), "severity_text": json_values},
)


@st.composite
def events(draw: st.DrawFn, ids: st.SearchStrategy[str] | None = None) -> Event:
    """Any event the contract takes, with values that filters of `queries` often meet."""
    document = draw(_sent)
    document["event_id"] = draw(ids) if ids is not None else new_event_id()
    return received(Event.sent(_distinct_names(document), UTC))


def event_lists(max_size: int = 12) -> st.SearchStrategy[list[Event]]:
    """Events of which some have the same id."""
    return st.lists(events(st.sampled_from(("e1", "e2", "é3", "E1")) | st.builds(new_event_id)), max_size=max_size)


def _distinct_names(value: Any) -> Any:
    """`value` without the names that become the same once lone surrogates are replaced, which the contract refuses."""
    if isinstance(value, dict):
        return {_whole(name): _distinct_names(item) for name, item in value.items()}
    return [_distinct_names(item) for item in value] if isinstance(value, list) else value


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


# --- Any query ---


def _some(*values: str) -> st.SearchStrategy[list[str]]:
    negatable = st.sampled_from(values).flatmap(lambda value: st.sampled_from((value, f"!{value}")))
    return st.lists(negatable, min_size=1, max_size=2)


_selectors = st.sampled_from(
    (
        {"log_level": {"$gte": "warning"}},
        {"source": {"node_id": NODES[0]}},
        {"event_data.well": "A1"},
        {"event_data.well": {"$in": ["A1", None]}},
        {"event_data.well": {"$exists": False}},
        {"event_data.more.0": {"$gt": 1}},
        {"event_data.message": {"$regex": "^tip", "$options": "i"}},
        {"event_data.message": "straße"},
        {"event_data.workflow_id": {"$ne": WORKFLOW}},
        {"event_data.more": 1},
        {"event_data.more": {"$lt": 0}},
        {"$or": [{"event_type": "LOG_INFO"}, {"alert": True}]},
        {"$nor": [{"source.host": "bench-1"}, {"archived": True}]},
        {"event_timestamp": {"$gte": NOON.isoformat()}},
        {"event_data.well": {"$not": {"$eq": "A1"}}},
        {"event_data": "tip"},
        {},
    )
)
_searches = st.lists(
    st.sampled_from(
        ("tip", "PICKUP", "plate", "strasse", "ét*", "a*", "-tip", "-1*", "workflow-sta*", "fil*", "ı", "start")
    ),
    min_size=1,
    max_size=3,
).map(" ".join)
_instants = st.sampled_from(_INSTANTS).map(lambda moment: moment.isoformat())
_filters = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from((-1, 10, 20, 30, 31, 41, 99)),
        "log_level": st.lists(st.sampled_from(("info", "error", "notset")), min_size=1, max_size=2),
        "kind": _some("log_info", "workflow_*", "*", "log", "x.y-z"),
        "event_type": _some("log_*", "workflow_start", "unknown"),
        "node_id": _some(*NODES, "nobody"),
        "workflow_id": _some(WORKFLOW, "wf-1"),
        "manager_id": _some(*NODES),
        "action_id": _some("a", "b", "c"),
        "node": _some("arm", "liquidhandler_1", NODES[0], "\ud800"),
        "name": _some("arm", "Lab – Süd", "4"),
        "source": st.fixed_dictionaries(
            {},
            optional={
                "host": _some("bench-1", "null", "4"),
                "node_id": _some(*NODES),
                "name": _some("arm", "4"),
                "nothing": _some("x"),
            },
        ),
        "since": _instants,
        "until": _instants,
        "start_time": _instants,
        "end_time": _instants,
        "search": _searches,
        "regex": st.sampled_from(("tip", "^$", "(?i)plate|a1", r"\d+")),
        "selector": _selectors,
        "alert": st.booleans(),
        "include_archived": st.booleans(),
        "only_archived": st.booleans(),
    },
)


@st.composite
def queries(draw: st.DrawFn) -> EventQuery:
    """Any query: few filters at a time, so that something is found, in any order that goes with them."""
    filters = draw(_filters)
    kept = draw(st.sets(st.sampled_from(sorted(filters)), max_size=3)) if filters else set()
    document = {name: filters[name] for name in kept}
    orders = ["time", "-time", "received"] + ["-archived"] * bool(document.get("only_archived"))
    return a_query(**document, order=draw(st.sampled_from(orders)), limit=draw(st.sampled_from((1, 3, 100))))
