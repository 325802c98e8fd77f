"""A synthetic fleet for health: 1,200 mailboxes, 3 a domain, 10 domains an account, 10 accounts a provider."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from mailfleet.health.facts import Attempted, Cell, Facts
from mailfleet.health.scopes import Place, Scope
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
TUNABLES = HealthTunables()
RECEIVERS = ("google", "microsoft", "yahoo")


def place(mailbox: int) -> Place:
    domain = mailbox // 3
    account = domain // 10
    return Place(mailbox, domain, account, account // 10, 0 if account < 20 else 1)


def fleet(mailboxes: int = 1200) -> tuple[Place, ...]:
    return tuple(place(mailbox) for mailbox in range(mailboxes))


Events = Callable[[Place, int, str], int]
"""How many of a cell's letters met with the event: of its place, campaign (list), and receiver."""


def cells(places: Iterable[Place], events: Events, letters: int = 12, campaigns: int = 3) -> tuple[Cell, ...]:
    """Each mailbox writes `letters` of each campaign to each receiver; campaign c has list c + 1."""
    return tuple(
        Cell(p.mailbox_id, campaign, letters, events(p, campaign, receiver), campaign + 1, receiver)
        for p in places
        for campaign in range(campaigns)
        for receiver in RECEIVERS
    )


def attempts(
    places: Iterable[Place], trouble: Callable[[Place], Family | None], at: datetime = NOW
) -> tuple[Attempted, ...]:
    """Each mailbox tried a minute before; two hosts share the fleet."""
    moment = at - timedelta(minutes=1)
    return tuple(Attempted(p.mailbox_id, f"host{p.mailbox_id % 2}", moment, trouble(p)) for p in places)


def facts_of(places: tuple[Place, ...], family: Family, events: Events, letters: int = 12) -> Facts:
    return Facts(places, {family: cells(places, events, letters)})


def scope(kind: str, key: object) -> Scope:
    return Scope(kind, str(key))
