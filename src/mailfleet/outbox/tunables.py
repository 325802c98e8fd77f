"""Times by which queue, planner and senders work: defaults, and what an organisation set in `fleet.toml`."""

from dataclasses import dataclass
from datetime import timedelta

from mailfleet.base.db import Connection
from mailfleet.base.records import Recorded
from mailfleet.base.stored import load_setting, save_setting
from mailfleet.outbox.rules import RetryPolicy

SETTING = "tunables"


@dataclass(frozen=True, slots=True)
class Tunables(Recorded):
    """reserve_ahead   how long before its moment a letter is reserved; at most what `limits.SLACK` allows for
    lease              a sender's right to a mailbox; renewed every third of it
    horizon            how far ahead slots are planned
    late_after         a queued letter later than this is planned anew: a backlog is paced, never flushed
    ambiguous_deadline after it an ambiguous letter counts as accepted
    retry_first, retry_longest, retry_tries: see RetryPolicy
    ramp_start         letters on a mailbox's first day
    """

    reserve_ahead: timedelta = timedelta(seconds=10)
    lease: timedelta = timedelta(seconds=60)
    horizon: timedelta = timedelta(hours=1)
    late_after: timedelta = timedelta(minutes=5)
    ambiguous_deadline: timedelta = timedelta(hours=24)
    retry_first: timedelta = timedelta(minutes=30)
    retry_longest: timedelta = timedelta(hours=24)
    retry_tries: int = 9
    ramp_start: int = 5

    @property
    def retry(self) -> RetryPolicy:
        return RetryPolicy(self.retry_first, self.retry_longest, self.retry_tries)


def save_tunables(connection: Connection, tunables: Tunables) -> None:
    save_setting(connection, SETTING, tunables)


def load_tunables(connection: Connection) -> Tunables:
    return load_setting(connection, SETTING, Tunables)
