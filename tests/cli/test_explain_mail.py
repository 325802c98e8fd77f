"""`mailfleet explain mail`: a line a file, whatever the files hold, without a database."""

import json
import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "mailfleet.cli", "explain", "mail"]
FIELDS = {"file", "kind", "recipients", "feedback_type", "in_reply_to", "text"}
BOUNCE = b"""From: MAILER-DAEMON@c.example
To: me@a.example
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

Sorry.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; c.example

Final-Recipient: rfc822; one@b.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.b.example
Diagnostic-Code: smtp; 550 5.1.1 User unknown

--b
Content-Type: message/rfc822

Message-ID: <m1@a.example>
To: one@b.example

--b--
"""


def explain(*names: str, lines: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """The command as a process of its own, with no home and no database to find."""
    nowhere = os.environ | {
        "MAILFLEET_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "MAILFLEET_HOME": "/nonexistent",
    }
    return subprocess.run([*COMMAND, *names], input=lines, capture_output=True, check=False, env=nowhere)


def test_each_file_is_one_line(tmp_path: Path) -> None:
    """A bounce, a complaint and a reply: kind, recipients, type, the id of our letter, the text."""
    (tmp_path / "bounce").write_bytes(BOUNCE)
    (tmp_path / "complaint").write_bytes(
        b"Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
        b"--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: one@b.example\n--b--\n"
    )
    (tmp_path / "reply").write_bytes(b"Subject: Re: Hello\nIn-Reply-To: <m1@a.example>\n\nYes.\n\n> Hello\n")
    done = explain(*(str(tmp_path / name) for name in ("bounce", "complaint", "reply")))
    assert (done.returncode, done.stderr) == (0, b"")
    bounce, complaint, reply = map(json.loads, done.stdout.splitlines())
    assert all(set(line) == FIELDS for line in (bounce, complaint, reply))
    assert bounce["recipients"] == [
        {
            "address": "one@b.example",
            "hard": True,
            "status": "5.1.1",
            "class": "recipient_unknown",
            "scope": "recipient",
            "severity": "hard",
        }
    ]
    assert (bounce["kind"], bounce["in_reply_to"], bounce["feedback_type"]) == ("bounce", "<m1@a.example>", None)
    assert (complaint["kind"], complaint["feedback_type"]) == ("complaint", "abuse")
    assert complaint["recipients"][0]["address"] == "one@b.example"
    assert (reply["kind"], reply["in_reply_to"], reply["text"].strip()) == ("reply", "<m1@a.example>", "Yes.")


def test_a_file_that_cannot_be_read_is_a_line_and_the_others_are_explained(tmp_path: Path) -> None:
    """The error names the file; the exit status is 1 at the end."""
    (tmp_path / "bounce").write_bytes(BOUNCE)
    done = explain(str(tmp_path / "none"), str(tmp_path), str(tmp_path / "bounce"))
    missing, folder, bounce = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (1, b"")
    assert set(missing) == set(folder) == {"file", "error"}
    assert bounce["kind"] == "bounce"


def test_stdin_and_bytes_that_are_no_mail_are_explained() -> None:
    """- is stdin; noise is some mail of no kind, in one line of ASCII."""
    assert json.loads(explain("-", lines=BOUNCE).stdout)["kind"] == "bounce"
    done = explain("-", lines=bytes(range(256)) * 9)
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["kind"] == "other"
    assert explain().returncode == 2
