"""A seeded pretend fleet and its contacts, and the files that a person would have of them.

The same arguments give the same people, passwords included. Every domain ends in .test or .example (RFC 2606), so
nothing here can reach a person.
"""

import csv
import random
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, field, fields
from itertools import count
from pathlib import Path

from mailfleet.base.errors import InputError
from mailfleet.providers.sandbox import names
from mailfleet.providers.sandbox.config import Face, Faults, Personas, ProviderConfig, SandboxConfig, Security, User
from mailfleet.providers.sandbox.judge import Scopes
from mailfleet.providers.sandbox.server import HOST, Ports

PROVIDERS = (("gomail", "google"), ("offmail", "microsoft"), ("plainmail", "postfix"), ("ionmail", "ionos"))
KEEPING = ("google", "microsoft")
SHARED_SHARE = 0.4  # chosen: enough at a few big receivers for limits by recipient domain to bind
COLLEAGUES = 3  # chosen: contacts in one small firm, so that its domain is met again but seldom
IDN_EVERY = 50  # chosen: one firm in fifty has a name beyond ASCII in its domain

MAILBOX_COLUMNS = (
    *("address", "display_name", "signature", "provider", "account", "domain", "identity"),
    *("smtp_host", "smtp_port", "smtp_security", "imap_host", "imap_port", "imap_security"),
    *("login", "password", "daily_limit", "pace_seconds", "tags"),
)


@dataclass(frozen=True, slots=True)
class SandboxMailbox:
    address: str
    display_name: str
    signature: str
    login: str
    password: str = field(repr=False)
    domain: str
    account: str
    provider: str
    identity: str
    tags: str


@dataclass(frozen=True, slots=True)
class SandboxFleet:
    """`mailboxes` in the order of their domains' round; `accounts` to their provider; `providers` to their dialect."""

    mailboxes: tuple[SandboxMailbox, ...]
    accounts: dict[str, str]
    providers: dict[str, str]
    identities: tuple[str, ...]
    seed: int

    @property
    def scopes(self) -> dict[str, Scopes]:
        """Each mailbox's place, as the judge wants it."""
        return {m.address: Scopes(m.domain, m.account, m.provider, m.identity) for m in self.mailboxes}


@dataclass(frozen=True, slots=True)
class SandboxContact:
    """One row of a contact file; the fields are its columns, `topic` an attribute beyond the known ones."""

    email: str
    first_name: str
    last_name: str
    company: str
    title: str
    country: str
    time_zone: str
    source: str
    lawful_basis: str
    topic: str


def make_fleet(
    seed: int, mailboxes: int = 1200, domains: int = 400, accounts: int = 12, providers: int = 3, identities: int = 2
) -> SandboxFleet:
    """Spread evenly: mailboxes over domains, domains over accounts, accounts over providers and identities.

    InputError: a level has fewer members than the one above it, or there are more providers than dialects.
    """
    if not mailboxes >= domains >= accounts >= max(providers, identities) >= min(providers, identities) >= 1:
        raise InputError("a fleet needs mailboxes >= domains >= accounts >= providers and identities, each at least 1")
    if providers > len(PROVIDERS) or identities > len(names.IDENTITIES):
        raise InputError(f"at most {len(PROVIDERS)} providers and {len(names.IDENTITIES)} identities can be pretended")
    chance = random.Random(f"fleet {seed}")
    kinds = dict(PROVIDERS[:providers])
    owners = {
        f"{list(kinds)[n % providers]}-{n // providers + 1:02}": list(kinds)[n % providers] for n in range(accounts)
    }
    legal = names.IDENTITIES[:identities]
    places = [_place(n, list(owners), owners, legal) for n in range(domains)]
    taken: set[str] = set()
    members = tuple(_mailbox(chance, n, *places[n % domains], taken) for n in range(mailboxes))
    return SandboxFleet(members, owners, kinds, legal, seed)


def _place(number: int, accounts: list[str], owners: dict[str, str], legal: tuple[str, ...]) -> tuple[str, Scopes]:
    """The `number`-th domain: its identity's brand, and where it belongs."""
    at = number % len(accounts)
    identity = legal[at % len(legal)]
    brand = identity.split()[0].lower()
    prefixes, words = names.DOMAIN_PREFIXES, names.DOMAIN_WORDS
    again, rest = divmod(number, len(prefixes) * len(words))
    prefix, word = prefixes[rest % len(prefixes)], words[rest // len(prefixes)]
    domain = f"{prefix}-{brand}-{word}{again or ''}.test"
    return brand, Scopes(domain, accounts[at], owners[accounts[at]], identity)


def _mailbox(chance: random.Random, number: int, brand: str, place: Scopes, taken: set[str]) -> SandboxMailbox:
    _, first, last = _person(chance)
    plain = f"{first[1]}.{last[1]}"
    local = next(name for name in (f"{plain}{n or ''}" for n in count()) if f"{name}@{place.domain}" not in taken)
    address = f"{local}@{place.domain}"
    taken.add(address)
    name = f"{first[0]} {last[0]}"
    return SandboxMailbox(
        address=address,
        display_name=name,
        signature=f"{name}\n{place.identity}",
        login=f"u{number:06}" if place.provider == "plainmail" else address,
        password="".join(chance.choices("abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=16)),
        domain=place.domain,
        account=place.account,
        provider=place.provider,
        identity=place.identity,
        tags=f"sandbox,{brand}",
    )


def _person(chance: random.Random) -> tuple[names.Land, names.Name, names.Name]:
    land = chance.choice(names.LANDS)
    return land, chance.choice(land.first), chance.choice(land.last)


def make_contacts(seed: int, n: int) -> Iterator[SandboxContact]:
    """`n` contacts, no address twice; lazily, in constant memory, so that a million can be written to a file."""
    chance = random.Random(f"contacts {seed}")
    company, domain, colleagues = "", "", set[str]()
    firms = _firms(chance.randrange(1000))
    for number in range(n):
        land, first, last = _person(chance)
        local = f"{first[1]}.{last[1]}"
        if chance.random() < SHARED_SHARE:
            email, firm = f"{local}{number}@{chance.choice(names.SHARED_RECEIVERS)}", ""
        else:
            if len(colleagues) == COLLEAGUES or local in colleagues or not domain:
                (company, domain), colleagues = next(firms), set()
            colleagues.add(local)
            email, firm = f"{local}@{domain}", company
        yield SandboxContact(
            email=email,
            first_name=first[0],
            last_name=last[0],
            company=firm,
            title=chance.choice(names.TITLES),
            country=land.country,
            time_zone=chance.choice(land.zones),
            source=chance.choice(names.SOURCES),
            lawful_basis="legitimate_interest",
            topic=chance.choice(names.TOPICS),
        )


def _firms(start: int) -> Iterator[tuple[str, str]]:
    """Endless firms, each with its name and its domain, none twice."""
    stems, kinds = names.COMPANY_STEMS, names.COMPANY_KINDS
    for number in count():
        if number % IDN_EVERY == IDN_EVERY - 1:
            name = f"{names.IDN_COMPANIES[number % len(names.IDN_COMPANIES)]} {number}"
        else:
            again, rest = divmod(start + number, len(stems) * len(kinds))
            name = f"{stems[rest % len(stems)]} {kinds[rest // len(stems)]}{f' {again}' if again else ''}"
        yield name, f"{name.lower().replace(' ', '-')}.example"


def sandbox_config(
    fleet: SandboxFleet,
    ledger: Path,
    *,
    faults: Faults | None = None,
    latency: tuple[float, float] = (0.0, 0.0),
    securities: tuple[Security, ...] = ("none",),
    certificate: Path | None = None,
    private_key: Path | None = None,
    personas: Personas | None = None,
) -> SandboxConfig:
    """The sandbox of this fleet, on free ports, every provider with the same faults; change the result for more.

    With `personas` people answer, and Google's and Microsoft's kind keep a copy of what is sent, as theirs do.
    """
    ports: dict[Face, dict[Security, int]] = {
        "smtp": dict.fromkeys(securities, 0),
        "imap": dict.fromkeys(securities, 0),
    }
    return SandboxConfig(
        ledger=ledger,
        providers=tuple(
            ProviderConfig(
                name,
                ports,
                dialect=dialect,
                latency=latency,
                faults=faults or Faults(),
                keeps_sent=personas is not None and dialect in KEEPING,
            )
            for name, dialect in fleet.providers.items()
        ),
        users=tuple(User(m.address, m.login, m.password, m.provider, m.account) for m in fleet.mailboxes),
        seed=fleet.seed,
        certificate=certificate,
        private_key=private_key,
        personas=personas or Personas(),
    )


def write_mailboxes_csv(
    fleet: SandboxFleet, ports: Ports, path: Path, *, daily_limit: int, pace_seconds: float
) -> None:
    """UTF-8, our own columns; each face by the safest security that its provider offers. Holds passwords: mode 0600."""
    path.touch(mode=0o600)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, MAILBOX_COLUMNS)
        writer.writeheader()
        for mailbox in fleet.mailboxes:
            row: dict[str, object] = {item.name: getattr(mailbox, item.name) for item in fields(mailbox)}
            row |= {"daily_limit": daily_limit, "pace_seconds": pace_seconds}
            for face, offered in ports[mailbox.provider].items():
                security = next(kind for kind in ("tls", "starttls", "none") if kind in offered)
                row |= {f"{face}_host": HOST, f"{face}_port": offered[security], f"{face}_security": security}
            writer.writerow(row)


def write_contacts_csv(contacts: Iterable[SandboxContact], path: Path) -> None:
    """UTF-8; the columns are the fields of a contact."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(item.name for item in fields(SandboxContact))
        writer.writerows(astuple(contact) for contact in contacts)
