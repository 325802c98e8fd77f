"""A report in words: who failed and what was said about it.

Nothing here knows one mail server from another. Recipients are told by where their address stands in the text and by
whether the letter that is returned was addressed to them; what was said is what stands nearest to them.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from mailfleet.mail.bounces.findings import Fate, Finding, Named
from mailfleet.mail.bounces.notice_words import says
from mailfleet.mail.incoming import ADDRESS, Letter, addresses
from mailfleet.mail.parts import fields_of, read_fields

MAX_LINES = 400  # chosen: of a notice; the longest known has some 80
MAX_BLOCKS = 50  # chosen: blocks of fields that are tried as the returned letter
MAX_RECIPIENTS = 20  # chosen: our letters have one; who returns letters of more is named in the part for machines
MAX_LINE = 1000  # chosen: characters of a line that are looked at
_LETTER_FIELDS = {
    *("from", "to", "subject", "date", "message-id", "received", "return-path", "mime-version", "content-type"),
    *("cc", "reply-to", "sender", "x-mailer", "dkim-signature", "user-agent"),
}
_FIELD_LINE = re.compile(r"([!-9;-~]{2,40}):(?:\s|$)")
_STATUS_FIELD = re.compile(
    r"^[ \t]*(?:Reporting-MTA|Original-Recipient|Final-Recipient)\s*:", re.IGNORECASE | re.MULTILINE
)
_ROLE = re.compile(
    r"(?:postmaster|mailer-daemon|abuse|support|helpdesk|administrator|hostmaster|noreply|no-reply)@", re.IGNORECASE
)
_DECORATION = r"[\s<>\"'\[\](){}*•·\-–+=#>|:;,.!]*"
_STANDS_FIRST = re.compile(rf"{_DECORATION}(?:(?:smtp|mailto|rfc822|5\d\d):?{_DECORATION})?\Z", re.IGNORECASE)
_ALIAS = re.compile(r"\((?:generated|expanded|forwarded|redirected) from", re.IGNORECASE)  # of the recipient above
_COMMAND = re.compile(r"rcpt\s+to\s*:\s*<?\s*\Z", re.IGNORECASE)
_LABEL = re.compile(
    r"(?:recipient|address|user|mailbox|account|to|failed|for|empf[aä]nger|destinataire|destinatario|получател\w*|宛先)"
    rf"[^.:]{{0,30}}[:：]?{_DECORATION}\Z",
    re.IGNORECASE,
)
_QUOTED_REPLY = re.compile(
    r"(?:^|[\s:<>\[(#\"'])(?:[245]\d\d[ \-:;,]|[245]\.\d{1,2}\.\d{1,3}\b)"
    r"|^<<<|\bsaid:|\bresponded\b|\bsmtp error from remote\b",
    re.IGNORECASE,
)
_COMMAND_ECHO = re.compile(r"^\s*>>>\s*(?:rcpt|mail|data|ehlo|helo|quit|rset)", re.IGNORECASE)


class Notice(NamedTuple):
    """The text of a report, without the letter that follows it; and the fields of that letter, if there are any."""

    text: str
    returned: Letter | None


class Spot(NamedTuple):
    """An address in a line of the notice; the greater the weight, the more that place speaks of a recipient."""

    line: int
    address: str
    weight: int


def split_notice(text: str, subject: str) -> Notice:
    """Cut the text where the returned letter begins: where a block of lines is the fields of a letter.

    `subject` is the report's own: some repeat their own fields before they speak.
    """
    lines = text.split("\n")
    for start in islice(_block_starts(lines), MAX_BLOCKS):
        end = next((at for at in range(start, len(lines)) if not lines[at].strip()), len(lines))
        block = "\n".join(lines[start : min(end, start + MAX_LINES)])
        names = {name.lower() for name, _ in fields_of(block)} & _LETTER_FIELDS
        letter = Letter(read_fields(block))
        if len(names) >= 3 and (letter.subject != subject or not subject):
            return Notice(_without_heading(lines[:start]), letter)
    return Notice("\n".join(_before_separator(lines)), None)


def _block_starts(lines: list[str]) -> Iterable[int]:
    """Lines that begin like a field while the line before does not."""
    was_field = False
    for at, line in enumerate(lines):
        is_field = _FIELD_LINE.match(line) is not None or line.startswith("From ")
        if is_field and not was_field:
            yield at
        was_field = is_field or (was_field and line[:1] in (" ", "\t"))


def _without_heading(lines: list[str]) -> str:
    """Without the line that announces the letter, which would else be read as what was said."""
    while lines and (not lines[-1].strip() or (not ADDRESS.search(lines[-1]) and says("returned", lines[-1]))):
        lines.pop()
    return "\n".join(lines)


def _before_separator(lines: list[str]) -> list[str]:
    for at, line in enumerate(lines):
        if at and line[:1] in ("-", "=", "*", "_", "|") and not ADDRESS.search(line) and says("returned", line):
            return lines[:at]
    return lines


def status_text(text: str) -> str:
    """The part for machines where it stands in the text, from its first field on; empty when there is none."""
    found = _STATUS_FIELD.search(text)
    return (
        text[found.start() :] if found and re.search(r"^[ \t]*(?:Final|Original)-Recipient", text, re.I | re.M) else ""
    )


def find_recipients(
    notice: Notice, ours: Iterable[str], failed: Iterable[str], letters: Iterable[Letter]
) -> list[Finding]:
    """Who failed, in the order of the text; empty when nobody can be named.

    `ours` is whom the report is addressed to and who wrote it, `failed` what a field of the report names, `letters`
    what is returned with it.
    """
    lines = [line[:MAX_LINE] for line in notice.text.split("\n")[:MAX_LINES]]
    known = _addressees(letters)
    spots, where = _chosen(_spots(lines), {one.lower() for one in ours}, [one.lower() for one in failed], known)
    ends = sorted(spot.line for spot in spots.values() if not _ALIAS.search(lines[spot.line]))
    fate = fate_of(notice.text)
    return [
        Finding(known.get(key, spot.address), where, fate, "", _said(lines, spot, ends), "", "")
        for key, spot in spots.items()
    ]


Spots = dict[str, Spot]
"""The best place of each address, by address in lower case, in order of place."""


def _chosen(spots: list[Spot], ours: set[str], failed: list[str], known: Mapping[str, str]) -> tuple[Spots, Named]:
    """The best reading that names anybody, and how good it is."""
    best = _best(spots, ours, known)
    named = {one: best.get(one, Spot(-1, one, 0)) for one in failed if one in best or not _is_known(best, known)}
    if found := named or best:
        return found, Named.NOTICE
    if itself := _best([spot for spot in spots if spot.weight >= 3], set(), {}):
        return itself, Named.NOTICE
    return {one: Spot(-1, one, 0) for one in list(known)[:1]}, Named.RETURNED


def _is_known(best: Spots, known: Mapping[str, str]) -> bool:
    return any(key in known for key in best)


def _addressees(letters: Iterable[Letter]) -> dict[str, str]:
    """Lower case → as written, of everyone the returned letters are addressed to."""
    found: dict[str, str] = {}
    for letter in letters:
        fields = [value for name in ("X-Envelope-To", "Envelope-To", "X-Original-To") for value in letter.get_all(name)]
        for address in [*letter.recipients, *addresses(fields)]:
            found.setdefault(address.lower(), address)
    return found


def _best(spots: list[Spot], ours: set[str], known: Mapping[str, str]) -> Spots:
    """Of each address that may be a recipient its best place; of the addresses those in places that speak most."""
    best: Spots = {}
    for spot in spots:
        key = spot.address.lower()
        is_known = key in known
        if (key in ours and not (is_known and spot.weight >= 2)) or (
            _ROLE.match(key) and not is_known and spot.weight < 3
        ):
            continue
        weight = spot.weight + (4 if is_known and key not in ours else 0)
        if key not in best or weight > best[key].weight:
            best[key] = Spot(spot.line, spot.address, weight)
    least = min(3, max((spot.weight for spot in best.values()), default=0))
    kept = [(key, spot) for key, spot in best.items() if spot.weight >= least]
    return dict(sorted(kept, key=lambda item: item[1].line)[:MAX_RECIPIENTS])


def _spots(lines: list[str]) -> list[Spot]:
    """Every address of the text."""
    return [
        Spot(at, found[0], _weight(line[: found.start()]))
        for at, line in enumerate(lines)
        for found in ADDRESS.finditer(line)
        if not line.startswith(("/", "@"), found.end())
    ]


def _weight(before: str) -> int:
    if _STANDS_FIRST.match(before):
        return 3
    if _COMMAND.search(before):
        return 3
    return 2 if _LABEL.search(before) else 1


def fate_of(text: str) -> Fate:
    """Delayed when the words say that the letter still waits and none says that it is over."""
    return Fate.DELAYED if says("delayed", text) and not says("final", text) else Fate.FAILED


def _said(lines: list[str], spot: Spot, ends: list[int]) -> str:
    """What is said about one recipient; several texts, best first, a blank line between them."""
    end = next((at for at in ends if at > spot.line), len(lines))
    own = lines[max(spot.line, 0) : end]
    if len(ends) > 1 and (transcript := _replies(_about(lines, spot.address))):
        return transcript
    quoted = _replies(own) or (_replies(lines) if len(ends) == 1 else "")
    heading = _paragraphs(lines[: max(spot.line, 0)])[-1:]
    return "\n\n".join(dict.fromkeys(filter(None, [quoted, *_paragraphs(own)[:3], *heading])))


def _about(lines: list[str], address: str) -> list[str]:
    """Lines of a transcript that concern an address: those that name it, and what follows its RCPT."""
    kept, is_its = [], False
    for line in lines:
        if _COMMAND_ECHO.match(line):
            is_its = address.lower() in line.lower()
        elif is_its or address.lower() in line.lower():
            kept.append(line)
            is_its = is_its and bool(line.strip())
    return kept


def _replies(lines: list[str]) -> str:
    """The lines that quote a reply, each with those that go on with it."""
    kept: list[str] = []
    is_reply = False
    for line in lines:
        is_reply = (
            bool(line.strip()) and not _COMMAND_ECHO.match(line) and (is_reply or bool(_QUOTED_REPLY.search(line)))
        )
        if is_reply:
            kept.append(line.strip())
    return "\n".join(kept)


def _paragraphs(lines: list[str]) -> list[str]:
    return [
        piece.strip() for piece in re.split(r"\n\s*\n", "\n".join(lines)) if re.search(r"\w\w", ADDRESS.sub("", piece))
    ]
