"""EventReader: what an event server knows, for the command line, the dashboard and lab code.

Events come as the bytes the server answered, so that who only passes them on need not parse them. Raises
ServerUnreachable, ServerRefused (NotAllowed, with the server's words), NotFound and UnexpectedAnswer; never answers
emptily for a failure.
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import httpx

from madsci_event_cli.addresses import shown_address
from madsci_event_cli.connection import (
    TIMEOUT,
    USER_AGENT,
    base_url,
    certificates,
    check,
    json_body,
    not_ours,
    object_in,
    parsed,
    reaching,
)
from madsci_event_cli.following import Follower, Patience

if TYPE_CHECKING:
    from madsci_event_cli.following import Followed
    from madsci_event_server.query import EventQuery

    Query = EventQuery | Mapping[str, Any]

PAGE: Final = 1000
"""Events a page: enough that the way to the server does not matter, few enough that the first soon show."""

_SLOW: Final = httpx.Timeout(None, connect=5.0)
"""Archiving and purging take as long as there are events."""


_PATIENCE: Final = Patience()
_NOTHING_NEEDED: Final[Mapping[str, type]] = {}
_FACETS: Final = {"facets": dict, "total": int, "truncated": list}
_HISTOGRAM: Final = {"interval_seconds": int, "buckets": list}


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Events in the query's order."""

    events: list[bytes]
    """Each the JSON the server answered, byte for byte."""
    next: str | None
    """The cursor of what follows; None when nothing more matches now."""
    truncated: bool
    """More matches than this page holds."""


class EventReader:
    """One event server. Opened and closed as an async context manager."""

    def __init__(self, server: str, *, timeout: httpx.Timeout = TIMEOUT, patience: Patience = _PATIENCE) -> None:
        """`server` with or without scheme and closing slash. Raises InvalidInput for what is no address.

        `timeout` is for answers, `patience` for `follow`.
        """
        self.server = base_url(server)
        self.address = shown_address(self.server)
        """The same as it may be shown."""
        self._timeout = timeout
        self._patience = patience

    async def __aenter__(self) -> Self:
        self._client = httpx.AsyncClient(
            base_url=self.server,
            timeout=self._timeout,
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            verify=certificates(self.server),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def find(self, query: "Query") -> FoundPage:
        """One page of what matches: the query's order, limit and cursor hold."""
        response = await self._ask("POST", "events/search", json=_document(query))
        check(response, self.address)
        return _page(response, self.address)

    async def pages(self, query: "Query", *, limit: int | None = None) -> AsyncIterator[FoundPage]:
        """Page after page of what matches, `limit` events in all (None: every one)."""
        document, left = dict(_document(query)), limit
        while left is None or left > 0:
            page = await self.find(document | {"limit": PAGE if left is None else min(PAGE, left)})
            yield page
            if page.next is None:
                return
            document["after"] = page.next
            left = None if left is None else left - len(page.events)

    def follow(
        self, query: "Query | None" = None, after: str | None = None, last: int = 0
    ) -> "AsyncGenerator[Followed]":
        """What matches as it comes, for ever, and what becomes of the connection: the items of `following`.

        From after a cursor (of an item, or of `find` in received order), from so far back that `last` events are
        included, else from now on. Each place comes once; a lost connection is a Disconnected item, then it is tried
        again. Raises ServerRefused (410: the cursor is of another store) and UnexpectedAnswer. Close it with
        `contextlib.aclosing`.
        """
        document = {} if query is None else _document(query)
        parameters = [] if document.get("selector") is not None else _parameters(query)
        return Follower(self._client, self.address, document, parameters, self._patience).items(after, last)

    async def get(self, event_id: str, *, partial: bool = False) -> bytes:
        """The event of this id; with `partial` also by a beginning or end of it that no other id has.

        Raises NotFound, and ServerRefused (409) where several ids begin or end so.
        """
        parameters = {"partial": "true"} if partial else {}
        response = await self._ask("GET", f"event/{quote(event_id, safe='')}", params=parameters)
        parsed(response, self.address)
        return response.content.strip()

    async def newest(self, number: int, level: int) -> dict[str, Any]:
        """The newest events from this level up, by id and newest first, as MADSci's servers answer them too."""
        return await self.document("GET", "events", params={"number": str(number), "level": str(level)})

    async def select(self, selector: Mapping[str, Any]) -> dict[str, Any]:
        """All events a MongoDB-shaped selector matches, by id, as MADSci's servers answer them too."""
        return await self.document("POST", "events/query", json=dict(selector), timeout=_SLOW)

    async def facets(self, fields: Collection[str], query: "Query | None" = None, *, limit: int = 20) -> dict[str, Any]:
        """`{"facets": {field: [{"value", "count"}]}, "total", "truncated": [fields]}`, largest count first."""
        asked = [*(("field", field) for field in fields), ("limit", str(limit))]
        return await self._counted("events/facets", asked, query, _FACETS)

    async def histogram(self, interval_seconds: int, query: "Query | None" = None) -> dict[str, Any]:
        """`{"interval_seconds", "buckets": [{"start", "counts": {"INFO": n}}]}`, aligned and zero-filled."""
        return await self._counted("events/histogram", [("interval", str(interval_seconds))], query, _HISTOGRAM)

    async def _counted(
        self, path: str, asked: list[tuple[str, str]], query: "Query | None", needs: Mapping[str, type]
    ) -> dict[str, Any]:
        document = {} if query is None else _document(query)
        if document.get("selector") is None:
            return await self.document("GET", path, needs, params=[*_parameters(query), *asked])
        # A selector has no form in a query string; what is counted has no page.
        filters = {name: value for name, value in document.items() if name not in _PAGE_FIELDS}
        return await self.document("POST", path, needs, params=asked, json=filters)

    async def names(self) -> list[dict[str, Any]]:
        """The names seen beside ids, `{"field", "id", "name", "last_seen"}`, latest first."""
        return list((await self.document("GET", "events/names", {"names": list}))["names"])

    async def archive(self, *, ids: Collection[str] | None = None, before: datetime | None = None) -> int:
        """Archives the events of these ids, or all before a time; how many were not archived yet."""
        body: dict[str, Any] = {} if ids is None else {"event_ids": list(ids)}
        if before is not None:
            body["before_date"] = before.astimezone(UTC).isoformat()
        needs = {"archived_count": int}
        return int((await self.document("POST", "events/archive", needs, json=body, timeout=_SLOW))["archived_count"])

    async def purge(self, older_than_days: int, *, dry_run: bool = False) -> int:
        """Deletes for good what was archived that long ago; how many those are (`dry_run`: would be)."""
        parameters = {"older_than_days": str(older_than_days)} | ({"dry_run": "true"} if dry_run else {})
        needs = {"deleted_count": int}
        answer = await self.document("DELETE", "events/archived", needs, params=parameters, timeout=_SLOW)
        return int(answer["deleted_count"])

    async def status(self) -> dict[str, Any]:
        """What `/health` says, also where the server says that it is not well (503): the reasons are in it."""
        response = await self._ask("GET", "health")
        unwell = object_in(response) if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else None
        if unwell is not None and unwell.get("healthy") is False:
            return unwell
        return parsed(response, self.address, {"healthy": bool})

    async def server_time(self) -> datetime:
        """The server's clock, to the second. Raises UnexpectedAnswer where it does not say."""
        response = await self._ask("GET", "health")
        try:
            return parsedate_to_datetime(response.headers["Date"])
        except (KeyError, ValueError):
            raise not_ours(self.address) from None

    async def document(
        self, method: str, path: str, needs: Mapping[str, type] = _NOTHING_NEEDED, **options: Any
    ) -> dict[str, Any]:
        """The JSON object answered by a route without a method of its own here; `options` are an HTTPX request's.

        Raises UnexpectedAnswer where it lacks members of the names and kinds of `needs`.
        """
        return parsed(await self._ask(method, path, **options), self.address, needs)

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        if "json" in options:
            options |= json_body(options.pop("json"))
        with reaching(self.address):
            return await self._client.request(method, path, **options)


def _document(query: "Query") -> Mapping[str, Any]:
    if isinstance(query, Mapping):
        return query
    return query.model_dump(mode="json", exclude_defaults=True)


def _parameters(query: "Query | None") -> list[tuple[str, str]]:
    if query is None:
        return []
    if not isinstance(query, Mapping):
        return [pair for pair in query.parameters() if pair[0] not in _PAGE_FIELDS]
    found: list[tuple[str, str]] = []
    for name, value in query.items():
        if name in _PAGE_FIELDS:
            continue  # what is counted has no page
        if name == "source":
            found += [(f"source.{key}", item) for key, items in value.items() for item in _values(items)]
        else:
            found += [(name, item) for item in _values(value)]
    return found


_PAGE_FIELDS: Final = frozenset({"order", "limit", "after"})


def _values(value: object) -> Iterable[str]:
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


# --- the bytes of each event -----------------------------------------------------------------------------------------

_scan = json.JSONDecoder().raw_decode
_NO_SPACE = re.compile(r"[^ \t\r\n]")


def _page(response: httpx.Response, server: str) -> FoundPage:
    try:
        events, rest = split_events(response.content.decode())
        following = rest["next"]
        return FoundPage(events, following, bool(rest.get("truncated", following is not None)))
    except (ValueError, KeyError):
        raise not_ours(server) from None


def split_events(text: str) -> tuple[list[bytes], dict[str, Any]]:
    """The items of `events` in a JSON object, each as the bytes it stands there with, and the object's other members.

    Raises ValueError for text that is not such an object.
    """
    events: list[bytes] | None = None
    rest: dict[str, Any] = {}
    place, more = _enter(text, 0, "{", "}")
    while more:
        name, place = _scan(text, place)
        place = _expect(text, place, ":")
        if name == "events":
            events, place = _items(text, place)
        else:
            rest[name], place = _scan(text, place)
        place, more = _after_item(text, place, "}")
    if events is None:
        raise ValueError("no events")
    return events, rest


def _items(text: str, place: int) -> tuple[list[bytes], int]:
    found: list[bytes] = []
    place, more = _enter(text, place, "[", "]")
    while more:
        if text[place : place + 1] != "{":
            raise ValueError(f"an event is expected at {place}")
        _, end = _scan(text, place)
        found.append(text[place:end].encode())
        place, more = _after_item(text, end, "]")
    return found, place


def _enter(text: str, place: int, opening: str, closing: str) -> tuple[int, bool]:
    place = _expect(text, place, opening)
    return (place + 1, False) if text[place : place + 1] == closing else (place, True)


def _after_item(text: str, place: int, closing: str) -> tuple[int, bool]:
    place = _skip(text, place)
    if text[place : place + 1] == closing:
        return place + 1, False
    return _expect(text, place, ","), True


def _expect(text: str, place: int, mark: str) -> int:
    place = _skip(text, place)
    if text[place : place + 1] != mark:
        raise ValueError(f"{mark!r} expected at {place}")
    return _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    found = _NO_SPACE.search(text, place)
    return len(text) if found is None else found.start()
