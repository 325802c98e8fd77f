"""Telling incidents: one notice for all of a minute, to every target, and no judgement waits for it for long."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from mailfleet.base.db import Connection
from mailfleet.health.alerts.messenger import DEADLINE, post
from mailfleet.health.alerts.notice import TEST_NOTICE, Notice, write_notice
from mailfleet.health.alerts.store import Target, is_tried_lately, load_targets, write_faults
from mailfleet.health.incidents import Incident
from mailfleet.health.scopes import Scope
from mailfleet.model.words import Family
from mailfleet.outbox.vault import Vault

GATHERING = timedelta(minutes=1)  # chosen: a fault of many scopes shows in some of them first
UNSEALED = "no key of this home opens its address"


def deliver(
    connection: Connection, vault: Vault, notices: Sequence[Incident], *, deadline: timedelta = DEADLINE
) -> frozenset[tuple[Family, Scope]]:
    """Tells these incidents in one notice; the keys of those that at least one target took: store these as `told`.

    Nothing is told within a minute of the last try, nor where there is no target: what is not told comes again with
    the next judgement, and goes out with what has come meanwhile. Call it with no transaction open; it returns within
    the deadline, whatever the targets do. Died before `told` was stored, a notice may go out twice, and is never lost.
    """
    if not notices or is_tried_lately(connection, GATHERING):
        return frozenset()
    faults = _tell(connection, load_targets(connection, vault.keyring), write_notice(notices), deadline)
    return frozenset(one.key for one in notices) if "" in faults.values() else frozenset()


def try_targets(connection: Connection, targets: Iterable[Target]) -> dict[str, str]:
    """Sends a notice to each; of each target its fault, empty when it took the notice."""
    return _tell(connection, targets, TEST_NOTICE, DEADLINE)


def _tell(connection: Connection, targets: Iterable[Target], notice: Notice, deadline: timedelta) -> dict[str, str]:
    found = list(targets)
    urls = {target.name: target.url for target in found if target.url is not None}
    faults = {target.name: UNSEALED for target in found if target.url is None}
    if urls:
        faults |= post(urls, notice, deadline=deadline)
    write_faults(connection, faults)
    return faults
