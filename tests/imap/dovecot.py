"""Debian's Dovecot on free loopback ports, in a folder of its own, with mailboxes that a test fills by hand."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from mailfleet.model.words import Security
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from servers import NOBODY, Authority, cannot, free_port, listens, program, server_folder, wait_until

HOST = "localhost"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Dovecot:
    """`users` are name → password; the ports want STARTTLS, TLS at once, and nothing."""

    folder: Path
    users: Mapping[str, str]
    ca_file: str
    ports: Mapping[Security, int]

    def endpoint(self, security: Security = Security.TLS) -> Endpoint:
        return Endpoint(HOST, self.ports[security], security, None if security is Security.NONE else self.ca_file)

    def login(self, user: str) -> Login:
        return Login(user, self.users[user])

    def deliver(self, user: str, content: bytes, folder: str = "INBOX") -> None:
        """As a delivery agent does (maildir(5)): written aside, then moved to where it is seen."""
        home = self.folder / "mail" / user
        place = home if folder == "INBOX" else home / f".{folder}"
        for name in ("cur", "new", "tmp"):
            _make(home / name)
            _make(place / name)
        name = f"{next(_numbers)}.test"
        (place / "tmp" / name).write_bytes(content)
        shutil.chown(place / "tmp" / name, NOBODY)
        (place / "tmp" / name).rename(place / "new" / name)

    def doveadm(self, *words: str) -> str:
        command = [program("doveadm"), "-c", str(self.folder / "dovecot.conf"), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def seen(self, user: str) -> int:
        """How many mails of the INBOX are marked as read."""
        return len(self.doveadm("search", "-u", user, "mailbox", "INBOX", "SEEN").splitlines())


def _make(place: Path) -> None:
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    place.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        shutil.chown(folder, NOBODY)


@contextmanager
def dovecot(users: Mapping[str, str], *, special_use: bool = True) -> Iterator[Dovecot]:
    """A running Dovecot with the folders Skräppost and Gesendet, marked as junk and sent or not. It starts as root."""
    binary = program("dovecot")
    if os.geteuid() != 0:
        cannot("Dovecot starts as root alone")
    with server_folder("dovecot") as folder:
        server = Dovecot(folder, users, str(folder / "ca.pem"), {security: free_port() for security in Security})
        _configure(server, special_use)
        process = subprocess.Popen([binary, "-F", "-c", str(folder / "dovecot.conf")], stderr=subprocess.PIPE)
        try:
            wait_until(
                lambda: process.poll() is not None or all(map(listens, server.ports.values())), "Dovecot to listen"
            )
            assert process.poll() is None, f"Dovecot ended: {process.stderr.read().decode()}"
            yield server
        finally:
            process.terminate()
            process.communicate()


def _configure(server: Dovecot, special_use: bool) -> None:
    Authority.create(server.folder).issue(HOST).rename(server.folder / "server.pem")
    lines = [f"{name}:{{PLAIN}}{password}\n" for name, password in server.users.items()]
    (server.folder / "users").write_text("".join(lines))
    _make(server.folder / "mail")
    shutil.chown(server.folder / "mail", NOBODY)
    marks = (r"special_use = \Junk", r"special_use = \Sent") if special_use else ("", "")
    names = {security.name.lower(): port for security, port in server.ports.items()}
    (server.folder / "dovecot.conf").write_text(
        _CONFIG.format(folder=server.folder, user=NOBODY, junk=marks[0], sent=marks[1], **names)
    )


_CONFIG = """
base_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
mail_location = maildir:{folder}/mail/%u
mail_uid = {user}
mail_gid = nogroup
first_valid_uid = 1
first_valid_gid = 1
disable_plaintext_auth = no
auth_mechanisms = plain
ssl = yes
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.pem
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = home={folder}/mail/%u
}}
service imap-login {{
  service_count = 0
  client_limit = 2000
  process_min_avail = 1
  inet_listener imap {{
    port = {starttls}
  }}
  inet_listener imaps {{
    port = {tls}
    ssl = yes
  }}
  inet_listener plain {{
    port = {none}
  }}
}}
service imap {{
  process_limit = 1024
}}
service anvil {{
  client_limit = 3000
}}
namespace inbox {{
  inbox = yes
  separator = .
  mailbox Skräppost {{
    auto = create
    {junk}
  }}
  mailbox Gesendet {{
    auto = create
    {sent}
  }}
}}
"""
