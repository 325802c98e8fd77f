"""What the head of a mail tells: which mail it is, and whether its body is read."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inbox.post import Post, mail, report
from mailfleet.inbox.rules_heads import HEAD_LIMIT, digest_of
from mailfleet.inbox.taking import wants_body
from mailfleet.providers.sandbox import persona_letters as people

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FIELD = st.from_regex(r"[A-Za-z-]{1,20}: [!-~]{0,40}", fullmatch=True)


@given(st.lists(FIELD, min_size=1, max_size=5), st.binary(max_size=200))
def test_a_mail_is_the_same_with_and_without_its_body(fields: list[str], body: bytes) -> None:
    """As a head is read alone, with its blank line or without, and as the whole mail is."""
    head = "\r\n".join(fields).encode()
    assert digest_of(head) == digest_of(head + b"\r\n\r\n") == digest_of(head + b"\r\n\r\n" + body)
    assert digest_of(head) != digest_of(head + b"\r\nX-More: 1\r\n\r\n" + body)


def test_a_head_that_was_cut_is_the_same_as_the_whole() -> None:
    """Of a head without end as many octets tell it as are read of it."""
    head = b"X: y\r\n" * 20_000
    assert digest_of(head[:HEAD_LIMIT]) == digest_of(head + b"\r\nbody")


def test_bodies_of_own_letters_and_newsletters_are_not_read(post: Post) -> None:
    """They are not about us, whatever they say."""
    assert not wants_body(post.sent[0].original.content)
    for fields in ({"List_Id": "<n.x.test>"}, {"List_Unsubscribe": "<mailto:u@x.test>"}, {"Precedence": "bulk"}):
        assert not wants_body(mail("news@x.test", subject="Offers of the week", **fields))


def test_bodies_of_all_that_may_be_about_us_are_read(post: Post) -> None:
    """Answers, reports, complaints, absences and noes of all our personas; people's mail; and a head of noise."""
    original = post.sent[0].original
    for raw in (
        people.make_reply(original, "Yes.", NOW),
        *(people.make_auto_reply(original, number, NOW) for number in range(6)),
        people.make_opt_out(original, NOW),
        people.make_bounce(original, NOW),
        people.make_odd_bounce(original, NOW),
        people.make_complaint(original, NOW),
        report("x@x.test", status="5.1.1", said="550 no"),
        mail("a@x.test", subject="Hello"),
        b"\xff" * 100,
        b"",
    ):
        assert wants_body(raw)


@pytest.mark.parametrize(
    "fields",
    [
        {"In_Reply_To": "<x@y>"},
        {"Return_Path": "<>"},
        {"Auto_Submitted": "auto-replied"},
        {"X_Failed_Recipients": "a@b.test"},
        {"Content_Type": "multipart/report; report-type=feedback-report"},
    ],
)
def test_a_list_s_mark_hides_no_answer_and_no_report(fields: dict[str, str]) -> None:
    """Ticket systems and gateways put the marks of lists on what answers us."""
    assert wants_body(mail("x@x.test", subject="Offers", List_Id="<l.x.test>", **fields))


def test_a_stranger_cannot_pass_for_our_copy(post: Post) -> None:
    """Only the sender's own opt-out address with a token makes a copy of ours."""
    content = post.sent[0].original.content
    assert wants_body(content.replace(b"From: Ann", b"In-Reply-To: <x@y>\r\nX: ").replace(b"mailto:", b"mailto:x"))
