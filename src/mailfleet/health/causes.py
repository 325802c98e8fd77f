"""The smallest scope that explains: of all scopes over their threshold, those whose events nothing else accounts for.

1. A scope is a candidate when it is over its threshold, floor respected.
2. It stands unless scopes of another kind explain it: without its parts in those of them that burn, its rate is not
   above any more; unless such parts (two at least) are nearly all of it. A scope whose letters all lie in one scope
   of another kind has no parts of that kind: it is the narrower one. Two that explain each other: the one with fewer
   letters. What explains a candidate and is below the floor itself is the cause all the same: the floor is met by the
   candidate, and never is a wider scope stopped than burns.
3. Of those that stand, a scope is a cause when it explains more events than every other that shares letters with it;
   between equals, the narrower kind. Its letters are then accounted for, and it begins again.

So one dead list is one cause, whatever it did to the mailboxes that wrote to it, and one burnt domain never stops an
account of clean ones.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailfleet.health.rates import Rate
from mailfleet.health.scopes import RANK, Scope


@dataclass(frozen=True, slots=True)
class Counted:
    """Letters that share all their scopes, at most one of a kind. `receiver`: whose servers saw them, if that
    matters."""

    scopes: tuple[Scope, ...]
    letters: int
    events: int
    mailbox_id: int = 0
    receiver: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """When a scope is over: its rate surely above `rate` (without `confidence`: the bare share at least), with at
    least so many letters and events, these at so many receivers."""

    rate: float
    letters: int = 1
    events: int = 1
    receivers: int = 1
    confidence: float | None = None

    def is_over(self, tally: "Tally") -> bool:
        if tally.events < self.events or tally.letters < self.letters or len(tally.receivers) < self.receivers:
            return False
        return self.is_above(tally)

    def is_above(self, tally: "Tally") -> bool:
        """The rate alone, without the floors."""
        if self.confidence is None:
            return tally.events > 0 and tally.rate.share >= self.rate
        return tally.rate.exceeds(self.rate, self.confidence)


@dataclass(frozen=True, slots=True)
class Tally:
    letters: int
    events: int
    receivers: frozenset[str]

    @classmethod
    def of(cls, counted: Iterable[Counted]) -> "Tally":
        letters = events = 0
        receivers = set()
        for one in counted:
            letters += one.letters
            events += one.events
            if one.events:
                receivers.add(one.receiver)
        return cls(letters, events, frozenset(receivers))

    @property
    def rate(self) -> Rate:
        return Rate(min(self.events, self.letters), self.letters)


@dataclass(frozen=True, slots=True)
class Cause:
    """A scope that explains its events: their tally, the threshold it is over, and the cells accounted for."""

    scope: Scope
    tally: Tally
    threshold: Threshold
    counted: tuple[Counted, ...]


ThresholdOf = Callable[[Scope], Threshold | None]


def find_causes(
    counted: Sequence[Counted], threshold_of: ThresholdOf, *, explained_share: float
) -> tuple[list[Cause], list[Counted]]:
    """The causes, and the letters that none accounts for. A scope without a threshold is no cause."""
    causes: list[Cause] = []
    rest = list(counted)
    while found := _Round(rest, threshold_of, explained_share).find():
        taken = {cell for one in found for cell in one.cells}
        causes += [one.cause(rest) for one in found]
        rest = [one for cell, one in enumerate(rest) if cell not in taken]
    return sorted(causes, key=lambda cause: (-cause.tally.events, RANK[cause.scope.kind], cause.scope.key)), rest


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A scope that met with the event, and where its letters stand among those not accounted for."""

    scope: Scope
    tally: Tally
    threshold: Threshold
    cells: tuple[int, ...]

    @property
    def weight(self) -> tuple[int, int, str]:
        """More events explained, then the narrower kind."""
        return self.tally.events, -RANK[self.scope.kind], self.scope.key

    def cause(self, rest: Sequence[Counted]) -> Cause:
        return Cause(self.scope, self.tally, self.threshold, tuple(rest[cell] for cell in self.cells))


class _Round:
    """One look at the letters that are not accounted for yet."""

    def __init__(self, rest: Sequence[Counted], threshold_of: ThresholdOf, explained_share: float) -> None:
        self._rest, self._explained_share = rest, explained_share
        self._suspects = {one.scope: one for one in _suspects(rest, threshold_of)}
        self._kinds = {scope.kind for scope in self._suspects}
        self._burning = {scope for scope, one in self._suspects.items() if one.threshold.is_above(one.tally)}
        self._candidates = {
            scope: self._suspects[scope]
            for scope in self._burning
            if self._suspects[scope].threshold.is_over(self._suspects[scope].tally)
        }

    def find(self) -> list[_Suspect]:
        """The causes that can be told apart now; empty when there are none."""
        blocked = {scope: self._explanations(one) for scope, one in self._candidates.items()}
        if standing := [one for scope, one in self._candidates.items() if not blocked[scope]]:
            return _heaviest(standing)
        if mutual := [self._candidates[scope] for scope, by in blocked.items() if by <= self._candidates.keys()]:
            return [_smallest(mutual)]
        if not blocked:
            return []
        return _heaviest([self._suspects[scope] for scope in blocked[_smallest(self._candidates.values()).scope]])

    def _explanations(self, one: _Suspect) -> set[Scope]:
        """The scopes of another kind without which the candidate would not be over: they explain it, not it them."""
        found: set[Scope] = set()
        for kind in self._kinds - {one.scope.kind}:
            parts: dict[Scope | None, list[Counted]] = defaultdict(list)
            for cell in one.cells:
                counted = self._rest[cell]
                parts[next((scope for scope in counted.scopes if scope.kind == kind), None)].append(counted)
            if len(parts) > 1:
                found |= self._explained_by(one, parts)
        return found

    def _explained_by(self, one: _Suspect, parts: Mapping[Scope | None, list[Counted]]) -> set[Scope]:
        tallies = {scope: Tally.of(part) for scope, part in parts.items() if scope in self._burning}
        burning = {scope for scope, tally in tallies.items() if scope and one.threshold.is_above(tally)}
        burnt = sum(tallies[scope].letters for scope in burning)
        if len(burning) > 1 and burnt >= self._explained_share * one.tally.letters:
            return set()
        rest = [counted for scope, part in parts.items() if scope not in burning for counted in part]
        return set() if one.threshold.is_above(Tally.of(rest)) else burning


def _suspects(rest: Sequence[Counted], threshold_of: ThresholdOf) -> list[_Suspect]:
    """Every scope that met with the event and has a threshold. Most have no event: those are not even counted."""
    thresholds = {
        scope: threshold
        for scope in {scope for one in rest if one.events for scope in one.scopes}
        if (threshold := threshold_of(scope))
    }
    cells: dict[Scope, list[int]] = defaultdict(list)
    for cell, one in enumerate(rest):
        for scope in one.scopes:
            if scope in thresholds:
                cells[scope].append(cell)
    return [
        _Suspect(scope, Tally.of(rest[cell] for cell in members), thresholds[scope], tuple(members))
        for scope, members in cells.items()
    ]


def _heaviest(standing: Sequence[_Suspect]) -> list[_Suspect]:
    """Those that no heavier one shares letters with."""
    owner: dict[int, _Suspect] = {}
    for one in sorted(standing, key=lambda suspect: suspect.weight, reverse=True):
        for cell in one.cells:
            owner.setdefault(cell, one)
    return [one for one in standing if all(owner[cell] is one for cell in one.cells)]


def _smallest(suspects: Iterable[_Suspect]) -> _Suspect:
    return min(suspects, key=lambda one: (one.tally.letters, RANK[one.scope.kind], one.scope.key))
