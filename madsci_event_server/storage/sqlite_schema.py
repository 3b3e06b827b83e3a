"""The tables of an event database, as the migrations that make them. A released migration never changes.

- `events`: one row an event; `body` is its JSON as answers carry it, text because that is what SQLite puts together
  without a copy. `state` is the level, plus 100 once archived.
- `labels`: a dictionary of what events are found by: kinds, types, names, ids, other values of `source`.
- `event_labels`: for each label the events that have it, by state, then time; label 0 is on every event. So one label
  with a minimum level, newest first, is at most six ranges in order, whichever label it is.
- `label_counts`: how many events each label and state has.
- `words`: the full-text index; it holds no texts, only which words are in which event.
- `name_pairs`: names seen beside ids.
- `alert*`: what alerting remembers; see `alert_sqlite`.
- `meta`: the store's id, the last place given in received order, which is never given again, and the highest one that
  was purged.
"""

from typing import Final

from madsci_event_server.storage.alert_sqlite import CREATE_ALERT_TABLES
from madsci_event_server.storage.sqlite_database import Migration

APPLICATION_ID: Final = int.from_bytes(b"MEvt")
ARCHIVED: Final = 100
"""Added to the level in `state` of an archived event."""
EVERY_EVENT: Final = 0
"""The label that is on every event."""
BODY: Final = "CAST(body AS BLOB)"
"""How `body` is read: its bytes, which Python need not look through."""

MIGRATIONS: Final = (
    Migration(
        "events",
        (
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
            "INSERT INTO meta VALUES ('store_id', lower(hex(randomblob(8)))), ('last_seq', 0), ('checks', 0)",
            """
            CREATE TABLE events (
              first_seq INTEGER PRIMARY KEY,
              seq INTEGER NOT NULL UNIQUE,
              event_id TEXT NOT NULL UNIQUE,
              time_us INTEGER NOT NULL,
              state INTEGER NOT NULL,
              archived_us INTEGER,
              event_type TEXT NOT NULL,
              labels BLOB NOT NULL,
              body TEXT NOT NULL
            )
            """,
            "CREATE INDEX events_archived ON events (archived_us, first_seq) WHERE archived_us IS NOT NULL",
            """
            CREATE TABLE labels (
              id INTEGER PRIMARY KEY,
              field TEXT NOT NULL,
              value TEXT NOT NULL,
              UNIQUE (field, value)
            )
            """,
            """
            CREATE TABLE event_labels (
              label INTEGER NOT NULL,
              state INTEGER NOT NULL,
              time_us INTEGER NOT NULL,
              first_seq INTEGER NOT NULL,
              PRIMARY KEY (label, state, time_us, first_seq)
            ) WITHOUT ROWID
            """,
            """
            CREATE TABLE label_counts (
              label INTEGER NOT NULL,
              state INTEGER NOT NULL,
              events INTEGER NOT NULL,
              PRIMARY KEY (label, state)
            ) WITHOUT ROWID
            """,
            """
            CREATE VIRTUAL TABLE words USING fts5
              (tokens, content = '', detail = none, columnsize = 0, tokenize = 'ascii')
            """,
            """
            CREATE TABLE name_pairs (
              field TEXT NOT NULL,
              id TEXT NOT NULL,
              name TEXT NOT NULL,
              last_seen_us INTEGER NOT NULL,
              PRIMARY KEY (field, id, name)
            ) WITHOUT ROWID
            """,
            "CREATE INDEX name_pairs_lately ON name_pairs (last_seen_us)",
        ),
    ),
    Migration("alerts", CREATE_ALERT_TABLES),
    # Few are: whoever reads a long run asks only whether any is in it.
    Migration("raised", ("CREATE INDEX events_raised ON events (seq) WHERE seq <> first_seq",)),
)
