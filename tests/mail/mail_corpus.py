"""The corpus of real mail: found by MAILFLEET_CORPORA or beside the repository; skipped when absent, but not in CI."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
CORPORA = Path(os.environ.get("MAILFLEET_CORPORA") or ROOT.parent / "shared" / "corpora")
SMALLEST_PART = 10  # chosen: fewer rows say nothing in per cent


class Expected(NamedTuple):
    """What the reference says of one recipient of one mail; `recipient` is empty for mail that is no report to it."""

    file: str
    recipient: str
    reason: str
    is_hard: bool
    action: str

    @property
    def word(self) -> str:
        """In our words: feedback, delivered, hard, delayed, soft or none."""
        if not self.recipient:
            return "none"
        if self.reason in ("feedback", "delivered"):
            return self.reason
        return "hard" if self.is_hard else "delayed" if self.action == "delayed" else "soft"


def need(path: Path) -> Path:
    """The path, or the test ends here."""
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{path} is missing: the corpus of mail may not be skipped under CI")
        pytest.skip(f"no corpus of mail at {path}: set MAILFLEET_CORPORA")
    return path


def expected() -> Iterator[Expected]:
    """Every row of the reference."""
    with need(CORPORA / "bounces.expected.tsv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield Expected(row["file"], row["recipient"].lower(), row["reason"], row["hard"] == "1", row["action"])


def mails(folder: str) -> dict[str, bytes]:
    """File name → the mail, for `bounces` or `not_bounces`."""
    return {path.name: path.read_bytes() for path in sorted(need(CORPORA / folder).glob("*.eml"))}
