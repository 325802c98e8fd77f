"""What health judges: counts of letters and events, latest attempts, replies, holds that stand and holds that ended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache

from mailfleet.health.scopes import CONTACT_LIST, Place, Scope
from mailfleet.model.words import Family, ScopeKind

WATCHER = "watcher"
"""How the watchers sign their holds."""

READING = "imap"
"""The host of what a watcher tried: whoever reads, it is the mailbox's server that answers."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Letters of one mailbox, campaign, list and recipient provider, and how many of them met with the event.

    `list_id` 0 and `recipient_provider` "" where it is not known; then `receiver` tells the receivers apart that met
    us with the event: the contacts' own domain.
    """

    mailbox_id: int
    campaign_id: int
    letters: int
    events: int
    list_id: int = 0
    recipient_provider: str = ""
    receiver: str = ""


@dataclass(frozen=True, slots=True)
class Attempted:
    """The latest attempt of a mailbox from one sender host, or its latest reading (host READING).

    `trouble` None: the server took the letter or judged it; the inbox was read. `until`: when a rate-limit reply lets
    us try again.
    """

    mailbox_id: int
    host: str
    at: datetime
    trouble: Family | None = None
    until: datetime | None = None

    @property
    def is_reading(self) -> bool:
        return self.host == READING


@dataclass(frozen=True, slots=True)
class Listening:
    """The replies of a mailbox: once, `replies` (people's) to `letters`; since the latest reply or the end of a hold
    for silence, `unanswered` letters. Only letters old enough to be answered count (three days). `read_at`: its
    inbox's last good read."""

    mailbox_id: int
    letters: int
    replies: int
    unanswered: int
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class StandingHold:
    """A hold in force; `family` None: a person's. `cause`: the scope whose incident it belongs to, if that is another.
    `has_trial`: whether one follows it. `set_by`: a person's name, or who of ours it was."""

    id: int
    scope: Scope
    family: Family | None
    since: datetime
    until: datetime | None
    reason: str = ""
    cause: Scope | None = None
    has_trial: bool = True
    set_by: str = ""

    @property
    def told_of(self) -> Scope:
        """The scope whose incident it belongs to."""
        return self.cause or self.scope

    @property
    def is_of_watcher(self) -> bool:
        """Whether it ends by itself with the next good read of the inbox."""
        return self.set_by == WATCHER


@dataclass(frozen=True, slots=True)
class Trial:
    """A hold of a family that ended (its time was over, or a person lifted it): the scope writes a few letters, then
    more.

    `strikes`: how many holds came before it without a month of peace. `rung`, since `rung_at`, with `letters` of it
    judged since then. `is_over`: the last rung was passed; kept for the strikes and for what is counted.
    `letters_a_day`: what the scope wrote before it was held, where it is no set of mailboxes; None where not known.
    """

    hold_id: int
    scope: Scope
    family: Family
    ended_at: datetime
    strikes: int = 0
    rung: int = 0
    rung_at: datetime | None = None
    letters: int = 0
    is_over: bool = False
    cause: Scope | None = None
    letters_a_day: int | None = None


@dataclass(frozen=True)
class Facts:
    """Everything that one judgement depends on. `cells` of the families bounces, policy and complaints."""

    places: tuple[Place, ...]
    cells: Mapping[Family, tuple[Cell, ...]] = field(default_factory=dict)
    attempted: tuple[Attempted, ...] = ()
    listening: tuple[Listening, ...] = ()
    holds: tuple[StandingHold, ...] = ()
    trials: tuple[Trial, ...] = ()

    @cached_property
    def place_of(self) -> dict[int, Place]:
        return {place.mailbox_id: place for place in self.places}

    @cached_property
    def scopes_of(self) -> dict[int, tuple[Scope, ...]]:
        """Of each mailbox the scopes that it lies in, narrow first."""
        return {place.mailbox_id: place.scopes for place in self.places}

    @cached_property
    def mailboxes_of(self) -> dict[Scope, frozenset[int]]:
        found: dict[Scope, set[int]] = {}
        for mailbox_id, scopes in self.scopes_of.items():
            for scope in scopes:
                found.setdefault(scope, set()).add(mailbox_id)
        return {scope: frozenset(mailboxes) for scope, mailboxes in found.items()}

    @cached_property
    def latest_trial(self) -> dict[tuple[Scope, Family], Trial]:
        ordered = sorted(self.trials, key=lambda trial: (trial.ended_at, trial.hold_id))
        return {(trial.scope, trial.family): trial for trial in ordered}

    @cached_property
    def resumed(self) -> dict[tuple[Scope, Family], Trial]:
        """The latest trial of each scope that was held or was the cause of a hold elsewhere (a list)."""
        ordered = sorted(self.trials, key=lambda trial: (trial.ended_at, trial.hold_id))
        by_cause = {(trial.cause, trial.family): trial for trial in ordered if trial.cause}
        return by_cause | self.latest_trial

    @cached_property
    def written_before(self) -> dict[Scope, int]:
        """Letters a day before their holds, of scopes that are no sets of mailboxes: the most that is known."""
        known = sorted((trial.letters_a_day, trial.scope) for trial in self.trials if trial.letters_a_day is not None)
        return {scope: letters for letters, scope in known}

    def normal(self, scope: Scope) -> int:
        """Letters a day of a scope that is well: of its mailboxes together, or its own before it was held; the fleet's
        where neither is known."""
        mailboxes = self.mailboxes_of.get(scope)
        if mailboxes is None and scope in self.written_before:
            return self.written_before[scope]
        return sum(self.place_of[mailbox].letters_a_day for mailbox in mailboxes or self.place_of)

    def resumed_at(self, scopes: Iterable[Scope], family: Family) -> datetime | None:
        """When the latest hold of the family on any of the scopes ended."""
        ended = [trial.ended_at for scope in scopes if (trial := self.latest_trial.get((scope, family)))]
        return max(ended, default=None)


def scopes_of_cell(facts: Facts, cell: Cell) -> tuple[Scope, ...]:
    """Every scope that the cell's letters count in; none for a mailbox that is no more."""
    if (own := facts.scopes_of.get(cell.mailbox_id)) is None:
        return ()
    return own + scopes_of_letters(cell)


def scopes_of_letters(cell: Cell) -> tuple[Scope, ...]:
    """Those that are no sets of mailboxes."""
    return _scopes_of(cell.campaign_id, cell.list_id, cell.recipient_provider)


@lru_cache(maxsize=65_536)
def _scopes_of(campaign_id: int, list_id: int, recipient_provider: str) -> tuple[Scope, ...]:
    found = [Scope(ScopeKind.CAMPAIGN, str(campaign_id))]
    if list_id:
        found.append(Scope(CONTACT_LIST, str(list_id)))
    if recipient_provider:
        found.append(Scope(ScopeKind.RECIPIENT_PROVIDER, recipient_provider))
    return tuple(found)
