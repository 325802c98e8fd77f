"""What is held about a person: all of it is shown, and an erasure leaves nothing of it but a digest."""

import json
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailfleet.base.db import connect
from mailfleet.base.errors import InputError
from mailfleet.cli.contact import contact_command
from mailfleet.intake.contact_data import QUOTING, Erased, erase_contact, export_contact
from mailfleet.intake.contact_store import QUERIES as CONTACTS
from mailfleet.intake.contact_store import ImportProgress, import_contacts
from mailfleet.intake.contacts import ContactDefaults
from mailfleet.intake.tables import open_table
from mailfleet.mail.addresses import parse_address
from mailfleet.model.words import Outcome
from mailfleet.outbox.sent_copies import QUERIES as COPIES
from mailfleet.outbox.stops import suppress
from outbox.queue_scene import one, result, rows, sender
from stage import DEADLINE, wait_until
from suppression.doomed_erasure import POINTS
from suppression.person import ADDRESS, COLLEAGUE, KEY, WORDS, Person, lay_person, left_of
from suppression.scene import Scene
from suppression.test_company_bans import take

DOOMED = Path(__file__).with_name("doomed_erasure.py")
# Tables that hold nobody but ourselves, numbers and the words of our own code.
OURS = {
    "account", "alert_target", "campaign", "contact_list", "django_migrations", "domain", "identity", "mailbox",
    "mailbox_reason", "oauth_grant", "oauth_token", "pool", "provider", "reading", "recipient_domain", "sending_limit",
    "setting", "usage", "variant", "watcher", "sender", "reading_cursor", "counted_letter",
}  # fmt: skip
# Columns of people's tables that hold a word of ours, a digest, or what `erase_contact` clears by the row itself.
CLEARED = {
    "contact": {"address", "address_key", "domain", "first_name", "last_name", "country", "time_zone", "lawful_basis"},
    "enrollment": {"state", "reason_code"},
    "message": {"header_id", "state", "reason_code"},
    "attempt": {"outcome", "stage", "enhanced", "reply_class", "reply_scope", "rule"},
    "hold": {"scope_kind", "scope_key", "set_by", "lifted_by", "family", "cause_kind", "cause_key"},
    "incoming": {"folder", "header_id", "kind", "matched_by", "decided_by"},
    "event": {"kind", "reply_class", "reply_scope", "enhanced"},
    "incident": {"family", "scope_kind", "scope_key", "part_of_kind", "part_of_key"},
    "suppression": {"kind", "value"},
    "import_run": {"kind"},
}


@pytest.fixture
def person(scene: Scene) -> Person:
    return lay_person(scene)


def erase(person: Person) -> Erased:
    return erase_contact(person.connection, person.scene.digester, person.address, by="test")


def test_nothing_is_left_of_an_erased_person(person: Person) -> None:
    """No text, JSON, array or bytes of any table holds their address, name or company, whoever wrote it."""
    assert len(left_of(person.connection, *WORDS)) > 20
    erased = erase(person)
    assert (erased.is_contact, erased.incoming, erased.in_hand) == (True, 3, 0)
    left = [found for found in left_of(person.connection, *WORDS) if COLLEAGUE not in found]
    assert left == []
    assert person.column("address") == person.column("address_key") == f"erased-{person.contact}@erased.invalid"
    assert person.column("erased_at") is not None


def test_what_others_hold_of_others_stays(person: Person) -> None:
    """A colleague whose address ends alike, and the rest of a mail that quoted the person, are untouched."""
    erase(person)
    notes = one(person.connection, "SELECT attributes FROM contact WHERE address = %s", COLLEAGUE)
    assert notes == {"boss": f"erased, {COLLEAGUE}", "verp": "b+erased@x"}
    mail = person.connection.execute("SELECT * FROM incoming WHERE uid = 4").fetchone()
    assert mail is not None
    assert (mail.sender_name, mail.text) == ("Zed", 'Cc: "x" <erased>, zed@else.example')
    assert mail.details == {"cc": ["erased", COLLEAGUE]}


def test_counts_and_what_the_laws_rest_on_stay(person: Person) -> None:
    """Letters, attempts with outcomes, mails by their digest, events and counted letters stay in number and kind."""
    kept = {
        "message": "id, enrollment_id, step_id, contact_id, header_id, state, attempts, settled_at, reason_code",
        "attempt": "id, message_id, number, outcome, code, reserved_at, limit_ids",
        "incoming": "id, digest, uid, kind, message_id, contact_id, received_at",
        "event": "id, kind, at, message_id",
        "counted_letter": "message_id, at",
        "enrollment": "id, contact_id, next_step",
        "usage": "limit_id, scope_key, counts",
    }
    queries = [f"SELECT {columns} FROM {table} ORDER BY 1" for table, columns in kept.items()]
    before = [rows(person.connection, query) for query in queries]
    erase(person)
    assert [rows(person.connection, query) for query in queries] == before


def test_an_erased_person_is_banned_for_good(person: Person, tmp_path: Path) -> None:
    """The digest of the address stays with a ban: enrollments end, the gate bars, and no import brings them back."""
    erase(person)
    digest = person.scene.digester.address(KEY)
    assert person.column("digests") == [digest]
    ban = person.connection.execute("SELECT * FROM suppression").fetchone()
    assert ban is not None
    assert (bytes(ban.digest), ban.value, ban.kind, ban.source) == (digest, None, "address", "operator test")
    assert one(person.connection, "SELECT state FROM enrollment WHERE contact_id = %s", person.contact) == "stopped"
    counts = take(person.scene, tmp_path, f"email,first_name\n{ADDRESS},Zarquon\n")
    assert (counts.suppressed, counts.new) == (1, 0)
    assert one(person.connection, "SELECT count(*) FROM list_member WHERE contact_id = %s", person.contact) == 0


def test_an_earlier_ban_keeps_its_moment_and_source(person: Person) -> None:
    """Only its words and its value go."""
    suppress(person.connection, person.scene.digester, KEY, reason="Quux phoned", source="opt_out", evidence={"a": KEY})
    before = person.connection.execute("SELECT * FROM suppression").fetchone()
    erase(person)
    after = person.connection.execute("SELECT * FROM suppression").fetchone()
    assert before is not None and after is not None
    assert (after.source, after.created_at) == (before.source, before.created_at)
    assert (after.value, after.reason, after.evidence) == (None, "asked to be forgotten", {})


def test_erasing_twice_changes_nothing_more(person: Person) -> None:
    """The person is found by the digest that is left."""
    first = erase(person)
    texts = [f"SELECT t::text FROM {table} t" for table in ("contact", "message", "incoming", "suppression")]
    query = f"{' UNION ALL '.join(texts)} ORDER BY 1"
    before = rows(person.connection, query)
    second = erase(person)
    assert (second.is_contact, second.mailboxes) == (True, first.mailboxes)
    assert rows(person.connection, query) == before


def test_somebody_who_is_no_contact_is_erased_too(person: Person) -> None:
    """Mail of strangers is held as well; they are banned, and contacts stay as they are."""
    stranger = parse_address("list@else.example")
    erased = erase_contact(person.connection, person.scene.digester, stranger, by="test")
    assert (erased.is_contact, erased.incoming) == (False, 1)
    assert left_of(person.connection, "list@else.example") == []
    assert person.column("address") == ADDRESS


async def test_a_letter_in_hand_is_recalled_and_its_answer_erased_later(scene: Scene) -> None:
    """What is leaving is counted; when its server has answered, with the address, the second run takes that away."""
    contact = one(scene.connection, "SELECT min(id) FROM contact")
    address = parse_address(scene.address(contact))
    async with sender(scene.laid) as hand:
        taken = await hand.take()
        erased = erase_contact(scene.connection, scene.digester, address, by="test")
        assert erased.in_hand == 1
        assert len(await hand.outbox.recall([it.message_id for it in taken])) == 1
        for it in taken:
            await hand.outbox.settle([result(it, Outcome.ACCEPTED, reply=f"250 <{address.wire}> taken")])
    assert len(left_of(scene.connection, address.wire)) > 0
    assert erase_contact(scene.connection, scene.digester, address, by="test").in_hand == 0
    assert (
        one(
            scene.connection,
            "SELECT reply FROM attempt a JOIN message m ON m.id = a.message_id WHERE m.contact_id = %s",
            contact,
        )
        == ""
    )


def test_every_column_of_the_schema_is_judged(scene: Scene) -> None:
    """A column of text is searched for quotes, cleared by its row, or known to hold nobody: a new one needs a word."""
    columns = rows(
        scene.connection,
        "SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN information_schema.tables t"
        " USING (table_schema, table_name) WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'"
        " AND c.data_type IN ('text', 'character varying', 'jsonb', 'json')",
    )
    unjudged = {
        f"{table}.{column}"
        for table, column in columns
        if table not in OURS and column not in {*QUOTING.get(table, ()), *CLEARED.get(table, ())}
    }
    assert unjudged == set()


@pytest.mark.parametrize("point", POINTS)
def test_an_erasure_that_is_killed_is_none_or_whole(person: Person, point: str) -> None:
    """SIGKILL at each point: every text is there or none; a ban stands from the first step on; a next run ends it."""
    before = left_of(person.connection, *WORDS)
    words = [
        sys.executable,
        str(DOOMED),
        point,
        person.scene.laid.conninfo,
        str(person.scene.laid.settings.home),
        ADDRESS,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = left_of(person.connection, *WORDS)
    if point == "after the commit":
        assert [found for found in left if COLLEAGUE not in found] == []
    else:
        assert set(before) <= set(left)
    banned = one(person.connection, "SELECT count(*) FROM suppression")
    assert banned == (0 if point == "before the ban" else 1)
    erase(person)
    assert [found for found in left_of(person.connection, *WORDS) if COLLEAGUE not in found] == []


def test_all_that_is_held_is_shown(person: Person) -> None:
    """The row with its provenance, lists, enrollments, letters with every try and the copy, mails, events, bans."""
    scene = person.scene
    suppress(person.connection, scene.digester, "firm.example", reason="asked", source="test")
    found = export_contact(person.connection, scene.digester, person.address)
    assert found["contact"]["company"] == "Vogsphere Ltd"
    assert found["contact"]["imported_from"] == "zarquon.quux@firm.example.csv"
    assert found["lists"] == ["fair"]
    [enrollment], [letter], [event], [ban] = (
        found[name] for name in ("enrollments", "letters", "events", "suppressions")
    )
    assert enrollment["campaign"] == letter["campaign"] == event["campaign"] == "campaign-0"
    assert letter["subject"] == "Zarquon, a word on Vogsphere"
    assert "Dear Zarquon" in letter["copy"]
    assert [attempt["code"] for attempt in letter["attempts"]] == [450, 250]
    assert [mail["text"] for mail in found["incoming"]] == [
        "Vogsphere says no", "to zarquon.quux@firm.example", "I am Zarquon"
    ]  # fmt: skip
    assert (event["text"], ban["value"]) == ("Zarquon: Vogsphere says no", "firm.example")


def test_of_nobody_nothing_is_shown(person: Person) -> None:
    """Who is not known is told so; of an erased person the ban is left."""
    with pytest.raises(InputError, match="Nothing is held"):
        export_contact(person.connection, person.scene.digester, parse_address("nobody@else.example"))
    erase(person)
    found = export_contact(person.connection, person.scene.digester, person.address)
    assert not any(word in json.dumps(found["letters"], default=str).lower() for word in WORDS)
    assert [ban["reason"] for ban in found["suppressions"]] == ["asked to be forgotten"]


def run(person: Person, *words: str, answer: str = "") -> str:
    place = {
        "MAILFLEET_HOME": str(person.scene.laid.settings.home),
        "MAILFLEET_DATABASE_URL": person.scene.laid.conninfo,
    }
    return CliRunner().invoke(contact_command, list(words), input=answer, env=place, catch_exceptions=False).stdout


def test_the_export_is_json(person: Person) -> None:
    """One object, in letters that people read."""
    found = json.loads(run(person, "export", ADDRESS))
    assert (found["address"], found["contact"]["collected_on"], found["logs"]) == (ADDRESS, "2026-01-31", [])


def test_an_erasure_asks_first(person: Person) -> None:
    """Without a yes nothing is touched; with one, what went and which mailboxes still hold mail is said."""
    with pytest.raises(InputError, match="Nobody said yes"):
        run(person, "erase", ADDRESS, answer="n\n")
    assert person.column("address") == ADDRESS
    said = run(person, "erase", ADDRESS, answer="y\n")
    assert "The contact is erased, with 3 mails" in said
    mailbox = one(
        person.connection,
        "SELECT b.address FROM mailbox b JOIN message m ON m.mailbox_id = b.id WHERE m.contact_id = %s",
        person.contact,
    )
    assert f"still hold letters or mails: {mailbox}\n" in said
    assert "The contact is erased" in run(person, "erase", "--yes", ADDRESS)


def test_an_erasure_that_meets_another_change_comes_through(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that quotes the address and changes meanwhile breaks the snapshot; at the next try it loses the quote."""
    from mailfleet.intake import contact_data

    original, rivals = contact_data._erase_quotes, ["incident"]

    def change_first(connection: object, table: str, *rest: object) -> None:
        if table in rivals:
            rivals.remove(table)
            with connect(person.scene.laid.conninfo, name="rival") as rival:
                rival.execute("UPDATE incident SET severity = 2")
        original(connection, table, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(contact_data, "_erase_quotes", change_first)
    erase(person)
    assert one(person.connection, "SELECT text || severity FROM incident") == "a bounce of erased2"


@pytest.mark.parametrize("address", ["zarquon@vogsphere.example", ADDRESS])
def test_an_import_under_way_brings_nobody_back(person: Person, tmp_path: Path, address: str) -> None:
    """Be they new or known: who is erased while a file with them is taken in is erased after it, which is said."""
    file = tmp_path / "c.csv"
    file.write_text(f"email,first_name,company\n{address},Zarquon,Vogsphere\n")
    erasing_pid = person.connection.info.backend_pid
    said: list[str] = []
    erasing: list[Future[Erased]] = []

    def erase_meanwhile(progress: ImportProgress) -> None:
        if progress.stage == "merging":
            told = partial(erase_contact, by="test", say_waiting=lambda: said.append("waits"))
            erasing.append(beside.submit(told, person.connection, person.scene.digester, parse_address(address)))
            wait_until(lambda: said or erasing[0].done(), "the erasure to come to the import")

    with connect(person.scene.laid.conninfo, name="import") as other, ThreadPoolExecutor(1) as beside:
        counts = import_contacts(
            other,
            person.scene.digester,
            open_table(file),
            list_name="fair",
            defaults=ContactDefaults(),
            dry_run=False,
            note=lambda line, remark, reason: None,
            on_progress=erase_meanwhile,
        )
        assert erasing[0].result(DEADLINE).is_contact
        assert rows(other, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = %s", erasing_pid) == []
    assert (said, counts.new + counts.changed) == (["waits"], 1)
    assert [found for found in left_of(person.connection, address) if COLLEAGUE not in found] == []
    held = "SELECT first_name || company FROM contact WHERE erased_at IS NOT NULL"
    assert [text for (text,) in rows(person.connection, held)] == [""]


def test_a_change_found_before_an_erasure_is_not_written_after_it(person: Person) -> None:
    """Should an import have met the contact while it was whole, nothing comes back to the row."""
    found = (
        "INSERT INTO changed SELECT id, true, digests, 'Zarquon', last_name, company, title, source, source_url,"
        " country, time_zone, collected_on, lawful_basis, attributes FROM contact"
    )
    erase(person)
    with person.connection.transaction():
        person.connection.execute(CONTACTS["prepare"])
        person.connection.execute(found)
        changed = person.connection.execute(CONTACTS["change"], {"run": None}).rowcount
    assert (changed, person.column("first_name")) == (3, "")


def test_no_copy_of_a_letter_outlives_an_erasure(person: Person) -> None:
    """One that is being kept is waited for and dropped; after the erasure none is kept."""
    person.connection.execute("DELETE FROM sent_copy")
    person.connection.execute("UPDATE mailbox SET imap_host = 'imap.a.test'")
    attempt = one(person.connection, "SELECT id FROM attempt WHERE outcome = 'accepted'")
    copy = {"attempts": [attempt], "contents": [b"Dear Zarquon"]}
    waits = "SELECT 1 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted AND pid = %s"
    erasing_pid = person.connection.info.backend_pid
    with connect(person.scene.laid.conninfo, name="sender") as other, ThreadPoolExecutor(1) as beside:
        with other.transaction():
            assert other.execute(COPIES["keep"], copy).rowcount == 1
            erasing = beside.submit(erase, person)
            wait_until(lambda: erasing.done() or rows(other, waits, erasing_pid), "the erasure to come to the copy")
        erasing.result(DEADLINE)
        assert one(other, "SELECT count(*) FROM sent_copy") == 0
        assert other.execute(COPIES["keep"], copy).rowcount == 0
