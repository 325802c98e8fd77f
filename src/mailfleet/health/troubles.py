"""What an attempt, or a reading, says of the server that was tried. Pure."""

from mailfleet.mail.families import family_of
from mailfleet.model.words import Family, Outcome
from mailfleet.providers.faults import Stage
from mailfleet.providers.imap_faults import FaultKind

_OURS = (Family.AUTHENTICATION, Family.RATE_LIMIT, Family.UNREACHABLE)
READING_FAILURES = 2  # chosen: one connection that breaks is the network's weather

_READING = {
    FaultKind.LOGIN: Family.AUTHENTICATION,
    **dict.fromkeys(
        (
            *(FaultKind.UNREACHED, FaultKind.UNTRUSTED, FaultKind.BUSY),
            *(FaultKind.LOST, FaultKind.REFUSED, FaultKind.PROTOCOL),
        ),
        Family.UNREACHABLE,
    ),
}


def trouble_of(outcome: Outcome, stage: str, code: int | None, reply_class: str, reply_scope: str) -> Family | None:
    """None: the server took the letter or judged it. For attempts that a server saw, or where it was not there."""
    if outcome is Outcome.ACCEPTED:
        return None
    is_temporary = code is not None and code < 500
    family = family_of(reply_class, reply_scope, is_temporary=is_temporary) if reply_class else None
    if outcome is Outcome.UNREACHED:
        if stage == Stage.AUTH and code is not None and not is_temporary:
            return Family.AUTHENTICATION
        return family if family in _OURS else Family.UNREACHABLE
    return family if family in _OURS else None


def trouble_of_reading(fault_kind: str, failures: int) -> Family | None:
    """None for a fault that says nothing of the server, or that may be over with the next try."""
    family = _READING.get(FaultKind(fault_kind)) if fault_kind in set(FaultKind) else None
    return None if family is Family.UNREACHABLE and failures < READING_FAILURES else family
