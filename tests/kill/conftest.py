"""The published table: written when asked for, else compared in its laws only."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
DOCUMENT = Path(__file__).parents[2] / "docs" / "kill-matrix.md"


@pytest.fixture(scope="session")
def matrix() -> Iterator[list[object]]:
    """Rows as they are measured; with MAILFLEET_WRITE_DOCS=1 they become `docs/kill-matrix.md`."""
    rows: list[object] = []
    yield rows
    if os.environ.get("MAILFLEET_WRITE_DOCS") == "1" and rows:
        DOCUMENT.write_text(_document(rows), encoding="utf-8")


def _document(rows: list[object]) -> str:
    head = (
        "# The kill matrix\n\n"
        "Measured by `tests/kill/test_kill_matrix.py` on real senders, PostgreSQL and the sandbox's ledger;\n"
        "written by `MAILFLEET_WRITE_DOCS=1 make test ARGS=tests/kill`. 24 letters a row; a healthy sender ends it.\n\n"
        "*Usage* is what the fleet's limit counts, *ledger* what the providers saw begin. Where a sender\n"
        "journalled its beginning and died before the first byte, nobody knows that nothing left: usage keeps one.\n\n"
        "| what happens | accepted | twice | lost | ambiguous | usage | ledger |\n|---|---|---|---|---|---|---|\n"
    )
    lines = (
        f"| {r.point} | {r.accepted} | {r.twice} | {r.lost} | {r.ambiguous} | {r.usage} | {r.ledger} |\n"  # type: ignore[attr-defined]
        for r in rows
    )
    return head + "".join(lines)
