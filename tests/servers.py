"""Real servers for tests, from Debian's postfix and sasl2-bin packages, each on a free loopback port and in a folder of
its own: `smtp_sink` (takes letters and files them) and `postfix` (logins, STARTTLS, TLS; hands letters to a sink).
"""

import os
import pwd
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
START_LIMIT = 20.0  # chosen: seconds; a cold start takes about one
NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Authority:
    """A private certificate authority; `ca_file` is what a client is to trust."""

    folder: Path
    ca: trustme.CA

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    @classmethod
    def create(cls, folder: Path) -> "Authority":
        authority = cls(folder, trustme.CA())
        authority.ca.cert_pem.write_to_path(authority.ca_file)
        return authority

    def issue(self, *names: str, expired: bool = False) -> Path:
        """A PEM file with key and chain for host names or IP addresses."""
        until = datetime.now(UTC) - timedelta(days=1) if expired else None
        certificate = self.ca.issue_cert(*names, not_after=until)
        path = self.folder / f"{'expired-' if expired else ''}{names[0]}.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def server_context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(*names, expired=expired))
        return context


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter as smtp-sink filed it: the envelope, and the text with LF line ends as it came over the wire."""

    sender: str
    recipient: str
    mail_parameters: str
    content: bytes

    @property
    def message_id(self) -> str:
        found = re.search(rb"^Message-ID:\s*(\S+)", self.content, re.IGNORECASE | re.MULTILINE)
        return found[1].decode() if found else ""


@dataclass(frozen=True, slots=True)
class Sink:
    """A running smtp-sink. Killing `process` is allowed."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def letters(self) -> list[Letter]:
        """All it acknowledged, in no order; a letter that is being taken has no end yet and is left out."""
        texts = (path.read_bytes() for path in self.folder.iterdir())
        return [_read_letter(text) for text in texts if _is_whole(text)]


@dataclass(frozen=True, slots=True)
class Home:
    """Domains whose mail a Postfix keeps itself, below `maildirs` (one an address). What comes from outside is taken at
    `port`, without TLS or login. A letter to an address that is not there is taken, and then bounced."""

    domains: tuple[str, ...]
    addresses: tuple[str, ...]
    maildirs: Path
    port: int


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix: `port` wants STARTTLS, `tls_port` TLS at once, both a login; `users` are name → password."""

    host: str
    port: int
    tls_port: int
    ca_file: str
    users: dict[str, str]
    sink: Sink
    folder: Path
    home: "Home | None" = None

    def delivered(self, count: int) -> list[Letter]:
        """The letters that came out at the other end, once there are `count` and the queue is empty."""
        wait_until(lambda: self.queue_is_empty() and len(self.sink.letters()) >= count, f"{count} letters delivered")
        return self.sink.letters()

    def queue_is_empty(self) -> bool:
        queue = self.folder / "queue"
        return not any(file.is_file() for name in _QUEUES for file in (queue / name).rglob("*"))

    @property
    def log(self) -> str:
        path = self.folder / "mail.log"
        return path.read_text(errors="replace") if path.exists() else ""


_QUEUES = ("maildrop", "incoming", "active", "deferred")


def program(name: str) -> str:
    """Where Debian's program is. Absent: the test is skipped, and fails where nothing may be skipped."""
    if found := shutil.which(name, path=SYSTEM_PATH):
        return found
    return cannot(f"{name} is not installed: apt-get install postfix sasl2-bin libsasl2-modules")


def cannot(why: str) -> str:
    if os.environ.get("CI") == "true":
        pytest.fail(f"This test may not be skipped here, and {why}")
    pytest.skip(why)


def free_port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def smtp_sink(*options: str, port: int | None = None, keep: bool = True) -> Iterator[Sink]:
    """A running smtp-sink with its own options (-f MAIL, -q DATA, -w 2 …); `keep` files every letter."""
    binary = program("smtp-sink")
    with server_folder("sink") as folder:
        port = port or free_port()
        folder.chmod(0o777)
        command = [binary, *(("-u", NOBODY) if os.geteuid() == 0 else ()), *options]
        command += ["-d", f"{folder}/letter."] if keep else []
        process = subprocess.Popen([*command, f"127.0.0.1:{port}", "256"], stderr=subprocess.PIPE)
        try:
            wait_until(lambda: listens(port) or process.poll() is not None, "smtp-sink to listen")
            assert process.poll() is None, f"smtp-sink ended: {process.stderr.read().decode()}"
            yield Sink(port, folder, process)
        finally:
            process.kill()
            process.communicate()


@contextmanager
def postfix(users: dict[str, str], *, host: str = "localhost", home: Home | None = None) -> Iterator[Postfix]:
    """A running Postfix whose certificate is for `host`. It starts as root alone."""
    binary = program("postfix")
    program("saslpasswd2")
    if os.geteuid() != 0:
        cannot("Postfix starts as root alone")
    with server_folder("postfix") as folder, smtp_sink("-p") as sink:
        server = Postfix(host, free_port(), free_port(), str(folder / "ca.pem"), users, sink, folder, home)
        _configure(server)
        start = subprocess.run([binary, "-c", str(folder / "etc"), "start"], capture_output=True, text=True)
        assert start.returncode == 0, f"Postfix did not start: {start.stderr}{server.log}"
        try:
            wait_until(lambda: listens(server.port) and listens(server.tls_port), "Postfix to listen")
            yield server
        finally:
            subprocess.run([binary, "-c", str(folder / "etc"), "stop"], capture_output=True)


def _configure(server: Postfix) -> None:
    for name in ("etc", "queue", "data", "etc/sasl"):
        (server.folder / name).mkdir()
    shutil.chown(server.folder / "data", "postfix", "postfix")
    authority = Authority.create(server.folder)
    authority.issue(server.host).rename(server.folder / "server.pem")
    main, master = _MAIN.format(server=server), _MASTER.format(server=server)
    if server.home is not None:
        boxes = "".join(f"{address} {address}/\n" for address in server.home.addresses)
        (server.folder / "etc" / "boxes").write_text(boxes)
        names = {"server": server, "domains": " ".join(server.home.domains), "user": pwd.getpwnam(NOBODY)}
        main, master = main + _HOME_MAIN.format(**names), master + _HOME_MASTER.format(**names)
    (server.folder / "etc" / "main.cf").write_text(main)
    (server.folder / "etc" / "master.cf").write_text(master)
    (server.folder / "etc" / "sasl" / "smtpd.conf").write_text(_SASL.format(server=server))
    for username, password in server.users.items():
        _add_user(server.folder / "users", username, password)


def _add_user(database: Path, username: str, password: str) -> None:
    name, _, realm = username.partition("@")
    command = [program("saslpasswd2"), "-p", "-c", "-f", str(database), "-u", realm, name]
    subprocess.run(command, input=password.encode(), check=True, capture_output=True)
    shutil.chown(database, "postfix", "postfix")


_MAIN = """
compatibility_level = 3.6
queue_directory = {server.folder}/queue
data_directory = {server.folder}/data
maillog_file = {server.folder}/mail.log
maillog_file_prefixes = {server.folder}
myhostname = {server.host}
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
default_transport = smtp:[127.0.0.1]:{server.sink.port}
local_transport = error:there is no local delivery
mynetworks =
smtpd_tls_chain_files = {server.folder}/server.pem
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {server.folder}/etc/sasl
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions =
  check_recipient_access inline:{{ {{ nobody@refused.example = 550 5.1.1 No such user }} }}, permit
smtputf8_enable = yes
"""

_MASTER = """
127.0.0.1:{server.port} inet n - n - - smtpd
127.0.0.1:{server.tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
smtp      unix - - n - - smtp
error     unix - - n - - error
anvil     unix - - n - 1 anvil
proxymap  unix - - n - - proxymap
postlog   unix-dgram n - n - 1 postlogd
"""

_HOME_MAIN = """
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {server.home.maildirs}
virtual_mailbox_maps = texthash:{server.folder}/etc/boxes
virtual_uid_maps = static:{user.pw_uid}
virtual_gid_maps = static:{user.pw_gid}
smtpd_reject_unlisted_recipient = no
"""

_HOME_MASTER = """
127.0.0.1:{server.home.port} inet n - n - - smtpd
  -o smtpd_tls_security_level=none
  -o smtpd_sasl_auth_enable=no
  -o smtpd_relay_restrictions=reject_unauth_destination
virtual   unix - n n - - virtual
"""

_SASL = """
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {server.folder}/users
mech_list: PLAIN LOGIN
"""


@contextmanager
def server_folder(name: str) -> Iterator[Path]:
    """Outside of pytest's folders, which are closed to the users that these servers run as."""
    folder = Path(tempfile.mkdtemp(prefix=f"mailfleet-{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_until(is_so, what: str) -> None:
    """Other programs give no signal; asked every 20 ms, and the test fails after START_LIMIT."""
    until = time.monotonic() + START_LIMIT
    while not is_so():
        assert time.monotonic() < until, f"waited {START_LIMIT:g} s for {what}"
        time.sleep(0.02)


def _is_whole(text: bytes) -> bool:
    return text.endswith(b"\n\n")


def _read_letter(text: bytes) -> Letter:
    """The format is described in smtp-sink(1): its own headers, three lines of Received, the text, an empty line."""
    head, _, rest = re.split(rb"^(Received: from [^\n]*\n\t[^\n]*\n\t[^\n]*\n)", text, maxsplit=1, flags=re.M)
    sender, parameters = _path(_values(head, "X-Mail-Args")[0])
    recipient, _ = _path(_values(head, "X-Rcpt-Args")[0])
    return Letter(sender, recipient, parameters, rest[:-1])


def _path(argument: str) -> tuple[str, str]:
    address, _, parameters = argument.removeprefix("<").partition(">")
    return address, parameters.strip()


def _values(head: bytes, name: str) -> list[str]:
    return [line.partition(": ")[2] for line in head.decode().splitlines() if line.startswith(f"{name}: ")]
