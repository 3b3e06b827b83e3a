"""Addresses of servers, as they may be shown."""

import re
from typing import Final

_WHO: Final = re.compile(r"^([a-z][a-z0-9+.-]*://)?[^/?#]*@", re.IGNORECASE)


def shown_address(address: str) -> str:
    """`address` with *** for the user and password that stand in it."""
    return _WHO.sub(r"\1***@", address)
