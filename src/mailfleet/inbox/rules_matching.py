"""Which letter of ours a mail is about. Pure: the letters that come into question are arguments.

Order: a signed token; In-Reply-To and References (RFC 5322 §3.6.4); the returned letter's Message-ID (RFC 3462); the
envelope's id (RFC 3461 §4.4); address and subject; the address alone. Only letters of the mailbox that the mail came to
count, but for what nobody can guess and people do send elsewhere; and for the address alone, which a person is asked
about.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from mailfleet.mail.opt_out import TokenFacts

RECENT = timedelta(days=60)  # chosen: an answer that names no letter comes within two months, or is about another thing

_PREFIX = re.compile(
    r"\s*(?:re|aw|antw|sv|vs|ynt|odp|rif|res|r|fw|fwd|wg|tr|rv|enc|i|doorst|vl|отв|ответ|на|пересл"
    r"|回复|答复|返信|转发|轉寄)\s*(?:[\[(]\d+[\])]|\d+)?\s*[:：]|\s*\[[^\[\]]{1,40}\]\s*",  # "[External]" of gateways
    re.IGNORECASE,
)


class Way(StrEnum):
    """By what a letter was found, as `incoming.matched_by` keeps it."""

    TOKEN = "token"
    REFERENCE = "reference"
    RETURNED = "returned"
    ENVELOPE = "envelope"
    SUBJECT = "subject"  # the address, and the letter's subject
    ADDRESS = "address"  # the address alone


PROVEN = frozenset({Way.TOKEN, Way.REFERENCE, Way.RETURNED, Way.ENVELOPE})
"""Only who had the letter in hand can name it so: nobody guesses 128 bits."""


@dataclass(frozen=True, slots=True)
class SentLetter:
    """A letter that comes into question.

    `address`, `digest`: its contact's, normalised and keyed; `zone` the contact's, or empty. `is_recent`: accepted
    within RECENT.
    """

    id: int
    header_id: str
    mailbox_id: int
    contact_id: int
    address: str
    digest: bytes
    subject: str
    is_recent: bool
    zone: str = ""

    @property
    def envelope_id(self) -> str:
        """What its MAIL command carried as ENVID: the Message-ID left of the @."""
        return self.header_id.strip("<>").partition("@")[0]


@dataclass(frozen=True, slots=True)
class Clues:
    """By what a mail may be matched, the best first; ids with brackets.

    `addresses` are whom the letter may have gone to, normalised: the sender, or a report's recipients. `fleet_ways`: by
    which a letter of another mailbox counts too.
    """

    mailbox_id: int
    token: TokenFacts | None = None
    references: Sequence[str] = ()
    returned: Sequence[str] = ()
    envelope_ids: Sequence[str] = ()
    addresses: Sequence[str] = ()
    subject: str = ""
    fleet_ways: frozenset[Way] = field(default=frozenset())


@dataclass(frozen=True, slots=True)
class Match:
    letter: SentLetter
    way: Way

    @property
    def is_proven(self) -> bool:
        return self.way in PROVEN


def match(clues: Clues, letters: Iterable[SentLetter]) -> Match | None:
    """The letter, or None. A token is the last word; of several letters that are named otherwise, the first that went
    to one of the addresses, else the first."""
    known = sorted(letters, key=lambda letter: -letter.id)
    named = [found for found in _named(clues, known) if _counts(clues, found)]
    if named and named[0].way is not Way.TOKEN:
        return next((found for found in named if found.letter.address in clues.addresses), named[0])
    return named[0] if named else _addressed(clues, known)


def _named(clues: Clues, letters: Sequence[SentLetter]) -> Iterator[Match]:
    by_id = {letter.header_id: letter for letter in letters}
    for letter in letters:
        if clues.token == TokenFacts(letter.id, letter.digest):
            yield Match(letter, Way.TOKEN)
    yield from (Match(by_id[one], Way.REFERENCE) for one in clues.references if one in by_id)
    yield from (Match(by_id[one], Way.RETURNED) for one in clues.returned if one in by_id)
    for one in clues.envelope_ids:
        yield from (Match(letter, Way.ENVELOPE) for letter in letters if letter.envelope_id == one)


def _counts(clues: Clues, found: Match) -> bool:
    is_here = found.letter.mailbox_id == clues.mailbox_id
    return is_here or found.way is Way.TOKEN or found.way in clues.fleet_ways


def _addressed(clues: Clues, letters: Sequence[SentLetter]) -> Match | None:
    """The latest letter to one of the addresses: of the same subject, else of this mailbox, else of another."""
    sent = [letter for letter in letters if letter.is_recent and letter.address in clues.addresses]
    here = [letter for letter in sent if letter.mailbox_id == clues.mailbox_id]
    for letter in here:
        if is_same_subject(clues.subject, letter.subject):
            return Match(letter, Way.SUBJECT)
    counting = here or (sent if Way.ADDRESS in clues.fleet_ways else [])
    return Match(counting[0], Way.ADDRESS) if counting else None


def is_same_subject(said: str, ours: str) -> bool:
    """Whether the subject is our letter's, but for what answers, forwards and automatic replies put before it."""
    bare, own = bare_subject(said), bare_subject(ours)
    return bool(own) and (bare == own or bare.endswith(f": {own}"))


def bare_subject(subject: str) -> str:
    """Without prefixes, case and double blanks."""
    text = subject
    while found := _PREFIX.match(text):
        text = text[found.end() :]
    return " ".join(text.split()).casefold()
