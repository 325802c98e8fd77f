"""What a fault of reading is called, and when letters from the mailbox must stop for it. Pure.

We must not write from a mailbox whose answers we cannot read: a no by mail would not be heard.
"""

from dataclasses import dataclass
from datetime import timedelta

from mailfleet.base.errors import MailfleetError
from mailfleet.model.words import Family
from mailfleet.providers.imap_faults import FaultKind, ImapFault
from mailfleet.providers.oauth.faults import GrantFault, TokenUnavailable

UNREAD_FOR = timedelta(minutes=60)  # chosen: a provider's short outage passes in less, a no is seldom written sooner
LASTING = 3  # chosen: failures in a row, some minutes; one stumble after an outage of our own is none that lasts

LOGIN = str(FaultKind.LOGIN)
GRANT, TOKEN, SETUP, BROKEN = "grant", "token", "setup", "broken"  # beside the words of FaultKind
_REFUSALS = (LOGIN, GRANT)
_TRY_AGAIN = (
    "A new secret is tried by itself; when it is mended elsewhere, lift this hold, and the login is tried anew."
)


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind`: a word of FaultKind, or `grant` (no access token until a person mends the account), `token` (none now),
    `setup` (its CA file or key), `broken` (an error of ours). `text` is for a person."""

    kind: str
    text: str

    @property
    def is_refusal(self) -> bool:
        """A login that must not be tried again as it is."""
        return self.kind == LOGIN

    @property
    def hold_reason(self) -> str:
        return f"Its answers cannot be read. {self.text}{f' {_TRY_AGAIN}' if self.is_refusal else ''}"


def fault_of(error: Exception) -> Fault:
    """A foreign error's text may quote a letter, so of what is not ours only the name is said."""
    match error:
        case ImapFault():
            kind = str(error.kind)
        case GrantFault():
            kind = GRANT
        case TokenUnavailable():
            kind = TOKEN
        case MailfleetError():
            kind = SETUP
        case _:
            return Fault(BROKEN, f"An error of Mailfleet itself ({type(error).__name__}), which its log describes.")
    return Fault(kind, f"{str(error).rstrip('.')}. {error.hint}".strip())


def family_to_hold(kind: str, failures: int, unread_for: timedelta) -> Family | None:
    """The family of the hold that a fault asks for: at once after a refused login, else when it lasts."""
    if kind in _REFUSALS:
        return Family.AUTHENTICATION
    return Family.UNREACHABLE if failures >= LASTING and unread_for > UNREAD_FOR else None
