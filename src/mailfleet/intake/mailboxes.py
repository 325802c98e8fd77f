"""A row of a mailbox file: is it a mailbox we could use, and what would taking it in change?

Our own columns are the keys of `SYNONYMS`, with the names of the common exporters behind them. What a row leaves open
comes from the defaults and from the provider's preset; an empty cell says nothing, it deletes nothing. Pure: nothing is
stored and no server asked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from mailfleet.base.errors import InputError
from mailfleet.intake.cells import Cells
from mailfleet.intake.servers import read_host, read_server
from mailfleet.intake.tables import ColumnMap, Problem, Row, RowProblem, Table, map_columns
from mailfleet.intake.values import parse_name
from mailfleet.mail.addresses import Address, parse_domain
from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.presets import GENERIC, Preset, find_preset, guess_preset

SYNONYMS: Mapping[str, Sequence[str]] = {
    "address": ("from_email", "email", "email_address", "e_mail", "from_address", "sender_email", "mailbox"),
    "display_name": ("from_name", "sender_name", "full_name", "name"),
    "first_name": ("firstname",),
    "last_name": ("lastname", "surname"),
    "signature": ("email_signature",),
    "provider": ("email_provider", "esp"),
    "account": ("tenant", "workspace"),
    "domain": ("sender_domain",),
    "identity": ("legal_entity",),
    "smtp_host": ("smtp_server", "smtp_hostname"),
    "smtp_port": (),
    "smtp_security": ("smtp_encryption", "smtp_tls", "smtp_ssl", "smtp_secure"),
    "imap_host": ("imap_server", "imap_hostname"),
    "imap_port": (),
    "imap_security": ("imap_encryption", "imap_tls", "imap_ssl", "imap_secure"),
    "login": ("smtp_username", "user_name", "username", "smtp_user", "smtp_login"),
    "password": ("smtp_password", "app_password", "smtp_pass"),
    "auth": ("auth_type", "authentication"),
    "daily_limit": ("max_email_per_day", "max_emails_per_day", "daily_sending_limit", "sending_limit"),
    "pace_seconds": (),
    "pace_minutes": ("time_to_wait_in_mins", "sending_gap"),
    "tags": ("tag", "labels"),
    "ca_file": (),
    "reply_to": ("reply_to_email", "reply_to_address"),
    "imap_login": ("imap_username", "imap_user_name", "imap_user"),
    "imap_password": ("imap_pass",),
}
_AUTHS = {
    AuthKind.PASSWORD: ("password", "plain", "login", "basic", "app_password"),
    AuthKind.XOAUTH2: ("xoauth2", "oauth2", "oauth"),
}
_SECRETS = frozenset({"password", "imap_password"})
_LONGEST_SIGNATURE = 10_000  # chosen: HTML with a few links
_LONGEST_SECRET = 8_000  # chosen: access tokens run to some kB
_LARGEST_LIMIT = 1_000_000
_LONGEST_PACE = 86_400  # chosen: one letter a day
_SAFE_SHARE = 0.8  # chosen: the rest is for answers that people write by hand
_POLICIES = {
    "forbidden": "forbids outreach: using it needs an acknowledgement",
    "consent_only": "allows letters only to those who agreed to get them",
    "bulk_unsupported": "does not support bulk mail",
}


@dataclass(frozen=True, slots=True)
class MailboxDefaults:
    """What holds for the rows of a file that say nothing themselves; an empty text says nothing either."""

    provider: str = ""
    account: str = ""
    identity: str = ""
    tags: tuple[str, ...] = ()
    allow_insecure: bool = False
    """Whether servers off this machine may be used without encryption."""
    hard_cap: int = 50  # chosen: design, section 7
    """The most letters a mailbox may be given a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxRow:
    """A row that can be taken in. None and empty: the file says nothing, and an existing mailbox keeps its own."""

    line: int
    address: Address
    display_name: str
    signature: str
    provider: str
    account: str
    identity: str
    smtp_host: str
    smtp_port: int
    smtp_security: Security
    imap_host: str
    """Empty when there is none: this mailbox cannot be read."""
    imap_port: int | None
    imap_security: Security | None
    auth: AuthKind
    login: str
    password: str = field(repr=False)
    """With XOAUTH2 an access token, where the account's grant is not to bring them; mostly empty."""
    imap_login: str
    """Empty: the same as for SMTP; so too `imap_password`."""
    imap_password: str = field(repr=False)
    daily_limit: int | None
    pace: timedelta | None
    tags: tuple[str, ...]
    """Sorted, unique."""
    ca_file: str
    reply_to: str
    needs_acknowledgement: bool
    """The provider forbids outreach: using it needs a logged acknowledgement."""
    warnings: tuple[Problem, ...]


_STORED = tuple(
    own.name for own in fields(MailboxRow) if own.name not in ("line", "address", "needs_acknowledgement", "warnings")
)


class Change(NamedTuple):
    """A field and its old and new text; a secret shows neither."""

    field: str
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.old or '(empty)'} → {self.new}" if self.new else f"{self.field} changed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What taking a row in would do. `address` is the normalised one, empty when refused for `reasons`."""

    kind: Literal["new", "unchanged", "changed", "refused"]
    line: int
    address: str = ""
    changes: tuple[Change, ...] = ()
    reasons: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def compare(row: MailboxRow | RowProblem, existing: Mapping[str, Any] | None) -> Verdict:
    """The verdict on a row, given what is stored for its address: by MailboxRow's field names, secrets opened.

    Only what the row says is compared.
    """
    if isinstance(row, RowProblem):
        return Verdict("refused", row.line, reasons=row.problems)
    key = row.address.normalised
    if existing is None:
        return Verdict("new", row.line, key, warnings=row.warnings)
    changes = tuple(_changes(row, existing))
    return Verdict("changed" if changes else "unchanged", row.line, key, changes, warnings=row.warnings)


def _changes(row: MailboxRow, existing: Mapping[str, Any]) -> Iterator[Change]:
    for name in _STORED:
        new, old = getattr(row, name), existing.get(name)
        if name == "tags":
            old = tuple(sorted(old or ()))
        if new not in (None, "", (), old):
            yield Change(name) if name in _SECRETS else Change(name, _text(old), _text(new))


def _text(value: object) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, tuple):
        return ", ".join(value)
    return "" if value is None else str(value)


def map_mailbox_columns(table: Table) -> ColumnMap:
    """Which column holds what; tell the person of `other`, which is ignored. InputError without addresses."""
    columns = map_columns(table.columns, SYNONYMS)
    if "address" not in columns.known:
        hint = f"Name that column address, or one of: {', '.join(SYNONYMS['address'])}."
        raise InputError("no column holds the addresses of the mailboxes", where=str(table.path), hint=hint)
    return columns


def read_mailbox_rows(
    rows: Iterable[Row | RowProblem], columns: ColumnMap, defaults: MailboxDefaults, presets: Mapping[str, Preset]
) -> Iterator[MailboxRow | RowProblem]:
    """Every row of the file, in its order; an address that stood in an accepted row above is refused."""
    first_lines: dict[str, int] = {}
    for row in rows:
        read = row if isinstance(row, RowProblem) else read_mailbox_row(row, columns, defaults, presets)
        if isinstance(read, MailboxRow):
            first = first_lines.setdefault(read.address.normalised, read.line)
            if first != read.line:
                read = RowProblem(read.line, (Problem(columns.known["address"], f"is the same as in line {first}"),))
        yield read


def read_mailbox_row(
    row: Row, columns: ColumnMap, defaults: MailboxDefaults, presets: Mapping[str, Preset]
) -> MailboxRow | RowProblem:
    """The mailbox of a row, or everything that is wrong with it.

    `presets` by name; the fleet's own providers may be among them.
    """
    cells = Cells(row, columns)
    address = _own_address(cells)
    provider, preset = _provider(cells, address, defaults, presets)
    smtp = read_server("smtp", preset.smtp, cells, allow_insecure=defaults.allow_insecure)
    imap = read_server("imap", preset.imap, cells, allow_insecure=defaults.allow_insecure)
    if not smtp and not cells.line("smtp_host"):
        cells.wrong("smtp_host", f"is missing, and nothing is known of the provider ({provider}) to fill it in")
    if not imap:
        cells.warn("imap_host", "is missing: bounces, replies and opt-outs in this mailbox will not be read")
    said = _access(cells, preset) | _manner(cells, preset, defaults)
    if policy := _POLICIES.get(preset.outreach_policy.value):
        cells.warn("provider", f"{preset.title} {policy} ({preset.outreach_policy.source.page})")
    if cells.problems or not address or not smtp:
        return RowProblem(row.line, tuple(dict.fromkeys(cells.problems)))
    said["login"] = said["login"] or address.wire
    return MailboxRow(
        line=row.line,
        address=address,
        provider=provider,
        smtp_host=smtp.host,
        smtp_port=smtp.port,
        smtp_security=smtp.security,
        imap_host=imap.host if imap else "",
        imap_port=imap.port if imap else None,
        imap_security=imap.security if imap else None,
        needs_acknowledgement=preset.outreach_policy.value == "forbidden",
        warnings=tuple(cells.warnings),
        **said,
    )


def _own_address(cells: Cells) -> Address | None:
    address = cells.address("address")
    if not address:
        if not cells.problems:
            cells.wrong("address", "is missing")
        return None
    domain = cells.parsed("domain", parse_domain, "is no domain")
    if domain and domain != address.domain_ascii:
        cells.wrong("domain", "is not the domain of the address")
    return address


def _provider(
    cells: Cells, address: Address | None, defaults: MailboxDefaults, presets: Mapping[str, Preset]
) -> tuple[str, Preset]:
    """Its name and what is known of it: the one named, else the one whose server or domain it is, else generic."""
    named = _name(cells, "provider") or defaults.provider
    if not named:
        named = guess_preset(read_host("smtp", cells), address.domain_ascii if address else "", presets) or GENERIC
    if preset := presets.get(named) or find_preset(named, presets):
        return preset.name, preset
    return named, presets[GENERIC]


def _name(cells: Cells, field: str) -> str:
    return cells.parsed(field, parse_name, 'is no name: up to 100 characters, not "*", no "/"') or ""


def _access(cells: Cells, preset: Preset) -> dict[str, Any]:
    """How the mailbox logs in."""
    auth = cells.word("auth", _AUTHS) or AuthKind.PASSWORD
    password = cells.text("password", _LONGEST_SECRET)
    if not password and auth is not AuthKind.XOAUTH2:
        cells.wrong("password", "is missing")
    if auth not in preset.auth.value:
        cells.warn("auth", f"{preset.title} may refuse {auth}. {preset.login_help}".rstrip())
    return {
        "auth": auth,
        "login": cells.line("login"),
        "password": password,
        "imap_login": cells.line("imap_login"),
        "imap_password": cells.text("imap_password", _LONGEST_SECRET),
        "ca_file": cells.line("ca_file"),
    }


def _manner(cells: Cells, preset: Preset, defaults: MailboxDefaults) -> dict[str, Any]:
    """As whom the mailbox writes, how much and how fast."""
    own_name = cells.line("display_name") or f"{cells.line('first_name')} {cells.line('last_name')}".strip()
    reply_to = cells.address("reply_to")
    return {
        "display_name": own_name,
        "signature": cells.text("signature", _LONGEST_SIGNATURE),
        "account": _name(cells, "account") or defaults.account,
        "identity": _name(cells, "identity") or defaults.identity,
        "daily_limit": _daily_limit(cells, preset, defaults),
        "pace": _pace(cells, preset),
        "tags": _tags(cells, defaults),
        "reply_to": reply_to.wire if reply_to else "",
    }


def _daily_limit(cells: Cells, preset: Preset, defaults: MailboxDefaults) -> int | None:
    limit = cells.number("daily_limit", least=0, most=_LARGEST_LIMIT)
    if limit is None:
        return None
    published = preset.daily_maximum
    if published and limit > published * _SAFE_SHARE:
        cells.warn("daily_limit", f"is above 80 % of what {preset.title} takes from a mailbox a day ({published:,})")
    if limit <= defaults.hard_cap:
        return limit
    cells.warn("daily_limit", f"is above the hard cap: {defaults.hard_cap} a day are taken")
    return defaults.hard_cap


def _pace(cells: Cells, preset: Preset) -> timedelta | None:
    seconds = cells.number("pace_seconds", least=0, most=_LONGEST_PACE)
    minutes = cells.number("pace_minutes", least=0, most=_LONGEST_PACE // 60)
    if seconds is None and minutes is None:
        return None
    field, pace = (
        ("pace_minutes", timedelta(minutes=minutes or 0))
        if seconds is None
        else ("pace_seconds", timedelta(seconds=seconds))
    )
    floor = preset.pace_floor.value
    if pace < floor:
        cells.warn(field, f"is shorter than the least gap for {preset.title}: {_text(floor)} are taken")
    return max(pace, floor)


def _tags(cells: Cells, defaults: MailboxDefaults) -> tuple[str, ...]:
    """Separated by commas, semicolons or bars."""
    told = cells.line("tags").replace(";", ",").replace("|", ",").split(",")
    return tuple(sorted({tag.strip() for tag in (*told, *defaults.tags)} - {""}))
