"""OwnershipInfo: who or what an event concerns, as MADSci has it on the wire."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from madsci_event_server import subject
from madsci_event_server.derived import derived
from madsci_event_server.json_text import encode_json, encode_queryable, queryable
from madsci_event_server.sent_fields import SOURCE_IDS, as_it_is, canonical_id, parse_source, tidied
from madsci_event_server.vocabulary import SOURCE_ID_FIELDS

_NO_IDS: Final[dict[str, Any]] = dict.fromkeys(SOURCE_ID_FIELDS)
_MAX_KNOWN: Final = 4096
_MAX_KNOWN_BYTES: Final = 1024
"""How many sources are known at most, and how long one may be."""


class OwnershipInfo(BaseModel):
    """Who or what an event concerns: MADSci's ten ids, each a ULID, and whatever else was sent beside them.

    MADSci's clients refuse to read anything but ULIDs there, so anything else is refused on the way in. Events of one
    source may share one: it is not to be changed.
    """

    model_config = ConfigDict(extra="allow", ignored_types=(derived,))

    user_id: str | None = None
    experiment_id: str | None = None
    campaign_id: str | None = None
    project_id: str | None = None
    node_id: str | None = None
    workcell_id: str | None = None
    lab_id: str | None = None
    step_id: str | None = None
    workflow_id: str | None = None
    manager_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _check(cls, value: object) -> object:
        return value if isinstance(value, cls) else parse_source(value, tidied)

    @classmethod
    def sent(cls, document: object) -> Self:
        """The object a sender means by this parsed JSON. Raises InvalidEvent."""
        return cls.stored(parse_source(document, tidied))

    @classmethod
    def stored(cls, document: dict[str, Any]) -> Self:
        """The object of a parsed answer or stored row, unchecked: for what `wire` once gave."""
        fields = _NO_IDS | document
        extra: dict[str, Any] = {}
        if len(fields) > len(_NO_IDS):
            extra = {name: fields.pop(name) for name in document if name not in SOURCE_IDS}
        return constructed(cls, fields, extra, set(_NO_IDS))

    def wire(self) -> dict[str, Any]:
        """The object as it is sent and answered: ids that are absent are left out."""
        fields = self.__dict__
        found = {name: value for name in SOURCE_ID_FIELDS if (value := fields[name]) is not None}
        if self.__pydantic_extra__:
            found.update(self.__pydantic_extra__)
        return found

    @derived
    def plain(self) -> bytes | None:
        """`wire` as JSON, where that is its queryable form."""
        return encode_queryable(self.wire())

    @derived
    def said(self) -> subject.SaidBySource:
        """What it says of an event by itself."""
        return subject.SaidBySource(self.__dict__, self.__pydantic_extra__ or {})

    @derived
    def others(self) -> Mapping[str, str]:
        """What stands beside the ids, as filters compare it: text as it is, any other JSON value as compact JSON."""
        extra = queryable(self.__pydantic_extra__ or {})
        return {
            name: canonical_id(value) if isinstance(value, str) else encode_json(value).decode()
            for name, value in extra.items()
            if value is not None
        }

    def value(self, key: str) -> str | None:
        """The value of this key as filters compare it; None if absent."""
        if key not in SOURCE_IDS:
            return self.others.get(key)
        value = self.__dict__[key]
        return None if value is None else canonical_id(value)


class _Known:
    """Sources by their JSON. A lab has few, and each sends many events: what follows from one is worked out once."""

    def __init__(self, make: Callable[[Any], OwnershipInfo]) -> None:
        self._make = make
        self._known: dict[bytes, OwnershipInfo] = {}

    def __call__(self, document: object) -> OwnershipInfo:
        written = encode_json(document)
        known = self._known.get(written)
        if known is None:
            known = self._make(document)
            if len(written) <= _MAX_KNOWN_BYTES:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                self._known[written] = known
        return known


sent_source: Final = _Known(lambda document: OwnershipInfo.stored(parse_source(document, as_it_is)))
"""The source that a sender means by this tidy JSON. Raises InvalidEvent."""
stored_source: Final = _Known(OwnershipInfo.stored)
"""The source of a stored event, unchecked."""


_set: Final = object.__setattr__
_M = TypeVar("_M", bound=BaseModel)


def constructed(cls: type[_M], fields: dict[str, Any], extra: dict[str, Any], names: set[str]) -> _M:
    """An instance without validation. Not `model_construct`: an extra field may be called `cls` or `_fields_set`."""
    instance = cls.__new__(cls)
    _set(instance, "__dict__", fields)
    _set(instance, "__pydantic_fields_set__", names)
    _set(instance, "__pydantic_extra__", extra)
    _set(instance, "__pydantic_private__", None)
    return instance
