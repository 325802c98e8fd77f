"""Texts of our TOML files that mean something: names, durations, windows, zones, addresses. What is wrong is a
ValueError, or the InputError of `mailfleet.mail`."""

import re
from datetime import timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from mailfleet.intake.countries import find_country
from mailfleet.intake.toml_file import did_you_mean
from mailfleet.mail.addresses import parse_address, parse_domain
from mailfleet.mail.opt_out import check_base_url
from mailfleet.outbox.limits import Window

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SELECTOR = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_SELECTOR_LENGTH = 100  # chosen: with "._domainkey." and a domain, within the 255 octets of a name
_LONGEST = 3650 * 86400  # chosen: ten years, in seconds; no wait or window of ours is meant to be longer
_NAME_LENGTH = 100  # chosen: fits a line of a terminal beside its numbers
_DURATION = re.compile(r"(\d{1,9}) *(second|minute|hour|day)s?")
_ROLLING = re.compile(r"rolling *(\d{1,9}) *(s|min|h|d)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "s": 1, "min": 60, "h": 3600, "d": 86400}


def parse_slug(text: str) -> str:
    """A name that people type in commands."""
    if _SLUG.fullmatch(text):
        return text
    raise ValueError(f'"{text}" is no name: up to 63 of a-z 0-9 . _ -, the first a letter or digit')


def parse_name(text: str) -> str:
    """The name of a row of the fleet. "*" stands for all of a kind, and "/" parts a provider from its account."""
    if text == "*" or "/" in text or len(text) > _NAME_LENGTH:
        raise ValueError(f'"{text}" is no name: up to {_NAME_LENGTH} characters, not "*", no "/"')
    return text


def parse_account(text: str) -> str:
    """An account by its provider and its own name, which is unique only there."""
    provider, slash, account = text.partition("/")
    if not slash:
        raise ValueError(f'"{text}" is no account: write "provider/account"')
    return f"{parse_name(provider)}/{parse_name(account)}"


def parse_selector(text: str) -> str:
    """A DKIM selector (RFC 6376 §3.1), or all of NAME._domainkey.DOMAIN where letters are signed with d=DOMAIN."""
    name, mark, domain = text.lower().partition("._domainkey.")
    if len(name) > _SELECTOR_LENGTH or not _SELECTOR.fullmatch(name):
        raise ValueError(f'"{text}" is no DKIM selector: write the part before ._domainkey, such as "s1"')
    return f"{name}{mark}{parse_domain(domain)}" if mark else name


def parse_duration(text: str) -> timedelta:
    """A number and a unit, from a second to ten years: "3 days", "36 hours", "90 minutes". A day is 24 hours."""
    match = _DURATION.fullmatch(text)
    if match and 0 < (seconds := int(match[1]) * _SECONDS[match[2]]) <= _LONGEST:
        return timedelta(seconds=seconds)
    raise ValueError(f'"{text}" is no duration: write a number and seconds, minutes, hours or days, like "3 days"')


def write_duration(duration: timedelta) -> str:
    """The text that `parse_duration` reads back; whole seconds."""
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in ("day", "hour", "minute", "second") if seconds % _SECONDS[unit] == 0)
    count = seconds // _SECONDS[unit]
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def parse_window(text: str) -> Window:
    """A limit's window: "rolling 24h", "rolling 10min", "rolling 7d", or "day Europe/Berlin"."""
    if match := _ROLLING.fullmatch(text):
        if 0 < (seconds := int(match[1]) * _SECONDS[match[2]]) <= _LONGEST:
            return Window("rolling", timedelta(seconds=seconds))
    elif text.startswith("day "):
        return Window("calendar", zone=parse_zone(text.removeprefix("day ").strip()))
    raise ValueError(f'"{text}" is no window: write "rolling 24h", "rolling 10min" or "day Europe/Berlin"')


def write_window(window: Window) -> str:
    """The text that `parse_window` reads back; a rolling window of whole seconds."""
    if window.kind == "calendar":
        return f"day {window.zone}"
    seconds = int(window.length.total_seconds())
    unit = next(unit for unit in ("h", "min", "s") if seconds % _SECONDS[unit] == 0)
    return f"rolling {seconds // _SECONDS[unit]}{unit}"


def parse_zone(text: str) -> str:
    """An IANA time zone name."""
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # a bad key, a folder such as "Europe", an unknown name
        known = available_timezones()
        raise ValueError(f'"{text}" is no IANA time zone{did_you_mean(text, known)}') from None
    return text


def parse_mailbox(text: str) -> str:
    """A mailbox by its normalised address."""
    return parse_address(text).normalised


def parse_contact_email(text: str) -> str:
    """An address that people read, as it was written."""
    return parse_address(text).original


def parse_country(text: str) -> str:
    """The two letters (ISO 3166-1) of a country, from them or from its name."""
    if code := find_country(text):
        return code
    raise ValueError(f'"{text}" is no country: write its two letters (ISO 3166-1)')


def parse_url(text: str) -> str:
    """An http or https address with a host."""
    try:
        url = urlsplit(text)
        known = url.scheme in ("http", "https") and bool(url.hostname) and " " not in text
    except ValueError:  # a broken IPv6 host
        known = False
    if known:
        return text
    raise ValueError(f'"{text}" is no web address: write https://…')


def parse_opt_out_url(text: str) -> str:
    """Where opt-out links begin, without a closing slash."""
    check_base_url(text)
    return text.rstrip("/")
