"""What becomes of contacts and lists when files are taken in."""

import csv
import os
import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError, SetupError
from mailfleet.base.secrets import Digester
from mailfleet.intake import contact_store
from mailfleet.intake.contact_store import (
    QUERIES,
    ContactCounts,
    ImportProgress,
    Remark,
    import_contacts,
    parse_list_name,
)
from mailfleet.intake.contacts import ContactDefaults
from mailfleet.intake.tables import open_table
from mailfleet.outbox.service import STOP_LOCK
from mailfleet.outbox.stops import suppress

DIGESTER = Digester(b"k" * 32)
NOTHING = ContactDefaults()
STRENGTH = ["none", "legitimate_interest", "existing_customer", "consent"]
FIELDS = (
    "address_key, first_name, last_name, company, title, country, time_zone, attributes, source, source_url,"
    " collected_on, lawful_basis"
)


@dataclass
class Intake:
    """Files into one database, and the remarks on the file taken in last."""

    connection: Connection
    folder: Path
    remarks: list[tuple[int, Remark, str]] = field(default_factory=list)

    def take(
        self,
        text: str,
        *,
        name: str = "labs",
        defaults: ContactDefaults = NOTHING,
        dry_run: bool = False,
        on_progress: Callable[[ImportProgress], None] = lambda at: None,
    ) -> ContactCounts:
        file = self.folder / f"contacts-{threading.get_ident()}.csv"
        file.write_text(text, encoding="utf-8")
        self.remarks.clear()
        return import_contacts(
            self.connection,
            DIGESTER,
            open_table(file),
            list_name=name,
            defaults=defaults,
            dry_run=dry_run,
            note=lambda *remark: self.remarks.append(remark),
            on_progress=on_progress,
        )

    def contacts(self) -> dict[str, Any]:
        """Each contact by its key, without what the database numbers."""
        rows = self.connection.execute(f"SELECT {FIELDS} FROM contact").fetchall()
        return {row.address_key: row for row in rows}

    def members(self, name: str = "labs") -> set[str]:
        query = (
            "SELECT c.address_key FROM list_member m JOIN contact c ON c.id = m.contact_id"
            " JOIN contact_list l ON l.id = m.contact_list_id WHERE l.name = %s"
        )
        return {row.address_key for row in self.connection.execute(query, [name])}

    def count(self, table: str) -> int:
        row = self.connection.execute(f"SELECT count(*) AS number FROM {table}").fetchone()
        assert row is not None
        return int(row.number)

    def clear(self) -> None:
        for table in ("list_member", "contact", "contact_list", "import_run", "suppression"):
            self.connection.execute(f"DELETE FROM {table}")


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def intake(connection: Connection, tmp_path: Path) -> Intake:
    return Intake(connection, tmp_path)


def kinds(counts: ContactCounts) -> dict[str, int]:
    """The counts that are not nought."""
    names = ("rows", "new", "changed", "unchanged", "duplicate", "suppressed", "refused", "joined")
    return {name: number for name in names if (number := getattr(counts, name))}


def erase(connection: Connection) -> None:
    """As an erasure does it: the digests stay, people's data goes."""
    connection.execute("UPDATE suppression SET value = NULL")


# -- one file ------------------------------------------------------------------------------------------------------


def test_a_row_becomes_a_contact_with_all_that_it_says(intake: Intake) -> None:
    """Fields, other columns as attributes, provenance, basis, the digests of every suppression, and its import run."""
    text = (
        "email,first_name,last_name,company,title,country,time_zone,source,source_url,collected_on,basis,City,Note\n"
        'Ann.Lee@Mail.Acme.example,Ann,Lee,"Acme \\ Co",CTO,DE,Europe/Berlin,fair,https://f.example,2026-01-31,consent,'
        'Köln,"two\nlines ""quoted"", \\n"\n'
    )
    counts = intake.take(text)
    row = intake.connection.execute(
        "SELECT c.*, r.kind, r.file_name FROM contact c JOIN import_run r ON r.id = c.import_run_id"
    ).fetchone()
    assert row is not None
    assert (row.address, row.address_key) == ("Ann.Lee@Mail.Acme.example", "ann.lee@mail.acme.example")
    assert (row.first_name, row.last_name, row.company, row.title) == ("Ann", "Lee", "Acme \\ Co", "CTO")
    assert (row.country, row.time_zone, row.domain) == ("DE", "Europe/Berlin", "mail.acme.example")
    assert (row.source, row.source_url, row.collected_on) == ("fair", "https://f.example", date(2026, 1, 31))
    assert (row.lawful_basis, row.kind) == ("consent", "contacts")
    assert row.attributes == {"city": "Köln", "note": 'two\nlines "quoted", \\n'}
    assert row.digests == DIGESTER.all_of("ann.lee@mail.acme.example", "mail.acme.example", "acme")
    assert (kinds(counts), intake.members()) == ({"rows": 1, "new": 1, "joined": 1}, {row.address_key})


def test_contacts_of_one_domain_have_all_their_digests(intake: Intake) -> None:
    """Each is found by its own address, by the domain they share, and by its parent."""
    keys = ["ann@mail.acme.example", "ben@mail.acme.example", "cid@else.example"]
    intake.take("\n".join(["email", *keys]))
    rows = intake.connection.execute("SELECT address_key, digests FROM contact ORDER BY 1").fetchall()
    assert [tuple(row) for row in rows] == [(key, DIGESTER.all_of(key, key.partition("@")[2])) for key in keys]


def test_addresses_outside_ascii_are_kept(intake: Intake) -> None:
    """International domains and local parts keep their spelling; key and domain are the normalised ones."""
    intake.take("email\nAnn@bücher.example\nЖук@почта.рф\n")
    rows = intake.connection.execute("SELECT address, address_key, domain FROM contact ORDER BY address").fetchall()
    assert [tuple(row) for row in rows] == [
        ("Ann@bücher.example", "ann@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("Жук@почта.рф", "жук@xn--80a1acny.xn--p1ai", "xn--80a1acny.xn--p1ai"),
    ]


def test_a_bad_row_is_told_and_stops_no_other(intake: Intake) -> None:
    """A refused row is reported with its line and reason, a cell not understood is left out, the others come in."""
    counts = intake.take("email,country\nann(at)acme,DE\nben@acme.example,Narnia\ncid@acme.example,FR,x,y\n")
    assert kinds(counts) == {"rows": 3, "new": 1, "refused": 2, "joined": 1}
    assert counts.left_out == 1
    assert [remark[:2] for remark in intake.remarks] == [(2, "refused"), (3, "left out"), (4, "refused")]
    assert set(intake.contacts()) == {"ben@acme.example"}


def test_the_run_keeps_the_counts(intake: Intake) -> None:
    """An import run says of which file it was, when it ended and what became of the rows."""
    counts = intake.take("email\nann@acme.example\nANN@acme.example\nno\n")
    run = intake.connection.execute("SELECT * FROM import_run").fetchone()
    assert run is not None
    assert run.finished_at >= run.started_at
    assert (run.counts["rows"], run.counts["duplicate"], run.counts["refused"]) == (3, 1, 1)
    assert ContactCounts(**run.counts) == counts


def test_members_without_lawful_basis_are_counted(intake: Intake) -> None:
    """Such contacts are taken in, and counted for as long as the list has them."""
    assert intake.take("email\nann@acme.example\nben@acme.example\n").not_sendable == 2
    assert intake.take("email,basis\nann@acme.example,consent\n").not_sendable == 1


def test_a_dry_run_says_the_same_and_keeps_nothing(intake: Intake) -> None:
    """The counts and remarks of a dry run are those of the import that follows it."""
    text = "email\nann@acme.example\nann@acme.example\nno\n"
    told = intake.take(text, dry_run=True), list(intake.remarks)
    assert [intake.count(table) for table in ("contact", "contact_list", "import_run")] == [0, 0, 0]
    assert (intake.take(text), intake.remarks) == told


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 101])
def test_a_list_has_a_name_of_one_line(name: str) -> None:
    """What nobody could type into a campaign is no name."""
    with pytest.raises(InputError, match="no name for a list"):
        parse_list_name(name)
    assert parse_list_name(" Labs, Köln ") == "Labs, Köln"


# -- what is known -------------------------------------------------------------------------------------------------


def test_what_is_not_empty_wins_and_the_rest_stays(intake: Intake) -> None:
    """A newer file fills and overrides; an empty cell takes nothing away, attributes are merged one by one."""
    intake.take("email,first_name,title,city,topic\nann@acme.example,Ann,CTO,Köln,pumps\n")
    counts = intake.take("email,first_name,title,topic,size\nANN@acme.example,Anna,,valves,12\n", name="other")
    contact = intake.contacts()["ann@acme.example"]
    assert (contact.first_name, contact.title) == ("Anna", "CTO")
    assert contact.attributes == {"city": "Köln", "topic": "valves", "size": "12"}
    assert kinds(counts) == {"rows": 1, "changed": 1, "joined": 1}
    assert intake.members("other") == intake.members("labs") == {"ann@acme.example"}


@pytest.mark.parametrize("brought", STRENGTH)
@pytest.mark.parametrize("known", STRENGTH)
def test_a_lawful_basis_is_never_lowered(intake: Intake, known: str, brought: str) -> None:
    """The stronger basis stays, with the provenance it was given with; an equal one may bring newer provenance."""
    intake.take(f"email,basis,source,source_url\nann@acme.example,{known},old,https://old.example\n")
    intake.take(f"email,basis,source,collected_on\nann@acme.example,{brought},new,2026-01-31\n")
    contact = intake.contacts()["ann@acme.example"]
    assert contact.lawful_basis == max(known, brought, key=STRENGTH.index)
    new, old = ("new", "", date(2026, 1, 31)), ("old", "https://old.example", None)
    is_newer = STRENGTH.index(brought) >= STRENGTH.index(known)
    assert (contact.source, contact.source_url, contact.collected_on) == (new if is_newer else old)


def test_rows_of_one_address_are_one_contact_whatever_chunk_they_are_in(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each later row is told as a duplicate and still fills what it knows, new contact or known."""
    monkeypatch.setattr(contact_store, "CHUNK", 2)
    text = (
        "email,first_name,city\nann@acme.example,,Köln\nANN@acme.example,Ann,\nben@acme.example,,\n"
        "ann@acme.example,Anna,\n"
    )
    assert kinds(intake.take(text)) == {"rows": 4, "new": 2, "duplicate": 2, "joined": 2}
    assert [remark[:2] for remark in intake.remarks] == [(3, "duplicate"), (5, "duplicate")]
    contact = intake.contacts()["ann@acme.example"]
    assert (contact.first_name, contact.attributes) == ("Anna", {"city": "Köln"})
    assert kinds(intake.take(text)) == {"rows": 4, "unchanged": 2, "duplicate": 2}
    assert [remark[:2] for remark in intake.remarks] == [(3, "duplicate"), (5, "duplicate")]


def test_a_contact_points_to_the_run_that_last_changed_it(intake: Intake) -> None:
    """A run that brings nothing new leaves the pointer; one that changes takes it."""
    files = []
    for name in ("Ann", "Ann", "Anna"):
        intake.take(f"email,first_name\nann@acme.example,{name}\n")
        row = intake.connection.execute("SELECT import_run_id AS run FROM contact").fetchone()
        assert row is not None
        files.append(row.run)
    assert files[0] == files[1] != files[2]


def test_the_age_and_the_spelling_of_a_contact_outlive_an_import(intake: Intake) -> None:
    """An import says nothing of what is not in its file: when the contact came, how its address is spelt."""
    intake.take("email\nAnn@acme.example\n")
    before = intake.connection.execute("SELECT id, address, created_at, digests FROM contact").fetchone()
    intake.take("email,first_name\nANN@acme.example,Ann\n")
    assert intake.connection.execute("SELECT id, address, created_at, digests FROM contact").fetchone() == before


# -- never after no ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["ann@mail.acme.example", "mail.acme.example", "acme.example"])
@pytest.mark.parametrize("is_erased", [False, True])
def test_a_suppressed_address_is_not_taken_in(intake: Intake, target: str, is_erased: bool) -> None:
    """Banned itself, by its domain or by a parent of that, erased or not: no contact, no member, but a remark."""
    suppress(intake.connection, DIGESTER, target, reason="opted out", source="test")
    if is_erased:
        erase(intake.connection)
    counts = intake.take("email\nAnn@Mail.Acme.example\nANN@mail.acme.example\nben@else.example\n")
    assert kinds(counts) == {"rows": 3, "new": 1, "suppressed": 2, "joined": 1}
    assert set(intake.contacts()) == intake.members() == {"ben@else.example"}
    kind = "address" if "@" in target else "domain"
    reason = f"the {kind} is suppressed: opted out" + ("; its data was erased" if is_erased else "")
    assert intake.remarks == [(2, "suppressed", reason), (3, "suppressed", reason)]


def test_a_known_contact_that_was_suppressed_is_left_alone(intake: Intake) -> None:
    """It is neither changed nor put on a further list, nor is its suppression touched."""
    intake.take("email,first_name\nann@acme.example,Ann\n")
    suppress(intake.connection, DIGESTER, "ann@acme.example", reason="opted out", source="test")
    standing = intake.connection.execute("SELECT * FROM suppression").fetchall()
    counts = intake.take("email,first_name,basis\nann@acme.example,Anna,consent\n", name="other")
    assert kinds(counts) == {"rows": 1, "suppressed": 1}
    assert intake.contacts()["ann@acme.example"][1] == "Ann"
    assert intake.members("other") == set()
    assert intake.connection.execute("SELECT * FROM suppression").fetchall() == standing


# -- any files -----------------------------------------------------------------------------------------------------

NAMES = ("email", "first_name", "lawful_basis", "source", "city", "size")
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "email": st.sampled_from(
                [
                    "ann@a.example",
                    "ANN@A.example",
                    "ben@a.example",
                    "cid@x.b.example",
                    "dan@b.example",
                    "жук@c.example",
                    "no",
                ]
            ),
            "first_name": st.sampled_from(["", "", "Ann", "Anna"]),
            "lawful_basis": st.sampled_from(["", *STRENGTH]),
            "source": st.sampled_from(["", "fair", "web"]),
            "city": st.sampled_from(["", "Köln", "Ufa"]),
            "size": st.sampled_from(["", "1", "2"]),
        }
    ),
    max_size=9,
)


def written(rows: Sequence[Mapping[str, str]]) -> str:
    lines = [",".join(NAMES), *(",".join(row[name] for name in NAMES) for row in rows)]
    return "\n".join(lines) + "\n"


def last_told(rows: Sequence[Mapping[str, str]], column: str) -> dict[str, str]:
    told: dict[str, str] = defaultdict(str)
    for row in rows:
        if row["email"] != "no":
            told[row["email"].lower()] = row[column] or told[row["email"].lower()]
    return dict(told)


def essence(intake: Intake) -> dict[str, tuple[str, frozenset[str]]]:
    """What the order of rows may not touch."""
    return {key: (row.lawful_basis, frozenset(row.attributes)) for key, row in intake.contacts().items()}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=ROWS, second=ROWS, chunk=st.integers(1, 4), seed=st.integers(0, 99))
def test_any_two_files_in_any_order_give_the_same_contacts(
    intake: Intake, first: list[dict[str, str]], second: list[dict[str, str]], chunk: int, seed: int
) -> None:
    """Keys, members, basis, names of attributes do not depend on order; the last told wins; a repeat is silent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contact_store, "CHUNK", chunk)
        intake.clear()
        suppress(intake.connection, DIGESTER, "b.example", reason="no", source="test")
        allowed = [row for row in first + second if not row["email"].endswith("b.example")]
        for rows in (first, second):
            counts = intake.take(written(rows))
            assert counts.rows == len(rows)
            assert counts.rows == sum(
                getattr(counts, kind) for kind in ("new", "changed", "unchanged", "duplicate", "suppressed", "refused")
            )
        contacts = intake.contacts()
        for column, value in (
            ("first_name", lambda row: row.first_name),
            ("city", lambda row: row.attributes.get("city", "")),
        ):
            assert {key: value(row) for key, row in contacts.items()} == last_told(allowed, column)
        assert intake.members() == set(contacts)
        again = intake.take(written(second))
        assert (again.new, again.changed, again.joined) == (0, 0, 0)
        assert intake.contacts() == contacts
        wanted = essence(intake)
        intake.clear()
        suppress(intake.connection, DIGESTER, "b.example", reason="no", source="test")
        for rows in (second, first):
            intake.take(written(random.Random(seed).sample(rows, len(rows))))
        assert essence(intake) == wanted


# -- kills, neighbours, failures -----------------------------------------------------------------------------------

MANY = "email\n" + "".join(f"person{number}@acme.example\n" for number in range(12_000))
LAST = "person11999@acme.example"
TAKE = """
import sys
from mailfleet.base.db import connect
from mailfleet.base.secrets import Digester
from mailfleet.intake.contact_store import import_contacts
from mailfleet.intake.contacts import ContactDefaults
from mailfleet.intake.tables import open_table

conninfo, file = sys.argv[1:]
with connect(conninfo, name="victim") as connection:
    import_contacts(connection, Digester(b"k" * 32), open_table(file), list_name="labs", defaults=ContactDefaults(),
                    dry_run=False, note=print, on_progress=lambda at: None)
"""


def until(connection: Connection, condition: str) -> None:
    """Asks the database until the condition holds, for half a minute at most."""
    deadline = monotonic() + 30
    while not connection.execute(f"SELECT {condition} AS holds").fetchall()[0].holds:
        assert monotonic() < deadline, condition
        connection.execute("SELECT pg_sleep(0.01)")


def stand_in_the_way(connection: Connection) -> None:
    """Adds, without a commit, the contact that stands in the last chunk of `MANY`: the import waits for it there."""
    connection.execute(
        "INSERT INTO contact (address, address_key, domain, digests) VALUES (%s, %s, 'acme.example', '{}')",
        [LAST, LAST],
    )


IS_STUCK = "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')"


def test_a_killed_import_leaves_nothing(database: str, intake: Intake) -> None:
    """SIGKILL after chunks were merged: no contact, list or run is there, and the same file can be taken in again."""
    file = intake.folder / "many.csv"
    file.write_text(MANY)
    with connect(database, name="rival", autocommit=False) as rival:
        stand_in_the_way(rival)
        victim = subprocess.Popen([sys.executable, "-c", TAKE, database, str(file)], env=os.environ)
        until(intake.connection, IS_STUCK)
        victim.kill()
        victim.wait()
        rival.rollback()
    until(intake.connection, "NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'victim')")
    assert [intake.count(table) for table in ("contact", "contact_list", "list_member", "import_run")] == [0] * 4
    assert kinds(intake.take(MANY)) == {"rows": 12_000, "new": 12_000, "joined": 12_000}


def test_a_killed_client_is_noticed_while_its_statement_waits(database: str, intake: Intake) -> None:
    """The dead import's transaction ends although what it waits for goes on: it blocks no other import."""
    file = intake.folder / "many.csv"
    file.write_text(MANY)
    with connect(database, name="rival", autocommit=False) as rival:
        stand_in_the_way(rival)
        victim = subprocess.Popen([sys.executable, "-c", TAKE, database, str(file)], env=os.environ)
        until(intake.connection, IS_STUCK)
        victim.kill()
        victim.wait()
        assert kinds(intake.take("email\nben@else.example\n")) == {"rows": 1, "new": 1, "joined": 1}
        rival.rollback()


def test_two_imports_into_one_list_merge_one_after_the_other(database: str, intake: Intake, tmp_path: Path) -> None:
    """The second waits, says so, and finds what the first made: every contact is once, and no row is lost."""
    backwards = "\n".join(["email", *reversed(MANY.split()[1:])]) + "\n"
    waiting = threading.Event()
    with (
        connect(database, name="rival", autocommit=False) as rival,
        connect(database, name="second") as second,
        ThreadPoolExecutor(2) as both,
    ):
        stand_in_the_way(rival)
        one = both.submit(intake.take, MANY)
        until(second, IS_STUCK)
        two = both.submit(
            Intake(second, tmp_path).take, backwards, on_progress=lambda at: at.stage == "waiting" and waiting.set()
        )
        assert waiting.wait(60)
        rival.commit()
        assert kinds(one.result()) == {"rows": 12_000, "new": 11_999, "changed": 1, "joined": 12_000}
        assert kinds(two.result()) == {"rows": 12_000, "unchanged": 12_000}
    assert intake.count("contact") == intake.count("list_member") == 12_000


def test_a_database_that_goes_away_is_told(database: str, intake: Intake) -> None:
    """The error says that nothing was kept and what to do, and quotes no row."""

    def cut(at: ImportProgress) -> None:
        with connect(database, name="test") as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doomed'")

    with pytest.raises(SetupError, match=r"Nothing.*was kept") as failure, connect(database, name="doomed") as doomed:
        Intake(doomed, intake.folder).take(MANY, on_progress=cut)
    assert "import the same file" in failure.value.hint
    assert "person" not in str(failure.value)
    assert intake.count("contact") == 0


def test_a_file_that_breaks_off_is_not_half_taken_in(intake: Intake) -> None:
    """Where the next row cannot be found, nothing of the file is kept."""
    with pytest.raises(InputError, match="never closed"):
        intake.take(MANY + '"ann@acme.example\n')
    assert intake.count("contact") == intake.count("contact_list") == 0


def test_senders_do_not_wait_while_new_contacts_come_in(database: str, intake: Intake) -> None:
    """Until known contacts change, and at the very end alone, an import holds nothing that a reservation needs."""
    intake.take(f"email,first_name\n{LAST},Ann\n")
    asked: list[bool] = []

    def reserve(at: ImportProgress) -> None:
        with connect(database, name="sender", autocommit=False) as sender:
            sender.execute("SET lock_timeout = '5s'")
            sender.execute("SELECT pg_advisory_xact_lock_shared(%s)", [STOP_LOCK])
            sender.execute("SELECT id FROM contact FOR NO KEY UPDATE")
            asked.append(True)

    counts = intake.take(
        MANY.replace("email\n", "email,first_name\n").replace("example\n", "example,x\n"), on_progress=reserve
    )
    assert counts.changed == 1
    assert len(asked) >= 3


def test_a_change_waits_for_reservations_under_way(database: str, intake: Intake) -> None:
    """Known contacts change between reservations, so that the two never wait for each other's contacts in a circle."""
    intake.take("email\nann@acme.example\n")
    with (
        connect(database, name="sender", autocommit=False) as sender,
        connect(database, name="test") as watching,
        ThreadPoolExecutor(1) as beside,
    ):
        sender.execute("SELECT pg_advisory_xact_lock_shared(%s)", [STOP_LOCK])
        importing = beside.submit(intake.take, "email,first_name\nann@acme.example,Ann\n")
        until(watching, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory')")
        sender.execute("SELECT id FROM contact FOR NO KEY UPDATE NOWAIT")
        sender.commit()
        assert kinds(importing.result()) == {"rows": 1, "changed": 1}


# -- size ----------------------------------------------------------------------------------------------------------

MEASURE = f"""
from pathlib import Path

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

{TAKE.replace("with connect", "before = peak()" + chr(10) + "with connect")}
print(before, peak())
"""


def test_memory_does_not_grow_with_the_file(database: str, tmp_path: Path) -> None:
    """30 MB of large rows cost 40 MB at most, and the process stays below 150 MB."""
    file = tmp_path / "large.csv"
    note = "я" * 1_000
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("email", "note", "remark", "detail"))
        writer.writerows((f"p@firm{number}.example", note, note, note) for number in range(5_000))
    words = [sys.executable, "-c", MEASURE, database, str(file)]
    before, peak = map(int, subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())
    assert peak - before < 40
    assert peak < 150


@pytest.mark.parametrize("name", sorted(set(QUERIES) - {"prepare", "fill", "empty_chunk", "weigh_late", "look_over"}))
def test_every_query_is_understood_by_the_server(connection: Connection, name: str) -> None:
    """Each named query fits the schema."""
    values: dict[str, object] = {
        "import_lock": 1,
        "file_name": "x",
        "list_name": "x",
        "strength": STRENGTH,
        "run": None,
        "list": None,
        "counts": "{}",
    }
    with connection.transaction(force_rollback=True):
        connection.execute(QUERIES["prepare"])
        try:
            connection.execute(f"EXPLAIN {QUERIES[name]}", values)
        except psycopg.errors.IndeterminateDatatype:
            pytest.fail(f"{name}: a value's type is not clear")
