"""Which letter a mail is about: laws of the matching, with literals and by hypothesis."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.inbox.rules_matching import PROVEN, Clues, Match, SentLetter, Way, bare_subject, is_same_subject, match
from mailfleet.mail.opt_out import TokenFacts

LETTERS = [
    SentLetter(
        n, f"<id{n}@m{n % 2}.test>", n % 2, n % 3, f"c{n % 3}@x.test", bytes([n]) * 16, f"Subject {n % 2}", n > 2
    )
    for n in range(1, 9)
]
IDS = [letter.header_id for letter in LETTERS] + ["<else@x.test>"]
some_ids = st.lists(st.sampled_from(IDS), max_size=4)
clues_of = st.builds(
    Clues,
    mailbox_id=st.integers(0, 2),
    token=st.none() | st.builds(TokenFacts, st.integers(1, 9), st.sampled_from([bytes([n]) * 16 for n in range(1, 9)])),
    references=some_ids,
    returned=some_ids,
    envelope_ids=st.lists(st.sampled_from(["id1", "id2", "id8", "none"]), max_size=2),
    addresses=st.lists(st.sampled_from(["c0@x.test", "c1@x.test", "c2@x.test", "d@x.test"]), max_size=2),
    subject=st.sampled_from(["Re: Subject 0", "Subject 1", "Else", ""]),
    fleet_ways=st.sampled_from([frozenset[Way](), frozenset({Way.REFERENCE, Way.ADDRESS}), frozenset({Way.RETURNED})]),
)


def names(clues: Clues, found: Match) -> bool:
    """Whether the mail says what the way claims."""
    letter = found.letter
    match found.way:
        case Way.TOKEN:
            return clues.token == TokenFacts(letter.id, letter.digest)
        case Way.REFERENCE:
            return letter.header_id in clues.references
        case Way.RETURNED:
            return letter.header_id in clues.returned
        case Way.ENVELOPE:
            return letter.envelope_id in clues.envelope_ids
        case Way.SUBJECT:
            return is_same_subject(clues.subject, letter.subject) and letter.address in clues.addresses
        case Way.ADDRESS:
            return letter.address in clues.addresses


@given(clues_of, st.permutations(LETTERS))
def test_a_match_is_what_it_claims_and_lies_where_it_may(clues: Clues, letters: list[SentLetter]) -> None:
    """The mail names the letter in that way; it is this mailbox's, unless the way is one that reaches the fleet; by
    address only what is recent is found. The order of the letters changes nothing."""
    found = match(clues, letters)
    assert found == match(clues, LETTERS)
    if found is None:
        return
    assert names(clues, found)
    is_here = found.letter.mailbox_id == clues.mailbox_id
    assert is_here or found.way is Way.TOKEN or found.way in clues.fleet_ways
    assert found.way in PROVEN or found.letter.is_recent


@given(clues_of)
def test_what_is_named_goes_before_what_is_guessed(clues: Clues) -> None:
    """By address only when nothing is named that counts; a token is the last word."""
    found = match(clues, LETTERS)
    unnamed = replace(clues, token=None, references=(), returned=(), envelope_ids=())
    if found is None or found.way in (Way.SUBJECT, Way.ADDRESS):
        assert found == match(unnamed, LETTERS)
    if clues.token and any(clues.token == TokenFacts(letter.id, letter.digest) for letter in LETTERS):
        assert found is not None and found.way is Way.TOKEN


@given(clues_of)
def test_strangers_letters_are_never_found(clues: Clues) -> None:
    """Nothing is found among letters that the mail does not name and that went to other people."""
    others = [replace(one, header_id=f"<x{one.id}@y>", address="z@y", digest=b"") for one in LETTERS]
    assert match(clues, others) is None


def test_of_several_named_the_one_to_the_sender_counts_else_the_nearest() -> None:
    """A thread that was merged names letters to two people."""
    first, second = LETTERS[0], LETTERS[2]
    assert first.mailbox_id == second.mailbox_id
    clues = Clues(1, references=[first.header_id, second.header_id], addresses=[second.address])
    assert match(clues, LETTERS) == Match(second, Way.REFERENCE)
    assert match(replace(clues, addresses=["else@x.test"]), LETTERS) == Match(first, Way.REFERENCE)


def test_the_latest_letter_to_an_address_is_meant() -> None:
    """Of the same subject if there is one, else whichever."""
    clues = Clues(1, addresses=["c1@x.test"], subject="RE: subject 1")
    assert match(clues, LETTERS) == Match(LETTERS[6], Way.SUBJECT)
    assert match(replace(clues, subject="Holiday"), LETTERS) == Match(LETTERS[6], Way.ADDRESS)


@pytest.mark.parametrize("subject", ["Re: Subject 0", "Holiday"])
def test_another_mailbox_s_letter_is_found_by_the_address_at_most(subject: str) -> None:
    """If the clues allow it, and only when this mailbox wrote nothing; never by its subject."""
    clues = Clues(1, addresses=["c2@x.test"], subject=subject, fleet_ways=frozenset({Way.ADDRESS}))
    assert match(clues, LETTERS) == Match(LETTERS[4], Way.ADDRESS)
    elsewhere = [letter for letter in LETTERS if letter.mailbox_id == 0]
    assert match(clues, elsewhere) == Match(LETTERS[7], Way.ADDRESS)
    assert match(replace(clues, fleet_ways=frozenset()), elsewhere) is None


@pytest.mark.parametrize(
    ("said", "is_same"),
    [
        ("Re: Half a day", True),
        ("RE: AW: half a  day", True),
        ("Re[2]: Half a day", True),
        ("Отв: Half a day", True),
        ("回复：Half a day", True),
        ("[External] Re: Half a day", True),
        ("Automatic reply: Half a day", True),
        ("Half a day", True),
        ("Half a day off", False),
        ("Not half a day", False),
        ("", False),
    ],
)
def test_a_subject_is_ours_but_for_what_stands_before_it(said: str, is_same: bool) -> None:
    """Prefixes of answers, tags of gateways, and whatever ends in a colon."""
    assert is_same_subject(said, "Re: Half a day") is is_same


@given(st.text(max_size=200))
def test_a_bare_subject_has_no_prefix_left(subject: str) -> None:
    """Taking prefixes away twice is as once; an empty subject is nobody's."""
    bare = bare_subject(subject)
    assert bare_subject(f"Re: Fwd: {subject}") == bare
    assert not is_same_subject(subject, "Re: ")
