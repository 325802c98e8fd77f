"""Which mailboxes may write: the same keys in a campaign's pool and in a pool of the fleet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from mailfleet.intake.toml_file import Table
from mailfleet.intake.values import parse_account, parse_mailbox, parse_name
from mailfleet.mail.addresses import parse_domain


@dataclass(frozen=True, slots=True)
class Selector:
    """Names of what a mailbox has or belongs to; an account is "provider/account"."""

    tags: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    mailboxes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """A mailbox is in the pool when every key of `include` that names something names one of its own (no key: all
    mailboxes), and no key of `exclude` does."""

    include: Selector = Selector()
    exclude: Selector = Selector()


def read_pool(table: Table) -> Pool:
    """The selecting keys of a table; the caller closes it."""
    exclude = table.table("exclude")
    pool = Pool(include=_read_selector(table), exclude=_read_selector(exclude))
    exclude.close()
    return pool


def _read_selector(table: Table) -> Selector:
    return Selector(
        tags=table.texts("tags"),
        domains=table.parsed_all("domains", parse_domain),
        providers=table.parsed_all("providers", parse_name),
        accounts=table.parsed_all("accounts", parse_account),
        mailboxes=table.parsed_all("mailboxes", parse_mailbox),
    )


def rule_of(pool: Pool) -> dict[str, dict[str, tuple[str, ...]]]:
    """As `mailfleet.model.pools` reads it; keys that name nothing are left out."""

    def names(selector: Selector) -> dict[str, tuple[str, ...]]:
        named = {field.name: getattr(selector, field.name) for field in fields(selector)}
        return {key: value for key, value in named.items() if value}

    rule = {"include": names(pool.include), "exclude": names(pool.exclude)}
    return {key: value for key, value in rule.items() if value}


def pool_of(rule: Mapping[str, Mapping[str, Sequence[str]]]) -> Pool:
    """What `rule_of` wrote."""

    def selector(key: str) -> Selector:
        return Selector(**{name: tuple(names) for name, names in rule.get(key, {}).items()})

    return Pool(selector("include"), selector("exclude"))
