"""`mailfleet opt-out`: the page on a host of its own."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from click.testing import CliRunner

from mailfleet.base.errors import InputError, SetupError
from mailfleet.cli.opting_out import opt_out_command
from opt_out.page_scene import Letters, Page, is_open
from servers import free_port
from stage import end, wait_until

COMMAND = "from mailfleet.cli.opting_out import opt_out_command; opt_out_command()"


def test_it_serves_until_ctrl_c(letters: Letters, home: Path) -> None:
    """The command says where it listens, takes an opt-out, and ends in order with status 0."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--listen", f"127.0.0.1:{port}", "--proxy", "10.0.0.0/8"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": letters.laid.conninfo},
    )
    try:
        wait_until(lambda: is_open(port) or process.poll() is not None, "the page to listen")
        assert Page(process, port).one_click(letters.token(0)).status == 200
        letters.wait_for(0)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, b"")
        assert f"listens at 127.0.0.1:{port}" in out.decode()
    finally:
        end([process])


def run(home: Path, conninfo: str, *arguments: str):  # type: ignore[no-untyped-def]
    environment = {"MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": conninfo}
    return CliRunner().invoke(opt_out_command, arguments, env=environment)


def test_without_a_database_it_says_what_serves_the_page(home: Path) -> None:
    """On one machine `mailfleet up` does; the command is for hosts with a common database."""
    result = run(home, "")
    assert result.exit_code == 2 and "`mailfleet up` serves the page" in result.output


def test_a_place_or_proxy_that_is_none_is_said(home: Path) -> None:
    """Before anything is opened."""
    for arguments in (("--listen", "nowhere"), ("--proxy", "proxy.example")):
        result = run(home, "dbname=nothing", *arguments)
        assert isinstance(result.exception, InputError) and arguments[1] in str(result.exception)
    assert list(home.iterdir()) == []


def test_a_port_that_is_taken_is_said(home: Path) -> None:
    """The server would share it with whoever has it, and get half of the opt-outs."""
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = run(home, "dbname=nothing", "--listen", f"127.0.0.1:{other.getsockname()[1]}")
    assert isinstance(result.exception, SetupError) and "cannot listen" in str(result.exception)
