"""What is wrong with a field, in words that show the way out and no secret."""

import difflib
from collections.abc import Mapping
from typing import Any, Final

from madsci_event_server.definition.email_settings import EmailAlertsConfig
from madsci_event_server.definition.located_yaml import Place
from madsci_event_server.definition.model import EventManagerDefinition
from madsci_event_server.errors import shown

_EXAMPLES: Final[Mapping[str, str]] = {
    "name": "name: Robot Lab Events",
    "manager_id": "manager_id: 01M84W089Z03XKWAN6R5K5H9F2",
    "description": "description: Events of the robot lab",
    "manager_type": "manager_type: event_manager",
    "url": "url: http://lab-server:8001/",
    "host": "host: 127.0.0.1",
    "port": "port: 8001",
    "db_url": "db_url: sqlite:///.madsci/events/events.db",
    "db_url_file": "db_url_file: .madsci/secrets/db_url",
    "event_client_config": "event_client_config: null",
    "alert_level": "alert_level: ERROR",
    "email_alerts": "email_alerts: {smtp_server: smtp.example.org, email_addresses: [ada@example.org]}",
    "alert_rules": "alert_rules: [{name: arm, query: {node: robotarm_1}}]",
    "timezone": "timezone: America/Chicago",
    "max_event_bytes": "max_event_bytes: 1048576",
    "allowed_origins": "allowed_origins: [http://dashboard.lab:3000]",
    "tls_cert": "tls_cert: /etc/lab/cert.pem",
    "tls_key": "tls_key: /etc/lab/key.pem",
    "smtp_server": "smtp_server: smtp.example.org",
    "smtp_port": "smtp_port: 587",
    "smtp_username": "smtp_username: robot-lab",
    "smtp_password": "smtp_password_file: .madsci/secrets/smtp_password",
    "smtp_password_file": "smtp_password_file: .madsci/secrets/smtp_password",
    "use_tls": "use_tls: true",
    "sender": "sender: robot-lab@example.org",
    "default_importance": "default_importance: Normal",
    "email_addresses": "email_addresses: [ada@example.org, bob@example.org]",
    "encryption": "encryption: starttls",
    "ca_file": "ca_file: /etc/lab/authority.pem",
    "lab_name": "lab_name: Robot Lab",
}
"""What to write instead, for messages."""

_WORDS: Final[Mapping[str, str]] = {
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "holds a character that cannot be there",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "dict_type": "must hold fields",
    "model_type": "must hold fields",
    "model_attributes_type": "must hold fields",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "path_type": "must be a path",
}
_SECRET: Final = ("smtp_password", "smtp_username", "db_url")


def problem_text(place: Place, details: Any) -> str:
    """What pydantic found wrong at a place, in words with the way out. Shows no secret."""
    field = next((str(part) for part in reversed(place) if isinstance(part, str)), "")
    if details["type"] == "extra_forbidden":
        return _unknown(place)
    if details["type"] == "value_error":
        said = str(details["msg"]).removeprefix("Value error, ")
    else:
        value = "" if field in _SECRET else f"{shown(details['input'])} "
        said = value + _in_words(details)
    example = _EXAMPLES.get(field)
    return said if example is None else f"{said}; write, for example, {example}"


def _in_words(details: Any) -> str:
    kind, context = str(details["type"]), details.get("ctx", {})
    if kind.startswith("int_"):
        return "must be a whole number"
    for limit, words in (("ge", "at least"), ("le", "at most"), ("gt", "more than"), ("lt", "less than")):
        if limit in context:
            return f"must be {words} {context[limit]:g}"
    if "expected" in context:
        return f"must be {context['expected']}"
    return _WORDS.get(kind, f"cannot be used: {details['msg']}")


def _unknown(place: Place) -> str:
    name, inside = str(place[-1]), place[0] == "email_alerts" and len(place) > 1
    here = tuple((EmailAlertsConfig if inside else EventManagerDefinition).model_fields)
    there = tuple((EventManagerDefinition if inside else EmailAlertsConfig).model_fields)
    if name in there:
        home = "to the left, beside email_alerts" if inside else "under email_alerts"
        return f"is not a setting here; it belongs {home}"
    if near := difflib.get_close_matches(name.lower(), here, n=1):
        return f"is not a setting here; did you mean {near[0]}?"
    return f"is not a setting here; there are {', '.join(here)}"
