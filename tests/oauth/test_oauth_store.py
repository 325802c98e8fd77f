"""The right to ask a server for a token, and what the server must not do with our question."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from oauth_world import World
from token_server import answers

from mailfleet.providers.oauth.answers import Answer, Issued, Later, Refused
from mailfleet.providers.oauth.credentials import Flow
from mailfleet.providers.oauth.faults import GrantFault, GrantFaultKind
from mailfleet.providers.oauth.grants import save_grant, standing_faults
from mailfleet.providers.oauth.server import OAuthServer
from mailfleet.providers.oauth.source import TokenSource

Make = Callable[..., TokenSource]
ISSUED = Issued("token", timedelta(hours=1))
NO = Refused(GrantFaultKind.SECRET_REFUSED, "account", "no", "mend it", "")


async def test_who_comes_late_does_not_ask_again(world: World, make_source: Make) -> None:
    """Who looked before a token came and claims after it is turned away: the token is fresh."""
    world.lay(1)
    world.connect_service_account()
    store = make_source()._store
    row = await store.read(world.mailboxes[0])
    claim = await store.claim(row)
    assert claim is not None
    assert await store.keep(claim, ISSUED, fresh_for=timedelta(minutes=50))
    assert await store.claim(row) is None
    assert not await store.keep(claim, ISSUED, fresh_for=timedelta(minutes=50))


async def test_rest_is_kept_and_ended_by_one_question(world: World, make_source: Make) -> None:
    """Nobody may ask while the server rests; then one, and when it was served again, many."""
    world.lay(3)
    world.connect_service_account()
    store = make_source(at_once=2)._store
    rows = [await store.read(mailbox) for mailbox in world.mailboxes]
    first = await store.claim(rows[0])
    assert first is not None
    await store.rest(first, Later("away"), chance=1.0)
    assert await store.claim(rows[0]) is None
    world.let_pass("rest")
    probe = await store.claim(rows[0])
    assert probe is not None
    assert await store.claim(rows[1]) is None
    await store.keep(probe, ISSUED, fresh_for=timedelta(minutes=50))
    assert await store.claim(rows[1]) is not None
    assert await store.claim(rows[2]) is not None


async def test_old_no_does_not_hit_a_new_grant(world: World, make_source: Make) -> None:
    """A no to the secret as it was, that comes after a person has stored a new one, is no fault of the account."""
    world.lay(1)
    world.connect_consents()
    store = make_source()._store
    claim = await store.claim(await store.read(world.mailboxes[0]))
    assert claim is not None
    save_grant(world.connection, world.keyring, world.account, Flow.CONSENT, world.client())
    await store.fault(claim, NO, of_mailbox=False)
    assert standing_faults(world.connection) == []


async def test_lost_claim_writes_nothing(world: World, make_source: Make) -> None:
    """Neither a fault nor a rest is written in the name of a claim that is not ours any more."""
    world.lay(1)
    world.connect_service_account()
    store = make_source()._store
    row = await store.read(world.mailboxes[0])
    claim = await store.claim(row)
    world.let_pass("claim")
    other = await store.claim(row)
    assert claim is not None and other is not None
    await store.fault(claim, NO, of_mailbox=False)
    await store.rest(claim, Later("away"), chance=1.0)
    assert standing_faults(world.connection) == []
    assert world.columns("SELECT rest_until FROM oauth_grant").rest_until is None
    assert await store.keep(other, ISSUED, fresh_for=timedelta(minutes=50))


async def test_failures_that_come_together_count_once(world: World, make_source: Make) -> None:
    """Eight questions that fail in the same moment are one failure, not eight doublings."""
    world.lay(8)
    world.connect_service_account()
    store = make_source()._store
    claims = [await store.claim(await store.read(mailbox)) for mailbox in world.mailboxes]
    for claim in claims:
        assert claim is not None
        await store.rest(claim, Later("away"), chance=1.0)
    assert world.columns("SELECT failures FROM oauth_grant").failures == 1


async def test_first_mailbox_without_delegation(world: World, make_source: Make) -> None:
    """With no other mailbox to ask for, missing delegation is the account's, after one question."""
    world.lay(2)
    world.connect_service_account()
    world.server.known.delegated.clear()
    with pytest.raises(GrantFault) as caught:
        await make_source().token_for(world.mailboxes[0])
    assert caught.value.mailbox_id is None
    assert world.server.count() == 1


async def test_form_goes_nowhere_else(world: World) -> None:
    """A redirect is an answer like any other: what was meant for one address is not sent to the next."""
    world.server.known.scripts = [answers(307, {}, Location="/token")]
    async with OAuthServer() as server:
        answer = await server.ask(f"{world.server.url}/token", {"client_secret": "hidden"})
    assert isinstance(answer, Answer) and answer.status == 307
    assert world.server.count() == 1


async def test_endless_answer(world: World) -> None:
    """An answer that is too long is not read to its end."""
    world.server.known.scripts = [answers(200, b"x" * 10_000_000)]
    async with OAuthServer() as server:
        answer = await server.ask(f"{world.server.url}/token", {"grant_type": "x"})
    assert isinstance(answer, Later)


async def test_a_new_grant_lets_refused_mailboxes_be_read(world: World) -> None:
    """A mailbox whose login was refused is due at once, for it logs in otherwise; one that is well is left alone."""
    world.lay(2)
    refused, well = world.mailboxes
    world.connection.execute(
        "INSERT INTO reading (mailbox_id, failing_since, refused_secret, next_at) VALUES (%s, now(), 'x', 'infinity'),"
        " (%s, NULL, NULL, now() + interval '1 hour')",
        [refused, well],
    )
    world.connect_application()
    due = "SELECT array_agg(mailbox_id) FROM reading WHERE next_at <= clock_timestamp() AND refused_secret IS NULL"
    assert world.columns(due)[0] == [refused]
