"""Incidents told through real servers: once, together, within a deadline, and nothing of an address ever shown."""

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from alert_servers import hook, mail_server

from laid import settings_of
from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError
from mailfleet.base.secrets import Keyring, new_key
from mailfleet.health.alerts.messenger import _Ear, post, service_of
from mailfleet.health.alerts.notice import TEST_NOTICE
from mailfleet.health.alerts.service import UNSEALED, deliver, try_targets
from mailfleet.health.alerts.store import add_target, list_incidents, load_targets
from mailfleet.health.incidents import Incident, Severity
from mailfleet.health.scopes import Scope
from mailfleet.model.words import Family
from mailfleet.outbox.vault import Vault, open_vault

AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
FAULTS = "SELECT name, fault_text, fault_at IS NOT NULL AS stands FROM alert_target ORDER BY name"
SECRETS = ("s3cret", "hidden-path", "ann", "127.0.0.1")


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def vault(database: str, home: Path, connection: Connection) -> Vault:
    return open_vault(connection, settings_of(home, database))


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def incident(number: int, severity: Severity = Severity.SERIOUS, text: str = "") -> Incident:
    text = text or f"Domain d{number}.test: 4 blocks in 90 letters. Mailfleet holds it."
    return Incident(Family.POLICY, Scope("domain", str(number)), severity, AT, 100 * number, text)


def refusing_port() -> int:
    """One at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def faults(connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(FAULTS)]


def minute_later(connection: Connection) -> None:
    for column, table in (("fault_at", "alert_target"), ("told_at", "incident")):
        connection.execute(f"UPDATE {table} SET {column} = {column} - interval '1 minute'".encode())


def test_a_notice_reaches_a_webhook_and_a_mailbox(connection: Connection, vault: Vault, servers: ExitStack) -> None:
    """Both take the same words: what happened, and where to look; the incident counts as told."""
    web, mail = servers.enter_context(hook()), servers.enter_context(mail_server())
    add_target(connection, vault.keyring, "web", web.url)
    add_target(connection, vault.keyring, "mail", mail.url)
    one = incident(1, text="Domain d1.test: 4 blocks of <b> & co. Letters a day at stake: 90.")
    assert deliver(connection, vault, [one]) == {one.key}
    [told] = web.taken
    assert told["title"] == "Mailfleet: Domain d1.test: policy (serious)"
    assert told["message"].startswith(f"Serious, since 2026-11-24 09:00 UTC. {one.text}\n\n")
    [letter] = mail.taken
    assert letter["subject"] == told["title"]
    plain = letter.get_body(("plain",))
    assert plain is not None and one.text in plain.get_content()
    assert faults(connection) == [("mail", "", False), ("web", "", False)]


def test_several_incidents_are_one_notice(connection: Connection, vault: Vault, servers: ExitStack) -> None:
    """The gravest first; what has no room is counted, and all of them are told."""
    web = servers.enter_context(hook())
    add_target(connection, vault.keyring, "web", web.url)
    found = [incident(number, text=f"Number {number}. {'x' * 150}") for number in range(1, 41)]
    found.append(incident(0, Severity.GRAVE, "The fleet: all of it."))
    assert deliver(connection, vault, found) == {one.key for one in found}
    [told] = web.taken
    assert told["title"] == "Mailfleet: The fleet: policy (grave), and 40 more"
    assert "UTC. The fleet: all of it.\n\nSerious, since 2026-11-24 09:00 UTC. Number 40." in told["message"]
    shown = told["message"].count("Number")
    assert 10 < shown < 40 and f"And {40 - shown} more." in told["message"] and len(told["message"]) < 4096


def test_one_long_incident_is_cut(connection: Connection, vault: Vault, servers: ExitStack) -> None:
    """A text that no service would take whole is told as far as it goes."""
    web = servers.enter_context(hook())
    add_target(connection, vault.keyring, "web", web.url)
    assert deliver(connection, vault, [incident(1, text="y" * 9000)])
    assert "yyy…" in web.taken[0]["message"] and len(web.taken[0]["message"]) < 4096
    assert "yyy…" in web.taken[0]["title"] and len(web.taken[0]["title"]) < 150


@pytest.mark.parametrize("earlier", ["told", "failed"])
def test_what_comes_within_a_minute_waits_for_the_next_notice(
    earlier: str, connection: Connection, vault: Vault, servers: ExitStack
) -> None:
    """After a notice, or a try in vain, nothing is sent for a minute; then all that came goes out in one."""
    web = servers.enter_context(hook())
    add_target(connection, vault.keyring, "web", web.url)
    if earlier == "told":
        connection.execute(
            "INSERT INTO incident (family, scope_kind, scope_key, severity, text, told, told_at)"
            " VALUES ('policy', 'domain', '9', 2, 't', 2, clock_timestamp())"
        )
    else:
        connection.execute("UPDATE alert_target SET fault_text = 'x', fault_at = clock_timestamp()")
    both = [incident(1), incident(2)]
    assert deliver(connection, vault, both[:1]) == frozenset()
    assert web.taken == []
    minute_later(connection)
    assert deliver(connection, vault, both) == {one.key for one in both}
    assert len(web.taken) == 1 and faults(connection) == [("web", "", False)]


def test_nobody_to_tell_is_nothing_told(connection: Connection, vault: Vault, servers: ExitStack) -> None:
    """Without a target an incident stays untold, and goes out when there is one; no incident is no notice."""
    assert deliver(connection, vault, [incident(1)]) == frozenset()
    web = servers.enter_context(hook())
    add_target(connection, vault.keyring, "web", web.url)
    assert deliver(connection, vault, []) == frozenset() and web.taken == []
    assert deliver(connection, vault, [incident(1)])


NOBODY = "it was not reached: Connection refused"
FAILING = [
    (lambda stack: stack.enter_context(hook(status=403)).url, "it answered HTTP 403"),
    (lambda stack: f"json://ann:s3cret@127.0.0.1:{refusing_port()}/hidden-path", NOBODY),
    (lambda stack: f"mailto://127.0.0.1:{refusing_port()}?from=a@a.test&to=ann@a.test", NOBODY),
    (lambda stack: stack.enter_context(mail_server("554 5.7.1 ann is unknown")).url, "its mail server answered 554"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "fault"), FAILING, ids=["refused", "no web", "no mail", "refused mail"])
def test_a_target_that_fails_is_named_and_keeps_nobody_from_the_notice(
    url: Any, fault: str, connection: Connection, vault: Vault, servers: ExitStack, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its fault stands with a reason that holds nothing of its address, until it takes a notice; the other target took
    this one, so the incident is told; alone it would not be. Nothing is printed."""
    web = servers.enter_context(hook())
    add_target(connection, vault.keyring, "bad", url(servers))
    assert deliver(connection, vault, [incident(1)]) == frozenset()
    minute_later(connection)
    add_target(connection, vault.keyring, "web", web.url)
    assert deliver(connection, vault, [incident(1)])
    (name, text, stands), good = faults(connection)
    assert (name, stands, good) == ("bad", True, ("web", "", False))
    assert text.startswith(fault) and not any(secret in text for secret in SECRETS)
    assert capfd.readouterr() == ("", "")


def test_a_target_that_hangs_costs_a_deadline_and_no_more(
    connection: Connection, vault: Vault, servers: ExitStack
) -> None:
    """It has its fault when the deadline is over, the other target took the notice meanwhile; as long as it has not let
    go of the first notice it gets no second, and costs nothing."""
    slow, web = servers.enter_context(hook(is_shut=True)), servers.enter_context(hook())
    add_target(connection, vault.keyring, "slow", f"{slow.url}?rto=60")
    add_target(connection, vault.keyring, "web", web.url)
    began = monotonic()
    assert deliver(connection, vault, [incident(1)], deadline=timedelta(seconds=1))
    assert 1 <= monotonic() - began < 5
    assert faults(connection) == [("slow", "it did not answer in time", True), ("web", "", False)]
    minute_later(connection)
    assert deliver(connection, vault, [incident(2)], deadline=timedelta(seconds=3))
    assert (slow.requests, len(web.taken)) == (1, 2)


def test_an_address_that_no_key_opens_is_a_fault_of_its_target(
    connection: Connection, vault: Vault, servers: ExitStack
) -> None:
    """The others are told."""
    web = servers.enter_context(hook())
    add_target(connection, Keyring([new_key()]), "lost", web.url)
    add_target(connection, vault.keyring, "web", web.url)
    assert deliver(connection, vault, [incident(1)])
    assert faults(connection) == [("lost", UNSEALED, True), ("web", "", False)]
    assert try_targets(connection, load_targets(connection, vault.keyring)) == {"lost": UNSEALED, "web": ""}


def test_an_address_is_sealed(connection: Connection, vault: Vault) -> None:
    """What the database holds says nothing of it."""
    add_target(connection, vault.keyring, "web", "json://ann:s3cret@127.0.0.1/hidden-path")
    row = connection.execute("SELECT url FROM alert_target").fetchone()
    assert row is not None and b"s3cret" not in bytes(row.url)
    with pytest.raises(InputError, match="There is a target web already"):
        add_target(connection, vault.keyring, "web", "json://127.0.0.1")


SERVICES = {
    "json://127.0.0.1/x": "JSON",
    "mailtos://ann:x@a.test": "E-Mail",
    "tgram://123456789:abcdefg_hijklmnop-lead2gold/12345": "Telegram",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general": "Slack",
    "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ": "Slack",
}


@pytest.mark.parametrize("url", SERVICES)
def test_a_service_is_known_by_its_address(url: str) -> None:
    """As apprise writes it, or as the service itself shows it."""
    assert service_of(url) == SERVICES[url]


@pytest.mark.parametrize("url", ["", "json://", "s3cret", "https://example.com/s3cret", "nothing://s3cret"])
def test_an_address_of_no_service_is_refused_without_being_shown(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither in the error nor by apprise itself."""
    with pytest.raises(InputError) as refused:
        service_of(url)
    assert "s3cret" not in f"{refused.value} {refused.value.hint}"
    assert capfd.readouterr() == ("", "")


def test_what_another_thread_says_is_not_heard() -> None:
    """Of two targets that fail at one moment each has its own fault."""
    log = logging.getLogger("apprise")
    with _Ear() as ear:
        other = threading.Thread(target=log.error, args=("error=500",))
        other.start()
        other.join()
        assert ear.heard == "it did not take the notice"
        log.error("error=403")
    assert ear.heard == "it answered HTTP 403"


def test_threads_hear_only_their_own_fault(servers: ExitStack) -> None:
    """Four targets fail at once, each in its own way, and each fault is its own."""
    urls = {str(status): servers.enter_context(hook(status=status)).url for status in (400, 403, 500, 503)}
    assert post(urls, TEST_NOTICE) == {status: f"it answered HTTP {status}" for status in urls}
    assert not [ear for ear in logging.getLogger("apprise").handlers if type(ear) is _Ear]


def test_no_log_ever_holds_an_address(servers: ExitStack, tmp_path: Path) -> None:
    """With everything logged, by a process of its own: a notice taken and one refused leave no word of an address."""
    urls = [servers.enter_context(hook(status=status)).url for status in (200, 500)]
    code = (
        "import sys\n"
        "from mailfleet.base.log import configure_log\n"
        "from mailfleet.health.alerts.messenger import post, service_of\n"
        "from mailfleet.health.alerts.notice import TEST_NOTICE\n"
        "configure_log('debug', process='test')\n"
        "urls = dict(enumerate(sys.stdin.read().split()))\n"
        "assert [service_of(url) for url in urls.values()] == ['JSON', 'JSON']\n"
        "assert post(urls, TEST_NOTICE) == {0: '', 1: 'it answered HTTP 500'}\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], input="\n".join(urls), capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_no_command_waits_for_the_library() -> None:
    """It is loaded when a notice is sent or an address is read, not when a module is imported."""
    code = (
        "import sys, mailfleet.cli.alerting, mailfleet.health.alerts.service\n"
        "assert not {'apprise', 'requests', 'yaml'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_incidents_are_listed_by_what_they_are(connection: Connection) -> None:
    """Open ones, the gravest first; with those that are over behind them; a scope that is no more keeps its key."""
    connection.execute(
        "INSERT INTO incident (family, scope_kind, scope_key, severity, letters_a_day, text, opened_at, closed_at)"
        " VALUES ('rate_limit', 'sender_host', 'host-1', 1, 5, 'a', now() - interval '1 hour', NULL),"
        " ('policy', 'domain', '7', 3, 900, 'b', now(), NULL),"
        " ('bounces', 'recipient_provider', 'google', 3, 0, 'c', now(), now())"
    )
    listed = list_incidents(connection, with_closed=True)
    assert [(one.what, one.severity, one.letters_a_day) for one in listed] == [
        ("domain 7: policy", Severity.GRAVE, 900),
        ("sender host host-1: rate limit", Severity.WARNING, 5),
        ("recipient provider google: bounces", Severity.GRAVE, 0),
    ]
    assert list_incidents(connection, with_closed=False) == listed[:2]


HOLD = (
    "INSERT INTO hold (scope_kind, scope_key, family, cause_kind, cause_key, reason, set_by, lifted_at)"
    " VALUES ('campaign', %s, 'bounces', 'contact_list', '7', 'r', 'health', %s)"
)
LIMIT = (
    "INSERT INTO sending_limit (scope_kind, scope_key, window_kind, window_seconds, window_zone, maximum, source)"
    " VALUES ('campaign', %s, 'rolling', 86400, 'UTC', %s, 'half_open')"
)


def test_an_incident_whose_holds_are_over_says_what_its_trials_let_out(connection: Connection) -> None:
    """Its text is of the time when it was held; while one of its holds stands that is still so."""
    connection.execute(
        "INSERT INTO incident (family, scope_kind, scope_key, severity, text) VALUES"
        " ('bounces', 'contact_list', '7', 2, 'Held.'), ('policy', 'contact_list', '7', 2, 'Held.')"
    )
    for campaign, maximum in (("1", 5), ("2", 10)):
        connection.execute(HOLD, [campaign, AT])
        connection.execute(LIMIT, [campaign, maximum])
    texts = [one.text for one in list_incidents(connection, with_closed=False)]
    assert "Held." in texts
    assert "Held. Since then the hold has ended, and a trial lets out 15 letters a day; nothing to do." in texts
    connection.execute(HOLD, ["3", None])
    assert {one.text for one in list_incidents(connection, with_closed=False)} == {"Held."}


def test_an_incident_that_was_part_of_a_wider_one_names_it(connection: Connection) -> None:
    """Else its end reads as a recovery."""
    connection.execute(
        "INSERT INTO incident (family, scope_kind, scope_key, severity, text, closed_at, part_of_kind, part_of_key)"
        " VALUES ('policy', 'mailbox', '7', 2, 'Held.', now(), 'sender_host', 'host-1')"
    )
    [one] = list_incidents(connection, with_closed=True)
    assert one.text == "Held. It was part of what befell sender host host-1."
