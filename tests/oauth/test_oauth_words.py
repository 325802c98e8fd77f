"""Files, forms and answers: what is read, sent and understood."""

import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from oauth_world import World

from mailfleet.base.errors import InputError
from mailfleet.providers.oauth.answers import (
    Answer,
    Asked,
    Issued,
    Later,
    Pending,
    Refused,
    device_verdict_on,
    verdict_on,
)
from mailfleet.providers.oauth.credentials import (
    Credential,
    Flow,
    read_certificate,
    read_secret,
    read_service_account,
)
from mailfleet.providers.oauth.endpoints import load_endpoints, read_endpoints
from mailfleet.providers.oauth.faults import GrantFaultKind
from mailfleet.providers.oauth.forms import Client, application_form, delegated_form, device_request, refresh_form
from mailfleet.providers.oauth.server import OAuthServer
from mailfleet.providers.presets import load_presets

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
TEXTS = st.text("aZ1{} \r\n\0\u00e9\U0001f600", max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
NAMES = ["access_token", "refresh_token", "expires_in", "error", "error_description", "error_codes", "device_code"]


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> str:
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode()


def certificate_of(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailfleet")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=365))
    return builder.sign(key, hashes.SHA256())


@settings(deadline=None)
@given(st.integers(100, 599), st.dictionaries(st.sampled_from(NAMES), JSON), st.sampled_from(Flow))
def test_every_answer_is_understood(status: int, fields: dict[str, object], flow: Flow) -> None:
    """Whatever a server answers is a token, a no or a later; a token is short visible ASCII; 5xx is never a no."""
    asked = Asked(flow, "client", "scope", "a@a.example")
    verdict = verdict_on(Answer(status, fields), asked)
    match verdict:
        case Issued():
            assert 200 <= status < 300 and verdict.access_token.isprintable() and " " not in verdict.access_token
            assert verdict.access_token.isascii()
            assert timedelta() <= verdict.lives_for <= timedelta(days=1)
        case Refused():
            assert status < 500 and status != 429 and isinstance(fields["error"], str)
            assert verdict.hint and "{" not in verdict.text + verdict.hint
        case Later():
            assert verdict.text
    assert isinstance(device_verdict_on(Answer(status, fields), asked), Issued | Refused | Later | Pending)


@pytest.mark.parametrize(
    ("flow", "error", "said", "kind", "scope"),
    [
        (Flow.SERVICE_ACCOUNT, "unauthorized_client", "Client is unauthorized", "delegation_missing", "ask_another"),
        (Flow.SERVICE_ACCOUNT, "invalid_grant", "Invalid email or User ID", "mailbox_unknown", "mailbox"),
        (Flow.SERVICE_ACCOUNT, "invalid_grant", "Invalid JWT Signature.", "key_refused", "account"),
        (Flow.SERVICE_ACCOUNT, "invalid_grant", "... in a reasonable timeframe", "clock", "account"),
        (Flow.SERVICE_ACCOUNT, "invalid_grant", "Invalid grant: account not found", "client_unknown", "account"),
        (Flow.CONSENT, "invalid_grant", "Token has been expired or revoked.", "consent_over", "mailbox"),
        (Flow.CONSENT, "access_denied", "", "consent_missing", "mailbox"),
        (Flow.CONSENT, "invalid_client", "", "secret_refused", "account"),
        (Flow.CLIENT_CREDENTIALS, "invalid_grant", "", "request_refused", "account"),
        (Flow.CLIENT_CREDENTIALS, "invalid_scope", "", "request_refused", "account"),
    ],
)
def test_what_a_no_means(flow: Flow, error: str, said: str, kind: str, scope: str) -> None:
    """The same error means another thing in each flow; whom it concerns is told apart."""
    answer = Answer(400, {"error": error, "error_description": said})
    verdict = verdict_on(answer, Asked(flow, "client", "scope", "a@a.example"))
    assert isinstance(verdict, Refused)
    assert (verdict.kind, verdict.scope) == (GrantFaultKind(kind), scope)


def test_life_of_a_token() -> None:
    """A life that is missing, negative, endless or a word is one that can be used."""
    for told, life in ((None, 3600), (-5, 0), (1e12, 86400), ("abc", 3600), ("1800", 1800), (float("nan"), 3600)):
        fields = {"access_token": "t", "expires_in": told}
        verdict = verdict_on(Answer(200, fields), Asked(Flow.CONSENT, "c", "s", "m"))
        assert isinstance(verdict, Issued) and verdict.lives_for == timedelta(seconds=life)


def test_service_account_file(key_file: Path) -> None:
    """Of the key file the names and the key are taken; where it says tokens come from is not believed."""
    account = read_service_account(key_file)
    assert (account.client_id, account.credential.key_name) == ("1234567890", "key-1")
    client = Client(account.client_id, "https://oauth2.googleapis.com/token", "scope", account.credential)
    claims = jwt.decode(delegated_form(client, "a@a.example", NOW)["assertion"], options={"verify_signature": False})
    assert claims["aud"] == "https://oauth2.googleapis.com/token"
    assert (claims["iat"], claims["exp"]) == (NOW.timestamp(), NOW.timestamp() + 3600)
    assert "PRIVATE" not in repr(account)
    assert Credential.unpack(account.credential.pack()) == account.credential


def test_wrong_key_files(tmp_path: Path) -> None:
    """A file that is no key file is refused with its name and what to do, and never quoted."""
    path = tmp_path / "key.json"
    good = {"type": "service_account", "client_id": "1", "client_email": "x", "private_key_id": "k"}
    contents = [
        b"\xff",
        b"{",
        b"[]",
        b'{"type": "authorized_user", "refresh_token": "hidden"}',
        json.dumps(good).encode(),
        json.dumps({**good, "private_key": "hidden"}).encode(),
        json.dumps({**good, "private_key": pem_of(ec.generate_private_key(ec.SECP256R1()))}).encode(),
    ]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"key\.json") as caught:
            read_service_account(path)
        assert "hidden" not in str(caught.value)
    with pytest.raises(InputError, match="No such file"):
        read_service_account(tmp_path / "none.json")


def test_certificate(tmp_path: Path, world: World) -> None:
    """An application's certificate: its end is known, and its proof is what Microsoft asks for."""
    key = rsa.generate_private_key(65537, 2048)
    path = tmp_path / "app.pem"
    path.write_text(pem_of(key) + certificate_of(key).public_bytes(Encoding.PEM).decode())
    certificate = read_certificate(path)
    assert certificate.expires_on == (NOW + timedelta(days=365)).date()
    client = Client("app", "https://token.example/token", "scope", certificate.credential)
    form = application_form(client, datetime.now(UTC))
    claims = jwt.decode(form["client_assertion"], key.public_key(), algorithms=["PS256"], audience=client.token_url)
    assert claims["iss"] == claims["sub"] == "app"
    assert jwt.get_unverified_header(form["client_assertion"])["x5t#S256"] == certificate.credential.key_name
    for content in ("", pem_of(key), pem_of(key, b"locked") + certificate_of(key).public_bytes(Encoding.PEM).decode()):
        path.write_text(content)
        with pytest.raises(InputError, match=r"app\.pem"):
            read_certificate(path)


def test_public_client_sends_no_secret() -> None:
    """A client without a secret names itself and nothing else."""
    client = Client("public", "https://token.example/token", "scope", Credential())
    assert refresh_form(client, "r", NOW) == {
        "grant_type": "refresh_token",
        "refresh_token": "r",
        "client_id": "public",
    }
    assert device_request(client) == {"client_id": "public", "scope": "scope"}


def test_secret_file(tmp_path: Path) -> None:
    """A secret's file holds the secret, perhaps a line end, and nothing else."""
    path = tmp_path / "secret"
    path.write_text("s3cret\n")
    assert read_secret(path) == "s3cret"
    for content in ("", "\n", "one\ntwo"):
        path.write_text(content)
        with pytest.raises(InputError, match="nothing else"):
            read_secret(path)


def test_endpoints_are_of_presets() -> None:
    """Every provider named for OAuth is a preset that logs in by XOAUTH2; every URL is https."""
    presets = load_presets()
    for name, endpoints in load_endpoints().items():
        assert "xoauth2" in presets[name].auth.value
        urls = (endpoints.token_url, endpoints.authorize_url, endpoints.device_url)
        assert all(url.startswith("https://") for url in urls if url)
    assert load_endpoints()["google_workspace"].delegated_scope == "https://mail.google.com/"
    assert not load_endpoints()["google_workspace"].device_url


def test_tenant() -> None:
    """A tenant is an id or a domain; anything that would change the URL is refused."""
    microsoft = load_endpoints()["microsoft_365"]
    assert "/contoso.example/" in microsoft.of_tenant("contoso.example").token_url
    for tenant in ("", "a/b", "a?b", "a b", "..%2f"):
        with pytest.raises(InputError):
            microsoft.of_tenant(tenant)


def test_own_endpoints(tmp_path: Path) -> None:
    """An operator's own servers: https, or this machine; unknown keys and missing ones are named."""
    path = tmp_path / "servers.toml"
    for text in ('token_url = "http://127.0.0.1:5/t"', 'token_url = "https://x.example/t"\nca_file = "ca.pem"'):
        path.write_text(text)
        assert read_endpoints(path).token_url
    assert read_endpoints(path).ca_file == str(tmp_path / "ca.pem")
    for text, said in (
        ("", "token_url"),
        ("token_url = 'http://x.example/t'", "not https"),
        ("token_url = 'https://x.example/t'\nauthorize_url = 'http://x.example/'", "not https"),
        ("token_url = 'ftp://127.0.0.1/t'", "not https"),
        ("token_uri = 'https://x.example/t'", "token_uri"),
        ("= 1", "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read_endpoints(path)


async def test_untrusted_certificate(tmp_path: Path) -> None:
    """A token server whose certificate is not trusted hears nothing of us; with its authority named it is asked."""
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/token"
    async with listener, OAuthServer() as server:
        refused = await server.ask(url, {"client_secret": "hidden"})
        assert isinstance(refused, Later) and not heard
        answered = await server.ask(url, {"client_secret": "hidden"}, ca_file=str(tmp_path / "ca.pem"))
        assert isinstance(answered, Answer) and len(heard) == 1
