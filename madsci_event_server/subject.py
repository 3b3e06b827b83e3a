"""What an event is about: the kind, ids, names and texts that real events hide inside `event_data`.

Worked out here and nowhere else, from the parts of an event: its type, the ids of its source and what else stands
there, and `data`, the queryable form of `event_data`. Never written into what was sent.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from madsci_event_server.errors import InvalidEvent
from madsci_event_server.json_text import encode_json, queryable, tidy
from madsci_event_server.sent_fields import MAX_ID_CHARACTERS, canonical_id, parse_event_type
from madsci_event_server.vocabulary import SOURCE_ID_FIELDS

NAMED_BY: Final = {
    "experiment_name": "experiment_id",
    "campaign_name": "campaign_id",
    "project_name": "project_id",
    "workcell_name": "workcell_id",
    "workflow_name": "workflow_id",
    "lab_name": "lab_id",
    "user_name": "user_id",
}
"""Names in `event_data` that stand beside the id of the same thing."""

_NAMES: Final = frozenset({"node_name", *NAMED_BY})


class NamedId(NamedTuple):
    """A name seen beside the id of what it names: `("node_id", "01J...", "liquidhandler_1")`."""

    field: str
    id: str
    name: str


def kind_of(event_type: str, data: object) -> str:
    """What the event is about: its type, or the one MADSci's client hid in `event_data` behind `log_info`."""
    if (event_type.startswith("log_") or event_type in ("unknown", "log")) and isinstance(data, dict):
        inner = data.get("event_type")
        if isinstance(inner, str):
            return _type_or(inner, event_type)
    return event_type


def ids_of(source: Mapping[str, str | None], others: Mapping[str, Any], data: object) -> dict[str, str]:
    """The ids it can be found by, in canonical form: of `source`, else the same key of `event_data`."""
    inner = data if isinstance(data, dict) else {}
    found = {}
    for field in SOURCE_ID_FIELDS:
        if (value := source.get(field)) is None and (value := inner.get(field)) is None:
            continue
        if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARACTERS:
            found[field] = canonical_id(value)
    action_id = others.get("action_id")
    if action_id is None:
        action_id = inner.get("action_id")
    if isinstance(action_id, str) and 0 < len(action_id) <= MAX_ID_CHARACTERS:
        found["action_id"] = canonical_id(queryable(action_id))
    return found


def message_of(kind: str, data: object) -> str:
    """One text that says it: `event_data.message`, the text that was logged, else the kind and compact data."""
    if isinstance(data, dict):
        text = data.get("message")
        if isinstance(text, str):
            return text
        if text is not None:
            return encode_json(text).decode()
    if isinstance(data, str):
        return _unquoted(data)
    if data is None or data in ({}, []):
        return kind
    return f"{kind} {encode_json(data).decode()}"


def name_of(others: Mapping[str, Any], data: object) -> str | None:
    """The human name of what it is about, or None: a node's before that of the component that says it."""
    source_name = others.get("name")
    if isinstance(source_name, str) and source_name:
        return str(queryable(source_name))
    if not isinstance(data, dict):
        return None
    node_name = data.get("node_name")
    if isinstance(node_name, str) and node_name:
        return node_name
    return _component_name(data)


def named_ids_of(
    source: Mapping[str, str | None], others: Mapping[str, Any], data: object, ids: Mapping[str, str]
) -> tuple[NamedId, ...]:
    """The names this event gives to ids: of who sent it, of the node it is about, and of what it belongs to."""
    found = []
    field = "node_id" if source.get("node_id") is not None else "manager_id"
    if (sender_id := source.get(field)) is not None and (sender := _sender_name(others, data)):
        found.append(NamedId(field, canonical_id(sender_id), str(queryable(sender))))
    if isinstance(data, dict) and not data.keys().isdisjoint(_NAMES):
        found += _names_beside_ids(data, ids)
    # Of two names for one id what stands beside it is meant.
    return tuple({(named.field, named.id): named for named in found}.values()) if len(found) > 1 else tuple(found)


def texts_of(data: object, texts: list[str]) -> None:
    """Adds every string value in `data`, however deep."""
    kind = type(data)
    if kind is str:
        texts.append(data)  # type: ignore[arg-type]  # a test by isinstance would take a good part of the time
    elif kind is dict:
        for item in data.values():  # type: ignore[attr-defined]
            texts_of(item, texts)
    elif kind is list:
        for item in data:  # type: ignore[attr-defined]
            texts_of(item, texts)


@lru_cache(maxsize=1024)
def _type_or(inner: str, outer: str) -> str:
    try:
        return parse_event_type(inner)
    except InvalidEvent:
        return outer


def _unquoted(text: str) -> str:
    """`text`, or the string it is the JSON of: MADSci's `log("...")` sends JSON inside the string."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            inner = json.loads(text)
        except ValueError:
            return text
        return str(queryable(tidy(inner, "event_data")))
    return text


def _sender_name(others: Mapping[str, Any], data: object) -> str | None:
    name = others.get("name")
    if isinstance(name, str) and name:
        return name
    return _component_name(data) if isinstance(data, dict) else None


def _component_name(data: Mapping[str, Any]) -> str | None:
    name = data.get("component_name")
    if isinstance(name, str):
        return name.removeprefix("node.") or None
    return None


def _names_beside_ids(data: Mapping[str, Any], ids: Mapping[str, str]) -> list[NamedId]:
    found = []
    node_id, node_name = data.get("node_id"), data.get("node_name")
    if isinstance(node_id, str) and node_id and isinstance(node_name, str) and node_name:
        found.append(NamedId("node_id", canonical_id(node_id), node_name))
    for name_field, id_field in NAMED_BY.items():
        name = data.get(name_field)
        if isinstance(name, str) and name and id_field in ids:
            found.append(NamedId(id_field, ids[id_field], name))
    return found
