"""Alerts, silences and mails as people see them: spans, like events in `rendering`."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from madsci_event_cli.rendering import LEVEL_FACES, Span, cells, cut, cut_spans, fitted, id_end, instant_text, visible
from madsci_event_server.vocabulary import EventLogLevel

Line = list[Span]

_STATES: Final = {
    "open": "level.error",
    "acknowledged": "level.warning",
    "resolved": "level.info",
    "pending": "level.warning",
    "dead": "level.error",
    "sent": "level.info",
    "cancelled": "dim",
}
_LABEL_CELLS: Final = 13
_SHORT_STATES: Final = {"acknowledged": "acked"}
_WIDE: Final = 96
"""Cells from which a line has room for words as well as for what happened."""
_ID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_UNBOUNDED: Final = 10_000


def age_text(span: timedelta) -> str:
    """A length of time in one unit, for a column: `14m`, `3h`, `2d`."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def named(alert: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    """The alert with the name of what it is about, where it has only an id."""
    return {**alert, "source": names.get(alert["source"], alert["source"])}


def alert_line(alert: Mapping[str, Any], now: datetime, width: int | None, *, says_id: bool = True) -> Line:
    """One alert on one line, in columns; shorter ones, and cut to `width` cells, where that is given.

    Its id is left out where a key, not a command, is to act on it.
    """
    is_wide = width is None or width >= _WIDE
    head = [*([(f"{alert['alert_id']}  ", "id")] if says_id else []), *_condition(alert, now, is_wide=is_wide)]
    if width is None:
        return [*head, (f"{visible(alert['source'])}  " if alert["source"] else "", "name"), _message(alert)]
    about: Span = (f"{_short(alert['source'], 20 if is_wide else 14)}  ", "name")
    room = width - sum(cells(text) for text, _ in (*head, about))
    text, style = _message(alert)
    return cut_spans([*head, about, (cut(text, max(0, room)), style)], width)


def _condition(alert: Mapping[str, Any], now: datetime, *, is_wide: bool) -> Line:
    state, face = _state(alert), LEVEL_FACES[EventLogLevel(alert["log_level"])]
    # Of an open one the level says how bad it is: two red words would not say more.
    style = "" if state == "open" else _STATES[alert["state"]]
    age = age_text(now - _moment(alert["updated_at"]))
    if is_wide:
        return [
            (fitted(state, 12) + "  ", style),
            (f"{face.label} {face.glyph}", face.style),
            ("  ", ""),
            (f"{'x' + str(alert['count']):>7}  ", ""),
            (f"{age:>4} ago  ", "time"),
        ]
    return [
        (fitted(_SHORT_STATES.get(state, state), 8) + " ", style),
        (face.label, face.style),
        (" ", ""),
        (f"{'x' + str(alert['count']):>5} ", ""),
        (f"{age:>4}  ", "time"),
    ]


def _message(alert: Mapping[str, Any]) -> Span:
    return visible(alert["message"]), LEVEL_FACES[EventLogLevel(alert["log_level"])].message_style


def _short(source: str, size: int) -> str:
    """A name that leaves room for what happened; of an id, its end."""
    return fitted(id_end(source) if _ID.fullmatch(source) else visible(source), size)


def alert_block(alert: Mapping[str, Any], zone: tzinfo | None) -> list[Line]:
    """One alert, all of it, and the mails that told of it."""
    level = EventLogLevel(alert["log_level"])
    face = LEVEL_FACES[level]
    source = f"{visible(alert['source'])}: " if alert["source"] else ""
    heading: Line = [(f"{level.name}  ", face.style), (source, "name"), (visible(alert["message"]), "message")]
    facts = [
        fact("state", _state(alert), _STATES[alert["state"]]),
        fact("events", f"{alert['count']}"),
        fact("first", f"{_at(alert['first_event_at'], zone)}  {visible(alert['first_event_id'])}"),
        fact("last", f"{_at(alert['last_event_at'], zone)}  {visible(alert['last_event_id'])}"),
        fact("rule", visible(alert["rule"])),
        fact("kind", visible(alert["kind"])),
        fact("same when", visible(alert["pattern"])),
        *(_signed(label, alert[label], zone) for label in ("acknowledged", "resolved") if alert.get(label)),
        *([fact("silenced by", visible(alert["silenced_by"]))] if alert.get("silenced_by") else []),
        fact("tells", ", ".join(map(visible, alert.get("recipients", []))) or "nobody: no recipients are set"),
    ]
    if alert["state"] == "open" and alert.get("due_at") and alert.get("recipients"):
        facts.append(fact("next look", _at(alert["due_at"], zone)))
    advice = (alert.get("guidance") or "").strip().splitlines()
    guidance = [fact("" if number else "what to do", visible(line)) for number, line in enumerate(advice)]
    mails = [mail_line(mail, zone, None) for mail in alert.get("mails", [])]
    return [heading, fact("alert", alert["alert_id"], "id"), *facts, *guidance, *_under("Mails", mails)]


def silence_line(silence: Mapping[str, Any], zone: tzinfo | None) -> Line:
    """One silence on one line."""
    matcher = "  ".join(f"{name}={_plain(value)}" for name, value in silence["matcher"].items())
    until = f"until {_at(silence['expires_at'], zone)}" if silence["active"] else "over"
    return [
        (f"{silence['silence_id']}  ", "id"),
        (f"{until}  ", "time" if silence["active"] else "dim"),
        (f"{visible(matcher)}  ", "name"),
        (f"{visible(silence['author'])}: {visible(silence['reason'])}", ""),
    ]


def mail_line(mail: Mapping[str, Any], zone: tzinfo | None, width: int | None) -> Line:
    """One mail on one line; what the mail server said of it stands behind it, unless all is well."""
    head: Line = [
        (f"{mail['mail_id']}  ", "id"),
        (fitted(mail["state"], 9) + "  ", _STATES[mail["state"]]),
        (f"{_at(mail['created_at'], zone)}  ", "time"),
    ]
    said = f"  {visible(mail['last_answer'])}" if mail["last_answer"] and mail["state"] != "sent" else ""
    text = f"{', '.join(map(visible, mail['recipients']))}  {visible(mail['subject'])}"
    room = (width or _UNBOUNDED) - sum(cells(part) for part, _ in head)
    shown = cut(text, max(0, room))
    return [*head, (shown, ""), (cut(said, max(0, room - cells(shown))), "dim")]


def proof_lines(proof: Mapping[str, Any]) -> list[Line]:
    """The conversation with the mail server, and what became of each mail."""
    lines: list[Line] = [_said(str(line)) for line in proof["transcript"]]
    if proof["dry_run"]:
        lines += [[(visible(line), "")] for line in str(proof["mail"]).splitlines()]
    lines += [[("", "")]] if lines else []
    for verdict in proof["verdicts"]:
        word, style = ("TAKEN", "level.info") if verdict["taken"] else ("NOT TAKEN", "level.error")
        if proof["dry_run"]:
            word, style = "NOT SENT", "level.warning"
        lines.append(
            [(f"{word}  ", style), (f"{visible(verdict['recipient'])}  ", "name"), (visible(verdict["answer"]), "")]
        )
        if verdict["remedy"]:
            lines.append([(" " * 11, ""), (visible(verdict["remedy"]), "dim")])
    return lines


def explanation_lines(found: Mapping[str, Any]) -> list[Line]:
    """The sentences, one a line."""
    return [[(visible(str(sentence)), "")] for sentence in found["explanation"]]


def fact(label: str, text: str, style: str = "") -> Line:
    """A label and what it says."""
    return [(fitted(label, _LABEL_CELLS), "label"), (text, style)]


def _state(alert: Mapping[str, Any]) -> str:
    return "silenced" if alert["state"] == "open" and alert.get("silenced_by") else str(alert["state"])


def _signed(label: str, signed: Mapping[str, Any], zone: tzinfo | None) -> Line:
    note = f": {visible(signed['note'])}" if signed["note"] else ""
    return fact(label, f"{_at(signed['at'], zone)} by {visible(signed['by'])}{note}")


def _said(line: str) -> Line:
    who, _, text = line.partition(": ")
    return [(f"{who} ", "dim"), (visible(text), {"S": "", "C": "name"}.get(who, "dim"))]


def _under(heading: str, lines: Sequence[Line]) -> list[Line]:
    return [[("", "")], [(heading, "heading")], *lines] if lines else []


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _at(text: str, zone: tzinfo | None) -> str:
    return instant_text(_moment(text), zone)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
