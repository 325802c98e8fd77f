"""What the providers' customers set."""

import pytest

from mailfleet.base.errors import InputError
from mailfleet.health.dns.provider_records import find_provider, guess_providers, load_providers
from mailfleet.health.dns.rules_spf_syntax import parse_spf
from mailfleet.providers.presets import load_presets

PROVIDERS = load_providers().providers


def test_every_preset_has_its_records():
    """The two tables have the same keys, so that no provider is without a say."""
    assert set(PROVIDERS) == set(load_presets())


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_the_records_are_valid(name):
    """Includes and exchangers are names, and the exchangers lie where the provider's are looked for."""
    provider = PROVIDERS[name]
    assert not parse_spf(" ".join(["v=spf1", *(f"include:{domain}" for domain in provider.spf)])).errors
    for record in provider.mx_records("my-acme.co.uk"):
        preference, host = record.value.split(" ")
        assert preference.isdigit()
        assert provider.serves(host)
    for template in provider.dkim:
        assert "{" not in provider.dkim_record(template, "acme.com").value


def test_what_no_page_confirms_is_said_to_be_so():
    """A record from general knowledge carries a note; one with a source carries none."""
    assert "unconfirmed" in PROVIDERS["titan"].mx_records("acme.com")[0].note
    assert PROVIDERS["namecheap"].mx_records("acme.com")[0].note == ""


def test_names_are_those_of_the_presets():
    """A person may write a title or an alias."""
    assert find_provider("Google Workspace").name == "google_workspace"
    with pytest.raises(InputError, match="no provider"):
        find_provider("nobody")


def test_the_exchangers_tell_the_provider():
    """Without a provider named, the MX says whose inboxes they are."""
    assert [found.name for found in guess_providers(["acme-com.mail.protection.outlook.com"])] == ["microsoft_365"]
    assert guess_providers(["mx.acme.com", "evilgoogle.com"]) == ()
