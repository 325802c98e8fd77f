"""XOAUTH2 as real servers judge it: Dovecot for IMAP, Postfix with Dovecot's word for SMTP; whose token came they ask
the token server. And real senders between them."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from oauth_mail import OAuthDovecot, oauth_dovecot, oauth_postfix
from oauth_world import World
from token_server import TokenServer

from mailfleet.base.db import connect
from mailfleet.base.secrets import read_key_file
from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Login
from mailfleet.providers.check import check_imap, check_smtp
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import FaultKind, ImapFault
from mailfleet.providers.oauth.grants import standing_faults
from mailfleet.providers.oauth.source import TokenSource
from servers import Postfix
from stage import UNSETTLED, Stage, one_provider_fleet, stage

Make = Callable[..., TokenSource]
FLEET = one_provider_fleet(3)
BOX = "box-0@a.example"
NO_TOKEN = "SELECT (count(*) = 0)::int FROM hold WHERE family = 'authentication' AND lifted_at IS NULL"


@pytest.fixture(scope="module")
def tokens() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture(scope="module")
def dovecot(tokens: TokenServer) -> Iterator[OAuthDovecot]:
    with oauth_dovecot(tokens.url) as server:
        yield server


@pytest.fixture(scope="module")
def submission(dovecot: OAuthDovecot) -> Iterator[Postfix]:
    with oauth_postfix(dovecot) as server:
        yield server


@pytest.fixture
def server(tokens: TokenServer) -> TokenServer:
    """The one that the mail servers ask, as it was in the beginning."""
    tokens.__dict__.update(known=type(tokens.known)(), asked=[], issued={}, revoked=set(), introspected=[])
    return tokens


@pytest.fixture
def connected(world: World) -> World:
    world.lay(3)
    world.connect_service_account()
    return world


def smtp_of(server: Postfix) -> Endpoint:
    return Endpoint(server.host, server.port, Security.STARTTLS, server.ca_file)


async def login_of(source: TokenSource, mailbox: int, address: str = BOX) -> Login:
    return await source.login(mailbox, Login(address, "", AuthKind.XOAUTH2))


async def test_one_token_opens_both_servers(
    connected: World, make_source: Make, dovecot: OAuthDovecot, submission: Postfix
) -> None:
    """The mailbox's token is taken for its IMAP and its SMTP login; it was asked for once."""
    login = await login_of(make_source(), connected.mailboxes[0])
    results = [await check_imap(dovecot.imap, login), await check_smtp(smtp_of(submission), login)]
    assert [result.text for result in results if not result.ok] == []
    assert connected.server.introspected == [(BOX, True)] * 2
    assert connected.server.count() == 1


async def test_the_token_of_another_opens_nothing(
    connected: World, make_source: Make, dovecot: OAuthDovecot, submission: Postfix
) -> None:
    """A token is of one mailbox: with another's name it is refused, as a login, by both."""
    login = replace(await login_of(make_source(), connected.mailboxes[0]), username="box-1@a.example")
    with pytest.raises(ImapFault) as caught:
        await asyncio.to_thread(ImapSession.open, dovecot.imap, login)
    assert caught.value.kind is FaultKind.LOGIN
    assert not (await check_smtp(smtp_of(submission), login)).ok


async def test_an_expired_token_costs_no_failed_login(
    connected: World, make_source: Make, dovecot: OAuthDovecot
) -> None:
    """A token whose time is over is renewed before anyone logs in with it."""
    mailbox = connected.mailboxes[0]
    first = await make_source().token_for(mailbox)
    connected.let_pass("access")
    connected.server.revoked.add(first)
    with await asyncio.to_thread(ImapSession.open, dovecot.imap, await login_of(make_source(), mailbox)) as session:
        assert session.is_usable
    assert connected.server.introspected == [(BOX, True)]


@pytest.fixture
def it(submission: Postfix, dovecot: OAuthDovecot, server: TokenServer, database: str, home: Path) -> Iterator[Stage]:
    """A laid fleet of one account, whose mailboxes log in by OAuth at the real servers."""
    options = {"port": submission.port, "host": submission.host, "security": "starttls", "fleet": FLEET}
    with stage(database, home, contacts=9, **options) as it:  # type: ignore[arg-type]
        it.run("UPDATE provider SET ca_file = %s", submission.ca_file)
        it.run("UPDATE mailbox SET auth = 'xoauth2', secret = %s", it.laid.vault.keyring.seal(""))
        with connect(database, name="test") as connection:
            [key] = read_key_file(home / "keys")
            world = World(database, connection, server, key)
            world.account = connection.execute("SELECT id FROM account").fetchone()[0]
            rows = connection.execute("SELECT DISTINCT login, split_part(login, '@', 2) AS domain FROM mailbox")
            for row in rows.fetchall():
                server.known.users.add(row.login)
                server.known.delegated.add(row.domain)
            world.connect_service_account()
            yield it


def test_a_fleet_sends_by_tokens(it: Stage, server: TokenServer, submission: Postfix) -> None:
    """Real senders, one grant: each mailbox's token is fetched once, each login is taken, every letter leaves once."""
    before = len(submission.sink.letters())
    sender = it.sender()
    it.finish()
    it.stop(sender)
    assert it.states() == {"accepted": 9}
    assert len(submission.delivered(before + 9)) == before + 9
    assert set(server.subjects().values()) == {1}
    assert {taken for _, taken in server.introspected} == {True}


def test_a_revoked_grant_is_one_fault_and_no_storm_of_logins(it: Stage, server: TokenServer) -> None:
    """Revoked before the fleet wakes: no mail server sees a login, the account has one fault and one hold, the token
    server heard a question or two, and every letter waits."""
    server.known.delegated.clear()
    sender = it.sender()
    it.plan_until(NO_TOKEN)
    it.plan_until(UNSETTLED)
    it.stop(sender)
    assert server.introspected == []
    assert server.count() <= 3
    with it.connect() as connection:
        [fault] = standing_faults(connection)
    assert (fault.mailbox_id, fault.kind) == (None, "delegation_missing")
    assert it.value("SELECT count(*) FROM hold WHERE scope_kind = 'account' AND lifted_at IS NULL") == 1
    assert it.value("SELECT count(*) FROM hold WHERE scope_kind = 'mailbox'") == 0
    assert it.states().keys() <= {"queued"}


async def fetch_all(it: Stage) -> None:
    """Every mailbox's token, as a sender of before has left them."""
    source = TokenSource(it.laid.conninfo, it.laid.vault.keyring)
    with it.connect() as connection:
        boxes = [row.id for row in connection.execute("SELECT id FROM mailbox").fetchall()]
    await asyncio.gather(*map(source.token_for, boxes))
    await source.close()


def test_tokens_that_were_revoked_cost_one_login_each(it: Stage, server: TokenServer) -> None:
    """Grant and tokens revoked while the fleet has its tokens: each mailbox's is refused once at most; then the grant's
    no holds the account, and nobody logs in again."""
    asyncio.run(fetch_all(it))
    server.known.delegated.clear()
    server.revoked |= set(server.issued)
    it.run("UPDATE oauth_token SET fetched_at = fetched_at - interval '10 minutes'")
    sender = it.sender()
    it.plan_until(NO_TOKEN)
    it.plan_until(UNSETTLED)
    it.stop(sender)
    assert 1 <= len(server.introspected) <= len(FLEET.mailboxes)
    assert {taken for _, taken in server.introspected} == {False}
    assert it.value("SELECT count(*) FROM hold WHERE scope_kind = 'mailbox'") == 0
    assert it.states().keys() <= {"queued"}
