"""The words of the OpenAPI document about alerts."""

from typing import Any, Final

from madsci_event_server.api.documented import EVENT_ID, Schema, answer, described, json_body, operation
from madsci_event_server.storage.alert_base import AlertState, MailState

TAG: Final = "Alerts"
_ALERT_ID: Final = "7f3k2q9d1x"
_MAIL_ID: Final = "c0e69fab208e31a1"
_SILENCE_ID: Final = "3d2d1775"
_TIME: Final = "2026-11-23T12:00:10.000000Z"

_ALERT: Final[Schema] = {
    "alert_id": _ALERT_ID,
    "rule": "alert_level",
    "kind": "node_error",
    "source": "liquidhandler_1",
    "pattern": "Tip # of # lost",
    "message": "Tip 14 of 96 lost",
    "forced": False,
    "count": 14,
    "state": "open",
    "opened_at": _TIME,
    "updated_at": _TIME,
    "first_event_id": EVENT_ID,
    "last_event_id": EVENT_ID,
    "first_event_at": _TIME,
    "last_event_at": _TIME,
    "last_seq": 4711,
    "due_at": _TIME,
    "acknowledged": None,
    "resolved": None,
    "silenced_by": None,
    "told": {},
    "log_level": 40,
}
_MAIL: Final[Schema] = {
    "mail_id": _MAIL_ID,
    "message_id": f"<{_MAIL_ID}@example.org>",
    "recipients": ["ada@example.org"],
    "subject": "[Robot Lab] ERROR liquidhandler_1: Tip 14 of 96 lost (x14)",
    "purpose": "alerts",
    "alert_ids": [_ALERT_ID],
    "created_at": _TIME,
    "state": "sent",
    "attempts": 1,
    "next_at": _TIME,
    "turned_down": False,
    "retried_at": None,
    "last_answer": "250 OK",
    "finished_at": _TIME,
}
_SILENCE: Final[Schema] = {
    "silence_id": _SILENCE_ID,
    "matcher": {"node": "robotarm_1"},
    "created_at": _TIME,
    "expires_at": _TIME,
    "reason": "calibration",
    "author": "ada",
    "ended_at": None,
    "active": True,
}
_CONDITION: Final[Schema] = {
    "configured": True,
    "open": 1,
    "acknowledged": 0,
    "silences": 0,
    "mails_waiting": 0,
    "dead_letters": 0,
    "failures": 0,
    "last_failure": None,
}


def _like(example: Schema, text: str, **more: Any) -> Schema:
    """An object with the fields of an example, all of them there."""
    return described("object", text, required=[*example], properties={name: {} for name in example} | more)


_AN_ALERT: Final = _like(
    _ALERT, "Events that say the same thing", count={"type": "integer"}, log_level={"type": "integer"}
)
_A_MAIL: Final = _like(_MAIL, "One message in the outbox", recipients={"type": "array", "items": {"type": "string"}})
_A_SILENCE: Final = _like(_SILENCE, "What keeps alerts from being mailed", active={"type": "boolean"})


def _list(name: str, item: Schema, text: str, **more: Schema) -> Schema:
    properties = {name: {"type": "array", "items": item}, **more}
    return described("object", text, required=[*properties], properties=properties)


def _states(states: type[AlertState] | type[MailState], text: str) -> dict[str, tuple[Schema, str, Any]]:
    values = [*(state.value for state in states), "all"]
    return {
        "state": ({"type": "array", "items": {"enum": values}}, text, values[:1]),
        "limit": ({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "How many at most", 20),
    }


_BY: Final = json_body(
    "Who does it",
    described(
        "object",
        "By whom, and what to tell the others",
        additionalProperties=False,
        properties={"by": {"type": "string"}, "note": {"type": ["string", "null"]}},
    ),
    {"Ada": {"by": "ada", "note": "on my way"}},
    required=False,
)
_NOTHING: Final = json_body("Nothing needs to be said", {"type": "object"}, {"Nothing": {}}, required=False)
_FOUND: Final = (404, 409, 422, 503)
_CHANGED: Final = (403, *_FOUND)
_BY_ADA: Final = {"by": "ada", "at": _TIME}


def _done_to_it(example: Schema) -> Schema:
    """A route by which somebody says something of an alert."""
    return operation(TAG, answer("The alert as it is now", _AN_ALERT, _ALERT | example), refused=_CHANGED, body=_BY)


LIST_ALERTS: Final = operation(
    TAG,
    answer(
        "Alerts, and how alerting is",
        _list("alerts", _AN_ALERT, "The one that counted last first", condition=_like(_CONDITION, "How alerting is")),
        {"alerts": [_ALERT], "condition": _CONDITION},
    ),
    query=_states(AlertState, "Alerts in these states; default: open and acknowledged"),
)
GET_ALERT: Final = operation(
    TAG,
    answer(
        "The alert",
        _like({**_ALERT, "recipients": [], "guidance": None, "mails": []}, "An alert, who is told, and the mails"),
        {**_ALERT, "recipients": ["ada@example.org"], "guidance": "Refill rack 2.", "mails": [_MAIL]},
    ),
    refused=_FOUND,
)
ACKNOWLEDGE: Final = _done_to_it({"state": "acknowledged", "acknowledged": _BY_ADA | {"note": "on my way"}})
RESOLVE: Final = _done_to_it({"state": "resolved", "resolved": _BY_ADA | {"note": "changed the rack"}})
LIST_SILENCES: Final = operation(
    TAG,
    answer("Silences", _list("silences", _A_SILENCE, "The latest first"), {"silences": [_SILENCE]}),
    query={"all": ({"type": "boolean", "default": False}, "Those that are over, too", True)},
)
SILENCE: Final = operation(
    TAG,
    answer("The silence", _A_SILENCE, _SILENCE),
    refused=(403, 422, 503),
    body=json_body(
        "What, until when, why and by whom",
        described(
            "object",
            "`matcher` holds filters as `POST /events/search` takes them, for an alert's latest event; `rule` and "
            "`alert_id` beside them name rules and alerts. It ends at `expires_at`, or after `duration_seconds`",
            required=["matcher", "reason", "author"],
            additionalProperties=False,
            properties={
                "matcher": {"type": "object", "minProperties": 1},
                "expires_at": {"type": "string"},
                "duration_seconds": {"type": "number", "exclusiveMinimum": 0},
                "reason": {"type": "string"},
                "author": {"type": "string"},
            },
        ),
        {
            "A node for two hours": {
                "matcher": {"node": "robotarm_1"},
                "duration_seconds": 7200,
                "reason": "calibration",
                "author": "ada",
            }
        },
    ),
)
_ENDED: Final = answer("The silence as it is now", _A_SILENCE, _SILENCE | {"active": False, "ended_at": _TIME})
END_SILENCE: Final = operation(TAG, _ENDED, refused=_CHANGED)
END_SILENCE_NAMED: Final = operation(
    TAG,
    _ENDED,
    refused=_CHANGED,
    query={"silence_id": ({"type": "string"}, "Which; the beginning of its id will do", _SILENCE_ID)},
    needed=("silence_id",),
)
TEST_MAIL: Final = operation(
    TAG,
    answer(
        "What became of it",
        described(
            "object",
            "`taken` only if the mail server took a mail for everybody",
            required=["taken", "dry_run", "verdicts", "transcript", "mail"],
            properties={"taken": {"type": "boolean"}, "transcript": {"type": "array", "items": {"type": "string"}}},
        ),
        {
            "taken": True,
            "dry_run": False,
            "verdicts": [{"recipient": "ada@example.org", "taken": True, "answer": "250 OK", "remedy": ""}],
            "transcript": ["S: 220 smtp.example.org", "C: EHLO lab", "S: 250 OK"],
            "mail": "From: robot-lab@example.org\nTo: ada@example.org\n...",
        },
    ),
    refused=(403, 422, 503),
    body=json_body(
        "To whom: all recipients of the definition, or some of them",
        described(
            "object",
            "A dry run only shows the mail",
            additionalProperties=False,
            properties={"to": {"type": "array", "items": {"type": "string"}}, "dry_run": {"type": "boolean"}},
        ),
        {"Show the mail": {"dry_run": True}},
        required=False,
    ),
)
EXPLAIN: Final = operation(
    TAG,
    answer(
        "Why",
        _like({"event_id": "", "rules": [], "alerts": [], "mails": [], "explanation": []}, "In sentences, and as data"),
        {
            "event_id": EVENT_ID,
            "rules": ["alert_level"],
            "alerts": [_ALERT],
            "mails": [_MAIL],
            "explanation": ["Rule alert_level matches: the level reaches alert_level."],
        },
    ),
    refused=(404, 422, 503),
)
LIST_MAILS: Final = operation(
    TAG,
    answer("Mails", _list("mails", _A_MAIL, "The latest first"), {"mails": [_MAIL]}),
    query=_states(MailState, "Mails in these states; default: pending and dead"),
)
GET_MAIL: Final = operation(
    TAG,
    answer(
        "The mail",
        _like({**_MAIL, "content": ""}, "A mail, and what it says"),
        _MAIL | {"content": "From: robot-lab@example.org\n..."},
    ),
    refused=_FOUND,
)
CANCEL_MAIL: Final = operation(
    TAG, answer("The mail as it is now", _A_MAIL, _MAIL | {"state": "cancelled"}), refused=_CHANGED, body=_NOTHING
)
RETRY_MAIL: Final = operation(
    TAG, answer("The mail as it is now", _A_MAIL, _MAIL | {"state": "pending"}), refused=_CHANGED, body=_NOTHING
)
