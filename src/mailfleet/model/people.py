"""The people we may write to, where we have them from, and who must never be written to again."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from mailfleet.model.fields import one_of, word
from mailfleet.model.fleet import Mailbox
from mailfleet.model.words import LawfulBasis, SuppressionKind


class ImportRun(models.Model):
    """One file taken in: what it was, and what became of its rows."""

    kind = models.TextField()
    file_name = models.TextField()
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    counts = models.JSONField(db_default={})

    class Meta:
        db_table = "import_run"


class Contact(models.Model):
    """A person we may write to, keyed by the normalised address.

    `digests` are the keyed digests under which the contact can be suppressed: its address, its domain and the domain's
    parents. `mailbox` is the one that writes to this person, for life. Of an erased one nothing of the person
    is left.
    """

    address = models.TextField()
    address_key = models.TextField()
    domain = models.TextField()
    digests = ArrayField(models.BinaryField())
    first_name = models.TextField(db_default="")
    last_name = models.TextField(db_default="")
    company = models.TextField(db_default="")
    title = models.TextField(db_default="")
    country = models.TextField(db_default="")
    time_zone = models.TextField(db_default="")
    attributes = models.JSONField(db_default={})
    source = models.TextField(db_default="")
    source_url = models.TextField(db_default="")
    collected_on = models.DateField(null=True)
    lawful_basis = word(LawfulBasis, db_default=LawfulBasis.NONE.value)
    import_run = models.ForeignKey(ImportRun, models.SET_NULL, null=True)
    mailbox = models.ForeignKey(Mailbox, models.PROTECT, null=True)
    erased_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "contact"
        indexes = [models.Index(fields=["domain"], name="contact_domain")]
        constraints = [
            one_of("lawful_basis", LawfulBasis, table="contact"),
            models.UniqueConstraint(fields=["address_key"], name="contact_address_unique"),
        ]


class ContactList(models.Model):
    name = models.TextField(unique=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "contact_list"


class ListMember(models.Model):
    contact_list = models.ForeignKey(ContactList, models.CASCADE, db_index=False)
    contact = models.ForeignKey(Contact, models.CASCADE)

    class Meta:
        db_table = "list_member"
        constraints = [models.UniqueConstraint(fields=["contact_list", "contact"], name="list_member_once")]


class Suppression(models.Model):
    """A standing ban. The digest is what counts; `value` is for people and is emptied by an erasure."""

    digest = models.BinaryField(primary_key=True)
    kind = word(SuppressionKind)
    value = models.TextField(null=True)
    reason = models.TextField()
    source = models.TextField()
    evidence = models.JSONField(db_default={})
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "suppression"
        constraints = [one_of("kind", SuppressionKind, table="suppression")]
