"""The fleet file and the database say the same; what Mailfleet writes by itself follows; nothing in use is lost."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from test_fleet_file import EXAMPLE, fleets

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError
from mailfleet.base.secrets import Keyring, new_key
from mailfleet.intake.fleet_dump import dump_fleet
from mailfleet.intake.fleet_file import Account, Domain, FleetFile, Identity, Limit, NamedPool, Provider, read_fleet
from mailfleet.intake.fleet_plan import FleetPlan
from mailfleet.intake.fleet_store import apply_fleet, load_fleet, plan_fleet
from mailfleet.intake.mailbox_import import review_mailboxes, to_save
from mailfleet.intake.mailbox_store import load_mailboxes, save_mailboxes
from mailfleet.intake.mailboxes import MailboxDefaults
from mailfleet.intake.pool import Pool, Selector
from mailfleet.intake.tables import open_table
from mailfleet.model.pools import MailboxNames, is_in_pool
from mailfleet.outbox.limits import Window
from mailfleet.outbox.service import QUERIES as OUTBOX
from mailfleet.outbox.service import STOP_LOCK
from mailfleet.outbox.tunables import load_tunables

DAY = Window("rolling")
NORTHWIND = Identity("northwind", "Northwind Ltd", "12 Harbour Street", "o@n.example", "https://out.n.example")
KEYRING = Keyring([new_key()])


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


def apply(connection: Connection, file: FleetFile) -> FleetPlan:
    plan = plan_fleet(connection, file)
    apply_fleet(connection, file, plan)
    return plan


def take_in(connection: Connection, folder: Path, text: str) -> None:
    """Imports mailboxes: columns address, provider, account."""
    path = folder / "mailboxes.csv"
    path.write_text("address,provider,account,smtp_host,password\n" + text)
    fleet = load_fleet(connection)
    reviewed = review_mailboxes(open_table(path), MailboxDefaults(), fleet, load_mailboxes(connection, KEYRING))
    assert all(row.mailbox for row in reviewed), reviewed
    save_mailboxes(connection, KEYRING, fleet, list(to_save(reviewed)))


def limits(connection: Connection, source: str) -> list[tuple[str, str | None, int, int]]:
    rows = connection.execute(
        "SELECT scope_kind, scope_key, window_seconds, maximum FROM sending_limit WHERE source LIKE %s ORDER BY id",
        [source],
    ).fetchall()
    return [tuple(row) for row in rows]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fleet=fleets())
def test_whatever_a_file_says_is_stored(connection: Connection, fleet: FleetFile) -> None:
    """After an apply the file changes nothing more, and only limits on what is not there wait."""
    with connection.transaction(force_rollback=True):
        apply(connection, fleet)
        again = plan_fleet(connection, fleet)
        assert not again.changes
        waiting = len(fleet.limits) - len(load_fleet(connection).limits)
        assert sum("waits" in note for note in again.notes) == waiting


def test_an_export_makes_the_same_fleet_elsewhere(connection: Connection, tmp_path: Path) -> None:
    """What is exported reads back without a difference, and makes an equal fleet in an empty database."""
    with connection.transaction(force_rollback=True):
        apply(connection, read_fleet(EXAMPLE))
        fleet = load_fleet(connection)
        (tmp_path / "fleet.toml").write_text(dump_fleet(fleet))
        assert not plan_fleet(connection, read_fleet(tmp_path / "fleet.toml")).changes
    assert load_fleet(connection) == FleetFile()
    apply(connection, read_fleet(tmp_path / "fleet.toml"))
    assert load_fleet(connection) == fleet


def test_the_presets_word_may_be_said_or_left_out(connection: Connection) -> None:
    """A value equal to the preset's is no difference, and what the provider stores is the value that holds."""
    apply(connection, FleetFile(providers=(Provider("zoho", "zoho"),)))
    said = Provider("zoho", "zoho", dialect="zoho", max_connections=20, sent_copy="server_setting")
    assert not plan_fleet(connection, FleetFile(providers=(said,))).changes
    row = connection.execute("SELECT * FROM provider").fetchone()
    assert row is not None
    assert (row.dialect, row.max_connections, row.idle_seconds, row.sent_copy) == ("zoho", 20, 20, "server_setting")
    assert (row.outreach_policy, "zoho.com" in row.policy_source) == ("bulk_unsupported", True)


def test_rows_in_use_stay_and_the_rest_goes(connection: Connection, tmp_path: Path) -> None:
    """A file that leaves out what mailboxes use does not touch it, and says so; what nothing uses is removed."""
    unused = Identity("unused", "U Ltd", "1 Road", "u@u.example", "https://out.u.example")
    everything = FleetFile(
        identities=(NORTHWIND, unused),
        providers=(Provider("harbour"), Provider("idle")),
        accounts=(Account("a", "harbour"), Account("b", "harbour"), Account("a", "idle")),
        domains=(Domain("n.example", "northwind"), Domain("u.example", "unused")),
        pools=(NamedPool("all", Pool()),),
    )
    apply(connection, everything)
    take_in(connection, tmp_path, "ann@n.example,harbour,a,smtp.h.example,x\n")
    plan = apply(connection, FleetFile())
    assert [str(change) for change in plan.changes if change.kind != "removed"] == []
    left = load_fleet(connection)
    assert (left.identities, left.providers) == ((NORTHWIND,), (Provider("harbour"),))
    assert (left.accounts, left.domains, left.pools) == (
        (Account("a", "harbour"),),
        (Domain("n.example", "northwind"),),
        (),
    )
    assert "providers that the file leaves out stay, for they are in use: harbour" in plan.notes


def test_a_campaigns_pool_stays(connection: Connection) -> None:
    """A pool that a campaign names is not removed from under it; its rule is what `model.pools` reads."""
    pool = NamedPool("labs", Pool(Selector(tags=("labs",)), Selector(mailboxes=("boss@n.example",))))
    apply(connection, FleetFile(identities=(NORTHWIND,), pools=(pool,)))
    connection.execute(
        "INSERT INTO campaign (name, identity_id, pool) SELECT 'c', id, '{\"name\": \"labs\"}' FROM identity"
    )
    apply(connection, FleetFile())
    assert load_fleet(connection).pools == (pool,)
    row = connection.execute("SELECT rule FROM pool").fetchone()
    assert row is not None
    names = MailboxNames("ann@n.example", "n.example", "harbour", "a", ("labs",))
    assert is_in_pool(row.rule, names) and not is_in_pool(row.rule, replace(names, address="boss@n.example"))


def test_a_limit_on_what_is_not_there_waits(connection: Connection, tmp_path: Path) -> None:
    """A limit on an unknown mailbox is no limit on all; once the mailbox is there, the same file sets it."""
    limit = Limit("ann@n.example", "mailbox", DAY, 7)
    file = FleetFile(identities=(NORTHWIND,), limits=(limit,))
    plan = apply(connection, file)
    assert limits(connection, "operator") == []
    assert any("waits" in note for note in plan.notes)
    take_in(connection, tmp_path, "ann@n.example,harbour,,smtp.h.example,x\n")
    apply(connection, file)
    row = connection.execute("SELECT id FROM mailbox").fetchone()
    assert row is not None
    assert limits(connection, "operator") == [("mailbox", str(row.id), 86400, 7)]


def test_a_changed_limit_keeps_its_usage(connection: Connection) -> None:
    """A new maximum gives no fresh start: what is reserved still counts. A limit that goes takes its usage along."""
    apply(connection, FleetFile(limits=(Limit("*", "domain", DAY, 9),)))
    connection.execute(
        "INSERT INTO usage (limit_id, scope_key, counts, used, maximum)"
        " SELECT id, 'x', '{4}', 4, 9 FROM sending_limit WHERE source = 'operator'"
    )
    apply(connection, FleetFile(limits=(Limit("*", "domain", DAY, 5),)))
    used = connection.execute("SELECT u.used, l.maximum FROM usage u JOIN sending_limit l ON l.id = u.limit_id")
    assert [tuple(row) for row in used] == [(4, 5)]
    apply(connection, FleetFile())
    assert limits(connection, "operator") == []
    assert connection.execute("SELECT 1 FROM usage").fetchone() is None


def test_limits_of_other_hands_are_left_alone(connection: Connection) -> None:
    """An apply without limits removes no limit that the file cannot hold, and a file may not claim our sources."""
    connection.execute(
        "INSERT INTO sending_limit (scope_kind, scope_key, window_kind, maximum, source)"
        " VALUES ('mailbox', '1', 'rolling', 5, 'ramp'), ('fleet', NULL, 'rolling', 9, 'operator')"
    )
    apply(connection, FleetFile(identities=(NORTHWIND,)))
    assert len(limits(connection, "ramp")) == len(limits(connection, "operator")) == 1
    for source in ("default", "preset gmail, a page"):
        with pytest.raises(InputError, match="writes itself"):
            plan_fleet(connection, FleetFile(limits=(Limit("*", "mailbox", DAY, 500, source),)))


def test_the_caps_follow_the_settings(connection: Connection) -> None:
    """Every fleet has the design's caps on mailbox and domain; the file's settings change them in place."""
    apply(connection, FleetFile(identities=(NORTHWIND,)))
    assert limits(connection, "default") == [("mailbox", None, 86400, 50), ("domain", None, 86400, 100)]
    usual = FleetFile().settings
    apply(connection, FleetFile(identities=(NORTHWIND,), settings=replace(usual, hard_cap=40, domain_daily_limit=80)))
    assert limits(connection, "default") == [("mailbox", None, 86400, 40), ("domain", None, 86400, 80)]


def test_settings_of_other_rooms_are_kept(connection: Connection) -> None:
    """Applying a lease changes no other tunable."""
    connection.execute("INSERT INTO setting VALUES ('tunables', '{\"late_after\": 77, \"lease\": 50}')")
    apply(connection, FleetFile(settings=replace(FleetFile().settings, lease=timedelta(seconds=90))))
    tunables = load_tunables(connection)
    assert (tunables.lease, tunables.late_after) == (timedelta(seconds=90), timedelta(seconds=77))


def test_a_presets_limits_cover_its_own_mailboxes_only(connection: Connection, tmp_path: Path) -> None:
    """What one provider publishes binds none of another's mailboxes; a trial's limit is not switched on."""
    apply(connection, FleetFile(identities=(NORTHWIND,)))
    take_in(connection, tmp_path, "ann@n.example,google_workspace,,,x\nben@n.example,harbour,,smtp.h.example,x\n")
    row = connection.execute("SELECT id FROM mailbox WHERE address = 'ann@n.example'").fetchone()
    assert row is not None
    assert limits(connection, "preset google_workspace, %support.google.com%") == [
        ("mailbox", str(row.id), 86400, 2000)
    ]


def test_a_limit_of_ones_own_replaces_the_presets(connection: Connection, tmp_path: Path) -> None:
    """On a named scope and the same window the operator's number stands alone, and the preset's returns after it."""
    apply(connection, FleetFile(identities=(NORTHWIND,)))
    take_in(connection, tmp_path, "ann@n.example,migadu,mini,,x\n")
    fleet = load_fleet(connection)
    assert [row[3] for row in limits(connection, "preset migadu,%")] == [20]
    apply(connection, replace(fleet, limits=(Limit("migadu/mini", "account", DAY, 100),)))
    assert limits(connection, "preset migadu,%") == []
    apply(connection, fleet)
    assert [row[3] for row in limits(connection, "preset migadu,%")] == [20]


def test_an_acknowledgement_cannot_be_taken_from_under_mailboxes(connection: Connection, tmp_path: Path) -> None:
    """A provider that forbids outreach and has mailboxes keeps its acknowledgement, or the file is refused."""
    answered = Provider("ses", "ses", acknowledge_policy="J. Doe, 2026-11-02: annex 2")
    apply(connection, FleetFile(identities=(NORTHWIND,), providers=(answered,)))
    take_in(connection, tmp_path, "ann@n.example,ses,,email-smtp.eu-west-1.amazonaws.com,x\n")
    with pytest.raises(InputError, match="forbids outreach and has mailboxes"):
        plan_fleet(connection, FleetFile(identities=(NORTHWIND,), providers=(Provider("ses", "ses"),)))


def test_no_reservation_sees_half_a_fleet(connection: Connection, database: str) -> None:
    """An apply waits for the reservations under way, as every stop does."""
    plan = plan_fleet(connection, FleetFile(identities=(NORTHWIND,)))
    connection.execute("SET lock_timeout = '50ms'")
    with connect(database, name="reserving", autocommit=False) as reserving:
        reserving.execute(OUTBOX["begin"], {"stop_lock": STOP_LOCK})
        with pytest.raises(psycopg.errors.LockNotAvailable):
            apply_fleet(connection, FleetFile(identities=(NORTHWIND,)), plan)
    assert load_fleet(connection).identities == ()


def test_only_what_was_shown_is_applied(connection: Connection) -> None:
    """A fleet that changed between the question and the answer is left as it is."""
    file = FleetFile(identities=(NORTHWIND,))
    plan = plan_fleet(connection, file)
    apply(connection, FleetFile(providers=(Provider("harbour"),)))
    with pytest.raises(InputError, match="changed while you looked"):
        apply_fleet(connection, file, plan)
    assert load_fleet(connection).identities == ()
