"""`/openapi.json`, complete and with examples, and `/docs` and `/redoc`, which load nothing from anywhere."""

from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from madsci_event_server.api.answers import json_answer, page_answer
from madsci_event_server.api.documented import (
    SCHEMAS,
    SENT_EVENT,
    STORED_EVENT,
    Schema,
    answer,
    json_body,
    operation,
    ref,
)
from madsci_event_server.api.reference_page import reference_page

_ABOUT: Final = (
    "The event log of a lab: takes events, keeps them, finds them. A drop-in for MADSci's Event Manager. "
    "Unknown parameters are refused with the nearest that exists; every refusal says which field, and the way out."
)
_TAGS: Final = ("Send", "Read", "Count", "Alerts", "Archive", "About")
_COUNTS: Final = {
    "type": "object",
    "required": ["accepted", "duplicates", "raised", "conflicts", "rejected"],
    "properties": {
        **{name: {"type": "integer"} for name in ("accepted", "duplicates", "raised", "conflicts")},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "error"],
                "properties": {"index": {"type": "integer"}, "error": {"type": "string"}},
            },
        },
    },
}
_OUTCOME: Final = {
    "Event-Outcome": "`stored`; `duplicate`: sent before, the first is kept; `raised`: sent before with a lower level "
    "or without the alert flag, which went up; `conflict`: another event has this id, that one is kept"
}

_MINIMAL: Final = {"event_data": {"message": "hello"}}
PLAIN_ROUTES: Final[dict[str, Schema]] = {
    "/event": {
        "summary": "Post Event",
        "description": "Stores one event. The answer comes when it is durable; of a duplicate it is the first.",
        "operationId": "post_event",
        **operation(
            "Send",
            answer("The event as it is stored", ref("Event"), STORED_EVENT, headers=_OUTCOME),
            refused=(413, 422, 503),
            body=json_body(
                "Any Content-Type, or none, is read as JSON",
                ref("SentEvent"),
                {"An error of a node": SENT_EVENT, "The least": _MINIMAL},
            ),
        ),
    },
    "/events": {
        "summary": "Post Events",
        "description": "Stores many events, each judged by itself: 200 even when some are refused. A 503 says, in the "
        "same fields, what was stored before it; sending all again is safe where events have ids.",
        "operationId": "post_events",
        **operation(
            "Send",
            answer(
                "What became of them",
                _COUNTS,
                {
                    "accepted": 2,
                    "duplicates": 0,
                    "raised": 0,
                    "conflicts": 0,
                    "rejected": [{"index": 1, "error": "log_level: 'loud' is not a level; use ..."}],
                },
            ),
            refused=(422, 503),
            body=json_body(
                "A JSON array, or one event a line (NDJSON); of any length, it is read as it comes",
                {"type": "array", "items": ref("SentEvent")},
                {"Two events": [SENT_EVENT, _MINIMAL]},
            ),
        ),
    },
}
"""The routes FastAPI does not know: they are plain ASGI."""

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The whole interface, to machines."""
    return json_answer(document(request.app))


@router.get("/docs")
@router.get("/redoc")
async def reference(request: Request) -> Response:
    """The whole interface, to people."""
    return page_answer(reference_page(document(request.app)))


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _document(app)
    return app.openapi_schema


def _document(app: FastAPI) -> dict[str, Any]:
    # Not FastAPI's own: it drops every null, of examples too, and supposes answers of a validation not used here.
    paths: dict[str, dict[str, Schema]] = {path: {"post": entry} for path, entry in PLAIN_ROUTES.items()}
    for routes in app.state.routers:
        for route in routes.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                for method in route.methods or ():
                    paths.setdefault(_path(route), {})[method.lower()] = _entry(route)
    order = {tag: place for place, tag in enumerate(_TAGS)}
    ordered = sorted(paths, key=lambda path: min(order.get(e["tags"][0], len(order)) for e in paths[path].values()))
    return {
        "openapi": "3.1.0",
        "info": {"title": app.title, "version": app.version, "description": _ABOUT},
        "tags": [{"name": tag} for tag in _TAGS],
        "paths": {path: paths[path] for path in ordered},
        "components": {"schemas": dict(SCHEMAS)},
    }


def _path(route: APIRoute) -> str:
    return route.path_format.replace(":path", "")


def _entry(route: APIRoute) -> Schema:
    extra = dict(route.openapi_extra or {})
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": "Escaped or not"}
        for name in route.param_convertors
    ]
    return {
        "summary": route.name.replace("_", " ").capitalize(),
        "description": route.description,
        "operationId": route.name,
        **extra,
        "parameters": [*in_path, *extra.get("parameters", [])],
    }
