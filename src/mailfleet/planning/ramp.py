"""The ramp: how many letters a mailbox may write in a day, by its age and history.

Growth, idleness and halving follow the common advice for new mailboxes: start at 3 to 5 a day for three days, then at
most a fifth more on each sending day without a warning; a week idle drops one step, 30 days idle start again; a stop
rule halves. Writing on working days, a mailbox is at 30 a day after three weeks. Steps come from days with letters, so
nothing is gained by waiting.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache

START = 5  # chosen: the upper end of "3 to 5 a day"; fewer letters say little about a mailbox
LEVEL_DAYS = 3  # the first sending days, without growth
IDLE_STEP = timedelta(days=7)
IDLE_RESTART = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Ramp:
    """What is kept of one mailbox.

    `target`: its daily limit once grown. `sending_days`: days with letters that count, the latest (`last_on`) among
    them; a day with a warning does not count. `halvings`: stop rules in force that halve it.
    """

    target: int
    sending_days: int = 0
    last_on: date | None = None
    halvings: int = 0
    start: int = START


def ramp_curve(target: int, start: int = START) -> list[int]:
    """The daily maximum on each sending day, from the first to the one that reaches the target."""
    return list(_curve(target, start))


def daily_maximum(ramp: Ramp, today: date) -> int:
    """How many letters the mailbox may write on `today`: the same all day long; at least 1 unless the target is 0."""
    full = _curve(ramp.target, ramp.start)[step_on(ramp, today)]
    return max(full >> ramp.halvings, min(full, 1))


def step_on(ramp: Ramp, today: date) -> int:
    """The place in the curve on `today`: one more than on the latest sending day, or fewer after idle weeks."""
    if ramp.last_on is None or today - ramp.last_on >= IDLE_RESTART:
        return 0
    top = len(_curve(ramp.target, ramp.start)) - 1
    latest = min(max(ramp.sending_days - 1, 0), top)
    idle = today - ramp.last_on
    if idle >= IDLE_STEP:
        return max(0, latest - idle // IDLE_STEP)
    return latest if idle <= timedelta(0) else min(ramp.sending_days, top)


def after_sending(ramp: Ramp, today: date) -> Ramp:
    """What to keep once a letter has left on `today`; the second letter of a day changes nothing."""
    if ramp.last_on is not None and today <= ramp.last_on:
        return ramp
    return replace(ramp, sending_days=step_on(ramp, today) + 1, last_on=today)


@lru_cache(maxsize=64)
def _curve(target: int, start: int) -> tuple[int, ...]:
    curve = [min(start, target)] * LEVEL_DAYS
    while curve[-1] < target:
        curve.append(min(target, max(curve[-1] * 6 // 5, curve[-1] + 1)))  # 1 more is the least that grows at all
    return tuple(curve)
