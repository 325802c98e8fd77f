"""The public page over HTTP: who opts out, who does not, and what no request can do."""

import random
import socket
from contextlib import closing
from datetime import UTC, datetime
from email.utils import make_msgid
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailfleet.mail.opt_out import make_token
from opt_out.page_scene import FORM, ONE_CLICK, Letters, Page, is_open, page
from stage import wait_until

BANS = "SELECT count(*) FROM suppression"
MULTIPART = "multipart/form-data; boundary=frontier"
MULTIPART_BODY = (
    b'--frontier\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--frontier--\r\n'
)
over_http = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def it(letters: Letters, home: Path):  # type: ignore[no-untyped-def]
    with page(home, letters.laid.conninfo) as it:
        yield it


def test_one_click_opts_out_at_once(it: Page, letters: Letters) -> None:
    """RFC 8058: a POST without cookie or login is answered 200 without cookie or redirect; the address is banned with
    the letter as evidence and the POST's moment, its enrollment ends and its queued letter is cancelled; no other's. It
    is learned of the letter, at the same moment.
    """
    before = datetime.now(UTC)
    reply = it.one_click(letters.token(0))
    after = datetime.now(UTC)
    assert (reply.status, "set-cookie" in reply.headers, "location" in reply.headers) == (200, False, False)
    letters.wait_for(0)
    assert letters.suppressed() == [letters.address(0)]
    assert letters.value("SELECT reason FROM suppression") == f"opt-out of letter {letters.ids[0]}"
    assert letters.value("SELECT evidence FROM suppression") == {"letter": letters.ids[0]}
    assert before <= letters.value("SELECT created_at FROM suppression") <= after
    wait_until(lambda: letters.value("SELECT count(*) FROM event"), "what was learned")
    learned = "SELECT kind || ' ' || message_id FROM event WHERE incoming_id IS NULL AND at ="
    assert letters.value(f"{learned} (SELECT created_at FROM suppression)") == f"opt_out {letters.ids[0]}"
    assert letters.value("SELECT array_agg(id) FROM message WHERE state = 'cancelled'") == [letters.ids[0]]
    assert letters.value("SELECT count(*) FROM enrollment WHERE state = 'stopped'") == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [(ONE_CLICK, FORM["Content-Type"]), (MULTIPART_BODY, MULTIPART), (b"", ""), (b"\xff" * 300_000, "text/plain")],
    ids=["form", "multipart", "nothing", "garbage of 300 KB"],
)
def test_no_body_stands_in_the_way_of_a_no(it: Page, letters: Letters, body: bytes, kind: str) -> None:
    """Whoever POSTs our token has said no: in both encodings of RFC 8058 §3.2, and in any other."""
    reply = it.ask("POST", f"/o/{letters.token(1)}", body, Content_Type=kind)
    assert (reply.status, reply.text) == (200, "Unsubscribed.\n")
    letters.wait_for(1)


def test_looking_opts_nobody_out(it: Page, letters: Letters) -> None:
    """GET, HEAD and OPTIONS, which link scanners use, and every method that is none of ours change nothing."""
    path = f"/o/{letters.token(0)}"
    shown = it.ask("GET", path)
    assert (shown.status, shown.text.count("<form")) == (200, 1)
    head = it.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    options = it.ask("OPTIONS", path)
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, POST, OPTIONS")
    assert [it.ask(method, path, b"x").status for method in ("PUT", "DELETE", "PATCH", "TRACE", "BREW")] == [405] * 5
    assert it.one_click(letters.token(1)).status == 200
    letters.wait_for(1)  # what was asked before would be applied by now
    assert letters.suppressed() == [letters.address(1)]


def test_the_page_names_who_writes_and_masks_to_whom(it: Page, letters: Letters) -> None:
    """The identity's legal name and postal address stand on it; the recipient's address in full nowhere."""
    shown = it.ask("GET", f"/o/{letters.token(0)}").text
    local, _, domain = letters.address(0).partition("@")
    assert f"{local[0]}***@{domain}" in shown and local not in shown
    legal_name = letters.value("SELECT legal_name FROM identity")
    assert f"<strong>{legal_name}</strong>" in shown and "1 Road, Town" in shown


def test_every_answer_is_private_and_bare(it: Page, letters: Letters) -> None:
    """No answer sets a cookie, may be stored, indexed, framed or run a script, or tells others of the address."""
    path = f"/o/{letters.token(0)}"
    asked = [(method, path) for method in ("GET", "HEAD", "OPTIONS", "PUT", "POST")]
    for method, where in [*asked, ("GET", "/")]:
        headers = it.ask(method, where).headers
        assert "set-cookie" not in headers
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-robots-tag"].startswith("noindex")
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


def test_the_language_is_the_readers_and_stays_theirs(it: Page, letters: Letters) -> None:
    """Accept-Language chooses, a link overrules it, the button keeps it; the thank-you page can be read in another."""
    path = f"/o/{letters.token(0)}"
    assert '<html lang="de">' in it.ask("GET", path, Accept_Language="de-AT").text
    assert 'action="?lang=fr"' in it.ask("GET", f"{path}?lang=fr", Accept_Language="de").text
    thanks = it.ask("POST", f"{path}?lang=fr", b"", Accept_Language="de")
    assert (thanks.status, "C’est fait." in thanks.text) == (200, True)
    again = it.ask("GET", f"{path}?lang=es")
    assert "Hecho." in again.text and "<form" not in again.text


def forged(letters: Letters) -> st.SearchStrategy[str]:
    """Tokens of another key, real ones changed in a character or cut, and whatever fits in a path."""
    real = letters.token(0)
    changed = st.tuples(st.integers(0, len(real) - 1), st.sampled_from("AZaz09-_")).map(
        lambda it: real[: it[0]] + it[1] + real[it[0] + 1 :]
    )
    other_key = st.integers(0, 1 << 40).map(lambda number: make_token(b"x" * 32, number, bytes(16)))
    path = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="/"), max_size=80)
    return st.one_of(changed, other_key, st.integers(0, 52).map(lambda end: real[:end]), path).filter(
        lambda token: token.rstrip("/.,;:!)]}>'\"") != real
    )


def test_a_forgery_opts_nobody_out(it: Page, letters: Letters) -> None:
    """Forged, old and garbled tokens get a page that says how to be left alone all the same, whatever the method."""
    addresses = random.Random(1)

    @over_http
    @given(forged(letters), st.sampled_from(["GET", "POST", "HEAD"]))
    def forge(token: str, method: str) -> None:
        client = f"198.51.{addresses.randrange(256)}.{addresses.randrange(256)}"
        reply = it.ask(method, f"/o/{quote(token)}", ONE_CLICK if method == "POST" else None, X_Forwarded_For=client)
        assert reply.status in (404, 429)
        if method != "HEAD" and reply.status == 404:
            assert "unsubscribe" in reply.text and "***" not in reply.text

    forge()
    assert it.one_click(letters.token(1)).status == 200
    letters.wait_for(1)
    assert letters.value(BANS) == 1


def test_guessing_is_limited_and_a_no_never(it: Page, letters: Letters) -> None:
    """A client that guesses is soon refused, and one that looks much gets pages without names; its real opt-outs are
    taken all the same, and other clients notice nothing.
    """
    client = "203.0.113.7"
    guesses = [it.one_click(f"1{'A' * 52}", X_Forwarded_For=client) for _ in range(30)]
    assert [reply.status for reply in guesses] == [404] * 20 + [429] * 10
    assert int(guesses[-1].headers["retry-after"]) > 0
    shown = [it.ask("GET", f"/o/{letters.token(0)}", X_Forwarded_For=client).text for _ in range(40)]
    assert "***" in shown[0] and "***" not in shown[-1] and "<form" in shown[-1]
    assert "***" in it.ask("GET", f"/o/{letters.token(0)}", X_Forwarded_For="203.0.113.8").text
    assert it.ask("GET", "/o/nothing", X_Forwarded_For="203.0.113.8").status == 404
    assert it.one_click(letters.token(0), X_Forwarded_For=client).status == 200
    letters.wait_for(0)


def test_a_stranger_does_not_choose_whom_to_be(letters: Letters, home: Path) -> None:
    """X-Forwarded-For of a peer that is no proxy of ours is not believed: it is limited as itself."""
    with page(home, letters.laid.conninfo, MAILFLEET_OPT_OUT_PROXIES="10.0.0.1") as it:
        statuses = [it.ask("GET", "/o/x", X_Forwarded_For=f"198.51.100.{number}").status for number in range(25)]
    assert statuses[-1] == 429


def test_the_same_no_many_times_is_one(it: Page, letters: Letters) -> None:
    """Providers try again: the ban keeps its first moment, and nothing else happens."""
    assert it.one_click(letters.token(0)).status == 200
    letters.wait_for(0)
    first = letters.value("SELECT created_at FROM suppression")
    for _ in range(20):
        assert it.one_click(letters.token(0)).status == 200
    assert it.one_click(letters.token(1)).status == 200
    letters.wait_for(1)
    assert letters.value("SELECT min(created_at) FROM suppression") == first
    assert letters.value(BANS) == 2
    wait_until(lambda: letters.value("SELECT count(DISTINCT message_id) FROM event") == 2, "what was learned")
    assert letters.value("SELECT count(*) FROM event") == 2
    assert letters.value("SELECT min(at) FROM event") == first


def test_a_stronger_ban_keeps_its_own_reason(it: Page, letters: Letters) -> None:
    """An address that is banned already stays banned as it was, dated as it was."""
    with letters.connect() as connection:
        connection.execute(
            "INSERT INTO suppression (digest, kind, value, reason, source)"
            " SELECT digests[1], 'address', address_key, 'asked by phone', 'operator' FROM contact"
            " WHERE address_key = %s",
            [letters.address(0)],
        )
    banned_at = letters.value("SELECT created_at FROM suppression")
    assert "Done." in it.ask("GET", f"/o/{letters.token(0)}?lang=en").text
    assert it.one_click(letters.token(0)).status == it.one_click(letters.token(1)).status == 200
    letters.wait_for(1)
    assert letters.value("SELECT reason FROM suppression WHERE source = 'operator'") == "asked by phone"
    assert letters.value("SELECT min(created_at) FROM suppression") == banned_at


def send_raw(it: Page, content: bytes, *, patience: float = 15.0) -> bytes:
    """What the server answers to these octets, until it closes, or says no more."""
    with closing(socket.create_connection(("127.0.0.1", it.port), patience)) as client:
        try:
            client.sendall(content)
            return client.recv(65_536)
        except OSError:
            return b""


def test_a_body_that_never_comes_keeps_no_no_from_counting(it: Page, letters: Letters) -> None:
    """A slow or cut-off sender has said no with its first line: it is answered, and applied."""
    head = f"POST /o/{letters.token(0)} HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nList-".encode()
    assert send_raw(it, head).startswith(b"HTTP/1.1 200")
    letters.wait_for(0)


def test_slow_clients_hold_up_nobody(it: Page, letters: Letters) -> None:
    """While two hundred connections that never end their first line are still borne, an opt-out is answered."""
    slow = [socket.create_connection(("127.0.0.1", it.port)) for _ in range(200)]
    try:
        for client in slow:
            client.sendall(b"POST /o/1AAAA HTTP/1.1\r\nHost:")
        assert it.one_click(letters.token(0)).status == 200
        for client in slow:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
    finally:
        for client in slow:
            client.close()
    letters.wait_for(0)


def test_garbage_harms_nothing(it: Page, letters: Letters) -> None:
    """Broken request lines, headers, encodings and lengths are refused or ignored; the page answers on."""

    @over_http
    @given(
        st.sampled_from([b"GET", b"POST", b"G\x00T", b""]),
        st.one_of(st.just(f"/o/{letters.token(0)}x".encode()), st.binary(max_size=60)),
        st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=60)), max_size=5),
        st.binary(max_size=100),
    )
    def throw(method: bytes, path: bytes, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
        lines = [name + b": " + value for name, value in [*fields, (b"Connection", b"close")]]
        head = b"\r\n".join([b" ".join([method, path, b"HTTP/1.1"]), *lines])
        send_raw(it, head + b"\r\n\r\n" + body, patience=0.5)

    throw()
    long = send_raw(it, b"GET /o/x HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n")
    assert long.startswith(b"HTTP/1.1 431") or long == b""
    assert not it.process.poll() and is_open(it.port)
    assert it.one_click(letters.token(1)).status == 200
    letters.wait_for(1)
    assert letters.value(BANS) == 1
    assert it.stop() == ""


def test_other_words_of_ours_are_no_tokens(it: Page, letters: Letters) -> None:
    """A Message-ID, a preview's token and the bare base address know no letter."""
    for path in ("/", "/o/", "/o/preview-this-link-is-not-valid", f"/o/{quote(make_msgid(domain='a.example'))}"):
        assert it.ask("GET", path).status == 404


def test_it_answers_again_after_its_process_died(letters: Letters, home: Path) -> None:
    """A page that was killed leaves nothing that keeps the next from its home or port."""
    with page(home, letters.laid.conninfo) as first:
        first.kill()
    with page(home, letters.laid.conninfo) as second:
        wait_until(lambda: is_open(second.port), "the second page")
        assert second.one_click(letters.token(0)).status == 200
        letters.wait_for(0)
