"""Counting: what servers said of our letters, and what came back, as rows that rates are counted from.

Nothing is remembered between two looks but the rows: each look goes back further than the last one reached, and what is
counted already changes nothing. So a service that dies leaves nothing half-counted.
"""

from datetime import datetime, timedelta
from itertools import product
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.mail.families import family_of
from mailfleet.mail.replies import ReplyClass, Scope
from mailfleet.model.words import Family

QUERIES = load_queries("mailfleet.health", "counting.sql")
KEPT = timedelta(days=8)  # chosen: the longest window, and a day
LOOK_BACK = timedelta(hours=3)  # chosen: letters are under way for less, but for hosts that were away
LONG_LOOK = timedelta(hours=1)  # chosen: how often all that is kept is looked through


def _meanings() -> dict[str, list[Any]]:
    """Which replies are a hard bounce, and which a policy block, as columns."""
    rows = [
        (str(reply_class), str(scope), is_temporary, str(family))
        for reply_class, scope, is_temporary in product(ReplyClass, ("", *Scope), (False, True))
        if (family := family_of(reply_class, scope, is_temporary=is_temporary)) in (Family.BOUNCES, Family.POLICY)
    ]
    names = ("classes", "scopes", "temporary", "families")
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


class Counting:
    """One service's counting, over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._meanings = _meanings()
        self._looked_at: datetime | None = None

    def count(self, now: datetime) -> int:
        """How many rows are new or changed.

        1. letters refused by policy, 2. every letter, each by its latest word, 3. what events say of them.
        """
        is_long = self._looked_at is None or now - self._looked_at >= LONG_LOOK
        values = {**self._meanings, "since": now - (KEPT if is_long else LOOK_BACK)}
        with self._connection.transaction():
            counted = sum(
                self._connection.execute(QUERIES[name], {**values, "only_blocked": only_blocked}).rowcount
                for name, only_blocked in (("count_letters", True), ("count_letters", False), ("flag_letters", False))
            )
            if is_long:
                self._connection.execute(QUERIES["forget_letters"], {"before": now - KEPT})
        if is_long:
            self._looked_at = now
        return counted
