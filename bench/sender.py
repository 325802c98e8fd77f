"""A sender process for smtp-sink, which knows no login (it answers AUTH with 250): every other step as shipped."""

import sys
from typing import Any

from mailfleet.providers.smtp import SmtpSession
from mailfleet.sending.__main__ import main as send

_open = SmtpSession.open


async def _open_without_login(endpoint: Any, login: Any, **options: Any) -> SmtpSession:
    return await _open(endpoint, None, **options)


def main() -> None:
    if "--no-login" in sys.argv:
        sys.argv.remove("--no-login")
        SmtpSession.open = _open_without_login  # type: ignore[method-assign,assignment]
    send()


if __name__ == "__main__":
    main()
