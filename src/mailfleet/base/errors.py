"""Two families: the world failed, and we failed.

    MailfleetError
    ├── WorldError            what a person or a machine outside gave us cannot be used
    │   ├── InputError        a file, a row, an option: mend it and call again
    │   ├── SetupError        home folder, key, database, schema: mend the installation
    │   └── ProviderError     a server of a provider (see mailfleet.providers)
    └── InvariantError        a broken promise of our own code: a bug, reported and never swallowed

A message says what was tried, on what, and what happens next; `hint` says what to do. Neither ever holds a secret
or the text of a letter.
"""


class MailfleetError(Exception):
    """The root. `str()` is one sentence for a person; `hint` is the next step, or empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class WorldError(MailfleetError):
    """The world failed."""


class InputError(WorldError):
    """What a person gave cannot be used; `where` names file and line when there is one."""

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.where = where


class SetupError(WorldError):
    """The installation cannot be used as it stands."""


class ProviderError(WorldError):
    """A provider's server could not be used."""


class InvariantError(MailfleetError):
    """We failed: a promise of our own code does not hold."""
