"""Reading a store in received order with any query, however few events match: what it cannot find in its time is judged
here, some events at a time.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from madsci_event_server.errors import QueryTimedOut
from madsci_event_server.query import Cursor, EventQuery
from madsci_event_server.recent import JUDGED_AT_ONCE
from madsci_event_server.storage.base import EventStore, Page, StoredEvent

MAX_PAGE: Final = 2000
_WIDER: Final = 8
"""How many times as far back to look for the last n when too few were found."""


class Found(NamedTuple):
    """The next events that match after a place."""

    events: Sequence[StoredEvent]
    end: int | None
    """The place up to which they are all; None: as far as the store goes."""


class Looking:
    """Pages of what matches, for who goes through the store once: a query that was too slow is not tried each time."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._judged_at_once = 0
        """How many events of each page are judged here; 0 where the store finds those that match."""

    async def after(self, query: EventQuery, seq: int, limit: int) -> Found:
        """At most `limit` events after this place. Raises StoreError, InvalidQuery, and QueryTimedOut if not even one
        event can be read in time.
        """
        if not self._judged_at_once:
            try:
                page = await self._store.find(received_after(self._store, query, seq, limit))
            except QueryTimedOut:
                # Few match among very many. Judged here, some at a time, they are got through in the end.
                self._judged_at_once = JUDGED_AT_ONCE
            else:
                return Found(page.events, None if page.next is None else page.events[-1].seq)
        page = await self._page_to_judge(query.without_content(), seq, limit)
        matching = [stored for stored in page.events if query.matches(stored.event)]
        if page.next is None:
            self._judged_at_once = 0
            return Found(matching, None)
        return Found(matching, page.events[-1].seq)

    async def _page_to_judge(self, query: EventQuery, seq: int, limit: int) -> Page:
        while True:
            at_once = min(limit, self._judged_at_once)
            try:
                return await self._store.find(received_after(self._store, query, seq, at_once))
            except QueryTimedOut:
                # A store under load reads fewer in its time.
                self._judged_at_once = at_once // 2
                if not self._judged_at_once:
                    raise


class LookingBack:
    """Where the last `number` events that match begin. It looks from the end, each time further back."""

    def __init__(self, store: EventStore, query: EventQuery, head: int, number: int) -> None:
        self.place: int | None = None if head else 0
        """The place after which so many match, 0 where there are fewer; None until that is known."""
        self._query, self._number = query, number
        self._looking = Looking(store)
        self._found: deque[int] = deque()
        self._end, self._back = head, number
        self._begin_run()

    def _begin_run(self) -> None:
        self.start = self._at = max(0, self._end - self._back)
        self._in_run: list[int] = []

    async def look(self) -> None:
        """Reads one page more. Raises as `Looking.after`."""
        found = await self._looking.after(self._query, self._at, min(MAX_PAGE, self._end - self._at))
        self._in_run += [stored.seq for stored in found.events if stored.seq <= self._end]
        self._at = self._end if found.end is None else found.end
        if self._at >= self._end:
            self._end_run()

    def _end_run(self) -> None:
        self._found.extendleft(reversed(self._in_run[len(self._found) - self._number :]))
        if len(self._found) == self._number:
            self.place = self._found[0] - 1
        elif self.start == 0:
            self.place = 0
        else:
            self._end, self._back = self.start, self._back * _WIDER
            self._begin_run()


def received_after(store: EventStore, query: EventQuery, seq: int, limit: int) -> EventQuery:
    """What the query finds after a place, in received order."""
    after = Cursor(store.store_id, "r", seq).encode()
    return query.model_copy(update={"order": "received", "after": after, "limit": limit})
