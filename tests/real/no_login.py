"""A real sender process that skips the login, which smtp-sink answers with 250: `python no_login.py CONNINFO`."""

from typing import Any

from mailfleet.providers.smtp import SmtpSession
from mailfleet.sending import __main__ as process

_open = SmtpSession.open


async def _open_without_login(endpoint: Any, login: Any, **options: Any) -> SmtpSession:
    return await _open(endpoint, None, **options)


if __name__ == "__main__":
    SmtpSession.open = _open_without_login  # type: ignore[method-assign,assignment]
    process.main()
