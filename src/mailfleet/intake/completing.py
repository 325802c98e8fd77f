"""What a row of a mailbox file leaves open and the fleet knows already. Pure.

A file may hold but a few columns of mailboxes that are there: what it is silent about stays as it is, and is not
guessed anew. Servers that a provider of the fleet has of its own come before those of its preset.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mailfleet.base.errors import InputError
from mailfleet.intake.fleet_file import FleetFile, Provider
from mailfleet.intake.mailboxes import MailboxDefaults
from mailfleet.intake.tables import ColumnMap, Row
from mailfleet.mail.addresses import parse_address
from mailfleet.providers.presets import GENERIC, Preset, find_preset, load_presets

_KEPT = ("auth", "login", "password")
_SERVER = ("host", "port", "security")
_COMPLETED = ("provider", *_KEPT, *(f"{kind}_{part}" for kind in ("smtp", "imap") for part in _SERVER))


def presets_of(fleet: FleetFile) -> dict[str, Preset]:
    """Every preset by name, and before them the fleet's own providers as such, so that they are recognised first."""
    presets = load_presets()
    own = {provider.name: _preset_of(provider, presets) for provider in fleet.providers}
    return own | {name: preset for name, preset in presets.items() if name not in own}


def _preset_of(provider: Provider, presets: Mapping[str, Preset]) -> Preset:
    preset = presets.get(provider.preset, presets[GENERIC])
    hosts = (provider.smtp_host,) if provider.smtp_host else preset.hosts
    return replace(preset, name=provider.name, aliases=(), hosts=hosts)


def with_all_columns(columns: ColumnMap) -> ColumnMap:
    """The same with a column, under its own name, for each field that can be completed."""
    return replace(columns, known={**{name: name for name in _COMPLETED}, **columns.known})


@dataclass(frozen=True, slots=True)
class Completer:
    """`columns` as `with_all_columns` made them; `stored` mailboxes by address, by `MailboxRow`'s field names."""

    columns: ColumnMap
    defaults: MailboxDefaults
    presets: Mapping[str, Preset]
    providers: Mapping[str, Provider]
    stored: Mapping[str, Mapping[str, Any]]

    def complete(self, row: Row) -> Row:
        """The row with the cells it leaves empty, where the mailbox or its provider tells them."""
        stored = self._stored(row)
        provider = self._named(self._cell(row, "provider") or self.defaults.provider or stored.get("provider", ""))
        known = {"provider": provider, **{name: stored.get(name) for name in _KEPT}}
        servers = stored if provider == stored.get("provider") else self._servers(provider)
        for kind in ("smtp", "imap"):
            known |= self._server(row, kind, servers)
        missing = {name: value for name, value in known.items() if value and not self._cell(row, name)}
        return Row(row.line, row.values | {self.columns.known[name]: str(value) for name, value in missing.items()})

    def _stored(self, row: Row) -> Mapping[str, Any]:
        try:
            return self.stored.get(parse_address(self._cell(row, "address")).normalised, {})
        except InputError:
            return {}

    def _cell(self, row: Row, name: str) -> str:
        return row.values.get(self.columns.known[name], "")

    def _named(self, name: str) -> str:
        preset = self.presets.get(name) or find_preset(name, self.presets)
        return preset.name if preset else name

    def _servers(self, name: str) -> dict[str, Any]:
        """What a provider of the fleet has of its own, its preset behind it."""
        provider = self.providers.get(name)
        servers: dict[str, Any] = {}
        for kind in ("smtp", "imap") if provider else ():
            host, port, security = (getattr(provider, f"{kind}_{part}") for part in _SERVER)
            known = getattr(self.presets[name], kind)
            if known and host in ("", known.host):
                host, port, security = known.host, port or known.port, security or ("" if port else known.security)
            servers |= {f"{kind}_host": host, f"{kind}_port": port, f"{kind}_security": security}
        return servers

    def _server(self, row: Row, kind: str, servers: Mapping[str, Any]) -> dict[str, Any]:
        """Host, port and security go together: one that the row changes leaves those behind it to the row."""
        known: dict[str, Any] = {}
        for part in _SERVER:
            value = servers.get(f"{kind}_{part}")
            said = self._cell(row, f"{kind}_{part}").casefold()
            if not value or said not in ("", str(value)):
                break
            known[f"{kind}_{part}"] = value
        return known
