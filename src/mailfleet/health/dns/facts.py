"""What the rules know: answers by question. What they ask for and nobody has looked up yet is noted as wanted, so that
the rules stay pure: they are run, what they want is looked up, and they are run again until they want nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """Types of records that are asked for."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    SOA = "SOA"
    TXT = "TXT"


class State(StrEnum):
    """How a look-up ended. FAILED says nothing about the domain: a timeout, SERVFAIL, REFUSED, a broken answer."""

    FOUND = "found"
    EMPTY = "empty"  # the name is there, without such a record
    MISSING = "missing"  # NXDOMAIN
    FAILED = "failed"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True)
class Question:
    """A name in lower case without the final dot, and a type."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class TlsQuestion:
    """Who answers at `host` and `port` with TLS, whose certificate must be for `host`."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Answer:
    """`values`: for TXT the strings of a record joined, for MX "preference host", else the text form; in the order of
    the answer, and only when FOUND. `canonical` is the name at the end of a chain of aliases, or empty where there is
    none. `why` says what failed.
    """

    state: State
    values: tuple[str, ...] = ()
    canonical: str = ""
    why: str = ""

    @property
    def is_void(self) -> bool:
        """RFC 7208 §4.6.4: no such name, or no such record."""
        return self.state in (State.EMPTY, State.MISSING)

    @property
    def is_open(self) -> bool:
        """Nothing can be concluded from it."""
        return self.state in (State.FAILED, State.UNASKED)


class TlsState(StrEnum):
    """How a handshake ended, its certificate and name verified. SILENT: no answer in time, or the network is away."""

    GOOD = "good"
    EXPIRED = "expired"
    WRONG_NAME = "wrong_name"
    UNTRUSTED = "untrusted"
    REFUSED = "refused"
    SILENT = "silent"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True)
class Handshake:
    """`expires_at` is that of the certificate, when GOOD."""

    state: TlsState
    expires_at: datetime | None = None
    why: str = ""


UNASKED = Answer(State.UNASKED)
_UNMET = Handshake(TlsState.UNASKED)


class Facts:
    """What is known, and (`wanted`) what was asked for in vain."""

    def __init__(
        self, answers: Mapping[Question, Answer], handshakes: Mapping[TlsQuestion, Handshake] | None = None
    ) -> None:
        self._answers = answers
        self._handshakes = {} if handshakes is None else handshakes
        self.wanted: set[Question | TlsQuestion] = set()

    def ask(self, kind: Kind, name: str) -> Answer:
        question = Question(kind, plain_name(name))
        if question not in self._answers:
            self.wanted.add(question)
        return self._answers.get(question, UNASKED)

    def meet(self, host: str, port: int) -> Handshake:
        question = TlsQuestion(plain_name(host), port)
        if question not in self._handshakes:
            self.wanted.add(question)
        return self._handshakes.get(question, _UNMET)

    def addresses(self, name: str) -> tuple[Answer, tuple[str, ...]]:
        """All addresses of a host; the answer is FOUND when there is one, FAILED when there may be, else void."""
        both = self.ask(Kind.A, name), self.ask(Kind.AAAA, name)
        found = tuple(value for answer in both for value in answer.values)
        if found:
            return next(answer for answer in both if answer.values), found
        return next((answer for answer in both if answer.is_open), both[0]), ()


def plain_name(name: str) -> str:
    """The form in which names are compared."""
    return name.lower().removesuffix(".")


def is_below(name: str, parent: str) -> bool:
    """Whether `name` is `parent` or lies under it."""
    return name == parent or name.endswith(f".{parent}")
