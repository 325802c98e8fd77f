"""The closed sets of the design's words, and which state may follow which. Pure: no Django."""

from datetime import UTC, datetime
from enum import StrEnum


class ScopeKind(StrEnum):
    """What a limit or a hold can cover, in the one order in which usage is reserved."""

    MAILBOX = "mailbox"
    DOMAIN = "domain"
    ACCOUNT = "account"
    PROVIDER = "provider"
    IDENTITY = "identity"
    CAMPAIGN = "campaign"
    RECIPIENT_DOMAIN = "recipient_domain"
    RECIPIENT_PROVIDER = "recipient_provider"
    SENDER_HOST = "sender_host"
    FLEET = "fleet"


FLEET_KEY = "fleet"
UNTIL_DECIDED = datetime(2200, 1, 1, tzinfo=UTC)
"""The end of a pause that lasts until a person decides."""


class WindowKind(StrEnum):
    ROLLING = "rolling"
    CALENDAR = "calendar"


class Security(StrEnum):
    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


class AuthKind(StrEnum):
    PASSWORD = "password"
    XOAUTH2 = "xoauth2"


class CampaignState(StrEnum):
    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHED = "finished"


class EnrollmentState(StrEnum):
    ACTIVE = "active"
    FINISHED = "finished"
    STOPPED = "stopped"


class MessageState(StrEnum):
    """A message's way: queued → submitting → accepted | rejected | ambiguous, or back to queued; cancelled before."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    AMBIGUOUS = "ambiguous"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


NEXT_STATES: dict[MessageState, tuple[MessageState, ...]] = {
    MessageState.QUEUED: (MessageState.SUBMITTING, MessageState.CANCELLED, MessageState.ACCEPTED),
    MessageState.SUBMITTING: (
        MessageState.ACCEPTED,
        MessageState.REJECTED,
        MessageState.AMBIGUOUS,
        MessageState.QUEUED,
    ),
    MessageState.AMBIGUOUS: (MessageState.ACCEPTED, MessageState.REJECTED, MessageState.QUEUED),
    MessageState.ACCEPTED: (),
    MessageState.REJECTED: (),
    MessageState.CANCELLED: (),
}
"""Which state may follow which. From queued straight to accepted goes only a letter that a person called not sent, and
of which its sender's journal knows better. The SQL names the old states; a test holds it to this table."""


class Outcome(StrEnum):
    """What became of one attempt.

    accepted    2yz after the final dot
    deferred    refused for now, or lost before the final dot: not accepted, may be tried again; usage stays
    rejected    refused for good
    unreached   nothing left us: usage is given back
    ambiguous   the final dot may have left and no reply is known (RFC 1047)
    """

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    UNREACHED = "unreached"
    AMBIGUOUS = "ambiguous"


class LawfulBasis(StrEnum):
    CONSENT = "consent"
    EXISTING_CUSTOMER = "existing_customer"
    LEGITIMATE_INTEREST = "legitimate_interest"
    NONE = "none"


class SuppressionKind(StrEnum):
    ADDRESS = "address"
    DOMAIN = "domain"
    COMPANY = "company"


class ReplyStops(StrEnum):
    """Whom an answer stops letters to: the person who answered, or everybody of the same company."""

    CONTACT = "contact"
    COMPANY = "company"


class MailKind(StrEnum):
    """What came in, and what is learned from it (RFC 3464, 5965, 3834, 2369)."""

    REPLY = "reply"
    AUTO_REPLY = "auto_reply"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    OPT_OUT = "opt_out"
    OTHER = "other"


class Folder(StrEnum):
    """The folders of a mailbox that are read, by what they are for (RFC 6154), not by name."""

    INBOX = "inbox"
    JUNK = "junk"


class Family(StrEnum):
    """What kind of trouble. A hold, its trial and its incident belong to one family; each is judged on its own."""

    BOUNCES = "bounces"
    POLICY = "policy"
    COMPLAINTS = "complaints"
    SILENCE = "silence"
    AUTHENTICATION = "authentication"
    RATE_LIMIT = "rate_limit"
    UNREACHABLE = "unreachable"
    DNS = "dns"
