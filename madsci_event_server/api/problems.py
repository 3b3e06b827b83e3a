"""Where an exception becomes an HTTP answer: the only place, and one JSON shape for all of them.

`{"detail": "what is wrong and the way out", "errors": [{"field", "problem", "value"}]}`
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from madsci_event_server.errors import (
    Ambiguous,
    CursorExpired,
    InvalidInput,
    MadsciEventsError,
    NotFound,
    NotOffered,
    OriginNotAllowed,
    Overloaded,
    QueryTimedOut,
    ServerError,
    StoreError,
    StoreUnavailable,
    TooLarge,
    shown,
)
from madsci_event_server.json_text import encode_json

_log = logging.getLogger(__name__)

STATUSES: Final[Mapping[type[MadsciEventsError], int]] = {
    TooLarge: 413,
    InvalidInput: 422,
    OriginNotAllowed: 403,
    NotFound: 404,
    Ambiguous: 409,
    CursorExpired: 410,
    NotOffered: 501,
    Overloaded: 503,
    QueryTimedOut: 503,
    StoreError: 503,
    ServerError: 502,
    MadsciEventsError: 500,
}
"""The status of each failure; of the most special class that is here."""

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MAX_TEXT_CHARACTERS = 2_000
_MAX_FIELD_CHARACTERS = 200
_STORE_RETRY_SECONDS = 5


def install(app: FastAPI) -> None:
    """Makes every failure of this app's routes an answer."""
    app.add_exception_handler(MadsciEventsError, _on_failure)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)


class Answered:
    """A plain ASGI application whose failures are answered as those of `install`, without the framework around it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except MadsciEventsError as error:
            await _failure(error)(scope, receive, send)
        except ClientDisconnect:
            pass
        except Exception:
            await _bug(scope["method"], scope["path"])(scope, receive, send)
            raise


def problem(error: MadsciEventsError, **more: Any) -> Response:
    """The answer to one failure; `more` is added to its body."""
    document: dict[str, Any] = {"detail": problem_text(error), "errors": _errors(error), **more}
    headers = {"Retry-After": str(seconds)} if (seconds := _retry_after(error)) is not None else None
    return _answer(status_of(error), document, headers)


def problem_text(error: MadsciEventsError) -> str:
    """What is wrong and the way out, as an answer may carry it."""
    if isinstance(error, InvalidInput) and len(error.field) > _MAX_FIELD_CHARACTERS:
        return f"{_text(error.field, _MAX_FIELD_CHARACTERS)}: {_text(error.problem, _MAX_TEXT_CHARACTERS // 2)}"
    return _text(str(error), _MAX_TEXT_CHARACTERS)


def status_of(error: MadsciEventsError) -> int:
    """The HTTP status of a failure."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def _answer(status: int, document: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode_json(document), status, headers, media_type="application/json")


def _errors(error: MadsciEventsError) -> list[dict[str, Any]]:
    if not isinstance(error, InvalidInput):
        return []
    return [
        {
            "field": _text(error.field, _MAX_FIELD_CHARACTERS),
            "problem": _text(error.problem, _MAX_TEXT_CHARACTERS),
            "value": _value(error.value),
        }
    ]


def _text(text: str, limit: int) -> str:
    """`text` as it may stand in an answer: printable (so no lone surrogates either) and not endless."""
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _value(value: object) -> object:
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    if isinstance(value, str) and value.isprintable() and len(value) <= _MAX_FIELD_CHARACTERS:
        return value
    return shown(value)


def _retry_after(error: MadsciEventsError) -> int | None:
    if isinstance(error, (Overloaded, StoreUnavailable)):
        return error.retry_after_seconds
    return _STORE_RETRY_SECONDS if isinstance(error, (StoreError, QueryTimedOut)) else None


async def _on_failure(_: Request, error: Exception) -> Response:
    assert isinstance(error, MadsciEventsError)  # noqa: S101  # it is registered for these
    return _failure(error)


def _failure(error: MadsciEventsError) -> Response:
    if status_of(error) >= 500 and not isinstance(error, (NotOffered, Overloaded)):
        _log.warning("%s: %s", type(error).__name__, error)
    return problem(error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # likewise
    if error.status_code == 404:
        path = shown(request.scope["path"])
        return _answer(404, {"detail": f"{path} is not a route of this server; /docs lists them", "errors": []})
    if error.status_code == 405:
        allowed = ", ".join(_methods_of(request))
        detail = f"{request.method} is not offered here; use {allowed}"
        return _answer(405, {"detail": detail, "errors": []}, {"Allow": allowed})
    return _answer(error.status_code, {"detail": error.detail, "errors": []}, error.headers)


def _methods_of(request: Request) -> list[str]:
    """Every method some route offers at this path: one route's own 405 knows only its own."""
    routes = request.app.routes
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


async def _on_bug(request: Request, error: Exception) -> Response:
    return _bug(request.method, request.url.path)


def _bug(method: str, path: str) -> Response:
    """Uvicorn logs the traceback; the client learns that it was not its fault, and nothing of ours."""
    _log.error("%s %s failed, and it is a bug; its traceback follows", method, shown(path))
    return _answer(500, {"detail": "the server failed at this request; its log says where: a bug", "errors": []})
