"""No bytes whatever make the readers of mail raise, warn, or run away."""

from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mail_corpus import mails

from mailfleet.mail.incoming import Incoming, read_incoming
from mailfleet.mail.kinds import classify
from mailfleet.model.words import MailKind

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
BOUNDED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
PIECES = st.sampled_from(
    [
        *(b"\n", b"\r\n", b"\n\n", b"\r", b"\0", b"\xff\xfe", b"=?utf-8?b?", b"?=", b"<", b">", b'"', b"@", b"(", b"{"),
        *(b"--b", b"--b--", b"\n--b\n", b"Subject: ", b"From: MAILER-DAEMON@c.example\n", b"To: a@b.example\n"),
        *(
            b"Content-Type: multipart/report; boundary=b\n",
            b"Content-Type: message/delivery-status\n",
            b"charset=utf-7",
        ),
        *(b"Content-Type: message/rfc822\n", b"Content-Type: text/html\n", b"Content-Transfer-Encoding: base64\n"),
        *(
            b"Final-Recipient: rfc822; one@b.example\n",
            b"Action: failed\n",
            b"Status: 5.1.1\n",
            b"Feedback-Type: abuse\n",
        ),
        *(
            b"<one@b.example>:\n550 5.1.1 User unknown\n",
            b"Date: 31 Feb 99999 25:61\n",
            b'{"Message": "{\\"eventType\\"',
        ),
    ]
)
MADE = st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=60).map(b"".join)


def read_everything(raw: bytes) -> Incoming:
    """Whatever a caller may ask of a mail."""
    mail = read_incoming(raw)
    for letter in (mail, *mail.returned):
        assert letter.sent_at is None or letter.sent_at.tzinfo is UTC
        assert isinstance(letter.message_id + letter.sender + letter.subject, str)
        assert all(letter.get_all(name) is not None for name in letter.headers)
        assert (letter.in_reply_to, letter.recipients, letter.delivered_to) is not None
    found = classify(mail, NOW)
    assert (found.kind is MailKind.BOUNCE) <= (found.report is not None)
    assert (found.kind is MailKind.COMPLAINT) == (found.complaint is not None)
    return mail


@BOUNDED
@given(st.one_of(st.binary(max_size=2000), MADE))
def test_arbitrary_bytes_are_read(raw: bytes) -> None:
    """Noise, and noise made of what mail is made of."""
    read_everything(raw)


@BOUNDED
@given(st.data())
def test_real_mail_survives_mutation(data: st.DataObject) -> None:
    """Parts of real reports cut out, doubled, spoilt and cut off; what is left is still read."""
    known = mails("bounces")
    raw = known[data.draw(st.sampled_from(sorted(known)))][:20_000]
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(raw)))
        end = start + data.draw(st.integers(0, 300))
        raw = (
            raw[:start] + data.draw(st.one_of(PIECES, st.binary(max_size=30), st.just(raw[start:end] * 3))) + raw[end:]
        )
    read_everything(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)


@BOUNDED
@given(st.text(max_size=300))
def test_text_survives_as_body(text: str) -> None:
    """What a person writes in UTF-8 comes out as it went in, but for line ends."""
    body = text.replace("\r\n", "\n").replace("\r", "\n")
    raw = b"Content-Type: text/plain; charset=utf-8\n\n" + text.encode("utf-8", "replace")
    assert read_incoming(raw).text == body.encode("utf-8", "replace").decode()
