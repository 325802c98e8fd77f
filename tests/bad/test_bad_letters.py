"""A letter that cannot be written, and one at which our own code fails: it ends with a reason, and the others go on."""

from pathlib import Path

import pytest

from mailfleet.providers.sandbox.child import SandboxProcess
from mailfleet.providers.sandbox.config import write_config
from mailfleet.providers.sandbox.fleet import sandbox_config
from mailfleet.providers.sandbox.ledger import Transaction, read_ledger
from stage import Stage, one_provider_fleet, stage

CONTACTS = 6
FLEET = one_provider_fleet(1)
POISONED = str(Path(__file__).with_name("poisoned.py"))
ENDLESS = "{% for i in (1..100000000) %}{{ i }}{% endfor %}"
OF_ADDRESS = "SELECT m.{} FROM message m JOIN contact c ON c.id = m.contact_id WHERE c.address = %s"


@pytest.fixture
def port(home: Path) -> object:
    """One mailbox's provider; its ledger is the home's `ledger.jsonl`."""
    write_config(sandbox_config(FLEET, home / "ledger.jsonl"), home / "sandbox.json")
    with SandboxProcess(home / "sandbox.json") as sandbox:
        (faces,) = sandbox.ports.values()
        yield faces["smtp"]["none"]


def taken(home: Path) -> list[Transaction]:
    return [transaction for transaction in read_ledger(home / "ledger.jsonl").transactions if transaction.accepted]


def first_address(it: Stage) -> str:
    return str(it.value("SELECT min(address) FROM contact"))


def test_an_endless_template_stops_its_letter_and_not_the_sender(port: int, database: str, home: Path) -> None:
    """A wording that came into the database by another way is refused before it is run; its letters end and say so."""
    with stage(database, home, port=port, fleet=FLEET, contacts=CONTACTS) as it:
        it.run("UPDATE variant SET text = text || %s WHERE name = 'a'", ENDLESS)
        it.run("UPDATE variant SET weight = 1")
        sender = it.sender()
        it.finish()
        assert it.stop(sender) == ""
        states = it.states()
        assert states["cancelled"] > 0 and states["accepted"] > 0 and states.total() == CONTACTS
        assert it.value("SELECT count(*) FROM message WHERE state = 'cancelled' AND reason !~ 'for'") == 0
        assert it.value("SELECT count(*) FROM attempt") == states["accepted"] == len(taken(home))


@pytest.mark.parametrize(
    ("point", "state", "reason"),
    [
        ("writing", "cancelled", "an error of Mailfleet itself"),
        ("_reset", "rejected", "given up after 2 tries: an error of Mailfleet itself"),
        ("_finish", "ambiguous", "an error of Mailfleet itself"),
    ],
)
def test_a_letter_at_which_our_own_code_fails_takes_nothing_with_it(
    point: str, state: str, reason: str, port: int, database: str, home: Path
) -> None:
    """An unexpected error in one letter ends that letter as far as it came, before the dot after some tries, behind it
    at once; the mailbox's other letters leave, by the same process, and nothing leaves twice.
    """
    with stage(database, home, port=port, fleet=FLEET, contacts=CONTACTS) as it:
        address = first_address(it)
        sender = it.sender(POISONED, point, address)
        it.finish()
        said = it.stop(sender)
        assert it.states() == {state: 1, "accepted": CONTACTS - 1}
        assert it.value(OF_ADDRESS.format("state"), address) == state
        assert reason in str(it.value(OF_ADDRESS.format("reason"), address))
        assert "letter_failed" in said and address not in said
        assert it.value("SELECT count(*) FROM sender") == 1
    letters = [transaction.message_id for transaction in taken(home)]
    assert len(letters) == len(set(letters)) >= CONTACTS - 1
