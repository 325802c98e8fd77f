"""A real sender process whose own code fails at one contact's letters: `python poisoned.py POINT ADDRESS CONNINFO`."""

import sys
from typing import Any

from mailfleet.providers.smtp import SmtpSession
from mailfleet.sending import __main__ as process
from mailfleet.sending import writing


def fail_in_writing(address: str) -> None:
    write = writing.write_letter

    def poisoned(row: Any, *arguments: Any, **options: Any) -> Any:
        if row.address == address:
            raise RuntimeError("poison")
        return write(row, *arguments, **options)

    writing.write_letter = poisoned


def fail_in_submitting(address: str, name: str) -> None:
    submit, original = SmtpSession.submit, getattr(SmtpSession, name)
    recipients: dict[SmtpSession, str] = {}

    async def noted(self: SmtpSession, envelope: Any, *arguments: Any, **options: Any) -> Any:
        recipients[self] = envelope.recipient
        return await submit(self, envelope, *arguments, **options)

    async def poisoned(self: SmtpSession, *arguments: Any, **options: Any) -> Any:
        if recipients[self] == address:
            raise RuntimeError("poison")
        return await original(self, *arguments, **options)

    SmtpSession.submit = noted  # type: ignore[method-assign]
    setattr(SmtpSession, name, poisoned)


if __name__ == "__main__":
    point, address = sys.argv[1:3]
    sys.argv[1:] = sys.argv[3:]
    if point == "writing":
        fail_in_writing(address)
    else:
        fail_in_submitting(address, point)
    process.main()
