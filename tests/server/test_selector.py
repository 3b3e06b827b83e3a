"""What a selector selects, what is normalised before, and what is refused in which words.

That all of it is MongoDB's meaning is `test_selector_differential.py`'s business; these are the cases to read.
"""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from madsci_event_server.errors import InvalidQuery, SelectorNotSupported
from madsci_event_server.event import Event
from madsci_event_server.selector import (
    MAX_CHOICES,
    MAX_CONDITIONS,
    MAX_NESTING,
    And,
    Condition,
    Nor,
    Not,
    Or,
    Regex,
    Selector,
)

NODE = "01JYKZDPANTNRYXF5TQKRJS0F2"

Json = dict[str, Any]


def selects(selector: Json, document: Json) -> bool:
    return Selector.parse(selector).matches(document)


SELECTED: list[tuple[Json, Json]] = [
    ({}, {}),
    ({"a": 1}, {"a": 1.0}),
    ({"a": {"$eq": 1.5}}, {"a": 1.5}),
    ({"a": 9007199254740993}, {"a": 9007199254740993}),
    ({"a": "x"}, {"a": ["y", "x"]}),
    ({"a": ["x", "y"]}, {"a": ["x", "y"]}),
    ({"a": ["x", "y"]}, {"a": [1, ["x", "y"]]}),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 2.0}}),
    ({"a": {}}, {"a": {}}),
    ({"a": None}, {"a": None}),
    ({"a": None}, {}),
    ({"a.b": None}, {"a": 5}),
    ({"a.b": None}, {"a": [{"b": 1}, {}]}),
    ({"a": {"$ne": 1}}, {}),
    ({"a": {"$ne": 1}}, {"a": True}),
    ({"a": {"$gt": 1}}, {"a": [0, 2]}),
    ({"a": {"$gt": 1, "$lt": 0}}, {"a": [-1, 2]}),
    ({"a": {"$gte": None}}, {}),
    ({"a": {"$lte": None}}, {"a": None}),
    ({"a": {"$gte": "b"}}, {"a": "b"}),
    ({"a": {"$lt": "\U0001f600"}}, {"a": "\uffff"}),
    ({"a": {"$gt": False}}, {"a": True}),
    ({"a": {"$gt": [1]}}, {"a": [1, 0]}),
    ({"a": {"$gt": {"b": 1}}}, {"a": {"b": 1, "c": None}}),
    ({"a": {"$in": [1, "x", None]}}, {"a": 1.0}),
    ({"a": {"$in": [1, "x", None]}}, {}),
    ({"a": {"$in": [[1]]}}, {"a": [1]}),
    ({"a": {"$in": [{"b": 1}]}}, {"a": [{"b": 1}]}),
    ({"a": {"$nin": [1, 2]}}, {"a": [3]}),
    ({"a": {"$nin": []}}, {}),
    ({"a.b": 1}, {"a": [{"b": 2}, {"b": 1}]}),
    ({"a.1": "y"}, {"a": ["x", "y"]}),
    ({"a.0.b": 1}, {"a": [{"b": 1}]}),
    ({"a.0.b": 1}, {"a": [[{"b": 1}]]}),
    ({"a.0": 1}, {"a": {"0": 1}}),
    ({"a.0": 1}, {"a": [{"0": 1}]}),
    ({"": 1}, {"": 1}),
    ({"a.$x": 1}, {"a": {"$x": 1}}),
    ({"a": {"$exists": True}}, {"a": None}),
    ({"a": {"$exists": 1}}, {"a": []}),
    ({"a": {"$exists": False}}, {}),
    ({"a.b": {"$exists": False}}, {"a": [1]}),
    ({"a": {"$not": {"$gt": 5}}}, {}),
    ({"a": {"$not": {"$gt": 5, "$lt": 9}}}, {"a": 12}),
    ({"a": {"$not": {"$regex": "x"}}}, {"a": 1}),
    ({"$or": [{"a": 1}, {"b": 1}]}, {"b": 1}),
    ({"$and": [{"a": 1}, {"$or": [{"b": 2}]}], "c": 3}, {"a": 1, "b": 2, "c": 3}),
    ({"$nor": [{"a": 1}, {"b": 1}]}, {"a": 2}),
    ({"a": {"$regex": "rr"}}, {"a": "error"}),
    ({"a": {"$regex": "^ERR", "$options": "i"}}, {"a": ["ok", "Error"]}),
    ({"a": {"$options": "ms", "$regex": "^b.c$"}}, {"a": "a\nb\nc\nd"}),
    ({"a": {"$regex": "ÄRGER", "$options": "i"}}, {"a": "Der Ärger"}),
    ({"a": {"$type": "string"}}, {"a": "x"}),
    ({"a": {"$type": "number"}}, {"a": [None, 1]}),
    ({"a": {"$type": ["bool", 10]}}, {"a": None}),
    ({"a": {"$type": "long"}}, {"a": 2**31}),
    ({"a": {"$type": "array"}}, {"a": []}),
    ({"a": {"$size": 2}}, {"a": [1, 2]}),
    ({"a": {"$mod": [4, -1]}}, {"a": -5.9}),
    ({"a": {"$all": ["x", "y"]}}, {"a": ["y", "x"]}),
    ({"a": {"$all": [["x"]]}}, {"a": ["x"]}),
    ({"a": {"$all": [{"$elemMatch": {"b": 1}}, {"$elemMatch": {"b": 2}}]}}, {"a": [{"b": 2}, {"b": 1}]}),
    ({"a": {"$elemMatch": {"$gt": 1, "$lt": 5}}}, {"a": [0, 3, 9]}),
    ({"a": {"$elemMatch": {"b": 1, "c": {"$ne": 2}}}}, {"a": [{"b": 1}]}),
    ({"a": {"$elemMatch": {"$or": [{"b": 1}, {"b": 2}]}}}, {"a": [{"b": 2}]}),
    ({"a": {"$elemMatch": {"0": 1}}}, {"a": [[1]]}),
]

NOT_SELECTED: list[tuple[Json, Json]] = [
    ({"a": 1}, {"a": True}),
    ({"a": True}, {"a": 1}),
    ({"a": 1}, {"a": "1"}),
    ({"a": 9007199254740993}, {"a": 9007199254740992.0}),
    ({"a": "X"}, {"a": "x"}),
    ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}),
    ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}),
    ({"a": {"b": None}}, {"a": {}}),
    ({"a": None}, {"a": 0}),
    ({"a.b": None}, {"a": [1, 2]}),
    ({"a.b": None}, {"a": []}),
    ({"a.5": None}, {"a": [1]}),
    ({"a": {"$ne": 1}}, {"a": [1, 2]}),
    ({"a": {"$gt": 1}}, {"a": "2"}),
    ({"a": {"$gt": 1}}, {}),
    ({"a": {"$lt": 1}}, {"a": False}),
    ({"a": {"$gt": None}}, {"a": 1}),
    ({"a": {"$gte": 5}}, {"a": [[6]]}),
    ({"a": {"$in": [1]}}, {"a": True}),
    ({"a": {"$in": []}}, {}),
    ({"a": {"$nin": [None]}}, {}),
    ({"a.01": "y"}, {"a": ["x", "y"]}),
    ({"a.0": 1}, {"a": [[1]]}),
    ({"a.b": 1}, {"a": [[{"b": 1}]]}),
    ({"a": {"$exists": True}}, {}),
    ({"a.0": {"$exists": True}}, {"a": []}),
    ({"a": {"$not": {"$gt": 5, "$lt": 9}}}, {"a": 7}),
    ({"a": {"$not": {"$gt": 5}}}, {"a": [1, 7]}),
    ({"$nor": [{"a": 1}, {"b": 1}]}, {"b": 1}),
    ({"a": {"$regex": "1"}}, {"a": 1}),
    ({"a": {"$regex": ""}}, {}),
    ({"a": {"$regex": "a.b"}}, {"a": "a\nb"}),
    ({"a": {"$type": "null"}}, {}),
    ({"a": {"$type": "int"}}, {"a": 1.0}),
    ({"a": {"$type": "number"}}, {"a": True}),
    ({"a": {"$size": 1}}, {"a": [[1, 2], [3]]}),
    ({"a": {"$size": 0}}, {}),
    ({"a": {"$mod": [4, 1]}}, {"a": True}),
    ({"a": {"$mod": [4, 0]}}, {"a": 1e300}),
    ({"a": {"$all": []}}, {"a": []}),
    ({"a": {"$all": ["x", "y"]}}, {"a": "x"}),
    ({"a": {"$elemMatch": {"$gt": 1, "$lt": 5}}}, {"a": [0, 9]}),
    ({"a": {"$elemMatch": {"$gt": 1}}}, {"a": 3}),
    ({"a": {"$elemMatch": {"$gt": 1}}}, {"a": [[3]]}),
    ({"a": {"$elemMatch": {}}}, {"a": [1]}),
]


@pytest.mark.parametrize(("selector", "document"), SELECTED)
def test_selected(selector: Json, document: Json) -> None:
    assert selects(selector, document)


@pytest.mark.parametrize(("selector", "document"), NOT_SELECTED)
def test_not_selected(selector: Json, document: Json) -> None:
    assert not selects(selector, document)


NORMALISED: list[tuple[Json, Json]] = [
    ({"_id": "E1"}, {"event_id": {"$eq": "E1"}}),
    ({"event_data._id": "E1"}, {"event_data._id": {"$eq": "E1"}}),
    ({"event_type": "NODE_ERROR"}, {"event_type": {"$eq": "node_error"}}),
    ({"event_type": {"$ne": "EventType.LOG_INFO"}}, {"event_type": {"$ne": "log_info"}}),
    (
        {"event_type": {"$in": ["experiment_stop", "TEST", None]}},
        {"event_type": {"$in": ["experiment_cancelled", "test", None]}},
    ),
    ({"event_type": {"$gte": "WORKFLOW_"}}, {"event_type": {"$gte": "workflow_"}}),
    ({"event_type": {"$regex": "^NODE_"}}, {"event_type": {"$regex": "^NODE_", "$options": "i"}}),
    ({"event_data.event_type": "NODE_ERROR"}, {"event_data.event_type": {"$eq": "NODE_ERROR"}}),
    ({"log_level": "error"}, {"log_level": {"$eq": 40}}),
    ({"log_level": {"$gte": "EventLogLevel.WARNING"}}, {"log_level": {"$gte": 30}}),
    ({"log_level": {"$in": ["warn", "fatal", 25]}}, {"log_level": {"$in": [30, 50, 25]}}),
    ({"log_level": {"$not": {"$lt": "info"}}}, {"log_level": {"$not": {"$lt": 20}}}),
    ({"received_at": None}, {"received_at": {"$eq": None}}),
    (
        {"event_timestamp": {"$gte": "2025-05-01T12:00:00+02:00"}},
        {"event_timestamp": {"$gte": "2025-05-01T10:00:00.000000Z"}},
    ),
    (
        {"event_timestamp": {"$gte": "2025-05-01", "$lt": "2025-05-01 12:30:00.5"}},
        {
            "$and": [
                {"event_timestamp": {"$gte": "2025-05-01T04:00:00.000000Z"}},
                {"event_timestamp": {"$lt": "2025-05-01T16:30:00.500000Z"}},
            ]
        },
    ),
    ({"received_at": {"$gt": 1746093600}}, {"received_at": {"$gt": "2025-05-01T10:00:00.000000Z"}}),
    ({"received_at": {"$gt": 1746093600250}}, {"received_at": {"$gt": "2025-05-01T10:00:00.250000Z"}}),
    (
        {"archived_at": {"$lt": {"$date": "2025-05-01T10:00:00Z"}}},
        {"archived_at": {"$lt": "2025-05-01T10:00:00.000000Z"}},
    ),
    (
        {"event_timestamp": {"$in": [{"$date": {"$numberLong": "1746093600250"}}, {"$date": 250}]}},
        {"event_timestamp": {"$in": ["2025-05-01T10:00:00.250000Z", "1970-01-01T00:00:00.250000Z"]}},
    ),
    ({"event_timestamp": {"$date": 0}}, {"event_timestamp": {"$eq": "1970-01-01T00:00:00.000000Z"}}),
    ({"event_timestamp": {"$regex": "^2025-05"}}, {"event_timestamp": {"$regex": "^2025-05"}}),
    ({"source": {"node_id": NODE}}, {"source.node_id": {"$eq": NODE}}),
    (
        {"source": {"node_id": {"$in": [NODE]}, "lab_id": None}},
        {"$and": [{"source.node_id": {"$in": [NODE]}}, {"source.lab_id": {"$eq": None}}]},
    ),
    ({"source": {"place": {"room": 1}}}, {"source.place": {"$eq": {"room": 1}}}),
    ({"source": {}}, {"source": {"$eq": {}}}),
    ({"source": {"$eq": {"node_id": NODE}}}, {"source": {"$eq": {"node_id": NODE}}}),
    ({"event_data": {"message": "hi"}}, {"event_data": {"$eq": {"message": "hi"}}}),
    (
        {"event_data.events": {"$elemMatch": {"_id": 1, "log_level": "error"}}},
        {"event_data.events": {"$elemMatch": {"$and": [{"_id": {"$eq": 1}}, {"log_level": {"$eq": "error"}}]}}},
    ),
    ({"event_data.n": 2**64}, {"event_data.n": {"$eq": float(2**64)}}),
    ({"event_data.n": float("nan")}, {"event_data.n": {"$eq": "NaN"}}),
    ({"event_data.text": "a\0b\ud800"}, {"event_data.text": {"$eq": "a\u2400b\ufffd"}}),
    ({"a": {"$exists": 0}}, {"a": {"$exists": False}}),
    ({"a": {"$size": 2.0}}, {"a": {"$size": 2}}),
    ({"a": {"$type": [2, "number"]}}, {"a": {"$type": ["string", "number"]}}),
]


@pytest.mark.parametrize(("written", "meant"), NORMALISED)
def test_normalised_before_matching(written: Json, meant: Json) -> None:
    assert Selector.parse(written, zone=ZoneInfo("America/New_York")).document == meant


def test_an_event_is_selected_by_its_queryable_document() -> None:
    event = Event.sent(
        {
            "_id": "E1",
            "event_type": "Node_Error",
            "log_level": "ERROR",
            "event_timestamp": "2025-05-01T12:00:00Z",
            "source": {"node_id": NODE, "name": "arm_1"},
            "event_data": {"big": 2**70, "steps": [{"status": "ok"}, {"status": "failed"}]},
        }
    )
    selector = {
        "_id": "E1",
        "event_type": "NODE_ERROR",
        "log_level": {"$gte": "warning"},
        "event_timestamp": {"$gte": "2025-05-01T13:00:00+02:00", "$lt": 1746187200},
        "source": {"node_id": NODE},
        "event_data.big": {"$gt": 2**69, "$lte": 2**70},
        "event_data.steps.1.status": "failed",
        "archived": False,
    }

    assert Selector.parse(selector).matches(event.document)
    for name in selector:
        assert not Selector.parse(selector | {name: {"$in": []}}).matches(event.document)


def test_the_root_is_a_tree_for_stores_to_read() -> None:
    selector = Selector.parse(
        {
            "log_level": {"$gte": 30, "$not": {"$eq": 40}},
            "$or": [{"event_data.message": {"$regex": "x", "$options": "i"}}, {"$nor": [{"a.b": 1}]}],
            "c": {"$elemMatch": {"$gt": 1}},
        }
    )

    assert selector.root == And(
        (
            Condition(("log_level",), "$gte", 30),
            Not(("log_level",), (Condition(("log_level",), "$eq", 40),)),
            Or(
                (
                    Condition(("event_data", "message"), "$regex", Regex("x", "i")),
                    Nor((Condition(("a", "b"), "$eq", 1),)),
                )
            ),
            Condition(("c",), "$elemMatch", Condition((), "$gt", 1)),
        )
    )


def test_selectors_of_the_same_meaning_are_equal() -> None:
    assert Selector.parse({"log_level": "error"}) == Selector.parse({"log_level": {"$eq": 40}})
    assert Selector.parse({"log_level": "error"}) != Selector.parse({"log_level": "info"})


NOT_SUPPORTED: list[tuple[Json, str, str]] = [
    ({"$where": "sleep(1000)"}, "selector.$where", "'$where' is not supported; nothing here runs code"),
    ({"a": {"$where": "1"}}, "selector.a.$where", "runs code"),
    ({"$expr": {"$gt": ["$a", 1]}}, "selector.$expr", "runs code"),
    ({"$or": [{"a": 1}, {"$function": {}}]}, "selector.$or.1.$function", "runs code"),
    ({"a": {"$elemMatch": {"$where": "1"}}}, "selector.a.$elemMatch.$where", "runs code"),
    ({"a": {"$not": {"$accumulator": 1}}}, "selector.a.$not.$accumulator", "runs code"),
    ({"$jsonSchema": {}}, "selector.$jsonSchema", "use $exists and $type"),
    ({"$text": {"$search": "x"}}, "selector.$text", "the `search` filter"),
    ({"$comment": "x"}, "selector.$comment", "leave it out"),
    ({"a": {"$gtt": 1}}, "selector.a.$gtt", "did you mean $gt?"),
    ({"a": {"$GTE": 1}}, "selector.a.$GTE", "did you mean $gte?"),
    ({"a": {"$elementMatch": {}}}, "selector.a.$elementMatch", "did you mean $elemMatch?"),
    ({"$nand": []}, "selector.$nand", "did you mean $and?"),
    ({"a": {"$geoWithin": {}}}, "selector.a.$geoWithin", "use one of $eq, $ne, $gt"),
    ({"a": {"$": 1}}, "selector.a.$", "use one of $eq"),
    ({"a": {"$in": [{"$regex": "x"}]}}, "selector.a.$in.0", "$regex cannot stand inside a value; use $or"),
    ({"a": {"$eq": {"b": [{"$gt": 1}]}}}, "selector.a.$eq", "$gt cannot stand inside a value"),
    ({"event_data.at": {"$gt": {"$date": 0}}}, "selector.event_data.at.$gt", "other times are strings"),
    ({"_id": {"$oid": "5f"}}, "selector._id.$oid", "ids of events are strings"),
    ({"a": {"$numberLong": "5"}}, "selector.a.$numberLong", "write the number itself"),
]

INVALID: list[tuple[object, str, str]] = [
    (None, "selector", "must be a JSON object"),
    ([], "selector", "must be a JSON object"),
    ("log_level", "selector", "must be a JSON object"),
    ({"selector": {"log_level": 40}}, "selector", "send what is inside"),
    ({1: 2}, "selector", "names must be strings"),
    ({"$gt": 1}, "selector.$gt", '$gt belongs inside a field: {"log_level": {"$gt": ...}}'),
    ({"$not": {"a": 1}}, "selector.$not", "out here use $nor"),
    ({"$or": []}, "selector.$or", "at least one selector"),
    ({"$and": {"a": 1}}, "selector.$and", "must be a list"),
    ({"$and": [1]}, "selector.$and.0", "must be a JSON object, not 1"),
    ({"a": {"$or": [{"$gt": 1}]}}, "selector.a.$or", "$or stands outside the field"),
    ({"a": {"$gt": 1, "b": 2}}, "selector.a", "mixes operators ('$gt') and fields"),
    ({"a": {"$not": 5}}, "selector.a.$not", "or use $ne"),
    ({"a": {"$not": {}}}, "selector.a.$not", "must hold operators"),
    ({"a": {"$not": {"b": 1}}}, "selector.a.$not", "must hold operators"),
    ({"a": {"$in": 5}}, "selector.a.$in", "must be a list of values, not 5"),
    ({"a": {"$nin": "xy"}}, "selector.a.$nin", "must be a list of values"),
    ({"a": {"$exists": "yes"}}, "selector.a.$exists", "must be true or false, not 'yes'"),
    ({"a": {"$size": -1}}, "selector.a.$size", "must be 0 or more"),
    ({"a": {"$size": 1.5}}, "selector.a.$size", "must be a whole number"),
    ({"a": {"$size": True}}, "selector.a.$size", "must be a whole number"),
    ({"a": {"$mod": [0, 1]}}, "selector.a.$mod", "must not be 0"),
    ({"a": {"$mod": [2]}}, "selector.a.$mod", "divisor and remainder"),
    ({"a": {"$mod": [2, "1"]}}, "selector.a.$mod", "must be a whole number, not '1'"),
    ({"a": {"$type": "date"}}, "selector.a.$type", "times are strings"),
    ({"a": {"$type": []}}, "selector.a.$type", "at least one type"),
    ({"a": {"$type": True}}, "selector.a.$type", "not a type that JSON has"),
    ({"a": {"$elemMatch": [1]}}, "selector.a.$elemMatch", "must be a JSON object"),
    ({"a": {"$elemMatch": {"$gt": 1, "b": 2}}}, "selector.a.$elemMatch", "mixes operators"),
    ({"a": {"$options": "i"}}, "selector.a.$options", "belongs to a $regex"),
    ({"a": {"$regex": "x", "$options": "x"}}, "selector.a.$options", "must be some of i (any case)"),
    ({"a": {"$regex": "x", "$options": 1}}, "selector.a.$options", "must be some of i"),
    ({"a": {"$regex": 5}}, "selector.a.$regex", "must be a pattern in a string"),
    ({"a": {"$regex": "(x"}}, "selector.a.$regex", "not an RE2 pattern"),
    ({"a": {"$regex": "(?=x)"}}, "selector.a.$regex", "not an RE2 pattern"),
    ({"a": {"$regex": "(a)\\1"}}, "selector.a.$regex", "not an RE2 pattern"),
    ({"a": {"$regex": "((a{100}){100}){100}"}}, "selector.a.$regex", "not an RE2 pattern"),
    ({"a": {"$regex": "x" * 1001}}, "selector.a.$regex", "1000 characters"),
    ({"a.": 1}, "selector.a.", "must not end in a dot"),
    ({".".join("a" * 101): 1}, "selector." + ".".join("a" * 101), "may have 100 names, not 101"),
    ({"a": {"$gt": float("inf")}}, "selector.a.$gt", "is no number to compare with"),
    ({"a": {"$lt": 10**400}}, "selector.a.$lt", "is no number to compare with"),
    ({"a": {1, 2}}, "selector.a", "not JSON"),
    ({"log_level": "loud"}, "selector.log_level", "'loud' is not a level; use notset, debug"),
    ({"log_level": {"$in": ["loud"]}}, "selector.log_level.$in.0", "is not a level"),
    ({"event_type": {"$ne": "node error"}}, "selector.event_type.$ne", "is not a type"),
    ({"event_timestamp": {"$gte": "soon"}}, "selector.event_timestamp.$gte", "is not a time; use ISO 8601"),
    ({"event_timestamp": {"$date": "soon"}}, "selector.event_timestamp", "is not a time"),
    ({"event_timestamp": {"$date": {"$numberLong": "x"}}}, "selector.event_timestamp", "milliseconds"),
    ({"source": {"node_id": NODE, "$gt": 1}}, "selector.source", "mixes operators"),
    ({"source": {"node_id": {"$gtt": 1}}}, "selector.source.node_id.$gtt", "did you mean $gt?"),
]


@pytest.mark.parametrize(("selector", "field", "words"), NOT_SUPPORTED)
def test_operators_outside_the_subset_are_refused_by_name(selector: Json, field: str, words: str) -> None:
    with pytest.raises(SelectorNotSupported) as refused:
        Selector.parse(selector)

    assert refused.value.field == field
    assert words in refused.value.problem


@pytest.mark.parametrize(("selector", "field", "words"), INVALID)
def test_what_has_no_meaning_is_refused_with_the_way_out(selector: object, field: str, words: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        Selector.parse(selector)

    assert refused.value.field == field
    assert words in refused.value.problem


def nested(wrap: str, times: int) -> Json:
    selector: Json = {"a": 1}
    for _ in range(times):
        selector = {"a": {wrap: selector}} if wrap == "$elemMatch" else {wrap: [selector]}
    return selector


@pytest.mark.parametrize("wrap", ["$and", "$nor", "$elemMatch"])
def test_nesting_is_limited(wrap: str) -> None:
    Selector.parse(nested(wrap, MAX_NESTING))

    with pytest.raises(InvalidQuery, match="levels deep"):
        Selector.parse(nested(wrap, MAX_NESTING + 1))


def deep(wrap: Callable[[Any], Any]) -> Any:
    value: Any = {"$gt": 1}
    for _ in range(10_000):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "selector",
    [
        {"a": deep(lambda value: {"$not": value})},
        {"a": deep(lambda value: [value])},
        {"a": {"$in": [deep(lambda value: {"b": value})]}},
        {"a": {"$exists": deep(lambda value: [value])}},
        {"$or": deep(lambda value: {"b": value})},
    ],
    ids=["$not", "a list", "an object", "shown in a message", "in place of a list"],
)
def test_nothing_is_too_deep_to_be_refused_in_words(selector: Json) -> None:
    with pytest.raises(InvalidQuery, match="is nested more than"):
        Selector.parse(selector)


def test_conditions_are_limited() -> None:
    conditions = [{"a": number} for number in range(MAX_CONDITIONS // 2)]
    assert Selector.parse({"$or": conditions}).matches({"a": 0})

    with pytest.raises(InvalidQuery, match="1,000 a selector may have"):
        Selector.parse({"$or": [*conditions, {"a": 0}]})


@pytest.mark.parametrize("operator", ["$in", "$nin", "$all"])
def test_choices_are_limited(operator: str) -> None:
    Selector.parse({"a": {operator: [1] * MAX_CHOICES}})

    with pytest.raises(InvalidQuery, match="10,000 values, not 10,001"):
        Selector.parse({"a": {operator: [1] * (MAX_CHOICES + 1)}})


def test_a_field_may_be_called_selector() -> None:
    """Only a lone `selector` with an object is the wrapper that callers put around by mistake."""
    assert selects({"selector": 5}, {"selector": 5})
    assert selects({"selector": {"$exists": False}, "a": 1}, {"a": 1})


@pytest.mark.parametrize(
    ("pattern", "number", "problem"),
    [(r"\pL{90}", 2, "too large together"), ("a" * 1000, 6, "have over 5,000 characters")],
)
def test_patterns_together_may_be_little_more_than_one_alone(pattern: str, number: int, problem: str) -> None:
    """They are compiled while everybody who asks the server waits."""
    assert selects({"a": {"$not": {"$regex": pattern}}}, {"a": "x"})

    with pytest.raises(InvalidQuery, match=problem) as refused:
        Selector.parse({"$or": [{"a": {"$regex": pattern}}] * number})
    assert refused.value.field == f"selector.$or.{number - 1}.a.$regex"


def test_many_ordinary_patterns_are_taken() -> None:
    wanted = [{"message": {"$regex": f"^Plate {number} (lost|stuck) at [A-H][0-9]+"}} for number in range(99)]

    assert selects({"$or": wanted}, {"message": "Plate 98 stuck at B7"})
