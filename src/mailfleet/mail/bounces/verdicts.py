"""From what was said to what it means: hard, soft, delayed, and what has to be done about it.

The rules are those of `mail.replies`; here is only which side spoke, which of several texts to believe, and when a dead
address is certain enough.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from mailfleet.mail.bounces.findings import Fate, Finding, Named
from mailfleet.mail.bounces.notice_words import meaning
from mailfleet.mail.replies import Action, Reply, ReplyClass, Scope, Side, Verdict, classify
from mailfleet.mail.reply_rules import DEAD_ADDRESS


class Severity(StrEnum):
    """What a report means for the address."""

    HARD = "hard"  # there is no such address: certain
    SOFT = "soft"  # this letter is over; the address may be good
    DELAYED = "delayed"  # still tried
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a report, judged."""

    address: str
    named: Named
    severity: Severity
    status: str
    """Enhanced status (RFC 3463): of the reply, else of the report; empty when neither gives one."""
    code: int | None
    """Of the SMTP reply."""
    diagnostic: str
    """What was said, at most MAX_DIAGNOSTIC characters; for people."""
    verdict: Verdict
    is_ours: bool
    """Whether our provider speaks of our own mailbox, domain or account: a limit or a ban, and nothing against the
    address."""

    @property
    def is_hard(self) -> bool:
        """Whether the address is dead for certain."""
        return self.severity is Severity.HARD


MAX_TEXTS = 8  # chosen: what is said of one recipient: its reply, a transcript, a few paragraphs
MAX_DIAGNOSTIC = 1000  # chosen: a reply of eight lines
_OWN = frozenset({ReplyClass.RATE_LIMITED_ACCOUNT, ReplyClass.MAILBOX_SUSPENDED_OR_AUTH, ReplyClass.RELAY_DENIED})
_HELD = frozenset({Scope.MAILBOX, Scope.DOMAIN, Scope.ACCOUNT})
_ABOUT_RECIPIENT = frozenset(
    {ReplyClass.RECIPIENT_FULL, ReplyClass.RECIPIENT_UNKNOWN, ReplyClass.RECIPIENT_DISABLED, ReplyClass.MESSAGE_TOO_BIG}
)
_UNINFORMED = ("code-", "status-")
_VAGUE = {"weather", "recipient-unknown-perhaps", "protocol", "content-refused"}
_QUOTED = re.compile(
    r"\bsaid:|<<<|\bresponded|\bresponse\b|\breturned\b|talking to|\bremote\b|other server|destination|did not like"
    r"|\bhost\b",
    re.IGNORECASE,
)
_QUOTATION = re.compile(r"(?:[:\[(\"'<]|\bsaid|\bwith)\s*([45]\d\d[ -].*)", re.DOTALL)
# Parameters of the command that was refused; farewells in which the time is too long, not the letter.
_NO_REPLY = re.compile(
    r"\b(?:SIZE|BODY|RET|ENVID)=\S+|this\s+message\s+has\s+been\s+in\s+the\s+queue\s+too\s+long|for too long"
)
_CODE_FIRST = re.compile(r"\s*[245]\d\d[ -]")
_MICROSOFT = re.compile(r"[45]\.\d{1,2}\.\d{3}\Z|[45]\.1\.90\Z")
_MICROSOFT_SERVER = re.compile(r"outlook|microsoft|hotmail", re.IGNORECASE)
_NOT_OF_RECIPIENT = re.compile(r"[45]\.(?:1\.[78]|2\.[0234]|7\.[01])\Z")
# au (KDDI) names no address when the recipient's own filter refused, and one when there is no such user.
_FILTERED = re.compile(r"\b550:? ?: user unknown", re.IGNORECASE)
_OTHER_PHASE = re.compile(r"\b(?:after|to)\s+(?:end\s+of\s+data|mail\s+from)\b|>>>\s*mail\s+from", re.IGNORECASE)


def judge(finding: Finding, *, writer: str) -> Recipient:
    """Say what a finding means. `writer` is the address the report comes from, and who wrote it as far as is known."""
    reply, verdict, side = _best_reading(finding, writer)
    status = reply.enhanced or finding.status
    if is_doubtful := _is_doubtful(reply, verdict, finding):
        verdict = replace(verdict, action=Action.REJECT if verdict.action is Action.SUPPRESS else verdict.action)
    severity = _severity(finding.fate, verdict, status)
    return Recipient(
        address=finding.address,
        named=finding.named,
        severity=Severity.SOFT if is_doubtful and severity is Severity.HARD else severity,
        status=status,
        code=reply.code,
        diagnostic=finding.diagnostic[:MAX_DIAGNOSTIC].strip(),
        verdict=verdict,
        is_ours=side == "dsn",
    )


class Reading(NamedTuple):
    """One text, read: the reply, what it means, and who is taken to have spoken."""

    reply: Reply
    verdict: Verdict
    side: Side

    @property
    def is_temporary(self) -> bool:
        """Whether the reply itself says that it passes."""
        return (self.reply.code or 500) < 500 or (self.reply.enhanced or "").startswith("4.")

    @property
    def is_coded(self) -> bool:
        """Whether it is more than words."""
        return self.reply.code is not None or self.reply.enhanced is not None


def _best_reading(finding: Finding, writer: str) -> Reading:
    """Of the texts, the first that a rule of words understands; else the first that gives a code; else the first.

    What a temporary reply leaves open no words around it close.
    """
    readings = [_reading(reply, finding, writer) for reply in _replies(finding)]
    coded = [reading for reading in readings if reading.is_coded]
    if coded and coded[0].is_temporary:
        readings = [reading for reading in readings if reading.is_temporary]
    told = [reading for reading in readings if not reading.verdict.rule.startswith(_UNINFORMED)]
    clear = [reading for reading in told if reading.verdict.rule not in _VAGUE]
    if not clear and not readings[0].is_temporary and (means := meaning(finding.diagnostic)):
        return readings[0]._replace(verdict=_reading(Reply.parse(means), finding, writer).verdict)
    return (clear or told or coded or readings)[0]


def _replies(finding: Finding) -> Iterator[Reply]:
    for text in _texts(finding.diagnostic):
        reply = Reply.parse(text)
        is_reply = reply.code is None or reply.code >= 400 or finding.fate is Fate.DELIVERED
        yield replace(reply, code=reply.code if is_reply else None, enhanced=reply.enhanced or finding.status or None)


def _texts(diagnostic: str) -> Iterator[str]:
    """Each paragraph; before it the reply it quotes, if it quotes one, for words around a quotation mislead."""
    for text in _NO_REPLY.sub("", diagnostic).split("\n\n", MAX_TEXTS)[:MAX_TEXTS]:
        if not _CODE_FIRST.match(text) and (quoted := _QUOTATION.search(text)):
            yield quoted[1]
        yield text


def _reading(reply: Reply, finding: Finding, writer: str) -> Reading:
    """As the receiving server's word; as our own provider's when it quotes nobody and speaks of us."""
    heard = classify(reply, provider=finding.remote or finding.reporter, side="mx")
    told = classify(reply, provider=f"{finding.reporter} {writer}", side="dsn")
    is_about_us = told.reply_class in _OWN and told.scope in _HELD
    if is_about_us and _is_of_provider(reply, finding, heard, writer):
        return Reading(reply, told, "dsn")
    return Reading(reply, heard, "mx")


def _is_of_provider(reply: Reply, finding: Finding, heard: Verdict, writer: str) -> bool:
    """Whether our own provider speaks: nobody else is quoted, and it is not the recipient's server that writes; or
    Microsoft writes, and gives a status of its own."""
    if _MICROSOFT.match(reply.enhanced or "") and _MICROSOFT_SERVER.search(f"{finding.reporter} {writer}"):
        return True
    is_theirs = finding.remote or _is_of_recipient(writer, finding.address) or _QUOTED.search(finding.diagnostic)
    return not is_theirs and heard.reply_class not in _ABOUT_RECIPIENT


def _is_of_recipient(writer: str, address: str) -> bool:
    """Whether the recipient's own servers wrote the report."""
    by, to = (f".{one.rpartition('@')[2].lower()}" for one in (writer, address))
    return by.endswith(to) or to.endswith(by)


def _is_doubtful(reply: Reply, verdict: Verdict, finding: Finding) -> bool:
    """An unknown address that was refused for its sender, or once it had been accepted and the content was given; or
    with a status that speaks of a mailbox that is there, of the sender or of a policy. One of both is wrong."""
    return verdict.reply_class in DEAD_ADDRESS and (
        any(_NOT_OF_RECIPIENT.match(status) for status in (reply.enhanced or "", finding.status))
        or any(map(_OTHER_PHASE.search, finding.diagnostic.split("\n\n")[:2]))
        or _FILTERED.search(finding.diagnostic) is not None
        or (verdict.action is not Action.SUPPRESS and not reply.code and not reply.enhanced)
    )


def _severity(fate: Fate | None, verdict: Verdict, status: str) -> Severity:
    if fate is Fate.DELIVERED or fate is Fate.DELAYED:
        return Severity(fate.value)
    is_gone = verdict.reply_class is ReplyClass.RECIPIENT_DISABLED and status.startswith("5.1.")
    is_dead = verdict.reply_class is ReplyClass.RECIPIENT_UNKNOWN or is_gone
    return Severity.HARD if is_dead and verdict.permanent else Severity.SOFT
