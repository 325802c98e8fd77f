"""Mailboxes without a password: imported, named until their account is connected, checked by its tokens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from oauth_mail import oauth_dovecot, oauth_postfix
from oauth_world import World

from cli.command_runner import Commands
from servers import Postfix

HEAD = (
    "address,provider,account,smtp_host,smtp_port,smtp_security,imap_host,imap_port,imap_security,ca_file,auth,password"
)
NOWHERE = "localhost,9,starttls,localhost,9,tls,"
UNCONNECTED = "once `mailfleet account connect p/tenant-1`"


@pytest.fixture
def commands(world: World, home: Path) -> Commands:
    world.lay(2)
    return Commands(home, world.conninfo, {"MAILFLEET_KEYS": world.key})


@pytest.fixture
def servers(world: World) -> Iterator[tuple[Postfix, int, str]]:
    """Submission, and the IMAP port with its CA file."""
    with oauth_dovecot(world.server.url) as imap, oauth_postfix(imap) as smtp:
        joint = smtp.folder / "both.pem"
        joint.write_text(Path(smtp.ca_file).read_text() + Path(imap.ca_file).read_text())
        yield smtp, imap.port, str(joint)


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([HEAD, *rows, ""]))
    return path


def row(address: str, where: str = NOWHERE, *, auth: str = "xoauth2", secret: str = "") -> str:
    return f"{address},p,tenant-1,{where},{auth},{secret}"


def test_an_empty_password_is_fine_with_oauth(commands: Commands, world: World, home: Path) -> None:
    """A row without password is taken in with xoauth2 and refused without; until the account is connected the command
    says what to do, and then no more."""
    file = write(home / "m.csv", row("new@a.example"), row("pass@a.example", auth="password"))
    done = commands.run("import", "mailboxes", file)
    assert "1 new, 0 changed, 0 unchanged, 1 refused" in done.stdout
    assert "password: is missing" in done.stdout
    assert f"p/tenant-1: 1 log in by OAuth, {UNCONNECTED}" in done.stdout
    world.connect_service_account()
    file = write(home / "m.csv", row("new@a.example"))
    done = commands.run("import", "mailboxes", file)
    assert "1 unchanged" in done.stdout
    assert UNCONNECTED not in done.stdout


def test_logins_are_checked_with_the_accounts_tokens(
    commands: Commands, world: World, home: Path, servers: tuple[Postfix, int, str]
) -> None:
    """Connected mailboxes log in by token, whatever secret they had; one that the token server refuses fails with its
    words; one that is new has no token yet, is told as not checked, and is taken in."""
    smtp, imap, ca_file = servers
    where = f"localhost,{smtp.port},starttls,localhost,{imap},tls,{ca_file}"
    world.connect_service_account()
    world.server.known.users.remove("box-1@a.example")
    file = write(
        home / "m.csv",
        row("box-0@a.example", where, secret="the-password-of-before"),
        row("box-1@a.example", where),
        row("new@a.example", where),
    )
    done = commands.run("import", "mailboxes", file, "--check", "--yes")
    assert "Logins checked: 1 work, 1 fail." in done.stdout
    assert "Invalid email or User ID" in done.stdout
    assert "Not checked: 1 that log in by OAuth" in done.stdout
    assert "Saved 1 new mailboxes, 1 changed ones." in done.stdout
    assert world.server.introspected == [("box-0@a.example", True)] * 2
