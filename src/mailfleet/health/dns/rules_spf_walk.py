"""What an SPF record costs and covers when every include and redirect is followed: RFC 7208 §4.6.4.

A receiver stops at the first term that matches; counted is the sender that matches none, who costs the most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailfleet.health.dns.facts import Answer, Facts, Kind, State, plain_name
from mailfleet.health.dns.findings import shown
from mailfleet.health.dns.rules_spf_syntax import Network, SpfRecord, Term, expand, is_spf, parse_spf

MOST_LOOKUPS = 10  # RFC 7208 §4.6.4
MOST_VOIDS = 2  # RFC 7208 §4.6.4
MOST_MX = 10  # RFC 7208 §4.6.4
GIVES_UP = 40  # chosen: a record this far over the limit need not be counted to its end


@dataclass
class SpfTally:
    """`names` are the domains included or redirected to; `networks` what is covered by address, in every record.

    `errors` make the whole a permerror; `open` are look-ups without an answer; `uses_ptr`, `varies`: a term that §5.5
    advises against, and one whose name differs from letter to letter.
    """

    lookups: int = 0
    voids: int = 0
    names: set[str] = field(default_factory=set)
    networks: list[Network] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    open: list[tuple[str, Answer]] = field(default_factory=list)
    uses_ptr: bool = False
    varies: bool = False

    @property
    def has_given_up(self) -> bool:
        return self.lookups > GIVES_UP


def spf_texts(answer: Answer) -> list[str]:
    """The SPF records among the TXT records of a name."""
    return [text for text in answer.values if is_spf(text)]


def walk_spf(record: SpfRecord, domain: str, facts: Facts) -> SpfTally:
    """The tally of `record`, which stands at `domain`."""
    tally = SpfTally()
    _Walk(tally, facts, domain).follow(record, domain, (domain,))
    return tally


@dataclass(frozen=True, slots=True)
class _Walk:
    tally: SpfTally
    facts: Facts
    sender_domain: str

    def follow(self, record: SpfRecord, domain: str, path: Sequence[str]) -> None:
        self.tally.errors += [error if len(path) == 1 else f"{domain}: {error}" for error in record.errors]
        for term in record.terms:
            if self.tally.has_given_up:
                return
            self._take(term, domain, path)
        if record.redirect:
            self.tally.lookups += 1
            self._enter("redirect", record.redirect, domain, path)

    def _take(self, term: Term, domain: str, path: Sequence[str]) -> None:
        if term.network is not None:
            self.tally.networks.append(term.network)
        if term.name in ("all", "ip4", "ip6"):
            return
        self.tally.lookups += 1
        if term.name == "include":
            self._enter("include", term.spec, domain, path)
            return
        name = self._name(term.spec, domain) if term.spec else domain
        if term.name == "ptr":
            self.tally.uses_ptr = True
        elif name is not None and term.name == "exists":
            self._count((name, self.facts.ask(Kind.A, name)))
        elif name is not None and term.name == "a":
            self._count((name, self.facts.addresses(name)[0]))
        elif name is not None:
            self._exchangers(name, term)

    def _name(self, spec: str, domain: str) -> str | None:
        name = expand(spec, domain=domain, sender_domain=self.sender_domain)
        if name is None:
            self.tally.varies = True
            return None
        return plain_name(name)

    def _count(self, *asked: tuple[str, Answer]) -> None:
        """One term's look-ups: it counts as void once, however many of them find nothing."""
        self.tally.open += [(name, answer) for name, answer in asked if answer.is_open]
        self.tally.voids += any(answer.is_void for _, answer in asked)

    def _exchangers(self, name: str, term: Term) -> None:
        answer = self.facts.ask(Kind.MX, name)
        if len(answer.values) > MOST_MX:
            self.tally.errors.append(f"{term.text} means {len(answer.values)} hosts, and {MOST_MX} are allowed")
        hosts = [plain_name(value.partition(" ")[2]) for value in answer.values[:MOST_MX]]
        self._count((name, answer), *((host, self.facts.addresses(host)[0]) for host in hosts if host))

    def _enter(self, how: str, spec: str, domain: str, path: Sequence[str]) -> None:
        name = self._name(spec, domain)
        if name is None:
            return
        self.tally.names.add(name)
        if name in path:
            self.tally.errors.append(f"{how} of {shown(name)} leads back to itself")
            return
        answer = self.facts.ask(Kind.TXT, name)
        self._count((name, answer))
        if answer.is_open:
            return
        texts = spf_texts(answer)
        if len(texts) != 1:
            self.tally.errors.append(f"{how} of {shown(name)}, which {_lack(answer, len(texts))}")
            return
        self.follow(parse_spf(texts[0]), name, (*path, name))


def _lack(answer: Answer, count: int) -> str:
    if answer.state is State.MISSING:
        return "does not exist"
    return f"has {count} SPF records" if count else "has no SPF record"
