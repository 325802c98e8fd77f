"""Every command: the one door. A command reads its arguments, calls a room, prints; it decides nothing itself."""

import errno
import sys
from importlib import import_module

import click

from mailfleet.base.errors import InvariantError, MailfleetError

# Command → module of this package, loaded when the command is called, so that every start is quick.
COMMANDS = {
    "up": "running",
    "senders": "running",
    "watchers": "watching",
    "migrate": "running",
    "status": "looking",
    "why": "looking",
    "limits": "steering",
    "hold": "steering",
    "lift": "steering",
    "suppress": "suppressing",
    "suppressions": "suppressing",
    "contact": "contact",
    "inbox": "inbox",
    "incidents": "alerting",
    "alerts": "alerting",
    "ambiguous": "steering",
    "resolve": "steering",
    "keys": "fleet",
    "apply": "fleet",
    "export": "fleet",
    "account": "connecting",
    "dns": "dns",
    "opt-out": "opting_out",
    "import": "imports",
    "campaign": "campaigns",
    "explain": "explaining",
    "demo": "demonstrating",
}

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Door(click.Group):
    """Loads a command's module when it is called; turns our errors, and a full disk, into a sentence and a hint."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"mailfleet.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InvariantError:
            raise
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            click.echo(f"mailfleet: {error.filename or 'The output'} cannot be written: {error.strerror}.", err=True)
            click.echo("  → Free space on its disk, and give the command again.", err=True)
            sys.exit(1)
        except MailfleetError as error:
            click.echo(f"mailfleet: {error}", err=True)
            if error.hint:
                click.echo(f"  → {error.hint}", err=True)
            sys.exit(1)


@click.command(cls=Door)
@click.version_option(package_name="mailfleet")
def main() -> None:
    """Honest e-mail outreach over a fleet of mailboxes."""
