"""The judge: holds the ledger against what we say of ourselves and counts where a law broke. Pure.

What happened is read from the ledger alone; what we say (limits, paces, opt-outs, outcomes) only tells what would be
wrong.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from mailfleet.base.errors import InputError
from mailfleet.providers.sandbox.ledger import Ledger, Transaction

PACE_TOLERANCE = timedelta(milliseconds=5)  # chosen: both ends of a gap are read from a wall clock
EXAMPLES = 10

LimitKind = Literal["mailbox", "domain", "account", "provider", "identity", "recipient_domain", "sender_host"]
Said = Literal["accepted", "assumed", "ambiguous", "not_accepted"]


@dataclass(frozen=True, slots=True)
class Scopes:
    """Where one mailbox belongs."""

    domain: str
    account: str
    provider: str
    identity: str


@dataclass(frozen=True, slots=True)
class LimitRule:
    """At most `maximum` transactions that reached MAIL: in any interval of `length`, or in any day of `zone`; one of
    the two is given. `key` None: of each scope of the kind by itself. A sender host's key is its name in EHLO."""

    kind: LimitKind
    maximum: int
    key: str | None = None
    length: timedelta | None = None
    zone: str | None = None

    def __post_init__(self) -> None:
        if (self.length is None) == (self.zone is None):
            raise InputError(f"limit of {self.kind}: give either a length or the zone of a calendar day")


@dataclass(frozen=True, slots=True)
class OptOut:
    """`target` (an address, or a whole domain) said no, committed at `at`."""

    target: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ExpectedLetter:
    """One letter as our database has it. "assumed": counted as accepted without proof; "not_accepted": everything else,
    be it final or still to be sent."""

    message_id: str
    recipient: str
    enrollment: str
    step: int
    said: Said


@dataclass(frozen=True, slots=True)
class Expectations:
    """`scopes` names every mailbox that the ledger may name. A mailbox without a pace may write at once."""

    scopes: Mapping[str, Scopes]
    letters: Sequence[ExpectedLetter] = ()
    limits: Sequence[LimitRule] = ()
    paces: Mapping[str, timedelta] = field(default_factory=dict)
    opt_outs: Sequence[OptOut] = ()
    opt_out_grace: timedelta = timedelta()


@dataclass(slots=True)
class Finding:
    """How often a law broke, and the first few times in words."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


@dataclass(frozen=True, slots=True)
class Report:
    """`accepted`, `deferred` (4yz), `rejected` (5yz) and `dropped` (the connection ended it) are transactions; each
    `Finding` is a law: nothing found, and it held. `unknown` are accepted letters that are not ours."""

    transactions: int
    accepted: int
    deferred: int
    rejected: int
    dropped: int
    duplicates: Finding
    over_limit: Finding
    before_pace: Finding
    after_opt_out: Finding
    lost: Finding
    unknown: Finding

    @property
    def laws(self) -> dict[str, Finding]:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Finding)}

    @property
    def holds(self) -> bool:
        return not any(finding.count for finding in self.laws.values())


def judge(ledger: Ledger, expected: Expectations) -> Report:
    """Every law over the whole ledger. InputError: the ledger names a mailbox that `expected.scopes` does not."""
    began = sorted(ledger.transactions, key=lambda t: (t.mail_at, t.seq))
    for transaction in began:
        if transaction.mailbox not in expected.scopes:
            raise InputError(f"the ledger names the mailbox {transaction.mailbox}, which the expectations do not")
    accepted = [transaction for transaction in ledger.transactions if transaction.accepted]
    return Report(
        transactions=len(began),
        accepted=len(accepted),
        deferred=sum(400 <= transaction.code < 500 for transaction in began),
        rejected=sum(transaction.code >= 500 for transaction in began),
        dropped=sum(transaction.dropped != "" for transaction in began),
        duplicates=find_duplicates(accepted, expected.letters),
        over_limit=find_over_limit(began, expected.limits, expected.scopes),
        before_pace=find_before_pace(began, expected.paces),
        after_opt_out=find_after_opt_out(began, expected.opt_outs, expected.opt_out_grace),
        lost=find_lost(accepted, expected.letters),
        unknown=find_unknown(accepted, expected.letters),
    )


def find_duplicates(accepted: Iterable[Transaction], letters: Iterable[ExpectedLetter]) -> Finding:
    """Accepted again: the same Message-ID, or another one for the same enrollment and step. A letter without a
    Message-ID is told by its recipient and subject."""
    steps = {letter.message_id: (letter.enrollment, letter.step) for letter in letters}
    seen: set[tuple[object, ...]] = set()
    finding = Finding()
    for transaction in accepted:
        keys = {_identity(transaction), ("step", *steps.get(transaction.message_id, (transaction.seq,)))}
        if keys & seen:
            finding.add(f"accepted again: {_told(transaction)}")
        seen |= keys
    return finding


def _identity(transaction: Transaction) -> tuple[object, ...]:
    if transaction.message_id:
        return ("id", transaction.message_id)
    return ("letter", _address(transaction.rcpt), transaction.subject)


def find_over_limit(began: Sequence[Transaction], limits: Iterable[LimitRule], scopes: Mapping[str, Scopes]) -> Finding:
    """Transactions that found a window full, each once however many limits it broke. A rolling window is exact: open
    at its older end, so what began just one length ago no longer counts. `began` is sorted by `mail_at`."""
    over: dict[int, str] = {}
    for limit in limits:
        for transaction, count in _overfull(began, limit, scopes):
            said = f"number {count} of at most {limit.maximum} {limit.kind} ({limit.length or limit.zone})"
            over.setdefault(transaction.seq, f"{said}: {_told(transaction)}")
    finding = Finding()
    for seq in sorted(over):
        finding.add(over[seq])
    return finding


def _overfull(
    began: Sequence[Transaction], limit: LimitRule, scopes: Mapping[str, Scopes]
) -> Iterable[tuple[Transaction, int]]:
    add = _rolling(limit.length) if limit.length is not None else _calendar(ZoneInfo(limit.zone or "UTC"))
    wanted = None if limit.key is None else _address(limit.key)
    for transaction in began:
        key = _address(_scope_key(transaction, limit.kind, scopes))
        if wanted is None or key == wanted:
            count = add(key, transaction.mail_at)
            if count > limit.maximum:
                yield transaction, count


def _rolling(length: timedelta) -> Callable[[str, float], int]:
    windows: dict[str, deque[float]] = defaultdict(deque)

    def add(key: str, at: float) -> int:
        window = windows[key]
        window.append(at)
        while window[0] <= at - length.total_seconds():
            window.popleft()
        return len(window)

    return add


def _calendar(zone: ZoneInfo) -> Callable[[str, float], int]:
    days: dict[tuple[str, int], int] = defaultdict(int)

    def add(key: str, at: float) -> int:
        day = (key, datetime.fromtimestamp(at, zone).toordinal())
        days[day] += 1
        return days[day]

    return add


def _scope_key(transaction: Transaction, kind: LimitKind, scopes: Mapping[str, Scopes]) -> str:
    if kind == "mailbox":
        return transaction.mailbox
    if kind == "recipient_domain":
        return transaction.rcpt.rpartition("@")[2]
    if kind == "sender_host":
        return transaction.ehlo
    key: str = getattr(scopes[transaction.mailbox], kind)
    return key


def find_before_pace(began: Iterable[Transaction], paces: Mapping[str, timedelta]) -> Finding:
    """MAIL too soon after the end of any earlier submission of the mailbox, or even before it. `began` is sorted."""
    ended: dict[str, float] = {}
    finding = Finding()
    for transaction in began:
        mailbox = transaction.mailbox
        pace, last = paces.get(mailbox, timedelta()), ended.get(mailbox)
        if pace and last is not None and timedelta(seconds=transaction.mail_at - last) < pace - PACE_TOLERANCE:
            finding.add(f"{transaction.mail_at - last:.3f} s after, not {pace}: {_told(transaction)}")
        ended[mailbox] = max(transaction.end_at, last or 0.0)
    return finding


def find_after_opt_out(began: Iterable[Transaction], opt_outs: Iterable[OptOut], grace: timedelta) -> Finding:
    """Transactions that began later than `grace` after the recipient, or the recipient's domain, said no; accepted or
    not, for to try is to write."""
    first: dict[str, datetime] = {}
    for opt_out in opt_outs:
        target = _address(opt_out.target)
        first[target] = min(opt_out.at, first.get(target, opt_out.at))
    finding = Finding()
    for transaction in began:
        rcpt = _address(transaction.rcpt)
        for said_at in (first.get(rcpt), first.get(rcpt.rpartition("@")[2])):
            if said_at is not None and _moment(transaction.mail_at) > said_at + grace:
                finding.add(f"opted out at {said_at.isoformat()}: {_told(transaction)}")
                break
    return finding


def find_lost(accepted: Iterable[Transaction], letters: Iterable[ExpectedLetter]) -> Finding:
    """We say accepted and the provider never took it; or the provider took it and we say it did not. "assumed" and
    "ambiguous" claim neither."""
    taken = {_letter_key(transaction.message_id, transaction.rcpt) for transaction in accepted}
    finding = Finding()
    for letter in letters:
        is_taken = _letter_key(letter.message_id, letter.recipient) in taken
        if letter.said == "accepted" and not is_taken:
            finding.add(f"we say accepted, the ledger has no acceptance: {letter.message_id} to {letter.recipient}")
        elif letter.said == "not_accepted" and is_taken:
            finding.add(f"accepted in the ledger, not by us: {letter.message_id} to {letter.recipient}")
    return finding


def find_unknown(accepted: Iterable[Transaction], letters: Iterable[ExpectedLetter]) -> Finding:
    """Accepted letters that no expected letter names, by Message-ID and recipient together."""
    known = {_letter_key(letter.message_id, letter.recipient) for letter in letters}
    finding = Finding()
    for transaction in accepted:
        if _letter_key(transaction.message_id, transaction.rcpt) not in known:
            finding.add(f"we know nothing of it: {_told(transaction)}")
    return finding


def _letter_key(message_id: str, recipient: str) -> tuple[str, str]:
    return message_id, _address(recipient)


def _address(text: str) -> str:
    """An address or a domain, as compared: in lower case, the domain in its ASCII form (RFC 5890) where it has one."""
    local, at, domain = text.lower().rpartition("@")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            pass
    return f"{local}{at}{domain}"


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _told(transaction: Transaction) -> str:
    return (
        f"{transaction.message_id or '(no Message-ID)'} from {transaction.mailbox} to {transaction.rcpt or '(nobody)'}"
        f" at {_moment(transaction.mail_at).isoformat()}, record {transaction.seq}"
    )
