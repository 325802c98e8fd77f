"""The SMTP face, spoken to by raw lines and by the library that the product sends with."""

import asyncio
import time
from base64 import b64encode

import aiosmtplib
import pytest

from mailfleet.providers.sandbox import MessageLimit, Sandbox

from .conftest import LETTER, USERS, Certificate, OpenSandbox, talk

PIPELINE = b"MAIL FROM:<ann@a.test>\r\nRCPT TO:<zed@z.test>\r\nDATA\r\n"


async def test_a_letter_is_recorded_with_all_that_the_judge_needs(open_sandbox: OpenSandbox) -> None:
    """An accepted letter is one record that says who sent what to whom, when, and what was answered."""
    before = time.time()
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        assert await client.send() == (250, "2.0.0 OK: queued")
        (record,) = sandbox.read().transactions
    assert before <= record.mail_at <= record.end_at <= time.time()
    assert (record.provider, record.account, record.mailbox, record.ehlo) == (
        "alpha",
        "alpha-1",
        "ann@a.test",
        "host-1",
    )
    assert (record.mail_from, record.rcpt, record.stage) == ("ann@a.test", "zed@z.test", "dot")
    assert (record.code, record.text, record.accepted, record.dropped) == (250, "2.0.0 OK: queued", True, "")
    assert (record.message_id, record.in_reply_to, record.subject) == ("<1@a.test>", "<0@a.test>", "Hello there")
    assert (record.header_from, record.header_to) == ("Ann <ann@a.test>", "Zed <zed@z.test>")
    assert record.list_unsubscribe
    assert record.size == len(LETTER) - 1  # one stuffed dot taken out


async def test_pipelined_commands_are_answered_in_order(open_sandbox: OpenSandbox) -> None:
    """MAIL, RCPT and DATA sent at once get three replies in order; the next transaction may follow the dot."""
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        client.writer.write(PIPELINE)
        assert [(await client.reply())[0] for _ in range(3)] == [250, 250, 354]
        client.writer.write(LETTER + b".\r\n" + PIPELINE)
        assert [(await client.reply())[0] for _ in range(4)] == [250, 250, 250, 354]


async def test_a_refused_recipient_keeps_pipelined_data_out(open_sandbox: OpenSandbox) -> None:
    """When RCPT is refused, a DATA pipelined behind it is refused too, and the transaction is one record."""
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        client.writer.write(PIPELINE.replace(b"zed", "żed".encode()))
        assert [(await client.reply())[0] for _ in range(3)] == [250, 553, 503]
        (record,) = sandbox.read().transactions
        assert (record.stage, record.code, record.accepted) == ("rcpt", 553, False)


async def test_content_ends_at_nothing_but_crlf_dot_crlf(open_sandbox: OpenSandbox) -> None:
    """A bare line feed ends no content (SMTP smuggling); the true end is found however the octets are cut."""
    content = b"Message-ID: <2@a.test>\r\n\r\nx\n.\nMAIL FROM:<x@x.test>\r\n.\n.\r\n"
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        client.writer.write(PIPELINE)
        assert [(await client.reply())[0] for _ in range(3)] == [250, 250, 354]
        for octet in content + b"\r\n.\r\n":
            client.writer.write(bytes([octet]))
            await client.writer.drain()
        assert (await client.reply())[0] == 250
        (record,) = sandbox.read().transactions
        assert record.size == len(content) + 2 - 1


async def test_an_empty_letter_ends_with_its_dot(open_sandbox: OpenSandbox) -> None:
    """A dot right after 354 ends a letter of no octets."""
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        assert (await client.send(letter=b""))[0] == 250
        assert sandbox.read().transactions[0].size == 0


@pytest.mark.parametrize("octets", [1001, 30_000])
async def test_size_is_enforced_on_what_came(open_sandbox: OpenSandbox, octets: int) -> None:
    """A letter over SIZE is refused after its dot, by its true size, whatever was declared; the next one passes."""
    async with open_sandbox(size_limit=1000) as sandbox, talk(sandbox) as client:
        assert await client.say(b"MAIL FROM:<ann@a.test> SIZE=1001") == (552, "5.3.4 Message size exceeds the limit")
        assert (await client.send(letter=b"x" * (octets - 2) + b"\r\n"))[0] == 552
        assert (await client.send(letter=b"x" * 998 + b"\r\n"))[0] == 250
        assert [record.accepted for record in sandbox.read().transactions] == [False, False, True]


async def test_a_letter_far_over_size_is_not_kept(open_sandbox: OpenSandbox) -> None:
    """What is shed of a letter that goes on and on still counts against it when its short end comes."""
    async with open_sandbox(size_limit=1000) as sandbox, talk(sandbox) as client:
        client.writer.write(PIPELINE)
        assert [(await client.reply())[0] for _ in range(3)] == [250, 250, 354]
        client.writer.write(b"x" * 20_000)
        await client.writer.drain()
        async with talk(sandbox):  # one more round trip, so that it has been read
            pass
        assert (await client.say(b"\r\n."))[0] == 552


async def test_nobody_sends_without_login(open_sandbox: OpenSandbox) -> None:
    """MAIL before AUTH is refused with 530 and leaves no transaction."""
    async with open_sandbox() as sandbox, talk(sandbox, user=None) as client:
        assert (await client.send())[0] == 530
        assert not sandbox.read().transactions


async def test_every_login_is_recorded_and_only_the_right_one_passes(open_sandbox: OpenSandbox) -> None:
    """LOGIN proves by login name and password; a wrong password and an unknown login get the dialect's 535."""
    async with open_sandbox(dialect="google") as sandbox, talk(sandbox, user=None) as client:
        for login, password, code in (
            (b"u2", b"wrong", 535),
            (b"nobody", b"secret-bob", 535),
            (b"u2", b"secret-bob", 235),
        ):
            assert (await client.say(b"AUTH LOGIN"))[0] == 334
            assert (await client.say(b64encode(login)))[0] == 334
            got, text = await client.say(b64encode(password))
            assert got == code
            assert ("BadCredentials" in text) == (code == 535)
        assert [(login.face, login.login, login.mailbox, login.ok) for login in sandbox.read().logins] == [
            ("smtp", "u2", "bob@a.test", False),
            ("smtp", "nobody", "", False),
            ("smtp", "u2", "bob@a.test", True),
        ]


@pytest.mark.parametrize(("token", "code"), [(b"token-ann", 235), (b"stale", 535), (b"", 535)])
async def test_xoauth2_proves_by_token(open_sandbox: OpenSandbox, token: bytes, code: int) -> None:
    """A bad token gets the error challenge first and 535 after the client's empty answer, as at Google."""
    async with open_sandbox() as sandbox, talk(sandbox, user=None) as client:
        claim = b64encode(b"user=ann@a.test\1auth=Bearer " + token + b"\1\1")
        got, _ = await client.say(b"AUTH XOAUTH2 " + claim)
        if got == 334:
            got, _ = await client.say(b"")
        assert got == code


async def test_an_unknown_login_is_not_proved_by_nothing(open_sandbox: OpenSandbox) -> None:
    """An empty password for a login that nobody has is recorded as a failure."""
    async with open_sandbox() as sandbox, talk(sandbox, user=None) as client:
        assert (await client.say(b"AUTH PLAIN " + b64encode(b"\0nobody\0")))[0] == 535
        assert [login.ok for login in sandbox.read().logins] == [False]


async def test_a_user_without_token_is_not_proved_by_an_empty_one(open_sandbox: OpenSandbox) -> None:
    """XOAUTH2 with an empty bearer never matches a user who has no token."""
    async with open_sandbox() as sandbox, talk(sandbox, user=None) as client:
        assert (await client.say(b"AUTH XOAUTH2 " + b64encode(b"user=u2\1auth=Bearer \1\1")))[0] == 334


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_tls_by_either_road(open_sandbox: OpenSandbox, certificate: Certificate, security: str) -> None:
    """The product's own SMTP library logs in and sends over required STARTTLS and over implicit TLS."""
    async with open_sandbox() as sandbox:
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=sandbox.ports["alpha"]["smtp"][security],  # type: ignore[index]
            use_tls=security == "tls",
            start_tls=security == "starttls",
            tls_context=certificate.trust,
        )
        async with client:
            await client.login(USERS[0].login, USERS[0].password)
            await client.sendmail("ann@a.test", ["zed@z.test"], LETTER)
        assert [record.accepted for record in sandbox.read().transactions] == [True]


async def test_a_starttls_port_takes_no_password_in_the_clear(open_sandbox: OpenSandbox) -> None:
    """Before STARTTLS no AUTH is offered or taken."""
    async with open_sandbox() as sandbox:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=sandbox.ports["alpha"]["smtp"]["starttls"], start_tls=False)
        async with client:
            await client.ehlo()
            assert not client.supports_extension("auth")
            reply = await client.execute_command(b"AUTH", b"PLAIN", b64encode(b"\0u2\0secret-bob"))
            assert reply.code == 530
        assert not sandbox.read().logins


async def test_what_is_pipelined_behind_starttls_is_thrown_away(
    open_sandbox: OpenSandbox, certificate: Certificate
) -> None:
    """A command injected in the clear behind STARTTLS is never answered inside TLS (CVE-2011-0411)."""
    async with open_sandbox() as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.ports["alpha"]["smtp"]["starttls"])
        await reader.readline()
        writer.write(b"STARTTLS\r\nNOOP\r\nNOOP\r\n")
        assert (await reader.readline()).startswith(b"220")
        await writer.start_tls(certificate.trust, server_hostname="127.0.0.1")
        writer.write(b"VRFY x\r\n")
        assert (await reader.readline()).startswith(b"252")
        writer.close()


async def test_a_failed_handshake_leaves_no_connection_behind(open_sandbox: OpenSandbox) -> None:
    """A client that goes away in the handshake neither hangs the sandbox's end nor keeps a place."""
    async with open_sandbox(max_connections=1) as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.ports["alpha"]["smtp"]["starttls"])
        await reader.readline()
        writer.write(b"STARTTLS\r\n")
        await reader.readline()
        writer.write(b"this is not TLS\r\n")
        await reader.read()
        writer.close()
        async with talk(sandbox) as client:
            assert (await client.send())[0] == 250


async def test_a_stop_does_not_wait_for_a_handshake(open_sandbox: OpenSandbox) -> None:
    """The sandbox ends though a client has said STARTTLS and never a word of TLS."""
    async with asyncio.timeout(5), open_sandbox() as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.ports["alpha"]["smtp"]["starttls"])
        await reader.readline()
        writer.write(b"STARTTLS\r\n")
        await reader.readline()
    writer.close()


async def test_one_recipient_a_transaction(open_sandbox: OpenSandbox) -> None:
    """A second RCPT is put off with 452, and the letter goes to the first."""
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        await client.say(b"MAIL FROM:<ann@a.test>")
        await client.say(b"RCPT TO:<zed@z.test>")
        assert (await client.say(b"RCPT TO:<yan@z.test>"))[0] == 452
        await client.say(b"DATA")
        assert (await client.say(LETTER + b"."))[0] == 250
        assert [record.rcpt for record in sandbox.read().transactions] == ["zed@z.test"]


@pytest.mark.parametrize("end", [b"RSET", b"QUIT", b"EHLO again"])
async def test_a_transaction_given_up_is_still_a_record(open_sandbox: OpenSandbox, end: bytes) -> None:
    """What reached MAIL is in the ledger, even if the client thinks better of it."""
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        await client.say(b"MAIL FROM:<ann@a.test>")
        await client.say(end)
        (record,) = sandbox.read().transactions
        assert (record.stage, record.code, record.accepted, record.dropped) == ("mail", 0, False, "")


async def test_smtputf8_carries_addresses_beyond_ascii(open_sandbox: OpenSandbox) -> None:
    """With SMTPUTF8 a Unicode recipient is taken and recorded as written."""
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        assert (await client.say(b"MAIL FROM:<ann@a.test> BODY=8BITMIME SMTPUTF8"))[0] == 250
        assert (await client.say("RCPT TO:<юля@café.example>".encode()))[0] == 250
        await client.say(b"RSET")
        assert sandbox.read().transactions[0].rcpt == "юля@café.example"


async def test_out_of_order_and_unknown_commands_are_refused(open_sandbox: OpenSandbox) -> None:
    """Each command out of place gets its own 5yz and harms nothing."""
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        for line, code in (
            (b"RCPT TO:<zed@z.test>", 503),
            (b"DATA", 503),
            (b"MAIL FROM:ann", 501),
            (b"MAIL FROM:<ann@a.test> FOO=1", 555),
            (b"AUTH PLAIN AAAA", 503),
            (b"STARTTLS", 502),
            (b"BDAT 3", 502),
            (b"EHLO", 501),
            (b"HELO host-1", 250),
            (b"NOOP", 250),
        ):
            assert (await client.say(line))[0] == code, line
        assert (await client.send())[0] == 250


async def test_an_endless_line_ends_the_connection(open_sandbox: OpenSandbox) -> None:
    """A line over the limit is refused once and the connection closed, so that nobody fills our memory."""
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        client.writer.write(b"x" * 20_000)
        assert await client.reply() == (500, "5.5.2 Line too long")
        assert await client.reader.read() == b""


async def test_connections_in_all_are_capped(open_sandbox: OpenSandbox) -> None:
    """One connection too many is greeted with 421 and closed; a place given back can be taken."""
    async with open_sandbox(max_connections=1) as sandbox:
        async with talk(sandbox) as first:
            reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.ports["alpha"]["smtp"]["none"])
            assert (await reader.read()).startswith(b"421 4.7.0 Too many concurrent SMTP connections")
            writer.close()
            await first.say(b"QUIT")
            await first.reader.read()
        async with talk(sandbox) as second:
            assert (await second.send())[0] == 250


async def test_connections_of_a_mailbox_are_capped(open_sandbox: OpenSandbox) -> None:
    """The newest connection of a mailbox over its cap gets 432 at MAIL; the older ones and other mailboxes go on."""
    async with (
        open_sandbox(dialect="microsoft", max_connections_per_mailbox=1) as sandbox,
        talk(sandbox) as first,
        talk(sandbox) as second,
        talk(sandbox, USERS[1]) as other,
    ):
        assert await second.send() == (432, "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded")
        assert (await first.send())[0] == 250
        assert (await other.send())[0] == 250


@pytest.mark.parametrize(
    ("scope", "codes"), [("mailbox", [250, 450, 250, 250]), ("account", [250, 450, 450, 250]), ("provider", [250, 421])]
)
async def test_message_limits_bind_their_scope(open_sandbox: OpenSandbox, scope: str, codes: list[int]) -> None:
    """A second message is refused exactly in the scope whose limit is one."""
    limit = MessageLimit(scope, 1, 3600)  # type: ignore[arg-type]
    senders = (USERS[0], USERS[0], USERS[1], USERS[2])
    async with open_sandbox(dialect="ionos", limits=(limit,)) as sandbox:
        for user, code in zip(senders, codes, strict=False):
            async with talk(sandbox, user) as client:
                assert (await client.send())[0] == code
        assert [record.code for record in sandbox.read().transactions] == codes


async def test_a_limit_is_told_in_all_its_lines(open_sandbox: OpenSandbox) -> None:
    """A reply of two lines reaches the client whole, and the ledger too."""
    limits = (MessageLimit("mailbox", 0, 3600),)
    async with open_sandbox(dialect="ionos", limits=limits) as sandbox, talk(sandbox) as client:
        told = (450, "Requested mail action not taken: mailbox unavailable\nMail send limit exceeded.")
        assert await client.send() == told
        (record,) = sandbox.read().transactions
        assert (record.code, record.text, record.stage) == (*told, "mail")


async def test_421_closes_the_channel(open_sandbox: OpenSandbox) -> None:
    """After a refusal with 421 the server closes (RFC 5321 section 3.8)."""
    async with open_sandbox(limits=(MessageLimit("provider", 0, 3600),)) as sandbox, talk(sandbox) as client:
        assert (await client.send())[0] == 421
        assert await client.reader.read() == b""


async def test_a_window_gone_by_gives_room_again(open_sandbox: OpenSandbox) -> None:
    """Letters older than the window count no more (a window of no length holds none)."""
    async with open_sandbox(limits=(MessageLimit("mailbox", 1, 0),)) as sandbox, talk(sandbox) as client:
        assert [(await client.send())[0] for _ in range(3)] == [250, 250, 250]


async def test_the_end_of_the_sandbox_records_what_was_open(open_sandbox: OpenSandbox) -> None:
    """A transaction open when the sandbox stops is recorded as lost, and the stop does not wait for the client."""
    async with open_sandbox() as sandbox, talk(sandbox) as client:
        await client.say(b"MAIL FROM:<ann@a.test>")
        await sandbox.providers["alpha"].close()
        assert _only_drop(sandbox) == "lost"


def _only_drop(sandbox: Sandbox) -> str:
    (record,) = sandbox.read().transactions
    return record.dropped
