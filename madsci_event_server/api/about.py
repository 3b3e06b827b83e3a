"""What this server is: its front page, its definition in MADSci's shape, its settings, and what it does not offer."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from madsci_event_server.api.answers import json_answer
from madsci_event_server.api.context import context_of
from madsci_event_server.api.documented import answer, operation
from madsci_event_server.api.front_page import front_page
from madsci_event_server.api.parameters import flag, only
from madsci_event_server.errors import NotOffered
from madsci_event_server.settings import REDACTED, Settings

_NOT_OFFERED: Final = {
    "utilization": "utilization reports are not offered here; GET /events/facets and /events/histogram count events, "
    "and POST /events/query finds those a report is made from",
    "backup": "backups are not made over HTTP here; copy the database file or use the database's own tools",
}
_ANY_METHOD: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]

_DEFINED: Final = answer(
    "MADSci's definition of an event manager",
    {"type": "object"},
    {
        "name": "Event Manager",
        "manager_id": "01M84VMC3N1SG08XM8G777QGT5",
        "description": None,
        "manager_type": "event_manager",
        "url": "http://localhost:8001/",
        "host": "localhost",
        "port": 8001,
        "db_url": REDACTED,
        "event_client_config": None,
        "alert_level": 40,
        "email_alerts": None,
    },
)

router = APIRouter()


@router.get("/", openapi_extra=operation("About", _DEFINED, refused=()))
async def root(request: Request) -> Response:
    """The definition as JSON; to who accepts HTML, a page that says where to go."""
    if "text/html" in request.headers.get("accept", ""):
        return front_page(context_of(request).settings)
    return _definition(request)


@router.get("/info", openapi_extra=operation("About", _DEFINED, refused=()))
async def info(request: Request) -> Response:
    """The definition of this server, as MADSci's managers give it. No secrets."""
    only(request)
    return _definition(request)


@router.get("/definition", openapi_extra=operation("About", _DEFINED, refused=()))
async def definition(request: Request) -> Response:
    """The definition of this server, as MADSci's managers give it. No secrets."""
    only(request)
    return _definition(request)


@router.get(
    "/settings",
    openapi_extra=operation(
        "About",
        answer(
            "Settings, secrets hidden",
            {"type": "object", "required": ["settings"]},
            {"settings": {"port": 8001, "db_url": "sqlite:///events.db"}, "origins": {"port": "--port"}},
        ),
        refused=(422,),
        query={
            "include_defaults": ({"type": "boolean", "default": True}, "Settings nobody set, too", None),
            "include_schema": ({"type": "boolean", "default": False}, "Their JSON schema, too", None),
        },
    ),
)
async def settings(request: Request) -> Response:
    """The settings in force and where each came from, secrets hidden."""
    only(request, "include_defaults", "include_schema")
    current = context_of(request).settings
    shown = current.shown()
    if not flag(request, "include_defaults", default=True):
        shown = {name: value for name, value in shown.items() if name in current.origins}
    answer: dict[str, Any] = {"settings": shown, "origins": dict(current.origins)}
    if flag(request, "include_schema", default=False):
        answer |= {"schema": Settings.model_json_schema(), "schema_title": Settings.__name__}
    return json_answer(answer)


@router.api_route("/utilization/{report:path}", methods=_ANY_METHOD, include_in_schema=False)
@router.api_route("/utilization", methods=_ANY_METHOD, include_in_schema=False)
async def utilization() -> Response:
    """MADSci's reports, which this server has not."""
    raise NotOffered(_NOT_OFFERED["utilization"])


@router.api_route("/backup/{rest:path}", methods=_ANY_METHOD, include_in_schema=False)
@router.api_route("/backup", methods=_ANY_METHOD, include_in_schema=False)
async def backup() -> Response:
    """MADSci's backups, which this server has not."""
    raise NotOffered(_NOT_OFFERED["backup"])


def _definition(request: Request) -> Response:
    settings = context_of(request).settings
    host, port = request.url.hostname, request.url.port
    return json_answer(
        {
            "name": settings.name,
            "manager_id": settings.manager_id,
            "description": settings.description,
            "manager_type": "event_manager",
            "url": settings.url or str(request.base_url),
            "host": host or settings.host,
            "port": port or settings.port,
            "db_url": REDACTED,
            "event_client_config": None,
            "alert_level": int(settings.alert_level),
            "email_alerts": None if settings.email_alerts is None else settings.email_alerts.shown(),
        }
    )
