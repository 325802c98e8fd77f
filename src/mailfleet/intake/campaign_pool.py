"""The mailboxes that may write for a campaign, as the planner chooses them: in its pool, of its identity."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.intake.campaign_file import CampaignFile
from mailfleet.intake.campaign_store import stored_rule
from mailfleet.mail.addresses import Address, parse_address
from mailfleet.mail.wording import author_values
from mailfleet.model.pools import MailboxNames, is_in_pool
from mailfleet.model.words import FLEET_KEY, ScopeKind

QUERIES = load_queries("mailfleet.intake", "campaigns.sql")
_BOUNDS = (
    ScopeKind.DOMAIN,
    ScopeKind.ACCOUNT,
    ScopeKind.PROVIDER,
    ScopeKind.IDENTITY,
    ScopeKind.CAMPAIGN,
    ScopeKind.FLEET,
)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a provider says of outreach; `acknowledgement` is empty until somebody answered for it."""

    provider: str
    policy: str
    source: str
    acknowledgement: str


@dataclass(frozen=True, slots=True)
class PoolMailbox:
    """`values`: what templates read of it and of its identity. `scopes`: the keys under which limits know it."""

    id: int
    address: Address
    display_name: str
    reply_to: Address | None
    values: Mapping[str, Mapping[str, str]]
    policy: Policy
    daily_limit: int
    scopes: Mapping[ScopeKind, str]


def load_mailboxes(connection: Connection, campaign: CampaignFile) -> list[PoolMailbox]:
    """Those in use, by age; empty when the named pool is not there."""
    rule = stored_rule(campaign.pool)
    if isinstance(campaign.pool, str):
        row = connection.execute(QUERIES["pool_rule"], {"name": campaign.pool}).fetchone()
        if row is None:
            return []
        rule = row.rule
    rows = connection.execute(QUERIES["mailboxes"], {"identity": campaign.identity}).fetchall()
    return [_mailbox(row) for row in rows if is_in_pool(rule, _names(row))]


def daily_capacity(
    mailboxes: Sequence[PoolMailbox], limits: Mapping[tuple[str, str | None], int], *, campaign: str
) -> int:
    """The letters a day that the mailboxes can write at most, by their own limits and those of all they belong to.

    `limits`: (scope kind, key, or None for each of the kind) to the smallest maximum a day; `campaign`: its key.
    """

    def bounded(kind: ScopeKind, key: str, count: int) -> int:
        return min([count, *(limits[scope] for scope in ((kind, key), (kind, None)) if scope in limits)])

    own = {box.id: bounded(ScopeKind.MAILBOX, str(box.id), box.daily_limit) for box in mailboxes}
    bounds = [sum(own.values())]
    for kind in _BOUNDS:
        inside: dict[str, int] = defaultdict(int)
        for box in mailboxes:
            inside[campaign if kind is ScopeKind.CAMPAIGN else box.scopes[kind]] += own[box.id]
        bounds.append(sum(bounded(kind, key, count) for key, count in inside.items()))
    return min(bounds)


def load_daily_limits(connection: Connection) -> dict[tuple[str, str | None], int]:
    found: dict[tuple[str, str | None], int] = {}
    for row in connection.execute(QUERIES["daily_limits"]).fetchall():
        scope = (row.scope_kind, row.scope_key)
        found[scope] = min(row.maximum, found.get(scope, row.maximum))
    return found


def _names(row: Any) -> MailboxNames:
    return MailboxNames(row.address, row.domain, row.provider, row.account, tuple(row.tags))


def _mailbox(row: Any) -> PoolMailbox:
    return PoolMailbox(
        id=row.id,
        address=parse_address(row.address),
        display_name=row.display_name,
        reply_to=parse_address(row.reply_to) if row.reply_to else None,
        values=author_values(row),
        policy=Policy(row.provider, row.outreach_policy, row.policy_source, row.policy_acknowledgement),
        daily_limit=row.daily_limit,
        scopes={
            ScopeKind.DOMAIN: str(row.domain_id),
            ScopeKind.ACCOUNT: str(row.account_id),
            ScopeKind.PROVIDER: str(row.provider_id),
            ScopeKind.IDENTITY: str(row.identity_id),
            ScopeKind.FLEET: FLEET_KEY,
        },
    )
