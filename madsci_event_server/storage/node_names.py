"""The node ids of each name, in memory: what a store that is asked for a node by its name looks in."""

from collections.abc import Collection, Iterable

from madsci_event_server.event import NamedId


class NodeNames:
    """A NameDirectory of nodes only: other names are many, and no query needs them."""

    def __init__(self) -> None:
        self._node_ids: dict[str, set[str]] = {}

    def add(self, named_ids: Iterable[NamedId]) -> None:
        """Names that are stored, of whatever."""
        for named in named_ids:
            if named.field == "node_id":
                self._node_ids.setdefault(named.name, set()).add(named.id)

    def ids_of(self, field: str, name: str) -> Collection[str]:
        """The node ids seen with this name."""
        return frozenset(self._node_ids.get(name, ())) if field == "node_id" else frozenset()
