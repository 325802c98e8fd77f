"""What is known about providers, and docs/providers.md, which is written from it.

`python tests/providers/test_presets.py` writes that page anew.
"""

from collections.abc import Iterator
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import available_timezones

import pytest

from mailfleet.model.words import AuthKind, ScopeKind, Security, WindowKind
from mailfleet.providers.presets import (
    Fact,
    Preset,
    PresetEndpoint,
    PresetLimit,
    Source,
    find_preset,
    guess_preset,
    load_presets,
)

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
PRESETS = load_presets()
POLICIES = {"forbidden", "consent_only", "bulk_unsupported", "silent", "unknown"}
INTRO = """\
# Providers

What Mailfleet knows of a provider that a mailbox names, or whose server it names. Written from
`src/mailfleet/providers/presets.toml`, where every value stands with its source; a test keeps the two alike.
`fleet.toml` can say otherwise.

Behind each fact: `S` the provider's own page says so, `S2` another's page, `K` unconfirmed (general knowledge, no page
seen), `I` our own choice. Limits count submissions to one recipient each. A limit in brackets holds under its condition
only, and is for a person to set. The day of a source is that of the copy read, where known, else that of this table.

"""


def sources_of(preset: Preset) -> Iterator[Source]:
    for own in fields(preset):
        value = getattr(preset, own.name)
        if isinstance(value, Fact | PresetEndpoint):
            yield value.source
    yield from (limit.source for limit in preset.limits)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_fact_has_a_source_and_a_date(preset: Preset) -> None:
    """No number or habit of a provider stands without the page it was read on, the day, and how sure we are."""
    sources = list(sources_of(preset))
    assert len(sources) >= 8
    for source in sources:
        assert source.page
        assert source.seen_on >= date(2015, 1, 1)
        assert source.mark in ("S", "S2", "K", "I")
        assert source.is_confirmed == (source.mark in ("S", "S2"))


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_value_is_one_that_the_program_knows(preset: Preset) -> None:
    """Each preset speaks the words of the model: policies, zones, securities, scopes, and sane numbers."""
    assert preset.outreach_policy.value in POLICIES
    assert preset.sent_copy.value in {"server", "client", "server_setting", "unknown"}
    assert preset.rewrites_message_id.value in {True, False, None}
    assert preset.auth.value
    assert set(preset.auth.value) <= set(AuthKind)
    assert 1 <= preset.mailbox_connections.value <= preset.provider_connections.value
    assert timedelta(0) < preset.idle.value < timedelta(minutes=5)
    assert timedelta(0) < preset.pace_floor.value < timedelta(minutes=10)
    assert all(host == host.lower() for host in preset.hosts + preset.address_domains)
    for server in filter(None, (preset.smtp, preset.imap)):
        assert server.security is not Security.NONE
        assert (server.security is Security.TLS) == (server.port in (465, 993))
    for limit in preset.limits:
        assert limit.maximum > 0
        assert limit.scope_kind in (ScopeKind.MAILBOX, ScopeKind.ACCOUNT)
        assert limit.zone in available_timezones()
        assert limit.window_kind is WindowKind.ROLLING or limit.length == timedelta(days=1)


def test_the_providers_of_the_design_are_there() -> None:
    """Every provider that fleets are made of has a preset, and "generic" assumes no limit and no server."""
    assert set(PRESETS) >= {
        *(
            "google_workspace",
            "gmail",
            "microsoft_365",
            "outlook",
            "zoho",
            "yandex",
            "yandex_360",
            "mailru",
            "namecheap",
        ),
        *(
            "titan",
            "fastmail",
            "migadu",
            "rackspace",
            "ionos",
            "ovh",
            "proton",
            "ses",
            "sendgrid",
            "mailgun",
            "postmark",
        ),
        *("smtp2go", "brevo", "generic"),
    }
    generic = PRESETS["generic"]
    assert (generic.smtp, generic.imap, generic.limits, generic.hosts) == (None, None, (), ())


def test_unconfirmed_numbers_are_marked() -> None:
    """A number of which no page was seen does not pass for a published one."""
    limits = {name: preset.limits[0].source.is_confirmed for name, preset in PRESETS.items() if preset.limits}
    assert not any(limits[name] for name in ("namecheap", "fastmail", "migadu", "ovh"))
    assert all(limits[name] for name in ("google_workspace", "microsoft_365", "zoho", "yandex", "ionos", "rackspace"))


def test_the_pace_keeps_the_hourly_limit() -> None:
    """Where a provider counts by the minute or the hour, the floor of its pace alone keeps its strictest such limit."""
    for name in ("microsoft_365", "zoho", "ionos"):
        preset = PRESETS[name]
        short = [limit for limit in preset.limits if limit.length < timedelta(days=1)]
        assert all(limit.length / preset.pace_floor.value <= limit.maximum for limit in short)


@pytest.mark.parametrize(
    ("host", "domain", "name"),
    [
        ("smtp.gmail.com", "acme.example", "google_workspace"),
        ("smtp.gmail.com", "gmail.com", "gmail"),
        ("smtp.office365.com", "acme.example", "microsoft_365"),
        ("smtp.office365.com", "outlook.com", "outlook"),
        ("smtp-mail.outlook.com", "acme.example", "outlook"),
        ("smtp.yandex.ru", "acme.example", "yandex_360"),
        ("smtp.yandex.ru", "ya.ru", "yandex"),
        ("smtp.zoho.eu", "acme.example", "zoho"),
        ("email-smtp.eu-west-1.amazonaws.com", "acme.example", "ses"),
        ("evilsmtp2go.com", "acme.example", None),
        ("mail.acme.example", "gmail.com", None),
        ("", "mail.ru", "mailru"),
        ("", "acme.example", None),
    ],
)
def test_a_provider_is_known_by_its_server(host: str, domain: str, name: str | None) -> None:
    """The server decides whose mailbox it is, the address between personal and business and where no server is."""
    assert guess_preset(host, domain) == name


@pytest.mark.parametrize("name", ["google_workspace", "Google Workspace", "GSUITE", "google-workspace"])
def test_a_provider_is_found_as_people_write_it(name: str) -> None:
    """Case, blanks and hyphens of a provider's name do not matter, and its usual other names are known."""
    assert find_preset(name, PRESETS) is PRESETS["google_workspace"]
    assert find_preset("nobody", PRESETS) is None


def test_no_two_presets_share_a_name() -> None:
    """A name, title or alias means one provider."""
    for preset in PRESETS.values():
        for name in (preset.name, preset.title, *preset.aliases):
            assert find_preset(name, PRESETS) is preset


def test_the_daily_maximum_is_the_standing_one() -> None:
    """Neither a trial's limit nor an hourly one, nor an account's, is taken for a mailbox's published day."""
    assert PRESETS["google_workspace"].daily_maximum == 2000
    assert PRESETS["rackspace"].daily_maximum == 10000
    assert PRESETS["zoho"].daily_maximum is None
    assert PRESETS["migadu"].daily_maximum is None


def test_the_page_says_what_the_presets_say() -> None:
    """docs/providers.md is what is written from the presets now."""
    assert PAGE.read_text(encoding="utf-8") == page()


def page() -> str:
    heads = (
        "provider",
        "limits",
        "SMTP",
        "IMAP",
        "login",
        "Sent copy by",
        "Message-ID",
        "least gap",
        "outreach policy",
    )
    rows = [heads, ("---",) * len(heads), *(table_row(preset) for preset in PRESETS.values())]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"{INTRO}{table}\n## Sources\n\n{source_list()}"


def table_row(preset: Preset) -> tuple[str, ...]:
    changed = {True: "changed", False: "kept", None: "unknown"}[preset.rewrites_message_id.value]
    return (
        f"**{preset.title}** `{preset.name}`",
        "<br>".join(limit_text(limit) for limit in preset.limits) or "none known",
        server_text(preset.smtp),
        server_text(preset.imap),
        f"{', '.join(preset.auth.value)} {preset.auth.source.mark}",
        f"{preset.sent_copy.value} {preset.sent_copy.source.mark}",
        f"{changed} {preset.rewrites_message_id.source.mark}",
        f"{preset.pace_floor.value.seconds} s {preset.pace_floor.source.mark}",
        f"{preset.outreach_policy.value} {preset.outreach_policy.source.mark}",
    )


def limit_text(limit: PresetLimit) -> str:
    text = f"{limit} {limit.source.mark}"
    return f"[{text}]" if limit.applies else text


def server_text(server: PresetEndpoint | None) -> str:
    return f"{server.host}:{server.port} {server.security} {server.source.mark}" if server else "-"


def source_list() -> str:
    pages = {source for preset in PRESETS.values() for source in sources_of(preset) if source.is_confirmed}
    ordered = sorted(pages, key=lambda source: source.page)
    return "".join(f"- {source.mark} {source.page} (seen {source.seen_on})\n" for source in ordered)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
