"""Which names are one company's, and which domains are nobody's company."""

import pytest

from mailfleet.mail.companies import company_key
from mailfleet.mail.public_domains import is_public


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Acme GmbH", "ACME"),
        ("Acme GmbH & Co. KG", "acme, gmbh"),
        ("Acme, Inc.", "Acme Incorporated"),
        ("Acme S.A.R.L.", "Acmé SARL"),
        ("Acme Sp. z o.o.", "acme"),
        ("ООО «Ромашка»", "Ромашка, ООО"),
        ("Müller-Lüdenscheidt  AG", "muller ludenscheidt"),
        ("Ford Motor Company", "Ford Motor Co."),
        ("Levi’s", "LEVI'S Ltd"),
        ("ＡＣＭＥ", "acme"),
    ],
)
def test_spellings_of_one_company_are_one(one: str, other: str) -> None:
    """Case, accents, punctuation and the legal form make no difference."""
    assert company_key(one) == company_key(other) != ""


@pytest.mark.parametrize(
    ("one", "other"), [("Acme GmbH", "Acme Labs GmbH"), ("SE Consulting", "Consulting"), ("Acme 1", "Acme 2")]
)
def test_different_companies_stay_apart(one: str, other: str) -> None:
    """What is more than a legal form is part of the name."""
    assert company_key(one) != company_key(other)


@pytest.mark.parametrize(("name", "key"), [("", ""), (" - ", ""), ("GmbH", "gmbh"), ("«»", "")])
def test_what_names_no_company_has_no_key(name: str, key: str) -> None:
    """Nothing but marks is no name; a name that is all legal form is one."""
    assert company_key(name) == key


def test_public_domains_are_known() -> None:
    """The great providers' domains are public; a company's, and one below a public one, is not."""
    assert all(map(is_public, ("gmail.com", "yandex.ru", "gmx.de", "orange.fr", "hotmail.es", "163.com")))
    assert not any(map(is_public, ("acme.example", "mail.gmail.com", "com", "#", "")))
