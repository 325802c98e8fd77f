"""SPF records taken apart: RFC 7208 §4.6.1, §5, §6, §7, with the grammar of §12."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError

Network = IPv4Network | IPv6Network

LONGEST_SPEC = 500  # chosen: twice the longest name, for macros

_VERSION = re.compile(r"v=spf1(?: |\Z)", re.IGNORECASE)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.\-]*)=(.*)")
_MECHANISM = re.compile(r"([+\-~?]?)([A-Za-z][A-Za-z0-9]*)(?::([^/]*))?(/.*)?")
_NETWORK = re.compile(r"([+\-~?]?)(ip[46]):(.*)", re.IGNORECASE)
_CIDRS = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?")
_MACRO = re.compile(r"%\{([slodiphv])([0-9]*)(r?)([.\-+,/_=]*)\}|%([%_\-])", re.IGNORECASE)
_LAST_LABEL = re.compile(r"\.(?=[A-Za-z0-9\-]*[A-Za-z\-])[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?\.?\Z")
_LITERALS = {"%": "%", "_": " ", "-": "%20"}

_MAY_HAVE_SPEC = ("include", "exists", "a", "mx", "ptr")
_MUST_HAVE_SPEC = ("include", "exists")
_MAY_HAVE_CIDR = ("a", "mx")
MECHANISMS = ("all", "ip4", "ip6", *_MAY_HAVE_SPEC)


@dataclass(frozen=True, slots=True)
class Term:
    """A mechanism: `spec` is its domain-spec (macros and all) or empty, `network` that of ip4 and ip6."""

    text: str
    qualifier: str
    name: str
    spec: str = ""
    network: Network | None = None


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """`errors` make it a permerror; `ignored` are terms that say nothing to a receiver, with the reason."""

    text: str
    terms: tuple[Term, ...]
    redirect: str
    errors: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def all(self) -> str:
        """The qualifier of its `all`, or empty."""
        return next((term.qualifier for term in self.terms if term.name == "all"), "")


def is_spf(text: str) -> bool:
    """RFC 7208 §4.5: other records at the name are none of ours."""
    return _VERSION.match(text) is not None


def parse_spf(text: str) -> SpfRecord:
    """Any text that `is_spf`. Terms after `all` are dropped: they are never reached (§5.1)."""
    terms: list[Term] = []
    modifiers: dict[str, str] = {}
    errors: list[str] = []
    ignored: list[str] = []
    for token in filter(None, text.split(" ")[1:]):
        if (modifier := _MODIFIER.fullmatch(token)) is not None:
            _take_modifier(modifier[1].lower(), modifier[2], modifiers, errors, ignored)
        elif isinstance(term := _mechanism(token), str):
            errors.append(term)
        elif any(earlier.name == "all" for earlier in terms):
            ignored.append(f"{token} stands after all, and is never reached")
        else:
            terms.append(term)
    if not text.isascii():
        errors.append("it holds characters outside ASCII")
    redirect = modifiers.get("redirect", "")
    if redirect and any(term.name == "all" for term in terms):
        ignored.append(f"redirect={redirect} does not count beside all")
        redirect = ""
    return SpfRecord(text, tuple(terms), redirect, tuple(errors), tuple(ignored))


def _take_modifier(name: str, value: str, known: dict[str, str], errors: list[str], ignored: list[str]) -> None:
    if name in ("redirect", "exp"):
        if name in known:
            errors.append(f"{name}= stands there twice")
        elif name == "redirect" and not _is_spec(value):
            errors.append(f"redirect={value} names no domain")
        known[name] = value
    elif name in MECHANISMS:
        ignored.append(f"{name}={value} is written with = instead of :, and says nothing")


def _mechanism(token: str) -> Term | str:
    """The mechanism, or what is wrong with it."""
    if (found := _NETWORK.fullmatch(token)) is not None:
        return _network_term(token, found[1] or "+", found[2].lower(), found[3])
    found = _MECHANISM.fullmatch(token)
    if found is None or found[2].lower() not in MECHANISMS:
        return f"{token} is no mechanism of SPF"
    qualifier, name, spec, rest = found[1] or "+", found[2].lower(), found[3], found[4] or ""
    if name in _MAY_HAVE_CIDR:
        spec_text, cidr = _cut_cidr(spec, rest)
        problem = "" if cidr is not None else f"{token} has a prefix length that is none"
    else:
        # Elsewhere a slash belongs to the domain-spec, where macros may hold one.
        spec_text, problem = (None if spec is None else spec + rest), ""
        if spec is None and rest:
            problem = f"{token} takes no prefix length"
    return problem or _checked(token, qualifier, name, spec_text)


def _checked(token: str, qualifier: str, name: str, spec: str | None) -> Term | str:
    if name in ("ip4", "ip6"):
        return f"{token} names no address"
    if spec is not None and name not in _MAY_HAVE_SPEC:
        return f"{token} takes no argument"
    if spec is None and name in _MUST_HAVE_SPEC:
        return f"{token} names no domain"
    if spec is not None and not _is_spec(spec):
        return f"{token} names no domain"
    return Term(token, qualifier, name, spec or "")


def _cut_cidr(spec: str | None, rest: str) -> tuple[str | None, str | None]:
    """The domain-spec and the prefix lengths; the latter None when they are none. A macro may hold slashes."""
    whole = f"{spec or ''}{rest}"
    found = re.search(r"/[0-9/]*\Z", whole)
    cut = found.start() if found else len(whole)
    lengths = _CIDRS.fullmatch(whole[cut:])
    if lengths is None or int(lengths[1] or 0) > 32 or int(lengths[2] or 0) > 128:
        return None, None
    return (None if spec is None else whole[:cut]), whole[cut:]


def _network_term(token: str, qualifier: str, name: str, value: str) -> Term | str:
    _, slash, length = value.partition("/")
    if slash and not re.fullmatch(r"0|[1-9][0-9]{0,2}", length):
        return f"{token} has a prefix length that is none"
    try:
        made = IPv4Network(value, strict=False) if name == "ip4" else IPv6Network(value, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        return f"{token} holds no address of {'IPv4' if name == 'ip4' else 'IPv6'}"
    return Term(token, qualifier, name, network=made)


def _is_spec(spec: str) -> bool:
    """A domain-spec: macros and printable characters, at its end a macro or a dot and a label (§7.1)."""
    if not spec or len(spec) > LONGEST_SPEC:
        return False
    rest = _MACRO.sub("", spec)
    if "%" in rest or any(not "!" <= char <= "~" for char in rest):
        return False
    ends_in_macro = any(found.end() == len(spec) for found in _MACRO.finditer(spec))
    return ends_in_macro or _LAST_LABEL.search(spec) is not None


def expand(spec: str, *, domain: str, sender_domain: str) -> str | None:
    """The name a domain-spec means for all letters of a domain; None when it differs from letter to letter (§7)."""
    parts: list[str] = []
    at = 0
    for found in _MACRO.finditer(spec):
        parts.append(spec[at : found.start()])
        value = _expanded(found, domain, sender_domain)
        if value is None:
            return None
        parts.append(value)
        at = found.end()
    name = "".join((*parts, spec[at:])).removesuffix(".")
    return ".".join(_shortened(name))


def _expanded(found: re.Match[str], domain: str, sender_domain: str) -> str | None:
    letter, digits, reversal, delimiters, literal = found.groups()
    if literal:
        return _LITERALS[literal]
    value = {"d": domain, "o": sender_domain}.get(letter.lower())
    if value is None:
        return None
    labels = re.split(f"[{re.escape(delimiters)}]", value) if delimiters else value.split(".")
    if reversal:
        labels.reverse()
    kept = int(digits[:4]) if digits else 0
    return ".".join(labels[-kept:] if kept else labels)


def _shortened(name: str) -> Iterator[str]:
    """§7.3: labels are cut from the left until the name has at most 253 characters."""
    labels = name.split(".")
    while len(".".join(labels)) > 253 and len(labels) > 1:
        del labels[0]
    return iter(labels)
