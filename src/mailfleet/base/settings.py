"""What the environment says. Every variable has a `_FILE` twin that names a file holding the value.

MAILFLEET_HOME            where everything of ours is written (default: the user's data directory)
MAILFLEET_DATABASE_URL    a PostgreSQL of one's own; without it the embedded one under the home directory is used
MAILFLEET_KEYS            keys that seal credentials, newest first, one a line (default: the file `keys` in the home)
MAILFLEET_LOG_LEVEL       critical (default), error, warning, info, debug
MAILFLEET_ALLOW_INSECURE  1 lets mailboxes submit without TLS to hosts beyond this machine
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mailfleet.base.errors import SetupError


@dataclass(frozen=True, slots=True)
class Settings:
    home: Path
    database_url: str | None
    keys: str | None
    log_level: str
    allow_insecure: bool

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
    )


def default_home(environment: Mapping[str, str]) -> Path:
    """The user's data directory (XDG Base Directory Specification)."""
    data = environment.get("XDG_DATA_HOME")
    return (Path(data) if data else Path(environment.get("HOME", "~")).expanduser() / ".local/share") / "mailfleet"


def _value(environment: Mapping[str, str], name: str) -> str | None:
    if file := environment.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip() or None
        except OSError as error:
            raise SetupError(
                f"{name}_FILE names {file}, which cannot be read: {error.strerror}",
                hint=f"Mend the file's path or its permissions, or set {name} itself.",
            ) from error
    return environment.get(name) or None
