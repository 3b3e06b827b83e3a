"""A definition as a file to read: every field, what it is for, and what else it could be."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

_RULE_CELLS: Final = 100


def definition_text(fields: Mapping[str, Any]) -> str:
    """The YAML of a definition whose fields these are; what is not given has its default."""
    return _TEXT.format_map(_Written(fields))


class _Written(dict[str, str]):
    """What the template asks for: `{port}` is a field's value, `{mail}` the mail settings as a block."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__()
        self._fields = fields

    def __missing__(self, name: str) -> str:
        if name == "title":
            return " ".join(str(self._fields["name"]).split())
        if name.startswith("rule_"):
            heading = f"# --- {name.removeprefix('rule_').replace('_', ' ').capitalize()} "
            return heading.ljust(_RULE_CELLS, "-")
        if name == "store":
            return _store(self._fields)
        if name == "mail":
            return _mail(self._fields.get("email_alerts"))
        if name == "rules":
            return _block("alert_rules", self._fields.get("alert_rules") or [])
        if name == "client_config":
            config = self._fields.get("event_client_config")
            return "" if config is None else "\n\n" + _block("event_client_config", config)
        return _scalar(self._fields.get(name, _DEFAULTS.get(name)))


_DEFAULTS: Final[Mapping[str, Any]] = {
    "host": "127.0.0.1",
    "port": 8001,
    "alert_level": "ERROR",
    "max_event_bytes": 1024 * 1024,
    "allowed_origins": [],
    "db_url": "sqlite:///.madsci/events/events.db",
}

_TEXT: Final = """\
# {title}: the event manager of this lab.
#
#   madsci-events manager validate          is this file right?
#   madsci-events serve --print-settings    what would run, and where each value comes from
#   madsci-events doctor                    is everything in place?
#
# Flags of `serve` and EVENT_ variables go before what stands here. Paths are relative to the lab's directory.
# No password belongs in this file: name a file of mode 600 that holds it, or set the variable.

name: {name}
description: {description}
manager_type: event_manager

# Who this server is to the lab's nodes and managers. Events refer to it: keep it.
manager_id: {manager_id}

{rule_where_it_listens}
# 127.0.0.1 is this machine alone. 0.0.0.0 is everybody who can reach it, and there is no login.
host: {host}
port: {port}

# What clients dial, where that is another address (behind a proxy): http://lab-server:8001/
url: {url}

# Sites whose pages may archive and delete events and change alerts, too: [http://dashboard.lab:3000]. Any may read.
allowed_origins: {allowed_origins}

# A certificate and its key, PEM. Both make it https.
tls_cert: {tls_cert}
tls_key: {tls_key}

{rule_what_it_keeps}
# sqlite:///PATH, mongodb://HOST:27017/NAME, or memory: for a trial. For an address with a password in it:
# db_url_file: .madsci/secrets/db_url
{store}

# The zone of timestamps that have none, as America/Chicago. null: this machine's.
timezone: {timezone}

# The largest event taken, in bytes.
max_event_bytes: {max_event_bytes}

{rule_whom_it_tells}
# Events of this level and above raise an alert: DEBUG, INFO, WARNING, ERROR or CRITICAL.
alert_level: {alert_level}

# How mail leaves and whom it reaches; null: alerts are kept and shown, and nobody is mailed.
# Prove it: madsci-events alerts test
{mail}

# More rules: which events, who is told, what they should do. The query takes the filters of `madsci-events query`.
# - name: arm
#   query: {{node: robotarm_1, level: warning}}
#   recipients: [bob@example.org]
#   guidance: Press the red button. Call Bob.
{rules}{client_config}
"""


def _store(fields: Mapping[str, Any]) -> str:
    if fields.get("db_url_file") is not None:
        return f"db_url_file: {_scalar(fields['db_url_file'])}"
    return f"db_url: {_scalar(fields.get('db_url') or _DEFAULTS['db_url'])}"


_MAIL: Final[Sequence[tuple[str, str]]] = (
    ("smtp_server", ""),
    ("smtp_port", "587 with STARTTLS, 465 with TLS from the first byte, 25 within the lab"),
    ("use_tls", "false only where you trust the network in between"),
    ("encryption", "starttls, implicit (TLS from the first byte) or none, where port and use_tls do not say it"),
    ("ca_file", "a lab's own authority, PEM"),
    ("smtp_username", "null: the mail server wants no login"),
    ("smtp_password_file", "or set EVENT_EMAIL_ALERTS__SMTP_PASSWORD"),
    ("smtp_password", "better in a file of mode 600: smtp_password_file"),
    ("sender", ""),
    ("email_addresses", "who is told, unless a rule names others"),
    ("default_importance", "High, Normal or Low; of what is critical it is High"),
)
_ALWAYS: Final = (
    "smtp_server", "smtp_port", "use_tls", "smtp_username", "smtp_password_file", "sender", "email_addresses"
)  # fmt: skip


def _mail(fields: Mapping[str, Any] | None) -> str:
    if fields is None:
        return "email_alerts: null"
    described = dict(_MAIL)
    names = [name for name, _ in _MAIL if name in _ALWAYS or fields.get(name) is not None]
    if "smtp_password" in fields:
        names.remove("smtp_password_file")
    names += [name for name in fields if name not in described]
    lines = [(f"  {name}: {_scalar(fields.get(name))}", described.get(name, "")) for name in names]
    column = min(52, max(len(line) for line, _ in lines))
    return "\n".join(["email_alerts:", *(f"{line.ljust(column)}  # {text}" if text else line for line, text in lines)])


def _block(name: str, value: Any) -> str:
    if not value:
        return f"{name}: {_scalar(value)}"
    import yaml

    return yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, default_flow_style=False).rstrip("\n")


def _scalar(value: Any) -> str:
    """One value on one line."""
    import yaml  # 20 ms, for who writes a definition

    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value)  # YAML reads JSON's strings
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return str(text).removesuffix("\n").removesuffix("\n...")
