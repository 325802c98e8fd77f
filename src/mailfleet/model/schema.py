"""The schema of a database: brought up to date, or found wanting."""

import io
import os

import django
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from mailfleet.base.django_settings import database_of
from mailfleet.base.errors import SetupError

HINT = "Stop every mailfleet process, make a backup, then run `mailfleet migrate`."


def use_database(conninfo: str) -> None:
    """Points Django, in this process, at that database."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailfleet.base.django_settings")
    django.setup()
    connections.close_all()
    connections["default"].settings_dict.update(database_of(conninfo))


def migrate(conninfo: str) -> None:
    """Creates the schema, or brings it to this version."""
    use_database(conninfo)
    call_command("migrate", verbosity=0, interactive=False, stdout=io.StringIO())
    connections.close_all()


def check_schema(conninfo: str) -> None:
    """SetupError when the database's schema is older or newer than this version, or not there."""
    use_database(conninfo)
    executor = MigrationExecutor(connections["default"])
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    unknown = set(executor.loader.applied_migrations) - set(executor.loader.disk_migrations)
    connections.close_all()
    if unknown:
        raise SetupError(
            "The database was written by a newer Mailfleet.", hint="Install that version, or restore an older backup."
        )
    if missing:
        raise SetupError(f"The database's schema is old: {len(missing)} migrations are missing.", hint=HINT)
