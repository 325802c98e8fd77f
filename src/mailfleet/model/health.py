"""What health counts and tells: letters with what became of them, incidents, and whom to alert."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mailfleet.model.fields import one_of, word
from mailfleet.model.queue import Message
from mailfleet.model.words import Family


class CountedLetter(models.Model):
    """A letter that a server judged, with all by which rates are counted; kept as long as the longest window.

    `list_id` is 0 and `recipient_provider` empty where it is not known. Ids without keys: a count outlives its scopes.
    """

    message = models.OneToOneField(Message, models.CASCADE, primary_key=True)
    at = models.DateTimeField()
    mailbox_id = models.BigIntegerField()
    campaign_id = models.BigIntegerField()
    list_id = models.BigIntegerField(db_default=0)
    recipient_provider = models.TextField(db_default="")
    bounced = models.BooleanField(db_default=False)
    blocked = models.BooleanField(db_default=False)
    complained = models.BooleanField(db_default=False)

    class Meta:
        db_table = "counted_letter"
        indexes = [models.Index(fields=["at"], name="counted_letter_at")]


class RecipientDomain(models.Model):
    """Who runs the mail servers of a domain that we write to; empty where that is not known."""

    name = models.TextField(primary_key=True)
    provider = models.TextField(db_default="")
    looked_up_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "recipient_domain"
        indexes = [models.Index(fields=["looked_up_at"], name="recipient_domain_looked_up")]


class Incident(models.Model):
    """One cause of trouble. `severity` and `told`: 0 note, 1 warning, 2 serious, 3 grave."""

    family = word(Family)
    scope_kind = models.TextField()
    scope_key = models.TextField()
    severity = models.IntegerField()
    opened_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True)
    letters_a_day = models.IntegerField(db_default=0)
    text = models.TextField()
    told = models.IntegerField(null=True)
    told_at = models.DateTimeField(null=True)
    part_of_kind = models.TextField(null=True)
    part_of_key = models.TextField(null=True)

    class Meta:
        db_table = "incident"
        indexes = [models.Index(fields=["-opened_at"], name="incident_latest")]
        constraints = [
            one_of("family", Family, table="incident"),
            models.UniqueConstraint(
                fields=["family", "scope_kind", "scope_key"],
                condition=Q(closed_at__isnull=True),
                name="incident_one_a_cause",
            ),
        ]


class AlertTarget(models.Model):
    """Where incidents are told; the address is sealed. A fault stands until a notice went out."""

    name = models.TextField(unique=True)
    url = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())
    fault_text = models.TextField(db_default="")
    fault_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "alert_target"
