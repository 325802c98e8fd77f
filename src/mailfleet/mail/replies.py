"""What an SMTP reply means for us: its class, the scope of the remedy, and what to do.

The meaning is data (`replies.toml`, explained in `docs/replies.md`); this module reads a reply, takes the first rule
that fits, and applies the laws that hold for every rule. Sources: RFC 5321 §4.2, RFC 3463, RFC 5248, RFC 7372,
RFC 7504, RFC 7505, and the providers' own pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any, Literal

from mailfleet.mail.reply_rules import Action, ReplyClass, Rule, Scope, Seen, load_book

__all__ = ["Action", "Reply", "ReplyClass", "Scope", "Side", "Verdict", "classify", "explain"]

Side = Literal["submission", "mx", "dsn"]
"""Who spoke: our provider to our client, the receiving server (we read it in a DSN), our provider later by itself."""

MAX_TEXT = 4000  # chosen: a reply line has at most 512 octets (RFC 5321 §4.5.3.1.5), eight of them say all there is

_SOFTER = {Action.REJECT: Action.RETRY, Action.SUPPRESS: Action.RETRY, Action.STOP: Action.HOLD}

_CODE_AT_START = re.compile(r"\s*(?:diagnostic-code:\s*)?(?:smtp;\s*)?([2-5]\d\d)(?=[\s-]|$)", re.IGNORECASE)
_CODE_INSIDE = re.compile(r"(?:[:;(\[]|said|<<<)\s*([245]\d\d)(?=[\s-])|\b([245]\d\d)[ -](?=[245]\.\d{1,2}\.\d)")
_CODE_GIVEN = re.compile(r"\s*([2-5][\dx]{2})\b", re.IGNORECASE)
_ENHANCED = re.compile(r"(?<![\w.])([245]\.\d{1,2}\.\d{1,3})(?![\d.]*\.\d|\w)")
_NOISE = re.compile(
    r"\s*\(in reply to [^)]*\)"  # Postfix names the command
    r"|(?<![\w.])(?:[245]\d\d[ -])?\s*[245]\.\d{1,2}\.\d{1,3}(?![\d.]*\.\d|\w)"  # status codes, wherever they stand
    r"|(?<!\S)[45]\d\d-"
    r"|\brelay=\S+"
    r"|\d{1,3}(?:\.\d{1,3}){3}"  # IPv4
    r"|\S+@\S+"  # addresses hold words of their own
    r"|[\W_]+"
)
_HELP = re.compile(r" (?:for (?:more|further) (?:info|information|details)|to (?:learn|find out) more|learn more) ")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: the basic code (400 stands for a mere "4xx"), the first enhanced code, every line without its code."""

    code: int | None
    enhanced: str | None
    lines: tuple[str, ...]

    @classmethod
    def parse(cls, text: str | Sequence[str]) -> Reply:
        """Read a reply as the wire gives it or as a DSN's Diagnostic-Code quotes it, in one string or in lines.

        Never raises.
        """
        whole = text if isinstance(text, str) else "\n".join(text)
        lines = whole.splitlines()
        joined = " ".join(lines)
        code = _find_code(joined)
        enhanced = _ENHANCED.search(joined)
        return cls(code, enhanced[1] if enhanced else None, tuple(_bare(line, code) for line in lines))


def _find_code(text: str) -> int | None:
    if found := _CODE_AT_START.match(text):
        return int(found[1])
    inside = _CODE_INSIDE.search(text)
    return int(inside[1] or inside[2]) if inside else None


def _bare(line: str, code: int | None) -> str:
    """The line without the code that every line of a multi-line reply repeats (RFC 5321 §4.2.1)."""
    line = line.strip()
    return line[4:].strip() if code and line[:3] == str(code) and line[3:4] in ("", " ", "-") else line


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reply is taken for, and what follows.

    `permanent`: this letter to this recipient must not be tried again. `rule`: the id in `replies.toml` that decided.
    `hold_for`: for `hold` how long the scope rests, for `retry` the least wait, else None.
    """

    reply_class: ReplyClass
    scope: Scope
    permanent: bool
    action: Action
    rule: str
    hold_for: timedelta | None


_ACCEPTED = Verdict(ReplyClass.ACCEPTED, Scope.MESSAGE, False, Action.ACCEPT, "code-2xx", None)
_book = cache(load_book)


@lru_cache(maxsize=1024)
def _speakers(provider: str) -> frozenset[str]:
    return _book().speakers(provider)


def classify(reply: Reply, *, provider: str = "", side: Side) -> Verdict:
    """Say what a reply means and what to do; never raises, for a rule always fits.

    `provider` is the speaker as far as it is known: a preset's slug, a product name or a host name.
    Order: rules of a provider, then text, then enhanced code, then basic code; inside each the order of the file.
    Of the text, what stands before "For more information …" is held against the rules first, and what stands beyond
    `MAX_TEXT` characters not at all.
    """
    if reply.code is not None and 200 <= reply.code < 400:
        return _ACCEPTED
    seen = _look_at(reply, provider, side)
    head, *helps = _HELP.split(seen.text, maxsplit=1)
    rule = _book().first_fit(replace(seen, text=f"{head} ") if helps else seen)
    if helps and rule.stage > 2:
        rule = _book().first_fit(seen)
    return _conclude(rule, seen)


def _look_at(reply: Reply, provider: str, side: Side) -> Seen:
    status = reply.enhanced or ""
    speakers = _speakers(provider)
    if len(status.rpartition(".")[2]) == 3:
        speakers |= {"microsoft"}  # no one else gives details of three digits
    text = f" {' '.join(_NOISE.sub(' ', ' '.join(reply.lines)[:MAX_TEXT]).lower().split())} "
    return Seen(f"{reply.code or 0:03}", (status, f"x{status[1:]}") if status else (), text, side, speakers)


def _conclude(rule: Rule, seen: Seen) -> Verdict:
    """Apply what holds for every rule: a temporary reply gives up neither the letter nor the address nor the scope."""
    scope = rule.relay_scope if "relay" in seen.speakers else rule.scope
    effect = _book().effects[rule.reply_class, scope, seen.side]
    action = rule.action or effect.action
    if temporary := _is_temporary(seen):
        action = _SOFTER.get(action, action)
    permanent = effect.permanent and not temporary and action is not Action.RETRY
    wait = (rule.wait or effect.wait) if action in (Action.RETRY, Action.HOLD) else None
    return Verdict(rule.reply_class, scope, permanent, action, rule.id, wait)


def _is_temporary(seen: Seen) -> bool:
    return seen.code.startswith("4") or any(status.startswith("4.") for status in seen.statuses)


def explain(record: Mapping[str, Any]) -> dict[str, str | bool]:
    """Say for one record (code, enhanced_code, text, provider, side) what it is taken for and what would be done.

    Missing and odd fields are tolerated: a code may be a number, "550", "4xx", "" or None; a side that is none of ours
    counts as submission. An account counts as its provider, as in the catalogue of replies.
    """
    verdict = classify(_reply_of(record), provider=_plain(record, "provider"), side=_side_of(record))
    scope = Scope.PROVIDER if verdict.scope is Scope.ACCOUNT else verdict.scope
    return {
        "class": verdict.reply_class.value,
        "scope": scope.value,
        "permanent": verdict.permanent,
        "action": verdict.action.value,
        "rule": verdict.rule,
    }


def _reply_of(record: Mapping[str, Any]) -> Reply:
    found = Reply.parse(_plain(record, "text"))
    code = _CODE_GIVEN.match(_plain(record, "code"))
    status = _ENHANCED.search(_plain(record, "enhanced_code").partition("-")[0])
    return Reply(
        int(code[1].lower().replace("x", "0")) if code else found.code,
        status[1] if status else found.enhanced,
        found.lines,
    )


def _side_of(record: Mapping[str, Any]) -> Side:
    match _plain(record, "side").strip().lower():
        case "mx":
            return "mx"
        case "dsn":
            return "dsn"
        case _:
            return "submission"


def _plain(record: Mapping[str, Any], field: str) -> str:
    value = record.get(field)
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    return "" if value is None else str(value)
