"""Where an account's OAuth servers are: preset data by provider, or a file of the operator's own."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from mailfleet.base.errors import InputError

TENANT = "{tenant}"


@dataclass(frozen=True, slots=True)
class OAuthEndpoints:
    """One provider's servers; an empty text is something it does not have. Scopes as RFC 6749 §3.3 writes them.

    `ca_file` (PEM) names the only authorities trusted for them; without it the system's are.
    """

    token_url: str
    authorize_url: str = ""
    device_url: str = ""
    delegated_scope: str = ""
    consent_scope: str = ""
    redirect_host: str = "127.0.0.1"
    login_help: str = ""
    ca_file: str = ""
    authorize_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_tenant(self) -> bool:
        return TENANT in self.token_url

    def of_tenant(self, tenant: str) -> "OAuthEndpoints":
        """The servers of one tenant. InputError for a name that cannot stand in a URL's path."""
        if self.needs_tenant and not (tenant and all(c.isalnum() or c in ".-" for c in tenant)):
            raise InputError(
                f"The tenant {tenant!r} is neither an id nor a domain.",
                hint="It is the directory (tenant) id on the application's overview page in Entra, or its domain.",
            )
        urls = ("token_url", "authorize_url", "device_url")
        return replace(self, **{name: getattr(self, name).replace(TENANT, tenant) for name in urls})


@cache
def load_endpoints() -> Mapping[str, OAuthEndpoints]:
    """What is known, by the name of the provider's preset."""
    data = tomllib.loads(files(__package__).joinpath("endpoints.toml").read_text(encoding="utf-8"))
    return MappingProxyType({preset: _of(table) for table in data.values() for preset in table["presets"]})


def read_endpoints(path: Path) -> OAuthEndpoints:
    """An operator's own servers: a TOML file with the keys of `OAuthEndpoints`. InputError says what is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    known = {own.name for own in fields(OAuthEndpoints)}
    if unknown := sorted(set(table) - known):
        raise InputError(f"{', '.join(unknown)}: not known here", where=str(path), hint=f"Known: {', '.join(known)}.")
    if not table.get("token_url"):
        raise InputError("token_url is missing", where=str(path))
    endpoints = _of(table)
    if endpoints.ca_file:
        endpoints = replace(endpoints, ca_file=str((path.parent / endpoints.ca_file).absolute()))
    for url in filter(None, (endpoints.token_url, endpoints.authorize_url, endpoints.device_url)):
        _check_url(url, where=str(path))
    return endpoints


def _of(table: Mapping[str, Any]) -> OAuthEndpoints:
    known = {own.name for own in fields(OAuthEndpoints)}
    return OAuthEndpoints(**{name: value for name, value in table.items() if name in known})


def _check_url(url: str, *, where: str) -> None:
    """RFC 6749 §3.2: TLS, for credentials go there; without it only on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme != "http" or not _is_this_machine(parts.hostname or ""):
        raise InputError(f"{url} is not https", where=where, hint="Credentials go only to https addresses.")


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
