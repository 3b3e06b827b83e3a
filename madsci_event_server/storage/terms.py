"""What an event is found by in an index: the terms every indexed store derives in the same way."""

from typing import Final

from madsci_event_server.event import Event
from madsci_event_server.vocabulary import SOURCE_ID_FIELDS

Term = tuple[str, str]
"""A field and its value."""

ALERT: Final[Term] = ("alert", "true")
_SOURCE_ID_FIELDS: Final = frozenset(SOURCE_ID_FIELDS)


def terms_of(event: Event) -> list[Term]:
    """What the event is found by, but for its level, time and words."""
    found: list[Term] = [("kind", event.kind), ("event_type", event.event_type), *event.ids.items()]
    if event.name is not None:
        found.append(("name", event.name))
    if event.alert:
        found.append(ALERT)
    if event.source.__pydantic_extra__:
        found += [(f"source.{name}", value) for name, value in event.source.others.items()]
    return found


def is_id_of_source(field: str) -> bool:
    """`source.node_id` and the like, whose terms are of `source` or, there being none, of `event_data`."""
    return field.startswith("source.") and field.removeprefix("source.") in _SOURCE_ID_FIELDS
