"""What an event is about: the kind, ids, names and texts that real events hide inside `event_data`.

Worked out here and nowhere else, from the parts of an event: its type, what its source says by itself, and `data`, the
queryable form of `event_data`. Never written into what was sent.
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
_IDS: Final = (*SOURCE_ID_FIELDS, "action_id")


class NamedId(NamedTuple):
    """A name seen beside the id of what it names: `("node_id", "01J...", "liquidhandler_1")`."""

    field: str
    id: str
    name: str


class SaidBySource:
    """What an event's source says by itself, whatever else the event holds: the same for all events of one source."""

    __slots__ = ("ids", "name", "sender", "unsaid")

    def __init__(self, source: Mapping[str, str | None], others: Mapping[str, Any]) -> None:
        """Of its ids, and of what else stands beside them."""
        said = {field: value for field in SOURCE_ID_FIELDS if (value := source.get(field)) is not None}
        if (action_id := others.get("action_id")) is not None:
            said["action_id"] = queryable(action_id)
        self.ids: Mapping[str, str] = {field: canonical_id(value) for field, value in said.items() if _is_id(value)}
        """In canonical form."""
        self.unsaid = frozenset(_IDS) - said.keys()
        """The ids it says nothing of, so that `event_data` may."""
        name = others.get("name")
        self.name: str | None = str(queryable(name)) if isinstance(name, str) and name else None
        """The human name of who sent the event."""
        field = "node_id" if "node_id" in said else "manager_id"
        self.sender = (field, canonical_id(said[field])) if field in said else None
        """The id that is of who sent it."""


def kind_of(event_type: str, data: object) -> str:
    """What the event is about: its type, or the one MADSci's client hid in `event_data` behind `log_info`."""
    if (event_type.startswith("log_") or event_type in ("unknown", "log")) and isinstance(data, dict):
        inner = data.get("event_type")
        if isinstance(inner, str):
            return _type_or(inner, event_type)
    return event_type


def ids_of(said: SaidBySource, data: object) -> Mapping[str, str]:
    """The ids it can be found by, in canonical form: of `source`, else the same key of `event_data`.

    Not to be changed: many events may have the same ones.
    """
    if not isinstance(data, dict) or data.keys().isdisjoint(said.unsaid):
        return said.ids
    found = dict(said.ids)
    for field in _IDS:
        if field in data and field in said.unsaid and _is_id(value := data[field]):
            found[field] = canonical_id(value)
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


def name_of(said: SaidBySource, data: object) -> str | None:
    """The human name of what it is about, or None: a node's before that of the component that says it."""
    if said.name is not None or not isinstance(data, dict):
        return said.name
    node_name = data.get("node_name")
    if isinstance(node_name, str) and node_name:
        return node_name
    return _component_name(data)


def named_ids_of(said: SaidBySource, data: object, ids: Mapping[str, str]) -> tuple[NamedId, ...]:
    """The names this event gives to ids: of who sent it, of the node it is about, and of what it belongs to."""
    if not isinstance(data, dict):
        return (NamedId(*said.sender, said.name),) if said.sender and said.name else ()
    found = []
    if said.sender is not None and (sender := said.name or _component_name(data)):
        found.append(NamedId(*said.sender, sender))
    if not data.keys().isdisjoint(_NAMES):
        found += _names_beside_ids(data, ids)
    # Of two names for one id what stands beside it is meant.
    return tuple({(named.field, named.id): named for named in found}.values()) if len(found) > 1 else tuple(found)


def texts_of(data: object, texts: list[str]) -> None:
    """Adds every string value in `data`, however deep."""
    if isinstance(data, str):
        texts.append(data)
    elif isinstance(data, (dict, list)):
        for item in data.values() if isinstance(data, dict) else data:
            kind = type(item)
            if kind is str:  # a call for each would take most of the time
                texts.append(item)
            elif kind is dict or kind is list:
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


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARACTERS


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
