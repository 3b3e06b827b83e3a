"""Settings as people read them: one a line, and where each comes from."""

import json
from collections.abc import Mapping
from typing import Any, Final

from madsci_event_cli.rendering import Span, visible

_LEAST_CELLS: Final = 20


def setting_lines(settings: Mapping[str, Any], origins: Mapping[str, str] | None, prefix: str = "") -> list[list[Span]]:
    """A line a setting; with `origins`, where it comes from behind it."""
    rows = list(_rows(settings, origins or {}, prefix))
    names = max((len(name) for name, _, _ in rows), default=0)
    values = min(44, max((len(value) for _, value, _ in rows), default=0))
    return [_line(name.ljust(names), value, where, values if origins is not None else 0) for name, value, where in rows]


def _line(name: str, value: str, where: str, column: int) -> list[Span]:
    spans: list[Span] = [(f"{name}  ", "label"), (value.ljust(column), "")]
    return [*spans, (f"  {visible(where)}", "dim")] if column else spans


def _rows(settings: Mapping[str, Any], origins: Mapping[str, str], prefix: str) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for name, value in settings.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found += _rows(value, origins, f"{path}.")
        else:
            found.append((path, _text(value), origins.get(path, "default")))
    return found


def _text(value: Any) -> str:
    if isinstance(value, str):
        return visible(value)
    return "-" if value is None else visible(json.dumps(value, ensure_ascii=False))
