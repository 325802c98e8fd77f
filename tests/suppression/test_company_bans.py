"""A company that said no: nobody of it is written to, however its name is spelt and whenever its people came in."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailfleet.base.db import connect
from mailfleet.base.errors import InputError
from mailfleet.intake.contact_store import ContactCounts, import_contacts
from mailfleet.intake.contacts import read_defaults
from mailfleet.intake.tables import open_table
from mailfleet.outbox import stops
from mailfleet.outbox.stops import CompanyBan, end_suppressed, suppress, suppress_companies, suppress_company_of
from outbox.queue_scene import one, rows, sender
from suppression.scene import Scene

ACME = CompanyBan("ACME", "they asked", "test")
NAMES = ("Acme GmbH", "Other AG", "acme, Inc.", "")


def take(scene: Scene, folder: Path, text: str) -> ContactCounts:
    file = folder / "contacts.csv"
    file.write_text(text)
    return import_contacts(
        scene.connection,
        scene.digester,
        open_table(file),
        list_name="all",
        defaults=read_defaults(lawful_basis="consent"),
        dry_run=False,
        note=lambda *remark: None,
        on_progress=lambda at: None,
    )


def digests(scene: Scene, address: str) -> list[bytes]:
    found: list[bytes] = one(scene.connection, "SELECT digests FROM contact WHERE address_key = %s", address)
    return found


def test_a_ban_ends_everybody_of_the_company(scene: Scene) -> None:
    """Contacts of every spelling, from before digests of companies were kept: enrollments end, queued letters go."""
    first, _, third, _ = scene.name_companies(*NAMES)
    stopped = suppress_companies(scene.connection, scene.digester, [ACME])
    assert (stopped.enrollments, stopped.messages, stopped.bans) == (2, 2, 1)
    assert scene.ended() == scene.cancelled() == {first, third}
    assert one(scene.connection, "SELECT DISTINCT reason FROM message WHERE state = 'cancelled'") == (
        "suppressed: they asked"
    )


async def test_the_gate_bars_who_came_in_later(scene: Scene, tmp_path: Path) -> None:
    """An import writes the digest: a contact whose company is banned while it is written to is refused at the gate."""
    known = scene.address(scene.name_companies(*NAMES)[1])
    take(scene, tmp_path, f"email,company\n{known},Acme Ltd\n")
    async with sender(scene.laid) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        digest = scene.digester.company("acme")
        scene.connection.execute(
            "INSERT INTO suppression (digest, kind, value, reason, source) VALUES (%s, 'company', 'Acme', 'r', 's')",
            [digest],
        )
        taken = await hand.outbox.reserve(drafts, hand.fences)
    assert len(taken) == 3
    assert one(scene.connection, "SELECT reason FROM message WHERE state = 'cancelled'") == "suppressed: r"


async def test_letters_in_a_senders_hand_are_recalled(scene: Scene) -> None:
    """What was reserved before the ban, and not begun, may no longer leave."""
    first, _, third, _ = scene.name_companies(*NAMES)
    async with sender(scene.laid) as hand:
        taken = await hand.take()
        suppress_companies(scene.connection, scene.digester, [ACME])
        refused = await hand.outbox.recall([it.message_id for it in taken])
    query = "SELECT contact_id FROM message WHERE id = ANY(%s)"
    assert {row[0] for row in rows(scene.connection, query, list(refused))} == {first, third}


def test_no_import_revives_a_company(scene: Scene, tmp_path: Path) -> None:
    """Rows of the company are left out; a contact of it stays banned whatever company a later file names, or none."""
    take(scene, tmp_path, "email,company\nann@a.example,Acme\n")
    suppress_companies(scene.connection, scene.digester, [ACME])
    assert take(scene, tmp_path, "email,company\nben@b.example,ACME GmbH\n").suppressed == 1
    take(scene, tmp_path, "email,company\nann@a.example,Other\nann@a.example,Third\n")
    assert scene.digester.company("acme") in digests(scene, "ann@a.example")
    assert one(scene.connection, "SELECT company FROM contact WHERE address_key = 'ann@a.example'") == "Third"


def test_an_import_adds_what_it_did_not_know(scene: Scene, tmp_path: Path) -> None:
    """A known contact gets the digest of a company that a file names for the first time; the address's stays first."""
    take(scene, tmp_path, "email\nann@a.example\n")
    take(scene, tmp_path, "email,company\nann@a.example,Acme\nann@a.example,Acme Labs\n")
    found = digests(scene, "ann@a.example")
    assert found[:2] == scene.digester.all_of("ann@a.example", "a.example")
    assert set(found[2:]) == {scene.digester.company("acme"), scene.digester.company("acme labs")}


def test_an_import_under_way_takes_no_digest_away(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company banned between an import's look at a contact and its write: the contact has both digests."""
    from mailfleet.intake import contact_store

    take(scene, tmp_path, "email,company\nann@a.example,Acme\n")
    scene.connection.execute("UPDATE contact SET digests = digests[1:2] WHERE address_key = 'ann@a.example'")
    ask = contact_store._Merger._ask

    def ban_first(merger: contact_store._Merger, query: str) -> object:
        if query == "count_late":
            with connect(scene.laid.conninfo, name="rival") as rival:
                suppress_companies(rival, scene.digester, [ACME])
        return ask(merger, query)

    monkeypatch.setattr(contact_store._Merger, "_ask", ban_first)
    take(scene, tmp_path, "email,company\nann@a.example,Other\n")
    assert {scene.digester.company("acme"), scene.digester.company("other")} <= set(digests(scene, "ann@a.example"))


def test_a_ban_never_stands_before_its_contacts_are_marked(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dying before the ban leaves none; dying after it leaves contacts that the gate bars, and the next run ends."""
    first, _, third, _ = scene.name_companies(*NAMES)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stops, "_ban", die)
        with pytest.raises(KeyboardInterrupt):
            suppress_companies(scene.connection, scene.digester, [ACME])
    assert scene.bans() == {}
    with monkeypatch.context() as patch:
        patch.setattr(stops, "_end_all", die)
        with pytest.raises(KeyboardInterrupt):
            suppress_companies(scene.connection, scene.digester, [ACME])
    barred = "SELECT c.id FROM contact c JOIN suppression s ON s.digest = ANY(c.digests)"
    assert {row[0] for row in rows(scene.connection, barred)} == {first, third}
    assert end_suppressed(scene.connection).enrollments == 2
    assert scene.ended() == {first, third}


def test_the_same_ban_twice_changes_nothing(scene: Scene) -> None:
    """The first ban's reason and moment stay; no digest is there twice."""
    scene.name_companies(*NAMES)
    long_ago = datetime(2026, 1, 31, tzinfo=UTC)
    suppress_companies(scene.connection, scene.digester, [CompanyBan("Acme", "first", "s", long_ago)])
    assert suppress_companies(scene.connection, scene.digester, [ACME]) == stops.Stopped(0, 0, 0)
    ban = scene.bans()["Acme"]
    assert (ban.kind, ban.reason, ban.created_at) == ("company", "first", long_ago)
    assert one(scene.connection, "SELECT max(cardinality(digests)) FROM contact WHERE company <> ''") == max(
        len(scene.digester.all_of(address, address.partition("@")[2], "x"))
        for address in (scene.address(contact) for contact in scene.ended())
    )


def test_companies_by_the_hundred_come_down_in_pieces(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """More contacts than one stop takes are all marked and ended."""
    monkeypatch.setattr(stops, "ENDED_AT_ONCE", 1)
    ids = scene.name_companies("Acme", "Acme", "Acme", "Other")
    assert suppress_companies(scene.connection, scene.digester, [ACME]).enrollments == 3
    assert scene.ended() == set(ids[:3])


def test_the_company_of_a_contact(scene: Scene) -> None:
    """Banned are the address, its domain and the company's name, so that colleagues of either are."""
    first, _, third, _ = scene.name_companies(*NAMES)
    address = scene.address(first)
    stopped, names = suppress_company_of(scene.connection, scene.digester, address, reason="asked", source="test")
    domain = address.partition("@")[2]
    assert names == (domain, "Acme GmbH")
    assert set(scene.bans()) == {address, domain, "Acme GmbH"}
    assert {first, third} <= scene.ended()
    assert stopped.bans == 3


def test_a_public_domain_is_no_company(scene: Scene) -> None:
    """Of an address at a public provider the contact's company alone is banned; where none is known, nothing is."""
    with pytest.raises(InputError, match="Nothing tells the company"):
        suppress_company_of(scene.connection, scene.digester, "ann@gmail.com", reason="asked", source="test")
    assert scene.bans() == {}
    first = scene.name_companies(*NAMES)[0]
    scene.connection.execute("UPDATE contact SET address_key = 'ann@gmail.com' WHERE id = %s", [first])
    suppress_company_of(scene.connection, scene.digester, "Ann@Gmail.com", reason="asked", source="test")
    assert set(scene.bans()) == {"ann@gmail.com", "Acme GmbH"}


def test_a_name_that_is_none_bans_nobody(scene: Scene) -> None:
    """Marks without a word would be everybody's company."""
    with pytest.raises(InputError, match="names no company"):
        suppress_companies(scene.connection, scene.digester, [CompanyBan("—", "r", "s")])


def test_bans_written_by_the_thousand_end_what_they_forbid(scene: Scene) -> None:
    """Of an address, of a domain and of its parent: what goes on nevertheless is found by digests, and ends."""
    ids = scene.name_companies(*NAMES)
    banned = [scene.address(ids[0]), scene.address(ids[1]).partition("@")[2]]
    for value, digest in zip(
        banned, (scene.digester.address(banned[0]), scene.digester.domain(banned[1])), strict=True
    ):
        scene.connection.execute("INSERT INTO suppression VALUES (%s, 'address', %s, 'r', 's')", [digest, value])
    assert end_suppressed(scene.connection).enrollments == len(scene.ended())
    assert set(ids[:2]) <= scene.ended()
    assert end_suppressed(scene.connection) == stops.Stopped(0, 0, 0)


def test_suppress_says_what_is_new(scene: Scene) -> None:
    """A ban that stood already is not counted again."""
    bans = [suppress(scene.connection, scene.digester, "new.example", reason="r", source="s").bans for _ in range(2)]
    assert bans == [1, 0]
