"""The IMAP face, by the library that the product reads with."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from mailfleet.providers.sandbox import Sandbox

from .conftest import USERS, Certificate, OpenSandbox


async def _with_client(
    sandbox: Sandbox, work: Callable[[IMAPClient], Any], security: str = "none", trust: ssl.SSLContext | None = None
) -> Any:
    port = sandbox.ports["alpha"]["imap"][security]  # type: ignore[index]

    def run() -> Any:
        client = IMAPClient("127.0.0.1", port, ssl=security == "tls", ssl_context=trust if security == "tls" else None)
        try:
            if security == "starttls":
                client.starttls(trust)
            return work(client)
        finally:
            client.logout()

    return await asyncio.to_thread(run)


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
async def test_a_login_check_passes_over_every_transport(
    open_sandbox: OpenSandbox, certificate: Certificate, security: str
) -> None:
    """LOGIN, NOOP, LIST with SPECIAL-USE, STATUS and SELECT work over plain, STARTTLS and implicit TLS."""

    def check(client: IMAPClient) -> None:
        client.login(USERS[1].login, USERS[1].password)
        assert client.noop()
        assert client.find_special_folder(b"\\Sent") == "Sent"
        assert [name for _, _, name in client.list_folders()] == ["INBOX", "Junk", "Sent"]
        assert client.folder_status("INBOX", ["MESSAGES", "UIDNEXT"]) == {b"MESSAGES": 1, b"UIDNEXT": 2}
        chosen = client.select_folder("inbox", readonly=True)
        assert (chosen[b"EXISTS"], chosen[b"UIDNEXT"], chosen[b"UIDVALIDITY"]) == (1, 2, 1)
        assert client.select_folder("Sent")[b"EXISTS"] == 0
        client.close_folder()

    async with open_sandbox() as sandbox:
        sandbox.providers["alpha"].mailboxes.deliver("bob@a.test", b"Subject: x\r\n\r\n")
        await _with_client(sandbox, check, security, certificate.trust)
        assert [(login.face, login.mailbox, login.ok) for login in sandbox.read().logins] == [
            ("imap", "bob@a.test", True)
        ]


@pytest.mark.parametrize(
    ("name", "arguments", "ok"),
    [
        ("login", ("ann@a.test", "secret-ann"), True),
        ("login", ("ann@a.test", 'no "quote\\s'), False),
        ("plain_login", ("ann@a.test", "secret-ann"), True),
        ("plain_login", ("ann@a.test", "wrong"), False),
        ("oauth2_login", ("ann@a.test", "token-ann"), True),
        ("oauth2_login", ("ann@a.test", "stale"), False),
    ],
)
async def test_only_the_right_secret_logs_in(
    open_sandbox: OpenSandbox, name: str, arguments: tuple[str, str], ok: bool
) -> None:
    """LOGIN, PLAIN and XOAUTH2 pass with the right secret, fail with another, and both are recorded."""

    def check(client: IMAPClient) -> None:
        if ok:
            getattr(client, name)(*arguments)
        else:
            with pytest.raises(LoginError):
                getattr(client, name)(*arguments)

    async with open_sandbox() as sandbox:
        await _with_client(sandbox, check)
        assert [login.ok for login in sandbox.read().logins] == [ok]


async def test_literals_and_initial_responses_are_understood(open_sandbox: OpenSandbox) -> None:
    """A password sent as a literal is read by its length, with and without waiting for leave."""
    async with open_sandbox() as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.ports["alpha"]["imap"]["none"])
        await reader.readline()
        writer.write(b"a LOGIN u2 {5}\r\n")
        assert (await reader.readline()).startswith(b"+ ")
        writer.write(b"wrong\r\nb LOGIN {2+}\r\nu2 {10+}\r\nsecret-bob\r\nc STATUS Nowhere (MESSAGES)\r\n")
        assert (await reader.readline()).startswith(b"a NO")
        assert (await reader.readline()).startswith(b"b OK")
        assert (await reader.readline()).startswith(b"c NO")
        writer.close()


async def test_nothing_is_shown_before_login(open_sandbox: OpenSandbox) -> None:
    """Commands out of their state are refused, and a STARTTLS port takes no LOGIN in the clear."""
    async with open_sandbox() as sandbox:
        for security, line, answer in (
            ("none", b"a SELECT INBOX\r\n", b"a BAD"),
            ("none", b"a FETCH 1 FLAGS\r\n", b"a BAD"),
            ("none", b"\r\n", b"* BAD"),
            ("starttls", b"a LOGIN u2 secret-bob\r\n", b"a NO [PRIVACYREQUIRED]"),
        ):
            port = sandbox.ports["alpha"]["imap"][security]  # type: ignore[index]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.readline()
            writer.write(line)
            assert (await reader.readline()).startswith(answer)
            writer.close()
