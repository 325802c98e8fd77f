"""DKIM keys: RFC 6376 §3.6.1, RFC 8301 (key sizes), RFC 8463 (Ed25519). That a letter is really signed with such a key,
only a letter shows; that receivers could check it, the record does.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mailfleet.health.dns.facts import Facts, Kind, State
from mailfleet.health.dns.findings import Check, Finding, Record, Severity, blocks, fine, shown, unknown, warns
from mailfleet.health.dns.provider_records import ProviderRecords
from mailfleet.health.dns.rules_dmarc_records import find_dmarc, is_aligned
from mailfleet.mail.addresses import parse_domain

LEAST_BITS = 1024  # RFC 8301 §3.2: verifiers must not accept less
GOOD_BITS = 2048  # RFC 8301 §3.2: signers should use at least as much
ED25519_OCTETS = 32  # RFC 8032
LONGEST_KEY = 4096  # chosen: characters of base64; 16,384 bits need fewer

_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)
_BLANK = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Selector:
    """Where a key stands; `domain` is the d= of the signature, empty for the domain that is checked."""

    name: str
    domain: str = ""

    @classmethod
    def parse(cls, text: str) -> "Selector":
        """NAME, or NAME._domainkey.DOMAIN for a signature of another domain. InputError when that domain is none."""
        name, _, domain = text.partition("._domainkey.")
        return cls(name.lower(), parse_domain(domain) if domain else "")

    def at(self, domain: str) -> str:
        return f"{self.name}._domainkey.{self.domain or domain}"


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A record read. `problem` says why no signature can be checked with it; `bits` are 0 for Ed25519."""

    kind: str = ""
    bits: int = 0
    problem: str = ""
    is_revoked: bool = False
    is_testing: bool = False


def read_key(text: str) -> DkimKey:
    """The key of a record, whatever its text."""
    parts = [part for part in text.split(";") if part.strip()]
    found = [_TAG.fullmatch(part) for part in parts]
    if not parts or None in found:
        return DkimKey(problem="it is no list of tags")
    tags = [(tag[1], tag[2].strip()) for tag in found if tag]
    known = dict(tags)
    if len(known) < len(tags):
        return DkimKey(problem="it has a tag twice")
    if "v" in known and (tags[0][0] != "v" or known["v"] != "DKIM1"):
        return DkimKey(problem="it does not begin with v=DKIM1")
    if "p" not in known:
        return DkimKey(problem="it has no key (p=)")
    if "sha256" not in _words(known.get("h", "sha256")):
        return DkimKey(problem="it allows no rsa-sha256 (h=)")
    if {"*", "email"}.isdisjoint(_words(known.get("s", "*"))):
        return DkimKey(problem="it is not for mail (s=)")
    return _key(known.get("k", "rsa").lower(), _BLANK.sub("", known["p"]), "y" in _words(known.get("t", "")))


def _words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(":")}


def _key(kind: str, text: str, is_testing: bool) -> DkimKey:
    if not text:
        return DkimKey(kind, problem="its key is revoked (p= is empty)", is_revoked=True)
    if kind not in ("rsa", "ed25519"):
        return DkimKey(shown(kind), problem=f"no receiver knows keys of kind {shown(kind, 20)}")
    try:
        octets = b64decode(text[:LONGEST_KEY], validate=True)
    except (binascii.Error, ValueError):
        return DkimKey(kind, problem="its key is not base64; it was cut or pasted with something else")
    if kind == "ed25519":
        problem = (
            "" if len(octets) == ED25519_OCTETS else f"its key has {len(octets)} octets instead of {ED25519_OCTETS}"
        )
        return DkimKey(kind, problem=problem, is_testing=is_testing)
    bits = _rsa_bits(octets)
    if bits == 0:
        return DkimKey(kind, problem="its key cannot be read; it was cut or changed")
    problem = "" if bits >= LEAST_BITS else f"its key has {bits} bits, less than {LEAST_BITS}"
    return DkimKey(kind, bits, problem, is_testing=is_testing)


def _rsa_bits(octets: bytes) -> int:
    """0 when it is no RSA key. Both forms in use are read: SubjectPublicKeyInfo, and a bare RSAPublicKey (RFC 8017)."""
    for form in (octets, _wrapped(octets)):
        try:
            key = load_der_public_key(form)
        except (ValueError, UnsupportedAlgorithm):
            continue
        return key.key_size if isinstance(key, RSAPublicKey) else 0
    return 0


_RSA = bytes.fromhex("300d06092a864886f70d0101010500")  # AlgorithmIdentifier of rsaEncryption, RFC 8017 appendix C


def _wrapped(octets: bytes) -> bytes:
    content = _RSA + _der(0x03, b"\x00" + octets)
    return _der(0x30, content)


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    size = length.to_bytes((length.bit_length() + 7) // 8 or 1)
    return bytes([tag]) + (size if length < 128 else bytes([0x80 | len(size)]) + size) + content


@dataclass(frozen=True, slots=True)
class _Looked:
    """One selector's result: at most one of `key` and `why` (not known)."""

    selector: Selector
    key: DkimKey | None = None
    why: str = ""


def judge_dkim(
    domain: str,
    selectors: Sequence[Selector],
    providers: Sequence[ProviderRecords],
    common: Sequence[str],
    facts: Facts,
) -> list[Finding]:
    """`selectors` are named by a person, and each must serve; without any, the providers' usual ones are looked for,
    and where they have none, those that are in `common` use.
    """
    if selectors:
        looked = [_look(selector, domain, facts) for selector in selectors]
        return [*_named(looked, domain, facts), *_alone(looked)]
    wanting = [provider for provider in providers if provider.dkim]
    if wanting:
        return [finding for provider in wanting for finding in _usual(provider, domain, facts)]
    return _guessed(domain, common, providers, facts)


def _look(selector: Selector, domain: str, facts: Facts) -> _Looked:
    answer = facts.ask(Kind.TXT, selector.at(domain))
    if answer.is_open:
        return _Looked(selector, why=answer.why or "not asked")
    if answer.is_void:
        return _Looked(selector)
    if len(answer.values) > 1:
        return _Looked(selector, DkimKey(problem=f"it has {len(answer.values)} records, and which counts is undefined"))
    return _Looked(selector, read_key(answer.values[0]))


def _named(looked: Sequence[_Looked], domain: str, facts: Facts) -> Iterator[Finding]:
    for one in looked:
        where = one.selector.at(domain)
        if one.why:
            yield unknown(Check.DKIM, "dkim_unknown", where, one.why)
        elif one.key is None:
            record = Record(where, "TXT", "", "the value is in the provider's console")
            yield blocks(Check.DKIM, "dkim_missing", f"There is no DKIM key at {where}.", "Set it.", record)
        else:
            yield from _judged(one.key, where)
        if one.selector.domain:
            yield from _alignment(domain, one.selector.domain, facts)


def _judged(key: DkimKey, where: str) -> Iterator[Finding]:
    if key.is_revoked:
        yield blocks(
            Check.DKIM, "dkim_revoked", f"The DKIM key at {where} is revoked (p= is empty).", "Make a new one."
        )
    elif key.problem:
        seen = f"The DKIM record at {where} cannot be used: {key.problem}."
        yield blocks(Check.DKIM, "dkim_invalid", seen, "Set it anew, as the provider's console shows it.")
    elif key.is_testing:
        seen = f"The DKIM record at {where} says t=y: receivers treat the signature as none."
        yield warns(Check.DKIM, "dkim_testing", seen, "Remove t=y.")
    elif 0 < key.bits < GOOD_BITS:
        seen = f"The DKIM key at {where} has {key.bits} bits."
        yield warns(Check.DKIM, "dkim_short", seen, f"Make one of {GOOD_BITS} (RFC 8301).")
    else:
        size = f"RSA, {key.bits} bits" if key.bits else "Ed25519"
        yield fine(Check.DKIM, "dkim_fine", f"{where}: {size}.")


def _alone(looked: Sequence[_Looked]) -> Iterator[Finding]:
    """RFC 8463 §3: few receivers check Ed25519; it is a second signature, never the only one."""
    usable = [one.key for one in looked if one.key and not one.key.problem]
    if usable and not any(key.bits for key in usable) and not any(one.why for one in looked):
        seen = "The only DKIM key is Ed25519, which many receivers cannot check (RFC 8463 §3)."
        yield warns(Check.DKIM, "dkim_ed25519_alone", seen, "Sign with an RSA key as well.")


def _alignment(domain: str, signing: str, facts: Facts) -> Iterator[Finding]:
    found = find_dmarc(domain, facts)
    strict = found.policy is not None and found.policy.word("adkim", "r") == "s"
    aligned = is_aligned(domain, signing, strict=strict, facts=facts)
    if aligned is False:
        seen = (
            f"Signatures of {signing} do not count for {domain} (DMARC, {'strict' if strict else 'relaxed'} alignment)."
        )
        yield blocks(Check.DKIM, "dkim_unaligned", seen, f"Let the provider sign with d={domain}.")


def _usual(provider: ProviderRecords, domain: str, facts: Facts) -> Iterator[Finding]:
    looked = [_look(Selector(template.selector), domain, facts) for template in provider.dkim]
    good = [one for one in looked if one.key and not one.key.problem]
    records = tuple(
        provider.dkim_record(template, domain)
        for template, one in zip(provider.dkim, looked, strict=True)
        if one not in good and not one.why
    )
    for one in looked:
        if one.key:
            # Beside a key that serves, a broken or revoked one is what a change of keys leaves behind.
            found = list(_judged(one.key, one.selector.at(domain)))
            yield from (_milder(finding) if good else finding for finding in found)
    yield from _alone(looked)
    if open_ones := [one for one in looked if one.why]:
        yield unknown(Check.DKIM, "dkim_unknown", open_ones[0].selector.at(domain), open_ones[0].why)
    elif not any(one.key for one in looked):
        names = ", ".join(one.selector.name for one in looked)
        seen = f"There is no DKIM key of {provider.title} (selector {names}): its letters are not signed by the domain."
        todo = f"Switch DKIM on in {provider.console}. If another selector is in use, name it."
        yield blocks(Check.DKIM, "dkim_missing", seen, todo, *records)
    elif provider.needs_all_selectors and (absent := [one for one in looked if one.key is None]):
        names = ", ".join(one.selector.name for one in absent)
        seen = f"{provider.title} signs with several selectors in turn, and {names} has no key."
        yield warns(Check.DKIM, "dkim_incomplete", seen, "Set it too.", *records)


def _milder(finding: Finding) -> Finding:
    if finding.severity is not Severity.BLOCKS:
        return finding
    return warns(finding.check, finding.code, finding.seen, finding.todo, *finding.records)


def _guessed(domain: str, common: Sequence[str], providers: Sequence[ProviderRecords], facts: Facts) -> list[Finding]:
    looked = [_look(Selector(name), domain, facts) for name in common]
    good = [one for one in looked if one.key and not one.key.problem]
    if good:
        return [
            *(finding for one in good if one.key for finding in _judged(one.key, one.selector.at(domain))),
            *_alone(good),
        ]
    if open_ones := [one for one in looked if one.why]:
        return [unknown(Check.DKIM, "dkim_unknown", open_ones[0].selector.at(domain), open_ones[0].why)]
    consoles = ", ".join(provider.console for provider in providers) or "the provider's console"
    seen = "No DKIM selector is known for this domain, and none of those in common use has a key."
    todo = f"Name the selector that {consoles} shows; without DKIM, receivers turn bulk mail away."
    return [warns(Check.DKIM, "dkim_selector_unknown", seen, todo)]


def dkim_records(
    domain: str, selectors: Sequence[Selector], providers: Sequence[ProviderRecords], facts: Facts
) -> list[Record]:
    """A record for each selector: what stands there if it serves, else the provider's, or where to find it."""
    wanted = [
        Record(selector.at(domain), "TXT", "", "the value is in the provider's console") for selector in selectors
    ]
    if not selectors:
        wanted = [provider.dkim_record(template, domain) for provider in providers for template in provider.dkim]
    return [_standing(record, facts) for record in wanted]


def _standing(record: Record, facts: Facts) -> Record:
    answer = facts.ask(Kind.TXT, record.name)
    is_good = answer.state is State.FOUND and len(answer.values) == 1 and not read_key(answer.values[0]).problem
    if not is_good:
        return record
    if answer.canonical:
        return Record(record.name, "CNAME", answer.canonical)
    return Record(record.name, "TXT", answer.values[0])
