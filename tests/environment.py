"""The environment tests run in: nothing of the developer's machine reaches them."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import platformdirs
import pytest

DEVELOPERS: Mapping[str, str] = dict(os.environ)
"""The environment as it was at the start: for `pip`, which needs the developer's proxies and package indexes."""

CACHE: Path = platformdirs.user_cache_path("madsci-events-tests")
"""What is slow to build and the same next time survives the session, in the developer's own cache."""

_OURS = ("EVENT_", "MADSCI_", "XDG_")
_OTHERS = {"NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "COLUMNS", "LINES", "PAGER", "LESS"}
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}


def hear_signals() -> None:
    """Lets programs that tests start be interrupted and hung up on, also where a background job ignores both."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def clean(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """No setting of ours or of a terminal, no proxy before local servers, and a home of one's own."""
    for name in list(os.environ):
        if name.startswith(_OURS) or name in _OTHERS or name.lower() in _PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
