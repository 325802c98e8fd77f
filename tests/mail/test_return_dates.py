"""The day somebody is back is read in the languages and forms in which people write it, and never guessed early."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.mail.return_dates import find_return_date

TODAY = date(2026, 11, 25)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("I will be back on 3 December.", date(2026, 12, 3)),
        ("Back on Dec 7th", date(2026, 12, 7)),
        ("I'm out of the office until January 4, 2027.", date(2027, 1, 4)),
        ("on vacation from 1 to 9 December.", date(2026, 12, 9)),
        ("traveling for work on December 10-31.", date(2026, 12, 31)),
        (
            "out from 3 December until 12 December and back on 14 December. Our office moves on 20 January.",
            date(2026, 12, 14),
        ),
        ("Возвращаюсь 15 января", date(2027, 1, 15)),
        ("В отпуске с 1 по 9 декабря, звоните +7 999 123-45-67", date(2026, 12, 9)),
        ("Я буду отсутствовать до 10.12.2026", date(2026, 12, 10)),
        ("в офисе буду в понедельник", date(2026, 11, 30)),
        ("Ich bin bis zum 3.12. abwesend.", date(2026, 12, 3)),
        ("Ich bin vom 03.12.2026 bis 14.12.2026 im Urlaub", date(2026, 12, 14)),
        ("Urlaub 03.12.-14.12.2026", date(2026, 12, 14)),
        ("Ab dem 7. Dezember bin ich wieder erreichbar", date(2026, 12, 7)),
        ("Ich bin ab nächsten Montag wieder da", date(2026, 11, 30)),
        ("Zurück am 3.12. oder 4.12.", date(2026, 12, 4)),
        ("absent jusqu'au 3 décembre", date(2026, 12, 3)),
        ("absent du 1er au 9 décembre inclus", date(2026, 12, 9)),
        ("de retour demain", date(2026, 11, 26)),
        ("hasta el 3 de diciembre", date(2026, 12, 3)),
        ("hasta el mar 8 de diciembre de 2026", date(2026, 12, 8)),
        ("Sono in ferie dal 1 al 9 dicembre", date(2026, 12, 9)),
        ("Estou de férias até 9 de dezembro", date(2026, 12, 9)),
        ("Ik ben afwezig t/m 9 december", date(2026, 12, 9)),
        ("Jestem na urlopie do 9 grudnia", date(2026, 12, 9)),
        ("Повернусь 9 грудня", date(2026, 12, 9)),
        ("Jag är tillbaka den 9 december", date(2026, 12, 9)),
        ("12月9日まで休暇をいただいております", date(2026, 12, 9)),
        ("我将于12月9日返回", date(2026, 12, 9)),
        ("back 2026-12-07", date(2026, 12, 7)),
        ("I'm out of the office Friday.", date(2026, 11, 27)),
        ("away until Wednesday", date(2026, 12, 2)),
        ("until Monday, 7 December, 10:30", date(2026, 12, 7)),
        ("I am back next week", date(2026, 11, 30)),
        ("until 1 September 2027", date(2027, 9, 1)),
        ("I am on leave from 1 December", None),
        ("away until 5 May 2025", None),
        ("away until 5 November", None),
        ("away until 31.02.2027", None),
        ("I'm away. Call us 24/7 at +49 30 12.12.1234 or write to box 12/12.", None),
        ("Our fair is on 3 December", None),
        ("", None),
    ],
)
def test_day_is_read(text: str, day: date | None) -> None:
    """The last day named for the absence is found; beginnings, telephone numbers and past days are not taken for it."""
    assert find_return_date(text, TODAY) == day


@pytest.mark.parametrize(
    ("text", "received_on", "day"),
    [
        ("I am out of office until 12/05/2026", date(2026, 4, 28), date(2026, 5, 12)),  # only one is near
        ("I am out of office until 12/05/2026", date(2026, 11, 25), date(2026, 12, 5)),  # only one is to come
        ("I am out of office until 05/06/2026", date(2026, 4, 28), date(2026, 6, 5)),  # both are near: the later
        ("I am out of office until 10/12/2026", date(2026, 4, 28), date(2026, 12, 10)),  # neither is near: the later
        ("I am out of office until 25/05/2026", date(2026, 4, 28), date(2026, 5, 25)),  # only one is a day
        ("I am out of office until 05/25/2026", date(2026, 4, 28), date(2026, 5, 25)),
        ("absente jusqu'au 05/06/2026", date(2026, 4, 28), date(2026, 6, 5)),  # the day comes first
        ("fuera de la oficina hasta el 10/12/2026", date(2026, 4, 28), date(2026, 12, 10)),
        ("fuera de la oficina hasta el 12/10/2026", date(2026, 4, 28), date(2026, 10, 12)),
        ("bis 12.05.2026 abwesend", date(2026, 4, 28), date(2026, 5, 12)),
    ],
)
def test_two_readings_give_the_likely_or_the_later(text: str, received_on: date, day: date) -> None:
    """Day and month change places only in English, and there the reading never brings a letter too early."""
    assert find_return_date(text, received_on) == day


def test_round_the_clock_is_no_day() -> None:
    """ "24/7" is not the 24th of July, even when that is near."""
    assert find_return_date("I am away, our hotline is there 24/7", date(2026, 7, 1)) is None


@given(st.dates(date(2020, 1, 1), date(2030, 12, 31)), st.integers(1, 199))
def test_year_is_found(received_on: date, ahead: int) -> None:
    """A day without a year is the next such day, over New Year too."""
    day = received_on + timedelta(days=ahead)
    assert find_return_date(f"I am back on {day.day} {day:%B}.", received_on) == day
    assert find_return_date(f"Ich bin bis zum {day.day}.{day.month}. abwesend.", received_on) == day


@given(st.dates(date(2020, 1, 1), date(2030, 12, 31)), st.text(max_size=100))
def test_no_day_before_today(received_on: date, text: str) -> None:
    """Whatever the text: no day, or one that is not over."""
    found = find_return_date(f"I am away until {text}", received_on)
    assert found is None or found >= received_on
