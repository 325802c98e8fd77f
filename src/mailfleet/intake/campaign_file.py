"""A campaign's TOML file: who writes to whom, from which mailboxes, when, and the letters of each step.

No key of the file can take the opt-out, the postal address or a suppression away.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from mailfleet.intake.footer import LANGUAGES
from mailfleet.intake.letter import BODY_KEYS, LETTER_KEYS, read_html, read_subject, read_text
from mailfleet.intake.pool import Pool, read_pool
from mailfleet.intake.toml_file import Table, TomlFile, did_you_mean
from mailfleet.intake.values import parse_duration, parse_name, parse_slug, parse_zone
from mailfleet.model.words import ReplyStops

CONTACT_ZONE = "contact"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = r"((?:[01]\d|2[0-3]):[0-5]\d|24:00)"
_HOURS = re.compile(f"{_TIME} *- *{_TIME}")


@dataclass(frozen=True, slots=True)
class Variant:
    """One wording. Liquid templates with their footer; an empty `subject` answers the first letter's thread, and of
    `text` and `html` one may be empty."""

    name: str
    weight: int
    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Step:
    """`wait` runs from the letter before; it is nothing on the first step. At least one variant, names unique."""

    wait: timedelta
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class ContactWindow:
    """When a contact may be written to: `weekdays` out of WEEKDAYS and `hours` like "09:00-17:00", both sorted, never
    empty; no hours overlap.

    `zone` is an IANA name, or "contact"; then `fallback_zone` holds for contacts whose zone is unknown.
    """

    weekdays: tuple[str, ...]
    hours: tuple[str, ...]
    zone: str
    fallback_zone: str


@dataclass(frozen=True, slots=True)
class CampaignFile:
    """`pool` is a rule of its own or the name of one of the fleet's pools. `reply_stops`: whom an answer stops letters
    to. Steps in their order, at least one."""

    name: str
    identity: str
    lists: tuple[str, ...]
    language: str
    pool: Pool | str
    window: ContactWindow
    priority: int
    openings_share: float
    reply_stops: ReplyStops
    steps: tuple[Step, ...]


def read_campaign(path: Path) -> CampaignFile:
    """The campaign a file describes; FileProblems with every problem in it, InputError when it is no TOML."""
    file = TomlFile.open(path)
    top = file.top
    language = top.one_of("language", LANGUAGES, "en")
    campaign = CampaignFile(
        name=top.parsed("name", parse_slug, "", required=True),
        identity=top.parsed("identity", parse_name, "", required=True),
        lists=_lists(top),
        language=language,
        pool=_pool(top),
        window=_window(top.table("window")),
        priority=top.integer("priority", 0, least=-1000, most=1000),
        openings_share=top.share("openings_share", 0.0),
        reply_stops=_reply_stops(top.table("stop")),
        steps=_steps(top, language),
    )
    top.close()
    file.finish()
    return campaign


def _lists(top: Table) -> tuple[str, ...]:
    lists = top.texts("list")
    if not lists and not top.has("list"):
        top.report("list is missing")
    elif not lists:
        top.report("names no list", "list")
    return lists


def _pool(top: Table) -> Pool | str:
    if top.holds_text("pool"):
        return top.parsed("pool", parse_slug, "")
    table = top.table("pool")
    pool = read_pool(table)
    table.close()
    return pool


def _window(table: Table) -> ContactWindow:
    zone = table.parsed("zone", _parse_contact_zone, "UTC", required=True)
    window = ContactWindow(
        weekdays=_weekdays(table),
        hours=_hours(table),
        zone=zone,
        fallback_zone=table.parsed("fallback_zone", parse_zone, zone, required=zone == CONTACT_ZONE),
    )
    if zone != CONTACT_ZONE:
        table.refuse("fallback_zone", f'has no meaning unless zone = "{CONTACT_ZONE}"')
    table.close()
    return window


def _parse_contact_zone(text: str) -> str:
    return text if text == CONTACT_ZONE else parse_zone(text)


def _weekdays(table: Table) -> tuple[str, ...]:
    if not table.has("weekdays"):
        return WEEKDAYS[:5]
    ranges = table.parsed_all("weekdays", _parse_weekdays)
    if not table.texts("weekdays"):
        table.report("names no day: leave the key out for mon-fri", "weekdays")
    return tuple(day for day in WEEKDAYS if any(day in days for days in ranges))


def _parse_weekdays(text: str) -> tuple[str, ...]:
    """The days of "mon", or of "mon-fri"."""
    first, dash, last = text.partition("-")
    names = (first.strip(), last.strip()) if dash else (first, first)
    for name in names:
        if name not in WEEKDAYS:
            raise ValueError(f'"{name}" is none of {", ".join(WEEKDAYS)}{did_you_mean(name, WEEKDAYS)}')
    begin, end = map(WEEKDAYS.index, names)
    if begin > end:
        raise ValueError(f'"{text}" runs backwards: name the days one by one')
    return WEEKDAYS[begin : end + 1]


def _hours(table: Table) -> tuple[str, ...]:
    if not table.has("hours"):
        return ("09:00-17:00",)
    hours = sorted(table.parsed_all("hours", _parse_hours))
    if not table.texts("hours"):
        table.report("names no hours: leave the key out for 09:00-17:00", "hours")
    for before, after in pairwise(hours):
        if after[:5] < before[6:]:
            table.report(f"{before} and {after} overlap", "hours")
    return tuple(hours)


def _parse_hours(text: str) -> str:
    match = _HOURS.fullmatch(text)
    if not match:
        raise ValueError(f'"{text}" is no span of hours: write "09:00-17:00", from 00:00 to 24:00')
    start, end = match.groups()
    if start >= end:
        raise ValueError(f'"{text}" does not end after it begins; write a night as two spans')
    return f"{start}-{end}"


def _reply_stops(table: Table) -> ReplyStops:
    stops = ReplyStops(table.one_of("reply", ReplyStops, ReplyStops.CONTACT))
    table.close()
    return stops


def _steps(top: Table, language: str) -> tuple[Step, ...]:
    tables = top.tables("steps")
    if not tables:
        top.report("a campaign needs at least one [[steps]]")
    return tuple(_step(table, language, is_first=table is tables[0]) for table in tables)


def _step(table: Table, language: str, *, is_first: bool) -> Step:
    if is_first:
        table.refuse("wait", "the first step has no letter before it to wait for")
    wait = table.parsed("wait", parse_duration, timedelta(0), required=not is_first)
    step = Step(wait=wait, variants=tuple(_variants(table, language, is_first=is_first)))
    table.close()
    return step


def _variants(step: Table, language: str, *, is_first: bool) -> Iterator[Variant]:
    """The step's variants, or its own wording as the one variant "a"."""
    tables = step.tables("variants")
    if not tables:
        yield _variant(step, "a", 1, language, is_first=is_first)
        return
    for key in LETTER_KEYS:
        step.refuse(key, "belongs into each of the step's variants")
    names: set[str] = set()
    for table in tables:
        name = table.parsed("name", parse_slug, "", required=True)
        if name in names:
            table.report(f'"{name}" is there twice in this step', "name")
        names.add(name)
        yield _variant(table, name, table.integer("weight", 1, least=1, most=1000), language, is_first=is_first)
        table.close()


def _variant(table: Table, name: str, weight: int, language: str, *, is_first: bool) -> Variant:
    subject = read_subject(table, is_first=is_first)
    text, html = read_text(table, language), read_html(table, language)
    if not any(map(table.has, BODY_KEYS)):
        table.report("a letter needs text, text_file, html or html_file")
    return Variant(name=name, weight=weight, subject=subject, text=text, html=html)
