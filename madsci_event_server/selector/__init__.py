"""The Mongo-shaped filter expression: a named subset of MongoDB's query language, with one meaning everywhere.

`Selector.parse` reads it, refuses what is outside the subset, and says what to use instead. The meaning is MongoDB's
(`mongo_values`), after this much is normalised in what is compared:

- `_id` is `event_id`; levels may be names; times may be written in any way an event's may;
- event types match in any letter case, MADSci's old names as the new ones;
- `{"source": {"node_id": X}}` is `{"source.node_id": X}`, as MADSci's documentation has it.

`$regex` alone is not MongoDB's: patterns are RE2, which takes time linear in the text whatever the pattern.
"""

from madsci_event_server.selector.nodes import And, Condition, Node, Nor, Not, Operator, Or, Regex
from madsci_event_server.selector.parsing import MAX_CHOICES, MAX_CONDITIONS, MAX_NESTING, Selector

__all__ = [
    "MAX_CHOICES",
    "MAX_CONDITIONS",
    "MAX_NESTING",
    "And",
    "Condition",
    "Node",
    "Nor",
    "Not",
    "Operator",
    "Or",
    "Regex",
    "Selector",
]
