"""A mailbox file against the fleet: what each row would do, and the mailboxes that taking it in would make."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from mailfleet.intake.completing import Completer, presets_of, with_all_columns
from mailfleet.intake.fleet_file import FleetFile
from mailfleet.intake.mailbox_store import Stored
from mailfleet.intake.mailboxes import (
    MailboxDefaults,
    MailboxRow,
    Verdict,
    compare,
    map_mailbox_columns,
    read_mailbox_rows,
)
from mailfleet.intake.placing import Placer
from mailfleet.intake.tables import Problem, Row, RowProblem, Table
from mailfleet.providers.presets import GENERIC, Preset

_UNSTORED = ("line", "address", "needs_acknowledgement", "warnings")
_STORED = tuple(field.name for field in fields(MailboxRow) if field.name not in _UNSTORED)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A row's verdict; of one that is not refused, the mailbox as it will be, complete and with its domain."""

    verdict: Verdict
    mailbox: Mapping[str, Any] | None = None


def review_mailboxes(
    table: Table, defaults: MailboxDefaults, fleet: FleetFile, stored: Mapping[str, Stored]
) -> list[Reviewed]:
    """Every row of the file, in its order. InputError when it cannot be read to its end, or holds no addresses."""
    columns = with_all_columns(map_mailbox_columns(table))
    presets = presets_of(fleet)
    providers = {provider.name: provider for provider in fleet.providers}
    completer = Completer(columns, defaults, presets, providers, stored)
    completed = (completer.complete(row) if isinstance(row, Row) else row for row in table)
    placer = Placer(fleet)
    reviewed = []
    for row in read_mailbox_rows(completed, columns, defaults, presets):
        known = stored.get(row.address.normalised) if isinstance(row, MailboxRow) else None
        placed = _placed(row, known, placer, table.path.parent)
        mailbox = _complete(placed, known, fleet, presets) if isinstance(placed, MailboxRow) else None
        reviewed.append(Reviewed(compare(placed, known), mailbox))
    return reviewed


def _placed(
    row: MailboxRow | RowProblem, known: Stored | None, placer: Placer, folder: Path
) -> MailboxRow | RowProblem:
    if isinstance(row, RowProblem):
        return row
    if row.ca_file:
        path = (folder / row.ca_file).absolute()
        if not path.is_file():
            return RowProblem(row.line, (Problem("ca_file", "there is no such file"),))
        row = replace(row, ca_file=str(path))
    return placer.place(row, known)


def _complete(row: MailboxRow, known: Stored | None, fleet: FleetFile, presets: Mapping[str, Preset]) -> Stored:
    """What the row says, behind it what is stored, behind that the fleet's settings."""
    settings = fleet.settings
    preset = presets.get(row.provider, presets[GENERIC])
    mailbox: dict[str, Any] = {
        "imap_port": 993,
        "imap_security": "tls",
        "daily_limit": min(settings.daily_limit, settings.hard_cap),
        "pace": max(settings.pace, preset.pace_floor.value),
        **(known or {}),
    }
    said = {name: getattr(row, name) for name in _STORED}
    mailbox |= {name: value for name, value in said.items() if name not in mailbox or value not in (None, "", ())}
    return {**mailbox, "address": row.address.normalised, "domain": row.address.domain_ascii}


def to_save(reviewed: Iterable[Reviewed]) -> Iterator[Stored]:
    """The mailboxes that are new or changed."""
    for row in reviewed:
        if row.mailbox is not None and row.verdict.kind != "unchanged":
            yield row.mailbox
