"""Debian's Dovecot and Postfix, which take XOAUTH2 alone, and ask a token server whose token it is (RFC 7662)."""

import os
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailfleet.model.words import Security
from mailfleet.providers.endpoint import Endpoint
from servers import NOBODY, Authority, Postfix, cannot, free_port, listens, postfix, program, server_folder, wait_until

HOST = "localhost"


@dataclass(frozen=True, slots=True)
class OAuthDovecot:
    """IMAP over TLS at `port`; Postfix asks for logins at `auth_port`."""

    folder: Path
    port: int
    auth_port: int
    ca_file: str

    @property
    def imap(self) -> Endpoint:
        return Endpoint(HOST, self.port, Security.TLS, self.ca_file)

    @property
    def log(self) -> str:
        return (self.folder / "dovecot.log").read_text()


@contextmanager
def oauth_dovecot(token_server: str) -> Iterator[OAuthDovecot]:
    """A running Dovecot that asks at the URL of a token server. It starts as root."""
    binary = program("dovecot")
    if os.geteuid() != 0:
        cannot("Dovecot starts as root alone")
    with server_folder("oauth-dovecot") as folder:
        server = OAuthDovecot(folder, free_port(), free_port(), str(folder / "ca.pem"))
        Authority.create(folder).issue(HOST).rename(folder / "server.pem")
        (folder / "mail").mkdir()
        shutil.chown(folder / "mail", NOBODY)
        (folder / "oauth2.conf").write_text(_OAUTH2.format(url=token_server))
        (folder / "dovecot.conf").write_text(_CONFIG.format(server=server, user=NOBODY))
        process = subprocess.Popen([binary, "-F", "-c", str(folder / "dovecot.conf")], stderr=subprocess.PIPE)
        try:
            ports = (server.port, server.auth_port)
            wait_until(lambda: process.poll() is not None or all(map(listens, ports)), "Dovecot to listen")
            assert process.poll() is None, f"Dovecot ended: {process.stderr.read().decode()}"
            yield server
        finally:
            process.terminate()
            process.communicate()


@contextmanager
def oauth_postfix(dovecot: OAuthDovecot) -> Iterator[Postfix]:
    """A running Postfix whose logins Dovecot judges."""
    with postfix({}) as server:
        folder = ["-c", str(server.folder / "etc")]
        settings = ("smtpd_sasl_type=dovecot", f"smtpd_sasl_path=inet:127.0.0.1:{dovecot.auth_port}")
        subprocess.run([program("postconf"), *folder, "-e", *settings], check=True)
        subprocess.run([program("postfix"), *folder, "reload"], check=True, capture_output=True)
        wait_until(lambda: "XOAUTH2" in _offered(server), "Postfix to offer XOAUTH2")
        yield server


def _offered(server: Postfix) -> str:
    context = ssl.create_default_context(cafile=server.ca_file)
    with smtplib.SMTP_SSL(server.host, server.tls_port, context=context) as client:
        client.ehlo()
        return client.esmtp_features.get("auth", "")


_OAUTH2 = """
introspection_url = {url}/introspect?token=
introspection_mode = get
username_attribute = username
active_attribute = active
active_value = true
"""

_CONFIG = """
base_dir = {server.folder}/run
log_path = {server.folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
mail_location = maildir:{server.folder}/mail/%u
mail_uid = {user}
mail_gid = nogroup
first_valid_uid = 1
first_valid_gid = 1
auth_mechanisms = xoauth2
auth_failure_delay = 0
auth_verbose = yes
ssl = required
ssl_cert = <{server.folder}/server.pem
ssl_key = <{server.folder}/server.pem
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {server.folder}/oauth2.conf
}}
userdb {{
  driver = static
  args = home={server.folder}/mail/%u
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {server.auth_port}
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {server.port}
    ssl = yes
  }}
}}
namespace inbox {{
  inbox = yes
  separator = .
}}
"""
