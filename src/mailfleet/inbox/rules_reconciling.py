"""What becomes of an ambiguous letter, and whether a provider files copies, by what lay in Sent folders. Pure.

A letter that is seen was accepted. One that is not seen was not, but only where a copy would lie there for sure: its
provider files every copy under the id we gave it, and the mailbox's letters next to it, whose acceptance is known, lie
there. Then it is looked for twice, later than any server waits; in every other case its deadline or a person decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

SAFE_AFTER = timedelta(minutes=30)  # the design: longer than any server waits for the rest of a letter
SOON = timedelta(minutes=5)  # chosen: servers that file a copy after their reply do so within seconds, at worst minutes
APART = timedelta(minutes=10)  # chosen: between two looks, so that no index or replica that lags decides alone

FILED_AFTER = timedelta(minutes=10)  # chosen: after it, what a server files lies there
PROBE_EVERY = timedelta(hours=1)  # chosen: between two looks into one mailbox
PROBED_MAILBOXES = 3  # chosen: one could be set up differently
SEEN_ENOUGH = 3  # chosen: copies seen, and none missing
MISSED_ENOUGH = 6  # chosen: copies missing, and none seen; we append then, which doubles them where this is wrong
PROBES = 12  # chosen: after so many looks that do not agree, a person says it in fleet.toml


class Fate(StrEnum):
    ACCEPTED = "accepted"
    AGAIN = "again"
    WAITS = "waits"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database knows. `ambiguous_at`: when its sender, or the sweep after its lease, said so.

    `may_settle`: its sender lives, and has not said its own word yet. `is_answered`: something came back that may be
    about it (what proves it settles it by itself). `files_copies`: its provider files every copy. `rewrites`: it gives
    letters other ids; None: not known.
    """

    reserved_at: datetime
    ambiguous_at: datetime
    may_settle: bool
    is_answered: bool
    files_copies: bool
    rewrites: bool | None

    @property
    def safe_at(self) -> datetime:
        """From then on no server is still at it."""
        return max(self.reserved_at, self.ambiguous_at) + SAFE_AFTER

    def could_prove(self, at: datetime) -> bool:
        """Whether not seeing it at that moment can mean that it was not accepted."""
        is_open = self.may_settle or self.is_answered
        return self.files_copies and self.rewrites is not True and not is_open and at >= self.safe_at


@dataclass(frozen=True, slots=True)
class Look:
    """One look into the Sent folder. `is_telling`: the letters next to this one lie there, under their ids."""

    at: datetime
    is_seen: bool
    is_telling: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of earlier looks. `absent_since`: of those that could prove it, the first in an unbroken row."""

    looks: int = 0
    absent_since: datetime | None = None
    next_at: datetime | None = None

    def as_record(self) -> dict[str, Any]:
        return {"looks": self.looks, "absent_since": _text(self.absent_since), "next_at": _text(self.next_at)}

    @classmethod
    def of_record(cls, record: Mapping[str, Any] | None) -> "Memory":
        if not record:
            return cls()
        return cls(record["looks"], _moment(record["absent_since"]), _moment(record["next_at"]))


@dataclass(frozen=True, slots=True)
class Decision:
    """`why` ends a sentence that begins with where and when it was looked for, and not seen."""

    fate: Fate
    memory: Memory
    why: str = ""


def decide(facts: Facts, memory: Memory, look: Look) -> Decision:
    """What becomes of the letter after this look."""
    looks = memory.looks + 1
    if look.is_seen:
        return Decision(Fate.ACCEPTED, Memory(looks))
    if not (facts.could_prove(look.at) and look.is_telling):
        return Decision(Fate.WAITS, Memory(looks, None, _next_look(facts, look.at)), _doubt(facts, look.at))
    since = memory.absent_since or look.at
    if look.at - since >= APART:
        return Decision(Fate.AGAIN, Memory(looks, since), "twice, and the letters next to it are")
    return Decision(Fate.WAITS, Memory(looks, since, look.at + APART), "and the letters next to it are")


def _next_look(facts: Facts, at: datetime) -> datetime:
    """Once more soon, then when it is safe; from then on each time after as long again, for little is to change."""
    soon = facts.ambiguous_at + SOON
    if at < soon:
        return soon
    return facts.safe_at if at < facts.safe_at else at + max(APART, at - facts.ambiguous_at)


def _doubt(facts: Facts, at: datetime) -> str:
    if not facts.files_copies:
        return "which proves nothing: its provider is not known to file every copy"
    if facts.rewrites:
        return "which proves nothing: its provider gives letters other Message-IDs"
    if facts.is_answered:
        return "but something came back that may be about it"
    if facts.may_settle:
        return "and its sender may still tell"
    if at < facts.safe_at:
        return f"and its server may still be at it until {facts.safe_at:%H:%M}"
    return "which proves nothing: other letters of the mailbox, accepted for sure, are not there either"


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether one accepted letter of a mailbox lay in its Sent folder."""

    mailbox_id: int
    is_seen: bool


def learned(probes: Iterable[Probe], mailboxes: int) -> Literal["server", "client"] | None:
    """Who files the copies of a provider with so many mailboxes that can be read; None while that is not clear."""
    known = list(probes)
    seen = sum(probe.is_seen for probe in known)
    if len({probe.mailbox_id for probe in known}) < min(PROBED_MAILBOXES, mailboxes):
        return None
    if seen == len(known) >= SEEN_ENOUGH:
        return "server"
    return "client" if not seen and len(known) >= MISSED_ENOUGH else None


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
