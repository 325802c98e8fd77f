"""What the environment says. Every variable has a `_FILE` twin that names a file holding the value; of both, the
variable itself counts.

MAILFLEET_HOME             where everything of ours is written (default: the user's data directory)
MAILFLEET_DATABASE_URL     a PostgreSQL of one's own; without it the embedded one under the home directory is used
MAILFLEET_KEYS             keys that seal credentials, newest first, one a line (default: the file `keys` in the home)
MAILFLEET_LOG_LEVEL        critical (default), error, warning, info, debug
MAILFLEET_ALLOW_INSECURE   1 lets mailboxes submit without TLS to hosts beyond this machine
MAILFLEET_OPT_OUT_LISTEN   HOST:PORT of the public opt-out page (default: 127.0.0.1:8320)
MAILFLEET_OPT_OUT_PROXIES  addresses and networks whose X-Forwarded-For the page believes (default: this machine's)
MAILFLEET_RESOLVER         ADDRESS[:PORT] of the DNS server that checks ask (default: the system's)
MAILFLEET_SPAMHAUS_KEY     key of Spamhaus's Data Query Service, for the blocklist checks
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mailfleet.base.errors import SetupError

OPT_OUT_LISTEN = "127.0.0.1:8320"  # chosen: free of well-known services; the proxy on the same host reaches it
OPT_OUT_PROXIES = ("127.0.0.0/8", "::1")


@dataclass(frozen=True, slots=True)
class Settings:
    home: Path
    database_url: str | None
    keys: str | None
    log_level: str
    allow_insecure: bool
    opt_out_listen: str = OPT_OUT_LISTEN
    opt_out_proxies: tuple[str, ...] = OPT_OUT_PROXIES
    resolver: str | None = None
    spamhaus_key: str = ""

    def named_database(self) -> str:
        """What MAILFLEET_DATABASE_URL names; SetupError when it names nothing."""
        if self.database_url is None:
            raise SetupError(
                "MAILFLEET_DATABASE_URL names no database.", hint="`mailfleet up` starts this process itself."
            )
        return self.database_url


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; SetupError when a named file cannot be read."""
    environment = os.environ if environment is None else environment
    home = _value(environment, "MAILFLEET_HOME")
    return Settings(
        home=Path(home).expanduser().absolute() if home else default_home(environment),
        database_url=_value(environment, "MAILFLEET_DATABASE_URL"),
        keys=_value(environment, "MAILFLEET_KEYS"),
        log_level=_value(environment, "MAILFLEET_LOG_LEVEL") or "critical",
        allow_insecure=_value(environment, "MAILFLEET_ALLOW_INSECURE") in ("1", "true", "yes"),
        opt_out_listen=_value(environment, "MAILFLEET_OPT_OUT_LISTEN") or OPT_OUT_LISTEN,
        opt_out_proxies=tuple((_value(environment, "MAILFLEET_OPT_OUT_PROXIES") or "").split()) or OPT_OUT_PROXIES,
        resolver=_value(environment, "MAILFLEET_RESOLVER"),
        spamhaus_key=_value(environment, "MAILFLEET_SPAMHAUS_KEY") or "",
    )


def default_home(environment: Mapping[str, str]) -> Path:
    """The user's data directory (XDG Base Directory Specification)."""
    data = environment.get("XDG_DATA_HOME")
    return (Path(data) if data else Path(environment.get("HOME", "~")).expanduser() / ".local/share") / "mailfleet"


def _value(environment: Mapping[str, str], name: str) -> str | None:
    if value := environment.get(name):
        return value
    if file := environment.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip() or None
        except OSError as error:
            raise SetupError(
                f"{name}_FILE names {file}, which cannot be read: {error.strerror}",
                hint=f"Mend the file's path or its permissions, or set {name} itself.",
            ) from error
    return None
