"""Settings: what the environment says."""

import re
from pathlib import Path

import pytest

from mailfleet.base import settings
from mailfleet.base.errors import SetupError
from mailfleet.base.settings import read_settings

DOCS = Path(__file__).parents[2] / "docs/operating.md"


def test_a_setting_may_stand_in_a_file(tmp_path: Path) -> None:
    """The twin `_FILE` of every variable names a file; the variable itself counts where both are there."""
    (tmp_path / "key").write_text("secret\n")
    by_file = {"MAILFLEET_SPAMHAUS_KEY_FILE": str(tmp_path / "key")}
    assert read_settings(by_file).spamhaus_key == "secret"
    assert read_settings({**by_file, "MAILFLEET_SPAMHAUS_KEY": "own"}).spamhaus_key == "own"
    assert read_settings({**by_file, "MAILFLEET_SPAMHAUS_KEY": ""}).spamhaus_key == "secret"
    with pytest.raises(SetupError, match="MAILFLEET_RESOLVER_FILE"):
        read_settings({"MAILFLEET_RESOLVER_FILE": str(tmp_path / "none")})


def test_what_is_not_set_has_a_default() -> None:
    """The page listens on this machine and believes proxies on it; the resolver is the system's."""
    found = read_settings({})
    assert (found.opt_out_listen, found.opt_out_proxies) == ("127.0.0.1:8320", ("127.0.0.0/8", "::1"))
    assert (found.resolver, found.spamhaus_key, found.database_url) == (None, "", None)
    assert read_settings({"MAILFLEET_OPT_OUT_PROXIES": "10.0.0.1 fd00::/8"}).opt_out_proxies == ("10.0.0.1", "fd00::/8")


def test_every_setting_is_described() -> None:
    """In the module that reads them, and in docs/operating.md."""
    source = Path(settings.__file__).read_text(encoding="utf-8")
    read = set(re.findall(r'_value\(environment, "(MAILFLEET_\w+)"\)', source))
    assert len(read) == 9
    assert read <= set(re.findall(r"^(MAILFLEET_\w+)", str(settings.__doc__), re.MULTILINE))
    assert read <= set(re.findall(r"`(MAILFLEET_\w+)`", DOCS.read_text(encoding="utf-8")))
