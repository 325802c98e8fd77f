"""Thresholds by which health judges: defaults with their sources, and what an organisation set."""

from dataclasses import dataclass
from datetime import timedelta

from mailfleet.base.records import Recorded
from mailfleet.model.words import Family

SETTING = "health"


@dataclass(frozen=True, slots=True)
class HealthTunables(Recorded):
    """Rates are events per letter sent in `window` (policy blocks: `policy_window`).

    Sources: bounce thresholds are chosen, anchored on Amazon SES, which reviews an account at 5 % and pauses it
    at 10 % (repost.aws, "account review", 2026); complaints from Google's and Yahoo's sender rules
    (support.google.com/a/answer/81126, March 2026: keep below 0.1 %, never reach 0.3 %, relief after 7 days below it;
    senders.yahooinc.com/best-practices).
    """

    judge_after: timedelta = timedelta(minutes=1)  # chosen: what burns a minute more burns little

    confidence: float = 0.8  # chosen: a needless hold costs a person an hour, a missed one a domain
    window: timedelta = timedelta(days=7)  # chosen: 100 to 200 letters of a mailbox at 30 a working day

    bounce_warn: float = 0.02
    bounce_hold_list: float = 0.03
    bounce_hold_mailbox: float = 0.05
    bounce_hold_recipients: float = 0.05  # chosen: as a mailbox; a receiver's outage says "unknown" to all
    bounce_floor: int = 30  # chosen: letters; a day of a mailbox
    bounce_events: int = 3  # chosen: two dead addresses are no pattern

    policy_window: timedelta = timedelta(hours=24)
    policy_rate: float = 0.01  # chosen: 3 blocks on a domain's full day of 100 letters are well above it
    policy_events: int = 3  # chosen: two slow, three at two receivers stop; a filter errs once, not everywhere
    policy_slow_events: int = 2
    policy_receivers: int = 2

    complaint_halve: float = 0.001
    complaint_stop: float = 0.003
    complaint_floor: int = 100  # chosen: letters; below it one complaint would be a verdict
    complaint_stop_events: int = 2  # chosen: one person is no pattern

    silence_chance: float = 1e-4  # chosen: of 1,200 mailboxes, one false alarm in eight looks at independent letters
    silence_replies: int = 5  # chosen: fewer say nothing of a rate
    silence_unread: timedelta = timedelta(hours=6)  # chosen: not read for longer is blind, not silent

    failure_window: timedelta = timedelta(minutes=15)  # chosen: every mailbox of a fleet at work tries once
    failure_share: float = 0.9  # chosen: a success just before the fault does not clear a scope
    failure_members: int = 3  # chosen: two alike are chance
    failure_part: float = 0.1  # chosen: of a scope's mailboxes at least so many must have failed

    explained_share: float = 0.8  # chosen: a wide scope is the cause when so much of it burns, not two domains of ten

    trial_letters: int = 5  # chosen: a ramp's first day
    trial_events: int = 2  # chosen: one dead address among five is luck
    trial_growth: int = 2
    trial_settle_fast: timedelta = timedelta(minutes=5)  # chosen: the reply is the verdict
    trial_settle_bounces: timedelta = timedelta(hours=2)  # chosen: receivers reject within minutes
    trial_settle_slow: timedelta = timedelta(hours=24)  # chosen: people complain on the day they read
    strike_memory: timedelta = timedelta(days=30)  # chosen: a month of peace is a clean sheet

    policy_hold: timedelta = timedelta(
        hours=25
    )  # Yandex: a block of 24 h that each try restarts (send-many-letters.html)
    policy_longest: timedelta = timedelta(days=14)  # chosen
    complaint_hold: timedelta = timedelta(days=7)  # Google: relief after 7 days below 0.3 %
    complaint_longest: timedelta = timedelta(days=28)  # chosen
    silence_hold: timedelta = timedelta(days=7)  # chosen: reputation mends in days
    silence_longest: timedelta = timedelta(days=28)  # chosen
    rate_hold: timedelta = timedelta(hours=1)  # chosen: the commonest window
    rate_longest: timedelta = timedelta(
        hours=24
    )  # Google: sending stops up to 24 h (support.google.com/a/answer/166852)
    unreachable_hold: timedelta = timedelta(minutes=10)  # chosen: as the senders
    unreachable_longest: timedelta = timedelta(hours=6)  # chosen: back on the same day
    recipients_hold: timedelta = timedelta(hours=1)  # chosen: receivers mend an outage within hours
    recipients_longest: timedelta = timedelta(hours=24)  # chosen

    grave_part: float = 0.25  # chosen: of the fleet's letters a day; worth waking a person
    reopen_within: timedelta = timedelta(hours=24)  # chosen: the same cause within a day is the same news

    def window_of(self, family: Family) -> timedelta:
        """In which letters of a family's rate count."""
        return self.policy_window if family is Family.POLICY else self.window
