"""RFC 3464: the part for machines of a delivery report, as its writers really fill it in."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mailfleet.mail.bounces.findings import Fate, Finding, Named
from mailfleet.mail.parts import fields_of

MAX_RECIPIENTS = 100  # chosen: our letters have one; a list's report may name many

_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_FATES = {
    "failed": Fate.FAILED,
    "failure": Fate.FAILED,
    "fail": Fate.FAILED,
    "expired": Fate.FAILED,
    "error": Fate.FAILED,
    "delayed": Fate.DELAYED,
    "deferred": Fate.DELAYED,
    "delivered": Fate.DELIVERED,
    "deliverable": Fate.DELIVERED,
    "relayed": Fate.DELIVERED,
    "expanded": Fate.DELIVERED,
    "processed": Fate.DELIVERED,
}
_BY_CLASS = {"2": Fate.DELIVERED, "4": Fate.DELAYED, "5": Fate.FAILED}
_NAMES = (
    ("original-recipient", Named.ORIGINAL),
    ("x-original-recipient", Named.ORIGINAL),
    ("final-recipient", Named.FINAL),
    ("x-actual-recipient", Named.FINAL),
)
_RECIPIENTS = {field for field, _ in _NAMES}
_ADDRESS = re.compile(r"(?:[^\s<>\"(),;:@]{1,64}|\"[^\"\s]{1,64}\")@[^\s<>\"(),;:@]{1,255}")
_UTF8_CHARACTER = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")

Block = dict[str, str]
"""Fields by their name in lower case; of a field that is there twice, the first."""


class StatusReport(NamedTuple):
    """One report: the fields of the letter, and those of each recipient, in order."""

    letter: Block
    recipients: tuple[Block, ...]


def read_status(text: str) -> StatusReport:
    """The blocks of a report; a block that names no recipient adds to the letter's, or to the recipient before it."""
    letter: Block = {}
    recipients: list[Block] = []
    for piece in _BLANK_LINES.split(text.strip("\n"))[: MAX_RECIPIENTS + 1]:
        for block in _blocks(fields_of(piece.lstrip(" \t"))):
            if not _RECIPIENTS.isdisjoint(block):
                recipients.append(block)
            else:
                into = recipients[-1] if recipients and "status" not in recipients[-1] else letter
                into.update(block | into)
    return StatusReport(letter, tuple(recipients))


def _blocks(fields: Iterable[tuple[str, str]]) -> Iterator[Block]:
    """Fields as blocks: writers who forget the blank line between recipients begin again with Final-Recipient."""
    block: Block = {}
    for name, value in fields:
        key = name.lower()
        if key == "final-recipient" and key in block:
            yield block
            block = {}
        block.setdefault(key, value)
    yield block


def findings_of(report: StatusReport) -> list[Finding]:
    """One finding for each address that failed: where a letter was forwarded, the address it was sent to, then the one
    it went to. What only the letter's block says holds for all."""
    return [found for block in report.recipients for found in _findings(report.letter, block)]


def _findings(letter: Block, block: Block) -> Iterator[Finding]:
    everything = letter | block
    status = _STATUS.search(everything.get("status", ""))
    for address, named in _addresses(block).items():
        yield Finding(
            address=address,
            named=named,
            fate=_fate(everything.get("action", ""), status[1] if status else ""),
            status=status[0] if status else "",
            diagnostic=_diagnostic(everything.get("diagnostic-code", "")),
            remote=_host(everything.get("remote-mta", "")),
            reporter=_host(everything.get("reporting-mta", "")),
        )


def _addresses(block: Block) -> dict[str, Named]:
    """The addresses of a recipient, the original one first."""
    found: dict[str, Named] = {}
    for field, named in _NAMES:
        if address := _ADDRESS.search(_plain(block.get(field, ""))):
            found.setdefault(address[0], named)
    return found


def _diagnostic(value: str) -> str:
    """The text without its type (RFC 3464 §2.3.6), if it has one."""
    kind, _, text = value.partition(";")
    return text.strip() if text and " " not in kind.strip() else value.strip()


def _plain(value: str) -> str:
    """A typed address without its type; RFC 6533 §3 writes characters beyond ASCII as `\\x{3042}`."""
    plain = value.rpartition(";")[2].strip()
    return _UTF8_CHARACTER.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), plain)


def _host(value: str) -> str:
    return value.partition(";")[2].partition("(")[0].strip() or value.strip()


def _fate(action: str, status_class: str) -> Fate | None:
    word = action.strip().lower().partition(" ")[0].strip("\"'();:,")
    return _FATES.get(word) or _BY_CLASS.get(status_class)
