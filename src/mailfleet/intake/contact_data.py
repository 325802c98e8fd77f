"""What is held about one person: all of it shown (GDPR Art. 15 and 20), and taken away (Art. 17).

An erasure takes every text away that is about the person. Rows stay where counts, usage and law 1 rest on them; the
keyed digest of the address stays with a ban, so that no import brings the person back (Art. 17(3)(b), 21(3): to honour
the no). Logs and reports hold no person, spools and journals hold a letter's number and, until it is settled, a reply.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError
from mailfleet.base.secrets import Digester
from mailfleet.intake.contact_store import IMPORT_LOCK
from mailfleet.mail.addresses import Address
from mailfleet.outbox.stops import suppress

QUERIES = load_queries("mailfleet.intake", "contact_data.sql")
TRIES = 10  # chosen: an erasure that meets letters of others under way comes through at the second try
SHOWN = ("lists", "enrollments", "letters", "incoming", "events", "suppressions")
_ERASED_IN_ORDER = (
    "leave_lists",
    "erase_enrollments",
    "erase_attempts",
    "erase_evidence",
    "erase_events",
    "erase_incoming",
    "erase_messages",
    "erase_contact",
    "drop_copies",
    "erase_suppression",
)

QUOTING: Mapping[str, Sequence[str]] = {
    "contact": ("attributes", "title", "company", "source", "source_url"),
    "enrollment": ("reason",),
    "message": ("subject", "reason"),
    "attempt": ("reply",),
    "hold": ("reason", "evidence"),
    "incoming": ("sender_address", "sender_name", "subject", "text", "details", "question", "decision"),
    "event": ("text",),
    "incident": ("text",),
    "suppression": ("reason", "source", "evidence"),
    "import_run": ("file_name", "counts"),
}
"""Texts of other people's rows in which an address may be quoted: a colleague's mail, a server's reply."""
_JSON = {"attributes", "evidence", "details", "counts"}


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure met."""

    is_contact: bool
    incoming: int
    """Mails from the person, or about the letters to them."""
    mailboxes: tuple[str, ...]
    """Whose folders at the provider still hold letters to the person or mail from them."""
    in_hand: int
    """Letters that are leaving at this moment: the server's answer will quote the address, and is to be erased too."""
    ambiguous: int
    """Letters whose fate is open: their end may bring such an answer as well."""


def export_contact(connection: Connection, digester: Digester, address: Address) -> dict[str, Any]:
    """All that is held about the person, in plain values and moments; InputError when that is nothing."""
    person = _person(connection, digester, address)
    found: dict[str, Any] = {"contact": _rows(connection, "show_contact", person)}
    found |= {name: _rows(connection, f"show_{name}", person) for name in SHOWN}
    if not any(found.values()):
        raise InputError(f"Nothing is held about {address.original}.")
    return {
        "address": address.original,
        "exported_at": datetime.now(UTC),
        **found,
        "contact": next(iter(found["contact"]), None),
        "lists": [row["name"] for row in found["lists"]],
        "logs": [],
    }


def erase_contact(
    connection: Connection,
    digester: Digester,
    address: Address,
    *,
    by: str,
    say_waiting: Callable[[], None] = lambda: None,
) -> Erased:
    """Erases a person, contact or not:

    1. a stop: the address is banned, its enrollments end, letters in a sender's hand are recalled
    2. waits for an import of contacts that is under way, once `say_waiting` was called: it read before the ban
    3. one transaction: every row about the person, and every text that quotes the address, loses it

    May be repeated; killed in between, it has banned the person and erased nothing.
    """
    suppress(connection, digester, address.normalised, reason="asked to be forgotten", source=f"operator {by}")
    with _between_imports(connection, say_waiting):
        for _ in range(TRIES):
            try:
                return _erase(connection, digester, address)
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                continue
        return _erase(connection, digester, address)


@contextmanager
def _between_imports(connection: Connection, say_waiting: Callable[[], None]) -> Iterator[None]:
    """The session's lock and no transaction's: the snapshot of the erasure must be younger than the import's end."""
    values = {"import_lock": IMPORT_LOCK}
    row = connection.execute(QUERIES["try_between_imports"], values).fetchone()
    if row is not None and not row.is_ours:
        say_waiting()
        connection.execute(QUERIES["await_imports"], values)
    try:
        yield
    finally:
        connection.execute(QUERIES["let_imports"], values)


def _erase(connection: Connection, digester: Digester, address: Address) -> Erased:
    """On one snapshot: a row that changes meanwhile breaks it off. Rows are locked only at its end, for a moment."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        person = _person(connection, digester, address)
        places = {table: _find_quotes(connection, table, address) for table in QUOTING}
        for table, rows in places.items():
            _erase_quotes(connection, table, address, rows)
        for query in _ERASED_IN_ORDER:
            connection.execute(QUERIES[query], person)
        left = connection.execute(QUERIES["left_behind"], person).fetchone()
    connection.execute(QUERIES["drop_copies"], person)  # one that was being kept is younger than the snapshot
    assert left is not None
    is_contact, incoming = person["contact"] is not None, len(person["incoming"])
    return Erased(is_contact, incoming, tuple(left.mailboxes), left.in_hand, left.ambiguous)


def letters_in_hand(connection: Connection, digester: Digester, address: Address) -> int:
    """Letters to the person that are leaving at this moment."""
    person = _person(connection, digester, address)
    row = connection.execute(QUERIES["left_behind"], person).fetchone()
    assert row is not None
    return int(row.in_hand)


def _person(connection: Connection, digester: Digester, address: Address) -> dict[str, Any]:
    """What the queries take: contact (its id or None), digest, digests, addresses, incoming (ids)."""
    values: dict[str, Any] = {
        "key": address.normalised,
        "digest": digester.address(address.normalised),
        "digests": digester.all_of(address.normalised, address.domain_ascii),
        "addresses": sorted(spelling.lower() for spelling in _spellings(address)),
    }
    row = connection.execute(QUERIES["find_contact"], values).fetchone()
    values["contact"] = row.id if row is not None else None
    values["incoming"] = [row.id for row in connection.execute(QUERIES["find_incoming"], values)]
    return values


def _rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row._asdict() for row in connection.execute(QUERIES[query], values)]


def _spellings(address: Address) -> set[str]:
    """The address as it may stand in a text."""
    return {address.original, address.normalised, address.wire, f"{address.local}@{address.domain_unicode}"}


def _find_quotes(connection: Connection, table: str, address: Address) -> list[str]:
    """Where the rows lie that quote the address, as the snapshot has them."""
    hits = [sql.SQL("({0} ILIKE ANY(%(likes)s) AND {0} ~* %(pattern)s)").format(_text(c)) for c in QUOTING[table]]
    query = sql.SQL("SELECT ctid::text AS place FROM {} WHERE {}").format(
        sql.Identifier(table), sql.SQL(" OR ").join(hits)
    )
    return [row.place for row in connection.execute(query, _quotation(address))]


def _erase_quotes(connection: Connection, table: str, address: Address, places: Sequence[str]) -> None:
    if not places:
        return
    query = sql.SQL("UPDATE {} SET {} WHERE ctid = ANY(%(places)s::tid[])").format(
        sql.Identifier(table), sql.SQL(", ").join(_without_quotes(column) for column in QUOTING[table])
    )
    connection.execute(query, {**_quotation(address), "places": list(places)})


def _without_quotes(column: str) -> sql.Composed:
    ending = sql.SQL("::jsonb" if column in _JSON else "")
    bare = sql.SQL("regexp_replace({}, %(pattern)s, %(instead)s, 'gi')").format(_text(column))
    return sql.SQL("{} = {}{}").format(sql.Identifier(column), bare, ending)


def _text(column: str) -> sql.Composed:
    return sql.SQL("{}::text").format(sql.Identifier(column))


def _quotation(address: Address) -> dict[str, Any]:
    """`likes` are quick and meet a little too much, `pattern` decides: an address as it is, in a VERP or in a URL, and
    none that ends alike. In doubt it is taken away: `ann@acme.co` also where `ann@acme.co.example` stands."""
    pairs = {tuple(one.rsplit("@", 1)) for one in _spellings(address)}
    either = "|".join(sorted(f"{re.escape(local)}(?:@|=|%40){re.escape(domain)}" for local, domain in pairs))
    return {
        "likes": [f"%{_like(local)}%" for local in sorted({local for local, _ in pairs})],
        "pattern": rf"(?<![[:alnum:]._-])(?:{either})(?![[:alnum:]_-])",
        "instead": "erased",
    }


def _like(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)
