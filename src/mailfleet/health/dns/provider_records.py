"""What the customers of each provider set in their DNS; `providers.toml`, by the names of the presets."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from mailfleet.base.errors import InputError, InvariantError
from mailfleet.health.dns.facts import is_below
from mailfleet.health.dns.findings import Record
from mailfleet.providers.presets import Source, find_preset, load_presets


@dataclass(frozen=True, slots=True)
class DkimTemplate:
    """A selector, and the record at it; an empty `value` is the provider's console's to tell."""

    selector: str
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class ProviderRecords:
    """One provider.

    `spf`: domains of which a record must include one, the first is the one to set; empty where it needs none or none is
    known. `mx`: "preference host"; `mx_hosts`: below which its exchangers lie. `needs_all_selectors`: it signs with
    each in turn. `console`: where a person finds what only the provider knows. `sources` by part (spf, mx, dkim).
    """

    name: str
    title: str
    spf: tuple[str, ...]
    mx: tuple[str, ...]
    mx_hosts: tuple[str, ...]
    dkim: tuple[DkimTemplate, ...]
    needs_all_selectors: bool
    console: str
    sources: Mapping[str, Source]

    def mx_records(self, domain: str) -> tuple[Record, ...]:
        return tuple(Record(domain, "MX", _filled(value, domain), self._note("mx")) for value in self.mx)

    def dkim_record(self, template: DkimTemplate, domain: str) -> Record:
        name = f"{template.selector}._domainkey.{domain}"
        note = self._note("dkim") if template.value else f"the value is in {self.console}"
        return Record(name, template.kind, _filled(template.value, domain), note)

    def serves(self, host: str) -> bool:
        """Whether `host` is one of its exchangers."""
        return any(is_below(host, own) for own in self.mx_hosts)

    def _note(self, part: str) -> str:
        return "" if self.sources[part].is_confirmed else f"unconfirmed: compare with {self.console}"


def _filled(value: str, domain: str) -> str:
    return value.replace("{domain}", domain).replace("{dashed}", domain.replace(".", "-"))


@dataclass(frozen=True, slots=True)
class ProviderBook:
    """Every provider by preset name, and selectors that are often used, for where none is known."""

    providers: Mapping[str, ProviderRecords]
    common_selectors: tuple[str, ...]


@cache
def load_providers() -> ProviderBook:
    """The same book at every call."""
    data = tomllib.loads(files(__package__).joinpath("providers.toml").read_text(encoding="utf-8"))
    sources = {key: Source(**fields) for key, fields in data["sources"].items()}
    read = {name: _provider(name, raw, sources) for name, raw in data["providers"].items()}
    return ProviderBook(MappingProxyType(read), tuple(data["common_selectors"]))


def find_provider(name: str) -> ProviderRecords:
    """The provider a person means. InputError when there is none of the name."""
    preset = find_preset(name, load_presets())
    if preset is None:
        known = ", ".join(load_presets())
        raise InputError(f"There is no provider {name!r}.", hint=f"Known are: {known}.")
    return load_providers().providers[preset.name]


def guess_providers(exchangers: Sequence[str]) -> tuple[ProviderRecords, ...]:
    """Those whose exchangers a domain names."""
    known = load_providers().providers.values()
    return tuple(provider for provider in known if any(provider.serves(host) for host in exchangers))


def _provider(name: str, raw: Mapping[str, Any], sources: Mapping[str, Source]) -> ProviderRecords:
    if unknown := set(raw.get("sources", {}).values()) - set(sources):
        raise InvariantError(f"providers.toml: {name} names the sources {sorted(unknown)}, which are not listed")
    return ProviderRecords(
        name=name,
        title=load_presets()[name].title,
        spf=tuple(raw.get("spf", ())),
        mx=tuple(raw.get("mx", ())),
        mx_hosts=tuple(raw.get("mx_hosts", ())),
        dkim=tuple(DkimTemplate(item["selector"], item["kind"], item.get("value", "")) for item in raw.get("dkim", ())),
        needs_all_selectors=raw.get("needs_all_selectors", False),
        console=raw.get("console", "the provider's console"),
        sources={part: sources[raw.get("sources", {}).get(part, "background")] for part in ("spf", "mx", "dkim")},
    )
