"""The queue: messages with their attempts, leases of mailboxes, usage of limits, holds."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Least, Now

from mailfleet.model.campaign import Campaign, Enrollment, Step, Variant
from mailfleet.model.fields import one_of, word
from mailfleet.model.fleet import Mailbox, SendingLimit
from mailfleet.model.people import Contact
from mailfleet.model.words import Family, MessageState, Outcome, ScopeKind


class Message(models.Model):
    """One letter to one contact for one step. At most one acceptance, ever.

    `header_id` is its Message-ID, the same on every attempt. `due_at` is when it is to leave; a queued message without
    one was handed back, with a reason, and waits for the planner.
    """

    enrollment = models.ForeignKey(Enrollment, models.CASCADE, db_index=False)
    step = models.ForeignKey(Step, models.PROTECT, db_index=False)
    campaign = models.ForeignKey(Campaign, models.PROTECT, db_index=False)
    contact = models.ForeignKey(Contact, models.CASCADE)
    mailbox = models.ForeignKey(Mailbox, models.PROTECT, db_index=False)
    variant = models.ForeignKey(Variant, models.PROTECT, db_index=False)
    header_id = models.TextField()
    subject = models.TextField(db_default="")
    state = word(MessageState, db_default=MessageState.QUEUED.value)
    due_at = models.DateTimeField(null=True)
    attempts = models.IntegerField(db_default=0)
    reason_code = models.TextField(db_default="")
    reason = models.TextField(db_default="")
    created_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "message"
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="queued"), name="message_due"),
            models.Index(fields=["mailbox", "due_at"], condition=Q(state="queued"), name="message_of_mailbox_due"),
            models.Index(fields=["state"], condition=Q(state__in=["submitting", "ambiguous"]), name="message_in_hand"),
            models.Index(fields=["campaign", "state"], name="message_of_campaign"),
            models.Index(fields=["mailbox", "-id"], name="message_of_mailbox"),
        ]
        constraints = [
            one_of("state", MessageState, table="message"),
            models.UniqueConstraint(fields=["enrollment", "step"], name="message_never_twice"),
            models.UniqueConstraint(fields=["header_id"], name="message_header_id_unique"),
            models.CheckConstraint(
                condition=Q(state__in=["accepted", "rejected", "cancelled"], settled_at__isnull=False)
                | Q(state__in=["queued", "submitting", "ambiguous"], settled_at__isnull=True),
                name="message_settled_when_final",
            ),
        ]


class Sender(models.Model):
    """One run of a sender process. `journal` names the local store it writes, which outlives it."""

    host = models.TextField()
    pid = models.IntegerField()
    journal = models.UUIDField()
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    stopped_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "sender"


class Attempt(models.Model):
    """One try at submitting a message, written before its first byte.

    `limit_ids` and `limit_keys` are the usage it reserved, in the bucket of `reserved_at`. `outcome` is null while it
    runs; an ambiguous one may still be settled by a fact.
    """

    message = models.ForeignKey(Message, models.CASCADE, db_index=False)
    number = models.IntegerField()
    mailbox = models.ForeignKey(Mailbox, models.PROTECT, db_index=False)
    sender = models.ForeignKey(Sender, models.PROTECT, db_index=False)
    fence = models.BigIntegerField()
    reserved_at = models.DateTimeField(db_default=Now())
    limit_ids = ArrayField(models.BigIntegerField())
    limit_keys = ArrayField(models.TextField())
    outcome = word(Outcome, null=True)
    settled_at = models.DateTimeField(null=True)
    began_at = models.DateTimeField(null=True)
    stage = models.TextField(db_default="")
    code = models.IntegerField(null=True)
    enhanced = models.TextField(db_default="")
    reply = models.TextField(db_default="")
    reply_class = models.TextField(db_default="")
    reply_scope = models.TextField(db_default="")
    rule = models.TextField(db_default="")

    class Meta:
        db_table = "attempt"
        indexes = [
            models.Index(fields=["sender"], condition=Q(outcome__isnull=True), name="attempt_running"),
            models.Index(fields=["mailbox", "-id"], name="attempt_of_mailbox"),
            models.Index(fields=["settled_at"], condition=Q(outcome="ambiguous"), name="attempt_ambiguous"),
            models.Index(fields=["reserved_at"], name="attempt_reserved"),
        ]
        constraints = [
            one_of("outcome", Outcome, table="attempt"),
            models.UniqueConstraint(fields=["message", "number"], name="attempt_number_unique"),
            models.UniqueConstraint(
                fields=["message"],
                condition=Q(outcome__isnull=True) | Q(outcome__in=["accepted", "ambiguous"]),
                name="attempt_never_twice",
            ),
            models.CheckConstraint(
                condition=Q(outcome__isnull=True, settled_at__isnull=True)
                | Q(outcome__isnull=False, settled_at__isnull=False),
                name="attempt_settled_when_known",
            ),
        ]


class Lease(models.Model):
    """One sender's right to one mailbox until `expires_at`; `fence` grows with each lease and never goes back.

    `next_at` is the earliest moment the mailbox's next submission may begin.
    """

    mailbox = models.OneToOneField(Mailbox, models.CASCADE, primary_key=True)
    sender = models.ForeignKey(Sender, models.PROTECT, null=True, db_index=False)
    fence = models.BigIntegerField(db_default=0)
    expires_at = models.DateTimeField(null=True)
    next_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "lease"
        indexes = [models.Index(fields=["sender"], condition=Q(sender__isnull=False), name="lease_of_sender")]
        constraints = [
            models.CheckConstraint(
                condition=Q(sender__isnull=True, expires_at__isnull=True)
                | Q(sender__isnull=False, expires_at__isnull=False),
                name="lease_held_until",
            ),
        ]


class Usage(models.Model):
    """What is reserved against a limit in one scope: `counts[0]` in bucket `head`, then backwards."""

    pk = models.CompositePrimaryKey("limit_id", "scope_key")
    limit = models.ForeignKey(SendingLimit, models.CASCADE, db_index=False)
    scope_key = models.TextField()
    head = models.BigIntegerField(db_default=0)
    counts = ArrayField(models.IntegerField(), db_default=[0])
    used = models.IntegerField(db_default=0)
    maximum = models.IntegerField()

    class Meta:
        db_table = "usage"
        constraints = [
            models.CheckConstraint(condition=Q(used__gte=0) & Q(used__lte=models.F("maximum")), name="usage_never_over")
        ]


class Hold(models.Model):
    """Stops a scope from `since` until `until` (or until lifted): reason, evidence, and who or what set it.

    `family` is null for a person's. A hold of a family is followed by a trial, which lives here: `strikes` holds came
    before it without a month of peace, and the scope writes on rung `trial_rung` since `trial_rung_at`, until
    `trial_over_at`. `cause_*`: the scope whose incident it belongs to, if that is another. `absorbed_into`: the wider
    hold that replaced it.
    """

    scope_kind = word(ScopeKind)
    scope_key = models.TextField()
    reason = models.TextField()
    evidence = models.JSONField(db_default={})
    set_by = models.TextField()
    since = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(null=True)
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.TextField(db_default="")
    family = word(Family, null=True)
    cause_kind = models.TextField(null=True)
    cause_key = models.TextField(null=True)
    strikes = models.IntegerField(db_default=0)
    trial_rung = models.IntegerField(db_default=0)
    trial_rung_at = models.DateTimeField(null=True)
    trial_over_at = models.DateTimeField(null=True)
    absorbed_into = models.ForeignKey("self", models.SET_NULL, null=True, db_index=False)

    class Meta:
        db_table = "hold"
        indexes = [
            models.Index(fields=["scope_kind", "scope_key"], condition=Q(lifted_at__isnull=True), name="hold_standing"),
            models.Index(Least("lifted_at", "until"), condition=Q(family__isnull=False), name="hold_ended"),
        ]
        constraints = [one_of("scope_kind", ScopeKind, table="hold"), one_of("family", Family, table="hold")]


class MailboxReason(models.Model):
    """Why a mailbox writes no more than it does, as the planner last saw it. `binding`: a limit's or hold's id."""

    mailbox = models.OneToOneField(Mailbox, models.CASCADE, primary_key=True)
    code = models.TextField()
    text = models.TextField()
    binding = models.BigIntegerField(null=True)
    used = models.IntegerField(null=True)
    maximum = models.IntegerField(null=True)
    free_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "mailbox_reason"


class Setting(models.Model):
    """What holds for the whole organisation: name → value."""

    name = models.TextField(primary_key=True)
    value = models.JSONField()

    class Meta:
        db_table = "setting"
