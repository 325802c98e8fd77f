"""A row of a contact file: whom it is, where we have them from, and what else their letters may say.

Made for lists of a million rows: what a column means is settled once for the file, and cells are looked at only as far
as they need. No message holds the text of a cell.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache
from typing import NamedTuple, TypeVar
from zoneinfo import available_timezones

from mailfleet.base.errors import InputError
from mailfleet.intake.countries import find_country
from mailfleet.intake.tables import Problem, Row, RowProblem, Table, address_fault, map_columns
from mailfleet.mail.addresses import Address, parse_address
from mailfleet.model.words import LawfulBasis

T = TypeVar("T")

SYNONYMS: Mapping[str, Sequence[str]] = {
    "email": (
        "e_mail",
        "email_address",
        "e_mail_address",
        "work_email",
        "business_email",
        "contact_email",
        "mail",
        "address",
        "почта",
        "эл_почта",
        "электронная_почта",
        "имейл",
        "адрес_электронной_почты",
    ),
    "first_name": ("firstname", "given_name", "имя", "vorname"),
    "last_name": ("lastname", "surname", "family_name", "фамилия", "nachname"),
    "company": ("company_name", "organization", "organisation", "компания", "организация", "firma", "unternehmen"),
    "title": ("job_title", "position", "role", "должность"),
    "country": ("country_code", "страна", "land"),
    "time_zone": ("timezone", "tz", "часовой_пояс", "zeitzone"),
    "source": ("lead_source", "provenance", "источник", "quelle"),
    "source_url": ("ссылка_на_источник",),
    "collected_on": ("collected_at", "collected", "дата_сбора"),
    "lawful_basis": ("legal_basis", "basis", "основание", "rechtsgrundlage"),
}
_BASES: Mapping[LawfulBasis, Sequence[str]] = {
    LawfulBasis.CONSENT: ("consent", "opt in", "optin", "double opt in", "subscribed", "согласие", "einwilligung"),
    LawfulBasis.EXISTING_CUSTOMER: (
        "existing customer",
        "customer",
        "client",
        "soft opt in",
        "клиент",
        "bestandskunde",
    ),
    LawfulBasis.LEGITIMATE_INTEREST: (
        "legitimate interest",
        "legitimate interests",
        "li",
        "законный интерес",
        "berechtigtes interesse",
    ),
    LawfulBasis.NONE: ("none", "no", "unknown", "нет", "keine"),
}
_BASIS_BY_WORD = {word: basis for basis, words in _BASES.items() for word in words}
_DATE_FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d", "%Y.%m.%d")  # a day between slashes may be a month: not taken
_NO_PLACES = frozenset({"Factory", "localtime"})
LONGEST_FIELD = 500  # chosen: company names and links stay far below
LONGEST_ATTRIBUTE = 4_000  # chosen: a paragraph written for one person
LONGEST_ATTRIBUTES = 16_000  # chosen: all of a contact's together; a million contacts must fit a small disk
_BASIS_HINT = f"is none of {', '.join(LawfulBasis)}"
_COUNTRY_HINT = "is no country that is known, so it is left out: write two letters, such as DE"
_ZONE_HINT = "is no IANA time zone, so it is left out: write one such as Europe/Berlin"
_DATE_HINT = "is no date, so it is left out: write 2026-01-31"
_JOINERS = "\u200c\u200d"  # letters of Persian and of Indian scripts are joined and parted with them
_TEXTS = ("first_name", "last_name", "company", "title", "source", "source_url")


@dataclass(frozen=True, slots=True)
class ContactDefaults:
    """What holds for the rows of a file that say nothing themselves; from a person's words by `read_defaults`."""

    country: str = ""
    time_zone: str = ""
    source: str = ""
    source_url: str = ""
    collected_on: date | None = None
    lawful_basis: LawfulBasis = LawfulBasis.NONE


class ContactRow(NamedTuple):
    """A row that can be taken in. Texts are one line, trimmed, and empty where nothing is known."""

    line: int
    address: Address
    first_name: str
    last_name: str
    company: str
    title: str
    source: str
    source_url: str
    country: str
    """ISO 3166-1 alpha-2."""
    time_zone: str
    """An IANA name."""
    collected_on: date | None
    lawful_basis: LawfulBasis
    attributes: dict[str, str]
    """Every other cell that is not empty, by its column; line breaks are kept."""
    warnings: tuple[Problem, ...]
    """What was left out because it could not be understood."""


@dataclass(frozen=True, slots=True)
class ContactColumns:
    """Where one file has what; an empty name where it has no such column. `texts` in the order of ContactRow."""

    email: str
    texts: tuple[str, ...]
    country: str
    time_zone: str
    collected_on: str
    lawful_basis: str
    attributes: tuple[str, ...]


def map_contact_columns(table: Table) -> ContactColumns:
    """Which column holds what; every other is an attribute. InputError without a column of addresses."""
    columns = map_columns(table.columns, SYNONYMS)
    if "email" not in columns.known:
        hint = f"Name that column email, or one of: {', '.join(SYNONYMS['email'])}."
        raise InputError("no column holds the addresses of the contacts", where=str(table.path), hint=hint)
    place = {field: columns.known.get(field, "") for field in SYNONYMS}
    texts = tuple(place.pop(field) for field in _TEXTS)
    return ContactColumns(texts=texts, attributes=columns.other, **place)


def read_defaults(
    *,
    country: str = "",
    time_zone: str = "",
    source: str = "",
    source_url: str = "",
    collected_on: str = "",
    lawful_basis: str = "",
) -> ContactDefaults:
    """Defaults from what a person wrote, by the rules of the cells. InputError naming the first that is wrong."""
    return ContactDefaults(
        country=_given("country", country, find_country, ""),
        time_zone=_given("time zone", time_zone, find_time_zone, ""),
        source=one_line(source),
        source_url=one_line(source_url),
        collected_on=_given("date", collected_on, find_date, None),
        lawful_basis=_given("lawful basis", lawful_basis, _find_basis, LawfulBasis.NONE),
    )


def read_contact_row(row: Row, columns: ContactColumns, defaults: ContactDefaults) -> ContactRow | RowProblem:
    """The contact of a row, or everything that is wrong with it. A place or date not understood is only left out."""
    values, problems, warnings = row.values, list[Problem](), list[Problem]()
    address = _address(values[columns.email], columns.email, problems)
    texts = [one_line(values[column]) if column else "" for column in columns.texts]
    attributes = {column: text for column in columns.attributes if (text := values[column])}
    basis = _understood(values, columns.lawful_basis, _find_basis, _BASIS_HINT, problems)
    _check_sizes(texts, attributes, columns, problems)
    if problems or address is None:
        return RowProblem(row.line, tuple(problems))
    first_name, last_name, company, title, source, source_url = texts
    return ContactRow(
        row.line,
        address,
        first_name,
        last_name,
        company,
        title,
        source or defaults.source,
        source_url or defaults.source_url,
        _understood(values, columns.country, find_country, _COUNTRY_HINT, warnings) or defaults.country,
        _understood(values, columns.time_zone, find_time_zone, _ZONE_HINT, warnings) or defaults.time_zone,
        _understood(values, columns.collected_on, find_date, _DATE_HINT, warnings) or defaults.collected_on,
        basis or defaults.lawful_basis,
        attributes,
        tuple(warnings),
    )


def find_time_zone(text: str) -> str | None:
    """The IANA name (aliases are such) that `text` is, whatever its case and with blanks for "_"."""
    return _zones().get(text.casefold().replace(" ", "_"))


@cache
def _zones() -> Mapping[str, str]:
    return {name.casefold(): name for name in available_timezones() - _NO_PLACES}


@lru_cache(maxsize=4096)
def find_date(text: str) -> date | None:
    """A day, with or without a time after it."""
    day = text.replace("T", " ").partition(" ")[0]
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(day, form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    return None


def _find_basis(text: str) -> LawfulBasis | None:
    return _BASIS_BY_WORD.get(text.casefold().replace("_", " ").replace("-", " "))


def _address(text: str, column: str, problems: list[Problem]) -> Address | None:
    if not text:
        problems.append(Problem(column, "is missing"))
        return None
    try:
        return parse_address(text)
    except InputError as error:
        problems.append(Problem(column, address_fault(error)))
        return None


def _understood(
    values: Mapping[str, str], column: str, find: Callable[[str], T | None], hint: str, faults: list[Problem]
) -> T | None:
    """What `find` makes of the cell; None for an empty one, and, with a fault, for one it does not know."""
    text = values.get(column)
    if not text:
        return None
    found = find(text)
    if found is None:
        faults.append(Problem(column, hint))
    return found


def _check_sizes(
    texts: list[str], attributes: Mapping[str, str], columns: ContactColumns, problems: list[Problem]
) -> None:
    if max(map(len, texts)) > LONGEST_FIELD:
        named = [column for column, text in zip(columns.texts, texts, strict=True) if len(text) > LONGEST_FIELD]
        problems.extend(Problem(column, f"is longer than {LONGEST_FIELD:,} characters") for column in named)
    total = sum(map(len, attributes.values()))
    if total > LONGEST_ATTRIBUTE:
        named = [column for column, text in attributes.items() if len(text) > LONGEST_ATTRIBUTE]
        problems.extend(Problem(column, f"is longer than {LONGEST_ATTRIBUTE:,} characters") for column in named)
    if total > LONGEST_ATTRIBUTES:
        problems.append(
            Problem("", f"the columns that are no field of ours hold over {LONGEST_ATTRIBUTES:,} characters")
        )


def one_line(text: str) -> str:
    """With single blanks for line breaks and what cannot be seen: names stand in headers."""
    if text.isprintable():
        return text
    return " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in text).split())


def _given(what: str, text: str, find: Callable[[str], T | None], otherwise: T) -> T:
    if not text.strip():
        return otherwise
    found = find(text.strip())
    if found is None:
        raise InputError(
            f'"{text}" is no {what} that is known', hint="`mailfleet import contacts --help` says what may stand there."
        )
    return found
