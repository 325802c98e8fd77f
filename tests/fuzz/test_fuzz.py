"""Coverage-guided fuzzing of all that reads what others wrote, for a bounded time; and what it found once, for ever.

Each run is a process of its own. MAILFLEET_FUZZ_SECONDS makes it longer. What it finds is printed, to be mended and put
into `found.py`.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.found import FOUND
from fuzz.targets import TARGETS, run_bounded
from mail.mail_corpus import mails

SECONDS = os.environ.get("MAILFLEET_FUZZ_SECONDS", "8")  # chosen: with the starts, 90 s of one core for all targets
FUZZER = Path(__file__).with_name("fuzzer.py")
MAILS = 150  # chosen: of the corpora, as many as are read in a second or two under instrumentation


def seeds_of(name: str) -> list[bytes]:
    """What is written beside the target, what was found before, and for readers of mail a part of the corpora."""
    target = TARGETS[name]
    seeds = [*target.seeds, *(data for of, data in FOUND if of == name)]
    if target.takes_mail:
        known = [raw for folder in ("bounces", "not_bounces") for raw in mails(folder).values()]
        seeds += [raw[: target.longest] for raw in known[:: max(1, len(known) // MAILS)]]
    return seeds


def run(name: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds_of(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    return subprocess.run(
        [sys.executable, str(FUZZER), name, str(folder), SECONDS],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=240 + float(SECONDS),
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_others_write_breaks_a_reader(name: str, tmp_path: Path) -> None:
    """Whatever the bytes: no exception but the documented ones, no warning, within bounds of time and memory."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not there: it is built for Linux alone")
    done = run(name, tmp_path)
    found = [path.read_bytes() for pattern in ("crash-*", "timeout-*", "oom-*") for path in tmp_path.glob(pattern)]
    assert not found, f"{found!r}\n{done.stderr[-6000:]}"
    assert done.returncode == 0, done.stderr[-6000:]
    assert "DONE" in done.stderr, "the run did not come to its end"


@pytest.mark.parametrize(("name", "data"), FOUND, ids=[f"{name}-{number}" for number, (name, _) in enumerate(FOUND)])
def test_what_was_found_is_mended(name: str, data: bytes) -> None:
    """Inputs that broke a reader once."""
    run_bounded(TARGETS[name].run, data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_go_through(name: str) -> None:
    """A target passes what it begins with, so that what it finds later is news; and it comes to its end, not to a fault
    at the door behind which nothing is tried."""
    target = TARGETS[name]
    for seed in target.seeds:
        run_bounded(target.run, seed)
        assert target.run(seed) is not False
