"""What the queue decides: which letters a limit admits, and what becomes of a message after an outcome. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from mailfleet.model.words import Family, MessageState, Outcome
from mailfleet.outbox.limits import Usage, Window

UsageKey = tuple[int, str]  # (limit id, scope key)
Scope = tuple[str, str]  # (scope kind, scope key)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A letter that asks to leave, and every scope it counts in."""

    message_id: int
    contact_id: int
    mailbox_id: int
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """One limit in one scope, with what is reserved against it."""

    limit_id: int
    scope: Scope
    window: Window
    maximum: int
    usage: Usage

    @property
    def key(self) -> UsageKey:
        return self.limit_id, self.scope[1]


@dataclass(frozen=True, slots=True)
class Admission:
    """`admitted` messages with the usage each reserves; `refused` with the limit that binds; `usages` to write."""

    admitted: Mapping[int, tuple[UsageKey, ...]]
    refused: Mapping[int, LimitUsage]
    usages: Mapping[UsageKey, Usage]


def admit(candidates: Sequence[Candidate], limits: Iterable[LimitUsage], *, now: datetime) -> Admission:
    """Admits candidates in their order as long as every limit of every scope of theirs has room at `now`."""
    by_scope: dict[Scope, list[tuple[UsageKey, LimitUsage]]] = {}
    room: dict[UsageKey, int] = {}
    seen: dict[UsageKey, Usage] = {}
    for limit in limits:
        key = limit.key
        by_scope.setdefault(limit.scope, []).append((key, limit))
        seen[key] = limit.usage.at(limit.window.bucket(now), limit.window.span)
        room[key] = 0 if limit.window.is_closing(now) else limit.maximum - seen[key].used
    admitted: dict[int, tuple[UsageKey, ...]] = {}
    refused: dict[int, LimitUsage] = {}
    taken: dict[UsageKey, int] = {}
    for candidate in candidates:
        touched = [counted for scope in candidate.scopes for counted in by_scope.get(scope, ())]
        full = next((limit for key, limit in touched if room[key] <= 0), None)
        if full is not None:
            refused[candidate.message_id] = full
            continue
        admitted[candidate.message_id] = keys = tuple([key for key, _ in touched])
        for key in keys:
            room[key] -= 1
            taken[key] = taken.get(key, 0) + 1
    return Admission(admitted, refused, {key: seen[key].add(count) for key, count in taken.items()})


@dataclass(frozen=True, slots=True)
class HoldOrder:
    """A hold that a reply asks for, on the scope of that kind which the mailbox lies in; for ever without `seconds`.

    `family`: the trouble it belongs to, whose trial follows it.
    """

    scope_kind: str
    reason: str
    seconds: float | None = None
    family: Family | None = None

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "HoldOrder":
        family = record.get("family")
        return cls(**{**record, "family": Family(family) if family else None})


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one attempt, complete enough to settle it from a journal alone, in any process."""

    attempt_id: int
    outcome: Outcome
    state: MessageState
    reason_code: str = ""
    reason: str = ""
    retry_seconds: float | None = None
    stage: str = ""
    code: int | None = None
    enhanced: str = ""
    reply: str = ""
    reply_class: str = ""
    reply_scope: str = ""
    rule: str = ""
    began_at: str | None = None
    hold: HoldOrder | None = None
    suppress: bool = False

    @property
    def has_no_consequence(self) -> bool:
        """Neither usage to give back nor anything to stop."""
        return self.outcome is not Outcome.UNREACHED and self.hold is None and not self.suppress

    def began(self, at: str) -> "Result":
        """The same, begun at that moment (ISO 8601)."""
        return replace(self, began_at=at)

    def as_record(self) -> dict[str, Any]:
        """Plain values, for JSON. Not `asdict`, which costs 25 us a letter."""
        return {name: getattr(self, name) for name in _RESULT} | {"hold": asdict(self.hold) if self.hold else None}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Result":
        values = dict(record)
        hold = values.pop("hold")
        return cls(
            **{**values, "outcome": Outcome(values["outcome"]), "state": MessageState(values["state"])},
            hold=HoldOrder.of_record(hold) if hold else None,
        )


_RESULT = tuple(item.name for item in fields(Result))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a deferred letter is tried again. RFC 5321 §4.5.4.1: at least 30 minutes apart, for 4-5 days."""

    first: timedelta = timedelta(minutes=30)
    longest: timedelta = timedelta(hours=24)
    tries: int = 9  # chosen: 30 min, doubled up to a day, ends within 5 days

    def wait(self, attempt_number: int) -> timedelta:
        """The wait after the `attempt_number`-th attempt (from 1)."""
        doubled: timedelta = self.first * 2 ** min(attempt_number - 1, 20)
        return min(doubled, self.longest)

    def gives_up_after(self, attempt_number: int) -> bool:
        return attempt_number >= self.tries


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a letter may not leave: `ends` when it never may, else it goes back to the planner."""

    code: str
    reason: str
    ends: bool = field(default=False)


ENDING_CODES = frozenset({"suppressed", "ended", "campaign_stopped", "campaign_finished", "no_lawful_basis"})


def refusal_of(code: str, reason: str) -> Refusal:
    """The gate's answer as a refusal: some reasons pass, some end the letter."""
    return Refusal(code, reason, code in ENDING_CODES)


def limit_refusal(limit: LimitUsage) -> Refusal:
    """The refusal of a full limit, naming it."""
    kind, key = limit.scope
    return Refusal("limit", f"{kind} {key}: limit {limit.limit_id} of {limit.maximum} in {limit.window} is reached")
