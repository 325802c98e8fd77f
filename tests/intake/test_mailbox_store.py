"""Mailbox files against the database: what is taken in, what stays as it is, and where a mailbox belongs."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError
from mailfleet.base.secrets import Keyring, new_key
from mailfleet.intake.fleet_file import Account, FleetFile, Identity, Provider
from mailfleet.intake.fleet_store import apply_fleet, load_fleet, plan_fleet
from mailfleet.intake.mailbox_import import Reviewed, review_mailboxes, to_save
from mailfleet.intake.mailbox_store import export_mailboxes, load_mailboxes, save_mailboxes
from mailfleet.intake.mailboxes import MailboxDefaults
from mailfleet.intake.tables import open_table

KEYRING = Keyring([new_key()])
NORTHWIND = Identity("northwind", "Northwind Ltd", "12 Harbour Street", "o@n.example", "https://out.n.example")
SOUTHWIND = replace(NORTHWIND, name="southwind")
ANN = "address,smtp_host,smtp_port,password,tags\nann@n.example,smtp.h.example,465,geheim,labs\n"


class Importing:
    """Reviews and saves texts as the command does."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self.connection = connection
        self.folder = folder
        self.keyring = KEYRING

    def review(self, text: str, **defaults: str) -> list[Reviewed]:
        path = self.folder / "mailboxes.csv"
        path.write_text(text)
        stored = load_mailboxes(self.connection, self.keyring)
        fleet = load_fleet(self.connection)
        return review_mailboxes(open_table(path), MailboxDefaults(**defaults), fleet, stored)  # type: ignore[arg-type]

    def take_in(self, text: str, **defaults: str) -> list[str]:
        """The verdicts' kinds, after what is good was saved."""
        reviewed = self.review(text, **defaults)
        save_mailboxes(self.connection, self.keyring, load_fleet(self.connection), list(to_save(reviewed)))
        return [row.verdict.kind for row in reviewed]

    def apply(self, file: FleetFile) -> None:
        apply_fleet(self.connection, file, plan_fleet(self.connection, file))

    def reasons(self, text: str, **defaults: str) -> str:
        return "; ".join(map(str, self.review(text, **defaults)[-1].verdict.reasons))

    def mailbox(self, address: str = "ann@n.example") -> dict[str, object]:
        return dict(load_mailboxes(self.connection, self.keyring)[address])


@pytest.fixture
def importing(database: str, tmp_path: Path) -> Iterator[Importing]:
    with connect(database, name="test") as connection:
        importing = Importing(connection, tmp_path)
        importing.apply(FleetFile(identities=(NORTHWIND,)))
        yield importing


def test_a_new_mailbox_is_ready_to_write(importing: Importing) -> None:
    """It has all that a sender needs: lease, ramp, domain, account, limits a day and pace; its secret is sealed."""
    assert importing.take_in(ANN) == ["new"]
    row = importing.connection.execute(
        "SELECT b.*, d.name AS domain, a.name AS account, l.fence, r.sending_days FROM mailbox b"
        " JOIN domain d ON d.id = b.domain_id JOIN account a ON a.id = b.account_id"
        " JOIN lease l ON l.mailbox_id = b.id JOIN ramp r ON r.mailbox_id = b.id"
    ).fetchone()
    assert row is not None
    assert (row.domain, row.account, row.fence, row.sending_days) == ("n.example", "default", 0, 0)
    assert (row.daily_limit, row.pace_seconds, row.smtp_security, row.login) == (30, 300, "tls", "ann@n.example")
    assert b"geheim" not in row.secret
    assert importing.mailbox()["password"] == "geheim"


def test_the_address_is_the_normalised_one(importing: Importing) -> None:
    """Case makes no second mailbox, and the login keeps its own."""
    assert importing.take_in(ANN.replace("ann@", "Ann@")) == ["new"]
    assert importing.mailbox()["login"] == "Ann@n.example"
    assert importing.take_in(ANN) == ["unchanged"]


def test_the_same_file_twice_changes_nothing(importing: Importing) -> None:
    """The second import writes not one row."""
    importing.take_in(ANN)
    before = importing.connection.execute("SELECT xmin, * FROM mailbox").fetchall()
    assert importing.take_in(ANN) == ["unchanged"]
    assert importing.connection.execute("SELECT xmin, * FROM mailbox").fetchall() == before


def test_a_changed_row_shows_its_difference_and_no_secret(importing: Importing) -> None:
    """Fields are shown old and new, a password only as changed; the update keeps the rest, lease and ramp included."""
    importing.take_in(ANN)
    importing.connection.execute("UPDATE lease SET fence = 7")
    changed = ANN.replace("geheim", "neu").replace("labs", "science")
    verdict = importing.review(changed)[0].verdict
    assert sorted(map(str, verdict.changes)) == ["password changed", "tags: labs → science"]
    assert importing.take_in(changed) == ["changed"]
    assert (importing.mailbox()["password"], importing.mailbox()["tags"]) == ("neu", ("science",))
    row = importing.connection.execute("SELECT fence FROM lease").fetchone()
    assert row is not None and row.fence == 7


def test_what_a_file_is_silent_about_stays(importing: Importing) -> None:
    """A file of two columns changes one field: servers, login, password and provider are not guessed anew."""
    importing.take_in(ANN.replace("password,", "password,login,").replace("geheim,", "geheim,u17,"))
    before = importing.mailbox()
    assert importing.take_in("address,daily_limit\nann@n.example,12\n") == ["changed"]
    assert importing.mailbox() == before | {"daily_limit": 12}


def test_a_provider_of_the_fleet_lends_its_servers(importing: Importing) -> None:
    """Its own host, port and security come before its preset's, and the row's before them."""
    harbour = Provider("harbour", "zoho", smtp_host="smtp.h.example", smtp_port=2400, smtp_security="tls")
    importing.apply(FleetFile(identities=(NORTHWIND,), providers=(harbour,)))
    importing.take_in("address,provider,password\nann@n.example,harbour,x\n")
    box = importing.mailbox()
    assert (box["smtp_host"], box["smtp_port"], box["smtp_security"]) == ("smtp.h.example", 2400, "tls")
    assert box["imap_host"] == "imappro.zoho.com"
    importing.take_in("address,provider,password,smtp_port\nben@n.example,harbour,x,587\n")
    box = importing.mailbox("ben@n.example")
    assert (box["smtp_host"], box["smtp_port"], box["smtp_security"]) == ("smtp.h.example", 587, "starttls")


def test_one_bad_row_never_blocks_the_rest(importing: Importing) -> None:
    """Good rows around a refused one are saved."""
    text = ANN + "ben,smtp.h.example,465,x,\ncat@n.example,smtp.h.example,465,x,\n"
    assert importing.take_in(text) == ["new", "refused", "new"]
    assert sorted(load_mailboxes(importing.connection, KEYRING)) == ["ann@n.example", "cat@n.example"]


def test_settings_of_the_fleet_hold_for_silent_rows(importing: Importing) -> None:
    """Daily limit and pace come from fleet.toml, the pace no shorter than the provider's least gap."""
    usual = FleetFile().settings
    settings = replace(usual, daily_limit=20, hard_cap=25, pace=timedelta(seconds=60))
    importing.apply(FleetFile(identities=(NORTHWIND,), settings=settings))
    importing.take_in("address,provider,password\nann@n.example,zoho,x\n")
    assert (importing.mailbox()["daily_limit"], importing.mailbox()["pace"]) == (20, timedelta(seconds=72))


@pytest.mark.parametrize(
    ("identities", "named", "expected"),
    [
        ((), "", "default"),
        ((), "eastwind", "eastwind"),
        ((NORTHWIND,), "", "northwind"),
        ((NORTHWIND, SOUTHWIND), "southwind", "southwind"),
        ((NORTHWIND,), "eastwind", None),
        ((NORTHWIND, SOUTHWIND), "", None),
    ],
)
def test_the_identity_of_a_new_domain(
    importing: Importing, identities: tuple[Identity, ...], named: str, expected: str | None
) -> None:
    """Its name, or the only one there is; one is made only while there is none, and never for a misspelt name."""
    importing.apply(FleetFile(identities=identities))
    reviewed = importing.review(ANN, identity=named)[0]
    assert (reviewed.mailbox["identity"] if reviewed.mailbox else None) == expected
    if expected:
        importing.take_in(ANN, identity=named)
        assert [row.name for row in load_fleet(importing.connection).domains] == ["n.example"]


def test_a_domain_keeps_its_identity(importing: Importing) -> None:
    """A row cannot move a domain, neither one that is there nor one that a row above brought."""
    importing.apply(FleetFile(identities=(NORTHWIND, SOUTHWIND)))
    rows = "address,smtp_host,password,identity\nann@n.example,h.e.example,x,northwind\n"
    rows += "ben@n.example,h.e.example,x,southwind\n"
    assert "belongs to northwind" in importing.reasons(rows)
    importing.take_in(ANN, identity="northwind")
    assert "belongs to northwind" in importing.reasons(ANN, identity="southwind")


def test_the_account_of_a_silent_row(importing: Importing) -> None:
    """The provider's only one; of several none is guessed; a mailbox that is there stays in its own."""
    harbour = Provider("harbour", smtp_host="smtp.h.example")
    one, two = Account("one", "harbour"), Account("two", "harbour")
    importing.apply(FleetFile(identities=(NORTHWIND,), providers=(harbour,), accounts=(one,)))
    importing.take_in(ANN)
    assert importing.mailbox()["account"] == "one"
    importing.apply(FleetFile(identities=(NORTHWIND,), providers=(harbour,), accounts=(one, two)))
    assert importing.take_in(ANN) == ["unchanged"]
    assert "harbour has several" in importing.reasons(ANN.replace("ann@", "ben@"))
    assert importing.take_in(ANN, account="two") == ["changed"]
    assert importing.mailbox()["account"] == "two"


def test_a_provider_that_forbids_outreach_needs_an_answer(importing: Importing) -> None:
    """Its rows are refused with the line to write, and taken once fleet.toml has it."""
    text = "address,provider,smtp_host,password\nann@n.example,ses,email-smtp.eu-west-1.amazonaws.com,x\n"
    assert 'acknowledge_policy = "who, when and why" to [[providers]] name = "ses"' in importing.reasons(text)
    answered = Provider("ses", "ses", acknowledge_policy="J. Doe")
    importing.apply(FleetFile(identities=(NORTHWIND,), providers=(answered,)))
    assert importing.take_in(text) == ["new"]


def test_a_ca_file_must_be_there(importing: Importing) -> None:
    """It is looked for beside the file that names it, and stored by its whole path."""
    text = "address,smtp_host,password,ca_file\nann@n.example,h.example,x,ca.pem\n"
    assert importing.reasons(text) == "ca_file: there is no such file"
    (importing.folder / "ca.pem").touch()
    assert importing.take_in(text) == ["new"]
    assert importing.mailbox()["ca_file"] == str(importing.folder / "ca.pem")
    assert importing.take_in(text) == ["unchanged"]


def test_a_secret_that_no_key_opens_is_mended_by_its_row(importing: Importing) -> None:
    """With its key lost a mailbox still reads, a row without the password is refused, one with it seals it anew."""
    importing.take_in(ANN)
    importing.keyring = Keyring([new_key()])
    assert importing.reasons("address,daily_limit\nann@n.example,9\n") == "password: is missing"
    assert importing.take_in(ANN) == ["changed"]
    assert importing.mailbox()["password"] == "geheim"


def test_nothing_is_saved_into_another_fleet(importing: Importing) -> None:
    """A fleet that changed after the review gets none of its mailboxes: an identity might be overwritten."""
    fleet = load_fleet(importing.connection)
    good = list(to_save(importing.review(ANN)))
    importing.apply(FleetFile(identities=(NORTHWIND, SOUTHWIND)))
    with pytest.raises(InputError, match="changed meanwhile"):
        save_mailboxes(importing.connection, KEYRING, fleet, good)
    assert load_mailboxes(importing.connection, KEYRING) == {}


def test_an_export_holds_no_secret_and_changes_nothing(importing: Importing) -> None:
    """The file of an export has neither password, and importing it finds every mailbox as it is."""
    text = (
        "address,display_name,signature,smtp_host,password,imap_host,imap_password,tags,reply_to,pace_seconds\n"
        'ann@n.example,"Ann, P.","Ann\nNorthwind",h.example,geheim,i.example,tief,"a,b",r@n.example,7\n'
    )
    importing.take_in(text)
    path = importing.folder / "out.csv"
    assert export_mailboxes(importing.connection, path) == 1
    assert "geheim" not in path.read_text() and "tief" not in path.read_text()
    assert importing.take_in(path.read_text()) == ["unchanged"]
