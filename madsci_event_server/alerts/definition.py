"""From a server's settings to alerting: what it runs with, and a proof of it that needs no running server."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from madsci_event_server.alerts.alerting import AlertingConfig
from madsci_event_server.alerts.config import parse_rules
from madsci_event_server.alerts.mail import MailWriter
from madsci_event_server.alerts.proving import Proof, chosen_recipients, prove
from madsci_event_server.alerts.rules import RuleBook
from madsci_event_server.definition import Definition, load_definition
from madsci_event_server.errors import InvalidSettings
from madsci_event_server.settings import Settings


def alerting_config(settings: Settings) -> AlertingConfig:
    """What alerting runs with. Raises InvalidSettings for a rule that has no meaning."""
    try:
        rules = parse_rules(settings.alert_rules)
    except InvalidSettings as error:
        raise settings.placed(error) from None
    named = settings.name != Settings.model_fields["name"].default
    return AlertingConfig(
        alert_level=settings.alert_level,
        email=settings.email_alerts,
        rules=rules,
        lab_name=settings.name if named else settings.lab_directory.resolve().name or "lab",
        zone=settings.zone,
    )


def check_definition(path: Path) -> Definition:
    """The definition in a file, its rules checked too. Raises InvalidDefinition with all that is wrong."""
    definition = load_definition(path)
    try:
        parse_rules(definition.values.alert_rules)
    except InvalidSettings as error:
        raise definition.placed(error) from None
    return definition


async def prove_settings(settings: Settings, wanted: Sequence[str], now: datetime, *, dry_run: bool) -> Proof:
    """Mails the recipients these settings name, or those `wanted`, from this machine.

    Raises InvalidSettings where they say nothing of mail, InvalidInput where there is nobody to mail.
    """
    config = alerting_config(settings)
    if config.email is None:
        raise InvalidSettings("email_alerts", "is not set, so nobody is ever mailed; set it in the definition")
    known = RuleBook(config.alert_level, config.rules, config.email.email_addresses).everybody
    recipients = chosen_recipients(known, wanted, only_known=False)
    writer = MailWriter(config.email, config.lab_name, config.zone)
    return await prove(config.email, writer, recipients, now, dry_run=dry_run)
