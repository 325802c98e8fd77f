"""The DNS's turn, against a real DNS server on loopback."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from dns_servers import hostile_dns, nsd
from health_scene import GOOD_ZONE, Scene

from mailfleet.base.errors import InputError
from mailfleet.health.dns.lookup import ResolverAddress
from mailfleet.health.domains import DnsMeans, Domains
from mailfleet.health.judging import Judging

ZONE = {
    **GOOD_ZONE,
    "MX northwind.com": ["20 mx.backup.net", "10 aspmx.l.google.com"],
    "A bare.org": ["192.0.2.3"],
}


@pytest.fixture
def outside(scene: Scene) -> Scene:
    """The first domain and its mailboxes submit to a server out in the world; its opt-out host is not looked at."""
    scene.connection.execute("UPDATE domain SET name = 'good.com' WHERE id = (SELECT min(id) FROM domain)")
    scene.connection.execute("UPDATE mailbox SET smtp_host = 'smtp.good.com' WHERE domain_id = 1")
    scene.connection.execute("UPDATE identity SET opt_out_base_url = ''")
    return scene


@pytest.fixture
def resolver() -> Iterator[ResolverAddress]:
    with nsd(ZONE) as address:
        yield address


def test_a_new_domain_waits_for_its_check_and_is_freed_by_it(outside: Scene, resolver: ResolverAddress) -> None:
    """It came in unchecked: the next turn holds it, the check of it settles, and no trial follows; meanwhile it is no
    incident. Domains of the sandbox are left alone."""
    Judging(outside.connection).take()
    assert outside.holds() == [("domain", 1, "dns")]
    assert (outside.incidents(), outside.limits()) == ([], [])
    Domains(outside.connection, DnsMeans(resolver, ())).take()
    assert outside.rows("SELECT dns_verdict FROM domain ORDER BY id") == [("warns",), ("",)]
    Judging(outside.connection).take()
    assert (outside.holds(), outside.incidents(), outside.limits()) == ([], [], [])


def test_a_domain_that_fails_is_one_incident_until_its_records_are_right(
    outside: Scene, resolver: ResolverAddress
) -> None:
    """What the check found is told once, with what to do, and closed by the first good check."""
    outside.connection.execute("UPDATE domain SET name = 'missing.com' WHERE id = 1")
    Judging(outside.connection).take()
    dns = Domains(outside.connection, DnsMeans(resolver, ()))
    dns.take()
    for _ in range(2):
        Judging(outside.connection).take()
        assert outside.incidents() == [("dns", "domain", 1, 3)]
        assert outside.limits() == []
    text = outside.one("SELECT text FROM incident")
    assert text.startswith("Domain missing.com: ") and "until a check finds the records right" in text
    outside.connection.execute(
        "UPDATE domain SET name = 'good.com', dns_tried_at = now() - interval '2 hours' WHERE id = 1"
    )
    dns.take()
    Judging(outside.connection).take()
    assert (outside.holds(), outside.incidents()) == ([], [])


def test_a_resolver_that_hangs_costs_a_turn_and_nothing_is_concluded(outside: Scene) -> None:
    """The turn ends in its time; the domain stays held, and is tried again later, after the others."""
    with hostile_dns() as server:
        outside.connection.execute("UPDATE domain SET name = 'silent.com' WHERE id = 1")
        Judging(outside.connection).take()
        means = DnsMeans(ResolverAddress("127.0.0.1", server.port), ())
        dns = Domains(outside.connection, means, turn=timedelta(seconds=0.2))
        dns.take()
        asked = server.asked.total()
        assert asked > 0
        assert outside.rows("SELECT dns_verdict, dns_tried_at IS NOT NULL FROM domain WHERE id = 1") == [("", True)]
        dns.take()
        assert server.asked.total() == asked
    assert outside.holds() == [("domain", 1, "dns")]


def test_recipients_domains_are_looked_up_and_their_letters_told_apart(scene: Scene, resolver: ResolverAddress) -> None:
    """Domains of letters that were counted get the name of who serves them, and so do those letters; what has no answer
    is asked again after a day, what has one after a month."""
    for receiver in ("northwind.com", "bare.org", "gone.net"):
        scene.write(scene.mailboxes[0], 2, receiver=receiver)
    scene.judge()
    dns = Domains(scene.connection, DnsMeans(resolver, ()))
    dns.take()
    assert scene.rows("SELECT name, provider FROM recipient_domain ORDER BY name") == [
        ("bare.org", "bare.org"),
        ("gone.net", ""),
        ("northwind.com", "google"),
    ]
    counted = scene.rows("SELECT recipient_provider, count(*) FROM counted_letter GROUP BY 1 ORDER BY 1")
    assert counted == [("", 2), ("bare.org", 2), ("google", 2)]
    age = "UPDATE recipient_domain SET looked_up_at = clock_timestamp() - %s"
    known = "SELECT count(*) FROM recipient_domain WHERE looked_up_at > clock_timestamp() - interval '1 hour'"
    for after, asked in ((timedelta(hours=23), 0), (timedelta(hours=25), 1), (timedelta(days=31), 1)):
        scene.connection.execute(age, [after])
        dns.take()
        assert scene.one(known) == asked
    scene.write(scene.mailboxes[0], 1, receiver="northwind.com")
    scene.judge()
    assert scene.one("SELECT count(*) FROM counted_letter WHERE recipient_provider = 'google'") == 3


def test_a_look_up_that_fails_leaves_what_was_known(scene: Scene) -> None:
    """A name server that is down for a day does not make a provider unknown."""
    scene.provider("servfail.com", "google")
    scene.connection.execute("UPDATE recipient_domain SET looked_up_at = clock_timestamp() - interval '40 days'")
    scene.write(scene.mailboxes[0], 1, receiver="servfail.com")
    scene.judge()
    scene.connection.execute("UPDATE counted_letter SET recipient_provider = ''")
    with hostile_dns() as server:
        Domains(scene.connection, DnsMeans(ResolverAddress("127.0.0.1", server.port), ())).take()
    assert scene.rows("SELECT provider, looked_up_at > now() - interval '1 day' FROM recipient_domain") == [
        ("google", True)
    ]


def test_a_resolver_that_is_none_is_said_at_the_start(scene: Scene) -> None:
    """The process does not begin with settings that it cannot follow."""
    with pytest.raises(InputError):
        DnsMeans.of(replace(scene.laid.settings, resolver="nowhere"))
