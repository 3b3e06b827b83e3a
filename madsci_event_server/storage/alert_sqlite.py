"""SQLiteAlertStore: what alerting remembers, in tables beside the events, in the same file.

It opens nothing itself: the event store lends it its one writer and its readers.
"""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

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

_T = TypeVar("_T")

CREATE_ALERT_TABLES: Final = (
    """
    CREATE TABLE alert_position (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), cursor TEXT NOT NULL) STRICT
    """,
    """
    CREATE TABLE alerts (
      alert_id TEXT PRIMARY KEY,
      key TEXT NOT NULL,
      state TEXT NOT NULL,
      due_us INTEGER,
      updated_us INTEGER NOT NULL,
      last_seq INTEGER NOT NULL,
      resolved_us INTEGER,
      document TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX alerts_by_key ON alerts (key) WHERE state <> 'resolved'",
    "CREATE INDEX alerts_due ON alerts (due_us, last_seq) WHERE due_us IS NOT NULL",
    "CREATE INDEX alerts_by_state ON alerts (state, updated_us, last_seq)",
    """
    CREATE TABLE alert_counted (
      first_seq INTEGER NOT NULL, alert_id TEXT NOT NULL, PRIMARY KEY (first_seq, alert_id)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE alert_silences (
      silence_id TEXT PRIMARY KEY, created_us INTEGER NOT NULL, over_us INTEGER NOT NULL, document TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE alert_mails (
      mail_id TEXT PRIMARY KEY,
      state TEXT NOT NULL,
      next_us INTEGER NOT NULL,
      created_us INTEGER NOT NULL,
      finished_us INTEGER,
      document TEXT NOT NULL,
      content BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX alert_mails_pending ON alert_mails (next_us, created_us) WHERE state = 'pending'",
    "CREATE INDEX alert_mails_by_time ON alert_mails (created_us)",
    "CREATE INDEX alert_mails_by_state ON alert_mails (state, created_us)",
    """
    CREATE TABLE alert_mail_subjects (
      alert_id TEXT NOT NULL, mail_id TEXT NOT NULL, PRIMARY KEY (alert_id, mail_id)
    ) STRICT, WITHOUT ROWID
    """,
)
"""The statements of one migration of the event store's."""

# Not REPLACE: that would silently delete another alert of the same key, where a conflict is a bug to hear of.
_WRITE_ALERT: Final = """
INSERT INTO alerts (alert_id, key, state, due_us, updated_us, last_seq, resolved_us, document)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (alert_id) DO UPDATE SET state = excluded.state, due_us = excluded.due_us,
  updated_us = excluded.updated_us, last_seq = excluded.last_seq, resolved_us = excluded.resolved_us,
  document = excluded.document
"""
_MAX_PARAMETERS: Final = 500
_READ_SECONDS: Final = 30.0
_END_OF_IDS: Final = "~"
"""Sorts after every character of an id."""


class LentDatabase(Protocol):
    """What the event store lends: its writer, which runs one transaction at a time, and its readers."""

    async def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `work` returns, once its transaction is durable; nothing of it is stored when this raises."""

    async def read(self, work: Callable[[sqlite3.Connection, Any], _T], seconds: float) -> _T:
        """What `work` finds in one snapshot, which holds all that was written before."""


class SQLiteAlertStore:
    """An AlertStore in a database that somebody else opens, migrates and closes."""

    def __init__(self, database: LentDatabase) -> None:
        self._database = database

    async def hold(self, holder: str, seconds: float) -> bool:
        return True  # the file has one server at a time

    async def let_go(self, holder: str) -> None:
        pass

    async def position(self) -> str | None:
        rows = await self._rows("SELECT cursor FROM alert_position")
        return rows[0][0] if rows else None

    async def apply(self, change: Change) -> None:
        await self._database.write(lambda connection: _apply(connection, change))

    async def alert(self, alert_id: str) -> Alert:
        return Alert.model_validate_json(await self._only("alerts", "alert_id", "document", alert_id, "alert"))

    async def unresolved(self, keys: Collection[str]) -> dict[str, Alert]:
        rows = await self._rows_of("SELECT document FROM alerts WHERE state <> 'resolved' AND key IN ({})", keys)
        return {alert.key: alert for alert in map(_alert, rows)}

    async def alert_counts(self) -> dict[AlertState, int]:
        rows = dict(await self._rows("SELECT state, count(*) FROM alerts GROUP BY state"))
        return {state: rows.get(state.value, 0) for state in AlertState}

    async def alerts(self, states: Collection[AlertState], limit: int) -> list[Alert]:
        rows = await self._rows(
            f"SELECT document FROM alerts WHERE state IN ({_marks(states)})"  # noqa: S608 - question marks
            " ORDER BY updated_us DESC, last_seq DESC LIMIT ?",
            (*states, limit),
        )
        return [_alert(row) for row in rows]

    async def due_alerts(self, until: datetime) -> list[Alert]:
        rows = await self._rows(
            "SELECT document FROM alerts WHERE due_us <= ? ORDER BY due_us, last_seq", (time_to_us(until),)
        )
        return [_alert(row) for row in rows]

    async def next_due(self) -> datetime | None:
        return _time(await self._rows("SELECT min(due_us) FROM alerts WHERE due_us IS NOT NULL"))

    async def counted(self, first_seqs: Collection[int]) -> set[tuple[int, str]]:
        rows = await self._rows_of("SELECT first_seq, alert_id FROM alert_counted WHERE first_seq IN ({})", first_seqs)
        return {(first_seq, alert_id) for first_seq, alert_id in rows}

    async def silences(self) -> list[Silence]:
        rows = await self._rows("SELECT document FROM alert_silences ORDER BY created_us DESC")
        return [Silence.model_validate_json(row[0]) for row in rows]

    async def silence(self, silence_id: str) -> Silence:
        return Silence.model_validate_json(
            await self._only("alert_silences", "silence_id", "document", silence_id, "silence")
        )

    async def mail(self, mail_id: str) -> Mail:
        whole = await self._only("alert_mails", "mail_id", "mail_id", mail_id, "mail")
        rows = await self._rows("SELECT document, content FROM alert_mails WHERE mail_id = ?", (whole,))
        return _mail_with_content(rows[0])

    async def mails(self, states: Collection[MailState], limit: int) -> list[Mail]:
        rows = await self._rows(
            f"SELECT document FROM alert_mails WHERE state IN ({_marks(states)})"  # noqa: S608 - question marks
            " ORDER BY created_us DESC, mail_id DESC LIMIT ?",
            (*states, limit),
        )
        return [_mail(row) for row in rows]

    async def mails_about(self, alert_id: str) -> list[Mail]:
        rows = await self._rows(
            "SELECT document FROM alert_mail_subjects JOIN alert_mails USING (mail_id) WHERE alert_id = ?"
            " ORDER BY created_us DESC, mail_id DESC",
            (alert_id,),
        )
        return [_mail(row) for row in rows]

    async def mails_since(self, moment: datetime) -> list[Mail]:
        rows = await self._rows(
            "SELECT document FROM alert_mails WHERE created_us > ? OR state = 'pending' ORDER BY created_us, mail_id",
            (time_to_us(moment),),
        )
        return [_mail(row) for row in rows]

    async def due_mails(self, now: datetime, limit: int) -> list[Mail]:
        rows = await self._rows(
            "SELECT document, content FROM alert_mails WHERE state = 'pending' AND next_us <= ?"
            " ORDER BY next_us, created_us LIMIT ?",
            (time_to_us(now), limit),
        )
        return [_mail_with_content(row) for row in rows]

    async def next_mail(self) -> datetime | None:
        return _time(await self._rows("SELECT min(next_us) FROM alert_mails WHERE state = 'pending'"))

    async def mail_counts(self) -> dict[MailState, int]:
        rows = dict(await self._rows("SELECT state, count(*) FROM alert_mails GROUP BY state"))
        return {state: rows.get(state.value, 0) for state in MailState}

    async def prune(self, before: datetime) -> None:
        await self._database.write(lambda connection: _prune(connection, time_to_us(before)))

    async def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return await self._database.read(
            lambda connection, _: connection.execute(sql, tuple(values)).fetchall(), _READ_SECONDS
        )

    async def _rows_of(self, sql: str, values: Collection[Any]) -> list[Any]:
        """The rows for any number of values, which go in place of `{}`."""
        listed = list(values)
        parts = [listed[start : start + _MAX_PARAMETERS] for start in range(0, len(listed), _MAX_PARAMETERS)]
        return [row for part in parts for row in await self._rows(sql.format(_marks(part)), part)]

    async def _only(self, table: str, column: str, wanted: str, id_: str, what: str) -> str:
        rows = await self._rows(f"SELECT {wanted} FROM {table} WHERE {column} = ?", (id_,))  # noqa: S608 - our own names
        if not rows and id_:
            start = id_.lower()
            rows = await self._rows(
                f"SELECT {wanted} FROM {table} WHERE {column} >= ? AND {column} < ? LIMIT 2",  # noqa: S608
                (start, start + _END_OF_IDS),
            )
        if len(rows) == 1:
            return str(rows[0][0])
        raise no_such(what, id_, several=bool(rows))


def _apply(connection: sqlite3.Connection, change: Change) -> None:
    if change.position is not None:
        connection.execute("REPLACE INTO alert_position (only_row, cursor) VALUES (1, ?)", (change.position,))
    # Those that are resolved first: their key may be another's in the same change.
    for alert in sorted(change.alerts, key=lambda alert: alert.state != AlertState.RESOLVED):
        connection.execute(_WRITE_ALERT, _alert_row(alert))
    connection.executemany("INSERT OR IGNORE INTO alert_counted VALUES (?, ?)", change.counted)
    connection.executemany("REPLACE INTO alert_silences VALUES (?, ?, ?, ?)", map(_silence_row, change.silences))
    for mail in change.mails:
        _write_mail(connection, mail)


def _write_mail(connection: sqlite3.Connection, mail: Mail) -> None:
    values = (
        mail.state,
        time_to_us(mail.next_at),
        time_to_us(mail.created_at),
        None if mail.finished_at is None else time_to_us(mail.finished_at),
        mail.model_dump_json(),
    )
    connection.execute(
        "INSERT INTO alert_mails (state, next_us, created_us, finished_us, document, mail_id, content)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (mail_id) DO UPDATE SET state = excluded.state,"
        " next_us = excluded.next_us, finished_us = excluded.finished_us, document = excluded.document",
        (*values, mail.mail_id, mail.content),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO alert_mail_subjects VALUES (?, ?)",
        [(alert_id, mail.mail_id) for alert_id in mail.alert_ids],
    )


def _prune(connection: sqlite3.Connection, before_us: int) -> None:
    for sql in (
        "DELETE FROM alert_counted WHERE alert_id IN (SELECT alert_id FROM alerts WHERE resolved_us < ?)",
        "DELETE FROM alerts WHERE resolved_us < ?",
        "DELETE FROM alert_mail_subjects WHERE mail_id IN (SELECT mail_id FROM alert_mails WHERE finished_us < ?)",
        "DELETE FROM alert_mails WHERE finished_us < ?",
        "DELETE FROM alert_silences WHERE over_us < ?",
    ):
        connection.execute(sql, (before_us,))


def _alert_row(alert: Alert) -> tuple[Any, ...]:
    return (
        alert.alert_id,
        alert.key,
        alert.state,
        None if alert.due_at is None else time_to_us(alert.due_at),
        time_to_us(alert.updated_at),
        alert.last_seq,
        time_to_us(alert.resolved.at) if alert.resolved else None,
        alert.model_dump_json(),
    )


def _silence_row(silence: Silence) -> tuple[Any, ...]:
    over = silence.ended_at or silence.expires_at
    return (silence.silence_id, time_to_us(silence.created_at), time_to_us(over), silence.model_dump_json())


def _alert(row: Sequence[Any]) -> Alert:
    return Alert.model_validate_json(row[0])


def _mail(row: Sequence[Any]) -> Mail:
    return Mail.model_validate_json(row[0])


def _mail_with_content(row: Sequence[Any]) -> Mail:
    return _mail(row).model_copy(update={"content": row[1]})


def _time(rows: Sequence[Sequence[Any]]) -> datetime | None:
    return None if rows[0][0] is None else us_to_time(rows[0][0])


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))
