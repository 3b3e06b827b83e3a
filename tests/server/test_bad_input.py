"""What cannot be meant is a 4xx whose text names the field and the way out; all else is kept as it was sent."""

import json
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.calls import detail, get

ULID = "01JYKZDPANTNRYXF5TQKRJS0F2"


def one(field: str, value: str) -> str:
    """An object of one field, whose value is this JSON."""
    return f'{{"{field}": {value}}}'


def deep(levels: int, inside: str = "1") -> str:
    return "[" * levels + inside + "]" * levels


class Refused(NamedTuple):
    """A request, and what its refusal must say: the field at fault, and a word of the way out."""

    method: str
    path: str
    body: str | bytes | None
    field: str
    says: str
    status: int = 422


def event(body: str | bytes, field: str, says: str, status: int = 422) -> Refused:
    return Refused("POST", "/event", body, field, says, status)


def listing(parameters: str, field: str, says: str, status: int = 422) -> Refused:
    return Refused("GET", f"/events?{parameters}", None, field, says, status)


def selector(body: str, field: str, says: str) -> Refused:
    return Refused("POST", "/events/query", body, field, says)


def search(body: str, field: str, says: str, status: int = 422) -> Refused:
    return Refused("POST", "/events/search", body, field, says, status)


REFUSED = [
    # not an event
    event("", "body", "empty"),
    event("   ", "body", "empty"),
    event("{", "body", "line 1 column 2"),
    event("nonsense", "body", "not JSON"),
    event('{"a": 1,}', "body", "not JSON"),
    event('{"a": 1} {"b": 2}', "body", "not JSON"),
    event(b"\xff\xfe{}", "body", "UTF-8"),
    event(b'{"event_data": "\xe9"}', "body", "UTF-8"),
    event("[]", "event", "JSON object"),
    event("null", "event", "JSON object"),
    event("7", "event", "JSON object"),
    event('"text"', "event", "JSON object"),
    event('{"a": 1, "a": 2}', "a", "twice"),
    event('{"event_data": {"x": {"y": 1, "y": 2}}}', "y", "twice"),
    event(b'{"event_data": "' + b"x" * 70_000 + b'"}', "body", "EVENT_MAX_EVENT_BYTES", 413),
    event(one("event_data", deep(65)), "event_data", "64 levels"),
    event(one("event_data", deep(30_000)), "body", "64 levels"),
    event(one("other", deep(65)), "other", "64 levels"),
    event(one("event_data", "9" * 4301), "body", "4300 digits"),
    event('{"a\\ud800": 1, "a\\udfff": 2}', "", "surrogates"),
    # its id
    event('{"event_id": ""}', "event_id", "1 to 128"),
    event('{"event_id": 7}', "event_id", "1 to 128"),
    event('{"event_id": {"$oid": "5"}}', "event_id", "1 to 128"),
    event('{"event_id": "%s"}' % ("x" * 129), "event_id", "1 to 128"),
    event('{"event_id": "a\\nb"}', "event_id", "printable"),
    event('{"event_id": "\\u001b[2J"}', "event_id", "printable"),
    event('{"_id": "\\u202egnp"}', "_id", "printable"),
    event('{"_id": "a", "event_id": "b"}', "_id", "one of them"),
    # its level, type and flag
    event('{"log_level": 25}', "log_level", "error"),
    event('{"log_level": "loud"}', "log_level", "warning"),
    event('{"log_level": true}', "log_level", "info"),
    event('{"log_level": -10}', "log_level", "info"),
    event('{"log_level": [40]}', "log_level", "info"),
    event('{"log_level": 1e400}', "log_level", "info"),
    event('{"event_type": 5}', "event_type", "64"),
    event('{"event_type": ""}', "event_type", "letters"),
    event('{"event_type": "two words"}', "event_type", "letters"),
    event('{"event_type": "<b>"}', "event_type", "letters"),
    event('{"event_type": "%s"}' % ("x" * 65), "event_type", "64"),
    event('{"alert": "maybe"}', "alert", "true nor false"),
    event('{"alert": 2}', "alert", "true nor false"),
    # its time
    event('{"event_timestamp": "yesterday"}', "event_timestamp", "ISO 8601"),
    event('{"event_timestamp": "2026-13-01T00:00:00"}', "event_timestamp", "ISO 8601"),
    event('{"event_timestamp": 1e30}', "event_timestamp", "ISO 8601"),
    event('{"event_timestamp": {"$date": 1}}', "event_timestamp", "ISO 8601"),
    event('{"event_timestamp": "0001-01-01T00:00:00+23:00"}', "event_timestamp", "ISO 8601"),
    # its source
    event('{"source": "bench"}', "source", "node_id"),
    event('{"source": []}', "source", "node_id"),
    event('{"source": {"node_id": "liquidhandler_1"}}', "source.node_id", "source.name"),
    event('{"source": {"node_id": 5}}', "source.node_id", "ULID"),
    event('{"source": {"manager_id": ""}}', "source.manager_id", "ULID"),
    event('{"source": {"lab_id": "81JYKZDPANTNRYXF5TQKRJS0F2"}}', "source.lab_id", "0 to 7"),
    event('{"trace_id": 5}', "trace_id", "string"),
    event('{"span_id": ["x"]}', "span_id", "string"),
    # listing
    listing("number=-1", "number", "0 is all"),
    listing("number=10001", "number", "cursor"),
    listing("number=1.5", "number", "whole number"),
    listing("number=", "number", "whole number"),
    listing("number=ten", "number", "whole number"),
    listing("number=%D9%A1", "number", "whole number"),
    listing("number=" + "9" * 5000, "number", "10000"),
    listing("number=1&number=2", "number", "once"),
    listing("number=1&limit=2", "number", "one of them"),
    listing("limit=0", "limit", "between"),
    listing("limit=x", "limit", "integer"),
    listing("offset=-1", "offset", "after"),
    listing("offset=1e3", "offset", "whole number"),
    listing("level=loud", "level", "warning"),
    listing("log_level=25", "log_level", "error"),
    listing("levle=error", "levle", "did you mean level?"),
    listing("nodeid=x", "nodeid", "did you mean"),
    listing("colour=red", "colour", "/docs"),
    listing("%1b[2J=1", "\\x1b[2J", "parameter"),
    listing("x" * 3000 + "=1", "xxx", "parameter"),
    listing("since=noon", "since", "ISO 8601"),
    listing("end_time=2026-02-30", "end_time", "ISO 8601"),
    listing("kind=two%20words", "kind", "letters"),
    listing("event_type=", "event_type", "text"),
    listing("node=!", "node", "text"),
    listing("alert=maybe", "alert", "boolean"),
    listing("order=sideways", "order", "time"),
    listing("order=-archived", "order", "only_archived"),
    listing("regex=(", "regex", "RE2"),
    listing("regex=(a)%5C1", "regex", "RE2"),
    listing("regex=(?=a)", "regex", "look-around"),
    listing("regex=" + "a" * 1001, "regex", "1000"),
    listing("regex=((a{1000}){1000}){1000}", "regex", "RE2"),
    listing("after=nonsense", "after", "cursor"),
    listing("after=t.0123456789abcdef.1.1", "after", "another store", 410),
    listing("selector=source", "selector", "POST /events/query"),
    Refused("GET", "/events/archived?order=time", None, "order", "leave it out"),
    Refused("GET", "/events/archived?number=-5", None, "number", "0 is all"),
    Refused("GET", "/event/x?partial=perhaps", None, "partial", "true nor false"),
    Refused("GET", "/event/abc?partial=true", None, "event_id", "8 characters"),
    Refused("GET", "/event/abc?whole=true", None, "whole", "partial"),
    # selectors
    selector("", "selector", "empty"),
    selector("null", "selector", "JSON object"),
    selector("[]", "selector", "JSON object"),
    selector('"source"', "selector", "JSON object"),
    selector('{"selector": {"alert": true}}', "selector", "wrapped"),
    selector('{"$where": "sleep(10000)"}', "$where", "$"),
    selector('{"$expr": {"$gt": ["$a", 1]}}', "$expr", "$"),
    selector('{"a": {"$function": {}}}', "$function", "$"),
    selector('{"a": {"$foo": 1}}', "$foo", "$"),
    selector('{"$and": {}}', "$and", "list"),
    selector('{"a": {"$in": 5}}', "$in", "list"),
    selector('{"a": {"$regex": "("}}', "$regex", "RE2"),
    selector('{"a": 1, "a": 2}', "a", "twice"),
    selector(one("a", deep(30_000)), "selector", "64 levels"),
    Refused("POST", "/events/query?selector=source", None, "selector", "JSON body"),
    Refused("POST", "/events/query?selector=__import__('os').getcwd()", None, "selector", "JSON body"),
    Refused("POST", "/events/query?selector={'a': b'bytes'}", None, "selector", "JSON body"),
    Refused("POST", "/events/query?selector=" + "(" * 5000, None, "selector", "JSON body"),
    Refused("POST", "/events/query?selector=" + "-" * 5000 + "1", None, "selector", "JSON body"),
    Refused("POST", "/events/query?selector={}", "{}", "selector", "once"),
    Refused("POST", "/events/query?level=error", "{}", "level", "selector"),
    Refused(
        "POST", "/events/query", b"{" + b" " * 1_048_576 + b"}", "body", "1048576 bytes; send less at once, or ask", 413
    ),
    # searching
    search("", "body", "empty"),
    search("[]", "body", "JSON object"),
    search('{"levl": "error"}', "levl", "did you mean level?"),
    search('{"limit": 0}', "limit", "between"),
    search('{"limit": 10001}', "limit", "cursor"),
    search('{"limit": "all"}', "limit", "integer"),
    search('{"order": "newest"}', "order", "time"),
    search('{"selector": {"$where": "1"}}', "$where", "$"),
    search('{"order": "received", "after": "r.0123456789abcdef.1.0"}', "after", "another store", 410),
    search(one("node_id", json.dumps(["x"] * 1001)), "node_id", "1000"),
    search('{"node_id": {"a": 1}}', "node_id", "text"),
    search('{"source": "bench"}', "source", "object"),
    search('{"since": []}', "since", "ISO 8601"),
    search('{"level": null, "alert": "maybe"}', "alert", "boolean"),
    Refused("POST", "/events/search?limit=5", "{}", "limit", "none"),
    # counts
    Refused("GET", "/events/facets?field=message", None, "field", "log_level"),
    Refused("GET", "/events/facets?limit=0", None, "limit", "1 and 1000"),
    Refused("GET", "/events/facets?limit=1001", None, "limit", "narrow"),
    Refused("GET", "/events/facets?after=x", None, "after", "leave it out"),
    Refused("GET", "/events/facets?" + "&".join(f"field=source.{n}" for n in range(21)), None, "field", "20"),
    Refused("POST", "/events/facets", '{"after": "x"}', "after", "leave it out"),
    Refused("POST", "/events/facets?level=error", "{}", "level", "field, limit"),
    Refused("POST", "/events/histogram", '{"limit": 5}', "limit", "leave it out"),
    Refused("POST", "/events/histogram?interval=0", "{}", "interval", "seconds"),
    Refused("GET", "/events/histogram?interval=0", None, "interval", "seconds"),
    Refused("GET", "/events/histogram?interval=-60", None, "interval", "seconds"),
    Refused("GET", "/events/histogram?interval=1m", None, "interval", "whole number"),
    Refused("GET", "/events/names?q=x", None, "q", "none"),
    # archiving
    Refused("POST", "/events/archive", "{}", "event_ids", "before_date"),
    Refused("POST", "/events/archive", '{"event_ids": []}', "event_ids", "before_date"),
    Refused("POST", "/events/archive", '{"event_ids": "a"}', "event_ids", "array"),
    Refused("POST", "/events/archive", '{"event_ids": ["a", 5]}', "event_ids.1", "text"),
    Refused("POST", "/events/archive", '{"before_date": "soon"}', "before_date", "ISO 8601"),
    Refused("POST", "/events/archive", '{"before": "2026-01-01"}', "before", "before_date"),
    Refused(
        "POST", "/events/archive", '{"event_ids": ["a"], "batch_size": 0}', "batch_size", "from 1 on; leave it out"
    ),
    Refused("POST", "/events/archive", '{"event_ids": ["a"], "batch_size": -5}', "batch_size", "-5"),
    Refused("POST", "/events/archive", '{"event_ids": ["a"], "batch_size": "ten"}', "batch_size", "'ten'"),
    Refused("POST", "/events/archive", '{"event_ids": ["a"], "batch_size": 1.5}', "batch_size", "whole number"),
    Refused("POST", "/events/archive", '{"event_ids": ["a"], "batch_size": true}', "batch_size", "whole number"),
    Refused("POST", "/events/archive", "[]", "body", "JSON object"),
    Refused("DELETE", "/events/archived?older_than_days=-1", None, "older_than_days", "0 is all"),
    Refused("DELETE", "/events/archived?older_than_days=999999999", None, "older_than_days", "36500"),
    Refused("DELETE", "/events/archived?older_than_days=1.5", None, "older_than_days", "whole number"),
    Refused("DELETE", "/events/archived?days=3", None, "days", "older_than_days"),
    Refused("DELETE", "/events/archived?dry_run=perhaps", None, "dry_run", "true nor false"),
    # about
    Refused("GET", "/settings?include_defaults=2", None, "include_defaults", "true nor false"),
    Refused("GET", "/health?verbose=1", None, "verbose", "none"),
]


@pytest.mark.parametrize("request_", REFUSED, ids=lambda case: f"{case.method} {case.path} {case.body}"[:70])
async def test_a_refusal_names_the_field_and_the_way_out(client: httpx.AsyncClient, request_: Refused) -> None:
    body = request_.body.encode() if isinstance(request_.body, str) else request_.body
    answer = await client.request(request_.method, request_.path, content=body)

    said = detail(answer, request_.status)
    assert request_.field in said
    assert request_.says in said
    assert said.isprintable()
    assert len(said) <= 2000
    assert (await get(client, "/health"))["total_events"] == 0


KEPT: list[tuple[str, dict[str, Any]]] = [
    ('{"message": "x", "level": "ERROR"}', {"message": "x", "level": "ERROR"}),
    ('{"source": {"name": "bench", "host": "a\\u001b[2J"}}', {"source": {"name": "bench", "host": "a\x1b[2J"}}),
    ('{"source": null, "event_timestamp": null, "event_id": null}', {"source": {}}),
    ('{"source": {"node_id": null}}', {"source": {}}),
    ('{"log_level": "EventLogLevel.ERROR"}', {"log_level": 40}),
    ('{"log_level": "warn"}', {"log_level": 30}),
    ('{"log_level": 40.0}', {"log_level": 40}),
    ('{"alert": "yes"}', {"alert": True}),
    ('{"event_type": "EventType.NODE_ERROR"}', {"event_type": "node_error"}),
    ('{"event_type": "experiment_stop"}', {"event_type": "experiment_cancelled"}),
    ('{"event_type": "from.the-future_2"}', {"event_type": "from.the-future_2"}),
    ('{"event_timestamp": 1700000000}', {"event_timestamp": "2023-11-14T22:13:20.000000Z"}),
    ('{"event_timestamp": 1700000000000}', {"event_timestamp": "2023-11-14T22:13:20.000000Z"}),
    ('{"event_timestamp": "2026-03-08T02:30:00"}', {"event_timestamp": "2026-03-08T08:30:00.000000Z"}),
    ('{"event_timestamp": "2026-11-01T01:30:00"}', {"event_timestamp": "2026-11-01T06:30:00.000000Z"}),
    ('{"event_data": NaN}', {"event_data": "NaN"}),
    ('{"event_data": [Infinity, -Infinity, 1e400]}', {"event_data": ["Infinity", "-Infinity", "Infinity"]}),
    ('{"event_data": 123456789012345678901234567890}', {"event_data": 123456789012345678901234567890}),
    ('{"event_data": "\\ud800"}', {"event_data": "\ufffd"}),
    ('{"event_data": "\\u0000"}', {"event_data": "\0"}),
    ('{"event_data": null}', {"event_data": None}),
    ('{"event_data": {"$where": "sleep(1)", "a.b": {"": 1}}}', {"event_data": {"$where": "sleep(1)", "a.b": {"": 1}}}),
    ('{"event_data": "[/red] <script> \\u202e"}', {"event_data": "[/red] <script> \u202e"}),
    (one("event_data", deep(64)), {"event_data": json.loads(deep(64))}),
]


@pytest.mark.parametrize(("body", "kept"), KEPT, ids=[body[:60] for body, _ in KEPT])
async def test_all_else_is_kept(client: httpx.AsyncClient, body: str, kept: dict[str, Any]) -> None:
    answer = await client.post("/event", content=body.encode())

    assert answer.status_code == 200, answer.text
    event_id = answer.json()["event_id"]
    assert kept.items() <= answer.json().items()
    assert await get(client, f"/event/{event_id}") == answer.json()
    assert list(await get(client, "/events")) == [event_id]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["$where", "$in", "$regex", "(", "error", "2026-01-01", ULID, "time", "\ud800", "\0"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=4)
            | st.sampled_from(
                [
                    *("event_id", "_id", "event_type", "log_level", "alert", "event_timestamp", "source", "event_data"),
                    *(
                        "trace_id",
                        "node_id",
                        "level",
                        "since",
                        "search",
                        "regex",
                        "selector",
                        "order",
                        "limit",
                        "after",
                    ),
                    *("$and", "$in", "$regex", "$options", "$exists", "$not", "event_ids", "before_date", "kind"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
routes_with_a_body = st.sampled_from(
    ["/event", "/events", "/events/query", "/events/search", "/events/archive", "/events/facets", "/events/histogram"]
)
routes_with_parameters = st.sampled_from(
    [
        *("GET /events", "GET /events/archived", "DELETE /events/archived", "GET /events/facets"),
        *("GET /events/histogram", "GET /event/x", "POST /events/query", "GET /settings"),
    ]
)
characters = st.characters(codec="utf-8")
parameter_names = st.text(characters, max_size=5) | st.sampled_from(
    [
        *("number", "offset", "limit", "level", "log_level", "kind", "event_type", "node", "name", "node_id", "after"),
        *("since", "until", "start_time", "end_time", "search", "regex", "alert", "include_archived", "order", "field"),
        *("interval", "older_than_days", "dry_run", "partial", "selector", "source.x", "only_archived"),
    ]
)
parameter_values = (
    st.text(characters, max_size=12)
    | st.integers().map(str)
    | st.sampled_from(["error", "time", "true", "-1", "2026-01-01", "a*", "!x", "{'a': 1}", '{"$in": 1}', "(?i)x", '"'])
)
ANY = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ANY
@given(routes_with_a_body, json_values)
async def test_no_json_makes_the_server_fail(client: httpx.AsyncClient, path: str, value: object) -> None:
    answer = await client.post(path, content=json.dumps(value).encode())

    assert answer.status_code < 500, answer.text
    answer.json()


@ANY
@given(routes_with_a_body, st.binary(max_size=60))
async def test_no_bytes_make_the_server_fail(client: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await client.post(path, content=body)

    assert answer.status_code < 500, answer.text
    answer.json()


@ANY
@given(routes_with_parameters, st.lists(st.tuples(parameter_names, parameter_values), max_size=3))
async def test_no_parameters_make_the_server_fail(
    client: httpx.AsyncClient, route: str, parameters: list[tuple[str, Any]]
) -> None:
    method, path = route.split()
    answer = await client.request(method, path, params=parameters)

    assert answer.status_code < 500, answer.text
    answer.json()
