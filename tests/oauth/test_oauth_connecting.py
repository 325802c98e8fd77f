"""`mailfleet account`: connect, check, list, against real servers of tokens and of mail."""

import asyncio
import base64
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result
from oauth_world import World
from token_server import GOOGLE_SAYS, No, TokenServer, answers

from mailfleet.base.errors import InputError, MailfleetError
from mailfleet.cli.connecting import account_command
from mailfleet.providers.oauth.faults import GrantFault, GrantFaultKind, TokenUnavailable

RUN = "from mailfleet.cli.connecting import account_command; account_command()"


class MailServer:
    """Takes SMTP logins by XOAUTH2 whose token is the token server's, for whom it was issued."""

    def __init__(self, tokens: TokenServer) -> None:
        self._tokens = tokens
        self.logins: list[str] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        listener = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        listener.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        while words := (await reader.readline()).split():
            match words[0].upper():
                case b"EHLO":
                    writer.write(b"250-mail\r\n250 AUTH XOAUTH2\r\n")
                case b"AUTH":
                    writer.write(b"235 in\r\n" if self._lets_in(words[2]) else b"535 5.7.3 unsuccessful\r\n")
                case _:
                    writer.write(b"221 bye\r\n")
        writer.close()

    def _lets_in(self, words: bytes) -> bool:
        user, bearer, *_ = base64.b64decode(words).decode().split("\x01")
        self.logins.append(user.removeprefix("user="))
        whom = self._tokens.issued.get(bearer.removeprefix("auth=Bearer "), "nobody")
        return whom in (self.logins[-1], "application client-1", "device person")


@pytest.fixture
def mail(world: World) -> Iterator[MailServer]:
    with MailServer(world.server) as mail:
        yield mail


@pytest.fixture
def laid(world: World, mail: MailServer) -> World:
    world.lay(3)
    world.connection.execute("UPDATE mailbox SET smtp_port = %s", [mail.port])
    return world


class Account:
    """Runs `mailfleet account …` in this process, or beside it."""

    def __init__(self, world: World, home: Path) -> None:
        self.environment = {
            "MAILFLEET_HOME": str(home),
            "MAILFLEET_DATABASE_URL": world.conninfo,
            "MAILFLEET_KEYS": world.key,
        }
        url = world.server.url
        self.endpoints = home / "servers.toml"
        self.endpoints.write_text(
            f'token_url = "{url}/token"\nauthorize_url = "{url}/authorize"\ndevice_url = "{url}/device"\n'
            'delegated_scope = "https://mail.google.com/"\nconsent_scope = "mail"\n'
        )

    def connect(self, *words: object, answer: str = "") -> Result:
        return self.run("connect", "tenant-1", "--yes", "--endpoints", self.endpoints, *words, answer=answer)

    def run(self, *words: object, answer: str = "") -> Result:
        return CliRunner().invoke(account_command, [str(word) for word in words], input=answer, env=self.environment)

    def start(self, *words: object) -> "subprocess.Popen[str]":
        line = ["connect", "tenant-1", "--yes", "--endpoints", self.endpoints, *words]
        return subprocess.Popen(
            [sys.executable, "-c", RUN, *map(str, line)],
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )


@pytest.fixture
def account(laid: World, home: Path) -> Account:
    return Account(laid, home)


@pytest.fixture
def secret_file(home: Path) -> Path:
    path = home / "secret"
    path.write_text("s3cret-of-client\n")
    return path


def stored(world: World) -> list[Any]:
    return world.connection.execute("SELECT * FROM oauth_grant").fetchall()


def fault_of(result: Result, kind: type[MailfleetError]) -> Any:
    assert isinstance(result.exception, kind), result.output
    return result.exception


def test_google(laid: World, account: Account, mail: MailServer, key_file: Path) -> None:
    """A service account: shows what it asks for, tries it, stores it, logs in to every mailbox with --check."""
    laid.server.known.delegated.add("a.example")
    result = account.connect("--google-service-account", key_file, "--check")
    assert result.exit_code == 0, result.output
    assert "1234567890" in result.output and "https://mail.google.com/" in result.output
    assert sorted(mail.logins) == [f"box-{n}@a.example" for n in range(3)]
    [grant] = stored(laid)
    assert (grant.flow, grant.account_id) == ("service_account", laid.account)
    assert "PRIVATE" not in str(bytes(grant.credential)) + result.output


def test_google_without_delegation(laid: World, account: Account, key_file: Path) -> None:
    """Nothing is stored before it works; what to click names the client id and the scope."""
    fault = fault_of(account.connect("--google-service-account", key_file), GrantFault)
    assert fault.kind is GrantFaultKind.DELEGATION_MISSING and GOOGLE_SAYS in str(fault)
    assert "admin.google.com" in fault.hint and "1234567890" in fault.hint
    assert stored(laid) == []


def test_microsoft(laid: World, account: Account, mail: MailServer, secret_file: Path) -> None:
    """An application: its one token logs in; the day its secret ends is kept, and a month before `list` warns."""
    laid.client()
    ends_on = datetime.now(UTC).date().isoformat()
    words = ("--microsoft-app", "--client-id", "client-1", "--secret-file", secret_file, "--secret-ends", ends_on)
    result = account.connect(*words)
    assert result.exit_code == 0, result.output
    assert mail.logins == ["box-0@a.example"]
    listed = account.run("list")
    assert listed.exit_code == 0
    assert "client credentials" in listed.output and f"ends on {ends_on}" in listed.output
    assert "s3cret" not in result.output + listed.output


def test_wrong_secret_and_lost_server(laid: World, account: Account, secret_file: Path) -> None:
    """A wrong secret says which value is wanted and never shows it; a server that is away stores nothing either."""
    laid.client(secret="another")
    words = ("--microsoft-app", "--client-id", "client-1", "--secret-file", secret_file)
    fault = fault_of(account.connect(*words), GrantFault)
    assert "not its Secret ID" in fault.hint and "s3cret" not in str(fault)
    laid.server.known.scripts = [answers(503)]
    fault_of(account.connect(*words), TokenUnavailable)
    assert stored(laid) == []


def test_token_without_mailbox_rights(laid: World, account: Account, mail: MailServer, secret_file: Path) -> None:
    """A token that the mail server does not take: stored, and what to look at is said; `check` asks anew, at once."""
    laid.client("client-2")
    result = account.connect("--microsoft-app", "--client-id", "client-2", "--secret-file", secret_file)
    assert result.exit_code == 1
    assert "535" in result.output and "account check" in result.output
    laid.connection.execute("UPDATE provider SET preset = 'microsoft_365'")
    asked = laid.server.count()
    result = account.run("check", "p/tenant-1", "--each")
    assert result.exit_code == 1 and "New-ServicePrincipal" in result.output
    assert laid.server.count() == asked + 1
    assert len(mail.logins) == 4


def test_check_ends_a_fault(laid: World, account: Account, mail: MailServer) -> None:
    """Once it is mended, a person need not wait for the fault's rest."""
    laid.connect_application()
    laid.server.known.scripts = [answers(401, No("invalid_client").fields)]
    assert account.run("check", "tenant-1").exit_code == 1
    assert "secret refused" in account.run("list").output
    assert account.run("check", "tenant-1").exit_code == 0
    assert "good" in account.run("list").output


def test_device(laid: World, account: Account, mail: MailServer) -> None:
    """A device code for one mailbox: shown, waited for, its consent stored; the others have none yet."""
    laid.client("public", secret="")

    def agree() -> None:
        while not laid.server.known.devices:
            pass
        for code in laid.server.known.devices:
            laid.server.known.devices[code] = "agreed"

    person = threading.Thread(target=agree)
    person.start()
    result = account.connect("--device", "--client-id", "public", "--mailbox", "BOX-1@a.example")
    person.join()
    assert result.exit_code == 0, result.output
    assert "WDJB-MJHT" in result.output and "device-" not in result.output
    rows = laid.connection.execute("SELECT mailbox_id FROM oauth_token WHERE refresh_token IS NOT NULL").fetchall()
    assert [row.mailbox_id for row in rows] == [laid.mailboxes[1]]


def test_browser_and_paste(laid: World, account: Account, mail: MailServer) -> None:
    """A browser on this machine comes back by itself; from another machine its address is pasted."""
    laid.client("public", secret="")
    words = ("--code", "--client-id", "public", "--mailbox", "box-0@a.example")
    process = account.start(*words)
    assert process.stdout is not None
    url = next(line.strip() for line in process.stdout if line.startswith("  http"))
    assert urllib.request.urlopen(url).status == 200
    said = process.stdout.read()
    process.stdout.close()
    assert process.wait() == 0, said
    assert mail.logins == ["box-0@a.example"]
    result = account.connect(*words, "--paste", answer="http://127.0.0.1:9/?code=x&state=y\n")
    assert "not the answer" in str(fault_of(result, InputError))


def test_consents_of_the_same_client_stay(laid: World, account: Account) -> None:
    """A new secret for the same client keeps every consent; another client ends them."""
    laid.connect_consents()
    laid.connect_application()
    assert laid.columns("SELECT count(*) AS n FROM oauth_token").n == 0
    laid.connect_consents()
    kept = laid.refresh_token(laid.mailboxes[0])
    laid.server.known.secrets.pop("client-1")
    (path := account.endpoints.with_name("new")).write_text("new-secret")
    laid.server.known.secrets["client-1"] = "new-secret"
    result = account.connect("--code", "--client-id", "client-1", "--secret-file", path)
    assert "has its consent already" in result.output
    assert laid.refresh_token(laid.mailboxes[0]) == kept


@pytest.mark.parametrize("brings", [False, True])
def test_another_client_is_tried_before_consents_are_dropped(
    laid: World, account: Account, mail: MailServer, brings: bool
) -> None:
    """How many consents to which client end is said first; they end with the first consent to the new client, not
    before, and every mailbox is asked for anew."""
    laid.connect_consents()
    before = laid.refresh_token(laid.mailboxes[0])
    issued = {"access_token": "t", "expires_in": 3600, **({"refresh_token": "new"} if brings else {})}
    laid.client("client-2", secret="")
    laid.server.known.scripts = [answers(200, issued), answers(403, No("access_denied").fields)]
    result = account.connect("--device", "--client-id", "client-2")
    fault_of(result, GrantFault if brings else InputError)
    assert "client-1; consents given to it that are dropped: 3" in result.output
    assert "As box-0@a.example" in result.output
    [grant] = stored(laid)
    if brings:
        assert (grant.client_id, laid.refresh_token(laid.mailboxes[0])) == ("client-2", "new")
        assert laid.columns("SELECT count(*) AS n FROM oauth_token").n == 1
    else:
        assert (grant.client_id, laid.refresh_token(laid.mailboxes[0])) == ("client-1", before)


def test_wrong_words(laid: World, account: Account, home: Path, key_file: Path) -> None:
    """Whatever is missing or contradicts itself is said before anything is asked or stored."""
    run, connect = account.run, account.connect
    for result, said in (
        (run("connect", "nobody", "--code"), "no account"),
        (connect(), "No way"),
        (connect("--code", "--device"), "More than one way"),
        (connect("--microsoft-app"), "--client-id"),
        (connect("--microsoft-app", "--client-id", "x"), "secret is missing"),
        (connect("--google-service-account", home / "none"), "cannot be read"),
        (connect("--device", "--client-id", "x", "--mailbox", "who@a.example"), "no mailbox"),
        (run("connect", "tenant-1", "--code", "--client-id", "x"), "No OAuth servers"),
        (run("connect", "tenant-1", "--microsoft-app", "--client-id", "x"), "tenant"),
        (run("check", "tenant-1"), "not connected"),
    ):
        assert said in str(fault_of(result, InputError))
    laid.connection.execute("UPDATE provider SET preset = 'google_workspace'")
    result = run("connect", "tenant-1", "--device", "--client-id", "x")
    assert "does not offer --device" in str(fault_of(result, InputError))
    laid.connection.execute("DELETE FROM oauth_grant")
    assert laid.server.asked == []
    result = run("connect", "tenant-1", "--google-service-account", key_file)
    assert "Nobody said yes" in str(fault_of(result, InputError))


def test_wrong_key(laid: World, account: Account) -> None:
    """With a key that does not open it, the grant is named and nothing is asked."""
    laid.connect_application()
    laid.connection.execute("UPDATE oauth_grant SET credential = %s", [b"sealed by another"])
    result = account.run("check", "tenant-1")
    assert result.exit_code == 1
    assert "No key of this home opens the credential of the account p/tenant-1" in result.output
    assert laid.server.asked == []


def test_nothing_to_try(world: World, home: Path, key_file: Path) -> None:
    """An account without mailboxes yet can be connected; the command says that nothing was tried."""
    world.lay(1)
    world.connection.execute("UPDATE mailbox SET auth = 'password'")
    result = Account(world, home).connect("--google-service-account", key_file)
    assert result.exit_code == 0, result.output
    assert "no token was asked for" in result.output
    assert len(stored(world)) == 1


def test_nobody_to_ask(world: World, home: Path) -> None:
    """Of an account without mailboxes that log in by OAuth nobody is said to have agreed."""
    world.lay(1)
    world.connection.execute("UPDATE mailbox SET auth = 'password'")
    result = Account(world, home).connect("--device", "--client-id", "public")
    assert result.exit_code == 0, result.output
    assert "consent already" not in result.output and "No mailbox of the account logs in by OAuth yet" in result.output
    assert len(stored(world)) == 1
