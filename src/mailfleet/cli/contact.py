"""contact: what is held about a person, shown or taken away."""

import json
from datetime import date
from time import monotonic, sleep
from typing import Any

import click

from mailfleet.cli.opening import Opened, opened
from mailfleet.cli.operators import operator_name
from mailfleet.cli.printing import confirm
from mailfleet.intake.contact_data import Erased, erase_contact, export_contact, letters_in_hand
from mailfleet.mail.addresses import Address, parse_address

PATIENCE = 30.0  # chosen: seconds; nearly every letter that leaves is settled by then


@click.group("contact")
def contact_command() -> None:
    """One person: what is held about them, and how it is taken away."""


@contact_command.command("export")
@click.argument("address")
def contact_export(address: str) -> None:
    """Print all that is held about ADDRESS, as JSON: the answer to who asks for their data."""
    parsed = parse_address(address)
    with opened() as it:
        found = export_contact(it.connection, it.vault.digester, parsed)
    click.echo(json.dumps(found, ensure_ascii=False, indent=2, default=_written))


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


@contact_command.command("erase")
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do not ask.")
def contact_erase(address: str, yes: bool) -> None:
    """Take away all that is held about ADDRESS, and never write to it again.

    Counts stay, and a keyed digest with the ban, so that no import brings the person back.
    """
    parsed = parse_address(address)
    if not yes:
        confirm(f"All that is held about {parsed.original} goes, and it is banned for good. Go on?")
    with opened() as it:
        erased = _erase(it, parsed)
    _tell(erased, parsed)


def _erase(it: Opened, address: Address) -> Erased:
    """Once more when the letters that were leaving have arrived: what a server answered names the person."""
    erased = erase_contact(it.connection, it.vault.digester, address, by=operator_name(), say_waiting=_say_waiting)
    if not erased.in_hand:
        return erased
    click.echo(f"Waiting for {erased.in_hand} letters that are leaving at this moment.")
    end = monotonic() + PATIENCE
    while letters_in_hand(it.connection, it.vault.digester, address) and monotonic() < end:
        sleep(0.2)
    return erase_contact(it.connection, it.vault.digester, address, by=operator_name(), say_waiting=_say_waiting)


def _say_waiting() -> None:
    click.echo("Waiting for an import of contacts to end.")


def _tell(erased: Erased, address: Address) -> None:
    who = "The contact is" if erased.is_contact else "There was no such contact; what mentioned the address is"
    click.echo(f"{who} erased, with {erased.incoming} mails; {address.original} is banned for good.")
    if erased.mailboxes:
        click.echo("Their folders at the provider still hold letters or mails: " + ", ".join(erased.mailboxes))
    if open_ones := erased.in_hand + erased.ambiguous:
        click.echo(f"{open_ones} letters are not settled yet: an answer may still name the person.")
        click.echo(f"  → When `mailfleet status` shows none, once more: mailfleet contact erase {address.original}")
