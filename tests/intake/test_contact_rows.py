"""What a row of a contact file is taken for."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from mailfleet.base.errors import InputError
from mailfleet.intake.contacts import (
    LONGEST_ATTRIBUTE,
    ContactDefaults,
    ContactRow,
    map_contact_columns,
    read_contact_row,
    read_defaults,
)
from mailfleet.intake.countries import find_country
from mailfleet.intake.tables import Row, RowProblem, open_table
from mailfleet.model.words import LawfulBasis

NOTHING = ContactDefaults()


def rows_of(tmp_path: Path, text: str, defaults: ContactDefaults = NOTHING) -> list[ContactRow | RowProblem]:
    file = tmp_path / "contacts.csv"
    file.write_text(text, encoding="utf-8")
    table = open_table(file)
    columns = map_contact_columns(table)
    rows = [row for row in table if isinstance(row, Row)]
    return [read_contact_row(row, columns, defaults) for row in rows]


def written(values: Mapping[str, str]) -> str:
    cells = [value.replace('"', '""') for value in values.values()]
    return ",".join(values) + "\n" + ",".join(f'"{cell}"' for cell in cells) + "\n"


def taken(tmp_path: Path, values: Mapping[str, str], defaults: ContactDefaults = NOTHING) -> ContactRow:
    (row,) = rows_of(tmp_path, written({"email": "ann@acme.example", **values}), defaults)
    assert isinstance(row, ContactRow), row
    return row


def refused(tmp_path: Path, values: Mapping[str, str]) -> list[str]:
    (row,) = rows_of(tmp_path, written({"email": "ann@acme.example", **values}))
    assert isinstance(row, RowProblem), row
    return [str(problem) for problem in row.problems]


@pytest.mark.parametrize(
    "header",
    [
        "email,first_name,last_name,company,title,country,city",
        "E-Mail,First Name,Last Name,Company Name,Job Title,Country,City",
        "Email Address,firstName,lastName,organization,position,country_code,City",
        "Почта,Имя,Фамилия,Компания,Должность,Страна,City",
        "Mail,Vorname,Nachname,Firma,Position,Land,City",
    ],
)
def test_columns_are_known_by_their_usual_names(tmp_path: Path, header: str) -> None:
    """In English, Russian and German, and as exporters write them, the same contact is read."""
    (row,) = rows_of(tmp_path, f"{header}\n Ann@Acme.example ,Ann,Lee,Acme,CTO,germany,Köln\n")
    assert isinstance(row, ContactRow)
    assert row[2:6] == ("Ann", "Lee", "Acme", "CTO")
    assert (row.address.normalised, row.country, row.attributes) == ("ann@acme.example", "DE", {"city": "Köln"})
    assert (row.line, row.warnings) == (2, ())


def test_no_column_of_addresses(tmp_path: Path) -> None:
    """A file without addresses is refused as a whole, with the names that would do."""
    with pytest.raises(InputError, match="no column holds the addresses") as refusal:
        rows_of(tmp_path, "name,city\nAnn,Köln\n")
    assert "email_address" in refusal.value.hint


def test_every_other_column_is_an_attribute(tmp_path: Path) -> None:
    """Unknown columns are kept for templates under a Liquid name, empty cells left out, a second address too kept."""
    values = {"Phone (work)": " 123 ", "2nd": "x", "Address": "Main Street", "Note": "two\nlines", "empty": " "}
    row = taken(tmp_path, values)
    assert row.attributes == {"phone_work": "123", "_2nd": "x", "address": "Main Street", "note": "two\nlines"}


def test_names_are_one_line(tmp_path: Path) -> None:
    """What could end a header's line or hides in it is a blank in a name; joiners, which Persian needs, stay."""
    row = taken(
        tmp_path, {"first_name": "Ann\r\nBcc: x", "company": "Acme\u2028\u00a0\u200bGmbH", "last_name": "می\u200cخواهم"}
    )
    assert (row.first_name, row.company, row.last_name) == ("Ann Bcc: x", "Acme GmbH", "می\u200cخواهم")


def test_the_row_speaks_before_the_file(tmp_path: Path) -> None:
    """Provenance, basis, place and zone of the file hold where the row is silent, and only there."""
    defaults = read_defaults(
        country="Россия",
        time_zone="europe/moscow",
        source="fair",
        source_url="https://fair.example",
        collected_on="2026-01-31",
        lawful_basis="Legitimate interest",
    )
    silent = taken(tmp_path, {"country": "", "source": " "}, defaults)
    assert silent[6:12] == (
        *("fair", "https://fair.example", "RU", "Europe/Moscow"),
        *(date(2026, 1, 31), LawfulBasis.LEGITIMATE_INTEREST),
    )
    own = {"country": "fr", "Time Zone": "Europe/Paris", "source": "web", "source_url": "https://a.example"}
    spoken = taken(tmp_path, own | {"Collected-On": "01.02.2026", "basis": "opt-in"}, defaults)
    assert spoken[6:12] == (
        *("web", "https://a.example", "FR", "Europe/Paris"),
        *(date(2026, 2, 1), LawfulBasis.CONSENT),
    )
    assert taken(tmp_path, {"lawful_basis": "none"}, defaults).lawful_basis is LawfulBasis.NONE


@pytest.mark.parametrize(
    ("word", "basis"),
    [
        ("consent", LawfulBasis.CONSENT),
        ("Double Opt-In", LawfulBasis.CONSENT),
        ("согласие", LawfulBasis.CONSENT),
        ("existing_customer", LawfulBasis.EXISTING_CUSTOMER),
        ("Customer", LawfulBasis.EXISTING_CUSTOMER),
        ("legitimate-interest", LawfulBasis.LEGITIMATE_INTEREST),
        ("none", LawfulBasis.NONE),
        ("", LawfulBasis.NONE),
    ],
)
def test_a_lawful_basis_in_plain_words(tmp_path: Path, word: str, basis: LawfulBasis) -> None:
    """A basis is known by its usual words; none stated is none."""
    assert taken(tmp_path, {"lawful_basis": word}).lawful_basis is basis


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"email": "", "first_name": "Ann"}, "email: is missing"),
        ({"email": "ann(at)acme"}, "email: no e-mail address: An email address must have an @-sign."),
        ({"basis": "they will not mind"}, "basis: is none of consent, existing_customer, legitimate_interest, none"),
        ({"company": "x" * 501}, "company: is longer than 500 characters"),
        ({"bio": "x" * (LONGEST_ATTRIBUTE + 1)}, "bio: is longer than 4,000 characters"),
        (
            {f"note{number}": "x" * LONGEST_ATTRIBUTE for number in range(5)},
            "the columns that are no field of ours hold over 16,000 characters",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(tmp_path: Path, values: dict[str, str], reason: str) -> None:
    """A row without an address, with a basis nobody knows or of an absurd size is refused, and the reason told."""
    assert refused(tmp_path, values) == [reason]


def test_all_faults_of_a_row_are_told_at_once(tmp_path: Path) -> None:
    """A person mends a row once; and no reason repeats what stands in it."""
    faults = refused(tmp_path, {"email": "private", "basis": "private", "title": "private" * 100})
    assert len(faults) == 3
    assert "private" not in repr(faults)


@pytest.mark.parametrize(
    ("column", "cell"),
    [("country", "Narnia"), ("time_zone", "Mars/Olympus"), ("time_zone", "localtime"), ("collected_on", "01/02/2026")],
)
def test_what_is_not_understood_is_left_out_with_a_warning(tmp_path: Path, column: str, cell: str) -> None:
    """A country, zone or day that is unknown or has two meanings does not cost the contact: the file's holds."""
    defaults = read_defaults(country="DE", time_zone="Europe/Berlin", collected_on="2026-01-31")
    row = taken(tmp_path, {column: cell}, defaults)
    assert (row.country, row.time_zone, row.collected_on) == ("DE", "Europe/Berlin", date(2026, 1, 31))
    assert [warning.column for warning in row.warnings] == [column]


@pytest.mark.parametrize(
    ("cell", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("america/new york", "America/New_York"),
        ("US/Eastern", "US/Eastern"),
        ("utc", "UTC"),
    ],
)
def test_a_time_zone_is_an_iana_name(tmp_path: Path, cell: str, zone: str) -> None:
    """Zones are known in any case and with blanks, aliases among them."""
    assert taken(tmp_path, {"timezone": cell}).time_zone == zone


@pytest.mark.parametrize(
    ("text", "day"),
    [("2026-02-01", date(2026, 2, 1)), ("2026-02-01T10:00:00Z", date(2026, 2, 1)), ("1.2.2026", date(2026, 2, 1))],
)
def test_a_day_in_a_form_with_one_meaning(tmp_path: Path, text: str, day: date) -> None:
    """A day is read where its form leaves no doubt which number is the month."""
    assert taken(tmp_path, {"collected_at": text}).collected_on == day


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("de", "DE"),
        ("Germany", "DE"),
        ("ГЕРМАНИЯ", "DE"),
        ("Deutschland", "DE"),
        ("u.s.a.", "US"),
        ("United States of America", "US"),
        ("Соединённые Штаты Америки", "US"),
        ("UK", "GB"),
        ("Cote d'Ivoire", "CI"),
        ("Trinidad and Tobago", "TT"),
        ("Atlantis", None),
        ("XX", None),
        ("", None),
    ],
)
def test_a_country_is_known_by_code_and_name(text: str, code: str | None) -> None:
    """A country is found by its code and by its names in three languages, whatever the case, accents and dots."""
    assert find_country(text) == code


@pytest.mark.parametrize("wrong", ["country", "time_zone", "collected_on", "lawful_basis"])
def test_defaults_that_mean_nothing_are_refused(wrong: str) -> None:
    """What a person says for the whole file is not left out but refused."""
    with pytest.raises(InputError, match="nonsense"):
        read_defaults(**{wrong: "nonsense"})


def test_addresses_outside_ascii_are_kept(tmp_path: Path) -> None:
    """International domains and local parts are contacts like others."""
    rows = rows_of(tmp_path, "email\nann@bücher.example\nжук@почта.рф\n")
    assert [row.address.domain_ascii for row in rows if isinstance(row, ContactRow)] == [
        "xn--bcher-kva.example",
        "xn--80a1acny.xn--p1ai",
    ]
    assert [row.address.needs_smtputf8 for row in rows if isinstance(row, ContactRow)] == [False, True]
