"""Busy mailboxes wait for mail by IDLE; the others are read in their time."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from watch_scene import RHYTHM, SELDOM, sandbox_scene


def test_idle_brings_a_mail_within_seconds(database: str, home: Path) -> None:
    """Where letters left lately, each mail is taken as it comes, again and again, while the next reading is an hour
    away; where none left, it waits. When it is due, an idle mailbox is read like any other, and idles on."""
    with sandbox_scene(database, home, mailboxes=2) as it:
        it.lay_letter(0)
        it.watch(SELDOM)
        it.wait("SELECT count(*) = 2 FROM reading WHERE read_at IS NOT NULL")
        waiting = it.deliver(number=1)
        wanted = []
        for number in range(1, 4):
            wanted.append(it.deliver(number=0))
            it.wait_for_mails(number)
        assert it.taken() == Counter(wanted)
        read_at = it.reading(0).read_at
        wanted.append(it.deliver(number=0, folder="junk"))
        it.run("UPDATE reading SET next_at = clock_timestamp() WHERE mailbox_id = %s", it.mailbox(0))
        it.wait("SELECT read_at > %s FROM reading WHERE mailbox_id = %s", read_at, it.mailbox(0))
        wanted.append(it.deliver(number=0))
        it.wait_for_mails(5)
        assert it.taken() == Counter(wanted)
        assert waiting not in it.taken()


def test_who_becomes_busy_idles(database: str, home: Path) -> None:
    """From its first letter on a mailbox that was read in turn is watched by IDLE."""
    with sandbox_scene(database, home) as it:
        it.watch(SELDOM)
        it.wait("SELECT read_at IS NOT NULL FROM reading")
        read_at = it.reading().read_at
        it.lay_letter()
        it.wait("SELECT read_at > %s FROM reading", read_at)
        wanted = it.deliver()
        it.wait_for_mails(1)
        assert it.taken() == Counter([wanted])


def test_few_idle_and_those_that_wrote_last(database: str, home: Path) -> None:
    """With room for one session, it is that of the mailbox that wrote last."""
    with sandbox_scene(database, home, mailboxes=2) as it:
        it.lay_letter(1)
        it.lay_letter(0)
        it.run("UPDATE attempt SET reserved_at = now() - interval '1 hour' WHERE mailbox_id = %s", it.mailbox(1))
        it.watch(replace(SELDOM, most_idle=1))
        it.wait("SELECT count(*) = 2 FROM reading WHERE read_at IS NOT NULL")
        waiting, wanted = it.deliver(number=1), it.deliver(number=0)
        it.wait_for_mails(1)
        assert it.taken() == Counter([wanted])
        assert waiting not in it.taken()


def test_a_server_without_idle_is_read_in_turn(database: str, home: Path) -> None:
    """IONOS offers no IDLE: its busy mailbox is read every few minutes."""
    with sandbox_scene(database, home, mailboxes=4, providers=4) as it:
        number = next(
            number for number, address in enumerate(it.addresses)
            if it.value("SELECT p.name FROM mailbox b JOIN account a ON a.id = b.account_id"
                        " JOIN provider p ON p.id = a.provider_id WHERE b.address = %s", address) == "ionmail"
        )  # fmt: skip
        it.lay_letter(number)
        it.watch(RHYTHM)
        it.wait_for_reading(2)
        wanted = it.deliver(number=number)
        it.wait_for_mails(1)
        assert it.taken() == Counter([wanted])


def test_a_copy_is_filed_and_the_inbox_watched_on(database: str, home: Path) -> None:
    """A mailbox with an errand is read soon, its Sent folder gets the copy, and afterwards it idles on INBOX again."""
    with sandbox_scene(database, home) as it:
        message = it.lay_letter()
        it.run("UPDATE provider SET sent_copy = 'client'")
        it.watch(SELDOM)
        it.wait("SELECT read_at IS NOT NULL FROM reading")
        it.run(
            "INSERT INTO sent_copy (message_id, mailbox_id, content) VALUES (%s, %s, %s)",
            message,
            it.mailbox(),
            b"Message-ID: <x@a.test>\r\n\r\nHello\r\n",
        )
        it.wait("SELECT count(*) = 0 FROM sent_copy")
        wanted = it.deliver()
        it.wait_for_mails(1)
        assert it.taken() == Counter([wanted])


def test_after_a_look_into_sent_the_inbox_is_watched_on(database: str, home: Path) -> None:
    """An ambiguous letter is looked for in the Sent folder; the session then idles on INBOX, not on Sent."""
    with sandbox_scene(database, home) as it:
        it.lay_letter()
        it.watch(SELDOM)
        it.wait("SELECT read_at IS NOT NULL FROM reading")
        it.run("UPDATE attempt SET outcome = 'ambiguous'")
        it.run("UPDATE message SET state = 'ambiguous', settled_at = NULL")
        it.wait("SELECT reason LIKE '%%looked for%%' FROM message")
        wanted = it.deliver()
        it.wait_for_mails(1)
        assert it.taken() == Counter([wanted])
