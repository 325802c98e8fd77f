"""Facts written down as in a zone: {"TXT example.com": ["v=spf1 -all"]}. Whatever is not there is NXDOMAIN."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from mailfleet.health.dns.facts import Answer, Facts, Handshake, Kind, Question, State, TlsQuestion, TlsState
from mailfleet.health.dns.findings import Finding, Severity

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FAILED = Answer(State.FAILED, why="no answer in time")
GOOD_TLS = Handshake(TlsState.GOOD, NOW + timedelta(days=60))

Written = Mapping[str, "Sequence[str] | Answer"]


class Closed(dict[Question, Answer]):
    """Every question has an answer."""

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: Question, default: object = None) -> Answer:  # type: ignore[override]
        return self[key] if key in self.keys() else Answer(State.MISSING)


class Met(dict[TlsQuestion, Handshake]):
    def __init__(self, handshake: Handshake) -> None:
        super().__init__()
        self._handshake = handshake

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: TlsQuestion, default: object = None) -> Handshake:  # type: ignore[override]
        return self._handshake


def facts_of(written: Written, handshake: Handshake = GOOD_TLS) -> Facts:
    """A name with one type of records has, for the others, none of them."""
    answers = Closed()
    for key in written:
        for kind in Kind:
            answers[Question(kind, key.split(" ", 1)[1])] = Answer(State.EMPTY)
    for key, values in written.items():
        kind, name = key.split(" ", 1)
        found = values if isinstance(values, Answer) else Answer(State.FOUND, tuple(values))
        answers[Question(Kind(kind), name)] = found
    return Facts(answers, Met(handshake))


def codes(findings: Sequence[Finding], severity: Severity | None = None) -> set[str]:
    return {finding.code for finding in findings if severity in (None, finding.severity)}
