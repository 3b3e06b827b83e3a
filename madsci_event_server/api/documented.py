"""The words of the OpenAPI document: what routes take and answer, said once. `operation` is a route's entry."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from madsci_event_server.event import ID_FIELDS, EventType, format_time, us_to_time
from madsci_event_server.query import MAX_LIMIT

Schema = dict[str, Any]
Parameters = Mapping[str, tuple[Schema, str, Any]]
"""By name: what a value may be, what it says, an example."""

NODE_ID: Final = "01JYKZDPANTNRYXF5TQKRJS0F2"
EVENT_ID: Final = "01M84W00C21SPHKDZ53DPXVAZS"
CURSOR: Final = "t.bca12f846858e7bc.4.1795467927369384"
_NOON: Final = format_time(us_to_time(1_795_435_200_000_000))

SENT_EVENT: Final[Schema] = {
    "event_id": EVENT_ID,
    "event_type": "node_error",
    "log_level": "error",
    "event_timestamp": _NOON,
    "source": {"node_id": NODE_ID, "name": "liquidhandler_1"},
    "event_data": {"message": "Tip pickup failed", "plate": "P7"},
}
STORED_EVENT: Final[Schema] = {
    "_id": EVENT_ID,
    **SENT_EVENT,
    "log_level": 40,
    "alert": False,
    "trace_id": None,
    "span_id": None,
    "received_at": _NOON.replace(".000000", ".012345"),
    "archived": False,
    "archived_at": None,
}


def described(kind: str | list[str], text: str, **more: Any) -> Schema:
    """A schema that says what it is for."""
    return {"type": kind, "description": text, **more}


_TIME: Final = "ISO 8601 or epoch seconds or milliseconds; without a zone in the lab's"

_SOURCE: Final = described(
    "object",
    "Who or what it concerns: MADSci's ids, each a ULID, and whatever else is sent beside them (`name`, `host`).",
    properties={field: {"type": "string"} for field in ID_FIELDS if field != "action_id"},
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "SentEvent": described(
        "object",
        "An event as it is sent. Nothing is required, and nothing is dropped: fields not named here are kept.",
        properties={
            "event_id": described(
                ["string", "null"], "1 to 128 printable characters; `_id` is read too. Default: a ULID"
            ),
            "event_type": described(
                "string",
                f"One of MADSci's {len(EventType)}, such as `{EventType.NODE_ERROR.value}`, or any other of 1 to 64 "
                "letters, digits, `_`, `.` and `-`, in any case",
                default="unknown",
            ),
            "log_level": described(
                ["integer", "string"],
                "0, 10, 20, 30, 40, 50, or notset, debug, info, warning, error, critical",
                default=20,
            ),
            "alert": described("boolean", "Forces an alert, whatever the level", default=False),
            "event_timestamp": described(["string", "number", "null"], f"When it happened. {_TIME}. Default: now"),
            "source": {
                **_SOURCE,
                "type": ["object", "null"],
                "properties": {field: {"type": ["string", "null"]} for field in _SOURCE["properties"]},
            },
            "event_data": {"description": "Any JSON; it comes back equal"},
            "trace_id": {"type": ["string", "null"]},
            "span_id": {"type": ["string", "null"]},
        },
        additionalProperties=True,
    ),
    "Event": described(
        "object",
        "An event as it is stored, the id under both of MADSci's keys.",
        required=[*STORED_EVENT],
        properties={
            "_id": {"type": "string"},
            "event_id": {"type": "string"},
            "event_type": {"type": "string"},
            "event_type_as_sent": described(
                "string", "Where `event_type` says `unknown` because MADSci has no such type"
            ),
            "log_level": {"enum": [0, 10, 20, 30, 40, 50]},
            "alert": {"type": "boolean"},
            "event_timestamp": described("string", "UTC, always with six digits after the second"),
            "source": _SOURCE,
            "event_data": {"description": "As it was sent"},
            "trace_id": {"type": ["string", "null"]},
            "span_id": {"type": ["string", "null"]},
            "received_at": described("string", "By the server's clock"),
            "archived": {"type": "boolean"},
            "archived_at": {"type": ["string", "null"]},
        },
        additionalProperties=True,
    ),
    "EventsById": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Event"}},
    "Problem": described(
        "object",
        "Why a request was refused, and the way out.",
        required=["detail", "errors"],
        properties={
            "detail": {"type": "string"},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "problem", "value"],
                    "properties": {"field": {"type": "string"}, "problem": {"type": "string"}, "value": {}},
                },
            },
        },
    ),
}

FILTERS: Final[Parameters] = {
    "level": ({"type": "string"}, "Lowest level, by name or number", "warning"),
    "log_level": (
        {"type": "array", "items": {"type": "string"}},
        "Exact levels; `!` negates; may be repeated",
        ["error"],
    ),
    "kind": (
        {"type": "array", "items": {"type": "string"}},
        "What it is about; `workflow_*`, `!log_info`",
        ["workflow_*"],
    ),
    "event_type": (
        {"type": "array", "items": {"type": "string"}},
        "The type as sent; globs and `!` too",
        ["log_error"],
    ),
    **{
        field: (
            {"type": "array", "items": {"type": "string"}},
            "An id in `source`, or in `event_data`; `!` negates",
            None,
        )
        for field in ID_FIELDS
    },
    "node": ({"type": "array", "items": {"type": "string"}}, "A node by id or name", ["liquidhandler_1"]),
    "name": ({"type": "array", "items": {"type": "string"}}, "The name of what it is about", ["liquidhandler_1"]),
    "since": ({"type": "string"}, f"Event time at or after this ... {_TIME}", _NOON),
    "until": ({"type": "string"}, "... and before this", None),
    "start_time": ({"type": "string"}, "MADSci's: at or after this ...", None),
    "end_time": ({"type": "string"}, "... and at or before this", None),
    "search": ({"type": "string"}, "Words that must all occur; `tip*` is a prefix, `-test` excludes", "tip pickup"),
    "regex": ({"type": "string"}, "RE2 pattern found anywhere in the message", "well [A-H]1$"),
    "alert": ({"type": "boolean"}, "Whether its alert flag is set", None),
    "include_archived": ({"type": "boolean", "default": False}, "Archived events too", None),
    "only_archived": ({"type": "boolean", "default": False}, "Archived events only", None),
    "source.KEY": ({"type": "array", "items": {"type": "string"}}, "Any other key of `source`", None),
}
PAGE: Final[Parameters] = {
    "order": ({"enum": ["-time", "time", "received", "-archived"], "default": "-time"}, "Order of the answer", None),
    "limit": ({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}, "The same as `number`", None),
    "after": ({"type": "string"}, "A cursor: what follows that place", None),
}
WITH_A_SELECTOR: Final = {"With a selector": {"selector": {"event_data.plate": "P7"}}}
NUMBER: Final = (
    {"type": "integer", "minimum": 0, "maximum": MAX_LIMIT, "default": 100},
    "How many at most; 0 is all, streamed",
    20,
)
OFFSET: Final = ({"type": "integer", "minimum": 0, "default": 0}, "How many to pass over; a cursor is quicker", None)
LISTING: Final = {"number": NUMBER, "offset": OFFSET, **FILTERS, **PAGE}


def parameters(table: Parameters, needed: Collection[str] = ()) -> list[Schema]:
    """OpenAPI's entries for query parameters; without those `needed` a request is refused."""
    found = []
    for name, (schema, text, example) in table.items():
        entry = {"name": name, "in": "query", "required": name in needed, "schema": schema, "description": text}
        found.append(entry if example is None else entry | {"example": example})
    return found


def json_body(text: str, schema: Schema, examples: Mapping[str, Any], *, required: bool = True) -> Schema:
    """OpenAPI's entry for a JSON body."""
    content = {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
    return {"description": text, "required": required, "content": {"application/json": content}}


def filters_body(more: Parameters, text: str, examples: Mapping[str, Any]) -> Schema:
    """OpenAPI's entry for an EventQuery as JSON: every filter, a selector among them, and `more`."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{name: {**schema, "description": said} for name, (schema, said, _) in {**FILTERS, **more}.items()},
            "source": described("object", "Values of any other key of `source`"),
            "selector": described("object", "MongoDB's filter language"),
        },
    }
    return json_body(text, schema, examples)


def ref(name: str) -> Schema:
    """One of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def answer(text: str, schema: Schema, example: Any, *, headers: Mapping[str, str] | None = None) -> Schema:
    """OpenAPI's entry for a JSON answer."""
    entry: Schema = {"description": text, "content": {"application/json": {"schema": schema, "example": example}}}
    if headers:
        entry["headers"] = {
            name: {"description": words, "schema": {"type": "string"}} for name, words in headers.items()
        }
    return entry


_PROBLEMS: Final[Mapping[int, tuple[str, str]]] = {
    403: (
        "A page of another site asks",
        "a page of 'https://example.org' may read here, but not change this; to let it, name it in allowed_origins ...",
    ),
    404: ("There is none", "Event with ID 01M84W00C21SPHKDZ53DPXVAZS not found"),
    409: ("It fits several", "the ids of several events begin or end with 'plate-ru': plate-run-1, plate-run-2"),
    410: ("The cursor is of another store", "after: this cursor is of another store; start again without it"),
    413: ("Too large", "body: is larger than 1048576 bytes; send less at once, or raise EVENT_MAX_EVENT_BYTES"),
    422: (
        "Not to be understood; nothing was done",
        "level: 'loud' is not a level; use notset, debug, info, warning ...",
    ),
    501: ("Not offered here", "backups are not made over HTTP here; copy the database file ..."),
    503: ("Not now: the store is away or full, or too much waits. Retry after `Retry-After` seconds", "disk is full"),
}


def problems(*statuses: int) -> dict[str, Schema]:
    """OpenAPI's entries for refusals."""
    return {
        str(status): answer(_PROBLEMS[status][0], ref("Problem"), {"detail": _PROBLEMS[status][1], "errors": []})
        for status in statuses
    }


def operation(
    tag: str,
    ok: Schema,
    *,
    refused: Iterable[int] = (422, 503),
    query: Parameters | None = None,
    needed: Collection[str] = (),
    body: Schema | None = None,
) -> Schema:
    """A route's `openapi_extra`: what `documentation` keeps of what FastAPI finds is the path and the summary."""
    entry: Schema = {
        "tags": [tag],
        "parameters": parameters(query or {}, needed),
        "responses": {"200": ok, **problems(*refused)},
    }
    return entry if body is None else entry | {"requestBody": body}
