"""Whether a mail without a part for machines is a report at all: marks are added up, for none is certain alone.

A person who answers or forwards a report writes neither as a mail system nor under its subject; a mail system's
vacation notice does not speak of failure.
"""

import re
from collections.abc import Iterable

from mailfleet.mail.bounces.notice import Notice
from mailfleet.mail.bounces.notice_words import is_daemon, says
from mailfleet.mail.incoming import Incoming

ENOUGH = 4  # chosen: a mail system that speaks of failure and names somebody; or its subject and the returned letter
_ANSWER = re.compile(r"\s*(?:re|aw|antw|sv|fw|fwd|wg|tr|rv|ynt|odp|отв|пересл)\s*(?:\[\d+\])?\s*[:：]", re.IGNORECASE)


def is_report(mail: Incoming, notice: Notice, named: Iterable[str]) -> bool:
    """Whether the marks suffice: a mail system's own, and words of failure, and enough of both together.

    `named` is whom the words name.
    """
    is_system = is_daemon(mail.get("From"), mail.sender)
    is_answer = _ANSWER.match(mail.subject) is not None
    if is_answer and not is_system:
        return False
    words = 2 * (not is_answer and says("subject", mail.subject)) + says("opening", notice.text)
    system = 2 * is_system + _system_marks(mail, notice)
    return bool(words and system) and words + system + _names(mail, notice, named) >= ENOUGH


def _system_marks(mail: Incoming, notice: Notice) -> int:
    """What a mail system leaves in the fields; the returned letter too, for people seldom attach what they got."""
    return (
        4 * bool(mail.get("X-Failed-Recipients"))
        + 3 * (mail.report_type == "delivery-status")
        + has_null_path(mail)
        + bool(mail.returned or notice.returned)
    )


def _names(mail: Incoming, notice: Notice, named: Iterable[str]) -> int:
    """1 when the words name somebody, 2 when the returned letter is addressed to whom they name."""
    names = {one.lower() for one in named}
    letters = [*mail.returned, *([notice.returned] if notice.returned else [])]
    return bool(names) + any(one.lower() in names for letter in letters for one in letter.recipients)


def has_null_path(mail: Incoming) -> bool:
    """Whether it came from the null reverse-path, as reports must (RFC 5321 §4.5.5); vacation notices do too."""
    path = mail.get("Return-Path").strip("<> ").lower()
    return mail.headers.get("Return-Path") is not None and (not path or path.startswith("mailer-daemon"))
