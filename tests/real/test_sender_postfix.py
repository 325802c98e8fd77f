"""Real senders and a real Postfix with logins, STARTTLS and TLS: what came out at its other end."""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from mailfleet.providers.sandbox.fleet import SandboxFleet
from servers import Letter, Postfix, postfix
from stage import Stage, ids, one_provider_fleet, stage, wait_until

CONTACTS = 10
FLEET = one_provider_fleet(4)


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    with postfix({box.login: box.password for box in FLEET.mailboxes}) as started:
        yield started


def stage_at(server: Postfix, database: str, home: Path, fleet: SandboxFleet = FLEET):  # type: ignore[no-untyped-def]
    """The submission port with STARTTLS, a private authority named on the provider."""
    return stage(
        database,
        home,
        port=server.port,
        host=server.host,
        security="starttls",
        fleet=fleet,
        contacts=CONTACTS,
        steps=2,
    )


def use_tls(it: Stage, server: Postfix, addresses: list[str]) -> None:
    """Implicit TLS, with the authority named on the mailbox itself."""
    it.run(
        "UPDATE mailbox SET smtp_port = %s, smtp_security = 'tls', ca_file = %s WHERE address = ANY(%s)",
        server.tls_port,
        server.ca_file,
        addresses,
    )


def header(letter: Letter, name: str) -> str:
    return re.sub(r"\s+", " ", str(parsed(letter)[name])).strip()


def parsed(letter: Letter) -> Message:
    return message_from_bytes(letter.content)


def delivered(server: Postfix, it: Stage) -> list[Letter]:
    """What came out of this stage's accepted letters, each as often as it came."""
    wanted = set(it.accepted())
    wait_until(lambda: wanted <= set(ids(server.sink.letters())), "the accepted letters to come out")
    return [letter for letter in server.delivered(0) if letter.message_id in wanted]


def refused_logins(server: Postfix) -> int:
    return len(re.findall(r"SASL \w+ authentication failed", server.log))


def logins(server: Postfix) -> int:
    return len(re.findall(r"smtpd\[\d+\]: disconnect from .* auth=1", server.log))


def test_a_wrong_password_holds_its_mailbox_and_all_others_send(server: Postfix, database: str, home: Path) -> None:
    """One login is refused once and its mailbox held until a person lifts that; the others send every letter once."""
    one, *others = FLEET.mailboxes
    with stage_at(server, database, home) as it:
        it.run("UPDATE provider SET ca_file = %s", server.ca_file)
        use_tls(it, server, [box.address for box in others[:2]])
        wrong = it.laid.vault.keyring.seal("not this one")
        it.run("UPDATE mailbox SET secret = %s WHERE address = %s", wrong, one.address)
        sender = it.sender()
        it.finish()
        assert it.stop(sender) == ""
        letters = delivered(server, it)
        hold = it.value("SELECT jsonb_build_array(count(*), min(reason), bool_or(until IS NOT NULL)) FROM hold")
        assert ids(letters) == it.accepted()
        assert len(set(ids(letters))) == len(letters) == 2 * CONTACTS
    assert {letter.sender for letter in letters} == {box.address for box in others}
    count, reason, has_end = hold  # type: ignore[misc]
    assert (count, has_end) == (1, False)
    assert "535 5.7.8" in reason and "Check the user name and the password" in reason
    assert refused_logins(server) == 1, "a refused login was tried again"


def test_letters_keep_their_thread_and_their_way_out(server: Postfix, database: str, home: Path) -> None:
    """As delivered: a follow-up comes from the mailbox that began, answers the first letter, and each letter has
    one-click opt-out, a date, and one Message-ID of its mailbox's domain.
    """
    with stage_at(server, database, home) as it:
        it.run("UPDATE provider SET ca_file = %s", server.ca_file)
        sender = it.sender()
        it.finish()
        it.stop(sender)
        letters = delivered(server, it)
    firsts = {letter.recipient: letter for letter in letters if parsed(letter)["In-Reply-To"] is None}
    seconds = [letter for letter in letters if parsed(letter)["In-Reply-To"] is not None]
    assert len(firsts) == len(seconds) == CONTACTS
    for second in seconds:
        first = firsts[second.recipient]
        assert header(second, "In-Reply-To") == header(second, "References") == first.message_id
        assert second.sender == first.sender
        assert header(second, "From") == header(first, "From")
        assert header(second, "Subject") == f"Re: {header(first, 'Subject')}"
    for letter in letters:
        assert header(letter, "List-Unsubscribe-Post") == "List-Unsubscribe=One-Click"
        assert re.fullmatch(r"<https://stop\.example\.com/o\S+>, ?<mailto:\S+>", header(letter, "List-Unsubscribe"))
        assert letter.message_id.endswith(f"@{letter.sender.partition('@')[2]}>")
        assert len(parsed(letter).get_all("Message-ID", [])) == len(parsed(letter).get_all("Date", [])) == 1


@pytest.mark.parametrize(("idle_seconds", "connections"), [(10, 1), (0, 2)], ids=["kept", "closed when idle"])
def test_a_connection_is_kept_for_what_comes_soon(
    idle_seconds: int, connections: int, server: Postfix, database: str, home: Path
) -> None:
    """A mailbox logs in once for two letters when the second comes within its idle time, and twice when it has none."""
    fleet = one_provider_fleet(1)
    with stage_at(server, database, home, fleet) as it:
        it.run("UPDATE provider SET ca_file = %s, idle_seconds = %s", server.ca_file, idle_seconds)
        it.run("UPDATE enrollment SET state = 'stopped', next_at = NULL WHERE id > (SELECT min(id) FROM enrollment)")
        before = logins(server)
        sender = it.sender()
        it.finish()
        it.stop(sender)
        wait_until(lambda: logins(server) - before >= connections, "Postfix to note the end of the connection")
        assert len(delivered(server, it)) == 2
    assert logins(server) - before == connections
