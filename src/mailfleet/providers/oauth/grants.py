"""An account's grant as the operator and health see it: connect, look, faults that stand, secrets that end soon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError
from mailfleet.base.secrets import Keyring
from mailfleet.providers.oauth.answers import Issued
from mailfleet.providers.oauth.credentials import Flow
from mailfleet.providers.oauth.faults import GrantFaultKind
from mailfleet.providers.oauth.forms import Client

QUERIES = load_queries("mailfleet.providers.oauth", "grants.sql")
WARN_BEFORE = timedelta(days=30)  # chosen: a month to make a new secret
_FIRST_FRESH = 0.5  # chosen: a consent's first token is kept for half its life, so that its refresh is soon proven

Row = Any


@dataclass(frozen=True, slots=True)
class StandingFault:
    """One thing for a person to mend. `mailbox_id` is None for a whole account; `name` is its name or the address."""

    account_id: int
    mailbox_id: int | None
    name: str
    kind: GrantFaultKind
    text: str
    hint: str
    since_at: datetime


@dataclass(frozen=True, slots=True)
class Connected:
    """`accounts` that have a grant, as provider/account, and the ids of their `mailboxes` by address, however these log
    in."""

    accounts: frozenset[str]
    mailboxes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EndingGrant:
    """A secret or certificate that ends on `expires_on`, or has ended."""

    account: str
    account_id: int
    flow: Flow
    client_id: str
    expires_on: date


def find_account(connection: Connection, name: str) -> Row:
    """id, name as provider/account, preset. InputError when there is none of the name, or several."""
    rows = connection.execute(QUERIES["account"], {"name": name}).fetchall()
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise InputError(
            f"There are {len(rows)} accounts {name}.", hint=f"Name one: {', '.join(r.name for r in rows)}."
        )
    raise InputError(f"There is no account {name}.", hint="`mailfleet export fleet` lists the accounts there are.")


def oauth_mailboxes(connection: Connection, account_id: int) -> Sequence[Row]:
    """The account's mailboxes that log in by OAuth, by address; `has_consent` says whose person has agreed."""
    return connection.execute(QUERIES["mailboxes"], {"account": account_id}).fetchall()


def load_connected(connection: Connection) -> Connected:
    rows = connection.execute(QUERIES["connected"]).fetchall()
    return Connected(
        frozenset(row.account for row in rows), {row.address: row.id for row in rows if row.id is not None}
    )


def grant_before(connection: Connection, account_id: int, flow: Flow, client: Client) -> Row | None:
    """What a grant to `client` would take the place of: client_id; is_same, when its consents stay; their number."""
    values = {"account": account_id, "flow": flow, "client_id": client.client_id, "token_url": client.token_url}
    return connection.execute(QUERIES["grant_before"], values).fetchone()


def save_grant(
    connection: Connection,
    keyring: Keyring,
    account_id: int,
    flow: Flow,
    client: Client,
    *,
    ca_file: str = "",
    expires_on: date | None = None,
) -> None:
    """Stores an account's grant in place of what it had. Consents given to the same client at the same server stay."""
    values = {
        "account": account_id,
        "flow": flow,
        "client_id": client.client_id,
        "token_url": client.token_url,
        "scope": client.scope,
        "ca_file": ca_file,
        "credential": keyring.seal(client.credential.pack()),
        "expires_on": expires_on,
    }
    with connection.transaction():
        before = grant_before(connection, account_id, flow, client)
        is_same = before is not None and before.is_same
        grant = connection.execute(QUERIES["save_grant"], values).fetchone()
        assert grant is not None
        connection.execute(QUERIES["drop_tokens"], {"grant": grant.id, "drops_consents": not is_same})
        connection.execute(QUERIES["clear_faults"], {"grant": grant.id})
        connection.execute(QUERIES["renew"], {"grant": grant.id, "mailboxes": None})
        connection.execute(QUERIES["read_again"], {"account": account_id})


def save_consent(connection: Connection, keyring: Keyring, account_id: int, mailbox_id: int, issued: Issued) -> None:
    """Stores what a person's consent brought. InputError without a refresh token: it would end within the hour."""
    if not issued.refresh_token:
        raise InputError(
            "The provider gave an access token and no refresh token, so nothing was stored.",
            hint="The scope must ask for lasting access (offline_access at Microsoft); at Google take the application"
            " away at myaccount.google.com/connections and agree again.",
        )
    connection.execute(
        QUERIES["save_consent"],
        {
            "account": account_id,
            "mailbox": mailbox_id,
            "access_token": keyring.seal(issued.access_token),
            "refresh_token": keyring.seal(issued.refresh_token),
            "fresh_for": issued.lives_for * _FIRST_FRESH,
            "good_for": issued.lives_for,
        },
    )


def ask_again(connection: Connection, account_id: int, mailboxes: Sequence[int]) -> bool:
    """A person says that all is mended: no fault and no rest stands, and the next login of `mailboxes` asks the server.
    False without a grant."""
    with connection.transaction():
        row = connection.execute(QUERIES["mended"], {"account": account_id}).fetchone()
        if row is not None:
            connection.execute(QUERIES["clear_faults"], {"grant": row.id})
            connection.execute(QUERIES["renew"], {"grant": row.id, "mailboxes": list(mailboxes)})
            connection.execute(QUERIES["read_again"], {"account": account_id})
    return row is not None


def list_grants(connection: Connection) -> Sequence[Row]:
    """Every account that has a grant or needs one, by name; columns as in `grants`."""
    return connection.execute(QUERIES["grants"]).fetchall()


def standing_faults(connection: Connection) -> list[StandingFault]:
    """What a person must mend now: of an account's fault one, whatever the number of its mailboxes."""
    rows = connection.execute(QUERIES["faults"]).fetchall()
    return [
        StandingFault(r.account_id, r.mailbox_id, r.name, GrantFaultKind(r.kind), r.text, r.hint, r.since_at)
        for r in rows
    ]


def ending_grants(connection: Connection, today: date, *, within: timedelta = WARN_BEFORE) -> list[EndingGrant]:
    """Grants whose secret or certificate ends soon, or has ended; the first to end first."""
    rows = connection.execute(QUERIES["ending"], {"by": today + within}).fetchall()
    return [EndingGrant(r.account, r.account_id, Flow(r.flow), r.client_id, r.expires_on) for r in rows]
