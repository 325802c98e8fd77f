"""Languages, clients, allowances, pages: what needs no server."""

import re
import tomllib
from dataclasses import replace
from html import escape
from importlib.resources import files
from itertools import product
from string import Template
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.base.errors import InputError
from mailfleet.base.settings import read_settings
from mailfleet.mail.refusals import find_refusal
from mailfleet.panel.opt_out.app import read_question
from mailfleet.panel.opt_out.clients import UNKNOWN, Allowance, client_of, parse_proxies
from mailfleet.panel.opt_out.languages import LANGUAGES, choose_language
from mailfleet.panel.opt_out.pages import Kind, LetterFacts, masked, show
from mailfleet.panel.opt_out.service import page_options

TEXTS = tomllib.loads(files("mailfleet.panel.opt_out").joinpath("texts.toml").read_text(encoding="utf-8"))
PROXIES = parse_proxies(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])
SETTINGS = read_settings({})
EVIL = '<script>alert("1")</script>'


@pytest.mark.parametrize(
    ("named", "accepted", "language"),
    [
        ("", "de-CH,de;q=0.9,en;q=0.8", "de"),
        ("", "uk, ru;q=0.8, en;q=0.5", "ru"),
        ("", "fr;q=0.3, es;q=0.7", "es"),
        ("", "de;q=0, fr", "fr"),
        ("", "de;q=0", "en"),
        ("", "nl, *", "en"),
        ("", "FR-ca", "fr"),
        ("", "de;level=1, fr;q=0.1", "fr"),
        ("", "", "en"),
        ("ru", "de", "ru"),
        ("xx", "de", "de"),
    ],
)
def test_a_reader_gets_the_first_of_their_languages(named: str, accepted: str, language: str) -> None:
    """A link's language wins; then Accept-Language by its qualities; English for everybody else."""
    assert choose_language(named, accepted) == language


@given(st.text(max_size=200), st.text(alphabet="deru-;q=0.1,* \t", max_size=200))
def test_any_header_gives_a_language(named: str, accepted: str) -> None:
    """No header is an error."""
    assert choose_language(named, accepted) in LANGUAGES


def test_every_text_is_there_in_every_language() -> None:
    """The same keys in each; the masked address stands where it belongs, and nowhere else."""
    assert list(TEXTS) == list(LANGUAGES)
    for texts in TEXTS.values():
        assert texts.keys() == TEXTS["en"].keys()
        for key, text in texts.items():
            assert Template(text).get_identifiers() == (["recipient"] if key in ("ask_lead", "done_lead") else [])
            assert text == text.strip() != ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_word_that_the_page_advises_is_understood(language: str) -> None:
    """Who follows the page for a broken link and answers with its one word is heard as a certain no."""
    (word,) = re.findall(r"[“«„]\s?(\w+)\s?[”»“]", TEXTS[language]["unknown_note"])
    refusal = find_refusal("Re: Hello", word)
    assert refusal is not None and refusal.is_certain


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["192.0.2.66, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        ("127.0.0.1", ["192.0.2.66", "198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["nonsense"], UNKNOWN),
        ("::ffff:127.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("", [], UNKNOWN),
    ],
)
def test_only_our_proxies_say_who_asks(peer: str, forwarded: list[str], client: str) -> None:
    """X-Forwarded-For counts from the right, as far as proxies of ours vouch for it; IPv6 is counted by the /64."""
    assert client_of(peer, forwarded, PROXIES) == client


def test_a_proxy_that_is_none_is_said() -> None:
    """A word that is neither address nor network is named."""
    with pytest.raises(InputError, match=r"proxy\.example"):
        parse_proxies(["proxy.example"])


@given(st.lists(st.tuples(st.floats(0, 60), st.sampled_from("ab")), max_size=60))
def test_nobody_takes_more_than_allowed(steps: list[tuple[float, str]]) -> None:
    """In any stretch of time a client gets at most so many at once and so many a second, whatever others do."""
    allowance, now = Allowance(at_once=3, per_second=0.5), 0.0
    taken: dict[str, list[float]] = {"a": [], "b": []}
    for wait, client in steps:
        now += wait
        if allowance.take(client, now):
            taken[client].append(now)
    for moments in taken.values():
        for first, last in product(range(len(moments)), repeat=2):
            if first <= last:
                assert last - first + 1 <= 3 + 0.5 * (moments[last] - moments[first]) + 1e-6


def test_an_allowance_comes_back_and_its_memory_is_bounded() -> None:
    """Used up, it is there again after its time; of more clients than it remembers the oldest is forgotten."""
    allowance = Allowance(at_once=1, per_second=0.5, clients=2)
    assert [allowance.take("a", now) for now in (0, 1, 2, 3)] == [True, False, True, False]
    allowance.take("b", 3)
    allowance.take("c", 3)
    assert len(allowance._left) == 2
    assert allowance.take("a", 3)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("anna@example.com", "a***@example.com"),
        ("x@example.com", "***@example.com"),
        ('"a@b"@example.com', '"***@example.com'),
        ("жанна@почта.рф", "ж***@почта.рф"),
    ],
)
def test_an_address_is_masked(address: str, shown: str) -> None:
    """One letter of the local part is shown, and none when it has no other."""
    assert masked(address) == shown


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", get_args(Kind))
def test_no_page_has_a_script_or_lets_one_in(kind: Kind, language: str) -> None:
    """Every page is whole in its language; what stands in the tables is text on it, never markup."""
    facts = LetterFacts(EVIL, EVIL, f"{EVIL}@{EVIL}.example", is_suppressed=False)
    for page in (show(kind, language), show(kind, language, facts)):
        text = page.decode()
        assert "<script" not in text and "$" not in text
        assert not re.search(r"\son\w+=|\sstyle=|https?:|//", re.sub(r"(?s)<style>.*</style>", "", text))
        assert f'<html lang="{language}">' in text
        assert f"<title>{escape(TEXTS[language][f'{kind}_title'])}</title>" in text
        assert ("<form" in text) is (kind in ("ask", "later"))
        assert {f"?lang={tag}" for tag in LANGUAGES} - set(re.findall(r'href="(\?lang=\w\w)"', text)) == {
            f"?lang={language}"
        }


headers = st.lists(
    st.tuples(st.sampled_from([b"x-forwarded-for", b"accept-language", b"host", b"cookie"]), st.binary(max_size=80)),
    max_size=6,
)


@given(st.text(max_size=80), st.binary(max_size=80), headers, st.text(max_size=20))
def test_whatever_is_asked_is_read(path: str, query: bytes, fields: list[tuple[bytes, bytes]], peer: str) -> None:
    """No path, query, header or peer is an error."""
    scope = {"method": "GET", "path": path, "query_string": query, "headers": fields, "client": (peer, 1)}
    question = read_question(scope, PROXIES)
    assert "/" not in question.token and question.language in LANGUAGES


@pytest.mark.parametrize(
    ("path", "token"),
    [("/o/abc", "abc"), ("/abc", "abc"), ("/o/abc/", "abc"), ("/x/y//abc).", "abc"), ("/", ""), ("", "")],
)
def test_the_token_is_the_end_of_the_path(path: str, token: str) -> None:
    """Wherever the proxy puts us, and whatever a mail program took for a part of the link."""
    scope = {"method": "GET", "path": path, "query_string": b"", "headers": [], "client": None}
    assert read_question(scope, PROXIES).token == token


@pytest.mark.parametrize("listen", ["", "8320", ":8320", "host:", "host:x", "host:0", "host:65536", "host:²"])
def test_a_place_to_listen_that_is_none_is_said(listen: str) -> None:
    """HOST:PORT, or an InputError."""
    with pytest.raises(InputError, match="cannot listen"):
        page_options(replace(SETTINGS, opt_out_listen=listen))


def test_a_place_to_listen_may_be_ipv6() -> None:
    """The brackets of a URL are taken off."""
    options = page_options(replace(SETTINGS, opt_out_listen="[::1]:8320"))
    assert (options.host, options.port) == ("::1", 8320)
