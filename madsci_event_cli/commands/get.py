"""`get`: one event."""

from datetime import UTC
from typing import Annotated, Final

import typer

from madsci_event_cli.completing import event_ids
from madsci_event_cli.registration import register
from madsci_event_cli.rendering import names_by_id
from madsci_event_cli.session import Session
from madsci_event_server.errors import NotFound

EXAMPLES: Final = """
    madsci-events get 01M84W00C21SPHKDZ53DPXVAZS
    madsci-events get 3DPXVAZS  # its end, or its beginning, is enough
    madsci-events get 3DPXVAZS -o json | jq '.[0].event_data'
"""
LEAST_CHARACTERS: Final = 8
"""Of part of an id, by which an event may be found."""


def register_in(app: typer.Typer) -> None:
    """Adds the command."""
    register(app, get, panel="Look", examples=EXAMPLES)


async def get(
    session: Session,
    event_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help=f"All of its id, or {LEAST_CHARACTERS} or more characters of one end.",
            autocompletion=event_ids,
        ),
    ],
    *,
    utc: Annotated[bool, typer.Option("--utc", help="Times in UTC, not in the local zone.")] = False,
) -> None:
    """Show one event, all of it."""
    output = session.output_in(UTC if utc else None)
    async with session.reader() as reader:
        try:
            body = await reader.get(event_id)
        except NotFound:
            if len(event_id) < LEAST_CHARACTERS:
                raise NotFound(
                    f"no event has the id {event_id!r}; of part of an id give {LEAST_CHARACTERS} or more characters"
                ) from None
            body = await reader.get(event_id, partial=True)
        output.event(body, names_by_id(await reader.names()) if output.shows_names else {})
