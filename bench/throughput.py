"""Letters a second and CPU a letter of the full path, beside smtp-source, a Postfix relay and django-post-office."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench.burst import Burst, run_burst
from bench.fleet import FleetSpec
from bench.place import Place
from bench.report import Figure
from bench.rivals import Relay, Run, can_run_postfix, post_office, postfix_relay, smtp_source
from bench.servers import TlsFront, smtp_sink, tls_front

MAILBOXES = 200  # chosen: two senders take 100 each, and each keeps as many connections
KEPT, NEW = "kept connections", "a new connection a letter"
BARE = "a new connection with TLS and AUTH a letter"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Letters in one round. Of new connections one letter a mailbox, so at most two senders' 2,400."""

    kept: int = 15_000
    new: int = 2_000
    yardstick_kept: int = 60_000
    yardstick_new: int = 10_000
    rival: int = 3_000


class Throughput:
    """One round after another, the contenders in turn within each; servers stay up between rounds."""

    def __init__(self, place: Place, sizes: Sizes, stack: ExitStack) -> None:
        self._place, self._sizes = place, sizes
        self._sink = stack.enter_context(smtp_sink())
        self._front: TlsFront = stack.enter_context(tls_front(place.folder, self._sink))
        self._relay: Relay | None = stack.enter_context(postfix_relay(self._sink)) if can_run_postfix() else None

    def round(self) -> Iterator[Figure]:
        yield from self._kept()
        yield from self._new()
        yield from self._secure()

    def _kept(self) -> Iterator[Figure]:
        yardstick = smtp_source(self._sink, self._sizes.yardstick_kept, kept=True)
        ours = self._burst(FleetSpec(MAILBOXES, self._sink), self._sizes.kept)
        queues = {"django-post-office, two processes": post_office(self._place, self._sink, self._sizes.rival)}
        if self._relay is not None:
            queues["a Postfix relay, injection to delivery"] = self._relay.run(self._sizes.rival)
        best = max(run.rate for run in queues.values())
        yield from _cost(KEPT, "smtp-source", yardstick)
        yield from _ours(KEPT, ours)
        yield Figure(KEPT, "ours beside smtp-source", ours.rate / yardstick.rate, "x", at_least=0.2)
        yield Figure(KEPT, "ours beside the best durable queue", ours.rate / best, "x", at_least=4.5)
        yield Figure(KEPT, "SQL statements a letter", ours.statements / ours.letters, "", at_most=0.1)
        for name, run in queues.items():
            yield from _cost(KEPT, name, run)

    def _new(self) -> Iterator[Figure]:
        yardstick = smtp_source(self._sink, self._sizes.yardstick_new, kept=False)
        ours = self._burst(FleetSpec(self._sizes.new, self._sink, idle_seconds=0), self._sizes.new)
        yield from _cost(NEW, "smtp-source (without AUTH)", yardstick)
        yield from _ours(NEW, ours)
        yield Figure(NEW, "ours beside smtp-source", ours.rate / yardstick.rate, "x")

    def _secure(self) -> Iterator[Figure]:
        handshake, with_letter = self._bare(0), self._bare(1)
        new = self._burst(self._tls(self._sizes.new, idle_seconds=0), self._sizes.new)
        yield from _cost(BARE, "a bare client, handshake alone", handshake)
        yield from _cost(BARE, "a bare client with a letter", with_letter)
        yield from _ours(BARE, new)
        ours = new.cpu_us("senders")
        yield Figure(BARE, "a sender's CPU beside the bare handshake's", ours / handshake.cpu_us, "x", at_most=1.3)
        yield Figure(
            BARE, "and beside the bare client's with a letter", new.cpu_us("senders") / with_letter.cpu_us, "x"
        )
        kept = self._burst(self._tls(MAILBOXES, idle_seconds=10), self._sizes.kept // 2)
        yield from _ours("kept connections with TLS and AUTH", kept)

    def _tls(self, mailboxes: int, *, idle_seconds: int) -> FleetSpec:
        front = self._front
        return FleetSpec(mailboxes, front.port, "tls", front.ca_file, idle_seconds=idle_seconds)

    def _burst(self, spec: FleetSpec, letters: int) -> Burst:
        return run_burst(self._place, spec, letters=letters)

    def _bare(self, letters: int) -> Run:
        """`letters` in each connection; the cost is given a connection."""
        count = self._sizes.new
        arguments = [str(self._front.port), self._front.ca_file, str(count), str(letters)]
        command = [sys.executable, "-m", "bench.bare_client", *arguments]
        cpu, seconds = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        return Run(count, float(seconds), float(cpu))


def _cost(part: str, name: str, run: Run) -> Iterator[Figure]:
    yield Figure(part, f"{name}: rate", run.rate, "/s")
    yield Figure(part, f"{name}: CPU", run.cpu_us, "µs")


def _ours(part: str, burst: Burst) -> Iterator[Figure]:
    yield Figure(part, "ours: rate", burst.rate, "/s")
    limit = 300 if part == KEPT else None
    yield Figure(part, "ours: CPU of the senders", burst.cpu_us("senders"), "µs", at_most=limit)
    yield Figure(part, "ours: CPU of the planner", burst.cpu_us("planner"), "µs")
    yield Figure(part, "ours: CPU of PostgreSQL", burst.cpu_us("postgres"), "µs")
