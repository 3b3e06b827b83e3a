"""Reading the query string: what no route knows is refused with the nearest that it does."""

from collections.abc import Collection
from typing import Final

from starlette.requests import Request

from madsci_event_server.api.context import context_of
from madsci_event_server.errors import InvalidQuery, shown
from madsci_event_server.query import EventQuery

_MAX_DIGITS: Final = 18
_WORDS: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def query_of(request: Request, *, others: Collection[str] = (), refused: Collection[str] = ()) -> EventQuery:
    """The EventQuery of a query string; `others` are read by the route, `refused` mean nothing to it.

    Raises InvalidQuery.
    """
    for name in refused:
        if name in request.query_params:
            raise InvalidQuery(name, "has no meaning on this route; leave it out", value=request.query_params[name])
    return EventQuery.from_parameters(request.query_params.multi_items(), context_of(request).zone, others=others)


def only(request: Request, *known: str) -> None:
    """Raises InvalidQuery for a parameter that is not `known`."""
    for name, value in request.query_params.multi_items():
        if name not in known:
            takes = f"this route takes {', '.join(known)}" if known else "this route takes none"
            raise InvalidQuery(name, f"is not a parameter of this route; {takes}", value=value)


def one(request: Request, name: str) -> str | None:
    """The value of a parameter that may be given once. Raises InvalidQuery."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise InvalidQuery(name, "is given twice; give it once")
    return values[0] if values else None


def whole_number(request: Request, name: str, default: int, *, least: int = 0, most: int, else_use: str) -> int:
    """A whole number within bounds. Raises InvalidQuery that says them and what else there is."""
    text = one(request, name)
    if text is None:
        return default
    sign = text[:1] == "-"
    if not (text.isascii() and text[sign:].isdecimal()):
        raise InvalidQuery(name, f"{shown(text)} is not a whole number; use {least} to {most}", value=text)
    number = int(text) if len(text) <= _MAX_DIGITS else (-1 if sign else most + 1)
    if not least <= number <= most:
        raise InvalidQuery(name, f"{shown(text)} is not between {least} and {most}; {else_use}", value=text)
    return number


def flag(request: Request, name: str, *, default: bool) -> bool:
    """True or false. Raises InvalidQuery."""
    text = one(request, name)
    if text is None:
        return default
    if text.lower() not in _WORDS:
        raise InvalidQuery(name, f"{shown(text)} is neither true nor false", value=text)
    return _WORDS[text.lower()]
