"""A mailbox that cannot be read: never two logins with one wrong secret, and no letters while a no is not heard."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cutting_proxy import cutting_proxy
from token_server import TokenServer
from watch_scene import RHYTHM, SandboxScene, sandbox_scene

from mailfleet.base.errors import SetupError
from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.inbox.failing import UNREAD_FOR, family_to_hold, fault_of
from mailfleet.inbox.store import WatcherStore
from mailfleet.model.schema import migrate
from mailfleet.model.words import Family, ScopeKind
from mailfleet.outbox.stops import hold, lift
from mailfleet.providers.oauth.credentials import Credential, Flow
from mailfleet.providers.oauth.forms import Client
from mailfleet.providers.oauth.grants import save_grant
from mailfleet.providers.sandbox import Faults

HELD = "SELECT count(*) > 0 FROM hold WHERE set_by = 'watcher' AND lifted_at IS NULL"
FREE = "SELECT count(*) = 0 FROM hold WHERE set_by = 'watcher' AND lifted_at IS NULL"


def logins(it: SandboxScene, number: int = 0) -> int:
    """How often the mailbox was logged in to."""
    address = it.addresses[number]
    login = it.value("SELECT login FROM mailbox WHERE address = %s", address)
    return sum(one.login in (login, address) for one in it.ledger().logins)


def set_secret(it: SandboxScene, secret: str, number: int = 0) -> None:
    it.run("UPDATE mailbox SET secret = %s WHERE id = %s", it.laid.vault.keyring.seal(secret), it.mailbox(number))


def password(it: SandboxScene, number: int = 0) -> str:
    sealed = it.value("SELECT secret FROM mailbox WHERE id = %s", it.mailbox(number))
    return it.laid.vault.keyring.open(sealed, what="a test")


def wait_for_other(it: SandboxScene) -> None:
    """Until the second mailbox was read twice more: what the first could do meanwhile, it did."""
    for _ in range(2):
        now = it.value("SELECT clock_timestamp()")
        it.wait("SELECT read_at > %s FROM reading WHERE mailbox_id = %s", now, it.mailbox(1))


def test_a_refused_login_is_asked_once(database: str, home: Path) -> None:
    """Once with each secret; no letter leaves meanwhile, and with the right one it is read and its hold lifted, while
    a person's stays."""
    with sandbox_scene(database, home, mailboxes=2) as it:
        right = password(it)
        set_secret(it, "wrong")
        wanted = it.deliver()
        it.watch()
        it.wait(HELD)
        wait_for_other(it)
        assert logins(it) == 1
        ((kind, family, set_by, reason),) = it.holds()
        assert (kind, family, set_by) == ("mailbox", Family.AUTHENTICATION, "watcher")
        assert "the IMAP login was refused" in reason and "lift this hold" in reason and "wrong" not in reason
        assert it.reading().fault_kind == "login"
        set_secret(it, "wrong again")
        it.wait("SELECT failures = 2 FROM reading WHERE mailbox_id = %s", it.mailbox())
        wait_for_other(it)
        assert logins(it) == 2
        with it.connect() as connection:
            hold(connection, ScopeKind.MAILBOX, it.addresses[0], reason="mine", set_by="me")
        set_secret(it, right)
        it.wait(FREE)
        it.wait_for_mails(1)
        assert wanted in it.taken()
        assert [(family, set_by) for _, family, set_by, _ in it.holds()] == [(None, "me")]
        reading = it.reading()
        assert (reading.failing_since, reading.failures, reading.fault_text, reading.refused_secret) == (
            None,
            0,
            "",
            None,
        )


def test_a_lifted_hold_is_one_more_try(database: str, home: Path) -> None:
    """A person who lifts it says that it is mended: the same secret is tried once more, and held again if it fails, for
    a fault that began after the lift."""
    with sandbox_scene(database, home, mailboxes=2) as it:
        set_secret(it, "wrong")
        it.watch()
        it.wait(HELD)
        with it.connect() as connection:
            lift(connection, ScopeKind.MAILBOX, it.addresses[0], lifted_by="me")
        it.wait("SELECT failures = 2 FROM reading WHERE mailbox_id = %s", it.mailbox())
        it.wait(HELD)
        wait_for_other(it)
        assert logins(it) == 2
        assert it.reading().failing_since > it.value("SELECT max(lifted_at) FROM hold")


def test_a_new_try_forgets_the_refusal_alone(database: str, home: Path) -> None:
    """Until it is made nothing says that the login is refused; what a mailbox that was never read could not be read for
    goes on."""
    with sandbox_scene(database, home, mailboxes=2) as it, it.connect() as connection:
        store = WatcherStore(connection, WatcherStore.register(connection, "h"))
        store.make_readings(apart=timedelta(), longest=timedelta())
        fault = {"text": "", "first": timedelta(hours=1), "longest": timedelta(hours=1), "chance": 1}
        for lease in store.lease(2, timedelta(hours=1)):
            is_first = lease[0] == it.mailbox()
            store.fail(lease, {**fault, "kind": "login" if is_first else "lost", "refused": b"x" if is_first else None})
        since = it.reading(1).failing_since
        store.try_again([it.mailbox(0), it.mailbox(1)])
        assert (it.reading(0).failing_since, it.reading(0).refused_secret) == (None, None)
        assert it.reading(1).failing_since == since
        assert len(store.due()) == 2


def test_one_hold_of_a_family_is_enough(database: str, home: Path) -> None:
    """Where a wider one, or a sender's, stands already, none is added; when that is lifted, the login is tried anew."""
    with sandbox_scene(database, home, mailboxes=2) as it:
        set_secret(it, "wrong")
        with it.connect() as connection:
            provider = it.value("SELECT name FROM provider")
            family = Family.AUTHENTICATION
            hold(connection, ScopeKind.PROVIDER, provider, reason="smtp", set_by="health", family=family)
            it.watch()
            it.wait("SELECT failures = 1 FROM reading WHERE mailbox_id = %s", it.mailbox())
            wait_for_other(it)
            assert [set_by for _, _, set_by, _ in it.holds()] == ["health"]
            lift(connection, ScopeKind.PROVIDER, provider, lifted_by="me")
        it.wait(HELD)
        assert logins(it) == 2


def test_what_stays_unread_too_long_is_held(database: str, home: Path) -> None:
    """A server that cannot be reached is nothing for an hour; then no letter leaves until it is read again."""
    with sandbox_scene(database, home, mailboxes=2) as it:
        it.watch()
        it.wait_for_reading()
        port = it.value("SELECT imap_port FROM mailbox WHERE id = %s", it.mailbox())
        it.run("UPDATE mailbox SET imap_port = 1 WHERE id = %s", it.mailbox())
        it.wait("SELECT failures > 4 FROM reading WHERE mailbox_id = %s", it.mailbox())
        assert it.holds() == []
        assert it.reading().fault_kind == "unreached"
        it.run("UPDATE reading SET read_at = now() - interval '61 minutes' WHERE mailbox_id = %s", it.mailbox())
        it.wait(HELD)
        ((kind, family, _, reason),) = it.holds()
        assert (kind, family) == ("mailbox", Family.UNREACHABLE)
        assert "the connection was refused" in reason
        with it.connect() as connection:
            lift(connection, ScopeKind.MAILBOX, it.addresses[0], lifted_by="me")
        it.wait(HELD, what="the hold again, for nothing is mended")
        it.run("UPDATE mailbox SET imap_port = %s WHERE id = %s", port, it.mailbox())
        it.wait(FREE)
        assert it.reading().failing_since is None


@pytest.mark.parametrize(
    ("kind", "failures", "unread_for", "family"),
    [
        ("login", 1, timedelta(), Family.AUTHENTICATION),
        ("grant", 1, timedelta(), Family.AUTHENTICATION),
        ("lost", 9, UNREAD_FOR, None),
        ("lost", 2, timedelta(days=1), None),
        ("busy", 3, UNREAD_FOR + timedelta(seconds=1), Family.UNREACHABLE),
        ("broken", 3, timedelta(days=1), Family.UNREACHABLE),
    ],
)
def test_when_letters_must_stop(kind: str, failures: int, unread_for: timedelta, family: Family | None) -> None:
    """At once after a refused login; else after an hour without a good reading, and never for one stumble."""
    assert family_to_hold(kind, failures, unread_for) == family


def test_a_fault_names_no_secret() -> None:
    """Of an error that is not ours only the name is kept: its text may quote a letter."""
    assert fault_of(ValueError("Dear Ann")).text.startswith("An error of Mailfleet itself (ValueError)")
    assert fault_of(SetupError("No key.", hint="Put it back.")).text == "No key. Put it back."


def test_a_session_that_was_closed_is_opened_anew(database: str, home: Path) -> None:
    """A kept connection that broke meanwhile, idle or not, says nothing against the mailbox: no failure, no wait."""
    with sandbox_scene(database, home, mailboxes=2) as it:
        port = it.value("SELECT imap_port FROM mailbox LIMIT 1")
        with cutting_proxy(port, b"no such words") as proxy:
            it.run("UPDATE mailbox SET imap_port = %s", proxy.port)
            it.lay_letter(0)
            it.watch(replace(RHYTHM, first_retry=timedelta(hours=1), longest_retry=timedelta(hours=1)))
            for turn in range(1, 4):
                it.wait_for_reading()
                proxy.cut_all()
                for number in range(2):
                    it.deliver(number=number)
                it.wait_for_mails(2 * turn)
            assert [row.failures for row in it.rows("SELECT failures FROM reading")] == [0, 0]


def test_busy_servers_are_waited_for(database: str, home: Path) -> None:
    """ "Not now" at two of three logins: each mailbox is read all the same, later, and nothing is held."""
    with sandbox_scene(database, home, mailboxes=3, faults=Faults(imap_busy=0.6)) as it:
        wanted = [it.deliver(number=number) for number in range(3)]
        it.watch()
        it.wait_for_mails(3)
        assert it.taken() == Counter(wanted)
        assert it.holds() == []


def test_the_wait_grows_and_ends(database: str, home: Path) -> None:
    """Doubled with each failure, up to the longest."""
    with sandbox_scene(database, home) as it:
        it.run("UPDATE mailbox SET imap_port = 1")
        waits = []
        running = it.watch(replace(RHYTHM, first_retry=timedelta(minutes=1), longest_retry=timedelta(minutes=5)))
        for number in range(1, 5):
            it.wait("SELECT failures = %s FROM reading", number)
            waits.append(it.value("SELECT extract(epoch FROM next_at - clock_timestamp())::float8 FROM reading") / 60)
            it.run("UPDATE reading SET next_at = clock_timestamp()")
        running.stop()
        for wait, ideal in zip(waits, (1, 2, 4, 5), strict=True):
            assert 0.75 * ideal < wait < 1.25 * ideal


@pytest.mark.parametrize("is_kill", [False, True], ids=["restarted", "killed"])
def test_a_database_that_goes_and_comes_loses_nothing(is_kill: bool, home: Path) -> None:
    """Mails that come before, during and after are taken once each, by the same watcher."""
    with EmbeddedPostgres(home / "postgres") as server:
        server.create_database()
        migrate(server.conninfo())
        with sandbox_scene(server.conninfo(), home, mailboxes=3) as it:
            it.watch()
            wanted = [it.deliver(number=number) for number in range(3) for _ in range(20)]
            it.wait_for_mails(1)
            if is_kill:
                server.kill()
                wanted += [it.deliver(number=number) for number in range(3)]
                server.start()
            else:
                server.restart()
            wanted += [it.deliver(number=number) for number in range(3)]
            it.wait_for_mails(len(wanted))
            it.wait_for_reading()
            assert it.taken() == Counter(wanted)
            assert {row.fence for row in it.rows("SELECT fence FROM reading")} == {1}
            assert it.holds() == []


# XOAUTH2


def connect_account(it: SandboxScene, server: TokenServer, stale: str = "") -> None:
    """The first mailbox logs in by OAuth; `stale`: the token that is stored, fetched a while ago."""
    server.known.secrets["client-1"] = "s3cret"
    client = Client("client-1", f"{server.url}/token", "mail", Credential("s3cret"))
    keyring = it.laid.vault.keyring
    it.run("UPDATE mailbox SET auth = 'xoauth2', secret = %s WHERE id = %s", keyring.seal(""), it.mailbox())
    account = it.value("SELECT account_id FROM mailbox WHERE id = %s", it.mailbox())
    with it.connect() as connection:
        save_grant(connection, keyring, account, Flow.CLIENT_CREDENTIALS, client)
    if stale:
        it.run(
            "INSERT INTO oauth_token (grant_id, access_token, fetched_at, refresh_at, expires_at)"
            " SELECT id, %s, now() - interval '10 minutes', now() + interval '1 hour', now() + interval '1 hour'"
            " FROM oauth_grant",
            keyring.seal(stale),
        )


async def answer_token(_: web.Request) -> web.Response:
    return web.json_response({"access_token": "token-1", "token_type": "Bearer", "expires_in": 3600})


def test_a_stale_token_is_replaced_once(database: str, home: Path) -> None:
    """A refused token that is old is thrown away, and the next one logs in: two logins, one question, no fault."""
    with TokenServer() as server, sandbox_scene(database, home, mailboxes=2, token="token-1") as it:
        connect_account(it, server, stale="old-token")
        server.known.scripts.append(answer_token)
        wanted = it.deliver()
        it.watch()
        it.wait_for_mails(1)
        assert wanted in it.taken()
        assert (logins(it), server.count(), it.reading().failures, it.holds()) == (2, 1, 0, [])


def test_a_fresh_token_that_is_refused_is_asked_no_more(database: str, home: Path) -> None:
    """Where a fresh token is refused too, nobody logs in again: that is a refused login like any other."""
    with TokenServer() as server, sandbox_scene(database, home, mailboxes=2, token="another") as it:
        connect_account(it, server)
        server.known.scripts.append(answer_token)
        it.watch()
        it.wait(HELD)
        wait_for_other(it)
        assert (logins(it), server.count()) == (1, 1)
        assert it.reading().fault_kind == "login"


def test_without_a_token_nobody_logs_in(database: str, home: Path) -> None:
    """The token server's no holds the mailbox at once, and its IMAP server is not asked."""
    with TokenServer() as server, sandbox_scene(database, home, mailboxes=2, token="token-1") as it:
        connect_account(it, server)
        server.known.secrets["client-1"] = "another since"
        it.watch()
        it.wait(HELD)
        wait_for_other(it)
        assert (logins(it), server.count()) == (0, 1)
        assert it.reading().fault_kind == "grant"
        ((_, family, _, _),) = it.holds()
        assert family == Family.AUTHENTICATION
