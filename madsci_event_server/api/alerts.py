"""Alerts over HTTP: what is wrong, who has taken it on, what was mailed, and whether mail would come."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.responses import Response

from madsci_event_server.alerts.alerting import LONGEST_SILENCE, Alerting
from madsci_event_server.api import alerts_documented as documented
from madsci_event_server.api.answers import json_answer
from madsci_event_server.api.bodies import read_question
from madsci_event_server.api.context import Context, context_of
from madsci_event_server.api.origins import refuse_foreign_pages
from madsci_event_server.api.parameters import flag, one, only, whole_number
from madsci_event_server.errors import InvalidInput, InvalidQuery, shown
from madsci_event_server.event import format_time, parse_time
from madsci_event_server.json_text import parse_json, tidy
from madsci_event_server.storage.alert_base import Alert, AlertState, Mail, MailState

MAX_LISTED: Final = 1000
_DEFAULT_LISTED: Final = 100
_ALL: Final = "all"
_SOMEBODY: Final = "somebody"
"""Who does what nobody signs."""
_MOST_SECONDS: Final = int(LONGEST_SILENCE.total_seconds())
_State = TypeVar("_State", bound=StrEnum)

router = APIRouter(prefix="/alerts", dependencies=[Depends(refuse_foreign_pages)])


@router.get("", openapi_extra=documented.LIST_ALERTS)
async def list_alerts(request: Request) -> Response:
    """The alerts that are not resolved, or those of a `state` (repeatable, `all`), the latest first."""
    only(request, "state", "limit")
    alerting = _alerting(request)
    states = _states(request, AlertState, (AlertState.OPEN, AlertState.ACKNOWLEDGED))
    alerts = await alerting.alerts(states, _limit(request))
    condition = asdict(await alerting.condition())
    return json_answer({"alerts": [_alert(alert) for alert in alerts], "condition": condition})


@router.get("/silences", openapi_extra=documented.LIST_SILENCES)
async def list_silences(request: Request) -> Response:
    """The silences that hold now; `all` adds those that are over."""
    only(request, "all")
    every = flag(request, "all", default=False)
    now = context_of(request).clock()
    silences = [silence for silence in await _alerting(request).silences() if every or silence.active(now)]
    return json_answer({"silences": [_plain(silence) | {"active": silence.active(now)} for silence in silences]})


@router.post("/silences", openapi_extra=documented.SILENCE)
async def silence_alerts(request: Request) -> Response:
    """Keeps what matches from being mailed: `matcher`, an end, `reason` and `author` must all be said."""
    only(request)
    fields = await _fields(request, "matcher", "expires_at", "duration_seconds", "reason", "author")
    silence = await _alerting(request).silence(
        fields.get("matcher"),
        expires_at=_end(fields, context_of(request)),
        reason=_text(fields, "reason"),
        author=_text(fields, "author"),
    )
    return json_answer(_plain(silence) | {"active": True})


@router.delete("/silences", openapi_extra=documented.END_SILENCE_NAMED)
async def end_silence_named(request: Request) -> Response:
    """Ends the silence of this `silence_id` early."""
    only(request, "silence_id")
    silence_id = one(request, "silence_id")
    if silence_id is None:
        raise InvalidQuery("silence_id", "must say which silence to end")
    return await _end_silence(request, silence_id)


@router.delete("/silences/{silence_id}", openapi_extra=documented.END_SILENCE)
async def end_silence(request: Request, silence_id: str) -> Response:
    """Ends this silence early: what is still open is mailed."""
    only(request)
    return await _end_silence(request, silence_id)


async def _end_silence(request: Request, silence_id: str) -> Response:
    silence = await _alerting(request).end_silence(silence_id)
    return json_answer(_plain(silence) | {"active": False})


@router.post("/test", openapi_extra=documented.TEST_MAIL)
async def test_mail(request: Request) -> Response:
    """Mails every recipient of the definition, or those of them in `to`, and tells the whole conversation."""
    only(request)
    fields = await _fields(request, "to", "dry_run")
    wanted = fields.get("to") or []
    if not (isinstance(wanted, list) and all(isinstance(address, str) for address in wanted)):
        raise InvalidInput("to", "must be an array of mail addresses", value=wanted)
    dry_run = fields.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise InvalidInput("dry_run", "must be true or false", value=dry_run)
    return json_answer(asdict(await _alerting(request).prove(wanted, dry_run=dry_run)))


@router.get("/explain/{event_id:path}", openapi_extra=documented.EXPLAIN)
async def explain_event(request: Request, event_id: str) -> Response:
    """Which rules match an event, and why somebody was mailed about it or not."""
    only(request)
    found = await _alerting(request).explain(event_id)
    return json_answer(
        {
            "event_id": found.event_id,
            "rules": list(found.rules),
            "alerts": [_alert(alert) for alert in found.alerts],
            "mails": [_plain(mail) for mail in found.mails],
            "explanation": list(found.sentences),
        }
    )


@router.get("/outbox", openapi_extra=documented.LIST_MAILS)
async def list_mails(request: Request) -> Response:
    """The mails that wait or could not be delivered, or those of a `state` (repeatable, `all`), the latest first."""
    only(request, "state", "limit")
    states = _states(request, MailState, (MailState.PENDING, MailState.DEAD))
    mails = await _alerting(request).outbox(states, _limit(request))
    return json_answer({"mails": [_plain(mail) for mail in mails]})


@router.get("/outbox/{mail_id}", openapi_extra=documented.GET_MAIL)
async def get_mail(request: Request, mail_id: str) -> Response:
    """One mail, with what it says."""
    only(request)
    return json_answer(_whole(await _alerting(request).mail(mail_id)))


@router.post("/outbox/{mail_id}/cancel", openapi_extra=documented.CANCEL_MAIL)
async def cancel_mail(request: Request, mail_id: str) -> Response:
    """Takes a mail out of the outbox that has not been sent yet."""
    only(request)
    return json_answer(_plain(await _alerting(request).cancel_mail(mail_id)))


@router.post("/outbox/{mail_id}/retry", openapi_extra=documented.RETRY_MAIL)
async def retry_mail(request: Request, mail_id: str) -> Response:
    """Tries a mail now that waits, could not be delivered or was cancelled."""
    only(request)
    return json_answer(_plain(await _alerting(request).retry_mail(mail_id)))


@router.get("/{alert_id}", openapi_extra=documented.GET_ALERT)
async def get_alert(request: Request, alert_id: str) -> Response:
    """One alert, who is told of it, and the mails that did."""
    only(request)
    alerting = _alerting(request)
    alert = await alerting.alert(alert_id)
    mails = await alerting.mails_about(alert)
    return json_answer(
        _alert(alert)
        | {
            "recipients": list(alerting.rules.recipients(alert.rule)),
            "guidance": alerting.rules.guidance(alert.rule),
            "mails": [_plain(mail) for mail in mails],
        }
    )


@router.post("/{alert_id}/ack", openapi_extra=documented.ACKNOWLEDGE)
async def acknowledge_alert(request: Request, alert_id: str) -> Response:
    """`by` takes the alert on: it is counted still, and mailed no more unless it becomes worse."""
    only(request)
    fields = await _fields(request, "by", "note")
    return json_answer(_alert(await _alerting(request).acknowledge(alert_id, _by(fields), _note(fields))))


@router.post("/{alert_id}/resolve", openapi_extra=documented.RESOLVE)
async def resolve_alert(request: Request, alert_id: str) -> Response:
    """`by` says that it is over: who was mailed is told, and the next such event is news."""
    only(request)
    fields = await _fields(request, "by", "note")
    return json_answer(_alert(await _alerting(request).resolve(alert_id, _by(fields), _note(fields))))


def _alerting(request: Request) -> Alerting:
    return context_of(request).alerting


def _limit(request: Request) -> int:
    return whole_number(
        request, "limit", _DEFAULT_LISTED, least=1, most=MAX_LISTED, else_use="narrow it with state instead"
    )


def _states(request: Request, known: type[_State], default: tuple[_State, ...]) -> tuple[_State, ...]:
    wanted = request.query_params.getlist("state")
    if not wanted:
        return default
    if _ALL in wanted:
        return tuple(known)
    values = [state.value for state in known]
    for value in wanted:
        if value not in values:
            names = ", ".join([*values, _ALL])
            raise InvalidQuery("state", f"{shown(value)} is not a state; use {names}", value=value)
    return tuple(known(value) for value in wanted)


async def _fields(request: Request, *known: str) -> Mapping[str, Any]:
    """The fields of a body; none where there is no body."""
    body = await read_question(request)
    document = tidy(parse_json(body), "body") if body.strip() else {}
    if not isinstance(document, dict):
        raise InvalidInput("body", f"must be a JSON object with {', '.join(known)}", value=document)
    for name in document:
        if name not in known:
            raise InvalidInput(name, f"is not a field here; there are {', '.join(known)}", value=document[name])
    return document


def _end(fields: Mapping[str, Any], context: Context) -> datetime:
    seconds = fields.get("duration_seconds")
    if (seconds is None) == (fields.get("expires_at") is None):
        raise InvalidInput("expires_at", "or duration_seconds must say when it ends; give one of them")
    if seconds is None:
        return parse_time(fields["expires_at"], context.zone, "expires_at")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= _MOST_SECONDS:
        raise InvalidInput("duration_seconds", f"{shown(seconds)} is not a number of seconds up to 30 days")
    return context.clock() + timedelta(seconds=seconds)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(name, "must say who or why, in a few words", value=value)
    return value


def _by(fields: Mapping[str, Any]) -> str:
    return _SOMEBODY if fields.get("by") is None else _text(fields, "by")


def _note(fields: Mapping[str, Any]) -> str | None:
    return _text(fields, "note") if fields.get("note") is not None else None


def _alert(alert: Alert) -> dict[str, Any]:
    document = _plain(alert)
    del document["key"]
    return document | {"log_level": document.pop("level")}


def _whole(mail: Mail) -> dict[str, Any]:
    return _plain(mail) | {"content": mail.content.decode("utf-8", "replace").replace("\r\n", "\n")}


def _plain(model: BaseModel) -> dict[str, Any]:
    """A model as JSON, its times written as events' are."""
    return {name: _json(value) for name, value in model.model_dump().items()}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, dict):
        return {name: _json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value
