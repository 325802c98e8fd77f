"""The sandbox as a process of its own."""

import os
import signal
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

from mailfleet.base.errors import InputError, SetupError
from mailfleet.providers.sandbox import (
    Faults,
    MessageLimit,
    ProviderConfig,
    SandboxConfig,
    SandboxProcess,
    read_config,
    read_ledger,
    write_config,
)

from .conftest import LETTER, USERS


@pytest.fixture
def config(tmp_path: Path) -> Path:
    provider = ProviderConfig("alpha", {"smtp": {"none": 0}, "imap": {"none": 0}})
    write_config(SandboxConfig(tmp_path / "ledger", (provider,), USERS), tmp_path / "sandbox.json")
    return tmp_path / "sandbox.json"


def test_a_child_takes_letters_and_leaves_its_ledger(config: Path, tmp_path: Path) -> None:
    """The helper returns when the ports listen; after its end the process is gone and the ledger whole."""
    with SandboxProcess(config) as sandbox:
        with smtplib.SMTP("127.0.0.1", sandbox.ports["alpha"]["smtp"]["none"]) as client:
            client.login(USERS[0].login, USERS[0].password)
            client.sendmail("ann@a.test", ["zed@z.test"], LETTER)
        pid = sandbox.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert [record.message_id for record in read_ledger(tmp_path / "ledger").transactions] == ["<1@a.test>"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(config: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the process with status 0 and nothing on stderr."""
    with _start(config) as process:
        process.send_signal(number)
        assert process.communicate()[1] == b""
    assert process.returncode == 0


def test_it_does_not_outlive_its_parent(config: Path) -> None:
    """With --until-eof the end of stdin, which is the end of whoever started it, stops it."""
    with _start(config, "--until-eof") as process:
        assert process.communicate(timeout=20)[1] == b""
    assert process.returncode == 0


def test_a_child_that_cannot_start_says_why(config: Path) -> None:
    """A broken configuration is a SetupError that carries the child's own sentence, and no password."""
    config.write_text(config.read_text().replace('"alpha-1"', '"alpha-1", "pasword": "x"'))
    with pytest.raises(SetupError, match="not a sandbox configuration") as caught, SandboxProcess(config):
        pass
    assert "secret" not in str(caught.value)


def _start(config: Path, *options: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "mailfleet.providers.sandbox", "--config", str(config), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b'{"ready": true')
    return process


def test_a_configuration_reads_back_to_itself(tmp_path: Path) -> None:
    """What is written is read as equal, in a file that only its owner reads."""
    provider = ProviderConfig(
        "alpha",
        {"smtp": {"none": 0}},
        "google",
        limits=(MessageLimit("account", 3, 60),),
        latency=(0.1, 0.2),
        faults=Faults(dead=0.1),
    )
    config = SandboxConfig(tmp_path / "ledger", (provider,), USERS, seed=5)
    write_config(config, tmp_path / "c.json")
    assert read_config(tmp_path / "c.json") == config
    assert (tmp_path / "c.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"postfix"', '"klingon"', "klingon"),
        ('"provider": "alpha"', '"provider": "beta"', "there is no provider 'beta'"),
        ('"none"', '"tls"', "needs certificate"),
        ('"dead": 0.0', '"dead": 2', "fault dead is 2"),
        ('"smtp"', '"pop3"', "ports are smtp and imap"),
        ("{", "", "not a sandbox configuration"),
    ],
)
def test_a_bad_configuration_names_its_file_and_fault(config: Path, old: str, new: str, said: str) -> None:
    """Every mistake is an InputError that names the file and what is wrong."""
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(InputError, match=said) as caught:
        read_config(config)
    assert caught.value.where == str(config)
