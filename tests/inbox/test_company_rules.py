"""Whether two people are of one company."""

import pytest

from mailfleet.inbox.rules_company import Employer, longest_word
from mailfleet.mail.companies import company_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Acme GmbH", "ACME"),
        ("Acme, Inc.", "acme inc"),
        ("Tidal Foods S.A.", "Tidal-Foods"),
        ("ООО «Ромашка»", "Ромашка"),
        ("Groß & Klein GmbH & Co. KG", "gross klein"),
        ("Ａｃｍｅ", "acme"),
    ],
)
def test_a_company_is_known_by_its_name_without_its_form(one: str, other: str) -> None:
    """Case, punctuation, width and legal form do not matter."""
    assert company_key(one) == company_key(other) != ""


@pytest.mark.parametrize(("one", "other"), [("Acme", "Acme Labs"), ("", ""), ("GmbH", "Ltd"), ("Acme", "Acne")])
def test_other_names_are_other_companies(one: str, other: str) -> None:
    """And no name is nobody's."""
    assert not Employer(one, "a.example").is_same(Employer(other, "b.example"))


def test_a_domain_is_a_company_unless_anybody_may_have_an_address_there() -> None:
    """By the list of public providers."""
    assert Employer("", "acme.example").is_same(Employer("Else", "acme.example"))
    assert not Employer("", "gmail.com").is_same(Employer("", "gmail.com"))


def test_the_word_that_is_looked_for_stands_in_the_name() -> None:
    """The longest, which leaves the fewest to compare, as it is written and not as it is folded."""
    assert longest_word("The Calibration Co. Ltd") == "calibration"
    assert longest_word("Straße AG") == "straße"
    assert longest_word("...") == ""
