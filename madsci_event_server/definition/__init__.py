"""What `<name>.manager.yaml` says of an event manager, and which file that is.

The fields are those of MADSci's definitions of 2025, so that its files load as they are, and ours, which are optional.
A file is refused as a whole: every problem names file, line, field and the way out, and a secret is never shown.
"""

from madsci_event_server.definition.finding import (
    find_definition,
    find_definitions,
    manager_files,
    may_be_event_manager,
)
from madsci_event_server.definition.loading import Definition, check_field, load_definition, parse_definition
from madsci_event_server.definition.model import EventManagerDefinition, checked_store
from madsci_event_server.definition.secret_files import read_secret

__all__ = [
    "Definition",
    "EventManagerDefinition",
    "check_field",
    "checked_store",
    "find_definition",
    "find_definitions",
    "load_definition",
    "manager_files",
    "may_be_event_manager",
    "parse_definition",
    "read_secret",
]
