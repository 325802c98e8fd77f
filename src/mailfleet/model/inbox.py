"""What the watchers read: which mailbox is read by whom and how far, what came in, and what was learned from it."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mailfleet.model.campaign import Campaign
from mailfleet.model.fields import one_of, word
from mailfleet.model.fleet import Mailbox
from mailfleet.model.people import Contact
from mailfleet.model.queue import Message
from mailfleet.model.words import Folder, MailKind


class Watcher(models.Model):
    """One run of a watcher process."""

    host = models.TextField()
    pid = models.IntegerField()
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    stopped_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "watcher"


class Reading(models.Model):
    """How a mailbox is read: who has the lease on it, when it is due, how it went.

    A fault stands from `failing_since` until a good read. After a refused login nobody tries again while the mailbox
    has the secret that was refused.
    """

    mailbox = models.OneToOneField(Mailbox, models.CASCADE, primary_key=True)
    watcher = models.ForeignKey(Watcher, models.PROTECT, null=True, db_index=False)
    fence = models.BigIntegerField(db_default=0)
    expires_at = models.DateTimeField(null=True)
    next_at = models.DateTimeField(db_default=Now())
    read_at = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True)
    failures = models.IntegerField(db_default=0)
    fault_kind = models.TextField(db_default="")
    fault_text = models.TextField(db_default="")
    refused_secret = models.BinaryField(null=True)

    class Meta:
        db_table = "reading"
        indexes = [
            models.Index(fields=["next_at"], name="reading_due"),
            models.Index(fields=["watcher"], condition=Q(watcher__isnull=False), name="reading_of_watcher"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(watcher__isnull=True, expires_at__isnull=True)
                | Q(watcher__isnull=False, expires_at__isnull=False),
                name="reading_held_until",
            ),
        ]


class ReadingCursor(models.Model):
    """How far a folder was read: everything up to `uid` under `uid_validity` (RFC 9051 section 2.3.1.1)."""

    pk = models.CompositePrimaryKey("mailbox_id", "folder")
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, db_index=False)
    folder = word(Folder)
    name = models.TextField()
    uid_validity = models.BigIntegerField()
    uid = models.BigIntegerField()

    class Meta:
        db_table = "reading_cursor"
        constraints = [one_of("folder", Folder, table="reading_cursor")]


class Incoming(models.Model):
    """A mail that came in, once for each mailbox: `digest` is of its head, and outlives a change of UIDVALIDITY.

    `matched_by` says how its letter was found. Without a letter it waits in the list of the unmatched, from `read_at`
    on, until a person decides. `question` is what a person is asked about it.
    """

    mailbox = models.ForeignKey(Mailbox, models.CASCADE, db_index=False)
    folder = word(Folder)
    uid_validity = models.BigIntegerField()
    uid = models.BigIntegerField()
    digest = models.BinaryField()
    header_id = models.TextField(db_default="")
    sender_address = models.TextField(db_default="")
    sender_name = models.TextField(db_default="")
    subject = models.TextField(db_default="")
    received_at = models.DateTimeField()
    read_at = models.DateTimeField(db_default=Now())
    kind = word(MailKind)
    message = models.ForeignKey(Message, models.SET_NULL, null=True)
    contact = models.ForeignKey(Contact, models.SET_NULL, null=True)
    matched_by = models.TextField(db_default="")
    text = models.TextField(db_default="")
    details = models.JSONField(db_default={})
    question = models.TextField(db_default="")
    decision = models.TextField(db_default="")
    decided_at = models.DateTimeField(null=True)
    decided_by = models.TextField(db_default="")

    class Meta:
        db_table = "incoming"
        indexes = [
            models.Index(
                fields=["read_at"],
                condition=Q(decided_at__isnull=True, message__isnull=True),
                name="incoming_unmatched",
            ),
            models.Index(
                fields=["read_at"], condition=Q(decided_at__isnull=True) & ~Q(question=""), name="incoming_asked"
            ),
            models.Index(fields=["-id"], condition=Q(kind="reply"), name="incoming_replies"),
        ]
        constraints = [
            one_of("kind", MailKind, table="incoming"),
            one_of("folder", Folder, table="incoming"),
            models.UniqueConstraint(fields=["mailbox", "digest"], name="incoming_once"),
        ]


class Event(models.Model):
    """What was learned about a letter after it was accepted; the letter itself is never rewritten.

    Without `incoming`: an opt-out by the page. `is_hard`: a bounce that says the address is dead.
    """

    kind = word(MailKind)
    at = models.DateTimeField(db_default=Now())
    message = models.ForeignKey(Message, models.CASCADE, db_index=False)
    contact = models.ForeignKey(Contact, models.CASCADE)
    mailbox = models.ForeignKey(Mailbox, models.CASCADE)
    campaign = models.ForeignKey(Campaign, models.CASCADE)
    incoming = models.ForeignKey(Incoming, models.CASCADE, null=True)
    is_hard = models.BooleanField(db_default=False)
    reply_class = models.TextField(db_default="")
    reply_scope = models.TextField(db_default="")
    enhanced = models.TextField(db_default="")
    text = models.TextField(db_default="")

    class Meta:
        db_table = "event"
        indexes = [models.Index(fields=["at"], name="event_at")]
        constraints = [
            one_of("kind", MailKind, table="event"),
            models.UniqueConstraint(fields=["message", "kind", "incoming"], name="event_once", nulls_distinct=False),
        ]


class SentCopy(models.Model):
    """A letter as it left, until its copy lies in the Sent folder of a mailbox whose provider keeps none."""

    message = models.OneToOneField(Message, models.CASCADE, primary_key=True)
    mailbox = models.ForeignKey(Mailbox, models.CASCADE)
    content = models.BinaryField()
    sent_at = models.DateTimeField(db_default=Now())
    tries = models.IntegerField(db_default=0)

    class Meta:
        db_table = "sent_copy"
