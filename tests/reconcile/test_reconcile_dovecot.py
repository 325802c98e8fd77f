"""The same errands against Debian's Dovecot: what is searched, read and appended there is what the rules go by."""

from collections.abc import Iterator

import pytest
from errand_scene import LATER, LOST, SAFE, SETTLED, ErrandScene, Open, pass_time, wait_with_copy

from imap.dovecot import Dovecot, dovecot
from mailfleet.inbox.errands import run_errands
from mailfleet.providers.imap import ImapSession

SENT = "Gesendet"


@pytest.fixture
def server() -> Iterator[Dovecot]:
    with dovecot({"ann": "geheim"}) as server:
        yield server


def run(it: ErrandScene, server: Dovecot, mailbox: int) -> None:
    with ImapSession.open(server.endpoint(), server.login("ann")) as session:
        run_errands(it.connection, session, mailbox)


def copy_of(header_id: str, to: str, subject: str = "Hello") -> bytes:
    lines = [
        f"To: {to}",
        f"Subject: {subject}",
        f"Message-ID: {header_id}",
        "List-Unsubscribe-Post: x",
        "",
        "Hello",
        "",
    ]
    return "\r\n".join(lines).encode()


async def test_found_absent_and_filed_at_dovecot(scene: Open, server: Dovecot) -> None:
    """One letter is found and accepted, one is absent beside its neighbour and planned again, one copy is filed, once
    and as read."""
    with scene() as it:
        known, seen, missing = await it.send(SETTLED, LOST, LOST)
        for letter in (known, seen):
            server.deliver("ann", copy_of(letter.header_id, letter.address), SENT)
        mailbox = known.mailbox_id
        run(it, server, mailbox)
        assert (it.state(seen)[0], it.state(missing)[0]) == ("accepted", "ambiguous")
        for wait in (SAFE, LATER):
            pass_time(it.connection, wait)
            run(it, server, mailbox)
        assert it.state(missing) == ("queued", "deferred")
        [filed] = await it.send(SETTLED)
        wait_with_copy(it, filed)
        run(it, server, mailbox)
        run(it, server, mailbox)
        assert len(server.doveadm("search", "-u", "ann", "mailbox", SENT, "SEEN").splitlines()) == 1
        assert len(server.doveadm("search", "-u", "ann", "mailbox", SENT).splitlines()) == 3


async def test_a_rewritten_id_is_told_by_likeness_at_dovecot(scene: Open, server: Dovecot) -> None:
    """Under another id, its subject in encoded words: the letter is known again."""
    with scene(rewrites=True) as it:
        [letter] = await it.send(LOST)
        it.connection.execute("UPDATE message SET subject = 'Grüße aus Köln'")
        subject = "=?utf-8?q?Gr=C3=BC=C3=9Fe_aus?=\r\n =?utf-8?q?_K=C3=B6ln?="
        server.deliver("ann", copy_of("<x@outlook.example>", f"Bo <{letter.address}>", subject), SENT)
        run(it, server, letter.mailbox_id)
        assert it.state(letter) == ("accepted", "accepted")
