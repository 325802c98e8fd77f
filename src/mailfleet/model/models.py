"""Every table, under the name Django looks for."""

from mailfleet.model.campaign import Campaign, Enrollment, Step, Variant
from mailfleet.model.fleet import Account, Domain, Identity, Mailbox, Pool, Provider, Ramp, SendingLimit
from mailfleet.model.people import Contact, ContactList, ImportRun, ListMember, Suppression
from mailfleet.model.queue import Attempt, Hold, Lease, MailboxReason, Message, Sender, Setting, Usage

__all__ = [
    "Account",
    "Attempt",
    "Campaign",
    "Contact",
    "ContactList",
    "Domain",
    "Enrollment",
    "Hold",
    "Identity",
    "ImportRun",
    "Lease",
    "ListMember",
    "Mailbox",
    "MailboxReason",
    "Message",
    "Pool",
    "Provider",
    "Ramp",
    "Sender",
    "SendingLimit",
    "Setting",
    "Step",
    "Suppression",
    "Usage",
    "Variant",
]
