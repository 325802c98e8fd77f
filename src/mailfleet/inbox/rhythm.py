"""How often mailboxes are read: defaults, and what an organisation set."""

from dataclasses import dataclass
from datetime import timedelta

from mailfleet.base.db import Connection
from mailfleet.base.records import Recorded
from mailfleet.base.stored import load_setting, save_setting

SETTING = "reading"


@dataclass(frozen=True, slots=True)
class Rhythm(Recorded):
    """least_wait, most_wait   between two readings of a mailbox; each wait is drawn anew
    first_retry, longest_retry  the wait after a fault, doubled each time
    errands             how often errands are looked for; a mailbox that has some is read at most that often
    upkeep              how often it is looked who is busy, and who fails and is not held
    tick                how often it is looked who is due
    apart               between two first readings of new mailboxes
    most_idle           sessions of a watcher that wait by IDLE at once; the others are read in turn
    """

    # chosen: every 5 minutes at the latest, with the time that a queue of others may take
    least_wait: timedelta = timedelta(minutes=3)
    most_wait: timedelta = timedelta(minutes=4.5)
    first_retry: timedelta = timedelta(minutes=1)
    longest_retry: timedelta = timedelta(minutes=30)
    errands: timedelta = timedelta(seconds=20)
    upkeep: timedelta = timedelta(minutes=1)
    tick: timedelta = timedelta(seconds=1)
    apart: timedelta = timedelta(seconds=0.1)  # chosen: a fleet of 1,200 in two minutes
    # chosen: a whole fleet of 1,200; each has an open session anyway, which is 100 MB for all of them (docs/inbox.md)
    most_idle: int = 1500


def load_rhythm(connection: Connection) -> Rhythm:
    return load_setting(connection, SETTING, Rhythm)


def save_rhythm(connection: Connection, rhythm: Rhythm) -> None:
    save_setting(connection, SETTING, rhythm)
