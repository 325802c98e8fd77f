"""Which mailboxes a pool selects. Pure.

A pool is `{"include": selector, "exclude": selector}`; a selector maps tags, domains, providers, accounts
("provider/account") and mailboxes to lists of names. A mailbox is in when every key of `include` that names something
names one of its own, and no key of `exclude` does. An empty pool takes every mailbox.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Selector = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class MailboxNames:
    """What a selector can name of one mailbox."""

    address: str
    domain: str
    provider: str
    account: str
    tags: tuple[str, ...]

    def of(self, key: str) -> tuple[str, ...]:
        match key:
            case "tags":
                return self.tags
            case "domains":
                return (self.domain,)
            case "providers":
                return (self.provider,)
            case "accounts":
                return (f"{self.provider}/{self.account}",)
            case "mailboxes":
                return (self.address,)
        return ()


def is_in_pool(pool: Mapping[str, Selector], mailbox: MailboxNames) -> bool:
    included = all(_names_one(names, mailbox.of(key)) for key, names in pool.get("include", {}).items() if names)
    return included and not any(_names_one(names, mailbox.of(key)) for key, names in pool.get("exclude", {}).items())


def _names_one(names: Sequence[str], own: Sequence[str]) -> bool:
    return not set(names).isdisjoint(own)
