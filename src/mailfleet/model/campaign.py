"""What is to be said, to whom, when: campaign, step, variant, enrollment."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mailfleet.model.fields import one_of, word
from mailfleet.model.fleet import Identity, Mailbox
from mailfleet.model.people import Contact, ContactList
from mailfleet.model.words import CampaignState, EnrollmentState, ReplyStops


class Campaign(models.Model):
    """`pool` is a rule of mailboxes, or `{"name": …}` of a pool. `window` holds weekdays (1-7) and hours."""

    name = models.TextField(unique=True)
    identity = models.ForeignKey(Identity, models.PROTECT)
    lists = models.ManyToManyField(ContactList, db_table="campaign_list")
    state = word(CampaignState, db_default=CampaignState.DRAFT.value)
    priority = models.IntegerField(db_default=0)
    openings_share = models.FloatField(db_default=0.0)
    language = models.TextField(db_default="en")
    pool = models.JSONField(db_default={})
    window = models.JSONField(db_default={})
    zone = models.TextField(db_default="contact")
    fallback_zone = models.TextField(db_default="UTC")
    reply_stops = word(ReplyStops, db_default=ReplyStops.CONTACT.value)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    reason = models.TextField(db_default="")

    class Meta:
        db_table = "campaign"
        constraints = [
            one_of("state", CampaignState, table="campaign"),
            one_of("reply_stops", ReplyStops, table="campaign"),
        ]


class Step(models.Model):
    """The `number`-th letter (from 1), `wait` after the one before it was accepted."""

    campaign = models.ForeignKey(Campaign, models.CASCADE)
    number = models.IntegerField()
    wait = models.DurationField()

    class Meta:
        db_table = "step"
        constraints = [models.UniqueConstraint(fields=["campaign", "number"], name="step_number_unique")]


class Variant(models.Model):
    step = models.ForeignKey(Step, models.CASCADE)
    name = models.TextField()
    weight = models.IntegerField(db_default=1)
    subject = models.TextField()
    text = models.TextField()
    html = models.TextField(db_default="")

    class Meta:
        db_table = "variant"
        constraints = [models.UniqueConstraint(fields=["step", "name"], name="variant_name_unique")]


class Enrollment(models.Model):
    """One contact's passage through one campaign.

    Active: step `next_step` is due from `next_at` on; `next_at` is null while that step's message is open. Nothing
    leaves before `paused_until`: the person is away, or an answer waits for somebody to read it.
    `reason_code` and `reason` say why nothing is planned, or why it ended.
    """

    campaign = models.ForeignKey(Campaign, models.CASCADE, db_index=False)
    contact = models.ForeignKey(Contact, models.CASCADE)
    state = word(EnrollmentState, db_default=EnrollmentState.ACTIVE.value)
    next_step = models.IntegerField(db_default=1)
    next_at = models.DateTimeField(null=True)
    paused_until = models.DateTimeField(null=True)
    mailbox = models.ForeignKey(Mailbox, models.PROTECT, null=True, db_index=False)
    reason_code = models.TextField(db_default="")
    reason = models.TextField(db_default="")
    reason_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "enrollment"
        indexes = [
            models.Index(
                fields=["campaign", "next_step", "next_at"],
                condition=Q(state="active", next_at__isnull=False),
                name="enrollment_ready",
            ),
        ]
        constraints = [
            one_of("state", EnrollmentState, table="enrollment"),
            models.UniqueConstraint(fields=["campaign", "contact"], name="enrollment_once"),
            models.CheckConstraint(
                condition=Q(state="active") | Q(next_at__isnull=True), name="enrollment_ended_is_not_due"
            ),
        ]
