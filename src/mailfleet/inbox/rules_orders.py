"""What a mail means for us: which facts are learned, whom it stops, what a person is asked. Pure.

What does harm needs proof: a ban for good, and a hold, need a letter of ours that only who had it in hand can name.
A no from the contact's address under our subject, both of which can be guessed, ends its contact's letters; a person is
asked before the ban. What merely may be a no, an answer or a dead address stops them until a person has looked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from mailfleet.base.errors import InputError
from mailfleet.inbox.rules_matching import Match, Way
from mailfleet.mail.addresses import parse_address
from mailfleet.mail.auto_replies import AutoReplyKind
from mailfleet.mail.bounces import Recipient, Report, Severity
from mailfleet.mail.families import family_of
from mailfleet.mail.kinds import Classified
from mailfleet.mail.opt_out import TokenFacts
from mailfleet.mail.replies import Action, Scope, Verdict
from mailfleet.model.words import UNTIL_DECIDED, Family, Folder, MailKind, ScopeKind

AWAY = timedelta(days=7)  # chosen: an absence without a date; long enough for most, short enough not to lose anybody
WIDE_HOLD = timedelta(days=1)  # chosen: a mail can be forged, so one mail stops no domain and no account for longer

_MACHINES_REMARKS = ("auth-failure", "dmarc")  # RFC 6591: nobody complained


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it was read: what it is, from whom (normalised), whether it was written to many, where it lay.

    `token`: of an opt-out, as it was signed.
    """

    what: Classified
    sender: str
    is_bulk: bool
    folder: Folder
    received_at: datetime
    token: TokenFacts | None = None


@dataclass(frozen=True, slots=True)
class Ours:
    """What the database knows of a mail: whether one of our mailboxes wrote it, and whether it bears as its own the
    Message-ID of a letter of ours."""

    is_from_us: bool = False
    bears_our_id: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """What is learned of a letter: a row of `event`."""

    kind: MailKind
    is_hard: bool = False
    reply_class: str = ""
    reply_scope: str = ""
    enhanced: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class HoldWanted:
    """A hold on the scope of that kind which the mailbox lies in; until lifted without `length`."""

    scope_kind: ScopeKind
    reason: str
    rule: str
    family: Family | None
    length: timedelta | None


@dataclass(frozen=True, slots=True)
class Order:
    """What is done about a mail. `kind` is what it is after all; `found` the letter it is about.

    ban        the source under which the contact's address is suppressed; empty: it is not
    digest     whom it bans, where the letter is gone that a token was made for
    ends       the reason code with which all that is written to the contact ends
    pause      until when nothing is written to the contact
    question   what a person is asked meanwhile
    settled    why no person need look at it; empty: a mail without a letter waits in the list
    """

    kind: MailKind
    found: Match | None = None
    fact: Fact | None = None
    ban: str = ""
    digest: bytes = b""
    ends: str = ""
    pause: datetime | None = None
    hold: HoldWanted | None = None
    question: str = ""
    reason: str = ""
    settled: str = ""

    @property
    def stops(self) -> bool:
        return bool(self.ban or self.ends or self.pause or self.hold)


def decide(mail: Mail, found: Match | None, ours: Ours) -> Order:
    """What to do. A mail of our own, or under the Message-ID of a letter of ours, means nothing."""
    kind = mail.what.kind
    if ours.bears_our_id or (ours.is_from_us and kind not in (MailKind.BOUNCE, MailKind.COMPLAINT)):
        return Order(MailKind.OTHER, settled="own letter" if ours.is_from_us else "copy of our letter")
    order = _DECIDE[kind](mail, found)
    is_spam = mail.folder is Folder.JUNK and kind in (MailKind.REPLY, MailKind.AUTO_REPLY)
    return replace(order, settled="junk") if is_spam and order.found is None and not order.settled else order


def _reply(mail: Mail, found: Match | None) -> Order:
    if found is None:
        return Order(MailKind.REPLY)
    if mail.what.refusal:
        return _ask(mail, found, "Is it a no? Words of refusal stand in the answer, and may mean something else.")
    if found.way is Way.ADDRESS:
        return _ask(mail, found, "Is it an answer? The contact wrote, outside the thread of our letter.")
    return Order(MailKind.REPLY, found, Fact(MailKind.REPLY), ends="replied", reason=f"answered on {_on(mail)}")


def _opt_out(mail: Mail, found: Match | None) -> Order:
    if mail.token and (found is None or found.way is not Way.TOKEN):  # a no outlives its letter
        reason, digest = f"said no by mail on {_on(mail)}", mail.token.address_digest
        gone = "its letter is gone"
        return Order(MailKind.OPT_OUT, ban="mailto", digest=digest, ends="suppressed", reason=reason, settled=gone)
    if found is None:
        return Order(MailKind.OPT_OUT)
    reason = f"said no by mail on {_on(mail)}"
    if found.way is Way.TOKEN or (found.is_proven and mail.sender == found.letter.address):
        source = "reply" if mail.what.refusal else "mailto"
        return Order(MailKind.OPT_OUT, found, Fact(MailKind.OPT_OUT), ban=source, ends="suppressed", reason=reason)
    who = "somebody else's address" if found.is_proven else "the contact's address, with no letter named"
    asked = _ask(mail, found, f"Is it the contact's no? It came from {who}.")
    return replace(asked, pause=None, ends="opt_out", reason=reason) if found.way is Way.SUBJECT else asked


def _auto_reply(mail: Mail, found: Match | None) -> Order:
    said = mail.what.auto_reply
    if found is None or said is None:
        return Order(MailKind.AUTO_REPLY)
    order = Order(MailKind.AUTO_REPLY, found, Fact(MailKind.AUTO_REPLY))
    if said.kind is AutoReplyKind.ACKNOWLEDGEMENT:
        return order
    if said.kind is not AutoReplyKind.LEFT_THE_COMPANY:
        until = _back_at(said.until, found.letter.zone) if said.until else mail.received_at + AWAY
        return replace(order, pause=until, reason=f"away until {until:%Y-%m-%d}, says an automatic reply")
    if found.way is Way.ADDRESS:
        return _ask(mail, found, "Has the contact left? A notice says so, and names no letter of ours.")
    return replace(order, ends="left", reason=f"no longer there, says an automatic reply of {_on(mail)}")


def _bounce(mail: Mail, found: Match | None) -> Order:
    report = mail.what.report
    if found is None or report is None:
        return Order(MailKind.BOUNCE)
    named = next((one for one in report.recipients if address_key(one.address) == found.letter.address), None)
    if (report.about_us and not report.recipients) or (named and named.is_ours):
        return _bounce_of_ours(found, report, named)
    if named is None:
        is_dead = found.is_proven and any(one.is_hard for one in report.recipients)
        other = "Is the contact's address dead? The report names another one, to which our letter may have gone on."
        return _ask(mail, found, other) if is_dead else Order(MailKind.BOUNCE, found)
    return _bounce_of(mail, found, named)


def _bounce_of(mail: Mail, found: Match, named: Recipient) -> Order:
    """A report of the very address that our letter went to."""
    if named.severity is Severity.DELIVERED:
        return Order(MailKind.BOUNCE, found)
    order = Order(MailKind.BOUNCE, found, _bounce_fact(named, is_hard=named.is_hard and found.is_proven))
    if not named.is_hard:
        return order if found.way is not Way.ADDRESS else replace(order, fact=None)
    if not found.is_proven:
        question = "Is the address dead? The report does not show that it is about a letter of ours."
        return replace(_ask(mail, found, question), fact=order.fact if found.way is Way.SUBJECT else None)
    reason = f"hard bounce {named.status or named.code or ''} on {_on(mail)}".replace("  ", " ")
    is_certain = named.verdict.action is Action.SUPPRESS
    return replace(
        order, ban="bounce" if is_certain else "", ends="suppressed" if is_certain else "bounced", reason=reason
    )


def _bounce_of_ours(found: Match, report: Report, named: Recipient | None) -> Order:
    """Our provider speaks of our own mailbox, domain or account: it is held, and the address is none the worse."""
    verdict = named.verdict if named else report.about_us
    if not found.is_proven or verdict is None:
        return Order(MailKind.BOUNCE)
    said = (named.diagnostic or named.status) if named else ""
    fact = _bounce_fact(named, is_hard=False) if named else _verdict_fact(verdict)
    return Order(MailKind.BOUNCE, found, fact, hold=_hold(verdict, said))


def _complaint(mail: Mail, found: Match | None) -> Order:
    complaint = mail.what.complaint
    if complaint and complaint.feedback_type in _MACHINES_REMARKS:
        return Order(MailKind.OTHER, found, settled="report of authentication")
    if complaint is None or found is None or found.way is not Way.RETURNED:
        return Order(MailKind.COMPLAINT)
    kind = MailKind.COMPLAINT if complaint.is_abuse else MailKind.OPT_OUT
    reason = f"called our letter unwanted on {_on(mail)}"
    fact = Fact(kind, text=complaint.feedback_type[:100])
    return Order(MailKind.COMPLAINT, found, fact, ban="complaint", ends="suppressed", reason=reason)


def _other(mail: Mail, found: Match | None) -> Order:
    """Mail that is nothing by itself; a person's is an answer all the same, when it comes from a contact."""
    if mail.what.report:
        return Order(MailKind.OTHER, found, settled="report of delivery")
    if found is None or mail.is_bulk or mail.sender != found.letter.address:
        return Order(MailKind.OTHER, settled="not about our letters")
    return replace(_reply(mail, found), kind=MailKind.OTHER if found.way is Way.ADDRESS else MailKind.REPLY)


_DECIDE: Mapping[MailKind, Callable[[Mail, Match | None], Order]] = {
    MailKind.REPLY: _reply,
    MailKind.OPT_OUT: _opt_out,
    MailKind.AUTO_REPLY: _auto_reply,
    MailKind.BOUNCE: _bounce,
    MailKind.COMPLAINT: _complaint,
    MailKind.OTHER: _other,
}


def address_key(address: str) -> str:
    """The address as contacts are keyed; of what is none, its lower case."""
    try:
        return parse_address(address).normalised
    except InputError:
        return address.strip().lower()


def _ask(mail: Mail, found: Match, question: str) -> Order:
    return Order(
        mail.what.kind, found, pause=UNTIL_DECIDED, question=question, reason=f"waits for a person: {question}"
    )


def _on(mail: Mail) -> str:
    return f"{mail.received_at:%Y-%m-%d}"


def _back_at(last_day: date, zone: str) -> datetime:
    """The midnight that ends the last day of an absence, where the contact is; UTC where that is not known."""
    try:
        place = ZoneInfo(zone) if zone else UTC
    except (KeyError, ValueError, OSError):
        place = UTC
    return datetime.combine(last_day + timedelta(days=1), time(), place).astimezone(UTC)


def _bounce_fact(one: Recipient, *, is_hard: bool) -> Fact:
    return replace(_verdict_fact(one.verdict), is_hard=is_hard, enhanced=one.status, text=one.diagnostic)


def _verdict_fact(verdict: Verdict) -> Fact:
    return Fact(MailKind.BOUNCE, reply_class=verdict.reply_class, reply_scope=verdict.scope)


def _hold(verdict: Verdict, said: str) -> HoldWanted:
    length = verdict.hold_for if verdict.action is Action.HOLD else None
    if verdict.scope is not Scope.MAILBOX:
        length = min(length or WIDE_HOLD, WIDE_HOLD)
    return HoldWanted(
        ScopeKind(verdict.scope),
        f"our provider says: {said or verdict.reply_class}"[:500],
        verdict.rule,
        family_of(verdict.reply_class, verdict.scope, is_temporary=not verdict.permanent),
        length,
    )
