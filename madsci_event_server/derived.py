"""derived: a value worked out once, when it is first asked for."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class derived(Generic[T]):  # read as the decorator it is
    """What `functools.cached_property` is from Python 3.12 on, where it takes no lock any more: a part of its cost.

    Two threads that ask at the same time may both work it out: it has to come out the same.
    """

    def __init__(self, work: Callable[[Any], T]) -> None:
        self._work = work
        self._name = work.__name__
        self.__doc__ = work.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T | Self:
        """The value, which the instance keeps under the same name."""
        if instance is None:
            return self
        found = instance.__dict__[self._name] = self._work(instance)
        return found
