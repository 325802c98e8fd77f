"""Runs the real commands in this process, against one home and one database."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner, Result

from mailfleet.cli import main


@dataclass
class Commands:
    home: Path
    database: str
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"MAILFLEET_HOME": str(self.home), "MAILFLEET_DATABASE_URL": self.database, **self.extra}

    def run(self, *arguments: object, answer: str = "") -> Result:
        """The command's end: `exit_code`, `stdout`, `stderr`; an exception that is no exit is raised."""
        words = [str(argument) for argument in arguments]
        return CliRunner().invoke(main, words, input=answer, env=self.environment, catch_exceptions=False)

    def start(self, *arguments: object) -> "subprocess.Popen[bytes]":
        """The command as a process of its own."""
        words = [sys.executable, "-m", "mailfleet.cli", *map(str, arguments)]
        return subprocess.Popen(
            words, env=os.environ | self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
