"""Tokens for a fleet: fetched once, shared, refreshed in time, and a no said once."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from oauth_world import World
from token_server import No, answers, drops

from mailfleet.model.words import AuthKind
from mailfleet.providers.auth import Login
from mailfleet.providers.oauth.answers import Answer, Asked, Later, verdict_on
from mailfleet.providers.oauth.credentials import Flow
from mailfleet.providers.oauth.faults import GrantFault, GrantFaultKind, TokenUnavailable
from mailfleet.providers.oauth.grants import ask_again, standing_faults
from mailfleet.providers.oauth.server import OAuthServer
from mailfleet.providers.oauth.source import TokenSource
from mailfleet.providers.oauth.store import TokenStore

Make = Callable[..., TokenSource]


async def test_service_account(world: World, make_source: Make) -> None:
    """A service account brings each mailbox a token of its own, by an assertion that names it."""
    world.lay(3)
    world.connect_service_account()
    source = make_source()
    tokens = [await source.token_for(mailbox) for mailbox in world.mailboxes]
    assert [world.server.issued[token] for token in tokens] == [f"box-{n}@a.example" for n in range(3)]


async def test_application(world: World, make_source: Make) -> None:
    """An application's one token serves every mailbox of the tenant, and is asked for once."""
    world.lay(30)
    world.connect_application()
    source = make_source()
    tokens = await asyncio.gather(*map(source.token_for, world.mailboxes))
    assert len(set(tokens)) == 1
    assert world.server.count() == 1


async def test_password_logins_are_left_alone(world: World, make_source: Make) -> None:
    """A login by password goes as it is, and so does one that brings its token while its account is not connected;
    then the grant's token comes before whatever the mailbox brought."""
    world.lay(1)
    source, mailbox = make_source(), world.mailboxes[0]
    by_password, by_own_token = Login("a", "password"), Login("a", "a token", AuthKind.XOAUTH2)
    for login in (by_password, by_own_token):
        assert await source.login(mailbox, login) is login
    with pytest.raises(GrantFault):
        await source.login(mailbox, Login("a", "", AuthKind.XOAUTH2))
    world.connect_application()
    assert await source.login(mailbox, by_password) is by_password
    assert world.server.count() == 0
    assert (await source.login(mailbox, by_own_token)).secret in world.server.issued


async def test_token_is_shared(world: World, make_source: Make) -> None:
    """What one process has fetched the next one reads; nobody asks the server again."""
    world.lay(1)
    world.connect_service_account()
    first = await make_source().token_for(world.mailboxes[0])
    assert await make_source().token_for(world.mailboxes[0]) == first
    assert world.server.count() == 1


async def test_good_token_is_given_while_the_next_one_comes(world: World, make_source: Make) -> None:
    """A login does not wait while its token is good: in this process and in others the refresh goes on beside it."""
    world.lay(1)
    world.connect_service_account()
    mailbox = world.mailboxes[0]
    first = await make_source().token_for(mailbox)
    assert world.server.came.acquire(blocking=False)
    world.connection.execute("UPDATE oauth_token SET refresh_at = now() + interval '100 milliseconds'")
    world.server.gate.clear()
    source = make_source()
    while not world.server.came.acquire(blocking=False):
        assert await source.token_for(mailbox) == first
        await asyncio.sleep(0)
    assert await source.token_for(mailbox) == await make_source().token_for(mailbox) == first
    world.server.gate.set()
    await source.close()
    assert await make_source().token_for(mailbox) != first
    assert world.server.count() == 2


async def test_stampede_is_bounded(world: World, make_source: Make) -> None:
    """1,200 mailboxes that all start at once ask one token each, never more than the grant's share at a time, over all
    processes; and their tokens do not end in the same moment."""
    world.lay(1200)
    world.connect_service_account()
    sources = [make_source(at_once=8) for _ in range(2)]
    world.server.gate.clear()
    start = asyncio.gather(*(sources[n % 2].token_for(mailbox) for n, mailbox in enumerate(world.mailboxes)))
    for _ in range(8):
        await asyncio.to_thread(world.server.came.acquire)
    third = TokenStore(world.conninfo, world.keyring, at_once=8)
    assert await third.claim(await third.read(world.mailboxes[-1])) is None
    await third.close()
    world.server.gate.set()
    await start
    assert set(world.server.subjects().values()) == {1}
    assert world.server.count() == 1200
    assert world.server.peak == 8
    spread = world.columns("SELECT max(refresh_at - fetched_at) - min(refresh_at - fetched_at) AS s FROM oauth_token").s
    assert spread.total_seconds() > 300


async def test_rotation(world: World, make_source: Make) -> None:
    """A new refresh token takes the old one's place, and the next refresh uses it."""
    world.lay(1)
    world.connect_consents()
    world.server.known.rotation = "strict"
    mailbox = world.mailboxes[0]
    used = []
    for _ in range(3):
        await make_source().token_for(mailbox)
        used.append(world.server.asked[-1]["refresh_token"])
        world.let_pass("access")
    assert len(set(used)) == 3
    assert world.refresh_token(mailbox) not in world.server.known.spent


async def test_server_that_does_not_rotate(world: World, make_source: Make) -> None:
    """Where no new refresh token comes, the one we have stays (RFC 6749 §6)."""
    world.lay(1)
    world.connect_consents()
    before = world.refresh_token(world.mailboxes[0])
    await make_source().token_for(world.mailboxes[0])
    assert world.refresh_token(world.mailboxes[0]) == before


async def test_answer_is_kept_when_who_waited_has_gone(world: World, make_source: Make) -> None:
    """A cancelled login does not lose the refresh token that was on its way for it."""
    world.lay(1)
    world.connect_consents()
    world.server.known.rotation = "strict"
    world.server.gate.clear()
    source = make_source()
    login = asyncio.create_task(source.token_for(world.mailboxes[0]))
    await asyncio.to_thread(world.server.came.acquire)
    login.cancel()
    with pytest.raises(asyncio.CancelledError):
        await login
    world.server.gate.set()
    await source.close()
    assert world.refresh_token(world.mailboxes[0]) not in world.server.known.spent


async def test_answer_is_kept_when_the_database_was_away(world: World, make_source: Make) -> None:
    """A connection that breaks while the server is asked does not lose a rotated refresh token: it is stored later."""
    world.lay(1)
    world.connect_consents()
    world.server.known.rotation = "strict"
    world.server.gate.clear()
    source = make_source()
    waiting = asyncio.create_task(source.token_for(world.mailboxes[0]))
    await asyncio.to_thread(world.server.came.acquire)
    world.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mailfleet tokens'"
    )
    world.server.gate.set()
    assert await waiting in world.server.issued
    await source.close()
    assert world.refresh_token(world.mailboxes[0]) not in world.server.known.spent


async def test_late_answer_does_not_overwrite(world: World, make_source: Make) -> None:
    """An answer whose claim was lost is not stored over what came since."""
    world.lay(1)
    world.connect_consents()
    world.server.known.rotation = "lenient"
    world.server.gate.clear()
    slow, quick = make_source(), make_source()
    waiting = asyncio.create_task(slow.token_for(world.mailboxes[0]))
    await asyncio.to_thread(world.server.came.acquire)
    world.let_pass("claim")
    other = asyncio.create_task(quick.token_for(world.mailboxes[0]))
    await asyncio.to_thread(world.server.came.acquire)
    claim = world.columns("SELECT claim FROM oauth_token").claim
    world.connection.execute("UPDATE oauth_token SET claim = gen_random_uuid()")
    world.server.gate.set()
    await asyncio.gather(waiting, other)
    row = world.columns("SELECT claim, access_token, expires_at <= now() AS is_old FROM oauth_token")
    assert row.claim not in (None, claim) and row.is_old


@pytest.mark.parametrize(
    ("no", "kind"),
    [
        (No("invalid_client", "x", status=401), GrantFaultKind.SECRET_REFUSED),
        (No("invalid_client", "AADSTS7000222: expired", status=401, numbers=[7000222]), GrantFaultKind.SECRET_EXPIRED),
        (No("invalid_grant", "AADSTS65001", numbers=[65001]), GrantFaultKind.CONSENT_MISSING),
        (No("unauthorized_client", "x", numbers=[700016]), GrantFaultKind.CLIENT_UNKNOWN),
        (No("something_new", "never heard"), GrantFaultKind.REQUEST_REFUSED),
    ],
)
async def test_no_is_one_fault_of_the_account(world: World, make_source: Make, no: No, kind: GrantFaultKind) -> None:
    """Twenty mailboxes of an account that is refused: one question, one fault, the same for each, with what to do."""
    world.lay(20)
    world.connect_application()
    world.server.known.scripts = [answers(no.status, no.fields)] * 20
    source = make_source()
    results = await asyncio.gather(*map(source.token_for, world.mailboxes), return_exceptions=True)
    faults = [result for result in results if isinstance(result, GrantFault)]
    assert len(faults) == 20
    assert {(fault.kind, fault.account_id, fault.mailbox_id) for fault in faults} == {(kind, world.account, None)}
    assert world.server.count() == 1
    [standing] = standing_faults(world.connection)
    assert (standing.kind, standing.mailbox_id, standing.name) == (kind, None, "p/tenant-1")
    assert standing.hint


async def test_fault_is_asked_again_after_its_rest_and_ends(world: World, make_source: Make) -> None:
    """A fault is not asked about again until its rest is over; then by one question, and a token ends it."""
    world.lay(2)
    world.connect_application()
    world.server.known.secrets["client-1"] = "another"
    source = make_source()
    for _ in range(3):
        with pytest.raises(GrantFault):
            await source.token_for(world.mailboxes[0])
    assert world.server.count() == 1
    since = world.columns("SELECT fault_at FROM oauth_grant").fault_at
    world.let_pass("fault")
    with pytest.raises(GrantFault):
        await source.token_for(world.mailboxes[1])
    assert world.columns("SELECT fault_at FROM oauth_grant").fault_at == since
    world.server.known.secrets["client-1"] = "s3cret-of-client"
    assert ask_again(world.connection, world.account, world.mailboxes)
    await source.token_for(world.mailboxes[0])
    assert standing_faults(world.connection) == []


async def test_revoked_delegation(world: World, make_source: Make) -> None:
    """Delegation that is taken away is a fault of the account, found with two questions: the mailbox's, a witness's."""
    world.lay(10)
    world.connect_service_account()
    source = make_source()
    await asyncio.gather(*map(source.token_for, world.mailboxes))
    world.server.known.delegated.clear()
    world.let_pass("access")
    with pytest.raises(GrantFault) as caught:
        await make_source().token_for(world.mailboxes[0])
    assert (caught.value.kind, caught.value.mailbox_id) == (GrantFaultKind.DELEGATION_MISSING, None)
    assert "1234567890" in caught.value.hint and "https://mail.google.com/" in caught.value.hint
    assert world.server.count() == 12


async def test_foreign_mailbox_does_not_stop_the_account(world: World, make_source: Make) -> None:
    """One mailbox of a domain that is not delegated is its own fault; the others go on."""
    world.lay(2)
    world.connect_service_account()
    world.connection.execute("UPDATE mailbox SET login = 'x@foreign.example' WHERE id = %s", [world.mailboxes[1]])
    source = make_source()
    await source.token_for(world.mailboxes[0])
    with pytest.raises(GrantFault) as caught:
        await source.token_for(world.mailboxes[1])
    assert (caught.value.kind, caught.value.mailbox_id) == (GrantFaultKind.DELEGATION_MISSING, world.mailboxes[1])
    world.let_pass("access")
    await make_source().token_for(world.mailboxes[0])


async def test_account_is_not_blamed_while_the_witness_is_not_served(world: World, make_source: Make) -> None:
    """A no that may be the mailbox's own, and "later" for the witness: the whole question is asked again later, and the
    account is without fault."""
    world.lay(3)
    world.connect_service_account()
    await make_source().token_for(world.mailboxes[0])
    no = No("unauthorized_client", "Client is unauthorized", status=401)
    world.server.known.scripts = [answers(401, no.fields), answers(503, {}, Retry_After="120")]
    with pytest.raises(TokenUnavailable) as caught:
        await make_source().token_for(world.mailboxes[1])
    assert caught.value.again_at is not None
    assert standing_faults(world.connection) == []
    world.let_pass("rest")
    assert await make_source().token_for(world.mailboxes[1]) in world.server.issued


@pytest.mark.parametrize("name", ["error", "error_description"])
async def test_no_secret_and_no_nul_in_a_fault(world: World, make_source: Make, name: str) -> None:
    """In either field of a no, what cannot be stored goes and a secret that is repeated is hidden, even one that is
    broken by such a character."""
    world.lay(1)
    world.connect_application()
    fields = {"error": "invalid_client", name: "bad\x00 \x1b[1m s3cret-of-client and s3cret\x00-of-client\nTrace: 1"}
    world.server.known.scripts = [answers(400, fields)]
    with pytest.raises(GrantFault, match="…") as caught:
        await make_source().token_for(world.mailboxes[0])
    [standing] = standing_faults(world.connection)
    for said in (str(caught.value), standing.text):
        assert said.isprintable() and "s3cret" not in said and "Trace" not in said


async def test_no_secret_in_a_later(world: World) -> None:
    """Nor in what is said of a server that cannot serve us now, whatever the kind of its field."""
    form = {"client_secret": "s3cret-of-client"}
    for error in ("x s3cret-of-client", ["s3cret-of-client"]):
        world.server.known.scripts = [answers(503, {"error": error})]
        async with OAuthServer() as server:
            answer = await server.ask(f"{world.server.url}/token", form)
        assert isinstance(answer, Answer)
        verdict = verdict_on(answer, Asked(Flow.CONSENT, "c", "s", "m"))
        assert isinstance(verdict, Later) and "503" in verdict.text and "s3cret" not in verdict.text


async def test_unknown_user_and_revoked_consent(world: World, make_source: Make) -> None:
    """A user who is gone, and a consent that is withdrawn, are faults of that mailbox alone."""
    world.lay(2)
    world.connect_service_account()
    world.server.known.users.discard("box-1@a.example")
    source = make_source()
    with pytest.raises(GrantFault) as caught:
        await source.token_for(world.mailboxes[1])
    assert (caught.value.kind, caught.value.mailbox_id) == (GrantFaultKind.MAILBOX_UNKNOWN, world.mailboxes[1])
    await source.token_for(world.mailboxes[0])
    world.connect_consents()
    del world.server.known.refresh[world.refresh_token(world.mailboxes[0])]
    source = make_source()
    with pytest.raises(GrantFault) as caught:
        await source.token_for(world.mailboxes[0])
    assert (caught.value.kind, caught.value.mailbox_id) == (GrantFaultKind.CONSENT_OVER, world.mailboxes[0])
    await source.token_for(world.mailboxes[1])
    [standing] = standing_faults(world.connection)
    assert standing.name == "box-0@a.example"


async def test_not_connected(world: World, make_source: Make) -> None:
    """Without a grant, and without the mailbox's consent, no server is asked, and the fault says what to run."""
    world.lay(1)
    with pytest.raises(GrantFault) as caught:
        await make_source().token_for(world.mailboxes[0])
    assert caught.value.kind is GrantFaultKind.NO_GRANT and "account connect p/tenant-1" in caught.value.hint
    world.connect_consents()
    world.connection.execute("DELETE FROM oauth_token")
    with pytest.raises(GrantFault) as caught:
        await make_source().token_for(world.mailboxes[0])
    assert (caught.value.kind, caught.value.mailbox_id) == (GrantFaultKind.NO_CONSENT, world.mailboxes[0])
    assert world.server.count() == 0


@pytest.mark.parametrize(
    "script",
    [
        answers(500, b"<html>oops"),
        answers(503, {"error": "temporarily_unavailable"}),
        answers(429, {"error": "invalid_client"}),
        answers(400, {"error": "invalid_request", "error_codes": [50196]}),
        answers(200, b"\xff\xfe garbage"),
        answers(200, b"[" * 50_000),
        answers(200, [1, 2]),
        answers(200, {"access_token": "line\r\nbreak"}),
        answers(200, {"access_token": "x" * 20_000}),
        answers(200, b"x" * 100_000),
        answers(302, {}, Location="https://elsewhere.example/token"),
        drops,
    ],
)
async def test_passing_failures_are_no_fault(world: World, make_source: Make, script: object) -> None:
    """What passes by itself is asked again after a rest, without any fault; the token then comes."""
    world.lay(1)
    world.connect_application()
    world.server.known.scripts = [script]  # type: ignore[list-item]
    assert await make_source().token_for(world.mailboxes[0]) in world.server.issued
    row = world.columns("SELECT failures, rest_until, fault_kind FROM oauth_grant")
    assert (row.failures, row.rest_until, row.fault_kind) == (0, None, None)
    assert world.server.count() == 2


async def test_retry_after(world: World, make_source: Make) -> None:
    """A server that asks for two minutes gets them, from every process; a login hears when it is tried again."""
    world.lay(5)
    world.connect_service_account()
    world.server.known.scripts = [answers(429, {}, Retry_After="120")] * 5
    for source in (make_source(at_once=1), make_source(at_once=1)):
        with pytest.raises(TokenUnavailable) as caught:
            await source.token_for(world.mailboxes[0])
        assert caught.value.again_at is not None
    assert world.server.count() == 1
    left = world.columns("SELECT extract(epoch FROM rest_until - now()) AS s FROM oauth_grant").s
    assert 90 < left < 150
    assert standing_faults(world.connection) == []


async def test_rests_grow(world: World, make_source: Make) -> None:
    """Each failure in a row doubles the rest, up to minutes; a good token is handed out all the while."""
    world.lay(1)
    world.connect_service_account()
    first = await make_source().token_for(world.mailboxes[0])
    world.server.known.scripts = [answers(500)] * 10
    for _ in range(10):
        world.let_pass("fresh")
        world.let_pass("rest")
        assert await make_source().token_for(world.mailboxes[0]) == first
    row = world.columns("SELECT failures, extract(epoch FROM rest_until - now()) AS s FROM oauth_grant")
    assert row.failures == 10 and 200 < row.s < 400


async def test_silent_server(world: World, make_source: Make) -> None:
    """A server that takes the question and says nothing is given up at its deadline, and rests."""
    world.server.gate.clear()
    async with OAuthServer(within=timedelta(seconds=0.3)) as server:
        answer = await server.ask(f"{world.server.url}/token", {"grant_type": "x"})
    assert isinstance(answer, Later) and "in time" in answer.text


async def test_refused_token_is_fetched_anew_once(world: World, make_source: Make) -> None:
    """A login refused with an old token is worth another; one refused with a fresh token is not: no login loop."""
    world.lay(1)
    world.connect_service_account()
    source, mailbox = make_source(), world.mailboxes[0]
    first = await source.token_for(mailbox)
    assert not await source.refused(mailbox, first)
    assert await source.token_for(mailbox) == first
    world.let_pass("age")
    assert await source.refused(mailbox, first)
    second = await source.token_for(mailbox)
    assert second != first
    assert await source.refused(mailbox, first), "another has come meanwhile"
    assert world.server.count() == 2


async def test_database_away(world: World) -> None:
    """A database that does not answer is said to pass by itself; a token in hand serves meanwhile."""
    source = TokenSource("host=127.0.0.1 port=1 connect_timeout=1", world.keyring)
    with pytest.raises(TokenUnavailable, match="database"):
        await source.token_for(1)
    await source.close()


async def test_sealed_and_silent(
    world: World, make_source: Make, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """No secret stands in a table, a log, a repr or an error, even of a server that repeats what it was sent."""
    caplog.set_level("DEBUG")
    world.lay(2)
    world.connect_consents()
    world.server.known.rotation = "strict"
    said = []
    source = make_source()
    await source.token_for(world.mailboxes[0])
    said += [repr(source._held), repr(world.client()), repr(source)]
    del world.server.known.refresh[world.refresh_token(world.mailboxes[1])]
    gone = world.refresh_token(world.mailboxes[1])
    world.server.known.secrets["client-1"] = "another"
    for mailbox in (world.mailboxes[1], world.mailboxes[1]):
        with pytest.raises(GrantFault) as caught:
            await source.token_for(mailbox)
        said += [str(caught.value), caught.value.hint, repr(caught.value), repr(caught.value.__cause__)]
        assert "…" in str(caught.value)
        world.server.known.secrets["client-1"] = "s3cret-of-client"
        ask_again(world.connection, world.account, world.mailboxes)
    for table in ("oauth_grant", "oauth_token"):
        with world.connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            said += [str(row) for row in cursor.execute(f"SELECT t::text, convert_to(t::text, 'UTF8') FROM {table} t")]
    out = capfd.readouterr()
    text = "\n".join([*said, caplog.text, out.out, out.err])
    for secret in {*world.server.secrets_seen(), gone, "s3cret-of-client"}:
        assert secret not in text
