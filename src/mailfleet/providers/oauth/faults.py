"""Why there is no access token now.

ProviderError
├── GrantFault          the token server said no: nothing helps until a person mends what `hint` names
└── TokenUnavailable    it could not be asked, or not now: passes by itself, is asked again after a rest
"""

from datetime import datetime, timedelta
from enum import StrEnum

from mailfleet.base.errors import ProviderError


class GrantFaultKind(StrEnum):
    """What a person must mend. One kind on one account is one incident."""

    NO_GRANT = "no_grant"
    NO_CONSENT = "no_consent"
    CONSENT_OVER = "consent_over"
    CONSENT_MISSING = "consent_missing"
    SECRET_REFUSED = "secret_refused"
    SECRET_EXPIRED = "secret_expired"
    KEY_REFUSED = "key_refused"
    CLIENT_UNKNOWN = "client_unknown"
    DELEGATION_MISSING = "delegation_missing"
    MAILBOX_UNKNOWN = "mailbox_unknown"
    POLICY = "policy"
    CLOCK = "clock"
    REQUEST_REFUSED = "request_refused"


class GrantFault(ProviderError):
    """`mailbox_id` is None when no mailbox of the account gets a token, else the only one that does not."""

    def __init__(
        self, kind: GrantFaultKind, text: str, *, hint: str, account_id: int | None, mailbox_id: int | None = None
    ) -> None:
        super().__init__(text, hint=hint)
        self.kind = kind
        self.account_id = account_id
        self.mailbox_id = mailbox_id


class TokenUnavailable(ProviderError):
    """`again_at`, by the database's clock, in `rests_for` from now, is when the server is asked next; where known."""

    def __init__(self, text: str, *, again_at: datetime | None = None, now: datetime | None = None) -> None:
        super().__init__(text, hint="This is said to pass by itself; it is tried again.")
        self.again_at = again_at
        self.rests_for: timedelta | None = again_at - now if again_at and now else None
