"""DMARC records and where they are looked for: RFC 9989 (May 2026, in the place of RFC 7489) §4.7, §4.10."""

import re
from dataclasses import dataclass
from itertools import chain

from mailfleet.health.dns.facts import Answer, Facts, Kind

MOST_QUERIES = 8  # RFC 9989 §4.10: of a longer name the middle labels are left out

_VERSION = re.compile(r"[Vv][ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_TAG = re.compile(r"([A-Za-z][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """`tags` by lower-case name, the first of each; `odd` are parts that are no tag, or a tag's second."""

    text: str
    tags: dict[str, str]
    odd: tuple[str, ...]

    def word(self, tag: str, default: str) -> str:
        return self.tags.get(tag, default).lower()


@dataclass(frozen=True, slots=True)
class DmarcFound:
    """What one walk up the tree met. `policy` stands at `policy_domain`; None: there is none that applies.

    `organizational` is the domain that alignment compares; `open` a look-up of the walk without an answer.
    """

    policy: DmarcRecord | None
    policy_domain: str
    organizational: str
    open: Answer | None


def is_dmarc(text: str) -> bool:
    return _VERSION.match(text) is not None


def parse_dmarc(text: str) -> DmarcRecord:
    """Any text that `is_dmarc`."""
    tags: dict[str, str] = {}
    odd: list[str] = []
    for part in filter(None, (part.strip(" \t") for part in text.split(";"))):
        found = _TAG.fullmatch(part)
        if found is None or found[1].lower() in tags:
            odd.append(part)
        else:
            tags[found[1].lower()] = found[2]
    return DmarcRecord(text, tags, tuple(odd))


def dmarc_name(domain: str) -> str:
    return f"_dmarc.{domain}"


def dmarc_texts(answer: Answer) -> list[str]:
    return [text for text in answer.values if is_dmarc(text)]


def tree(domain: str) -> list[str]:
    """The domains of the walk, the longest first: itself, then what is left at its right, 7 labels at most."""
    labels = domain.split(".")
    rest = labels[1:] if len(labels) < MOST_QUERIES else labels[1 - MOST_QUERIES :]
    return [domain, *(".".join(rest[start:]) for start in range(len(rest)))]


def find_dmarc(domain: str, facts: Facts) -> DmarcFound:
    """The policy of `domain` and its organizational domain, by one walk (§4.10.1, §4.10.2)."""
    records: dict[str, DmarcRecord] = {}
    organizational = ""
    for name in tree(domain):
        answer = facts.ask(Kind.TXT, dmarc_name(name))
        if answer.is_open:
            # What stands above is wanted as well, so that one round of look-ups is enough.
            for above in tree(domain):
                facts.ask(Kind.TXT, dmarc_name(above))
            return DmarcFound(None, "", domain, answer)
        texts = dmarc_texts(answer)
        if len(texts) != 1:
            continue  # several count as none
        records[name] = record = parse_dmarc(texts[0])
        psd = record.word("psd", "u")
        if psd in ("y", "n"):
            organizational = _below(domain, name) if psd == "y" else name
            break
    organizational = organizational or (min(records, key=_length) if records else domain)
    for name in dict.fromkeys(chain((domain, organizational), sorted(records, key=_length))):
        if name in records:
            return DmarcFound(records[name], name, organizational, None)
    return DmarcFound(None, "", organizational, None)


def _length(name: str) -> int:
    return name.count(".")


def _below(domain: str, public: str) -> str:
    """The name one label below `public` on the way to `domain`; the domain itself where they are the same."""
    return ".".join(domain.split(".")[-(public.count(".") + 2) :])


def organizational_domain(domain: str, facts: Facts) -> str | None:
    """None while it is not known."""
    found = find_dmarc(domain, facts)
    return None if found.open else found.organizational


def is_aligned(author_domain: str, other: str, *, strict: bool, facts: Facts) -> bool | None:
    """Whether a signature of `other` counts for letters of `author_domain` (§4.10.2); None: not known."""
    if author_domain == other:
        return True
    if strict:
        return False
    ours, theirs = organizational_domain(author_domain, facts), organizational_domain(other, facts)
    return None if ours is None or theirs is None else ours == theirs
