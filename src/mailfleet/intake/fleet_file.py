"""fleet.toml: identities, providers, accounts, domains, pools, limits and settings, as a person writes them.

Everything of the fleet but its mailboxes, whose secrets come by CSV. `dump_fleet` writes what `read_fleet` reads back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from mailfleet.intake.pool import Pool, read_pool
from mailfleet.intake.toml_file import Table, TomlFile, did_you_mean
from mailfleet.intake.values import (
    parse_account,
    parse_contact_email,
    parse_country,
    parse_duration,
    parse_mailbox,
    parse_name,
    parse_opt_out_url,
    parse_selector,
    parse_slug,
    parse_url,
    parse_window,
    write_duration,
    write_window,
)
from mailfleet.mail.addresses import parse_domain
from mailfleet.model.words import ScopeKind, Security
from mailfleet.outbox.limits import SLACK, Window
from mailfleet.providers.presets import GENERIC, find_preset, load_presets

ALL = "*"
OPERATOR = "operator"  # the source of a limit that names none
RAMP_SOURCE = "ramp"  # of the limits that planning writes for each mailbox
SENT_COPIES = ("server", "client", "server_setting", "unknown")
LIMIT_SCOPES: dict[str, Callable[[str], str]] = {
    ScopeKind.MAILBOX.value: parse_mailbox,
    ScopeKind.DOMAIN.value: parse_domain,
    ScopeKind.ACCOUNT.value: parse_account,
    ScopeKind.PROVIDER.value: parse_name,
    ScopeKind.IDENTITY.value: parse_name,
    ScopeKind.RECIPIENT_DOMAIN.value: parse_domain,
    ScopeKind.SENDER_HOST.value: parse_name,
}
"""What a limit of the file can cover (the design, section 6), and how the name of such a scope is read."""


@dataclass(frozen=True, slots=True)
class Row:
    name: str

    @property
    def key(self) -> str:
        """What tells the row from all others of its kind."""
        return self.name


@dataclass(frozen=True, slots=True)
class Identity(Row):
    """The legal entity that writes."""

    legal_name: str
    postal_address: str
    contact_email: str
    opt_out_base_url: str
    website: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class Provider(Row):
    """A preset and what differs from it; an empty text or None leaves the preset's word."""

    preset: str = GENERIC
    smtp_host: str = ""
    smtp_port: int | None = None
    smtp_security: str = ""
    imap_host: str = ""
    imap_port: int | None = None
    imap_security: str = ""
    ca_file: str = ""
    dialect: str = ""
    sent_copy: str = ""
    max_connections: int | None = None
    max_connections_per_mailbox: int | None = None
    idle: timedelta | None = None
    acknowledge_policy: str = ""


@dataclass(frozen=True, slots=True)
class Account(Row):
    """One contract; its name is unique inside its provider only."""

    provider: str

    @property
    def key(self) -> str:
        return f"{self.provider}/{self.name}"


@dataclass(frozen=True, slots=True)
class Domain(Row):
    identity: str
    dkim_selectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedPool(Row):
    pool: Pool


@dataclass(frozen=True, slots=True)
class Limit(Row):
    """At most `maximum` submissions in the window for the scope of that name, or for each of its kind (name "*")."""

    scope: str
    window: Window
    maximum: int
    source: str = OPERATOR

    @property
    def key(self) -> str:
        return f"{self.scope} {self.name}, {write_window(self.window)}, {self.source}"


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """What holds for the whole fleet; the defaults are the design's."""

    reserve_ahead: timedelta = timedelta(seconds=10)
    lease: timedelta = timedelta(minutes=1)
    horizon: timedelta = timedelta(hours=1)
    pace: timedelta = timedelta(minutes=5)  # chosen: 30 letters take 2.5 of a window's 8 hours
    ramp_start: int = 5
    daily_limit: int = 30
    hard_cap: int = 50
    domain_daily_limit: int = 100


@dataclass(frozen=True, slots=True)
class FleetFile:
    """The rows in the file's order; keys are unique inside a kind."""

    identities: tuple[Identity, ...] = ()
    providers: tuple[Provider, ...] = ()
    accounts: tuple[Account, ...] = ()
    domains: tuple[Domain, ...] = ()
    pools: tuple[NamedPool, ...] = ()
    limits: tuple[Limit, ...] = ()
    settings: FleetSettings = FleetSettings()


R = TypeVar("R", bound=Row)


def read_fleet(path: Path) -> FleetFile:
    """The fleet a file describes; FileProblems with every problem in it, InputError when it is no TOML."""
    file = TomlFile.open(path)
    top = file.top
    fleet = FleetFile(
        identities=_rows(top, "identities", _identity),
        providers=_rows(top, "providers", _provider),
        accounts=_rows(top, "accounts", _account),
        domains=_rows(top, "domains", _domain),
        pools=_rows(top, "pools", _pool),
        limits=_rows(top, "limits", _limit),
        settings=_settings(top.table("settings")),
    )
    top.close()
    _check_references(top, "accounts", "provider", fleet.providers)
    _check_references(top, "domains", "identity", fleet.identities)
    file.finish()
    return fleet


def _rows(top: Table, kind: str, read: Callable[[Table], R]) -> tuple[R, ...]:
    rows: dict[str, R] = {}
    for table in top.tables(kind):
        row = read(table)
        table.close()
        if row.name and row.key in rows:
            table.report(f"{row.key} is there twice")
        rows[row.key] = row
    return tuple(rows.values())


def _name(table: Table, parse: Callable[[str], str] = parse_name) -> str:
    return table.parsed("name", parse, "", required=True)


def _identity(table: Table) -> Identity:
    return Identity(
        name=_name(table),
        legal_name=table.text("legal_name"),
        postal_address=table.text("postal_address", lines=True).strip(),
        contact_email=table.parsed("contact_email", parse_contact_email, "", required=True),
        opt_out_base_url=table.parsed("opt_out_base_url", parse_opt_out_url, "", required=True),
        website=table.parsed("website", parse_url, ""),
        country=table.parsed("country", parse_country, ""),
    )


def _provider(table: Table) -> Provider:
    securities = [security.value for security in Security]
    return Provider(
        name=_name(table),
        preset=table.parsed("preset", _parse_preset, GENERIC),
        smtp_host=table.text("smtp_host", ""),
        smtp_port=_optional_integer(table, "smtp_port", most=65535),
        smtp_security=table.one_of("smtp_security", securities),
        imap_host=table.text("imap_host", ""),
        imap_port=_optional_integer(table, "imap_port", most=65535),
        imap_security=table.one_of("imap_security", securities),
        ca_file=_ca_file(table),
        dialect=table.text("dialect", ""),
        sent_copy=table.one_of("sent_copy", SENT_COPIES),
        max_connections=_optional_integer(table, "max_connections"),
        max_connections_per_mailbox=_optional_integer(table, "max_connections_per_mailbox"),
        idle=table.parsed("idle", parse_duration, None),
        acknowledge_policy=table.text("acknowledge_policy", ""),
    )


def _parse_preset(text: str) -> str:
    presets = load_presets()
    if preset := find_preset(text, presets):
        return preset.name
    raise ValueError(f'there is no preset "{text}"{did_you_mean(text, presets)}')


def _optional_integer(table: Table, key: str, *, most: int = 10_000) -> int | None:
    number = table.integer(key, 1, least=1, most=most)
    return number if table.has(key) else None


def _ca_file(table: Table) -> str:
    """The absolute path of the named file, which must be there; relative to the file that names it."""
    text = table.text("ca_file", "")
    if not text:
        return ""
    path = (table.file.folder / text).absolute()
    if not path.is_file():
        table.report(f"there is no file {path}", "ca_file")
    return str(path)


def _account(table: Table) -> Account:
    return Account(name=_name(table), provider=table.text("provider"))


def _domain(table: Table) -> Domain:
    return Domain(
        name=_name(table, parse_domain),
        identity=table.text("identity"),
        dkim_selectors=table.parsed_all("dkim_selectors", parse_selector),
    )


def _pool(table: Table) -> NamedPool:
    return NamedPool(name=_name(table, parse_slug), pool=read_pool(table))


def _limit(table: Table) -> Limit:
    scope = table.one_of("scope", LIMIT_SCOPES, required=True)
    return Limit(
        name=table.parsed("name", lambda text: text if text == ALL else LIMIT_SCOPES.get(scope, str)(text), ALL),
        scope=scope,
        window=table.parsed("window", parse_window, Window("rolling"), required=True),
        maximum=table.integer("maximum"),
        source=table.parsed("source", _parse_source, OPERATOR),
    )


def _parse_source(text: str) -> str:
    if text == RAMP_SOURCE:
        raise ValueError(f'the source "{RAMP_SOURCE}" marks limits that Mailfleet writes itself')
    return text


def _settings(table: Table) -> FleetSettings:
    usual = FleetSettings()
    settings = FleetSettings(
        reserve_ahead=table.parsed("reserve_ahead", parse_duration, usual.reserve_ahead),
        lease=table.parsed("lease", parse_duration, usual.lease),
        horizon=table.parsed("horizon", parse_duration, usual.horizon),
        pace=table.parsed("pace", parse_duration, usual.pace),
        ramp_start=table.integer("ramp_start", usual.ramp_start, least=1),
        daily_limit=table.integer("daily_limit", usual.daily_limit, least=1),
        hard_cap=table.integer("hard_cap", usual.hard_cap, least=1),
        domain_daily_limit=table.integer("domain_daily_limit", usual.domain_daily_limit, least=1),
    )
    table.close()
    if settings.reserve_ahead >= settings.lease:
        table.report("reserve_ahead must be shorter than lease: a sender submits what it reserved inside its lease")
    if settings.reserve_ahead >= SLACK:
        table.report(
            f"reserve_ahead must be shorter than {write_duration(SLACK)}: a letter reserved earlier is withdrawn"
        )
    if not settings.ramp_start <= settings.daily_limit <= settings.hard_cap:
        table.report("ramp_start must not be above daily_limit, nor daily_limit above hard_cap")
    return settings


def _check_references(top: Table, kind: str, key: str, rows: Sequence[Row]) -> None:
    names = [row.name for row in rows]
    for table in top.tables(kind):
        name = table.text(key, "")
        if name and name not in names:
            table.report(f'there is no {key} "{name}" in this file{did_you_mean(name, names)}', key)
