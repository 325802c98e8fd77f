"""Words, tables and migrations say the same."""

import io
import re
from collections.abc import Iterator
from enum import StrEnum

import psycopg
import pytest
from django.core.management import call_command

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import SetupError
from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.model import words
from mailfleet.model.schema import check_schema, migrate, use_database

# table, column → the closed set it is kept in
CLOSED: dict[tuple[str, str], type[StrEnum]] = {
    ("sending_limit", "scope_kind"): words.ScopeKind,
    ("sending_limit", "window_kind"): words.WindowKind,
    ("hold", "scope_kind"): words.ScopeKind,
    ("mailbox", "smtp_security"): words.Security,
    ("mailbox", "imap_security"): words.Security,
    ("mailbox", "auth"): words.AuthKind,
    ("campaign", "state"): words.CampaignState,
    ("enrollment", "state"): words.EnrollmentState,
    ("message", "state"): words.MessageState,
    ("attempt", "outcome"): words.Outcome,
    ("contact", "lawful_basis"): words.LawfulBasis,
    ("suppression", "kind"): words.SuppressionKind,
    ("campaign", "reply_stops"): words.ReplyStops,
    ("hold", "family"): words.Family,
    ("incident", "family"): words.Family,
    ("incoming", "kind"): words.MailKind,
    ("incoming", "folder"): words.Folder,
    ("reading_cursor", "folder"): words.Folder,
    ("event", "kind"): words.MailKind,
}
LAWS = {
    "usage_never_over",
    "message_never_twice",
    "attempt_never_twice",
    "message_settled_when_final",
    "attempt_settled_when_known",
    "lease_held_until",
    "enrollment_once",
    "enrollment_ended_is_not_due",
    "contact_address_unique",
    "suppression_pkey",
    "event_once",
    "incoming_once",
    "incident_one_a_cause",
    "reading_held_until",
}


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


def checks(connection: Connection) -> dict[str, str]:
    """Constraint → its definition."""
    found = connection.execute("SELECT conname, pg_get_constraintdef(oid) AS text FROM pg_constraint").fetchall()
    return {row.conname: row.text for row in found}


def test_migrations_make_what_the_models_say(database: str) -> None:
    """No model has changed without a migration."""
    use_database(database)
    said = io.StringIO()
    call_command("makemigrations", check=True, dry_run=True, stdout=said, verbosity=1)
    assert "No changes" in said.getvalue()


@pytest.mark.parametrize(("table", "column"), CLOSED)
def test_a_closed_set_is_the_same_in_code_and_table(table: str, column: str, connection: Connection) -> None:
    """Each word of the set, and no other, passes the column's CHECK."""
    definition = checks(connection)[f"{table}_{column}_known"]
    assert set(re.findall(r"'([a-z0-9_]+)'", definition)) == {word.value for word in CLOSED[table, column]}


def test_no_closed_set_is_forgotten(connection: Connection) -> None:
    """Every CHECK of words is in this test's table, and every set of words is kept by one."""
    known = {name.removesuffix("_known") for name in checks(connection) if name.endswith("_known")}
    known -= {name.removesuffix("_known") for name in LAWS}
    assert known == {f"{table}_{column}" for table, column in CLOSED}
    sets = {kind for kind in vars(words).values() if isinstance(kind, type) and issubclass(kind, StrEnum)} - {StrEnum}
    assert set(CLOSED.values()) == sets


def test_the_laws_stand_in_constraints_named_for_them(connection: Connection) -> None:
    """Never twice, never over, once only: each is kept by a constraint or unique index of its name."""
    indexes = {row[0] for row in connection.execute("SELECT indexname FROM pg_indexes").fetchall()}
    assert set(checks(connection)) | indexes >= LAWS


def test_every_state_is_final_or_open_and_final_ones_lead_nowhere() -> None:
    """What is settled stays settled; what is open has a way on; no way leads to a state that is none."""
    final = {state for state, following in words.NEXT_STATES.items() if not following}
    assert set(words.NEXT_STATES) == set(words.MessageState)
    assert final == {words.MessageState.ACCEPTED, words.MessageState.REJECTED, words.MessageState.CANCELLED}


@pytest.mark.parametrize("state", list(words.MessageState))
def test_a_final_message_is_settled_and_an_open_one_is_not(state: words.MessageState, connection: Connection) -> None:
    """`settled_at` stands exactly with the states that lead nowhere: the table refuses anything else."""
    connection.execute("CREATE TABLE copy (LIKE message INCLUDING CONSTRAINTS)")
    for column in ("id", "enrollment_id", "step_id", "campaign_id", "contact_id", "mailbox_id", "variant_id"):
        connection.execute(f"ALTER TABLE copy ALTER {column} DROP NOT NULL")
    write = "INSERT INTO copy (header_id, subject, attempts, reason_code, reason, created_at, state, settled_at)"
    is_final = not words.NEXT_STATES[state]
    for settled_at, is_right in (("now()", is_final), ("NULL", not is_final)):
        query = f"{write} VALUES ('', '', 0, '', '', now(), %s, {settled_at})"
        if is_right:
            connection.execute(query, [state])
        else:
            with pytest.raises(psycopg.errors.CheckViolation, match="message_settled_when_final"):
                connection.execute(query, [state])


def test_an_attempt_never_twice(connection: Connection) -> None:
    """The database itself refuses a second attempt while one runs, was accepted, or may have been."""
    definition = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'attempt_never_twice'"
    ).fetchone()
    assert definition is not None
    assert definition.indexdef.startswith(
        "CREATE UNIQUE INDEX attempt_never_twice ON public.attempt USING btree (message_id)"
    )
    assert set(re.findall(r"'([a-z]+)'", definition.indexdef)) == {"accepted", "ambiguous"}
    assert "outcome IS NULL" in definition.indexdef


def test_migrating_twice_changes_nothing_and_the_schema_is_checked(database: str) -> None:
    """A schema of this version passes; one that is behind, or ahead, is refused with what to do."""
    migrate(database)
    check_schema(database)
    with connect(database, name="test") as connection:
        connection.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('model', '9999_later', now())")
        with pytest.raises(SetupError, match="newer Mailfleet"):
            check_schema(database)
        connection.execute("DELETE FROM django_migrations WHERE name = '9999_later'")
        newest = "SELECT name FROM django_migrations WHERE app = 'model' ORDER BY name DESC LIMIT 1"
        connection.execute(f"DELETE FROM django_migrations WHERE name = ({newest})")
    with pytest.raises(SetupError, match="1 migrations are missing") as raised:
        check_schema(database)
    assert "mailfleet migrate" in raised.value.hint


def test_an_empty_database_is_no_schema(postgres: EmbeddedPostgres) -> None:
    """A database in which nothing was ever made is old, not broken."""
    postgres.create_database("bare")
    try:
        with pytest.raises(SetupError, match="schema is old"):
            check_schema(postgres.conninfo("bare"))
    finally:
        with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as connection:
            connection.execute("DROP DATABASE bare WITH (FORCE)")
