"""Addresses: what is one, what makes two of them the same, and how one stands in a header.

email-validator decides, without DNS; the plain ASCII addresses of which a list is made take a short cut that gives the
same verdict. RFC 5321 §4.1.2 and §4.5.3.1, RFC 5890 (domains as A-labels), RFC 6531 (local parts outside ASCII).
"""

import re
import unicodedata
from typing import NamedTuple

from email_validator import EmailNotValidError, validate_email
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES, EMAIL_MAX_LENGTH

from mailfleet.base.errors import InputError
from mailfleet.mail.headers import LINE, phrase

_ROLES = frozenset(CASE_INSENSITIVE_MAILBOX_NAMES)
_LONGEST_FIELD = len("Reply-To: ")
_SHOWN = 80  # chosen: as much of a wrong cell as fits in a line of a report

# The short cut: a dot-atom of at most 64, labels of 1-63 without "--" in third place (RFC 5890 §2.3.1), a last label
# that ends in a letter and is not a special-use name. Whatever it does not take, the library judges.
_ATEXT = r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]"
_LABEL = r"(?!..--)[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_LAST = r"(?!(?i:arpa|invalid|local|localhost|onion)\Z)(?!..--)(?:[A-Za-z0-9][A-Za-z0-9\-]{0,61})?[A-Za-z]"
_PLAIN = re.compile(rf"(?=.{{1,64}}@)({_ATEXT}+(?:\.{_ATEXT}+)*)@((?:{_LABEL}\.)+{_LAST})")
# What may never reach a header or an SMTP command, whoever built the Address.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f<>\u2028\u2029\ud800-\udfff]")


class Address(NamedTuple):  # chosen: a tuple, since an import builds a million
    """An address that the library accepts."""

    original: str
    """As it was given, without surrounding blanks."""
    normalised: str
    """The key of uniqueness and suppression: case-folded, NFC, domain as A-labels."""
    local: str
    """Left of the @, NFC, its case kept."""
    domain_ascii: str
    """Right of the @ as A-labels in lower case: for DNS, SMTP and headers."""
    domain_unicode: str
    """The same for people."""
    needs_smtputf8: bool
    """True when only a server that offers SMTPUTF8 can take it (RFC 6531)."""

    @property
    def wire(self) -> str:
        """For MAIL FROM and RCPT TO, and in headers."""
        return f"{self.local}@{self.domain_ascii}"


def parse_address(text: str) -> Address:
    """The address in `text`; surrounding blanks are dropped. Names in .test, which RFC 2606 keeps for trials, pass.

    Raises InputError with the reason.
    """
    text = text.strip()
    if len(text) > EMAIL_MAX_LENGTH:
        raise InputError(f"{_shown(text)} is not an e-mail address: it is longer than {EMAIL_MAX_LENGTH} characters.")
    if plain := _PLAIN.fullmatch(text):
        key = text.lower()
        local, domain = plain.groups()
        if key == text or local.lower() not in _ROLES:
            domain = domain.lower()
            return Address(text, key, local, domain, domain, False)
    return _judged(text)


def parse_domain(text: str) -> str:
    """The domain as lower-case A-labels, by the same rules; a leading @ is dropped. Raises InputError."""
    domain = text.strip().removeprefix("@")
    try:
        return parse_address(f"x@{domain}").domain_ascii
    except InputError as error:
        reason = str(error).partition(": ")[2]
        raise InputError(f"{_shown(domain)} is not a domain: {reason}") from error


def format_mailbox(display_name: str, address: Address, *, field: str = "the address") -> str:
    """`name <address>` for From, To and Reply-To, folded to follow a field name of at most ten characters.

    Raises InputError when name or address could end the line; `field` is named in the error.
    """
    spec = address.wire
    if _UNSAFE.search(spec):
        raise InputError(f"{field} holds blanks, brackets or controls; no letter is written to or from it")
    name = " ".join(filter(None, display_name.split(" ")))
    if not name:
        return f"<{spec}>"
    shown = phrase(field, name, used=_LONGEST_FIELD)
    last = len(shown) - shown.rfind("\n")
    gap = " " if last + _LONGEST_FIELD + len(spec) + 3 <= LINE else "\r\n "
    return f"{shown}{gap}<{spec}>"


def _judged(text: str) -> Address:
    try:
        found = validate_email(text, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        raise InputError(f"{_shown(text)} is not an e-mail address: {error}") from error
    local, domain = found.local_part, found.ascii_domain
    key = f"{_folded(local)}@{domain}"
    return Address(text, key, local, domain, found.domain, not local.isascii())


def _folded(local: str) -> str:
    """Canonical caseless form (Unicode §3.13, D145), recomposed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", local).casefold())


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
