"""Files of bans: what is read from them, what is not, and that what was written comes back."""

import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError
from mailfleet.base.secrets import Digester
from mailfleet.intake import suppressions
from mailfleet.intake.suppression_rows import open_suppressions
from mailfleet.intake.suppressions import (
    SuppressionCounts,
    count_suppressions,
    find_suppressions,
    import_suppressions,
    write_suppressions,
)
from mailfleet.outbox.service import QUERIES, STOP_CHANNEL, STOP_LOCK
from mailfleet.outbox.stops import CompanyBan, suppress, suppress_companies
from outbox.queue_scene import one, rows, sender
from stage import DEADLINE, wait_until
from suppression.scene import Scene

Take = Callable[..., SuppressionCounts]


@pytest.fixture
def faults() -> list[tuple[int, str]]:
    """What the import that ran last said of rows."""
    return []


@pytest.fixture
def take(scene: Scene, tmp_path: Path, faults: list[tuple[int, str]]) -> Take:
    def taken(text: str, *, name: str = "bans.csv", digester: Digester | None = None) -> SuppressionCounts:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        faults.clear()
        return import_suppressions(
            scene.connection,
            digester or scene.digester,
            open_suppressions(file),
            by="test",
            note=lambda line, reason: faults.append((line, reason)),
            on_progress=lambda done, total: None,
        )

    return taken


def is_waiting(connection: Connection) -> bool:
    query = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    return connection.execute(query).fetchone() is not None


def values(scene: Scene) -> set[tuple[str, str | None]]:
    return {(row.kind, row.value) for row in scene.connection.execute("SELECT kind, value FROM suppression")}


def test_a_list_is_read_line_by_line(scene: Scene, take: Take, faults: list[tuple[int, str]]) -> None:
    """Addresses and domains, with nothing above them; blank lines and remarks are passed over, a bad line is named."""
    counts = take("# ours\nAnn@Acme.example\n\n@stop.example\nbücher.example\nno such thing\n", name="bans.txt")
    assert values(scene) == {
        ("address", "ann@acme.example"),
        ("domain", "stop.example"),
        ("domain", "xn--bcher-kva.example"),
    }
    assert (counts.rows, counts.refused, counts.new, counts.addresses, counts.domains) == (4, 1, 3, 1, 2)
    assert faults == [(6, "address: is no e-mail address and no domain")]


def test_a_table_keeps_reason_source_and_date(scene: Scene, take: Take) -> None:
    """What a row says of itself is kept; what it does not is said of the file."""
    take(
        "E-Mail;Reason;Source;Unsubscribed at\nann@acme.example;asked by phone;CRM;2026-01-31T10:00:00+02:00\n"
        "ben@acme.example;;;31.01.2026\ncid@acme.example;;;\n"
    )
    bans = scene.bans()
    ann, ben, cid = (bans[f"{name}@acme.example"] for name in ("ann", "ben", "cid"))
    assert (ann.reason, ann.source, ann.created_at) == ("asked by phone", "CRM", datetime(2026, 1, 31, 8, tzinfo=UTC))
    assert (ben.reason, ben.source) == ("imported from bans.csv", "import by test")
    assert ben.created_at == datetime(2026, 1, 31, tzinfo=UTC) < cid.created_at


def test_a_date_that_is_none_costs_no_ban(scene: Scene, take: Take, faults: list[tuple[int, str]]) -> None:
    """Nor does one of the future: the ban counts from now, and the row is named."""
    counts = take("address,date\nann@acme.example,soon\nben@acme.example,2999-01-01\n")
    assert (counts.new, counts.refused) == (2, 0)
    assert [line for line, reason in faults if "no date" in reason] == [2, 3]
    assert one(scene.connection, "SELECT max(created_at) - min(created_at) < interval '1 minute' FROM suppression")


def test_beside_an_address_a_company_bans_nobody(scene: Scene, take: Take) -> None:
    """A list of people who said no names their companies too: only the people are banned."""
    take("email,domain,company\nann@acme.example,acme.example,Acme\n")
    assert values(scene) == {("address", "ann@acme.example")}


def test_where_no_address_stands_the_domain_is_banned(scene: Scene, take: Take, faults: list[tuple[int, str]]) -> None:
    """A row that names a domain alone means all of it; a company alone bans nobody here, nor does a public domain."""
    counts = take("email,domain,company\n,acme.example,Acme\n,,Other\n,gmail.com,\n")
    assert values(scene) == {("domain", "acme.example")}
    assert (counts.domains, counts.refused) == (1, 2)
    assert [reason.partition(",")[0] for _, reason in faults] == [
        "email: is missing",
        "domain: a public mail provider's domain: everybody there would be banned; `mailfleet suppress` takes it",
    ]


def test_a_column_of_companies_bans_companies(scene: Scene, take: Take) -> None:
    """With all their contacts, those of older versions included."""
    first, _, third, _ = scene.name_companies("Acme GmbH", "Other AG", "acme, Inc.", "")
    counts = take("company,reason\nACME,asked\nOther Labs,asked\n—,asked\n")
    assert (counts.companies, counts.new, counts.refused) == (2, 2, 1)
    assert (counts.enrollments, counts.messages) == (2, 2)
    assert scene.ended() == scene.cancelled() == {first, third}


def test_bad_rows_cost_no_good_one(scene: Scene, take: Take, faults: list[tuple[int, str]]) -> None:
    """Each is named by its line and no cell of it is repeated; the rest is banned."""
    counts = take(
        'address,reason\nann@acme.example,a\nsecret-word,b\n,c\n"x"y,z\nben@acme.example,d,e,f\ncid@a.example,g\n'
    )
    assert (counts.rows, counts.new, counts.refused) == (6, 2, 4)
    assert [line for line, _ in faults] == [3, 4, 5, 6]
    assert "secret" not in str(faults)


def test_a_public_domain_in_a_list_is_refused(scene: Scene, take: Take, faults: list[tuple[int, str]]) -> None:
    """It would ban everybody there, and nothing takes that back; our own export may hold it."""
    take("gmail.com\nacme.example\n")
    assert values(scene) == {("domain", "acme.example")}
    assert "public mail provider" in faults[0][1]
    take("kind,value\ndomain,gmail.com\n")
    assert ("domain", "gmail.com") in values(scene)


def test_a_file_that_breaks_off_bans_what_stands_before(scene: Scene, take: Take) -> None:
    """A quote that is never closed: the rows above it are banned, effects included, and the error says so."""
    ids = [row[0] for row in rows(scene.connection, "SELECT id FROM contact ORDER BY id")]
    text = f'address\n{scene.address(ids[0])}\n"ben@acme.example\n'
    with pytest.raises(InputError, match="never closed") as caught:
        take(text)
    assert "rows before it are banned" in caught.value.hint
    assert values(scene) == {("address", scene.address(ids[0]))}
    assert scene.ended() == {ids[0]}
    assert take(text.replace('"', "")).new == 1


def test_a_failed_write_is_told_though_the_file_breaks_off(scene: Scene, take: Take) -> None:
    """Where both fail it is not said that the rows before are banned."""
    scene.connection.execute("ALTER TABLE suppression ADD CHECK (value <> 'ann@acme.example')")
    with pytest.raises(psycopg.errors.CheckViolation):
        take('address\nann@acme.example\n"ben@acme.example\n')


def test_rows_are_banned_chunk_by_chunk(scene: Scene, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more rows than a chunk holds none is lost at its border, and a repeated one is one ban."""
    monkeypatch.setattr(suppressions, "CHUNK", 3)
    names = [f"p{number % 7}@acme.example" for number in range(10)]
    counts = take("\n".join(["address", *names]))
    assert (counts.rows, counts.new, counts.known) == (10, 7, 3)
    assert len(values(scene)) == 7


def test_the_same_file_twice_changes_nothing(scene: Scene, take: Take) -> None:
    """Reason and moment of the first stay."""
    text = "address,reason\nann@acme.example,first\n"
    take(text)
    before = scene.bans()
    counts = take(text.replace("first", "second"))
    assert (counts.new, counts.known) == (0, 1)
    assert scene.bans() == before


async def test_a_file_stops_what_a_sender_holds(scene: Scene, take: Take) -> None:
    """As one ban does: letters reserved and not begun come back, enrollments end."""
    async with sender(scene.laid) as hand:
        taken = await hand.take()
        ids = [row[0] for row in rows(scene.connection, "SELECT id FROM contact ORDER BY id")]
        counts = take("\n".join(["address", *map(scene.address, ids[:3])]))
        refused = await hand.outbox.recall([it.message_id for it in taken])
    assert (counts.enrollments, len(refused), len(scene.ended())) == (3, 3, 3)


def test_senders_hear_of_a_file_that_ends_nothing(scene: Scene, take: Take) -> None:
    """What they reserved is looked at once more, after a stop that waits for reservations under way."""
    with connect(scene.laid.conninfo, name="sender") as heard, connect(scene.laid.conninfo, name="other") as other:
        heard.execute(f"LISTEN {STOP_CHANNEL}")
        with ThreadPoolExecutor(1) as beside:
            with other.transaction():
                other.execute(QUERIES["begin"], {"stop_lock": STOP_LOCK})
                taking = beside.submit(take, "nobody@acme.example\n")
                wait_until(lambda: is_waiting(other), "the import's stop to come to the lock")
                found = other.execute("SELECT value FROM suppression").fetchall()
                assert [row.value for row in found] == ["nobody@acme.example"], "the gate knows it already"
            assert taking.result(DEADLINE).new == 1
        assert [notice.channel for notice in heard.notifies(timeout=DEADLINE, stop_after=1)] == [STOP_CHANNEL]


def test_what_was_written_is_read_back(scene: Scene, take: Take, tmp_path: Path) -> None:
    """Into a restored installation: the same digests, kinds, values, reasons, sources and moments, erased ones too."""
    take('address,reason\nann@acme.example,"said ""no"", twice"\nben@acme.example,b\n')
    take("domain\nstop.example\n")
    suppress_companies(scene.connection, scene.digester, [CompanyBan("Acme GmbH", "r", "s")])
    scene.connection.execute("UPDATE suppression SET value = NULL WHERE value = 'ben@acme.example'")
    query = "SELECT digest, kind, value, reason, source, created_at FROM suppression ORDER BY digest"
    before = rows(scene.connection, query)
    file = tmp_path / "out.csv"
    assert write_suppressions(scene.connection, scene.digester, file) == 4
    assert "ben@" not in file.read_text()
    scene.connection.execute("DELETE FROM suppression")
    counts = take(file.read_text())
    assert (counts.rows, counts.new, counts.refused) == (4, 4, 0)
    assert rows(scene.connection, query) == before
    assert take(file.read_text()).known == 4


def test_no_text_of_an_export_is_a_formula(scene: Scene, take: Take, tmp_path: Path) -> None:
    """What a spreadsheet would run stands behind a '; all of it, and what began with a ' of its own, comes back."""
    texts = ["=1+1", "+49 30", "-1", "@now", "'=1+1", "''@x", "'tis", "1=1"]
    addresses = [f"{sign}p@acme.example" for sign in ("=", "+", "-", "'", "'+", "a+", "b=", "c")]
    for address, text in zip(addresses, texts, strict=True):
        suppress(scene.connection, scene.digester, address, reason=text, source=text)
    suppress_companies(scene.connection, scene.digester, [CompanyBan("=Acme GmbH", "r", "s")])
    query = "SELECT digest, kind, value, reason, source, created_at FROM suppression ORDER BY digest"
    before = rows(scene.connection, query)
    file = tmp_path / "out.csv"
    write_suppressions(scene.connection, scene.digester, file)
    with file.open(newline="") as lines:
        assert [cell for row in csv.reader(lines) for cell in row if cell.startswith(("=", "+", "-", "@"))] == []
    scene.connection.execute("DELETE FROM suppression")
    assert take(file.read_text()).refused == 0
    assert rows(scene.connection, query) == before


def test_digests_of_another_key_are_refused(
    scene: Scene, take: Take, tmp_path: Path, faults: list[tuple[int, str]]
) -> None:
    """What was erased elsewhere says nothing here, and is named; what has its value is banned."""
    suppress(scene.connection, scene.digester, "ann@acme.example", reason="r", source="s")
    suppress(scene.connection, scene.digester, "ben@acme.example", reason="r", source="s")
    scene.connection.execute("UPDATE suppression SET value = NULL WHERE value = 'ben@acme.example'")
    file = tmp_path / "out.csv"
    write_suppressions(scene.connection, scene.digester, file)
    scene.connection.execute("DELETE FROM suppression")
    other = Digester(b"another key of another house....")
    counts = take(file.read_text(), digester=other)
    assert (counts.new, counts.refused) == (1, 1)
    assert "another installation" in faults[0][1]
    assert one(scene.connection, "SELECT digest FROM suppression") == other.address("ann@acme.example")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("nobody,x@y.example,", "none of address, domain, company"),
        ("address,stop.example,", "is no address"),
        ("domain,,", "is missing"),
        ("company,,", "is missing"),
        ("address,,deadbeef", "is missing"),
    ],
)
def test_a_row_of_ours_that_was_changed_is_named(
    scene: Scene, take: Take, faults: list[tuple[int, str]], row: str, reason: str
) -> None:
    """An export that somebody edited: what does not fit is refused, never guessed."""
    assert take(f"kind,value,digest\n{row}\n").refused == 1
    assert reason in faults[0][1]


@pytest.mark.parametrize("text", ["first_name,city\nAnn,Rome\n", "", "email,email\na@b.example,c\n"])
def test_a_file_that_bans_nobody_is_refused(scene: Scene, take: Take, text: str) -> None:
    """Without a column that can be understood nothing is begun."""
    with pytest.raises(InputError):
        take(text)
    assert values(scene) == set()


def test_a_search_finds_what_bears_on_a_person(scene: Scene, take: Take) -> None:
    """An address finds its own ban though erased, and that of a parent domain; a part of a value or reason will do."""
    take("address\nann@mail.acme.example\nbob@else.example\n")
    take("domain\nacme.example\n")
    suppress_companies(scene.connection, scene.digester, [CompanyBan("Zed GmbH", "asked by fax", "s")])
    scene.connection.execute("UPDATE suppression SET value = NULL WHERE value = 'ann@mail.acme.example'")

    def found(text: str, most: int = 50) -> list[str | None]:
        return [row.value for row in find_suppressions(scene.connection, scene.digester, text, most)]

    assert set(found("Ann@mail.acme.example")) == {None, "acme.example"}
    assert (found("else"), found("by fax"), found("ZED"), found("100%")) == (
        ["bob@else.example"],
        *[["Zed GmbH"]] * 2,
        [],
    )
    assert (len(found("")), len(found("", 2)), count_suppressions(scene.connection)) == (4, 2, (4, 1))


def test_the_run_is_kept_with_its_counts(scene: Scene, take: Take) -> None:
    """A file taken in leaves its name, its end and its counts."""
    take("address\nann@acme.example\n")
    run = scene.connection.execute("SELECT * FROM import_run").fetchone()
    assert run is not None
    assert (run.kind, run.file_name, run.counts["new"], run.finished_at is not None) == (
        "suppressions",
        "bans.csv",
        1,
        True,
    )


def test_an_export_is_csv_for_other_programs(scene: Scene, take: Take, tmp_path: Path) -> None:
    """A line of names, then kind, value and the rest, the oldest first."""
    take("address,date\nben@acme.example,2026-02-01\nann@acme.example,2026-01-01\n")
    write_suppressions(scene.connection, scene.digester, tmp_path / "out.csv")
    read = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["value"] for row in read] == ["ann@acme.example", "ben@acme.example"]
    assert read[0]["created_at"] == "2026-01-01T00:00:00+00:00"


def test_a_folder_that_cannot_be_written_is_named(scene: Scene, tmp_path: Path) -> None:
    """An export into nowhere says so."""
    with pytest.raises(InputError, match="cannot be written"):
        write_suppressions(scene.connection, scene.digester, tmp_path / "none" / "out.csv")
