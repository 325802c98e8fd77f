"""`mailfleet explain reply`: one reply as text, or JSON lines in and out, and what it says to broken ones."""

import json
import os
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "mailfleet.cli", "explain", "reply"]
FIELDS = {"class", "scope", "permanent", "action", "rule"}


def explain(*arguments: str, lines: bytes = b"", **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """The command as a process of its own, with these bytes on its stdin."""
    everything = os.environ | environment
    return subprocess.run([*COMMAND, *arguments], input=lines, capture_output=True, check=False, env=everything)


def test_a_text_is_explained_for_its_speaker_and_side() -> None:
    """The same words from our provider are our own limit; every answer is one line of the five fields."""
    done = explain("550 5.4.5 Daily user sending limit exceeded", "--provider", "google", "--side", "submission")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {
        "class": "rate_limited_account",
        "scope": "mailbox",
        "permanent": False,
        "action": "hold",
        "rule": "own-limit-daily",
    }
    other = json.loads(explain("550 5.1.1 no such user", "--side", "dsn").stdout)
    assert (other["class"], other["permanent"]) == ("recipient_unknown", True)


def test_lines_in_are_lines_out_in_their_order() -> None:
    """One object out for each in; empty lines are passed over; a field of the line goes before the option; odd and
    missing fields are borne."""
    records = [
        {"code": "550", "enhanced_code": "5.1.1", "text": "no such user", "provider": "", "side": "mx"},
        {"code": 450, "enhanced_code": None, "text": "greylisted, try again", "side": "dsn"},
        {"text": "550 5.4.5 Daily user sending limit exceeded", "provider": "google"},
        {"text": ["250-first", "250 2.0.0 ok"], "unknown": [1, {"a": None}]},
        {"text": "550 5.4.5 \N{SNOWMAN} \ud800 \0"},
        {},
    ]
    lines = "\n\n".join(map(json.dumps, records)).encode()
    done = explain("--provider", "postfix", lines=lines)
    assert (done.returncode, done.stderr) == (0, b"")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [set(line) for line in found] == [FIELDS] * 6
    assert [line["class"] for line in found[:4]] == [
        *("recipient_unknown", "greylisted", "rate_limited_account", "accepted")
    ]


BAD = [
    (b"not json", b"line 2: not JSON"),
    (b'{"text": "550 no"', b"line 2: not JSON"),
    (b"[1]", b"line 2: not a JSON object"),
    (b"null", b"line 2: not a JSON object"),
    (b'"550 no"', b"line 2: not a JSON object"),
]


@pytest.mark.parametrize(("line", "said"), BAD)
def test_a_bad_line_is_named(line: bytes, said: bytes) -> None:
    """What came before it is answered; the line's number and what is wrong with it are said in one sentence, and the
    exit status is 1."""
    done = explain(lines=b'{"text": "550 5.1.1 no such user"}\n' + line + b'\n{"text": "250 ok"}\n')
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert said in done.stderr
    assert b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "line", [b'{"text": "550 caf\xe9"}', b"\xff\xfe{\0}\0", b"[" * 100_000], ids=["1", "16", "deep"]
)
def test_bytes_that_are_no_text_break_nothing(line: bytes) -> None:
    """Latin-1 and UTF-16, where the system's encoding is strict, and nesting without end: answered, or refused by the
    line's number."""
    done = explain(lines=b'{"text": "250 ok"}\n' + line + b"\n", PYTHONIOENCODING="utf-8:strict")
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0 or b"line 2" in done.stderr


def test_unknown_options_are_refused() -> None:
    """A side that is none, and an option that is none: click's own line and status."""
    for arguments in (("550 no", "--side", "elsewhere"), ("550 no", "--nothing")):
        done = explain(*arguments)
        assert done.returncode == 2
        assert b"Traceback" not in done.stderr
    assert explain().returncode == 0, "nothing asked is nothing answered"
