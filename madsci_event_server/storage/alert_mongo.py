"""MongoAlertStore: what alerting remembers, in collections beside the events, in the same database.

It opens nothing itself: the event store lends it its database. On a replica set one change is one transaction. On a
standalone its position is written last, and each alert keeps the last place it counted: after a crash between the
two, the same events are read again and not counted again.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from pymongo import IndexModel, UpdateOne
from pymongo.errors import BulkWriteError

from madsci_event_server.errors import StoreUnavailable
from madsci_event_server.event import time_to_us, us_to_time
from madsci_event_server.storage.alert_base import (
    Alert,
    AlertState,
    Change,
    Mail,
    MailState,
    Silence,
    no_such,
)
from madsci_event_server.storage.mongo_database import Database
from madsci_event_server.storage.mongo_documents import META
from madsci_event_server.storage.mongo_writer import Document, Writing

_ALERTS: Final = "event_log_alerts"
_COUNTED: Final = "event_log_alert_counted"
_SILENCES: Final = "event_log_alert_silences"
_MAILS: Final = "event_log_alert_mails"
_POSITION: Final = "alert_position"
_LEASE: Final = "alerting"
_NO_CONTENT: Final = {"content": 0}
_END_OF_IDS: Final = "~"
"""Sorts after every character of an id."""
_DUPLICATE_KEY: Final = 11000

ALERT_INDEXES: Final = {
    _ALERTS: [
        IndexModel([("key", 1)], name="key", unique=True, partialFilterExpression={"unresolved": True}),
        IndexModel([("due_us", 1), ("last_seq", 1)], name="due"),
        IndexModel([("updated_us", -1), ("last_seq", -1)], name="lately"),
        IndexModel([("resolved_us", 1)], name="resolved"),
        IndexModel([("state", 1)], name="state"),
    ],
    _COUNTED: [IndexModel([("alert_id", 1)], name="alert")],
    _SILENCES: [IndexModel([("created_us", -1)], name="lately")],
    _MAILS: [
        IndexModel([("state", 1), ("next_us", 1), ("created_us", 1)], name="due"),
        IndexModel([("created_us", -1), ("_id", -1)], name="lately"),
        IndexModel([("alert_ids", 1)], name="about"),
    ],
}
"""By collection."""


class MongoAlertStore:
    """An AlertStore in a database that somebody else opens and closes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self) -> None:
        """Makes the collections, which a transaction does not, and their indexes."""
        for name, indexes in ALERT_INDEXES.items():
            await self._database.collection(name).create_indexes(indexes)

    async def hold(self, holder: str, seconds: float) -> bool:
        """MongoDB's clock decides."""
        free = {"$or": [{"holder": holder}, {"holder": ""}, {"$expr": {"$lt": ["$until", "$$NOW"]}}]}
        ours = {"holder": holder, "until": {"$add": ["$$NOW", int(seconds * 1000)]}}
        with self._database.lookup():
            meta = self._database.collection(META)
            await meta.update_one({"_id": _LEASE}, {"$setOnInsert": {"holder": ""}}, upsert=True)
            taken = await meta.update_one({"_id": _LEASE, **free}, [{"$set": ours}])
        return bool(taken.matched_count)

    async def let_go(self, holder: str) -> None:
        with self._database.lookup():
            meta = self._database.collection(META)
            await meta.update_one({"_id": _LEASE, "holder": holder}, {"$set": {"holder": ""}})

    async def position(self) -> str | None:
        rows = await self._rows(META, {"_id": _POSITION})
        return rows[0]["cursor"] if rows else None

    async def apply(self, change: Change) -> None:
        if self._database.is_replica_set:
            await self._database.transaction(lambda writing: _apply(writing, change))
        else:
            await self._database.write(lambda writing: _apply(writing, change))

    async def alert(self, alert_id: str) -> Alert:
        return _alert(await self._only(_ALERTS, alert_id, "alert"))

    async def unresolved(self, keys: Collection[str]) -> dict[str, Alert]:
        rows = await self._rows(_ALERTS, {"unresolved": True, "key": {"$in": list(keys)}})
        return {alert.key: alert for alert in map(_alert, rows)}

    async def alert_counts(self) -> dict[AlertState, int]:
        with self._database.lookup():
            alerts = self._database.committed(_ALERTS)
            return {state: await alerts.count_documents({"state": state.value}) for state in AlertState}

    async def alerts(self, states: Collection[AlertState], limit: int) -> list[Alert]:
        order = [("updated_us", -1), ("last_seq", -1)]
        return [_alert(row) for row in await self._rows(_ALERTS, _in_states(states), order, limit)]

    async def due_alerts(self, until: datetime) -> list[Alert]:
        due = {"due_us": {"$lte": time_to_us(until)}}
        return [_alert(row) for row in await self._rows(_ALERTS, due, [("due_us", 1), ("last_seq", 1)])]

    async def next_due(self) -> datetime | None:
        rows = await self._rows(_ALERTS, {"due_us": {"$gte": -(2**63)}}, [("due_us", 1)], 1)
        return us_to_time(rows[0]["due_us"]) if rows else None

    async def counted(self, first_seqs: Collection[int]) -> set[tuple[int, str]]:
        rows = await self._rows(_COUNTED, {"_id.first_seq": {"$in": list(first_seqs)}})
        return {(row["_id"]["first_seq"], row["_id"]["alert_id"]) for row in rows}

    async def silences(self) -> list[Silence]:
        return [_silence(row) for row in await self._rows(_SILENCES, {}, [("created_us", -1)])]

    async def silence(self, silence_id: str) -> Silence:
        return _silence(await self._only(_SILENCES, silence_id, "silence"))

    async def mail(self, mail_id: str) -> Mail:
        return _mail_with_content(await self._only(_MAILS, mail_id, "mail"))

    async def mails(self, states: Collection[MailState], limit: int) -> list[Mail]:
        return await self._mails(_in_states(states), limit=limit)

    async def mails_about(self, alert_id: str) -> list[Mail]:
        return await self._mails({"alert_ids": alert_id})

    async def mails_since(self, moment: datetime) -> list[Mail]:
        recent = {"$or": [{"created_us": {"$gt": time_to_us(moment)}}, {"state": MailState.PENDING.value}]}
        return (await self._mails(recent))[::-1]

    async def due_mails(self, now: datetime, limit: int) -> list[Mail]:
        due = {"state": MailState.PENDING.value, "next_us": {"$lte": time_to_us(now)}}
        rows = await self._rows(_MAILS, due, [("next_us", 1), ("created_us", 1)], limit)
        return [_mail_with_content(row) for row in rows]

    async def next_mail(self) -> datetime | None:
        rows = await self._rows(_MAILS, {"state": MailState.PENDING.value}, [("next_us", 1)], 1)
        return us_to_time(rows[0]["next_us"]) if rows else None

    async def mail_counts(self) -> dict[MailState, int]:
        with self._database.lookup():
            mails = self._database.committed(_MAILS)
            return {state: await mails.count_documents({"state": state.value}) for state in MailState}

    async def prune(self, before: datetime) -> None:
        before_us = {"$lt": time_to_us(before)}
        gone = [row["_id"] for row in await self._rows(_ALERTS, {"resolved_us": before_us})]
        with self._database.lookup():
            # The alerts last: until then a prune that broke off finds what they counted.
            await self._database.collection(_COUNTED).delete_many({"alert_id": {"$in": gone}})
            await self._database.collection(_ALERTS).delete_many({"_id": {"$in": gone}, "resolved_us": before_us})
            await self._database.collection(_MAILS).delete_many({"finished_us": before_us})
            await self._database.collection(_SILENCES).delete_many({"over_us": before_us})

    # --- Inside ---

    async def _rows(
        self, name: str, which: Document, order: Sequence[tuple[str, int]] = (("_id", 1),), limit: int = 0
    ) -> list[Document]:
        with self._database.lookup():
            found = self._database.committed(name).find(which).sort(list(order)).limit(limit)
            return await found.to_list(None)

    async def _mails(self, which: Document, limit: int = 0) -> list[Mail]:
        with self._database.lookup():
            found = self._database.committed(_MAILS).find(which, _NO_CONTENT)
            rows = await found.sort([("created_us", -1), ("_id", -1)]).limit(limit).to_list(None)
        return [_mail(row) for row in rows]

    async def _only(self, name: str, id_: str, what: str) -> Document:
        rows = await self._rows(name, {"_id": id_})
        if not rows and id_:
            start = id_.lower()
            rows = await self._rows(name, {"_id": {"$gte": start, "$lt": start + _END_OF_IDS}}, limit=2)
        if len(rows) == 1:
            return rows[0]
        raise no_such(what, id_, several=bool(rows))


def _apply(writing: Writing, change: Change) -> None:
    # Those that are resolved first: their key may be another's in the same change.
    alerts = sorted(change.alerts, key=lambda alert: alert.state != AlertState.RESOLVED)
    _put_alerts(writing, alerts)
    counted = ({"_id": {"first_seq": seq, "alert_id": id_}, "alert_id": id_} for seq, id_ in change.counted)
    _put(writing, _COUNTED, counted)
    _put(writing, _SILENCES, map(_silence_document, change.silences))
    _put(writing, _MAILS, map(_mail_document, change.mails))
    if change.position is not None:
        _put(writing, META, [{"_id": _POSITION, "cursor": change.position}])


def _put_alerts(writing: Writing, alerts: Sequence[Alert]) -> None:
    """Writes alerts that are as they were read. Raises StoreUnavailable when another server changed one since."""
    writes = [
        UpdateOne(
            {"_id": alert.alert_id, "revision": alert.revision},
            {"$set": _alert_document(alert) | {"revision": alert.revision + 1}},
            upsert=not alert.revision,
        )
        for alert in alerts
    ]
    if not writes:
        return
    try:
        done = writing.collection(_ALERTS).bulk_write(writes, session=writing.session)
    except BulkWriteError as error:
        if all(failure["code"] == _DUPLICATE_KEY for failure in error.details["writeErrors"]):
            raise _changed_meanwhile() from None
        raise
    if done.matched_count + done.upserted_count != len(writes):
        raise _changed_meanwhile()


def _put(writing: Writing, name: str, documents: Iterable[Document]) -> None:
    """Writes documents over those of their ids; a field that is not named stays as it is."""
    writes = [UpdateOne({"_id": document.pop("_id")}, {"$set": document}, upsert=True) for document in documents]
    if writes:
        writing.collection(name).bulk_write(writes, session=writing.session)


def _in_states(states: Collection[AlertState] | Collection[MailState]) -> Document:
    return {"state": {"$in": [state.value for state in states]}}


def _changed_meanwhile() -> StoreUnavailable:
    return StoreUnavailable("another server changed the alert at the same moment; do it again", retry_after_seconds=1)


def _alert_document(alert: Alert) -> Document:
    return {
        "key": alert.key,
        "state": alert.state.value,
        "unresolved": alert.state != AlertState.RESOLVED,
        "due_us": _us(alert.due_at),
        "updated_us": time_to_us(alert.updated_at),
        "last_seq": alert.last_seq,
        "resolved_us": _us(alert.resolved.at if alert.resolved else None),
        "alert": alert.model_dump_json(),
    }


def _silence_document(silence: Silence) -> Document:
    return {
        "_id": silence.silence_id,
        "created_us": time_to_us(silence.created_at),
        "over_us": time_to_us(silence.ended_at or silence.expires_at),
        "silence": silence.model_dump_json(),
    }


def _mail_document(mail: Mail) -> Document:
    found: Document = {
        "_id": mail.mail_id,
        "state": mail.state.value,
        "next_us": time_to_us(mail.next_at),
        "created_us": time_to_us(mail.created_at),
        "finished_us": _us(mail.finished_at),
        "alert_ids": list(mail.alert_ids),
        "mail": mail.model_dump_json(),
    }
    # A mail that was listed comes back without its content, which stays.
    return found | ({"content": mail.content} if mail.content else {})


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else time_to_us(moment)


def _alert(row: Document) -> Alert:
    return Alert.model_validate_json(row["alert"]).model_copy(update={"revision": row.get("revision", 0)})


def _silence(row: Document) -> Silence:
    return Silence.model_validate_json(row["silence"])


def _mail(row: Document) -> Mail:
    return Mail.model_validate_json(row["mail"])


def _mail_with_content(row: Document) -> Mail:
    content: Any = row.get("content", b"")
    return _mail(row).model_copy(update={"content": content})
