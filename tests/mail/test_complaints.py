"""Complaints: ARF, and those who return the letter with a remark instead."""

import json

import pytest

from mailfleet.mail.complaints import Complaint, find_complaint
from mailfleet.mail.incoming import read_incoming

LETTER = "Message-ID: <m1@a.example>\nFrom: me@a.example\nTo: one@b.example\nSubject: Hello\n"


def arf(fields: str, *, letter: str = LETTER) -> bytes:
    return (
        "From: fbl@b.example\nTo: me+tok3n@a.example\nSubject: FW: Hello\n"
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nAn abuse report.\n"
        f"--b\nContent-Type: message/feedback-report\n\n{fields}\nVersion: 1\n"
        f"--b\nContent-Type: message/rfc822\n\n{letter}\nHello\n--b--\n"
    ).encode()


def read(raw: bytes) -> Complaint:
    complaint = find_complaint(read_incoming(raw))
    assert complaint is not None
    return complaint


def test_a_feedback_report_names_who_complained_and_our_letter() -> None:
    """RFC 5965: type, recipient, the letter's id, the envelope id, the token in the address it came to."""
    found = read(arf("Feedback-Type: abuse\nOriginal-Rcpt-To: <Two@b.example>\nOriginal-Envelope-Id: e77"))
    assert (found.feedback_type, found.recipients) == ("abuse", ("Two@b.example",))
    assert (found.message_ids, found.envelope_ids) == (("<m1@a.example>",), ("e77",))
    assert found.delivered_to == ("me+tok3n@a.example",)
    assert found.is_abuse


def test_without_a_recipient_the_letters_own_counts() -> None:
    """Many providers black the recipient out; the returned letter may still say to whom it went."""
    assert read(arf("Feedback-Type: abuse\nRedacted-Address: redacted")).recipients == ("one@b.example",)


@pytest.mark.parametrize("kind", ["auth-failure", "dmarc", "opt-out"])
def test_not_every_feedback_is_abuse(kind: str) -> None:
    """A failed authentication and an opt-out are feedback, and nobody's anger."""
    assert not read(arf(f"Feedback-Type: {kind}")).is_abuse


def test_not_spam_is_no_complaint() -> None:
    """RFC 6430: a letter that was taken out of the junk folder."""
    assert find_complaint(read_incoming(arf("Feedback-Type: not-spam"))) is None


def test_microsofts_form_is_known_by_its_field() -> None:
    """JMRP returns the letter as a part of its own, with the recipient in a field of it."""
    raw = (
        "From: staff@hotmail.com\nTo: me@a.example\nSubject: complaint about message from 192.0.2.1\n"
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        f"X-HmXmrOriginalRecipient: two@b.example\n{LETTER}\nHello\n--b--\n"
    )
    assert read(raw.encode()).recipients == ("two@b.example",)
    assert read(raw.replace("complaint about", "Re:").encode()).recipients == ("two@b.example",)
    plain = raw.replace("X-HmXmrOriginalRecipient: two@b.example\n", "")
    assert read(plain.encode()).recipients == ("one@b.example",)
    for person in (("complaint about", "Fwd:"), ("From: staff", "In-Reply-To: <m1@a.example>\nFrom: jane")):
        assert find_complaint(read_incoming(plain.replace(*person).encode())) is None


def test_a_report_with_broken_parts_is_still_one() -> None:
    """The fields stand in the text, or nowhere: the type of the mail suffices."""
    head = "From: f@b.example\nContent-Type: multipart/report; report-type=feedback-report\n\n"
    assert read(f"{head}Feedback-Type: fraud\nOriginal-Rcpt-To: one@b.example\n".encode()).feedback_type == "fraud"
    assert read(f"{head}nothing\n".encode()).feedback_type == "abuse"


def test_amazon_ses_complains_in_json() -> None:
    """Its complaint is one, its bounce is none."""
    event = {"complainedRecipients": [{"emailAddress": "one@b.example"}], "complaintFeedbackType": "not-my-type"}
    text = json.dumps({"notificationType": "Complaint", "complaint": event, "mail": {"messageId": "0101"}})
    found = read(f"From: no-reply@sns.amazonaws.com\n\n{text}".encode())
    assert (found.feedback_type, found.recipients, found.message_ids) == ("not-my-type", ("one@b.example",), ("0101",))
    bounce = json.dumps({"notificationType": "Bounce", "bounce": {"bouncedRecipients": []}})
    assert find_complaint(read_incoming(f"\n\n{bounce}".encode())) is None
