"""The manual of MADSci's client: the long description of its event manager's distribution."""

import re
import subprocess

from tests.server.madsci_clients.environments import Generation, environment_of

_SHOW = "import importlib.metadata; print(importlib.metadata.metadata('madsci.event_manager').get_payload())"


def client_example(generation: Generation, url: str) -> str:
    """Its program that makes an EventClient, with our address.

    The keyword for the address becomes the one the client has: the manual's `event_server` was never read.
    """
    program = _program(generation, "EventClient(")
    addressed, replaced = re.subn(r'event_server="[^"]*"', f'event_server_url="{url}"', program)
    assert replaced == 1, f"the manual of {generation.version} gives the address another way:\n{program}"
    return addressed


def context_example(generation: Generation) -> str:
    """Its program that logs through contexts; the address comes from `EVENT_SERVER_URL`."""
    return _program(generation, "event_client_context(")


def _program(generation: Generation, call: str) -> str:
    shown = subprocess.run(
        [environment_of(generation), "-c", _SHOW], check=True, capture_output=True, text=True, encoding="utf-8"
    )
    programs: list[str] = re.findall(r"```python\n(.*?)```", shown.stdout, re.DOTALL)
    return next(text for text in programs if call in text)
