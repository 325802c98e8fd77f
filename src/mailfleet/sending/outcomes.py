"""What came of an attempt, and what follows: the sender's rule, pure."""

from dataclasses import replace
from datetime import timedelta

from mailfleet.base.errors import MailfleetError, SetupError
from mailfleet.mail.families import family_of
from mailfleet.mail.replies import Action, Reply, Scope, Verdict, classify
from mailfleet.model.words import Family, MessageState, Outcome, ScopeKind
from mailfleet.outbox.rules import HoldOrder, Result, RetryPolicy
from mailfleet.providers.faults import Ambiguous, Interrupted, NotOffered, Stage, TooLarge, Unreached
from mailfleet.providers.oauth.faults import GrantFault, TokenUnavailable
from mailfleet.providers.smtp import Submission

UNREACHABLE_HOLD = 600.0  # chosen: seconds; long enough not to hammer a host, short enough to come back the same day
GRANT_HOLD = 900.0  # chosen: as long as the token server is not asked again after a no (oauth.store.FAULT_RESTS)
TOKEN_HOLD = 60.0  # chosen: seconds, where nobody said when a token will come
MAX_REPLY = 1000  # chosen: characters of a reply that are kept

# A scope `provider` named in a reply to our own client is the contract that the mailbox belongs to.
_SCOPES = {
    Scope.MAILBOX: ScopeKind.MAILBOX,
    Scope.DOMAIN: ScopeKind.DOMAIN,
    Scope.ACCOUNT: ScopeKind.ACCOUNT,
    Scope.PROVIDER: ScopeKind.ACCOUNT,
}


def withdrawn(attempt_id: int, code: str, reason: str) -> Result:
    """Reserved and never begun: nothing left us."""
    return Result(attempt_id, Outcome.UNREACHED, MessageState.QUEUED, code, reason, retry_seconds=0.0)


def lost_before_dot(attempt_id: int, detail: str, number: int, retry: RetryPolicy) -> Result:
    """Begun, and given up before the final dot: it was not accepted."""
    return _deferred(Result(attempt_id, Outcome.DEFERRED, MessageState.QUEUED, "interrupted", detail), number, retry)


def lost_after_dot(attempt_id: int, detail: str) -> Result:
    return Result(attempt_id, Outcome.AMBIGUOUS, MessageState.AMBIGUOUS, "ambiguous", detail, stage=Stage.DOT)


def unusable(error: MailfleetError) -> HoldOrder:
    """The hold of a mailbox that cannot be used as it stands here: its key, its CA file, its address."""
    return HoldOrder(ScopeKind.MAILBOX, _advice(error), UNREACHABLE_HOLD, Family.UNREACHABLE)


def broken(attempt_id: int, error: Exception, *, number: int, retry: RetryPolicy) -> Result:
    """Our own code failed before the letter began; its name only, for an error of ours may quote the letter."""
    reason = f"an error of Mailfleet itself ({type(error).__name__}), which its log describes"
    return _deferred(Result(attempt_id, Outcome.UNREACHED, MessageState.QUEUED, "broken", reason), number, retry)


def submitted(attempt_id: int, submission: Submission, *, dialect: str, number: int, retry: RetryPolicy) -> Result:
    """The result of a letter on which the server spoke its last word."""
    reply = submission.reply
    if submission.is_accepted:
        return _told(attempt_id, Outcome.ACCEPTED, MessageState.ACCEPTED, submission.stage, reply)
    verdict = classify(reply, provider=dialect, side="submission")
    hold = _hold_of(verdict, reply)
    if verdict.permanent:
        result = _told(attempt_id, Outcome.REJECTED, MessageState.REJECTED, submission.stage, reply, verdict, hold)
        return replace(result, suppress=verdict.action is Action.SUPPRESS)
    result = _told(attempt_id, Outcome.DEFERRED, MessageState.QUEUED, submission.stage, reply, verdict, hold)
    if hold is not None:
        return replace(result, retry_seconds=hold.seconds or 0.0)
    return _deferred(result, number, retry, at_least=verdict.hold_for)


def failed(attempt_id: int, error: Exception, *, dialect: str, number: int, retry: RetryPolicy) -> Result:
    """The result of a letter on which no last word was heard."""
    match error:
        case Ambiguous():
            return lost_after_dot(attempt_id, str(error))
        case Interrupted():
            return lost_before_dot(attempt_id, str(error), number, retry)
        case NotOffered() | TooLarge():
            return Result(attempt_id, Outcome.REJECTED, MessageState.REJECTED, "not_offered", str(error))
        case Unreached():
            return unreached(attempt_id, error, dialect=dialect)
        case GrantFault() | TokenUnavailable():
            return replace(withdrawn(attempt_id, "no_token", str(error)), hold=_hold_without_token(error))
        case SetupError():
            result = withdrawn(attempt_id, "unusable", str(error))
            return replace(result, hold=unusable(error))
        case _:
            raise error


def unreached(attempt_id: int, error: Unreached, *, dialect: str) -> Result:
    """The mailbox's server could not be used: the mailbox rests, the letter waits or moves on."""
    if error.reply is None:
        result = withdrawn(attempt_id, "unreachable", error.detail)
        return replace(result, stage=error.stage, hold=unusable(error))
    verdict = classify(error.reply, provider=dialect, side="submission")
    hold = _hold_of(verdict, error.reply) or unusable(error)
    if is_refused_login(error):
        hold = HoldOrder(ScopeKind.MAILBOX, _advice(error), family=Family.AUTHENTICATION)  # never loop logins
    result = _told(attempt_id, Outcome.UNREACHED, MessageState.QUEUED, error.stage, error.reply, verdict, hold)
    return replace(result, retry_seconds=0.0)


def is_refused_login(error: Unreached) -> bool:
    return error.stage is Stage.AUTH and error.reply is not None and (error.reply.code or 0) >= 500


def _hold_without_token(error: GrantFault | TokenUnavailable) -> HoldOrder:
    """A no stops whom it concerns, mailbox or account; a server that cannot serve us now is asked again soon."""
    if isinstance(error, GrantFault):
        kind = ScopeKind.ACCOUNT if error.mailbox_id is None else ScopeKind.MAILBOX
        return HoldOrder(kind, _advice(error), GRANT_HOLD, Family.AUTHENTICATION)
    seconds = TOKEN_HOLD if error.rests_for is None else max(error.rests_for.total_seconds(), 1.0)
    return HoldOrder(ScopeKind.MAILBOX, _advice(error), seconds, Family.UNREACHABLE)


def _deferred(result: Result, number: int, retry: RetryPolicy, *, at_least: timedelta | None = None) -> Result:
    if retry.gives_up_after(number):
        reason = f"given up after {number} tries: {result.reason}"
        return replace(result, state=MessageState.REJECTED, reason_code="gave_up", reason=reason)
    wait = max(retry.wait(number), at_least or timedelta())
    return replace(result, retry_seconds=min(wait, retry.longest).total_seconds())


def _hold_of(verdict: Verdict, reply: Reply) -> HoldOrder | None:
    kind = _SCOPES.get(verdict.scope)
    if verdict.action not in (Action.HOLD, Action.STOP) or kind is None:
        return None
    seconds = verdict.hold_for.total_seconds() if verdict.hold_for and verdict.action is Action.HOLD else None
    return HoldOrder(kind, _text(reply), seconds, _family(verdict))


def _family(verdict: Verdict) -> Family | None:
    return family_of(verdict.reply_class, verdict.scope, is_temporary=not verdict.permanent)


def _told(
    attempt_id: int,
    outcome: Outcome,
    state: MessageState,
    stage: Stage,
    reply: Reply,
    verdict: Verdict | None = None,
    hold: HoldOrder | None = None,
) -> Result:
    text = _text(reply)
    return Result(
        attempt_id,
        outcome,
        state,
        reason_code=str(verdict.reply_class) if verdict else "",
        reason=text if verdict else "",
        stage=stage,
        code=reply.code,
        enhanced=reply.enhanced or "",
        reply=text,
        reply_class=str(verdict.reply_class) if verdict else "",
        reply_scope=str(verdict.scope) if verdict else "",
        rule=verdict.rule if verdict else "",
        hold=hold,
    )


def _advice(error: MailfleetError) -> str:
    return f"{str(error).rstrip('.')}. {error.hint}".strip()


def _text(reply: Reply) -> str:
    return f"{reply.code or ''} {' '.join(reply.lines)}".strip()[:MAX_REPLY]
