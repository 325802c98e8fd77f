"""How the mailboxes of an account come to their tokens (RFC 6749). Every secret here is sealed."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mailfleet.model.fleet import Account, Mailbox

_FAULT = Q(fault_kind__isnull=True, fault_at__isnull=True, fault_until__isnull=True) | Q(
    fault_kind__isnull=False, fault_at__isnull=False, fault_until__isnull=False
)


class OauthGrant(models.Model):
    """One account's grant; written by `mailfleet account`, and by whoever meets a fault. SQL reserves `grant`.

    `client_id` is for a person: the service account's number, the application's id. `expires_on`: of the secret or the
    certificate, where known. `failures`: times in a row that the server could not serve us; nobody asks before
    `rest_until`, nor before `fault_until` after a refusal. A fault stands from `fault_at` until an answer ends it.
    """

    account = models.ForeignKey(Account, models.PROTECT, db_index=False)
    flow = models.TextField()
    client_id = models.TextField()
    token_url = models.TextField()
    scope = models.TextField()
    ca_file = models.TextField(db_default="")
    credential = models.BinaryField()
    expires_on = models.DateField(null=True)
    connected_at = models.DateTimeField(db_default=Now())
    failures = models.IntegerField(db_default=0)
    rest_until = models.DateTimeField(null=True)
    fault_kind = models.TextField(null=True)
    fault_text = models.TextField(db_default="")
    fault_hint = models.TextField(db_default="")
    fault_at = models.DateTimeField(null=True)
    fault_until = models.DateTimeField(null=True)

    class Meta:
        db_table = "oauth_grant"
        constraints = [
            models.UniqueConstraint(fields=["account"], name="oauth_grant_one_per_account"),
            models.CheckConstraint(
                condition=Q(flow__in=["service_account", "client_credentials", "consent"]),
                name="oauth_grant_flow_closed",
            ),
            models.CheckConstraint(condition=Q(failures__gte=0), name="oauth_grant_failures_positive"),
            models.CheckConstraint(condition=_FAULT, name="oauth_grant_fault_whole"),
        ]


class OauthToken(models.Model):
    """A mailbox's access token; of client credentials the one that serves all (`mailbox` null).

    For a consent the refresh token too: the row is then the mailbox's own grant, under the account's. A new token is
    fetched from `refresh_at` on, each at another moment. `claim`: who asks the server now; every write of the answer
    names it.
    """

    grant = models.ForeignKey(OauthGrant, models.PROTECT, db_index=False)
    mailbox = models.ForeignKey(Mailbox, models.PROTECT, null=True)
    access_token = models.BinaryField(null=True)
    fetched_at = models.DateTimeField(null=True)
    refresh_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    refresh_token = models.BinaryField(null=True)
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    fault_kind = models.TextField(null=True)
    fault_text = models.TextField(db_default="")
    fault_hint = models.TextField(db_default="")
    fault_at = models.DateTimeField(null=True)
    fault_until = models.DateTimeField(null=True)

    class Meta:
        db_table = "oauth_token"
        indexes = [models.Index(fields=["grant"], condition=Q(claim__isnull=False), name="oauth_token_claimed")]
        constraints = [
            models.UniqueConstraint(
                fields=["grant", "mailbox"], name="oauth_token_one_per_mailbox", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=Q(
                    access_token__isnull=True, fetched_at__isnull=True, refresh_at__isnull=True, expires_at__isnull=True
                )
                | Q(
                    access_token__isnull=False,
                    fetched_at__isnull=False,
                    refresh_at__isnull=False,
                    expires_at__isnull=False,
                ),
                name="oauth_token_access_whole",
            ),
            models.CheckConstraint(
                condition=Q(claim__isnull=True, claimed_until__isnull=True)
                | Q(claim__isnull=False, claimed_until__isnull=False),
                name="oauth_token_claim_whole",
            ),
            models.CheckConstraint(condition=_FAULT, name="oauth_token_fault_whole"),
        ]
