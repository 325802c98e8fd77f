"""The smallest scope that explains: of all scopes over their threshold, those whose events nothing else accounts for.

1. A scope is a candidate when it is over its threshold, floor respected.
2. It stands unless scopes of another kind explain it: without its parts in those of them that burn and are surely
   worse than the rest, its rate is not above any more; unless such parts (two at least) are nearly all of it. A scope
   whose letters all lie in one scope of another kind has no parts of that kind: it is the narrower one. Two that
   explain each other: the one with fewer letters. What explains a candidate and is below the floor itself is the cause
   all the same: the floor is met by the candidate, and never is a wider scope stopped than burns. One event alone
   explains nothing: of a letter to each of many small receivers every refused one would be its receiver's opinion.
3. Of those that stand, a scope is a cause when it explains more events than every other that shares letters with it;
   between equals, the narrower kind. Its letters are then accounted for, and it begins again.

So one dead list is one cause, whatever it did to the mailboxes that wrote to it, and one burnt domain never stops an
account of clean ones.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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


PATTERN = 2  # chosen: events with which a scope that is no candidate itself may explain another


def find_causes(
    counted: Sequence[Counted], threshold_of: ThresholdOf, *, explained_share: float
) -> tuple[list[Cause], list[Counted]]:
    """The causes, and the letters that none accounts for. A scope without a threshold is no cause."""
    causes: list[Cause] = []
    search = _Search(counted, threshold_of, explained_share)
    while found := search.find():
        causes += [one.cause(counted) for one in found]
        search.take({cell for one in found for cell in one.cells})
    return sorted(causes, key=lambda cause: (-cause.tally.events, RANK[cause.scope.kind], cause.scope.key)), search.rest


@dataclass(slots=True)
class _Suspect:
    """A scope that met with the event, and where its letters stand among those not accounted for."""

    scope: Scope
    threshold: Threshold
    cells: dict[int, None] = field(default_factory=dict)
    letters: int = 0
    events: int = 0
    receivers: Counter[str] = field(default_factory=Counter)

    def add(self, cell: int, one: Counted) -> None:
        self.cells[cell] = None
        self.letters += one.letters
        if one.events:
            self.events += one.events
            self.receivers[one.receiver] += 1

    def drop(self, cell: int, one: Counted) -> None:
        del self.cells[cell]
        self.letters -= one.letters
        if one.events:
            self.events -= one.events
            self.receivers[one.receiver] -= 1

    @property
    def tally(self) -> Tally:
        return Tally(self.letters, self.events, frozenset(+self.receivers))

    @property
    def weight(self) -> tuple[int, int, str]:
        """More events explained, then the narrower kind."""
        return self.events, -RANK[self.scope.kind], self.scope.key

    def cause(self, counted: Sequence[Counted]) -> Cause:
        return Cause(self.scope, self.tally, self.threshold, tuple(counted[cell] for cell in self.cells))


class _Search:
    """The letters that are not accounted for yet, and what they say of each scope. What a round takes away changes the
    scopes that had a part in it, and no others."""

    def __init__(self, counted: Sequence[Counted], threshold_of: ThresholdOf, explained_share: float) -> None:
        self._counted, self._explained_share = counted, explained_share
        self._suspects = _suspects(counted, threshold_of)
        self._left = dict.fromkeys(range(len(counted)))
        self._parts: dict[str, list[Scope | None]] = {}
        self._candidates: dict[Scope, _Suspect] = {}
        self._explaining: set[Scope] = set()
        for one in self._suspects.values():
            self._look_at(one)

    @property
    def rest(self) -> list[Counted]:
        return [self._counted[cell] for cell in self._left]

    def take(self, cells: Iterable[int]) -> None:
        """These letters are accounted for."""
        touched: dict[Scope, _Suspect] = {}
        for cell in cells:
            del self._left[cell]
            one = self._counted[cell]
            for scope in one.scopes:
                if (suspect := self._suspects.get(scope)) is not None:
                    suspect.drop(cell, one)
                    touched[scope] = suspect
        for suspect in touched.values():
            self._look_at(suspect)

    def _look_at(self, one: _Suspect) -> None:
        self._candidates.pop(one.scope, None)
        self._explaining.discard(one.scope)
        tally = one.tally
        if not one.threshold.is_above(tally):
            return
        if one.threshold.is_over(tally):
            self._candidates[one.scope] = one
        if one.scope in self._candidates or one.events >= PATTERN:
            self._explaining.add(one.scope)

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
        for kind in {scope.kind for scope in self._explaining} - {one.scope.kind}:
            of = self._parts_of(kind)
            letters: dict[Scope | None, int] = defaultdict(int)
            events: dict[Scope | None, int] = defaultdict(int)
            for cell in one.cells:
                letters[of[cell]] += self._counted[cell].letters
                events[of[cell]] += self._counted[cell].events
            if len(letters) > 1:
                found |= self._explained_by(one, {part: _tally(letters[part], events[part]) for part in letters})
        return found

    def _explained_by(self, one: _Suspect, parts: Mapping[Scope | None, Tally]) -> set[Scope]:
        burning = {
            scope
            for scope, tally in parts.items()
            if scope is not None
            and scope in self._explaining
            and one.threshold.is_above(tally)
            and _is_worse(tally, one, len(parts))
        }
        burnt = sum(parts[scope].letters for scope in burning)
        if len(burning) > 1 and burnt >= self._explained_share * one.letters:
            return set()
        events = one.events - sum(parts[scope].events for scope in burning)
        return set() if one.threshold.is_above(_tally(one.letters - burnt, events)) else burning

    def _parts_of(self, kind: str) -> list[Scope | None]:
        """Of each cell its scope of a kind."""
        if kind not in self._parts:
            self._parts[kind] = [
                next((scope for scope in one.scopes if scope.kind == kind), None) for one in self._counted
            ]
        return self._parts[kind]


def _is_worse(part: Tally, whole: _Suspect, parts: int) -> bool:
    """Whether a part is surely worse than the rest. The more parts there are, the surer it must be, for of many that
    are alike the worst looks bad by chance.
    """
    if whole.threshold.confidence is None:
        return True
    rest = Rate(whole.events - part.events, whole.letters - part.letters)
    return part.rate.exceeds(rest.share, 1 - (1 - whole.threshold.confidence) / parts)


def _tally(letters: int, events: int) -> Tally:
    return Tally(letters, events, frozenset())


def _suspects(counted: Sequence[Counted], threshold_of: ThresholdOf) -> dict[Scope, _Suspect]:
    """Every scope that met with the event and has a threshold. Most have no event: those are not even counted."""
    suspects = {
        scope: _Suspect(scope, threshold)
        for scope in {scope for one in counted if one.events for scope in one.scopes}
        if (threshold := threshold_of(scope))
    }
    for cell, one in enumerate(counted):
        for scope in one.scopes:
            if (suspect := suspects.get(scope)) is not None:
                suspect.add(cell, one)
    return suspects


def _heaviest(standing: Sequence[_Suspect]) -> list[_Suspect]:
    """Those that no heavier one shares letters with."""
    owner: dict[int, _Suspect] = {}
    for one in sorted(standing, key=lambda suspect: suspect.weight, reverse=True):
        for cell in one.cells:
            owner.setdefault(cell, one)
    return [one for one in standing if all(owner[cell] is one for cell in one.cells)]


def _smallest(suspects: Iterable[_Suspect]) -> _Suspect:
    return min(suspects, key=lambda one: (one.letters, RANK[one.scope.kind], one.scope.key))
