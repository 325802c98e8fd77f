"""Every table, under the name Django looks for."""

from mailfleet.model.campaign import Campaign, Enrollment, Step, Variant
from mailfleet.model.fleet import Account, Domain, Identity, Mailbox, Pool, Provider, Ramp, SendingLimit
from mailfleet.model.health import AlertTarget, CountedLetter, Incident, RecipientDomain
from mailfleet.model.inbox import Event, Incoming, Reading, ReadingCursor, SentCopy, Watcher
from mailfleet.model.oauth import OauthGrant, OauthToken
from mailfleet.model.people import Contact, ContactList, ImportRun, ListMember, Suppression
from mailfleet.model.queue import Attempt, Hold, Lease, MailboxReason, Message, Sender, Setting, Usage

__all__ = [
    "Account",
    "AlertTarget",
    "Attempt",
    "Campaign",
    "Contact",
    "ContactList",
    "CountedLetter",
    "Domain",
    "Enrollment",
    "Event",
    "Hold",
    "Identity",
    "ImportRun",
    "Incident",
    "Incoming",
    "Lease",
    "ListMember",
    "Mailbox",
    "MailboxReason",
    "Message",
    "OauthGrant",
    "OauthToken",
    "Pool",
    "Provider",
    "Ramp",
    "Reading",
    "ReadingCursor",
    "RecipientDomain",
    "Sender",
    "SendingLimit",
    "SentCopy",
    "Setting",
    "Step",
    "Suppression",
    "Usage",
    "Variant",
    "Watcher",
]
