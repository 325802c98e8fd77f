"""What a row of a mailbox file is taken for, and what taking it in would change."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.base.errors import InputError
from mailfleet.intake.mailboxes import (
    SYNONYMS,
    Change,
    MailboxDefaults,
    MailboxRow,
    compare,
    map_mailbox_columns,
    read_mailbox_row,
    read_mailbox_rows,
)
from mailfleet.intake.tables import Row, RowProblem, map_columns, open_table
from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.presets import load_presets

PRESETS = load_presets()
PLAIN = {"address": "ann@acme.example", "password": "s3cret", "smtp_host": "mail.acme.example"}


def read(values: Mapping[str, str], defaults: MailboxDefaults = MailboxDefaults()) -> MailboxRow | RowProblem:  # noqa: B008
    columns = map_columns(tuple(values), SYNONYMS)
    return read_mailbox_row(Row(2, dict(values)), columns, defaults, PRESETS)


def taken(values: Mapping[str, str], defaults: MailboxDefaults = MailboxDefaults()) -> MailboxRow:  # noqa: B008
    row = read(values, defaults)
    assert isinstance(row, MailboxRow), row
    return row


def refused(values: Mapping[str, str]) -> list[str]:
    row = read(values)
    assert isinstance(row, RowProblem), row
    return [str(problem) for problem in row.problems]


def in_file(tmp_path: Path, text: str) -> list[MailboxRow | RowProblem]:
    file = tmp_path / "mailboxes.csv"
    file.write_text(text, encoding="utf-8")
    table = open_table(file)
    return list(read_mailbox_rows(table, map_mailbox_columns(table), MailboxDefaults(), PRESETS))


def warned(row: MailboxRow) -> str:
    return "\n".join(map(str, row.warnings))


EXPORTS = {
    "from_name and user_name": (
        "from_name,from_email,user_name,password,smtp_host,smtp_port,imap_host,imap_port,max_email_per_day,"
        "time_to_wait_in_mins,custom_tracking_url,bcc,signature,client_id,warmup_enabled,total_warmup_per_day\n"
        "Ann Lee,ann@acme.example,ann,s3cret,mail.acme.example,587,imap.acme.example,993,40,5,,,Bye,7,true,35\n",
        ("custom_tracking_url", "bcc", "client_id", "warmup_enabled", "total_warmup_per_day"),
    ),
    "camel case": (
        "address,firstName,lastName,smtpHost,smtpPort,smtpUsername,smtpPassword,imapHost,imapPort,imapUsername,"
        "imapPassword,signature,dailyLimit,paceSeconds\n"
        "ann@acme.example,Ann,Lee,mail.acme.example,587,ann,s3cret,imap.acme.example,993,,,Bye,40,300\n",
        (),
    ),
    "smtpTls": (
        "email,first_name,last_name,password,smtpHost,smtpPort,smtpTls,imapHost,dailyLimit,userName,signature,paceSeconds\n"
        "ann@acme.example,Ann,Lee,s3cret,mail.acme.example,587,true,imap.acme.example,40,ann,Bye,300\n",
        (),
    ),
    "words with blanks": (
        "Email;First Name;Last Name;IMAP Username;IMAP Password;IMAP Host;IMAP Port;SMTP Username;SMTP Password;"
        "SMTP Host;SMTP Port;Daily Limit;Warmup Enabled;Warmup Limit;Pace-Seconds;Signature\n"
        "ann@acme.example;Ann;Lee;;;imap.acme.example;993;ann;s3cret;mail.acme.example;587;40;TRUE;10;300;Bye\n",
        ("warmup_enabled", "warmup_limit"),
    ),
    "our own": (
        "address,display_name,signature,smtp_host,smtp_port,smtp_security,imap_host,imap_port,imap_security,login,password,"
        "auth,daily_limit,pace_seconds\n"
        "ann@acme.example,Ann Lee,Bye,mail.acme.example,587,starttls,imap.acme.example,993,tls,ann,s3cret,"
        "password,40,300\n",
        (),
    ),
}


@pytest.mark.parametrize(("text", "ignored"), EXPORTS.values(), ids=EXPORTS)
def test_every_exporters_file_is_the_same_mailbox(tmp_path: Path, text: str, ignored: tuple[str, ...]) -> None:
    """Under the column names of any common exporter the same mailbox is read, and what is ignored is named."""
    (row,) = in_file(tmp_path, text)
    ours = in_file(tmp_path, EXPORTS["our own"][0])[0]
    assert row == ours
    assert isinstance(row, MailboxRow)
    assert (row.address.normalised, row.display_name, row.login, row.signature) == (
        "ann@acme.example",
        "Ann Lee",
        "ann",
        "Bye",
    )
    assert (row.smtp_host, row.smtp_port, row.smtp_security) == ("mail.acme.example", 587, Security.STARTTLS)
    assert (row.imap_host, row.imap_port, row.imap_security) == ("imap.acme.example", 993, Security.TLS)
    assert (row.daily_limit, row.pace, row.auth) == (40, timedelta(minutes=5), AuthKind.PASSWORD)
    (tmp_path / "mailboxes.csv").write_text(text, encoding="utf-8")
    assert map_mailbox_columns(open_table(tmp_path / "mailboxes.csv")).other == ignored


def test_no_column_of_addresses(tmp_path: Path) -> None:
    """A file without addresses is refused as a whole, with the names that would do."""
    with pytest.raises(InputError, match="no column holds the addresses") as refusal:
        in_file(tmp_path, "user_name,password\nann,x\n")
    assert "from_email" in refusal.value.hint


@pytest.mark.parametrize(
    ("values", "provider", "smtp", "imap"),
    [
        ({"provider": "Google Workspace"}, "google_workspace", "smtp.gmail.com:587", "imap.gmail.com:993"),
        ({"smtp_host": "SMTP.gmail.com."}, "google_workspace", "smtp.gmail.com:587", "imap.gmail.com:993"),
        (
            {"smtp_host": "smtp.gmail.com", "smtp_port": "465"},
            "google_workspace",
            "smtp.gmail.com:465",
            "imap.gmail.com:993",
        ),
        ({"address": "ann@gmail.com"}, "gmail", "smtp.gmail.com:587", "imap.gmail.com:993"),
        ({"provider": "zoho", "imap_host": "imap.zoho.eu"}, "zoho", "smtppro.zoho.com:465", "imap.zoho.eu:993"),
        ({"smtp_host": "email-smtp.eu-west-1.amazonaws.com"}, "ses", "email-smtp.eu-west-1.amazonaws.com:587", ":None"),
        ({"provider": "acme relay", "smtp_host": "10.0.0.9"}, "acme relay", "10.0.0.9:587", ":None"),
    ],
)
def test_missing_servers_come_from_the_preset(values: dict[str, str], provider: str, smtp: str, imap: str) -> None:
    """What a row does not say of its servers is filled in from the provider it names, uses or belongs to."""
    row = taken({"address": "ann@acme.example", "password": "s3cret", **values})
    assert row.provider == provider
    assert f"{row.smtp_host}:{row.smtp_port}" == smtp
    assert f"{row.imap_host}:{row.imap_port}" == imap
    assert ("imap_host: is missing" in warned(row)) == (imap == ":None")


def test_defaults_of_the_file_fill_in() -> None:
    """Provider, account, identity and tags of the whole file hold where the row is silent, and only there."""
    defaults = MailboxDefaults(provider="zoho", account="one", identity="Acme", tags=("eu",))
    silent = {"address": "ann@acme.example", "password": "s3cret"}
    row = taken(silent, defaults)
    assert (row.provider, row.account, row.identity, row.tags) == ("zoho", "one", "Acme", ("eu",))
    row = taken(silent | {"provider": "titan", "account": "two", "identity": "B", "tags": "new; old"}, defaults)
    assert (row.provider, row.account, row.identity, row.tags) == ("titan", "two", "B", ("eu", "new", "old"))


@pytest.mark.parametrize(
    ("host", "port", "stated", "security"),
    [
        ("mail.acme.example", "465", "", Security.TLS),
        ("mail.acme.example", "587", "", Security.STARTTLS),
        ("mail.acme.example", "25", "", Security.STARTTLS),
        ("mail.acme.example", "2525", "", Security.STARTTLS),
        ("mail.acme.example", "1234", "", Security.STARTTLS),
        ("mail.acme.example", "1234", "SSL", Security.TLS),
        ("mail.acme.example", "1234", "StartTLS", Security.STARTTLS),
        ("mail.acme.example", "587", "TLS", Security.STARTTLS),
        ("mail.acme.example", "465", "true", Security.TLS),
        ("mail.acme.example", "587", "true", Security.STARTTLS),
        ("mail.acme.example", "587", "false", Security.STARTTLS),
        ("mail.acme.example", "465", "false", Security.TLS),
        ("127.0.0.1", "1234", "", Security.NONE),
        ("localhost", "1234", "none", Security.NONE),
        ("[::1]", "1234", "false", Security.NONE),
        ("127.0.0.2", "587", "false", Security.NONE),
        ("127.0.0.1", "1234", "tls", Security.TLS),
        ("127.0.0.1", "587", "tls", Security.TLS),
        ("127.0.0.1", "1234", "true", Security.STARTTLS),
    ],
)
def test_security_is_stated_or_the_ports(host: str, port: str, stated: str, security: Security) -> None:
    """The way to the server is secured as stated, else as its port stands for; only this machine goes without."""
    row = taken(PLAIN | {"smtp_host": host, "smtp_port": port, "smtp_tls": stated})
    assert row.smtp_security is security
    assert ("begins in the clear" in warned(row)) == (stated == "TLS" and port == "587")


@pytest.mark.parametrize("kind", ["smtp", "imap"])
def test_no_password_goes_out_unencrypted(kind: str) -> None:
    """A server off this machine without encryption is refused, unless that was allowed."""
    values = PLAIN | {f"{kind}_host": "192.0.2.7", f"{kind}_port": "25", f"{kind}_security": "none"}
    assert refused(values) == [f"{kind}_security: sending the password unencrypted is allowed on this machine only"]
    row = taken(values, MailboxDefaults(allow_insecure=True))
    assert getattr(row, f"{kind}_security") is Security.NONE


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"address": ""}, "address: is missing"),
        ({"address": "ann"}, "address: no e-mail address: An email address must have an @-sign."),
        ({"password": ""}, "password: is missing"),
        ({"auth": "kerberos"}, "auth: is none of password, xoauth2"),
        ({"smtp_host": ""}, "smtp_host: is missing, and nothing is known of the provider (generic) to fill it in"),
        ({"smtp_host": "mail acme"}, "smtp_host: is no host name"),
        ({"smtp_host": "smtp://mail.acme.example"}, "smtp_host: is no host name"),
        ({"smtp_port": "70000"}, "smtp_port: is no whole number from 1 to 65,535"),
        ({"smtp_port": "٥٨٧"}, "smtp_port: is no whole number from 1 to 65,535"),
        ({"smtp_security": "maybe"}, "smtp_security: is none of tls, starttls, none, true, false"),
        ({"domain": "other.example"}, "domain: is not the domain of the address"),
        ({"daily_limit": "-1"}, "daily_limit: is no whole number from 0 to 1,000,000"),
        ({"daily_limit": "many"}, "daily_limit: is no whole number from 0 to 1,000,000"),
        (
            {"display_name": "Ann\r\nBcc: all@x.example"},
            "display_name: holds a line break or another control character",
        ),
        ({"login": "ann\x00"}, "login: holds a line break or another control character"),
        ({"reply_to": "nobody"}, "reply_to: no e-mail address: An email address must have an @-sign."),
        ({"provider": "a/b"}, 'provider: is no name: up to 100 characters, not "*", no "/"'),
        ({"signature": "x" * 10_001}, "signature: is longer than 10,000 characters"),
        ({"display_name": "x" * 251}, "display_name: is longer than 250 characters"),
    ],
)
def test_each_fault_is_told_with_its_column(values: dict[str, str], reason: str) -> None:
    """A cell that cannot be used refuses the row, in plain words, once, under the name its column has."""
    assert refused(PLAIN | values) == [reason]


def test_all_faults_of_a_row_are_told_at_once() -> None:
    """A person mends a row once, not once for each fault."""
    faults = refused({"email": "x", "Password": "", "smtp_port": "x", "daily_limit": "x", "auth": "x"})
    assert [fault.partition(":")[0] for fault in faults] == [
        "email",
        "smtp_port",
        "smtp_host",
        "auth",
        "password",
        "daily_limit",
    ]


@given(
    st.lists(st.sampled_from([*SYNONYMS, "ignored"]), min_size=1, max_size=6, unique=True),
    st.sampled_from(["hunter2", "hunter2@x", "hunter2 with blanks", "hunter2\n", "hunter2" * 60]),
)
def test_no_secret_is_ever_shown(columns: list[str], secret: str) -> None:
    """Wherever a password stands, in its own column or in a shifted row, no reason, warning or repr repeats it."""
    row = read(PLAIN | dict.fromkeys(columns, secret))
    shown = repr(row.problems) if isinstance(row, RowProblem) else repr(row.warnings)
    assert "hunter2" not in shown
    assert "s3cret" not in repr(row)
    assert "hunter2" not in repr(taken(PLAIN | {"password": secret, "imap_password": secret}))


def test_a_duplicate_names_the_first(tmp_path: Path) -> None:
    """Of two rows for one address, however it is written, the second is refused; a refused first does not count."""
    rows = in_file(
        tmp_path,
        "Email,Password,SMTP Host\nann@acme.example,,h.example\nann@acme.example,x,h.example\n\n"
        "ANN@Acme.example,y,h.example\n",
    )
    assert [isinstance(row, MailboxRow) for row in rows] == [False, True, False]
    last = rows[2]
    assert isinstance(last, RowProblem)
    assert (last.line, str(last.problems[0])) == (5, "email: is the same as in line 3")


def test_one_bad_row_never_blocks_the_rest(tmp_path: Path) -> None:
    """Rows that csv cannot cut and rows that mean nothing stand between rows that are taken."""
    rows = in_file(
        tmp_path,
        'address,password,smtp_host\n"a"b,x,y\nann@acme.example,x,h.example\n,,\nb,x,h\nbob@acme.example,x,h\n',
    )
    assert [isinstance(row, MailboxRow) for row in rows] == [False, True, False, True]


@pytest.mark.parametrize(
    ("values", "limit", "warning"),
    [
        ({"daily_limit": "30"}, 30, ""),
        ({"daily_limit": "30.0"}, 30, ""),
        ({"daily_limit": "0"}, 0, ""),
        ({"daily_limit": "200"}, 50, "daily_limit: is above the hard cap: 50 a day are taken"),
        (
            {"daily_limit": "401", "address": "ann@gmail.com", "smtp_host": ""},
            50,
            "daily_limit: is above 80 % of what Gmail",
        ),
        ({"daily_limit": "400", "address": "ann@gmail.com", "smtp_host": ""}, 50, "daily_limit: is above the hard cap"),
    ],
)
def test_a_daily_limit_stays_under_the_cap(values: dict[str, str], limit: int, warning: str) -> None:
    """No file can give a mailbox more than the hard cap; above 80 % of a published limit the person is warned."""
    row = taken(PLAIN | values)
    assert row.daily_limit == limit
    assert warning in warned(row)
    assert ("80 %" in warned(row)) == ("80 %" in warning)


@pytest.mark.parametrize(
    ("values", "pace"),
    [
        ({}, None),
        ({"pace_seconds": "90"}, 90),
        ({"time_to_wait_in_mins": "5"}, 300),
        ({"pace_seconds": "10", "provider": "zoho"}, 72),
        ({"time_to_wait_in_mins": "1", "provider": "zoho"}, 72),
        ({"pace_seconds": "0"}, 1),
    ],
)
def test_pace_keeps_the_providers_floor(values: dict[str, str], pace: int | None) -> None:
    """A pace shorter than the provider allows becomes the shortest allowed, with a warning."""
    row = taken(PLAIN | values)
    assert row.pace == (timedelta(seconds=pace) if pace is not None else None)
    assert ("least gap" in warned(row)) == (pace in (72, 1))


def test_the_providers_policy_is_told() -> None:
    """A provider that forbids outreach needs an acknowledgement, one that wants consent a warning with its source."""
    forbidden = taken(PLAIN | {"provider": "smtp2go"})
    assert forbidden.needs_acknowledgement
    assert "forbids outreach" in warned(forbidden)
    consent = taken(PLAIN | {"provider": "yandex"})
    assert not consent.needs_acknowledgement
    assert "yandex.com/support" in warned(consent)
    assert "provider:" not in warned(taken(PLAIN))


def test_a_login_that_the_provider_refuses_is_warned_of() -> None:
    """A password for a provider that takes tokens only is told before the first try."""
    assert "use xoauth2" in warned(taken(PLAIN | {"provider": "microsoft_365"}))
    assert "xoauth2" not in warned(taken(PLAIN | {"provider": "microsoft_365", "auth": "OAuth2"}))


def stored(row: MailboxRow) -> dict[str, Any]:
    return {own.name: getattr(row, own.name) for own in fields(row)} | {"tags": list(reversed(row.tags))}


def test_the_same_row_again_changes_nothing() -> None:
    """A row beside what it left behind is unchanged; beside nothing it is new."""
    row = taken(PLAIN | {"tags": "b,a", "daily_limit": "20", "pace_seconds": "60", "imap_password": "other"})
    assert compare(row, stored(row)).kind == "unchanged"
    assert compare(row, None).kind == "new"
    assert compare(row, None).address == "ann@acme.example"


def test_a_changed_row_shows_its_difference_and_no_secret() -> None:
    """Each changed field is shown old and new; of a secret only that it changed."""
    row = taken(PLAIN | {"daily_limit": "20", "pace_seconds": "60", "tags": "a", "imap_password": "other"})
    existing = stored(row) | {"daily_limit": 30, "pace": None, "tags": [], "password": "0ld", "imap_password": None}
    verdict = compare(row, existing)
    assert verdict.kind == "changed"
    assert set(verdict.changes) == {
        Change("daily_limit", "30", "20"),
        Change("pace", "", "60 s"),
        Change("tags", "", "a"),
        Change("password"),
        Change("imap_password"),
    }
    shown = [str(change) for change in verdict.changes]
    assert "password changed" in shown
    assert "pace: (empty) → 60 s" in shown
    assert not any(secret in repr(verdict) for secret in ("0ld", "s3cret", "other"))


def test_what_the_file_does_not_say_is_no_difference() -> None:
    """An empty cell or a missing column leaves a mailbox's own word alone."""
    row = taken(PLAIN)
    kept = {
        "daily_limit": 12,
        "display_name": "Ann",
        "signature": "Bye",
        "tags": ["x"],
        "account": "one",
        "ca_file": "ca.pem",
    }
    assert compare(row, stored(row) | kept).kind == "unchanged"
    assert compare(replace(row, display_name="Anna"), stored(row) | kept).changes == (
        Change("display_name", "Ann", "Anna"),
    )


def test_a_refused_row_keeps_its_reasons() -> None:
    """The verdict on a row that cannot be taken carries every reason to the preview."""
    problem = read({"address": "x", "password": ""})
    assert isinstance(problem, RowProblem)
    verdict = compare(problem, None)
    assert (verdict.kind, verdict.line, verdict.reasons) == ("refused", 2, problem.problems)
