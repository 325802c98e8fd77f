"""Real senders and a real watcher at a Postfix and a Dovecot with 50 mailboxes: people answer, servers bounce, and the
maildirs of the people say who was written to again.
"""

import smtplib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import pytest

from imap.dovecot import Dovecot, dovecot
from mailfleet.inbox.rhythm import Rhythm, save_rhythm
from mailfleet.providers.sandbox import persona_letters as letters
from mailfleet.providers.sandbox.fleet import make_contacts
from servers import Home, Postfix, free_port, postfix, wait_until
from stage import Stage, one_provider_fleet, stage
from stage import wait_until as patiently

FLEET = one_provider_fleet(50)
CONTACTS = [contact.email for contact in make_contacts(1, 35)]
ROLES = ("gone", "reply", "refusal", "auto_reply", "complaint", "opt_out_mail", "silent")
NOT_YET = "SELECT count(*) FROM enrollment WHERE next_step = 1 AND state = 'active'"
LEARNED = "SELECT count(DISTINCT contact_id) FROM event"


@dataclass(frozen=True)
class House:
    """One provider that keeps our mailboxes and those of the people."""

    postfix: Postfix
    dovecot: Dovecot
    home: Home

    def came(self, address: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted((self.home.maildirs / address / "new").glob("*"))]

    def answer(self, contact: str, to: str, content: bytes) -> None:
        """As from outside: no login."""
        with smtplib.SMTP("127.0.0.1", self.home.port) as client:
            client.sendmail(contact, [to], content)


def role(contact: str) -> str:
    return ROLES[CONTACTS.index(contact) % len(ROLES)]


def playing(*roles: str) -> list[str]:
    return [contact for contact in CONTACTS if role(contact) in roles]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    users = {box.login: box.password for box in FLEET.mailboxes}
    with dovecot(users) as imap:
        there = [contact for contact in CONTACTS if role(contact) != "gone"]
        domains = {address.partition("@")[2] for address in (*users, *CONTACTS)}
        home = Home(tuple(sorted(domains)), (*users, *there), imap.folder / "mail", free_port())
        with postfix(users, home=home) as smtp:
            yield House(smtp, imap, home)


@pytest.fixture
def it(house: House, database: str, home: Path) -> Iterator[Stage]:
    place = house.postfix
    options = {"port": place.port, "host": place.host, "security": "starttls", "fleet": FLEET}
    with stage(database, home, contacts=len(CONTACTS), steps=2, **options) as it:  # type: ignore[arg-type]
        both = home / "authorities.pem"
        both.write_text("".join(Path(server.ca_file).read_text() for server in (house.postfix, house.dovecot)))
        it.run("UPDATE provider SET ca_file = %s", str(both))
        imap = house.dovecot.endpoint()
        it.run("UPDATE mailbox SET imap_host = %s, imap_port = %s, imap_security = 'tls'", imap.host, imap.port)
        it.run("UPDATE step SET wait = interval '1 hour' WHERE number = 2")
        with it.connect() as connection:
            save_rhythm(connection, Rhythm(upkeep=timedelta(seconds=1)))
        yield it


MAKERS: dict[str, Callable[[letters.Original, datetime], bytes]] = {
    "reply": lambda original, now: letters.make_reply(original, letters.REPLIES[0][1], now),
    "refusal": lambda original, now: letters.make_reply(original, letters.REFUSALS[0][1], now),
    "auto_reply": lambda original, now: letters.make_auto_reply(original, 0, now),
    "complaint": letters.make_complaint,
    "opt_out_mail": letters.make_opt_out,
}


def act(house: House, contact: str) -> None:
    """What they do about their letter."""
    (content,) = house.came(contact)
    sender = str(message_from_bytes(content)["Return-Path"]).strip("<>")
    original = letters.read_original(sender, contact, content)
    made = MAKERS[role(contact)](original, datetime.now(UTC))
    to = letters.mailto_address(original) if role(contact) == "opt_out_mail" else sender
    house.answer(contact, to, made)


def test_only_the_silent_are_written_to_again(house: House, it: Stage) -> None:
    """Who answered, was away, complained, opted out or does not exist gets no second letter; the others get it."""
    sender, watcher = it.sender(), it.sender("-m", "mailfleet.inbox")
    it.plan_until(NOT_YET)
    wait_until(house.postfix.queue_is_empty, "the letters to arrive")
    acting = playing(*MAKERS)
    for contact in acting:
        act(house, contact)
    gone = playing("gone")
    patiently(lambda: it.value(LEARNED) == len(acting) + len(gone), "what they did to be learned")
    it.run("UPDATE enrollment SET next_at = clock_timestamp() WHERE state = 'active' AND next_at IS NOT NULL")
    it.plan_until("SELECT count(*) FROM enrollment WHERE state = 'active' AND paused_until IS NULL")
    wait_until(house.postfix.queue_is_empty, "the second letters to arrive")
    assert (it.stop(sender), it.stop(watcher)) == ("", "")
    counts = {contact: len(house.came(contact)) for contact in CONTACTS}
    assert counts == {contact: {"silent": 2, "gone": 0}.get(role(contact), 1) for contact in CONTACTS}
    with it.connect() as connection:
        said = {row.value: row.source for row in connection.execute("SELECT value, source FROM suppression").fetchall()}
    assert set(said) == set(playing("gone", "refusal", "complaint", "opt_out_mail"))
    assert {said[contact] for contact in gone} == {"bounce"}
    assert not any(house.dovecot.seen(box.login) for box in FLEET.mailboxes), "what came in stays unread"
