"""Stand-in until the selector lands."""

from typing import Any


class Selector:
    @classmethod
    def parse(cls, document: object, *, zone: Any = None) -> "Selector":
        raise NotImplementedError

    def matches(self, document: Any) -> bool:
        raise NotImplementedError
