"""What is known about each provider: endpoints, published limits, habits, outreach policy, each with its source.

The facts are data (`presets.toml`), so that a change of a provider is a change of a line. None is a provider's promise:
`Source.mark` says how well it is known, and "K" is shown to people as "unconfirmed".
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

from mailfleet.base.errors import InvariantError
from mailfleet.model.words import AuthKind, ScopeKind, Security, WindowKind

SentCopy = Literal["server", "client", "server_setting", "unknown"]
OutreachPolicy = Literal["forbidden", "consent_only", "bulk_unsupported", "silent", "unknown"]
T = TypeVar("T")

GENERIC = "generic"
_LENGTHS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a fact was read. Marks: S the provider's own page, S2 another's, K none seen, I our own choice."""

    page: str
    seen_on: date
    mark: Literal["S", "S2", "K", "I"]

    @property
    def is_confirmed(self) -> bool:
        """Whether a page states it."""
        return self.mark in ("S", "S2")


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    value: T
    source: Source


@dataclass(frozen=True, slots=True)
class PresetEndpoint:
    host: str
    port: int
    security: Security
    source: Source


@dataclass(frozen=True, slots=True)
class PresetLimit:
    """At most `maximum` submissions of one scope: in any `length` (rolling), or in one day of `zone` (calendar).

    `applies` is empty for a limit that always holds, else the condition under which it does (a trial, a new contract):
    such a limit is for a person to switch on.
    """

    scope_kind: ScopeKind
    window_kind: WindowKind
    length: timedelta
    zone: str
    maximum: int
    applies: str
    source: Source

    def __str__(self) -> str:
        window = f"day ({self.zone})" if self.window_kind is WindowKind.CALENDAR else _length_name(self.length)
        condition = f" ({self.applies})" if self.applies else ""
        return f"{self.maximum:,} per {self.scope_kind} and {window}{condition}"


@dataclass(frozen=True, slots=True)
class Preset:
    """One provider. `smtp` or `imap` is None where there is none, or where each customer has another host.

    `rewrites_message_id` is None where it is not known; `pace_floor` is a mailbox's least gap between two submissions.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    hosts: tuple[str, ...]
    address_domains: tuple[str, ...]
    smtp: PresetEndpoint | None
    imap: PresetEndpoint | None
    auth: Fact[tuple[AuthKind, ...]]
    login_help: str
    sent_copy: Fact[SentCopy]
    mailbox_connections: Fact[int]
    provider_connections: Fact[int]
    idle: Fact[timedelta]
    rewrites_message_id: Fact[bool | None]
    outreach_policy: Fact[OutreachPolicy]
    pace_floor: Fact[timedelta]
    limits: tuple[PresetLimit, ...]

    @property
    def daily_maximum(self) -> int | None:
        """The smallest standing limit of a mailbox over a day; None where none is known."""
        days = [limit.maximum for limit in self.limits if self._is_daily(limit)]
        return min(days, default=None)

    @staticmethod
    def _is_daily(limit: PresetLimit) -> bool:
        return limit.scope_kind is ScopeKind.MAILBOX and not limit.applies and limit.length == _LENGTHS["day"]

    def serves_host(self, host: str) -> bool:
        """Whether `host` is one of this provider's servers, or lies below one of its names."""
        return any(host == own or host.endswith(f".{own}") for own in self.hosts)


@cache
def load_presets() -> Mapping[str, Preset]:
    """Every preset by name, in the file's order; "generic" is among them. The same mapping at every call."""
    data = tomllib.loads(files(__package__).joinpath("presets.toml").read_text(encoding="utf-8"))
    sources = {key: Source(**fields) for key, fields in data["sources"].items()}
    presets = {name: _Reader(name, data["defaults"] | raw, sources).preset() for name, raw in data["providers"].items()}
    return MappingProxyType(presets)


def find_preset(name: str, presets: Mapping[str, Preset]) -> Preset | None:
    """The preset a person means by `name`: its name, title or an alias, whatever the case and the spaces."""
    wanted = _plain(name)
    return next((preset for preset in presets.values() if wanted in _names(preset)), None)


def guess_preset(smtp_host: str, address_domain: str, presets: Mapping[str, Preset] | None = None) -> str | None:
    """The name of the preset whose server `smtp_host` is; without a host, the one that gives out `address_domain`.

    Where several share a host (Gmail and Workspace), the address decides: a public domain is the personal product, any
    other the business one. None where nothing is known. Host and domain in lower case, the domain as A-labels.
    """
    known = (presets if presets is not None else load_presets()).values()
    candidates = [preset for preset in known if preset.serves_host(smtp_host)] if smtp_host else list(known)
    by_domain = [preset for preset in candidates if address_domain in preset.address_domains]
    if by_domain or not smtp_host:
        return _first_name(by_domain)
    business = [preset for preset in candidates if not preset.address_domains]
    return _first_name(business or candidates)


def _first_name(presets: Iterable[Preset]) -> str | None:
    return next((preset.name for preset in presets), None)


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _names(preset: Preset) -> set[str]:
    return {_plain(name) for name in (preset.name, preset.title, *preset.aliases)}


def _length_name(length: timedelta) -> str:
    return next(name for name, known in _LENGTHS.items() if known == length)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes one provider's table of the file into a Preset."""

    name: str
    raw: Mapping[str, Any]
    sources: Mapping[str, Source]

    def preset(self) -> Preset:
        raw = self.raw
        return Preset(
            name=self.name,
            title=raw["title"],
            aliases=tuple(raw.get("aliases", ())),
            hosts=tuple(raw.get("hosts", ())),
            address_domains=tuple(raw.get("address_domains", ())),
            smtp=self._endpoint("smtp"),
            imap=self._endpoint("imap"),
            auth=Fact(tuple(map(AuthKind, raw["auth"][0])), self._source(raw["auth"][1])),
            login_help=raw.get("login_help", ""),
            sent_copy=self._fact("sent_copy"),
            mailbox_connections=self._fact("mailbox_connections"),
            provider_connections=self._fact("provider_connections"),
            idle=self._seconds("idle_seconds"),
            rewrites_message_id=self._known("rewrites_message_id"),
            outreach_policy=self._fact("outreach_policy"),
            pace_floor=self._seconds("pace_seconds"),
            limits=tuple(self._limit(limit) for limit in raw.get("limits", ())),
        )

    def _source(self, key: str) -> Source:
        if key not in self.sources:
            raise InvariantError(f"presets.toml: {self.name} names the source {key!r}, which is not listed")
        return self.sources[key]

    def _fact(self, key: str) -> Fact[Any]:
        value, source = self.raw[key]
        return Fact(value, self._source(source))

    def _known(self, key: str) -> Fact[bool | None]:
        value, source = self.raw[key]
        return Fact(None if value == "unknown" else bool(value), self._source(source))

    def _seconds(self, key: str) -> Fact[timedelta]:
        value, source = self.raw[key]
        return Fact(timedelta(seconds=value), self._source(source))

    def _endpoint(self, key: str) -> PresetEndpoint | None:
        raw = self.raw.get(key)
        if raw is None:
            return None
        return PresetEndpoint(raw["host"], raw["port"], Security(raw["security"]), self._source(raw["source"]))

    def _limit(self, raw: Mapping[str, Any]) -> PresetLimit:
        return PresetLimit(
            scope_kind=ScopeKind(raw["scope"]),
            window_kind=WindowKind.CALENDAR if "calendar" in raw else WindowKind.ROLLING,
            length=_LENGTHS[raw.get("rolling", "day")],
            zone=raw.get("calendar", "UTC"),
            maximum=raw["maximum"],
            applies=raw.get("applies", ""),
            source=self._source(raw["source"]),
        )
