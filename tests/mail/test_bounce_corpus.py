"""Real reports of many mail systems, against what a reference says of them; `docs/bounces.md` is written here."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import groupby

import pytest
from mail_corpus import ROOT, SMALLEST_PART, Expected, expected, mails

from mailfleet.mail.incoming import read_incoming
from mailfleet.mail.kinds import Classified, classify
from mailfleet.model.words import MailKind

PAGE = ROOT / "docs" / "bounces.md"
MARKER = "<!-- Below this line the page is written by tests/mail/test_bounce_corpus.py (MAILFLEET_WRITE_DOCS=1). -->\n"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FOUND_FLOOR, SEVERITY_FLOOR = 0.95, 0.90
WORDS = ("hard", "soft", "delayed", "delivered", "complaint", "opt_out", "nobody", "no report")

FILTERED = (
    "The words say that there is no such user. The reference calls it filtered, and soft, because of the command that "
    "was refused or of the make of the server; we believe the words unless a status or the phase contradicts them."
)
EXPLAINED = {
    "arf-26.eml": "Apple Mail's unsubscribe button writes to the List-Unsubscribe address: an opt_out, no complaint.",
    "lhost-mimecast-01.eml": "A report of failure that the reference does not know.",
    "lhost-mimecast-02.eml": "A report of failure that the reference does not know.",
    "lhost-sendmail-14.eml": "A person forwards a report to another: mail from a person, and no report.",
    "lhost-fml-02.eml": "A list server's answer: the list stands in mid-sentence, its robot on a line of its own.",
    "lhost-v5sendmail-01.eml": "The reference cuts the address.",
    "lhost-bigfoot-02.eml": "The status is of a policy (5.7.1), the words of an unknown address: doubt, so not hard.",
    "lhost-postfix-05.eml": "A 450 is temporary, whatever its words.",
    "lhost-postfix-80.eml": "The words speak of a blocklist, only the status of the address.",
    "lhost-postfix-01.eml": "A forward that failed: the words say that the user is unknown, the program says why.",
    "rhost-aol-06.eml": "The name server's answer was broken: it may mend.",
}
"""File → why we read it otherwise than the reference does."""


@dataclass(frozen=True)
class Compared:
    """A row of the reference, and what we say of its recipient."""

    row: Expected
    got: str
    is_found: bool

    @property
    def is_severity_right(self) -> bool:
        """Hard as in the reference, or not hard as in it."""
        return self.got not in ("nobody", "no report") and (self.got == "hard") == (self.row.word == "hard")


@cache
def classified() -> dict[str, Classified]:
    """Every mail of the corpus, classified."""
    return {name: classify(read_incoming(raw), NOW) for name, raw in mails("bounces").items()}


def compare(row: Expected, found: Classified) -> Compared:
    """The row beside the recipient of that address, else beside the first one."""
    if found.complaint:
        return Compared(row, "complaint", row.recipient in map(str.lower, found.complaint.recipients))
    if found.kind is MailKind.OPT_OUT:
        return Compared(row, "opt_out", False)
    if not found.report:
        return Compared(row, "no report", False)
    named = {one.address.lower(): one.severity.value for one in found.report.recipients}
    if row.recipient in named:
        return Compared(row, named[row.recipient], True)
    return Compared(row, next(iter(named.values()), "nobody"), False)


@cache
def compared() -> tuple[Compared, ...]:
    """Every row of the reference that names somebody."""
    return tuple(compare(row, classified()[row.file]) for row in expected() if row.recipient)


def found_rate(rows: tuple[Compared, ...]) -> float:
    """The share of recipients that were found."""
    return sum(one.is_found for one in rows) / len(rows)


def severity_rate(rows: tuple[Compared, ...]) -> float:
    """The share of recipients that are hard, or not, as the reference says."""
    return sum(one.is_severity_right for one in rows) / len(rows)


def test_the_recipient_is_found_in_nearly_every_report() -> None:
    """Of all recipients the reference names, at least 95 % are named by us."""
    missing = [one.row for one in compared() if not one.is_found]
    assert found_rate(compared()) >= FOUND_FLOOR, missing


def test_hard_and_soft_are_told_as_the_reference_tells_them() -> None:
    """At least 90 % of all recipients are hard, or not hard, as the reference says."""
    wrong = [(one.row, one.got) for one in compared() if not one.is_severity_right]
    assert severity_rate(compared()) >= SEVERITY_FLOOR, wrong


def test_every_complaint_is_found() -> None:
    """Whatever the reference calls feedback is a complaint; a letter to a List-Unsubscribe address is an opt_out."""
    said = {one.row.file: one.got for one in compared() if one.row.reason == "feedback"}
    assert not {file for file, got in said.items() if got not in ("complaint", "opt_out")}


def test_no_other_mail_is_taken_for_a_report() -> None:
    """Letters of people, forwards and vacation notices are no bounces and no complaints."""
    others = {name: classify(read_incoming(raw), NOW).kind for name, raw in mails("not_bounces").items()}
    others |= {
        row.file: classified()[row.file].kind for row in expected() if not row.recipient and row.file not in EXPLAINED
    }
    assert not {name for name, kind in others.items() if kind in (MailKind.BOUNCE, MailKind.COMPLAINT)}


def test_nothing_in_the_corpus_is_taken_for_a_notice_about_ourselves() -> None:
    """No report about a recipient holds our own mailbox or account."""
    assert not [name for name, found in classified().items() if found.report and found.report.about_us]


def test_our_letter_can_be_found_from_nearly_every_report() -> None:
    """An id or the fields of the returned letter are there wherever the report carries them."""
    reports = [found.report for found in classified().values() if found.report]
    with_letter = [report for report in reports if report.returned and report.returned.message_id]
    assert all(report.returned.message_id in report.message_ids for report in with_letter if report.returned)
    assert sum(bool(report.message_ids or report.envelope_ids) for report in reports) >= 0.8 * len(reports)


@pytest.fixture(scope="module", autouse=True)
def page() -> Iterator[None]:
    """With MAILFLEET_WRITE_DOCS=1 the tables become the end of `docs/bounces.md`."""
    yield
    if os.environ.get("MAILFLEET_WRITE_DOCS") == "1":
        head, _, _ = PAGE.read_text(encoding="utf-8").partition(MARKER)
        PAGE.write_text(head + MARKER + "\n".join(tables()) + "\n", encoding="utf-8")


def tables() -> Iterator[str]:
    """The written part of the page, line by line."""
    rows = compared()
    yield "## Confusion table (development half)\n"
    yield (
        f"{len(rows)} recipients: {found_rate(rows):.1%} found, {severity_rate(rows):.1%} hard or not as in the"
        " reference. *No report* and *nobody* count as wrong in both.\n"
    )
    counts = Counter((one.row.word, one.got) for one in rows)
    yield "| the reference says | recipients | " + " | ".join(WORDS) + " |"
    yield "|---" * (len(WORDS) + 2) + "|"
    for word in ("hard", "soft", "delayed", "delivered", "feedback"):
        cells = [counts[word, got] for got in WORDS]
        yield f"| {word} | {sum(cells)} | " + " | ".join(str(cell or "-") for cell in cells) + " |"
    yield "\n## By format\n"
    yield "Families of the corpus, by the names of its files; those under ten recipients are summed.\n"
    yield "| family | recipients | found | hard or not as in the reference |\n|---|---|---|---|"
    yield from families(rows)
    yield "\n## Where we read otherwise\n"
    yield from disagreements(rows)


def families(rows: tuple[Compared, ...]) -> Iterator[str]:
    """One line a family."""
    named = {name: tuple(group) for name, group in groupby(rows, key=family)}
    small = tuple(one for group in named.values() if len(group) < SMALLEST_PART for one in group)
    large = {name: group for name, group in named.items() if len(group) >= SMALLEST_PART}
    for name, group in (large | {"all others": small}).items():
        if group:
            yield f"| {name} | {len(group)} | {found_rate(group):.0%} | {severity_rate(group):.0%} |"


def family(one: Compared) -> str:
    """`lhost-exim-01.eml` is of lhost-exim."""
    return one.row.file.rpartition("-")[0]


def reason_of(one: Compared) -> str:
    """Why we read a row otherwise."""
    return FILTERED if one.row.reason == "filtered" else EXPLAINED.get(one.row.file, "Not explained.")


def disagreements(rows: tuple[Compared, ...]) -> Iterator[str]:
    """Each reason with its files, the commonest first; then reports the reference does not know."""
    wrong = [one for one in rows if not (one.is_found and one.is_severity_right)]
    groups: dict[str, list[str]] = {}
    for one in wrong:
        groups.setdefault(reason_of(one), []).append(one.row.file.removesuffix(".eml"))
    for row in expected():
        if not row.recipient and classified()[row.file].kind is MailKind.BOUNCE:
            groups.setdefault(EXPLAINED.get(row.file, "Not explained."), []).append(row.file.removesuffix(".eml"))
    for reason, files in sorted(groups.items(), key=lambda item: -len(item[1])):
        yield f"- {reason} ({len(files)}: {', '.join(dict.fromkeys(files))})"
