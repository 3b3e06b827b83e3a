"""Copying a store into another one: every event, id and place in received order, and what alerting remembers.

Or from the database of a MADSci Event Manager, which is read and never changed. A copy that broke off is gone on with
by starting it again: what is there already is left as it is.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final

from madsci_event_server.definition.model import checked_store
from madsci_event_server.errors import InvalidSettings
from madsci_event_server.event import Event
from madsci_event_server.query import EventQuery
from madsci_event_server.storage import is_mongodb, open_madsci, open_store, sqlite_path
from madsci_event_server.storage.alert_base import AlertState, AlertStore, Change, MailState
from madsci_event_server.storage.base import EventStore, Outcome, StoredEvent

_BATCH: Final = 500
_EVERYTHING: Final = 1_000_000
_SHOWN: Final = 10
"""How many documents that are no events are named."""
_COPY_QUERY_SECONDS: Final = 600.0

Progress = Callable[[int, int], None]
"""Told how many events are done, and of how many."""


@dataclass
class Copied:
    """What became of a copy."""

    events: int = 0
    """In the source."""
    copied: int = 0
    """New here, or not as they stood."""
    already: int = 0
    """Here before."""
    conflicts: int = 0
    """Left out: another event has their id."""
    unknown: int = 0
    """Documents no schema accepts, kept whole under type `unknown`."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Of the first few of those: id and what is wrong."""
    alerts: int = 0


async def copy_store(
    source: str, target: str, *, lab_directory: Path, zone: tzinfo | None, progress: Progress
) -> Copied:
    """Copies what is at one address to another. Timestamps of MADSci's without a zone are in `zone`.

    Raises InvalidSettings, StoreUnusable (in use, or holds events of its own) and StoreUnavailable.
    """
    if source == target:
        raise InvalidSettings("TO", "is the same as FROM; name another store")
    for argument, url in (("FROM", source), ("TO", target)):
        try:
            checked_store(url)
        except ValueError as error:
            raise InvalidSettings(argument, str(error), value=url) from None
    _check_there(source, lab_directory)
    if is_mongodb(source):
        async with open_madsci(source) as madsci:
            if not await madsci.is_ours():
                async with _opened(target, lab_directory) as into:
                    batches = madsci.converted(_BATCH, zone, _now)
                    return await _from_madsci(batches, await madsci.count(), into, progress)
    async with AsyncExitStack() as stack:
        out_of = await stack.enter_async_context(_opened(source, lab_directory))
        into = await stack.enter_async_context(_opened(target, lab_directory))
        copied = await _from_store(out_of, into, progress)
        copied.alerts = await _alerts(out_of, into)
        return copied


def _opened(url: str, lab_directory: Path) -> EventStore:
    return open_store(url, lab_directory=lab_directory, query_seconds=_COPY_QUERY_SECONDS)


def _check_there(source: str, lab_directory: Path) -> None:
    path = sqlite_path(source, lab_directory)
    if path is not None and not path.exists():
        raise InvalidSettings("FROM", f"there is no file {path}")
    if source.startswith("memory:"):
        raise InvalidSettings("FROM", "is a store in memory, which is empty before a server starts")


def _now() -> datetime:
    return datetime.now(UTC)


# --- From a store of ours ---


async def _from_store(source: EventStore, target: EventStore, progress: Progress) -> Copied:
    status = await source.status()
    copied = Copied()
    async for events in _pages(source):
        new = await target.restore(events)
        copied.events += len(events)
        copied.copied += new
        copied.already += len(events) - new
        counted = await source.alert_store().counted([stored.first_seq for stored in events])
        if counted:
            await target.alert_store().apply(Change(counted=counted))
        progress(copied.events, max(status.events, copied.events))
    return copied


async def _pages(source: EventStore) -> AsyncIterator[Sequence[StoredEvent]]:
    query = EventQuery(order="received", include_archived=True, limit=_BATCH)
    while True:
        page = await source.find(query)
        if page.events:
            yield page.events
        if page.next is None:
            return
        query = query.page_after(page.next)


async def _alerts(source: EventStore, target: EventStore) -> int:
    """Alerts, silences and mails; how many alerts. Alerting goes on from the same place."""
    old, new = source.alert_store(), target.alert_store()
    # A revision is of the store that counts it: what an earlier copy left there is written over, the rest is new.
    revisions = {alert.alert_id: alert.revision for alert in await new.alerts(list(AlertState), _EVERYTHING)}
    alerts = [
        alert.model_copy(update={"revision": revisions.get(alert.alert_id, 0)})
        for alert in await old.alerts(list(AlertState), _EVERYTHING)
    ]
    for start in range(0, len(alerts), _BATCH):
        await new.apply(Change(alerts=alerts[start : start + _BATCH]))
    await new.apply(Change(silences=await old.silences()))
    await _mails(old, new)
    position = await old.position()
    if position is not None:
        await new.apply(Change(position=position.replace(source.store_id, target.store_id)))
    return len(alerts)


async def _mails(old: AlertStore, new: AlertStore) -> None:
    for listed in await old.mails(list(MailState), _EVERYTHING):
        await new.apply(Change(mails=[await old.mail(listed.mail_id)]))


# --- From MADSci's ---


async def _from_madsci(
    batches: AsyncIterator[list[tuple[Event, str | None]]], total: int, target: EventStore, progress: Progress
) -> Copied:
    copied = Copied()
    async for batch in batches:
        appended = await target.append([event for event, _ in batch])
        outcomes = Counter(one.outcome for one in appended)
        copied.events += len(batch)
        copied.copied += outcomes[Outcome.STORED] + outcomes[Outcome.RAISED]
        copied.already += outcomes[Outcome.DUPLICATE]
        copied.conflicts += outcomes[Outcome.CONFLICT]
        for event, problem in batch:
            if problem is not None:
                copied.unknown += 1
                copied.problems += [(event.event_id, problem)] if len(copied.problems) < _SHOWN else []
        await _archive_since(target, [event for event, _ in batch], [one.stored for one in appended])
        progress(copied.events, max(total, copied.events))
    return copied


async def _archive_since(target: EventStore, events: Sequence[Event], stored: Sequence[StoredEvent]) -> None:
    """Archives what MADSci archived after an earlier copy."""
    for event, here in zip(events, stored, strict=True):
        if event.archived_at is not None and not here.event.archived:
            await target.archive(ids=[event.event_id], at=event.archived_at)
