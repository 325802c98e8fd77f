"""What the sandbox is asked to pretend: providers with their ports, limits and faults, and their users."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from mailfleet.base.errors import InputError
from mailfleet.providers.sandbox.dialects import DIALECTS

Face = Literal["smtp", "imap"]
Security = Literal["none", "starttls", "tls"]
LimitScope = Literal["mailbox", "account", "provider"]
Persona = Literal["reply", "refusal", "auto_reply", "bounce", "odd_bounce", "complaint", "opt_out_link", "opt_out_mail"]


@dataclass(frozen=True, slots=True)
class MessageLimit:
    """No more than `maximum` accepted messages in any `seconds`, for each scope of the kind; refused at MAIL."""

    scope: LimitScope
    maximum: int
    seconds: float

    def __post_init__(self) -> None:
        if self.scope not in get_args(LimitScope):
            raise InputError(f"scope {self.scope!r} is none of {', '.join(get_args(LimitScope))}")


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares (0 to 1) of what goes wrong; each is drawn from the seed, so a run can be repeated.

    `dead` belongs to an address, `greylist` to the pair of sender and address. All others are drawn anew for each try
    at a recipient, or over IMAP for each login (`imap_busy`, `imap_alert`) and each FETCH of a mailbox (`imap_drop`,
    `imap_slow`, which waits `slow_seconds` too), so what fails once need not fail again.
    """

    dead: float = 0.0
    greylist: float = 0.0
    greylist_seconds: float = 0.0
    defer: float = 0.0
    refuse: float = 0.0
    drop_before_data: float = 0.0
    drop_in_data: float = 0.0
    drop_before_commit: float = 0.0
    drop_after_commit: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 0.0
    imap_busy: float = 0.0
    imap_alert: float = 0.0
    imap_drop: float = 0.0
    imap_slow: float = 0.0

    def __post_init__(self) -> None:
        for share in dataclasses.fields(self):
            value = getattr(self, share.name)
            if value < 0 or (value > 1 and not share.name.endswith("_seconds")):
                raise InputError(f"fault {share.name} is {value}; it must be a share from 0 to 1, or seconds from 0")


@dataclass(frozen=True, slots=True)
class Personas:
    """What the people written to do: shares (0 to 1, in sum at most 1) of the addresses; the rest stay silent.

    reply, refusal   write back, kindly or to be left alone, under what was quoted; once
    auto_reply       are out of office; once
    bounce, odd_bounce   are dead, told by RFC 3464 or by a text of its own; each letter
    complaint        press "spam": a report by RFC 5965; once
    opt_out_link     POST to List-Unsubscribe as RFC 8058 has it; once
    opt_out_mail     write to its mailto address; once

    `second_letter` is the share of those who do it once that wait for the second letter, `junk` of what comes back that
    lands in the junk folder. `delay`: least and greatest seconds until it comes. `burning`: sender domain to the share
    of its letters complained of, whoever gets them. `opt_out_at` (http://127.0.0.1:8000) stands in for scheme and host
    of a link, for nothing here leaves loopback; a link elsewhere is not followed.
    """

    reply: float = 0.0
    refusal: float = 0.0
    auto_reply: float = 0.0
    bounce: float = 0.0
    odd_bounce: float = 0.0
    complaint: float = 0.0
    opt_out_link: float = 0.0
    opt_out_mail: float = 0.0
    second_letter: float = 0.0
    junk: float = 0.0
    delay: tuple[float, float] = (0.0, 0.0)
    burning: Mapping[str, float] = field(default_factory=dict)
    opt_out_at: str = ""

    def __post_init__(self) -> None:
        shares = [getattr(self, name) for name in get_args(Persona)]
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise InputError("the shares of the personas must lie between 0 and 1, in sum too")

    @property
    def act(self) -> bool:
        """Whether anybody does anything at all."""
        return bool(self.burning) or any(getattr(self, name) for name in get_args(Persona))


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """One pretend provider. `ports`: face, then security, then port; 0 takes any free one.

    `latency`: least and greatest seconds between the final dot and its reply. `size_limit`: octets a letter (RFC 1870).
    `keeps_sent`: it files a copy of each accepted letter itself. `imap_connections`: most at once for one mailbox.
    """

    name: str
    ports: Mapping[Face, Mapping[Security, int]]
    dialect: str = "postfix"
    max_connections: int | None = None
    max_connections_per_mailbox: int | None = None
    limits: tuple[MessageLimit, ...] = ()
    latency: tuple[float, float] = (0.0, 0.0)
    size_limit: int = 35_882_577  # what smtp.gmail.com announces
    faults: Faults = field(default_factory=Faults)
    keeps_sent: bool = False
    imap_connections: int | None = None

    def __post_init__(self) -> None:
        if self.dialect not in DIALECTS:
            raise InputError(f"provider {self.name}: dialect {self.dialect!r} is none of {', '.join(DIALECTS)}")
        for face, ports in self.ports.items():
            if face not in get_args(Face) or not set(ports) <= set(get_args(Security)):
                raise InputError(f"provider {self.name}: ports are smtp and imap, each by none, starttls and tls")


@dataclass(frozen=True, slots=True)
class User:
    """One mailbox as its provider knows it. `token` is its bearer token for XOAUTH2; empty: that is refused."""

    mailbox: str
    login: str
    password: str = field(repr=False)
    provider: str
    account: str
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """All of it. `certificate` and `private_key` (PEM files) are needed for starttls and tls ports."""

    ledger: Path
    providers: tuple[ProviderConfig, ...]
    users: tuple[User, ...]
    seed: int = 0
    certificate: Path | None = None
    private_key: Path | None = None
    personas: Personas = field(default_factory=Personas)

    def __post_init__(self) -> None:
        names = {provider.name for provider in self.providers}
        for user in self.users:
            if user.provider not in names:
                raise InputError(f"user {user.mailbox}: there is no provider {user.provider!r}")
        secure = any(security != "none" for p in self.providers for ports in p.ports.values() for security in ports)
        if secure and not (self.certificate and self.private_key):
            raise InputError("a starttls or tls port needs certificate and private_key")


def read_config(path: Path) -> SandboxConfig:
    """The configuration in the JSON file `path`; relative paths in it start at its folder. InputError: names it."""
    try:
        return _config(json.loads(path.read_text(encoding="utf-8")), path.parent)
    except InputError as error:
        raise InputError(str(error), where=str(path)) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"not a sandbox configuration: {error!r}", where=str(path)) from error


def write_config(config: SandboxConfig, path: Path) -> None:
    """Writes what `read_config` reads back as equal, paths made absolute. It holds passwords: mode 0600."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(dataclasses.asdict(config), default=_path, indent=1), encoding="utf-8")


def _path(value: object) -> str:
    if isinstance(value, Path):
        return str(value.absolute())
    raise TypeError(f"{type(value).__name__} has no place in a configuration")


def _config(data: dict[str, Any], folder: Path) -> SandboxConfig:
    files = {name: folder / data.pop(name) for name in ("certificate", "private_key") if data.get(name)}
    return SandboxConfig(
        **data
        | files
        | {
            "ledger": folder / data["ledger"],
            "providers": tuple(_provider(row) for row in data["providers"]),
            "users": tuple(User(**row) for row in data["users"]),
            "personas": _personas(data.get("personas", {})),
        }
    )


def _personas(row: dict[str, Any]) -> Personas:
    low, high = row.get("delay", (0.0, 0.0))
    return Personas(**row | {"delay": (low, high)})


def _provider(row: dict[str, Any]) -> ProviderConfig:
    low, high = row.get("latency", (0.0, 0.0))
    return ProviderConfig(
        **row
        | {
            "limits": tuple(MessageLimit(**limit) for limit in row.get("limits", ())),
            "latency": (low, high),
            "faults": Faults(**row.get("faults", {})),
        }
    )
