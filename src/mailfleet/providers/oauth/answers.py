"""What a token server's answer means, pure: a token, not yet, later, or a no with what a person must do."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeGuard

from mailfleet.providers.faults import shorten
from mailfleet.providers.oauth.credentials import Flow
from mailfleet.providers.oauth.faults import GrantFaultKind

LIFE = timedelta(hours=1)  # chosen: of a token whose server names none (RFC 6749 §5.1 leaves that open); both name 1 h
LONGEST_LIFE = timedelta(days=1)  # chosen: Microsoft's longest; a server that names more is not believed
LONGEST_REST = timedelta(minutes=15)  # chosen: a Retry-After of more is asked again by then
_PASSING = ("temporarily_unavailable", "server_error", "slow_down")
_PASSING_NUMBERS = frozenset(
    {50196, 90033, 90036, 90055, 900561}
)  # AADSTS: a loop of requests seen, service away, busy
MAX_TOKEN = 16_384  # chosen: Microsoft's run to 3 kB; what is longer is no token and would stand in a login's line

FaultScope = Literal["account", "mailbox", "ask_another"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came over HTTP: status, the JSON object (empty when it was none), and Retry-After where it was sent.

    `error` and `error_description`, where they are text, are a `first_line` without any secret of ours.
    """

    status: int
    fields: Mapping[str, Any] = field(repr=False)
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """`refresh_token` is empty where the server sent none: the one we have stays (RFC 6749 §6)."""

    access_token: str = field(repr=False)
    lives_for: timedelta
    refresh_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Later:
    """The server, or the way to it, could not serve us now; `rest` where it named one. Not a fault."""

    text: str
    rest: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """Of the device flow alone (RFC 8628 §3.5): nobody has agreed yet. `is_too_often`: ask 5 s less often from now."""

    is_too_often: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A no. `said` is the server's own words, without any secret of ours."""

    kind: GrantFaultKind
    scope: FaultScope
    text: str
    hint: str
    said: str

    def __str__(self) -> str:
        return f"{self.text}: {self.said}" if self.said else self.text


Verdict = Issued | Later | Refused


@dataclass(frozen=True, slots=True)
class Asked:
    """Of whom and for whom, for the words of a refusal."""

    flow: Flow
    client_id: str
    scope: str
    mailbox: str


def verdict_on(answer: Answer, asked: Asked) -> Verdict:
    """The meaning of a token endpoint's answer."""
    error = answer.fields.get("error")
    if 200 <= answer.status < 300 and not error:
        return _issued(answer)
    if answer.status == 429 or answer.status >= 500 or not isinstance(error, str) or _is_passing(answer, error):
        return Later(_words(answer), _capped(answer.retry_after))
    return _refused(answer, error, asked)


def device_verdict_on(answer: Answer, asked: Asked) -> Verdict | Pending:
    """The same while a device code waits for its person."""
    error = answer.fields.get("error")
    if answer.status < 500 and error in ("authorization_pending", "slow_down"):
        return Pending(error == "slow_down")
    return verdict_on(answer, asked)


def _issued(answer: Answer) -> Issued | Later:
    token, refresh = answer.fields.get("access_token"), answer.fields.get("refresh_token") or ""
    if not _is_token(token) or (refresh != "" and not _is_token(refresh)):
        return Later(f"the server answered {answer.status}, but with no token")
    return Issued(token, _life(answer.fields.get("expires_in")), refresh)


def _is_token(value: object) -> TypeGuard[str]:
    """RFC 6750 §2.1 and RFC 6749 appendix A: visible ASCII; anything else could break out of a login's line."""
    return isinstance(value, str) and 0 < len(value) <= MAX_TOKEN and all(0x21 <= ord(c) <= 0x7E for c in value)


def _life(seconds: object) -> timedelta:
    try:
        life = timedelta(seconds=float(seconds))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return LIFE
    return min(max(life, timedelta()), LONGEST_LIFE)


def _capped(rest: timedelta | None) -> timedelta | None:
    return None if rest is None else min(rest, LONGEST_REST)


def _is_passing(answer: Answer, error: str) -> bool:
    return error in _PASSING or not _PASSING_NUMBERS.isdisjoint(_numbers(answer))


def _refused(answer: Answer, error: str, asked: Asked) -> Refused:
    said = _text(answer, "error_description")
    known = next(entry for entry in _entries() if _matches(entry, error, _numbers(answer), said.lower(), asked.flow))
    names = {"client_id": asked.client_id, "scope": asked.scope, "mailbox": asked.mailbox}
    text, hint = known["text"].format(**names), known["hint"].format(**names)
    return Refused(
        GrantFaultKind(known["kind"]), known["scope"], text, hint, shorten(f"{error}: {said}" if said else error)
    )


def _matches(entry: Mapping[str, Any], error: str, numbers: Iterable[int], said: str, flow: Flow) -> bool:
    return (
        entry.get("flow", flow) == flow
        and entry.get("error", error) == error
        and entry.get("contains", "") in said
        and ("numbers" not in entry or not set(entry["numbers"]).isdisjoint(numbers))
    )


def _numbers(answer: Answer) -> list[int]:
    codes = answer.fields.get("error_codes")
    return [code for code in codes if isinstance(code, int)] if isinstance(codes, list) else []


def _words(answer: Answer) -> str:
    said = " ".join(filter(None, (_text(answer, "error"), _text(answer, "error_description"))))
    return shorten(f"the server answered {answer.status} {said}".rstrip())


def _text(answer: Answer, name: str) -> str:
    said = answer.fields.get(name)
    return said if isinstance(said, str) else ""


def first_line(said: str) -> str:
    """Microsoft's other lines are trace numbers. What cannot be printed or stored goes."""
    return "".join(filter(str.isprintable, said.strip().partition("\n")[0]))


@cache
def _entries() -> tuple[Mapping[str, Any], ...]:
    data = tomllib.loads(files(__package__).joinpath("refusals.toml").read_text(encoding="utf-8"))
    return tuple(data["refusal"])
