"""A real server: Dovecot, over TLS, with a junk folder in Swedish."""

import os
import time
from collections import Counter
from pathlib import Path

from watch_scene import SELDOM, Scene, lay, mail

from imap.dovecot import dovecot
from mailfleet.model.words import Security
from mailfleet.providers.sandbox.fleet import make_fleet

TEN_DAYS, TWO_DAYS = 10 * 86400, 2 * 86400


def message_id(content: bytes) -> str:
    return content.partition(b"Message-ID: <")[2].partition(b">")[0].decode()


def test_dovecot_is_read(database: str, home: Path) -> None:
    """INBOX and Skräppost from a week ago on, nothing older, each mail once, all left unread; by IDLE what comes."""
    fleet = make_fleet(1, mailboxes=1, domains=1, accounts=1, providers=1, identities=1)
    box = fleet.mailboxes[0]
    with dovecot({box.login: box.password}) as server:
        place = lay(database, home, fleet, lambda _: ("localhost", server.ports[Security.TLS]))
        it = Scene(place, home, [box.address])
        it.run("UPDATE mailbox SET imap_security = 'tls', ca_file = %s", server.ca_file)
        it.lay_letter()
        mails = [mail() for _ in range(5)]
        inbox = server.folder / "mail" / box.login / "new"
        for content, age in ((mails[0], TEN_DAYS), (mails[1], TWO_DAYS)):
            server.deliver(box.login, content)
            newest = max(inbox.iterdir(), key=lambda path: path.stat().st_ctime)
            os.utime(newest, (time.time() - age, time.time() - age))
        server.deliver(box.login, mails[2])
        server.deliver(box.login, mails[3], "Skr&AOQ-ppost")
        try:
            it.watch(SELDOM)
            it.wait_for_mails(3)
            it.wait("SELECT read_at IS NOT NULL FROM reading")
            server.deliver(box.login, mails[4])
            it.wait_for_mails(4)
            assert it.taken() == Counter(message_id(content) for content in mails[1:])
            assert server.seen(box.login) == 0
        finally:
            it.end()
