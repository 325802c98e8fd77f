"""Dead silence: a mailbox that used to be answered, and now is not, for longer than chance allows.

The likelihood decides, not a number of letters: of a mailbox once answered at (surely at least) rate r, N letters stay
unanswered with chance (1 - r)^N. A mailbox whose inbox we have not read is blind, not silent.
"""

from datetime import datetime

from mailfleet.health.causes import Cause, Counted, Threshold, find_causes
from mailfleet.health.facts import Facts, Listening
from mailfleet.health.findings import Finding, Ladder, Level
from mailfleet.health.rates import Rate
from mailfleet.health.scopes import Scope
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family, ScopeKind

FAMILY = Family.SILENCE
WIDE = (ScopeKind.DOMAIN, ScopeKind.ACCOUNT, ScopeKind.PROVIDER)


def find_silence(facts: Facts, tunables: HealthTunables, now: datetime) -> list[Finding]:
    """The mailboxes that went silent, or what nearly all such mailboxes have in common."""
    listening = {one.mailbox_id: one for one in facts.listening if _can_be_judged(one, facts, tunables, now)}
    counted = [
        Counted(facts.scopes_of[mailbox_id], 1, is_silent(one, tunables), mailbox_id)
        for mailbox_id, one in sorted(listening.items())
    ]
    causes, _ = find_causes(
        counted, lambda scope: _threshold(scope, tunables), explained_share=tunables.explained_share
    )
    return [_finding(cause, listening, tunables) for cause in causes]


def is_silent(one: Listening, tunables: HealthTunables) -> bool:
    """Whether so many letters without a reply are less likely than `silence_chance`.

    (1 - r)^N <= chance holds from r = 1 - chance^(1/N) on; so the question is whether the old rate surely is above
    that.
    """
    if one.unanswered <= 0:
        return False
    needed = 1 - tunables.silence_chance ** (1 / one.unanswered)
    return Rate(min(one.replies, one.letters), one.letters).exceeds(needed, tunables.confidence)


def _can_be_judged(one: Listening, facts: Facts, tunables: HealthTunables, now: datetime) -> bool:
    is_read = one.read_at is not None and now - one.read_at <= tunables.silence_unread
    return is_read and one.replies >= tunables.silence_replies and one.mailbox_id in facts.scopes_of


def _threshold(scope: Scope, tunables: HealthTunables) -> Threshold | None:
    if scope.kind == ScopeKind.MAILBOX:
        return Threshold(1.0)
    if scope.kind in WIDE:
        return Threshold(tunables.failure_share, events=tunables.failure_members)
    return None


def _finding(cause: Cause, listening: dict[int, Listening], tunables: HealthTunables) -> Finding:
    silent = [listening[one.mailbox_id] for one in cause.counted if one.events]
    letters, replies = sum(one.letters for one in silent), sum(one.replies for one in silent)
    unanswered = sum(one.unanswered for one in silent)
    return Finding(
        FAMILY,
        Level.STOP,
        cause.scope,
        (cause.scope,),
        f"no reply to the last {unanswered} letters, where {replies} of {letters} were answered before",
        {"mailboxes": len(silent), "unanswered": unanswered, "replies_before": replies, "letters_before": letters},
        Ladder(tunables.silence_hold, tunables.silence_longest),
    )
