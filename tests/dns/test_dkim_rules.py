"""DKIM keys: what receivers can check, at the selectors that are in use."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dns_answers import FAILED, codes, facts_of
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.health.dns.findings import Severity
from mailfleet.health.dns.provider_records import load_providers
from mailfleet.health.dns.rules_dkim import Selector, dkim_records, judge_dkim, read_key

D = "acme.com"
BOOK = load_providers()
COMMON = BOOK.common_selectors


def rsa(bits=2048, form=PublicFormat.SubjectPublicKeyInfo):
    key = generate_private_key(public_exponent=65537, key_size=bits).public_key()
    return base64.b64encode(key.public_bytes(Encoding.DER, form)).decode()


KEY = rsa()
# RSA-512, which the library makes no more: n is 2**511 + 111, and nobody needs it to be a product of primes.
SHORT = base64.b64encode(bytes.fromhex(f"3048024100{2**511 + 111:0128x}0203010001")).decode()
ED = base64.b64encode(bytes(range(32))).decode()
EC = base64.b64encode(
    generate_ec(SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"v=DKIM1; k=rsa; p={KEY}",
        f"p={KEY}",
        f"v=DKIM1;p={KEY[:100]} \t{KEY[100:]};",
        f"v=DKIM1; h=sha1:sha256; s=email; t=s; n=note; p={KEY}",
        f"v=DKIM1; p={rsa(form=PublicFormat.PKCS1)}",
    ],
)
def test_keys_in_every_form_are_read(text):
    """RFC 6376 §3.6.1 allows each form, and PKCS #1 is in use beside SubjectPublicKeyInfo."""
    assert (read_key(text).problem, read_key(text).bits) == ("", 2048)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=DKIM1",
        f"v=DKIM2; p={KEY}",
        f"k=rsa; v=DKIM1; p={KEY}",
        f"v=DKIM1; p={KEY}; p={KEY}",
        f"v=DKIM1; h=sha1; p={KEY}",
        f"v=DKIM1; s=tlsrpt; p={KEY}",
        f"v=DKIM1; k=dsa; p={KEY}",
        f"v=DKIM1; p={KEY[:-9]}",
        f"v=DKIM1; p={KEY[:40]}",
        f"v=DKIM1; p={EC}",
        "v=DKIM1; p=abc!",
        f"v=DKIM1; k=ed25519; p={ED[:-8]}",
        "v=DKIM1; p=",
        f"v=DKIM1; p={SHORT}",
        "google-site-verification",
    ],
)
def test_keys_that_cannot_be_used_say_why(text):
    """A key that receivers must refuse has a problem, in words."""
    assert read_key(text).problem


def test_the_short_key_is_read_and_refused_for_its_size():
    """RFC 8301 §3.2: less than 1024 bits is not accepted."""
    assert read_key(f"p={SHORT}").problem == "its key has 512 bits, less than 1024"


@given(st.text(max_size=80) | st.binary(max_size=300).map(lambda octets: f"p={base64.b64encode(octets).decode()}"))
def test_no_key_record_raises(text):
    """Whatever stands at a selector, it is a key or has a problem."""
    key = read_key(text)
    assert key.problem or key.bits >= 1024 or key.kind == "ed25519"


def judged(zone, *, selectors=(), provider=None):
    providers = [BOOK.providers[provider]] if provider else []
    return judge_dkim(D, selectors, providers, COMMON, facts_of(zone))


@pytest.mark.parametrize(
    ("zone", "code", "severity"),
    [
        ({}, "dkim_missing", Severity.BLOCKS),
        ({f"TXT s._domainkey.{D}": FAILED}, "dkim_unknown", Severity.UNKNOWN),
        ({f"TXT s._domainkey.{D}": [f"p={KEY}"]}, "dkim_fine", Severity.FINE),
        ({f"TXT s._domainkey.{D}": ["p="]}, "dkim_revoked", Severity.BLOCKS),
        ({f"TXT s._domainkey.{D}": ["p=x"]}, "dkim_invalid", Severity.BLOCKS),
        ({f"TXT s._domainkey.{D}": [f"p={KEY}", f"p={KEY}"]}, "dkim_invalid", Severity.BLOCKS),
        ({f"TXT s._domainkey.{D}": [f"t=y; p={KEY}"]}, "dkim_testing", Severity.WARNS),
        ({f"TXT s._domainkey.{D}": [f"p={rsa(1024)}"]}, "dkim_short", Severity.WARNS),
        ({f"TXT s._domainkey.{D}": [f"k=ed25519; p={ED}"]}, "dkim_ed25519_alone", Severity.WARNS),
    ],
)
def test_a_named_selector_must_serve(zone, code, severity):
    """The key at a selector that a person names decides."""
    assert code in codes(judged(zone, selectors=[Selector("s")]), severity)


def test_ed25519_beside_rsa_is_fine():
    """RFC 8463 §3: a second signature."""
    zone = {f"TXT a._domainkey.{D}": [f"p={KEY}"], f"TXT b._domainkey.{D}": [f"k=ed25519; p={ED}"]}
    assert codes(judged(zone, selectors=[Selector("a"), Selector("b")])) == {"dkim_fine"}


def test_without_the_providers_key_the_records_to_set_are_named():
    """Fastmail's CNAMEs are complete; Microsoft's are known to its console alone, and that is said."""
    fastmail = judged({}, provider="fastmail")[0]
    first = fastmail.records[0]
    assert (first.name, first.kind, first.value) == (f"fm1._domainkey.{D}", "CNAME", f"fm1.{D}.dkim.fmhosted.com")
    microsoft = judged({}, provider="microsoft_365")[0]
    assert {(record.value, "Defender" in record.note) for record in microsoft.records} == {("", True)}
    assert fastmail.severity is microsoft.severity is Severity.BLOCKS


def test_one_selector_of_several_warns():
    """Where a provider changes between selectors, all of them must be there."""
    zone = {f"TXT selector1._domainkey.{D}": [f"p={KEY}"]}
    findings = judged(zone, provider="microsoft_365")
    assert codes(findings) == {"dkim_fine", "dkim_incomplete"}
    assert [record.name for found in findings for record in found.records] == [f"selector2._domainkey.{D}"]


def test_a_revoked_key_beside_a_good_one_does_not_block():
    """It is what a change of keys leaves behind."""
    zone = {f"TXT s1-ionos._domainkey.{D}": [f"p={KEY}"], f"TXT s2-ionos._domainkey.{D}": ["p="]}
    findings = judged(zone, provider="ionos")
    assert not codes(findings, Severity.BLOCKS)
    assert codes(findings, Severity.WARNS) == {"dkim_revoked"}


def test_without_a_provider_common_selectors_are_tried():
    """A key found there is judged; none found is a warning, since another selector may be in use."""
    assert codes(judged({f"TXT k1._domainkey.{D}": [f"p={KEY}"]}), Severity.FINE) == {"dkim_fine"}
    assert codes(judged({}), Severity.WARNS) == {"dkim_selector_unknown"}
    assert codes(judged({f"TXT k1._domainkey.{D}": FAILED})) == {"dkim_unknown"}


@pytest.mark.parametrize(
    ("zone", "is_aligned"),
    [
        ({"TXT _dmarc.acme.com": ["v=DMARC1; p=none"]}, True),
        ({"TXT _dmarc.acme.com": ["v=DMARC1; p=none; adkim=s"]}, False),
        ({"TXT _dmarc.acme.com": ["v=DMARC1; p=none; psd=y"]}, False),
        ({"TXT _dmarc.mail.acme.com": ["v=DMARC1; p=none; psd=n"]}, False),
        ({}, False),
    ],
)
def test_a_foreign_signature_must_align(zone, is_aligned):
    """d= of another name counts by the tree walk of RFC 9989 §4.10.2 and adkim."""
    zone = {"TXT s._domainkey.acme.com": [f"p={KEY}"]} | zone
    findings = judge_dkim("mail.acme.com", [Selector("s", "acme.com")], [], COMMON, facts_of(zone))
    assert ("dkim_unaligned" in codes(findings)) is not is_aligned


def test_keys_that_stand_are_kept_in_the_records():
    """The records of a domain have the key that serves, and otherwise where to find it."""
    zone = {f"TXT google._domainkey.{D}": [f"v=DKIM1; p={KEY}"]}
    google = [BOOK.providers["google_workspace"]]
    assert dkim_records(D, (), google, facts_of(zone))[0].value == f"v=DKIM1; p={KEY}"
    assert dkim_records(D, (), google, facts_of({}))[0].value == ""
