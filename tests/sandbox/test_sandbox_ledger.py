"""The ledger file by itself."""

import os
from pathlib import Path

import pytest

from mailfleet.base.errors import InputError, SetupError
from mailfleet.providers.sandbox.ledger import LedgerWriter, Login, read_ledger

ROW = {"at": 1.5, "provider": "alpha", "face": "smtp", "login": "a", "mailbox": "a@a.test", "ok": True}


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    """A sandbox opened on an old ledger appends, and its numbers go on growing."""
    for _ in range(2):
        writer = LedgerWriter(tmp_path / "new" / "ledger")
        writer.append("login", ROW)
        writer.close()
    assert [login.seq for login in read_ledger(tmp_path / "new" / "ledger").logins] == [1, 2]


def test_a_torn_line_counts_for_nothing(tmp_path: Path) -> None:
    """A last line without its end is neither read nor kept in front of what comes next."""
    path = tmp_path / "ledger"
    writer = LedgerWriter(path)
    writer.append("login", ROW)
    writer.close()
    with path.open("ab") as file:
        file.write(b'{"kind":"login","se')
    assert len(read_ledger(path).logins) == 1
    writer = LedgerWriter(path)
    writer.append("login", ROW)
    writer.close()
    assert [login.seq for login in read_ledger(path).logins] == [1, 2]


def test_a_line_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    """What was appended can be read by another process at once, without a close."""
    writer = LedgerWriter(tmp_path / "ledger")
    writer.append("login", ROW | {"login": "jos\udce9"})
    assert read_ledger(tmp_path / "ledger").logins == (Login(1, 1.5, "alpha", "smtp", "jos\udce9", "a@a.test", True),)
    writer.close()


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """A file of something else is an InputError that names it; a folder that cannot be made is a SetupError."""
    (tmp_path / "x").write_text("hello\n")
    with pytest.raises(InputError, match="x: not a ledger"):
        read_ledger(tmp_path / "x")
    with pytest.raises(SetupError, match="does not start"):
        LedgerWriter(tmp_path / "x" / "ledger")


def test_a_full_disk_is_an_error_before_any_answer(tmp_path: Path) -> None:
    """When the kernel takes no line, append says so, and the letter is not answered with 250."""
    writer = LedgerWriter(tmp_path / "ledger")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._fd)
    os.close(full)
    with pytest.raises(SetupError, match="nothing is accepted"):
        writer.append("login", ROW)
    writer.close()
