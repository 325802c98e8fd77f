"""The fleet: who writes (identity), through whom (provider, account), under which name (domain, mailbox)."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Now

from mailfleet.model.fields import one_of, word
from mailfleet.model.words import AuthKind, ScopeKind, Security, WindowKind


class Identity(models.Model):
    """The legal entity that writes; its postal address and opt-out host stand in every letter."""

    name = models.TextField(unique=True)
    legal_name = models.TextField()
    postal_address = models.TextField()
    contact_email = models.TextField()
    website = models.TextField(db_default="")
    country = models.TextField(db_default="")
    opt_out_base_url = models.TextField()

    class Meta:
        db_table = "identity"
        verbose_name_plural = "identities"


class Provider(models.Model):
    """An organisation whose servers take our submissions and keep our inboxes.

    Hosts, ports and securities are what an operator set over the preset's; a mailbox keeps its own copy.
    """

    name = models.TextField(unique=True)
    preset = models.TextField(db_default="generic")
    smtp_host = models.TextField(db_default="")
    smtp_port = models.IntegerField(null=True)
    smtp_security = models.TextField(db_default="")
    imap_host = models.TextField(db_default="")
    imap_port = models.IntegerField(null=True)
    imap_security = models.TextField(db_default="")
    dialect = models.TextField(db_default="")
    sent_copy = models.TextField(db_default="unknown")
    rewrites_message_id = models.BooleanField(null=True)
    max_connections = models.IntegerField(null=True)
    max_connections_per_mailbox = models.IntegerField(db_default=1)
    idle_seconds = models.IntegerField(db_default=10)
    ca_file = models.TextField(db_default="")
    outreach_policy = models.TextField(db_default="unknown")
    policy_source = models.TextField(db_default="")
    policy_acknowledgement = models.TextField(db_default="")

    class Meta:
        db_table = "provider"


class Account(models.Model):
    """One contract at a provider: a tenant, a customer, a relay account."""

    provider = models.ForeignKey(Provider, models.PROTECT)
    name = models.TextField()

    class Meta:
        db_table = "account"
        constraints = [models.UniqueConstraint(fields=["provider", "name"], name="account_name_unique")]


class Domain(models.Model):
    """The DNS name right of the @ of our From addresses, an A-label.

    `dns_*`: what the checks of its records came to; `dns_verdict` is empty before the first with a conclusion.
    """

    name = models.TextField(unique=True)
    identity = models.ForeignKey(Identity, models.PROTECT)
    dkim_selectors = ArrayField(models.TextField(), db_default=[])
    dns_verdict = models.TextField(db_default="")
    dns_checked_at = models.DateTimeField(null=True)
    dns_tried_at = models.DateTimeField(null=True)
    dns_failing_since = models.DateTimeField(null=True)
    dns_listed = models.BooleanField(db_default=False)
    dns_findings = models.JSONField(db_default=[])

    class Meta:
        db_table = "domain"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(dns_verdict__in=["", "fine", "warns", "blocks"]), name="domain_dns_verdict_closed"
            ),
            models.CheckConstraint(
                condition=models.Q(dns_verdict="blocks", dns_failing_since__isnull=False)
                | (~models.Q(dns_verdict="blocks") & models.Q(dns_failing_since__isnull=True)),
                name="domain_dns_failing_since",
            ),
        ]


class Mailbox(models.Model):
    """One address of ours that can submit and be read. Secrets are sealed."""

    address = models.TextField(unique=True)
    display_name = models.TextField(db_default="")
    signature = models.TextField(db_default="")
    reply_to = models.TextField(db_default="")
    domain = models.ForeignKey(Domain, models.PROTECT)
    account = models.ForeignKey(Account, models.PROTECT)
    smtp_host = models.TextField()
    smtp_port = models.IntegerField()
    smtp_security = word(Security)
    imap_host = models.TextField(db_default="")
    imap_port = models.IntegerField(db_default=993)
    imap_security = word(Security, db_default=Security.TLS.value)
    ca_file = models.TextField(db_default="")
    auth = word(AuthKind, db_default=AuthKind.PASSWORD.value)
    login = models.TextField()
    secret = models.BinaryField()
    imap_login = models.TextField(db_default="")
    imap_secret = models.BinaryField(null=True)
    daily_limit = models.IntegerField(db_default=30)
    pace_seconds = models.IntegerField(db_default=300)
    tags = ArrayField(models.TextField(), db_default=[])
    created_at = models.DateTimeField(db_default=Now())
    retired_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "mailbox"
        verbose_name_plural = "mailboxes"
        indexes = [GinIndex(fields=["tags"], name="mailbox_tags")]
        constraints = [
            one_of("smtp_security", Security, table="mailbox"),
            one_of("imap_security", Security, table="mailbox"),
            one_of("auth", AuthKind, table="mailbox"),
            models.CheckConstraint(condition=models.Q(daily_limit__gte=0), name="mailbox_daily_limit_positive"),
            models.CheckConstraint(condition=models.Q(pace_seconds__gte=0), name="mailbox_pace_positive"),
        ]


class Ramp(models.Model):
    """How far a mailbox has come: days on which it wrote, and how often a stop rule halved it.

    `next_days` is what `sending_days` becomes with the first letter of the next day, as the planner worked it out.
    """

    mailbox = models.OneToOneField(Mailbox, models.CASCADE, primary_key=True)
    sending_days = models.IntegerField(db_default=0)
    next_days = models.IntegerField(db_default=1)
    last_on = models.DateField(null=True)
    halvings = models.IntegerField(db_default=0)

    class Meta:
        db_table = "ramp"


class Pool(models.Model):
    """A named choice of mailboxes; `rule` as in `mailfleet.model.pools`."""

    name = models.TextField(unique=True)
    rule = models.JSONField(db_default={})

    class Meta:
        db_table = "pool"


class SendingLimit(models.Model):
    """The greatest number of submissions of a scope (or of each one of its kind) in a window.

    The table is not called `limit` because SQL reserves that word. `scope_key` is null for each of the kind; else the
    scope's id, the recipient domain's name or the sender host's name, as text. Rows of source "ramp" are written by the
    planner, one a mailbox.
    """

    scope_kind = word(ScopeKind)
    scope_key = models.TextField(null=True)
    window_kind = word(WindowKind)
    window_seconds = models.IntegerField(db_default=86400)
    window_zone = models.TextField(db_default="UTC")
    maximum = models.IntegerField()
    source = models.TextField(db_default="operator")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "sending_limit"
        constraints = [
            one_of("scope_kind", ScopeKind, table="sending_limit"),
            one_of("window_kind", WindowKind, table="sending_limit"),
            models.CheckConstraint(condition=models.Q(maximum__gte=0), name="sending_limit_maximum_positive"),
            models.CheckConstraint(condition=models.Q(window_seconds__gt=0), name="sending_limit_window_positive"),
            models.UniqueConstraint(
                fields=["scope_kind", "scope_key", "window_kind", "window_seconds", "window_zone", "source"],
                name="sending_limit_unique",
                nulls_distinct=False,
            ),
        ]
