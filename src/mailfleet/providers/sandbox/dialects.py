"""The words in which providers refuse, so that what reads replies meets the real ones.

Message limits of a mailbox speak as published: google at support.google.com/a/answer/3726730 (its account: 6140680),
microsoft in its Exchange Online limits, ionos at ionos.co.uk/help, id 17026, postfix as on hosts that run it. Not
every reply has a source: provider limits, most connection caps, some refusals and most of ionos are only in their
manner. Microsoft's real tenant limit comes later, as an NDR.
"""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Reply:
    """One SMTP reply: `code`, and its text, one or more lines parted by line feeds (RFC 5321 section 4.2.1)."""

    code: int
    text: str

    @cached_property
    def wire(self) -> bytes:
        *first, last = self.text.split("\n")
        lines = [f"{self.code}-{line}\r\n" for line in first] + [f"{self.code} {last}\r\n"]
        return "".join(lines).encode()


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one kind of provider says to each refusal the sandbox knows."""

    mailbox_limit: Reply
    account_limit: Reply
    provider_limit: Reply
    connections: Reply
    mailbox_connections: Reply
    bad_login: Reply
    dead: Reply
    greylisted: Reply
    deferred: Reply
    refused: Reply

    def limit(self, scope: str) -> Reply:
        """The reply to a message over the limit of `scope`: mailbox, account or provider."""
        reply: Reply = getattr(self, f"{scope}_limit")
        return reply


@dataclass(frozen=True, slots=True)
class Habits:
    """What one kind of provider's mailboxes look like over IMAP."""

    junk: str
    sent: str
    delimiter: str
    special_use: bool
    idle: bool
    condstore: bool


_GREYLISTED = Reply(450, "4.2.0 Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/")

_POSTFIX = Dialect(
    mailbox_limit=Reply(450, "4.7.1 SASL login name rejected: You are sending too many emails too fast."),
    account_limit=Reply(452, "4.5.3 Daily message limit exceeded"),
    provider_limit=Reply(421, "4.7.0 Error: too many messages from this client, try again later"),
    connections=Reply(421, "4.7.0 Too many concurrent SMTP connections from this IP address; please try again later."),
    mailbox_connections=Reply(421, "4.7.0 Too many concurrent SMTP connections; please try again later."),
    bad_login=Reply(535, "5.7.8 Error: authentication failed: UGFzc3dvcmQ6"),
    dead=Reply(550, "5.1.1 Recipient address rejected: User unknown in virtual mailbox table"),
    greylisted=_GREYLISTED,
    deferred=Reply(451, "4.3.0 Error: queue file write error"),
    refused=Reply(554, "5.7.1 Message rejected due to content restrictions"),
)

_GOOGLE = Dialect(
    mailbox_limit=Reply(
        550,
        "5.4.5 Daily user sending limit exceeded. For more information on Gmail\n"
        "5.4.5 sending limits go to https://support.google.com/a/answer/166852 - gsmtp",
    ),
    account_limit=Reply(550, "5.7.1 Daily SMTP relay limit exceeded for customer. - gsmtp"),
    provider_limit=Reply(450, "4.2.1 Peak SMTP relay limit exceeded for customer. - gsmtp"),
    connections=Reply(421, "4.4.5 Server busy, try again later. - gsmtp"),
    mailbox_connections=Reply(421, "4.7.0 Too many concurrent connections for this user, try again later. - gsmtp"),
    bad_login=Reply(
        535,
        "5.7.8 Username and Password not accepted. For more information, go to\n"
        "5.7.8 https://support.google.com/mail/?p=BadCredentials - gsmtp",
    ),
    dead=Reply(
        550,
        "5.1.1 The email account that you tried to reach does not exist. Please try\n"
        "5.1.1 double-checking the recipient's email address for typos or unnecessary spaces. - gsmtp",
    ),
    greylisted=Reply(450, "4.2.1 The user you are trying to contact is receiving mail too quickly. - gsmtp"),
    deferred=Reply(451, "4.3.0 Temporary System Problem. Try again later. - gsmtp"),
    refused=Reply(
        550,
        "5.7.1 Our system has detected that this message is likely unsolicited mail. To reduce the\n"
        "5.7.1 amount of spam sent to Gmail, this message has been blocked. - gsmtp",
    ),
)

_MICROSOFT = Dialect(
    mailbox_limit=Reply(
        554,
        "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a "
        "permanent exception with message The message can't be submitted because the sender's submission quota was "
        "exceeded.",
    ),
    account_limit=Reply(550, "5.7.233 Your message can't be sent because your tenant exceeded its daily limit."),
    provider_limit=Reply(451, "4.7.500 Server busy. Please try again later."),
    connections=Reply(
        421,
        "4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel.",
    ),
    mailbox_connections=Reply(432, "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"),
    bad_login=Reply(535, "5.7.3 Authentication unsuccessful"),
    dead=Reply(550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
    greylisted=_GREYLISTED,
    deferred=Reply(451, "4.3.2 Temporary server error. Please try again later."),
    refused=Reply(550, "5.7.1 Service unavailable; message rejected by content filter"),
)

_IONOS = Dialect(
    mailbox_limit=Reply(450, "Requested mail action not taken: mailbox unavailable\nMail send limit exceeded."),
    account_limit=Reply(450, "Requested mail action not taken: mailbox unavailable\nMail send limit exceeded."),
    provider_limit=Reply(421, "Service not available, closing transmission channel\nToo many messages, try later."),
    connections=Reply(421, "Service not available\nToo many connections."),
    mailbox_connections=Reply(421, "Service not available\nToo many connections."),
    bad_login=Reply(535, "Authentication credentials invalid"),
    dead=Reply(550, "Requested action not taken: mailbox unavailable\ninvalid recipient"),
    greylisted=Reply(450, "Requested mail action not taken: mailbox unavailable\nGreylisted, try again later."),
    deferred=Reply(451, "Requested action aborted: local error in processing"),
    refused=Reply(554, "Transaction failed\nReject due to policy restrictions."),
)

DIALECTS = {"postfix": _POSTFIX, "google": _GOOGLE, "microsoft": _MICROSOFT, "ionos": _IONOS}

# Folders as these providers name them: Gmail in English, a French tenant of Exchange, a German mailbox of IONOS.
HABITS = {
    "postfix": Habits("Junk", "Sent", ".", special_use=True, idle=True, condstore=True),
    "google": Habits("[Gmail]/Spam", "[Gmail]/Sent Mail", "/", special_use=True, idle=True, condstore=True),
    "microsoft": Habits("Courrier indésirable", "Éléments envoyés", "/", special_use=True, idle=True, condstore=False),
    "ionos": Habits("Spamverdacht", "Gesendete Objekte", "/", special_use=False, idle=False, condstore=False),
}
