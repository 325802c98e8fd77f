"""What goes wrong goes wrong where the configuration asks, the same way every time."""

import asyncio

import pytest

from mailfleet.providers.sandbox import Faults
from mailfleet.providers.sandbox.provider import chance

from .conftest import LETTER, OpenSandbox, talk


async def _codes(open_sandbox: OpenSandbox, faults: Faults, recipients: list[str]) -> list[int]:
    async with open_sandbox(faults=faults) as sandbox, talk(sandbox) as client:
        return [(await client.send(rcpt))[0] for rcpt in recipients]


async def test_a_dead_address_is_dead_for_ever(open_sandbox: OpenSandbox) -> None:
    """The share of dead addresses is drawn by address: the same ones are refused on every try and in every run."""
    recipients = [f"r{number}@z.test" for number in range(40)]
    once = await _codes(open_sandbox, Faults(dead=0.5), recipients)
    again = await _codes(open_sandbox, Faults(dead=0.5), recipients * 2)
    assert again == once * 2
    assert 10 < once.count(550) < 30
    assert set(once) == {250, 550}


@pytest.mark.parametrize(("seconds", "codes"), [(0, [450, 250, 250]), (3600, [450, 450, 450])])
async def test_greylisting_ends_after_its_time(open_sandbox: OpenSandbox, seconds: float, codes: list[int]) -> None:
    """The first try of a pair is put off, and so is each one until the seconds have gone by."""
    assert await _codes(open_sandbox, Faults(greylist=1, greylist_seconds=seconds), ["zed@z.test"] * 3) == codes


async def test_a_deferral_is_drawn_anew_for_each_try(open_sandbox: OpenSandbox) -> None:
    """A recipient put off once gets the letter on some later try, by the same draws in every run."""
    first = await _codes(open_sandbox, Faults(defer=0.5), ["zed@z.test"] * 12)
    assert set(first) == {250, 451}
    assert await _codes(open_sandbox, Faults(defer=0.5), ["zed@z.test"] * 12) == first


async def test_a_policy_refusal_comes_after_the_content(open_sandbox: OpenSandbox) -> None:
    """A refused letter reached its final dot, is not accepted, and the reply says so."""
    async with open_sandbox(dialect="google", faults=Faults(refuse=1)) as sandbox, talk(sandbox) as client:
        code, text = await client.send()
        (record,) = sandbox.read().transactions
        assert (code, text[:5], record.stage, record.accepted) == (550, "5.7.1", "dot", False)


@pytest.mark.parametrize(
    ("where", "stage", "accepted"),
    [
        ("before_data", "rcpt", False),
        ("in_data", "data", False),
        ("before_commit", "dot", False),
        ("after_commit", "dot", True),
    ],
)
async def test_a_drop_is_where_it_says(open_sandbox: OpenSandbox, where: str, stage: str, accepted: bool) -> None:
    """The connection ends without a reply at the point named; the letter is accepted only after the commit."""
    async with open_sandbox(faults=Faults(**{f"drop_{where}": 1})) as sandbox, talk(sandbox) as client:
        with pytest.raises(ConnectionError):
            await client.send()
        (record,) = sandbox.read().transactions
        assert (record.dropped, record.stage, record.accepted, record.code) == (where, stage, accepted, 0)
        assert bool(record.message_id) == (stage == "dot")


async def test_a_slow_reply_comes_late_and_holds_its_connection(open_sandbox: OpenSandbox) -> None:
    """The reply waits its seconds, so does what is pipelined behind it, and the record ends with the reply."""
    async with open_sandbox(faults=Faults(slow=1, slow_seconds=0.2)) as sandbox, talk(sandbox) as client:
        assert await client.send(letter=LETTER + b".\r\nNOOP\r\nVRFY ") == (250, "2.0.0 OK: queued")
        assert await client.reply() == (250, "2.0.0 OK")
        (record,) = sandbox.read().transactions
        assert record.end_at - record.mail_at >= 0.19


async def test_latency_is_drawn_between_its_bounds(open_sandbox: OpenSandbox) -> None:
    """Every reply after the final dot is at least the least latency away."""
    async with open_sandbox(latency=(0.05, 0.06)) as sandbox, talk(sandbox) as client:
        await client.send()
        (record,) = sandbox.read().transactions
        assert record.end_at - record.mail_at >= 0.045


async def test_a_client_killed_while_it_waits_was_accepted(open_sandbox: OpenSandbox) -> None:
    """Who dies between the final dot and a slow reply has sent a letter: accepted, no reply, connection lost."""
    async with open_sandbox(faults=Faults(slow=1, slow_seconds=3600)) as sandbox:
        async with talk(sandbox) as client:
            for line in (b"MAIL FROM:<ann@a.test>", b"RCPT TO:<zed@z.test>", b"DATA"):
                await client.say(line)
            client.writer.write(LETTER + b".\r\n")
            await client.writer.drain()
            async with talk(sandbox):  # one more round trip, so that the letter has been read
                pass
            client.writer.transport.abort()
        async with asyncio.timeout(5):
            while not sandbox.read().transactions:
                async with talk(sandbox):
                    pass
        (record,) = sandbox.read().transactions
    assert (record.accepted, record.code, record.dropped) == (True, 0, "lost")


def test_chance_depends_on_seed_and_key_alone() -> None:
    """The same seed and key give the same number in every process; another seed another."""
    assert chance(1, "dead", "a@b.test") == chance(1, "dead", "a@b.test") == pytest.approx(PINNED)
    assert chance(2, "dead", "a@b.test") != chance(1, "dead", "a@b.test")


PINNED = 0.6081257117531731
