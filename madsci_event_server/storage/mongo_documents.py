"""Events as documents: what is stored of one, and what is read back.

`body` is the event's JSON up to its archived fields, and the truth; `document` is its queryable form as BSON has it,
`terms` and `words` what the indexes are of; `about` has the terms of few values once more, in one text.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import InsertOne

from madsci_event_server.event import NOT_ARCHIVED_TAIL, Event, archived_tail, format_time, time_to_us, us_to_time
from madsci_event_server.json_text import parse_stored
from madsci_event_server.storage.base import StoredEvent
from madsci_event_server.storage.terms import Term, terms_of

EVENTS: Final = "event_log"
NAMES: Final = "event_log_names"
VALUES: Final = "event_log_values"
"""Kinds and types ever seen: what a glob is looked up in."""
META: Final = "event_log_meta"
COUNTER: Final = "seq"
"""The document of META that holds the last place given in received order."""

RAISED_FROM: Final = "raised_from"
"""The first place of an event that has another one now: what `restore` looks up."""
ARCHIVED: Final = 100
"""Added to the level in `state` of an archived event."""

REPEATED: Final = frozenset(("kind", "event_type", "name", "alert", "node_id", "manager_id", "workcell_id", "lab_id",
    "user_id", "project_id", "campaign_id"))  # fmt: skip
"""Fields of few values, which all together are in `about`: to count by them the index is enough."""
APART: Final = "\0"
"""Between the terms in `about`; in none of them, as NUL is not in queryable text."""

READ: Final = {"seq": 1, "first_seq": 1, "time_us": 1, "event_type": 1, "archived_us": 1, "body": 1}
"""The fields `stored_of` reads."""

FIRST_SENT: Final = 100
SENT_AT_ONCE: Final = 500
"""Documents sent to MongoDB in one go; at first fewer, so that it soon has something to do."""
MADE_AT_ONCE: Final = 100
"""Documents made in one go: some 5 ms in which nothing else runs."""

Document = dict[str, Any]


class NewEvent:
    """An event to append and its document, worked out before the transaction."""

    __slots__ = ("_body", "document", "event")

    def __init__(self, event: Event) -> None:
        if event.archived_at is not None and not event.archived:
            event = event.changed(archived_at=None)
        self.event = event
        self._body = event.encode()
        self.document = _document_of(event, self._body)

    @property
    def event_id(self) -> str:
        """Also `_id`."""
        return self.event.event_id

    def insert(self) -> InsertOne[Any]:
        """How it is inserted where it was placed, encoded here: MongoDB waits only for what is on its way."""
        return InsertOne(RawBSONDocument(bson.encode(self.document)))

    def place(self, seq: int, first_seq: int | None = None) -> StoredEvent:
        """Gives it its place in received order; `first_seq` where it was raised from another."""
        document = self.document
        document["seq"] = document["first_seq"] = seq
        if first_seq is not None and first_seq != seq:
            document["first_seq"] = document[RAISED_FROM] = first_seq
        return StoredEvent(seq, document["first_seq"], document["time_us"], document["event_type"], self._body)


class Batch:
    """Events to append; their documents are made when they are first asked for, some at a time.

    So MongoDB stores some while the next are made; and an append that is tried again makes none anew.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self._made: list[list[NewEvent]] = []

    async def part(self, number: int) -> list[NewEvent]:
        """What is sent at once, in order; none beyond the end."""
        while len(self._made) <= number:
            start = sum(map(len, self._made))
            self._made.append(await self._new(self.events[start : start + (SENT_AT_ONCE if start else FIRST_SENT)]))
        return self._made[number]

    async def _new(self, events: Sequence[Event]) -> list[NewEvent]:
        made: list[NewEvent] = []
        for start in range(0, len(events), MADE_AT_ONCE):
            await asyncio.sleep(0)  # what was sent before goes out first
            made += [NewEvent(event) for event in events[start : start + MADE_AT_ONCE]]
        return made

    async def parts(self) -> AsyncIterator[list[NewEvent]]:
        """All of them, in order."""
        number = 0
        while part := await self.part(number):
            yield part
            number += 1

    async def all(self) -> list[NewEvent]:
        """Their events, in order."""
        return [new async for part in self.parts() for new in part]


def _document_of(event: Event, body: bytes) -> Document:
    """The document of an event, without its places."""
    archived_at = event.archived_at
    tail = NOT_ARCHIVED_TAIL if archived_at is None else archived_tail(archived_at)
    terms = terms_of(event)
    found: Document = {
        "_id": event.event_id,
        "seq": 0,
        "first_seq": 0,
        "time_us": time_to_us(event.event_timestamp),
        "state": int(event.log_level) + (ARCHIVED if event.archived else 0),
        "event_type": event.event_type,
        "terms": [term_text(field, value) for field, value in terms],
        "about": APART.join([f"{field}={value}" for field, value in terms if field in REPEATED]),
        "words": list(event.words),
        "document": event.document,
        "body": body[: -len(tail)],
    }
    if archived_at is not None:
        found["archived_us"] = time_to_us(archived_at)
    return found


def changes_of_raise(event: Event, stored: StoredEvent) -> Document:
    """What a raise sets in a document, given the event as it then is."""
    raised = NewEvent(event).document
    return {
        "seq": stored.seq,
        RAISED_FROM: stored.first_seq,
        **{name: raised[name] for name in ("state", "terms", "about", "body")},
        "document.log_level": int(event.log_level),
        "document.alert": event.alert,
    }


def changes_of_archiving(at_us: int) -> Document:
    """What archiving sets in a document, beside its state."""
    return {
        "archived_us": at_us,
        "document.archived": True,
        "document.archived_at": format_time(us_to_time(at_us)),
    }


def stored_of(document: Document) -> StoredEvent:
    """The stored event of a document."""
    archived_us = document.get("archived_us")
    tail = NOT_ARCHIVED_TAIL if archived_us is None else archived_tail(us_to_time(archived_us))
    return StoredEvent(
        document["seq"], document["first_seq"], document["time_us"], document["event_type"], document["body"] + tail
    )


def event_of(stored: StoredEvent) -> Event:
    """The event of a stored one."""
    return Event.stored(parse_stored(stored.body))


# --- Terms ---


def term_text(field: str, value: str) -> str:
    """A term as the index has it: `node_id=01J...`."""
    return f"{term_prefix(field)}={value}"


@lru_cache(maxsize=256)
def term_prefix(field: str) -> str:
    """The part before `=`; a key of `source` may hold anything, also that sign."""
    return field.replace("%", "%25").replace("=", "%3D")


def term_texts(terms: Iterable[Term]) -> list[str]:
    """Those terms that can be in an index: no event holds a lone surrogate, and BSON takes none."""
    return sorted({term_text(field, value) for field, value in terms if can_be_stored(field) and can_be_stored(value)})


def can_be_stored(text: str) -> bool:
    """Whether it is whole Unicode text."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def storable(texts: Collection[str]) -> list[str]:
    """Those that can be stored, once each."""
    return [text for text in dict.fromkeys(texts) if can_be_stored(text)]
